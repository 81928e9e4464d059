"""What is on the shelf."""

import json
import os
from collections import Counter


class NotEnough(Exception):
    """Fewer pieces on the shelf than asked for."""


class Stock:
    """Counts per article; never below zero."""

    def __init__(self, counts=None):
        self._counts = Counter(counts or {})

    def add(self, article, pieces):
        if pieces < 1:
            raise ValueError("add at least one piece")
        self._counts[article] += pieces

    def take(self, article, pieces):
        there = self._counts[article]
        if there < pieces:
            raise NotEnough(f"{article}: {there} there, {pieces} asked for")
        self._counts[article] = there - pieces

    def count(self, article):
        return self._counts[article]

    def low(self, limit=5):
        """Articles with fewer than ``limit`` pieces, fewest first."""
        return sorted((a for a, n in self._counts.items() if n < limit), key=lambda a: (self._counts[a], a))

    def save(self, path):
        with open(path, "w") as file:
            json.dump(dict(self._counts), file)

    @classmethod
    def load(cls, path):
        with open(path) as file:
            counts = json.load(file)
        if not isinstance(counts, dict):
            raise ValueError("not a stock file")
        return cls(counts)
