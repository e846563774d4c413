"""What the final stage's race is worth beside simpler ways to choose, for the same number of flights: `make selection`.

No simulator: arms whose truth is known, flown thousands of times. How much their flights vary was measured on five
BayesDual bidders (default constants, optimism 0.1, shade 0.05, traffic_use 0.8, the traffic filter) on 1,536 common
flights of airfrance-search. The standard deviation of one flight's part in the score is 40 % of it, nearly all of it
common to all arms. A paired difference has 15.3 to 16.5 % of the score, 16.1 % in the median, if the score
counts revenue, and 1.6 to 2.6 %, 1.8 % in the median, if it counts expected revenue, which leaves out the luck of
single orders. Their scores by expected revenue differ by 0.04 to 1.3 %. In the quickstart of the README, the truths of
13 trials differ by 0.5 % (standard deviation).

A sweep has 12 configurations and the control arm, whose truth is their mean. The race takes the best five of the search
and the control arm, with the default budget of 2,048 flights for each; the confirmation flies 2,048 for who is kept and
the control arm, and so does a play-off where there is one. The other ways get as many flights as the three together: a
longer search, or more for each of the six.
The error of what is told is without the flights' common luck, whose mean is known: that shows a bias in fewer sweeps.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.special import ndtri

from gaelp_ray.evidence.ratios import intervals
from gaelp_ray.evidence.sequences import Ratio
from gaelp_ray.records import PER_FLIGHT, FlightTotals, FloatArray
from gaelp_ray.sweep.outcome.eligibility import Eligibility
from gaelp_ray.sweep.outcome.playoff import play_off
from gaelp_ray.sweep.outcome.race import Race, Rules, decide, race

ROAS = 10.0
COMMON = 0.38  # sd of a flight's luck for all arms alike
PAIRED = {"revenue": 0.161, "expected revenue": 0.018}  # sd of a paired difference, by what the score counts
SPREADS = (("revenue", 0.005), ("revenue", 0.02), ("expected revenue", 0.0025))
CONFIGURATIONS, TOP, VALIDATION, EACH = 12, 5, 256, 2048
CONFIDENCE = 0.95
SWEEPS, PAIRS, RACES, POWER = 400, 2000, 500, 100
DIFFERENCES = (0.001, 0.0025, 0.005, 0.01, 0.02)

CONTROL = "control"
SEARCH, RACE, PLAYED, CONFIRMED = (CONFIGURATIONS + 1) * VALIDATION, (TOP + 1) * EACH, 2 * EACH, 2 * EACH
LONGER = VALIDATION + (RACE + PLAYED + CONFIRMED) // (CONFIGURATIONS + 1)
EQUAL = (RACE + PLAYED + CONFIRMED) // (TOP + 1)

Truths = Mapping[str, float]
Luck = Callable[[np.random.Generator, int], FloatArray]
"""(dice, flights) -> what an arm's flights earn of what they should, (flights,), with mean 1."""


def normal(deviation: float) -> Luck:
    return lambda dice, flights: dice.normal(1.0, deviation, flights)


def gamma(dice: np.random.Generator, flights: int) -> FloatArray:
    """Skewness 4, standard deviation 2."""
    return dice.gamma(0.25, 4.0, flights)


def mostly_nothing(dice: np.random.Generator, flights: int) -> FloatArray:
    """Nine of ten flights earn nothing: skewness 7, standard deviation 4.4."""
    return 10.0 * (dice.random(flights) < 0.1) * dice.gamma(1.0, 1.0, flights)


def by_score(counts: str) -> Luck:
    """Normal, as a score that counts `revenue` or `expected revenue` was measured to vary."""
    return normal(PAIRED[counts] / math.sqrt(2.0))


@dataclass(frozen=True)
class Field:
    """Arms whose truth is known. lucks: of the arms in their order, over and over."""

    truths: Truths
    lucks: Sequence[Luck]

    def fly(self, seeds: Sequence[int], arms: Sequence[str], number: int, flights: int) -> dict[str, FlightTotals]:
        """One round of common flights, a function of its seeds and its number, not of the arms.

        The score may count revenue or expected revenue; what they are without an arm's own luck is `oracle_revenue`.
        """
        common = np.random.default_rng([*seeds, number])
        budget = common.uniform(50.0, 150.0, flights)
        cost = 0.97 * budget
        worth = cost * common.gamma(COMMON**-2, COMMON**2, flights)
        ones, flown = np.ones(flights), {}
        for arm in arms:
            index = list(self.truths).index(arm)
            own = self.lucks[index % len(self.lucks)](np.random.default_rng([*seeds, number, 1 + index]), flights)
            due = self.truths[arm] * worth
            sums = {"budget": budget, "cost": cost, "oracle_revenue": due}
            earned = dict.fromkeys(("revenue", "expected_revenue"), due * own)
            flown[arm] = FlightTotals(steps=168, **dict.fromkeys(PER_FLIGHT, ones) | sums | earned)
        return flown


@dataclass(frozen=True)
class Choice:
    """What one way of choosing came to. claimed: whether it says that there is a winner."""

    kept: str
    told: FlightTotals
    claimed: bool
    flights: int


def best_of(flown: Mapping[str, FlightTotals]) -> Choice:
    """The largest ROAS, told as it is; a winner if it is above the control arm by a paired interval for one look."""
    kept = max(flown, key=lambda arm: flown[arm].pooled().roas)
    ratios = [Ratio.of(flown[arm].revenue, flown[arm].cost) for arm in (kept, CONTROL)]
    difference = ratios[0] - ratios[1]
    radius = float(ndtri((1.0 + CONFIDENCE) / 2.0)) * difference.deviation / math.sqrt(len(difference.influence))
    flights = sum(len(totals) for totals in flown.values())
    return Choice(kept, flown[kept], kept != CONTROL and difference.value > radius, flights)


def raced(field: Field, arms: Sequence[str], seeds: Sequence[int]) -> Race:
    """With the default budget."""
    return race(arms, Rules(CONFIDENCE, EACH * len(arms), Eligibility(0.9)), partial(field.fly, seeds))


def ours(field: Field, arms: Sequence[str], sweep: int, control: str | None) -> Choice:
    """Race, play-off and confirmation. control: None decides ties by the best ROAS of the race."""
    run = raced(field, arms, [3, sweep])
    verdict, played = play_off(
        run, decide(run, control, {}), control, lambda pair: field.fly([7, sweep], pair, 0, EACH)
    )
    assert verdict.kept is not None
    told = field.fly([4, sweep], [verdict.kept], 0, EACH)[verdict.kept]
    flights = run.flights + (PLAYED if played else 0) + CONFIRMED
    return Choice(verdict.kept, told, verdict.decision == "winner", flights)


def choices(field: Field, sweep: int) -> dict[str, Choice]:
    """All ways of choosing after one search."""
    truths = field.truths
    search = field.fly([1, sweep], list(truths), 0, VALIDATION)
    more = field.fly([1, sweep], list(truths), 1, LONGER - VALIDATION)
    longer = {arm: FlightTotals.concatenate([search[arm], more[arm]]) for arm in truths}
    sampled = sorted((arm for arm in truths if arm != CONTROL), key=lambda arm: -search[arm].pooled().roas)
    arms = [*sampled[:TOP], CONTROL]
    return {
        f"maximum of the search ({VALIDATION} each)": best_of(search),
        f"maximum of a longer search ({LONGER} each)": best_of(longer),
        f"top {TOP} and control, equally ({EQUAL} each)": best_of(field.fly([2, sweep], arms, 0, EQUAL)),
        "ours: race, play-off, confirmation": ours(field, arms, sweep, CONTROL),
        "ours, ties keep the best of the race": ours(field, arms, sweep, None),
    }


def drawn(sweep: int, spread: float) -> Truths:
    """The truths of one sweep."""
    gains = np.random.default_rng([0, sweep]).normal(0.0, spread, CONFIGURATIONS)
    return {f"c{n:02d}": ROAS * (1.0 + float(gain)) for n, gain in enumerate(gains)} | {CONTROL: ROAS}


def mean(values: Sequence[float], form: str = "6.3f") -> str:
    """With its standard error."""
    return f"{np.mean(values):{form}} ± {np.std(values, ddof=1) / math.sqrt(len(values)):.3f}"


def compared(counts: str, spread: float) -> None:
    """A row for every way of choosing."""
    fields = [Field(drawn(sweep, spread), [by_score(counts)]) for sweep in range(SWEEPS)]
    found = [choices(field, sweep) for sweep, field in enumerate(fields)]
    print(f"\nscore: {counts}; truths differ by {spread:.2%}, {SWEEPS} sweeps; in % of the ROAS, ± standard error")
    print(f"{'':45s}{'regret':>14s}{'told - true':>16s}{'coverage':>10s}{'winner':>8s}{'wrong':>7s}{'flights':>9s}")
    for way in found[0]:
        rows = [(field.truths, choice[way]) for field, choice in zip(fields, found, strict=True)]
        regret = [100.0 * (1.0 - truths[c.kept] / max(truths.values())) for truths, c in rows]
        bias = [100.0 * (c.told.revenue.sum() / c.told.oracle_revenue.sum() - 1.0) for _, c in rows]
        covered = np.mean([truths[c.kept] in intervals(c.told, CONFIDENCE)["roas"] for truths, c in rows])
        claimed = np.mean([c.claimed for _, c in rows])
        wrong = np.mean([c.claimed and truths[c.kept] <= truths[CONTROL] for truths, c in rows])
        flights = (0 if "search" in way else SEARCH) + np.mean([c.flights for _, c in rows])
        told = f"{mean(regret):>14s}{mean(bias, '+6.3f'):>16s}{covered:10.1%}{claimed:8.1%}{wrong:7.1%}{flights:9,.0f}"
        print(f"{way:45s}{told}")


def share(called: Sequence[bool]) -> str:
    """With its standard error, which is never 0."""
    rate, races = float(np.mean(called)), len(called)
    return f"{rate:6.2%} ± {math.sqrt(max(rate * (1.0 - rate), 1.0 / races) / races):.2%}"


def false_winners() -> None:
    """Races in which several arms are the best; in the hardest ones, the others are far below and leave their flights.

    Arms of equal luck have symmetric differences; the differences of unlike ones are skewed.
    """
    steady = by_score("revenue")
    lucks = {
        "normal": [steady],
        "mostly nothing": [mostly_nothing],
        "normal and gamma by turns": [steady, gamma],
        "normal and mostly nothing": [steady, mostly_nothing],
    }
    half = (1.0 - CONFIDENCE) / 2.0
    print(
        f"\na winner is called although others are as good (the race's part of the stated {2 * half:.1%}: {half:.1%})"
    )
    for name, of_arms in lucks.items():
        for equal, worse, races in ((2, 0, PAIRS), (4, 0, RACES), (6, 0, RACES), (2, 2, RACES), (2, 4, RACES)):
            truths = {f"a{n}": ROAS * (1.0 if n < equal else 0.05) for n in range(equal + worse)}
            field = Field(truths, [of_arms[n % len(of_arms)] if n < equal else steady for n in range(equal + worse)])
            runs = (raced(field, list(truths), [5, n]) for n in range(races))
            decisions = [(decide(run, None, {}), run.drops.keys()) for run in runs]
            called = share([verdict.decision == "winner" for verdict, _ in decisions])
            dropped = share(["a0" in drops for _, drops in decisions])
            print(f"{name:26s}{equal} equal, {worse} worse: {called}, a given best one dropped: {dropped}")


def with_play_off() -> None:
    """The whole final stage among equal arms; the first is the control arm, which is challenged."""
    print(f"\nequal arms: a winner is called by race or play-off (stated: {1.0 - CONFIDENCE:.0%} at most)")
    for count, races in ((2, PAIRS), (TOP + 1, RACES)):
        field = Field({CONTROL: ROAS} | {f"a{n}": ROAS for n in range(1, count)}, [by_score("revenue")])
        called = [ours(field, list(field.truths), 1000 + n, CONTROL).claimed for n in range(races)]
        print(f"{count} arms: {share(called)} of {races} races")


def power() -> None:
    """One arm is better than the others, which are equal."""
    print(f"\none arm is better by d than all others, which are equal; {EACH:,} flights for each, {POWER} races each")
    for counts in PAIRED:
        for count in (2, 4, 6):
            for difference in DIFFERENCES:
                truths = {f"a{n}": ROAS * (1.0 + difference * (n == 0)) for n in range(count)}
                field = Field(truths, [by_score(counts)])
                runs = [raced(field, list(truths), [6, n]) for n in range(POWER)]
                verdicts = [decide(run, None, {}) for run in runs]
                right = np.mean([v.decision == "winner" and v.kept == "a0" for v in verdicts])
                wrong = np.mean([v.decision == "winner" and v.kept != "a0" for v in verdicts])
                flights = np.mean([run.flights for run in runs])
                told = f"found {right:6.1%}, another called {wrong:5.1%}, {flights:7,.0f} flights"
                print(f"{counts:17s}{count} arms, d = {difference:5.2%}: {told}")


def main() -> None:
    start = time.process_time()
    for counts, spread in (*SPREADS, ("revenue", 0.0)):
        compared(counts, spread)
    false_winners()
    with_play_off()
    power()
    print(f"\n{time.process_time() - start:.0f} CPU s")


if __name__ == "__main__":
    main()
