"""CSV files as other programs write them: which encoding, which separator, record by record (rule R4).

Owns no meaning of columns. A file is read as a stream, never as a whole. Encodings are told by certain signs only (a byte
order mark, the zeros of UTF-16, bytes that UTF-8 cannot have) and never by statistics, so that the same program's files are
always read the same way; what is none of these is Windows-1252, of which Latin-1's letters are a part.
"""

import codecs
import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from billing.csv_columns import recognise
from herotill.errors import InvalidValue

SEPARATORS = (",", ";", "\t", "|")
SAMPLE_CHARACTERS = 32_768
_CHUNK_OCTETS = 1 << 20
_SEPARATOR_LINE = "sep="  # Excel writes it, and reads it
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NO_TEXT = (
    (b"PK\x03\x04", "a spreadsheet or archive"),
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet"),
    (b"%PDF", "a PDF"),
)


@dataclass(frozen=True, slots=True)
class CsvDialect:
    """How a file is written."""

    encoding: str
    separator: str


@dataclass(frozen=True, slots=True)
class Record:
    """One record; `line` is where it begins, counted as editors do."""

    line: int
    cells: list[str]


def detect(path: Path, encoding: str | None = None, separator: str | None = None) -> CsvDialect:
    """Tell how the file is written; what the operator says is believed. Raises InvalidValue."""
    encoding = _check_encoding(encoding) if encoding is not None else _detect_encoding(path)
    if separator is not None and len(separator) != 1:
        raise InvalidValue("separator", separator, "it is one character, such as ; or ,")
    try:
        with path.open(encoding=encoding, newline="") as text:
            sample = text.read(SAMPLE_CHARACTERS)
    except (UnicodeError, OSError) as error:
        raise _unreadable(path, encoding, error) from None
    return CsvDialect(encoding, separator or _detect_separator(sample))


def read_records(
    path: Path, dialect: CsvDialect, read_octets: Callable[[int], None] | None = None
) -> Iterator[Record]:
    """Yield every record but empty ones, the heads first. `read_octets` is told from time to time how far it is.

    Raises InvalidValue, naming the line, where the file is no CSV or not of this encoding.
    """
    line = 1
    try:
        with path.open("rb") as file, io.TextIOWrapper(file, dialect.encoding, newline="") as text:
            reader = csv.reader(text, delimiter=dialect.separator)
            for cells in reader:
                if any(cell.strip() for cell in cells) and not _is_separator_line(line, cells):
                    yield Record(line, cells)
                line = reader.line_num + 1
                if read_octets is not None and line % 1000 == 0:
                    read_octets(file.tell())
    except csv.Error as error:
        raise InvalidValue(
            f"line {line}", str(error), "a cell with line breaks has quotation marks round it"
        ) from None
    except (UnicodeError, OSError) as error:
        raise _unreadable(path, dialect.encoding, error) from None


def _is_separator_line(line: int, cells: list[str]) -> bool:
    return line == 1 and cells[0].lower().startswith(_SEPARATOR_LINE) and len("".join(cells)) <= len("sep=;")


def _check_encoding(encoding: str) -> str:
    try:
        return codecs.lookup(encoding).name
    except LookupError:
        raise InvalidValue("encoding", encoding, "it is a name like utf-8, utf-16 or windows-1252") from None


def _detect_encoding(path: Path) -> str:
    try:
        with path.open("rb") as file:
            start = file.read(4096)
        _check_is_text(path, start)
        for mark, encoding in _MARKS:
            if start.startswith(mark):
                return encoding
        for encoding, octets in (("utf-16-le", start[1::2]), ("utf-16-be", start[::2])):
            # Of Latin letters every second octet is zero.
            if octets.count(0) * 2 > len(octets):
                return encoding
        return next(encoding for encoding in ("utf-8", "cp1252", "latin-1") if _decodes(path, encoding))
    except OSError as error:
        raise _unreadable(path, "", error) from None


def _check_is_text(path: Path, start: bytes) -> None:
    if not start.strip():
        raise InvalidValue("file", str(path), "it is empty")
    for sign, what in _NO_TEXT:
        if start.startswith(sign):
            raise InvalidValue("file", str(path), f"it is {what}; save it as CSV")


def _decodes(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_OCTETS):
                decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _detect_separator(sample: str) -> str:
    first, _, rest = sample.partition("\n")
    said = first.strip().lower()
    if said.startswith(_SEPARATOR_LINE) and len(said) == len("sep=;"):
        return first.strip()[-1]
    # A whole number of lines: the sample may end within one.
    lines = sample if len(sample) < SAMPLE_CHARACTERS else first + "\n" + rest.rpartition("\n")[0]
    return max(SEPARATORS, key=lambda separator: _likelihood(lines, separator))


def _likelihood(lines: str, separator: str) -> tuple[int, int]:
    """Return how many heads it makes known, and how many records have as many cells as there are heads."""
    try:
        rows = [row for row in csv.reader(io.StringIO(lines, newline=""), delimiter=separator) if row]
    except csv.Error:
        return 0, 0
    heads = rows[0] if rows else []
    known = sum(1 for head in heads if recognise(head) is not None)
    even = sum(1 for row in rows if len(row) == len(heads) > 1)
    return known, even


def _unreadable(path: Path, encoding: str, error: Exception) -> InvalidValue:
    if isinstance(error, OSError):
        return InvalidValue("file", str(path), f"it cannot be read: {error.strerror}")
    return InvalidValue("encoding", encoding, "the file is not written in it; say another with --encoding")
