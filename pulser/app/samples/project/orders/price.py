"""Prices in cents, so that nothing is lost to rounding on the way."""

from dataclasses import dataclass
from typing import List


@dataclass(frozen=True)
class Line:
    """So many pieces of one article."""

    article: str
    pieces: int
    cents: int

    def __post_init__(self):
        if self.pieces < 1:
            raise ValueError(f"{self.article}: at least one piece, not {self.pieces}")
        if self.cents < 0:
            raise ValueError(f"{self.article}: a price cannot be negative")


def discount(lines: List[Line]) -> int:
    """Cents off: 10 % of the lines with ten pieces or more, 5 % on top from 1,000.00 on."""
    many = sum(line.pieces * line.cents for line in lines if line.pieces >= 10)
    all_of_it = sum(line.pieces * line.cents for line in lines)
    off = many // 10
    if all_of_it >= 100_000:
        off += (all_of_it - off) // 20
    return off


def total(lines: List[Line], tax_percent: int = 19) -> int:
    """Cents to pay, tax included, rounded half up."""
    net = sum(line.pieces * line.cents for line in lines) - discount(lines)
    return net + (net * tax_percent + 50) // 100


def parse(text: str) -> Line:
    """A line from ``3 x apple @ 0.50``."""
    pieces, rest = text.split(" x ", 1)
    article, price = rest.rsplit(" @ ", 1)
    whole, _, cents = price.partition(".")
    return Line(article.strip(), int(pieces), int(whole) * 100 + int((cents + "00")[:2]))
