"""One number of a market file, with its source."""

from __future__ import annotations

from dataclasses import dataclass

SOURCE = "table"
"""Key of the calibrated table in a market file's `sources`."""


@dataclass(frozen=True)
class Number:
    """One number of a market file."""

    value: float
    source: str
    note: str = ""
