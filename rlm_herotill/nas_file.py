"""The NASes as they were known last, in a file: a server that starts while the database is away still knows its clients.

The file lies beside the journal and holds secrets: mode 0600. It is a memory, never a source: whatever the database says
replaces it.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FILE_NAME = "nas.json"
COLUMNS = (4, 5)
"""Of SELECT_NASES; a file of before there were multipliers has one less."""


def remember_nases(directory: Path, rows: Sequence[Sequence[Any]]) -> None:
    """Write the rows, appearing whole or not at all. Raises OSError."""
    text = json.dumps([list(row) for row in rows]).encode()
    path = directory / FILE_NAME
    if path.exists() and path.read_bytes() == text:
        return
    directory.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)  # with whatever mode it had
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
    fresh.replace(path)


def remembered_nases(directory: Path) -> list[list[Any]]:
    """Return the rows last written; none where there are none, or where the file is damaged."""
    try:
        rows = json.loads((directory / FILE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return rows if isinstance(rows, list) and all(_is_nas(row) for row in rows) else []


def _is_nas(row: object) -> bool:
    if (
        not isinstance(row, list)
        or len(row) not in COLUMNS
        or not all(isinstance(value, str) for value in row)
    ):
        return False
    return all(multiplier.isascii() and multiplier.isdigit() for multiplier in row[4:])
