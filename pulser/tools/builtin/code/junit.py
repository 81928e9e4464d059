"""JUnit XML as pytest writes it, read with suspicion: the tests that wrote it may be anybody's."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from pulser.core.errors import Permanent

LIMIT_BYTES = 64 * 1024 * 1024
LIMIT_ELEMENTS = 500_000
LIMIT_MESSAGE = 4_000


@dataclass(slots=True)
class Case:
    """One test: ``outcome`` is passed, failed, error or skipped."""

    name: str
    outcome: str = "passed"
    duration_s: float = 0.0
    message: str = ""
    detail: str = ""


@dataclass(slots=True)
class Report:
    """All tests of a run."""

    cases: list[Case] = field(default_factory=list)

    def count(self, outcome: str) -> int:
        return sum(case.outcome == outcome for case in self.cases)

    @property
    def not_collected(self) -> list[Case]:
        """What could not even be imported."""
        return [case for case in self.cases if case.outcome == "error" and case.message.startswith("collection failure")]


def read_junit(path: Path) -> Report:
    """The report in ``path``; :class:`Permanent` if it is no XML, declares entities, or is larger than the limits."""
    if path.stat().st_size > LIMIT_BYTES:
        raise Permanent(f"the test report has more than {LIMIT_BYTES:,} bytes", hint="Run fewer tests at a time, with -k or paths.")
    reader = _Reader()
    try:
        reader.parser.Parse(path.read_bytes(), True)
    except expat.ExpatError as error:
        raise Permanent(f"the test report is not XML: {error}") from None
    return reader.report


class _Reader:
    """expat itself, not ElementTree: only expat lets a DOCTYPE be refused before what it declares is expanded."""

    def __init__(self) -> None:
        self.report = Report()
        self._elements = 0
        self._case: Case | None = None
        self._text: list[str] | None = None
        self._told = 0
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.EntityDeclHandler = self._refuse
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._data

    def _refuse(self, *_: object) -> None:
        raise Permanent("the test report declares a document type or entities", hint="Reports are read without; something other than pytest wrote it.")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > LIMIT_ELEMENTS:
            raise Permanent(f"the test report has more than {LIMIT_ELEMENTS:,} elements")
        if tag == "testcase":
            where = attributes.get("classname", "")
            self._case = Case(f"{where}::{attributes.get('name', '?')}" if where else attributes.get("name", "?"), duration_s=_seconds(attributes.get("time")))
            self.report.cases.append(self._case)
        elif self._case and tag in ("failure", "error", "skipped"):
            outcome = {"failure": "failed"}.get(tag, tag)
            if self._case.outcome in ("passed", "skipped") or outcome == "failed":
                self._case.outcome = outcome
                self._case.message = attributes.get("message", "")[:LIMIT_MESSAGE]
                self._text, self._told = [], 0

    def _end(self, tag: str) -> None:
        if self._case and self._text is not None and tag in ("failure", "error", "skipped"):
            self._case.detail = "".join(self._text)
            self._text = None
        elif tag == "testcase":
            self._case = None

    def _data(self, data: str) -> None:
        if self._text is not None and self._told < LIMIT_MESSAGE:
            self._text.append(data[: LIMIT_MESSAGE - self._told])
            self._told += len(data)


def _seconds(text: str | None) -> float:
    try:
        value = float(text or 0)
    except ValueError:
        return 0.0
    return value if 0 <= value < 1e9 else 0.0
