"""What kind of file is this? Its first bytes decide; its name only between kinds of text."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pulser.core.errors import BadInput

Kind = Literal["csv", "json", "parquet", "sqlite"]
MAX_BYTES = 128 << 20
ENCODINGS = (
    "utf-8",
    "utf-16",
    "cp1252",
    "iso-8859-1",
    "iso-8859-2",
    "iso-8859-15",
    "cp1250",
    "cp1251",
    "koi8-r",
    "shift_jis",
    "gb18030",
    "big5",
    "euc-kr",
    "cp437",
)
PARQUET_NAMES = (".parquet", ".pq", ".parq")
SQLITE_NAMES = (".sqlite", ".sqlite3", ".db", ".db3")
JSON_NAMES = (".json", ".ndjson", ".jsonl", ".geojson")
OTHERS = (
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook", "Save the sheet as CSV."),
    (b"\x1f\x8b", "a gzip file", "Unpack it first."),
    (b"(\xb5/\xfd", "a Zstandard file", "Unpack it first."),
    (b"BZh", "a bzip2 file", "Unpack it first."),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file", "Save the sheet as CSV."),
    (b"%PDF", "a PDF", "Give the data it was made from."),
    (b"\x89PNG", "a PNG image", "Give the data it was made from."),
    (b"\xff\xd8\xff", "a JPEG image", "Give the data it was made from."),
    (b"\x7fELF", "a program", ""),
    (b"ARROW1", "an Arrow file", "Convert it to Parquet."),
    (b"ORC", "an ORC file", "Convert it to Parquet."),
)


@dataclass(frozen=True, slots=True)
class Recognised:
    """A file, its kind, its size, and for text the encoding it decodes with."""

    path: Path
    kind: Kind
    size_bytes: int
    encoding: str = ""


def at(pointer: str, detail: str, hint: str = "") -> BadInput:
    """A :class:`BadInput` that names the argument at fault."""
    return BadInput(detail, hint=hint, errors=[{"pointer": pointer, "detail": detail}])


def recognise(path: Path, *, encoding: str = "", pointer: str = "/path") -> Recognised:
    """The kind of ``path``; :class:`BadInput` if it is not there, empty, too large, or not what its name says."""
    name = path.name
    if not path.exists():
        raise at(pointer, f"{name}: there is no such file")
    if not path.is_file():
        raise at(pointer, f"{name} is not a regular file", "Name one CSV, TSV, JSON, NDJSON, Parquet or SQLite file.")
    size = path.stat().st_size
    if size == 0:
        raise at(pointer, f"{name} is empty (0 bytes)")
    if size > MAX_BYTES:
        raise at(pointer, f"{name} has {size:,} bytes; at most {MAX_BYTES:,} are read", "Split it, or convert it to Parquet and select columns.")
    with path.open("rb") as file:
        head = file.read(65536)
        file.seek(max(0, size - 4))
        tail = file.read(4)
    suffix = path.suffix.lower()
    if head.startswith(b"PAR1"):
        if tail != b"PAR1" or size < 12:
            raise at(pointer, f"{name} begins as Parquet but does not end as one: it was cut off", "Copy or write the file again.")
        return Recognised(path, "parquet", size)
    if head.startswith(b"SQLite format 3\0"):
        return Recognised(path, "sqlite", size)
    found = next((f"it is {what}" for magic, what, _ in OTHERS if head.startswith(magic)), "")
    if suffix in PARQUET_NAMES or suffix in SQLITE_NAMES:
        said = "Parquet" if suffix in PARQUET_NAMES else "a SQLite database"
        raise at(pointer, f"{name} is not {said}: {found or _looks(head)}", "Give it the name of what it is, or write it again.")
    if found:
        raise at(pointer, f"{name} cannot be read as a table: {found}", next(hint for magic, _, hint in OTHERS if head.startswith(magic)))
    used = _encoding(path, head, encoding, pointer)
    start = head.decode(used, errors="ignore").lstrip("\ufeff \t\r\n")[:1]
    if suffix in JSON_NAMES or (suffix not in (".csv", ".tsv", ".txt", ".tab") and start in ("{", "[")):
        return Recognised(path, "json", size, used)
    return Recognised(path, "csv", size, used)


def _looks(head: bytes) -> str:
    return "it is a binary file of another kind" if b"\0" in head else "it is a text file"


def _encoding(path: Path, head: bytes, asked: str, pointer: str) -> str:
    name = path.name
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        tried = ["utf-16"]
    elif b"\0" in head and asked not in ("utf-16",):
        raise at(pointer, f"{name} is a binary file, not text: NUL byte at offset {head.index(0):,}", "Give a CSV, TSV, JSON, NDJSON, Parquet or SQLite file.")
    else:
        tried = [asked] if asked else ["utf-8"]
    problem = _undecodable(path, tried[0])
    if problem is None:
        return "utf-8-sig" if tried[0] == "utf-8" else tried[0]
    line, bad = problem
    reads = [other for other in ("cp1252", "iso-8859-1") if other != tried[0] and _undecodable(path, other) is None]
    hint = f"It would decode as {' or '.join(reads)}: name the right one in 'encoding'." if reads else "Name its encoding in 'encoding'."
    raise at(pointer, f"{name} is not {tried[0]}: byte {bad} in line {line:,}. Tried: {', '.join(tried)}", hint)


def _undecodable(path: Path, encoding: str) -> tuple[int, str] | None:
    """``(line, byte)`` of the first byte that does not decode, or None."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    with path.open("rb") as file:
        while True:
            block = file.read(1 << 20)
            try:
                line += decoder.decode(block, final=not block).count("\n")
            except UnicodeDecodeError as error:
                before = error.object[: error.start]
                return line + bytes(before).count(b"\n"), f"0x{error.object[error.start]:02x}"
            if not block:
                return None
