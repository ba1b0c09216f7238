"""The demonstration: the main job on this machine, by the commands an operator types and the packets a NAS sends.

`scripts/demo` installs what is missing and runs it. `stage` sets up and tears down, `story` is what happens, `report` how
it is shown. Nothing here is needed by the product, and nothing of the product exists only for this.
"""
