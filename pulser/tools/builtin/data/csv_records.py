"""CSV and TSV as records with their line numbers. DuckDB's own reader guesses types and loses digits; this one guesses nothing."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pulser.tools.builtin.data.recognise import Recognised, at

DELIMITERS = (",", ";", "\t", "|")
FIELD_LIMIT = 1 << 20
"""Characters in one field; a longer one is nearly always a quote that was never closed."""
NULLS = ("", "NA", "N/A", "NULL", "null", "None", "NaN", "nan")
SHOWN_BAD_LINES = 5


@dataclass(slots=True)
class Reject:
    """A record that is not used: where it begins, why, and the text as it stands in the file."""

    line: int
    reason: str
    original: str


@dataclass(slots=True)
class Sheet:
    """What is known of a text file before and after its records were read."""

    names: list[str]
    delimiter: str
    notes: list[str] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    rejected: int = 0


class Lines:
    """The lines of a text file, remembering those of the record that is being read."""

    def __init__(self, file: Path, encoding: str) -> None:
        self.name = file.name
        self._file = file.open(encoding=encoding, newline="")
        self.number = 0
        self._record: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for line in self._file:
            self.number += 1
            if "\0" in line:
                raise at("/path", f"{self.name}: NUL byte in line {self.number:,}; this is not a text file")
            self._record.append(line)
            yield line

    def taken(self) -> tuple[int, str]:
        """First line and text of the record since the last call."""
        lines = self._record
        first = self.number - len(lines) + 1
        self._record = []
        return first, "".join(lines).rstrip("\r\n")

    def close(self) -> None:
        self._file.close()


def sniff_delimiter(source: Recognised) -> str:
    """The delimiter that splits the first records most evenly; a comma if none splits them."""
    with source.path.open(encoding=source.encoding, newline="") as file:
        head = [line for _, line in zip(range(200), file, strict=False)]
    best, best_score = ("\t" if source.path.suffix.lower() in (".tsv", ".tab") else ","), 0.0
    for delimiter in DELIMITERS:
        counts: Counter[int] = Counter()
        try:
            for row in csv.reader(head, delimiter=delimiter, strict=False):
                if row:
                    counts[len(row)] += 1
        except csv.Error:
            continue
        if not counts:
            continue
        width, often = counts.most_common(1)[0]
        score = 0.0 if width < 2 else often / sum(counts.values()) + min(width, 50) / 1000
        if score > best_score:
            best, best_score = delimiter, score
    return best


def names_of(first: list[str], header: bool, notes: list[str]) -> list[str]:
    """Column names: those of the header, made unique and never blank; column_1 … where there is no header."""
    if not header:
        return [f"column_{number}" for number in range(1, len(first) + 1)]
    names: list[str] = []
    taken: set[str] = set()
    for number, cell in enumerate(first, 1):
        wanted = " ".join(cell.split())[:200] or f"column_{number}"
        name, again = wanted, 1
        while name.lower() in taken:
            again += 1
            name = f"{wanted}_{again}"
        if name != cell.strip():
            notes.append(f"Column {number} {cell.strip()!r} is called {name!r} here.")
        taken.add(name.lower())
        names.append(name)
    if any(cell.strip().replace(".", "", 1).lstrip("-").isdigit() for cell in first):
        notes.append("Line 1 was taken as the header though it holds a number; header: false reads it as data.")
    return names


def open_csv(source: Recognised, delimiter: str, header: bool, max_columns: int) -> tuple[Sheet, Iterator[tuple[int, list[str], str]]]:
    """The sheet and its records ``(line, cells, original)``. Cells are counted by the reader's caller, see :func:`fitting`."""
    csv.field_size_limit(FIELD_LIMIT)
    used = delimiter or sniff_delimiter(source)
    lines = Lines(source.path, source.encoding)
    records = _records(lines, used)
    first = next(records, None)
    if first is None:
        raise at("/path", f"{source.path.name} holds only blank lines")
    notes: list[str] = []
    names = names_of(first[1], header, notes)
    if len(names) > max_columns:
        records.close()
        raise at("/path", f"{source.path.name} has {len(names):,} columns; at most {max_columns:,} are read", "Select the columns that matter first.")

    def body() -> Iterator[tuple[int, list[str], str]]:
        if not header:
            yield first
        yield from records

    return Sheet(names, used, notes), body()


def _records(lines: Lines, delimiter: str) -> Generator[tuple[int, list[str], str], None, None]:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise _unreadable(lines, error) from error
            line, original = lines.taken()
            if cells:
                yield line, cells, original
    finally:
        lines.close()


def _unreadable(lines: Lines, error: csv.Error) -> Exception:
    last = lines.number
    first, original = lines.taken()
    why = str(error)
    if "unexpected end of data" in why or "field larger than" in why:
        return at(
            "/path",
            f"{lines.name}: a quote that opens in line {first:,} is not closed (read to line {last:,}): {original[:80]!r}",
            'Close it, or write a quote inside a field as "".',
        )
    if "expected after" in why:
        return at("/path", f"{lines.name}: text after a closing quote in line {last:,}: {original[:80]!r}", 'Write a quote inside a field as "".')
    return at("/path", f"{lines.name}: line {last:,} cannot be read: {why}")


def fitting(sheet: Sheet, records: Iterator[tuple[int, list[str], str]], ragged: str, name: str, keep: int = 100_000) -> Iterator[tuple[int, list[str], str]]:
    """Records with as many cells as there are columns. Others: ``ragged`` ``error`` raises at the end and names the first lines,
    ``skip`` keeps them in ``sheet.rejects`` (the first ``keep``; ``sheet.rejected`` counts all)."""
    width = len(sheet.names)
    for line, cells, original in records:
        if len(cells) == width:
            yield line, cells, original
            continue
        sheet.rejected += 1
        if len(sheet.rejects) < keep:
            sheet.rejects.append(Reject(line, f"{len(cells)} field{'s' if len(cells) != 1 else ''}, the header has {width}", original))
    if sheet.rejected and ragged == "error":
        bad = "; ".join(f"line {reject.line:,}: {reject.reason}" for reject in sheet.rejects[:SHOWN_BAD_LINES])
        more = f"; and {sheet.rejected - SHOWN_BAD_LINES:,} more" if sheet.rejected > SHOWN_BAD_LINES else ""
        raise at("/path", f"{name} is ragged: {bad}{more}", "Mend these lines, or pass ragged: 'skip' to leave them out.")
