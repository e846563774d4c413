"""Whether a deployed model does worse than when it was chosen: looked at after every flight, as often as one likes.

The claim that is tested is "the true ROAS is at least the low end of the card's interval". Observed flights get a
confidence sequence, whose intervals hold for all looks together, so the alarm may be asked for hourly: it is given as
soon as the sequence's upper end has ever been below the card's low end, and stays.

How often it is wrong: with a true ROAS at or above the card's low end, at most `false_alarm` over all looks together.
The card's low end is itself a confidence bound: it lies above the truth in (1 - confidence) / 2 of all cards. So for a
model that does exactly as when it was measured, both errors add: at most false_alarm + (1 - confidence) / 2.

Few flights tell their own spread badly, and by chance too small a one just when ROAS is low: with it alone, 3 to 6 % of
unchanged models raise an alarm that promises 1 %. The card knows the spread from hundreds of flights, so the larger of
the two counts. Start at watch().
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import ndtri

from gaelp_ray.errors import ModelError
from gaelp_ray.evidence.observed import ObservedFlights
from gaelp_ray.evidence.sequences import ConfidenceSequence
from gaelp_ray.records import FloatArray, Interval

FIRST_LOOK = 8
"""Flights before the first look."""

SHARPEST = 128
"""Flights for which the sequence is narrowest: about as many as it takes to notice a loss of a fifth."""

MOST = 1_000_000
"""Flights after which a loss counts as never noticed."""


@dataclass(frozen=True)
class Card:
    """What a model was chosen with: ROAS of so many fresh flights, its interval at `confidence`, and delivery."""

    roas: float
    low: float
    high: float
    confidence: float
    flights: int
    delivery: float

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> Card:
        """From the `about` of a model.json. Raises ModelError for a model that was never measured on fresh flights."""
        told = about.get("evaluation")
        names = ("roas", "roas_low", "roas_high", "confidence", "flights")
        found = [_number(told, name) for name in names]
        roas, low, high, confidence, flights = found
        if not (np.isfinite(found).all() and low < high and 0.0 < confidence < 1.0 and flights >= 2):
            raise ModelError(
                "its model.json has no interval of ROAS to compare with: monitor the best model of a sweep "
                "(`gaelp-ray best SWEEP -o DIR`)"
            )
        return cls(roas, low, high, confidence, int(flights), _number(told, "delivery"))

    @property
    def error(self) -> float:
        """Share of cards whose low end lies above the truth."""
        return (1.0 - self.confidence) / 2.0

    @property
    def deviation(self) -> float:
        """Of one flight's influence on ROAS, from the width of the interval."""
        return (self.high - self.low) / 2.0 / float(ndtri(1.0 - self.error)) * math.sqrt(self.flights)


def _number(told: Any, name: str) -> float:
    value = told.get(name) if isinstance(told, Mapping) else None
    return float(value) if isinstance(value, (int, float)) else math.nan


@dataclass(frozen=True)
class Watch:
    """All looks at a log: after each flight its pooled ROAS and the ends of its interval, (n,) each.

    Before FIRST_LOOK flights, and before anything was spent, the interval is endless.
    """

    card: Card
    false_alarm: float
    roas: FloatArray
    low: FloatArray
    high: FloatArray
    delivery: float

    @property
    def flights(self) -> int:
        """How many were observed."""
        return len(self.roas)

    @cached_property
    def noticed_after(self) -> int | None:
        """The first look, in flights, that raised the alarm; None while there is none."""
        below = np.flatnonzero(self.high < self.card.low)
        return int(below[0]) + 1 if len(below) else None

    @property
    def interval(self) -> Interval:
        """That of the last look."""
        return Interval(float(self.low[-1]), float(self.high[-1]))

    @property
    def false_alarm_if_unchanged(self) -> float:
        """How often there is ever an alarm, at most, for a model that does as when its card was written."""
        return self.false_alarm + self.card.error


def watch(observed: ObservedFlights, card: Card, false_alarm: float) -> Watch:
    """Look after every flight. `false_alarm`: of all looks together, 0..0.5."""
    sequence = _sequence(false_alarm)
    roas, deviations = _running(observed.revenue, observed.cost)
    deviations = np.maximum(deviations, card.deviation)
    # Cheap enough: a microsecond a look.
    radius = np.array([sequence.radius(deviation, n) for n, deviation in enumerate(deviations.tolist(), 1)])
    unknown = np.isnan(roas) | (np.arange(1, len(roas) + 1) < FIRST_LOOK)
    low, high = np.where(unknown, -np.inf, roas - radius), np.where(unknown, np.inf, roas + radius)
    return Watch(card, false_alarm, roas, low, high, observed.delivery)


def flights_to_notice(card: Card, false_alarm: float, loss: float) -> int | None:
    """After how many flights a loss of this share of the card's ROAS is noticed, by flights of average luck."""
    room = card.low - (1.0 - loss) * card.roas
    sequence = _sequence(false_alarm)
    if room <= 0 or sequence.radius(card.deviation, MOST) >= room:
        return None
    low, high = FIRST_LOOK - 1, MOST
    while high - low > 1:  # the radius falls with every flight
        middle = (low + high) // 2
        low, high = (low, middle) if sequence.radius(card.deviation, middle) < room else (middle, high)
    return high


def _sequence(false_alarm: float) -> ConfidenceSequence:
    # Of its two ends only the upper one raises an alarm, which is half of its error.
    return ConfidenceSequence(2.0 * false_alarm, SHARPEST)


def _running(above: FloatArray, below: FloatArray) -> tuple[FloatArray, FloatArray]:
    """After each flight: the pooled ratio, and the deviation of its influence as sequences.Ratio has it; (n,) each."""
    flights = np.arange(1, len(above) + 1)
    total = np.cumsum(below)
    spent = total > 0
    value = np.divide(np.cumsum(above), total, out=np.full(len(above), np.nan), where=spent)
    squares = np.cumsum(above**2) - 2.0 * value * np.cumsum(above * below) + value**2 * np.cumsum(below**2)
    variance = np.maximum(squares, 0.0) / np.maximum(flights - 1, 1)
    deviation = np.sqrt(variance) * np.divide(flights, total, out=np.full(len(above), np.nan), where=spent)
    return value, np.where(flights > 1, np.nan_to_num(deviation, nan=np.inf), np.inf)
