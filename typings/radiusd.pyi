"""The `radiusd` module that FreeRADIUS 3.2's rlm_python3 puts into its interpreter.

Source: FreeRADIUS `src/modules/rlm_python3/rlm_python3.c` (radiusd_constants, module_methods).
"""

from typing import Final

L_AUTH: Final = 2
L_INFO: Final = 3
L_ERR: Final = 4
L_WARN: Final = 5
L_PROXY: Final = 6
L_ACCT: Final = 7
L_DBG: Final = 16
L_DBG_WARN: Final = 17
L_DBG_ERR: Final = 18
L_DBG_WARN_REQ: Final = 19
L_DBG_ERR_REQ: Final = 20

RLM_MODULE_REJECT: Final = 0
RLM_MODULE_FAIL: Final = 1
RLM_MODULE_OK: Final = 2
RLM_MODULE_HANDLED: Final = 3
RLM_MODULE_INVALID: Final = 4
RLM_MODULE_USERLOCK: Final = 5
RLM_MODULE_NOTFOUND: Final = 6
RLM_MODULE_NOOP: Final = 7
RLM_MODULE_UPDATED: Final = 8

config: dict[str, str | dict[str, str]]
"""The module's `config { }` section: nested dictionaries of strings."""

def radlog(level: int, message: str, /) -> None:
    """Write one line to FreeRADIUS's log at `level` (one of the `L_*` numbers)."""
