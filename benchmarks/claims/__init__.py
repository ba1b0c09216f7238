"""One module for each claim; each has `TITLE` and `run(effort) -> Result`."""
