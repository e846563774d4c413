"""A race of arms on common flights: flights go where it is open who is best, within a budget. Start at race().

Pure: the flights come from a callable, so that a race needs neither Ray nor a simulator.

Arms are ranked by SCORE, the expected return on the whole budget: plain ROAS falls with spend and favours arms that
spend less, and realised revenue hides small differences behind the luck of single orders.

What it promises, with half of 1 - confidence as its error e; the play-off (playoff.py) has the other half:

- An arm is found above one that is as good or better with probability p = (1 - BOUNDS) e / 2 at most. Every ordered
  pair of arms is one group-sequential test on the flights that both flew (evidence/group_sequential.py). Its looks are
  planned before the race (evidence/race_design.py); it may skip some and end at any time, whatever the data say.
- All bounds of all arms together err with probability BOUNDS e at most. Every bound of an arm has a confidence sequence
  at alpha = 2 BOUNDS e / (K B), two-sided, for K arms and B bounds: it errs on one side, as a bound is kept or broken.
- A given rival drops the best eligible arm with probability p at most: all K - 1 of them together with (K - 1) p.
- A winner is called among equals, or one that is not the best, with probability e at most. p is not divided by the
  number of arms, because a winner needs all others dropped: an intersection-union test (Berger, Technometrics 1982).
  The worst case are two equal arms far above the others, where either may win: 2 p + BOUNDS e = e. With more arms as
  good, several errors must come together: benchmarks/selection.py measures less than for two.

The tests are asymptotic in the number of flights: no arm is dropped on fewer than LEAST.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from gaelp_ray.evidence.group_sequential import Boundary
from gaelp_ray.evidence.pooled import pooled_ratio
from gaelp_ray.evidence.race_design import BOUNDS, LEAST, SMALLEST_ROUND, pair_boundary, race_error
from gaelp_ray.evidence.sequences import ConfidenceSequence, Ratio
from gaelp_ray.records import SCORE, FlightTotals
from gaelp_ray.sweep.outcome.eligibility import Eligibility
from gaelp_ray.training import EVALUATION_BATCH

Fly = Callable[[Sequence[str], int, int], Mapping[str, FlightTotals]]
"""(arms, number of the round from 0, flights) -> the same flights of every arm; whoever is missing could not fly."""


@dataclass(frozen=True)
class Rules:
    """Of one race. budget: flights of all arms together. eligibility: who may win."""

    confidence: float
    budget: int
    eligibility: Eligibility
    round: int = EVALUATION_BATCH

    def sequence(self, arms: int) -> ConfidenceSequence:
        """For every bound of every arm, sharpest when the arms have shared the budget evenly."""
        questions = arms * max(len(self.eligibility.bounds), 1)
        error = 2.0 * BOUNDS * race_error(self.confidence) / questions
        return ConfidenceSequence(error, max(self.budget // arms, 1))

    def boundary(self, arms: int) -> Boundary:
        """For the difference of every ordered pair of so many arms."""
        return pair_boundary(self.confidence, self.budget, arms, self.round)


@dataclass(frozen=True)
class Drop:
    """When an arm was dropped, and by whom."""

    round: int  # from 1
    by: str  # the label of the arm above it; "" for a bound that it breaks, or because it could not be flown


@dataclass(frozen=True)
class Race:
    """How far a race is. flown: flights of every arm in their common order, fewer of those that were dropped."""

    rules: Rules
    sequence: ConfidenceSequence  # for bounds
    boundary: Boundary  # for differences
    flown: Mapping[str, FlightTotals]
    drops: Mapping[str, Drop]
    failed: frozenset[str] = frozenset()
    rounds: int = 0

    @property
    def flights(self) -> int:
        """Of all arms together."""
        return sum(len(flights) for flights in self.flown.values())

    def fit(self, arm: str) -> bool:
        """Whether an arm may win, by its flights so far."""
        flights = self.flown[arm]
        return not self.rules.eligibility.fault(flights.pooled())

    def score(self, arm: str) -> float:
        """SCORE, pooled over the arm's flights; -inf where it is undefined."""
        score = self.flown[arm].pooled().as_dict()[SCORE]
        return score if math.isfinite(score) else -math.inf

    def above(self, one: str, other: str) -> bool:
        """Whether the one is better for certain, by their common flights up to the last planned look."""
        flights = self.boundary.look(min(len(self.flown[one]), len(self.flown[other])))
        if not flights:
            return False
        high, low = self._ratio(one, flights), self._ratio(other, flights)
        return high is not None and low is not None and self.boundary.crossed(high - low)

    def _ratio(self, arm: str, flights: int) -> Ratio | None:
        """SCORE of an arm's first flights, pooled once for all pairs."""
        if (arm, flights) not in self._ratios:
            self._ratios[arm, flights] = pooled_ratio(self.flown[arm].select(slice(flights)), SCORE)
        return self._ratios[arm, flights]

    @cached_property
    def _ratios(self) -> dict[tuple[str, int], Ratio | None]:
        return {}


def race(arms: Sequence[str], rules: Rules, fly: Fly) -> Race:
    """Rounds of common flights for all that are left, until one is left that may win, or the budget is spent.

    The last round may be smaller, so that the budget is used. The budget must allow SMALLEST_ROUND for every arm.
    """
    state = Race(rules, rules.sequence(len(arms)), rules.boundary(len(arms)), {}, {})
    left = list(arms)
    while size := _next_round(state, left):
        flown = fly(left, state.rounds, size)
        state = _looked(_joined(state, left, flown))
        left = [arm for arm in left if arm not in state.drops]
    return state


def _next_round(state: Race, left: Sequence[str]) -> int:
    """Flights of every arm in the next round; 0 where the race is over."""
    if not left or (state.rounds and len(left) == 1 and state.fit(left[0])):
        return 0
    size = min(state.rules.round, (state.rules.budget - state.flights) // len(left))
    return size if size >= SMALLEST_ROUND else 0


def _joined(state: Race, left: Sequence[str], flown: Mapping[str, FlightTotals]) -> Race:
    """With another round of flights, and without those that could not fly it."""
    lost = frozenset(left) - flown.keys()
    added = {
        arm: FlightTotals.concatenate([state.flown[arm], flights]) if arm in state.flown else flights
        for arm, flights in flown.items()
    }
    kept = {arm: flights for arm, flights in (dict(state.flown) | added).items() if arm not in lost}
    drops = dict(state.drops) | {arm: Drop(state.rounds + 1, "") for arm in lost}
    return replace(state, flown=kept, drops=drops, failed=state.failed | lost, rounds=state.rounds + 1)


def _looked(state: Race) -> Race:
    """Who is dropped now."""
    left = sorted((arm for arm in state.flown if arm not in state.drops), key=state.score, reverse=True)
    if not left or len(state.flown[left[0]]) < LEAST:
        return state
    eligible = {arm: state.rules.eligibility.certainly(state.flown[arm], state.sequence) for arm in left}
    drops = dict(state.drops)
    for arm in left:
        if eligible[arm] is False:
            drops[arm] = Drop(state.rounds, "")
        elif rival := next((other for other in left if eligible[other] and state.above(other, arm)), None):
            drops[arm] = Drop(state.rounds, rival)
    return replace(state, drops=drops)


@dataclass(frozen=True)
class Verdict:
    """What a race says. kept: the arm that is chosen, None where no arm may win."""

    decision: str  # "winner", "tie" or "none"
    kept: str | None
    rule: str = ""
    tied: tuple[str, ...] = ()  # the others that may be as good


CLEAR = "above every other eligible arm"
ALONE = "the only arm that keeps all bounds so far"
CONTROL = "control arm"
CHEAPER = "fewest training steps"
BETTER = "highest score in the race"


def decide(state: Race, control: str | None, steps: Mapping[str, int], without: Collection[str] = ()) -> Verdict:
    """Who is kept, of all arms but those in `without`, which turned out not to be eligible.

    control: the control arm. steps: env-steps of each arm's training. Whoever was dropped by an arm of `without` comes
    back, with the flights that it has. An arm that keeps all bounds so far may be the winner, certain or not: more
    flights will tell. One of which it is open whether it keeps them still makes a tie.
    """
    dropped = {arm for arm, drop in state.drops.items() if drop.by not in without}
    left = [arm for arm in state.flown if arm not in dropped and arm not in without]
    left.sort(key=state.score, reverse=True)
    fit = [arm for arm in left if state.fit(arm)]
    if not fit:
        return Verdict("none", None)
    still = [arm for arm in left if not any(state.above(other, arm) for other in fit)]
    best = [arm for arm in still if arm in fit] or fit[:1]
    tied = [arm for arm in still if arm not in best] + best
    if len(tied) == 1:
        return Verdict("winner", tied[0], CLEAR)
    kept, rule = _kept(best, control, steps)
    return Verdict("tie", kept, rule, tuple(arm for arm in left if arm in tied and arm != kept))


def _kept(best: Sequence[str], control: str | None, steps: Mapping[str, int]) -> tuple[str, str]:
    """One of several that may all be the best, ordered by falling score, and the rule that says so."""
    if control in best and control is not None:
        return control, CONTROL
    if len({steps.get(arm, 0) for arm in best}) > 1:
        return min(best, key=lambda arm: steps.get(arm, 0)), CHEAPER
    return best[0], BETTER if len(best) > 1 else ALONE
