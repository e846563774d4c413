"""Whether a deployed model does worse than when it was chosen: looked at after every flight, as often as one likes.

The claim that is tested is "the true ROAS is at least the low end of what the card expects". Observed flights get a
confidence sequence, whose intervals hold for all looks together, so the alarm may be asked for hourly: it is given as
soon as the sequence's upper end has ever been below that low end, and stays.

ROAS falls as budgets grow. If the card has ROAS by budget, a flight with a budget is compared with what the card
expects at that budget (indirect standardisation: observed / expected revenue), and a flight with a budget outside the
measured range is left out. Without either, the card's pooled ROAS is expected, which assumes the budgets of the
measurement. How a flight is treated depends on its own line alone, so later lines change no earlier look.

How often it is wrong: with a true ROAS at or above the card's low end, at most `false_alarm` over all looks together.
The card's low end is itself a confidence bound: it lies above the truth in (1 - confidence) / 2 of all cards. So for a
model that does exactly as when it was measured, both errors add: at most false_alarm + (1 - confidence) / 2. Flights
with and without budgets in one log use two low ends of the card, whose errors add, too.

Few flights tell their own spread badly, and by chance too small a one just when ROAS is low: with it alone, 3 to 6 % of
unchanged models raise an alarm that promises 1 %. The card knows the spread from hundreds of flights, so the larger of
the two counts. Start at watch().
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from gaelp_ray.errors import InputError, ModelError
from gaelp_ray.evidence.budget_curve import BudgetCurve
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
    """What a model was chosen with: ROAS of so many fresh flights, its interval at `confidence`, and delivery.

    curve: ROAS by budget; None in models of older versions, and where the measured budgets determine none.
    """

    roas: float
    low: float
    high: float
    confidence: float
    flights: int
    delivery: float
    curve: BudgetCurve | None = None

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
        curve = BudgetCurve.of(about.get("roas_by_budget"))
        return cls(roas, low, high, confidence, int(flights), _number(told, "delivery"), curve)

    @property
    def error(self) -> float:
        """Share of cards whose low end lies above the truth."""
        return (1.0 - self.confidence) / 2.0

    @property
    def deviation(self) -> float:
        """Of one flight's influence on ROAS, from the width of the interval."""
        return (self.high - self.low) / 2.0 / float(ndtri(1.0 - self.error)) * math.sqrt(self.flights)

    def covers(self, budget: FloatArray) -> npt.NDArray[np.bool_]:
        """Which flights can be compared: with a curve, not those with a budget outside the measured range."""
        if self.curve is None:
            return np.ones(len(budget), np.bool_)
        return np.isnan(budget) | self.curve.covers(budget)

    def expectation(self, observed: ObservedFlights) -> Expectation:
        """At the costs of these flights and, with a curve, at their budgets where they have one."""
        flights = np.arange(1, len(observed) + 1)
        by_budget = np.full(len(observed), self.curve is not None) & ~np.isnan(observed.budget)
        pooled_cost = np.where(by_budget, 0.0, observed.cost)
        revenue, low = self.roas * pooled_cost, self.low * np.cumsum(pooled_cost)
        variance = np.full(len(observed), (self.deviation / self.roas) ** 2)
        if self.curve is not None:
            cost = np.where(by_budget, observed.cost, 0.0)
            budget = np.where(by_budget, observed.budget, self.curve.reference)
            at_budget, its_low = self.curve.expected_revenue(cost, budget, self.error)
            revenue, low = revenue + at_budget, low + its_low
            variance[by_budget] = self.curve.deviation**2
        deviation = np.sqrt(np.cumsum(variance) / flights)
        spent = np.cumsum(observed.cost)
        return Expectation(revenue, _per(np.cumsum(revenue), spent), _per(low, spent), deviation, by_budget)


def _number(told: Any, name: str) -> float:
    value = told.get(name) if isinstance(told, Mapping) else None
    return float(value) if isinstance(value, (int, float)) else math.nan


@dataclass(frozen=True)
class Expectation:
    """What a card expects of n flights, (n,) each: of every flight its revenue, and after every flight the rest.

    roas, floor: pooled, and the low end of that. deviation: of one flight's influence on observed / expected revenue.
    by_budget: which flights are compared at their own budget.
    """

    revenue: FloatArray
    roas: FloatArray
    floor: FloatArray
    deviation: FloatArray
    by_budget: npt.NDArray[np.bool_]


class BudgetControl(str, Enum):
    """Which flights are compared with the card's ROAS at their own budgets."""

    ALL = "all"
    SOME = "some"  # those with a logged budget
    NO_BUDGETS = "no_budgets"  # none: the log has no budget
    NO_CURVE = "no_curve"  # none: the card has no ROAS by budget


@dataclass(frozen=True)
class Watch:
    """All looks at a log: after each flight its pooled ROAS and the ends of its interval, (n,) each.

    Before FIRST_LOOK flights, and before anything was spent, the interval is endless. left_out: flights with a budget
    outside the card's range; they count nowhere else.
    """

    card: Card
    false_alarm: float
    roas: FloatArray
    low: FloatArray
    high: FloatArray
    expected: Expectation
    delivery: float
    left_out: int

    @property
    def flights(self) -> int:
        """How many were compared."""
        return len(self.roas)

    @property
    def floor(self) -> float:
        """The low end of the ROAS that the card expects of all flights; of none that spent, the card's own."""
        floor = float(self.expected.floor[-1])
        return self.card.low if math.isnan(floor) else floor

    @property
    def budget_control(self) -> BudgetControl:
        """For which flights."""
        if self.card.curve is None:
            return BudgetControl.NO_CURVE
        if self.expected.by_budget.all():
            return BudgetControl.ALL
        return BudgetControl.SOME if self.expected.by_budget.any() else BudgetControl.NO_BUDGETS

    @cached_property
    def noticed_after(self) -> int | None:
        """The first look, in flights, that raised the alarm; None while there is none."""
        below = np.flatnonzero(self.high < self.expected.floor)
        return int(below[0]) + 1 if len(below) else None

    @property
    def interval(self) -> Interval:
        """That of the last look."""
        return Interval(float(self.low[-1]), float(self.high[-1]))

    @property
    def card_error(self) -> float:
        """How often a low end of the card that is used here lies above the truth, at most."""
        return self.card.error * (2.0 if self.budget_control is BudgetControl.SOME else 1.0)

    @property
    def false_alarm_if_unchanged(self) -> float:
        """How often there is ever an alarm, at most, for a model that does as when its card was written."""
        return self.false_alarm + self.card_error


def watch(observed: ObservedFlights, card: Card, false_alarm: float) -> Watch:
    """Look after every flight. `false_alarm`: of all looks together, 0..0.5.

    Raises InputError if every flight has a budget outside the card's range.
    """
    compared = card.covers(observed.budget)
    if card.curve is not None and not compared.any():
        raise InputError(
            f"budget: every flight is outside the measured {card.curve.measured}: run a sweep in a market with these "
            "budgets"
        )
    left_out, observed = int((~compared).sum()), observed.only(compared)
    expected, sequence = card.expectation(observed), _sequence(false_alarm)
    value, deviations = _running(observed.revenue, expected.revenue)
    deviations = np.maximum(deviations, expected.deviation)
    # Cheap enough: a microsecond a look.
    radius = np.array([sequence.radius(deviation, n) for n, deviation in enumerate(deviations.tolist(), 1)])
    roas = _per(np.cumsum(observed.revenue), np.cumsum(observed.cost))
    unknown = np.isnan(roas) | (np.arange(1, len(roas) + 1) < FIRST_LOOK)
    low = np.where(unknown, -np.inf, (value - radius) * expected.roas)
    high = np.where(unknown, np.inf, (value + radius) * expected.roas)
    return Watch(card, false_alarm, roas, low, high, expected, observed.delivery, left_out)


def flights_to_notice(found: Watch, loss: float) -> int | None:
    """After how many flights such as those observed a loss of this share of ROAS is noticed, by average luck."""
    expected, floor = float(found.expected.roas[-1]), float(found.expected.floor[-1])
    deviation = float(found.expected.deviation[-1])
    room = floor / expected - (1.0 - loss)
    sequence = _sequence(found.false_alarm)
    if not room > sequence.radius(deviation, MOST):  # NaN before anything was spent
        return None
    low, high = FIRST_LOOK - 1, MOST
    while high - low > 1:  # the radius falls with every flight
        middle = (low + high) // 2
        low, high = (low, middle) if sequence.radius(deviation, middle) < room else (middle, high)
    return high


def _sequence(false_alarm: float) -> ConfidenceSequence:
    # Of its two ends only the upper one raises an alarm, which is half of its error.
    return ConfidenceSequence(2.0 * false_alarm, SHARPEST)


def _per(above: FloatArray, below: FloatArray) -> FloatArray:
    """above / below, NaN where `below` is 0."""
    ratios: FloatArray = np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)
    return ratios


def _running(above: FloatArray, below: FloatArray) -> tuple[FloatArray, FloatArray]:
    """After each flight: the pooled ratio, and the deviation of its influence as sequences.Ratio has it; (n,) each."""
    flights = np.arange(1, len(above) + 1)
    total = np.cumsum(below)
    value = _per(np.cumsum(above), total)
    squares = np.cumsum(above**2) - 2.0 * value * np.cumsum(above * below) + value**2 * np.cumsum(below**2)
    variance = np.maximum(squares, 0.0) / np.maximum(flights - 1, 1)
    deviation = np.sqrt(variance) * _per(flights.astype(np.float64), total)
    return value, np.where(flights > 1, np.nan_to_num(deviation, nan=np.inf), np.inf)
