"""What the final stage's race is worth beside simpler ways to choose, for the same number of flights: `make selection`.

No simulator: arms whose truth is known, flown thousands of times. Their noise and spread were read once off the
quickstart sweep in the README (13 trials of 256 validation flights, four arms of 4,096 fresh ones). The interval of one
arm's ROAS, 10.332 to 10.586, means that a flight's part in it has a standard deviation of 40 % of the ROAS; that of a
paired difference, +0.102 to +0.207, means 16 % for the part that is not common to both, 11.6 % for each arm. The search
scores differ by 0.88 %, of which 0.72 % is that noise over 256 flights: the truths differ by 0.5 %.

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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.special import ndtri

from gaelp_ray.evidence.ratios import intervals
from gaelp_ray.evidence.sequences import Ratio
from gaelp_ray.records import PER_FLIGHT, FlightTotals
from gaelp_ray.sweep.outcome.eligibility import Eligibility
from gaelp_ray.sweep.outcome.playoff import play_off
from gaelp_ray.sweep.outcome.race import Race, Rules, decide, race

ROAS, SPREADS = 10.0, (0.005, 0.02)
COMMON, OWN = 0.38, 0.116  # sd of a flight's luck: for all arms alike, and for each arm
CONFIGURATIONS, TOP, VALIDATION, EACH = 12, 5, 256, 2048
CONFIDENCE = 0.95
SWEEPS, RACES, PAIRS = 500, 200, 500
DIFFERENCES = (0.0025, 0.005, 0.01, 0.02, 0.05)

CONTROL = "control"
SEARCH, RACE, PLAYED, CONFIRMED = (CONFIGURATIONS + 1) * VALIDATION, (TOP + 1) * EACH, 2 * EACH, 2 * EACH
LONGER = VALIDATION + (RACE + PLAYED + CONFIRMED) // (CONFIGURATIONS + 1)
EQUAL = (RACE + PLAYED + CONFIRMED) // (TOP + 1)

Truths = Mapping[str, float]


def fly(
    truths: Truths, seeds: Sequence[int], arms: Sequence[str], number: int, flights: int
) -> dict[str, FlightTotals]:
    """One round of common flights, decided by its seeds and its number, whoever takes part."""
    common = np.random.default_rng([*seeds, number])
    budget = common.uniform(50.0, 150.0, flights)
    luck = common.gamma(COMMON**-2, COMMON**2, flights)
    ones, flown = np.ones(flights), {}
    for arm in arms:
        own = np.random.default_rng([*seeds, number, 1 + list(truths).index(arm)]).normal(1.0, OWN, flights)
        cost = 0.97 * budget
        expected = truths[arm] * cost * luck
        sums = {"budget": budget, "cost": cost, "revenue": expected * own, "expected_revenue": expected}
        flown[arm] = FlightTotals(steps=168, **dict.fromkeys(PER_FLIGHT, ones) | sums)
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


def raced(truths: Truths, arms: Sequence[str], seeds: Sequence[int]) -> Race:
    """With the default budget."""
    return race(arms, Rules(CONFIDENCE, EACH * len(arms), Eligibility(0.9)), partial(fly, truths, seeds))


def ours(truths: Truths, arms: Sequence[str], sweep: int, control: str | None) -> Choice:
    """Race, play-off and confirmation. control: None decides ties by the best ROAS of the race."""
    run = raced(truths, arms, [3, sweep])
    verdict, played = play_off(
        run, decide(run, control, {}), control, lambda pair: fly(truths, [7, sweep], pair, 0, EACH)
    )
    assert verdict.kept is not None
    told = fly(truths, [4, sweep], [verdict.kept], 0, EACH)[verdict.kept]
    flights = run.flights + (PLAYED if played else 0) + CONFIRMED
    return Choice(verdict.kept, told, verdict.decision == "winner", flights)


def choices(truths: Truths, sweep: int) -> dict[str, Choice]:
    """All ways of choosing after one search."""
    search = fly(truths, [1, sweep], list(truths), 0, VALIDATION)
    more = fly(truths, [1, sweep], list(truths), 1, LONGER - VALIDATION)
    longer = {arm: FlightTotals.concatenate([search[arm], more[arm]]) for arm in truths}
    sampled = sorted((arm for arm in truths if arm != CONTROL), key=lambda arm: -search[arm].pooled().roas)
    arms = [*sampled[:TOP], CONTROL]
    return {
        f"maximum of the search ({VALIDATION} each)": best_of(search),
        f"maximum of a longer search ({LONGER} each)": best_of(longer),
        f"top {TOP} and control, equally ({EQUAL} each)": best_of(fly(truths, [2, sweep], arms, 0, EQUAL)),
        "ours: race, play-off, confirmation": ours(truths, arms, sweep, CONTROL),
        "ours, ties keep the best of the race": ours(truths, arms, sweep, None),
    }


def drawn(sweep: int, spread: float) -> Truths:
    """The truths of one sweep."""
    gains = np.random.default_rng([0, sweep]).normal(0.0, spread, CONFIGURATIONS)
    return {f"c{n:02d}": ROAS * (1.0 + float(gain)) for n, gain in enumerate(gains)} | {CONTROL: ROAS}


def mean(values: Sequence[float], form: str = "6.3f") -> str:
    """With its standard error."""
    return f"{np.mean(values):{form}} ± {np.std(values, ddof=1) / math.sqrt(len(values)):.3f}"


def compared(truths_of: Sequence[Truths], title: str) -> None:
    """A row for every way of choosing."""
    found = [choices(truths, sweep) for sweep, truths in enumerate(truths_of)]
    print(f"\n{title}, {len(found)} sweeps; in % of the ROAS, ± standard error")
    print(f"{'':45s}{'regret':>14s}{'told - true':>16s}{'coverage':>10s}{'winner':>8s}{'wrong':>7s}{'flights':>9s}")
    for way in found[0]:
        rows = [(truths, choice[way]) for truths, choice in zip(truths_of, found, strict=True)]
        regret = [100.0 * (1.0 - truths[c.kept] / max(truths.values())) for truths, c in rows]
        bias = [100.0 * (c.told.revenue.sum() / c.told.expected_revenue.sum() - 1.0) for _, c in rows]
        covered = np.mean([truths[c.kept] in intervals(c.told, CONFIDENCE)["roas"] for truths, c in rows])
        claimed = np.mean([c.claimed for _, c in rows])
        wrong = np.mean([c.claimed and truths[c.kept] <= truths[CONTROL] for truths, c in rows])
        flights = (0 if "search" in way else SEARCH) + np.mean([c.flights for _, c in rows])
        told = f"{mean(regret):>14s}{mean(bias, '+6.3f'):>16s}{covered:10.1%}{claimed:8.1%}{wrong:7.1%}{flights:9,.0f}"
        print(f"{way:45s}{told}")


def false_winners() -> None:
    """Among equal arms, with no search before the race; the first is the control arm, which is challenged."""
    print(f"\nequal arms: a winner is called (stated: {1.0 - CONFIDENCE:.0%} at most)")
    for count in (2, TOP + 1):
        truths = {CONTROL: ROAS} | {f"a{n}": ROAS for n in range(1, count)}
        called = [ours(truths, list(truths), 1000 + n, CONTROL).claimed for n in range(PAIRS)]
        error = math.sqrt(max(np.mean(called) * (1.0 - np.mean(called)), 1.0 / PAIRS) / PAIRS)
        print(f"{count} arms: {np.mean(called):6.1%} ± {error:.1%} of {PAIRS} races")


def power() -> None:
    """One of six arms is better than the five others, which are equal."""
    print(f"\none of {TOP + 1} arms is better by d, {RACE:,} flights allowed, {RACES} races each")
    for difference in DIFFERENCES:
        truths = {f"a{n}": ROAS * (1.0 + difference * (n == 0)) for n in range(TOP + 1)}
        runs = [raced(truths, list(truths), [6, n]) for n in range(RACES)]
        verdicts = [decide(run, None, {}) for run in runs]
        right = np.mean([v.decision == "winner" and v.kept == "a0" for v in verdicts])
        wrong = np.mean([v.decision == "winner" and v.kept != "a0" for v in verdicts])
        flights = np.mean([run.flights for run in runs])
        print(f"d = {difference:6.2%}: found {right:6.1%}, another called {wrong:5.1%}, {flights:7,.0f} flights")


def main() -> None:
    start = time.process_time()
    for spread in SPREADS:
        compared([drawn(sweep, spread) for sweep in range(SWEEPS)], f"truths differ by {spread:.1%}")
    compared([drawn(sweep, 0.0) for sweep in range(SWEEPS)], "all truths are equal")
    false_winners()
    power()
    print(f"\n{time.process_time() - start:.0f} CPU s")


if __name__ == "__main__":
    main()
