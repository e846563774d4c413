"""What the budgets in a log are worth to `monitor`: false alarms, masked losses, flights to notice. `make monitoring`.

BayesDual flies once; cards and logs are drawn from its flights with replacement. A final stage's card has 2,048 flights
by default. A log has the same budgets as the card, or only the larger or the smaller third of them, and is looked at
after every flight. `--false-alarm` is 1 %; for a model that has not changed, monitor states 3.5 % at most.

The first table is the fit: observed / expected revenue in eighths of the budgets, for the power law that monitor uses.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import math
import time
from dataclasses import replace

import numpy as np

from gaelp_ray import GAELPExperimentConfig
from gaelp_ray.agents import make_agent
from gaelp_ray.evidence.budget_curve import fit_budget_curve
from gaelp_ray.evidence.decline import Card, watch
from gaelp_ray.evidence.observed import ObservedFlights
from gaelp_ray.evidence.sequences import Ratio
from gaelp_ray.records import PER_FLIGHT, FlightTotals
from gaelp_ray.training import Stream, evaluate
from gaelp_ray.worlds import market_of

SEEDS = [2026, Stream.EVALUATION]
FLOWN = {
    ("airfrance-search", "BayesDual"): 24_576,
    ("airfrance-search", "PID"): 6_144,
    ("kag-social", "BayesDual"): 8_192,
    ("ipinyou-display", "BayesDual"): 8_192,
}
FALSE_ALARM, CONFIDENCE, Z = 0.01, 0.95, 1.959964
LOGS, LOOKS, CARDS = 200, 1000, (512, 2048)
BUDGETS = ("same", "larger third", "smaller third")


def fly(market: str, agent: str, flights: int) -> FlightTotals:
    """An agent that does not learn, on flights of no training."""
    config = GAELPExperimentConfig(market=market, agent_type=agent)
    world = market_of(config)
    return evaluate(make_agent(config, world.landscape), world, flights, SEEDS).totals


def chosen(flights: FlightTotals, index: np.ndarray) -> FlightTotals:
    """Some of the flights."""
    return FlightTotals(flights.steps, **{name: getattr(flights, name)[index] for name in PER_FLIGHT})


def show_fit(market: str, agent: str, flights: FlightTotals) -> None:
    """One row: the curve, what it takes off the spread, and how well it fits."""
    curve, ratio = fit_budget_curve(flights), Ratio.of(flights.revenue, flights.cost)
    assert curve is not None
    expected, _ = curve.expected_revenue(flights.cost, flights.budget, 0.025)
    eighths = np.array_split(np.argsort(flights.budget), 8)
    fit = [flights.revenue[part].sum() / expected[part].sum() for part in eighths]
    spread = f"{ratio.deviation / ratio.value:.3f} -> {curve.deviation:.3f}"
    print(
        f"{market:18s}{agent:11s}{len(flights):7,}  {curve.elasticity:+.3f} ± {curve.elasticity_error:.3f}  {spread}   "
        + " ".join(f"{value:.3f}" for value in fit),
        flush=True,
    )


def card_of(flights: FlightTotals) -> Card:
    """As a final stage writes it; its interval by the delta method, which agrees with the bootstrap and is quicker."""
    ratio, metrics = Ratio.of(flights.revenue, flights.cost), flights.pooled()
    half = Z * ratio.deviation / math.sqrt(len(flights))
    curve = fit_budget_curve(flights)
    return Card(ratio.value, ratio.value - half, ratio.value + half, CONFIDENCE, len(flights), metrics.delivery, curve)


def simulate(flights: FlightTotals, of_card: int, budgets: str, loss: float) -> str:
    """A row: alarms and flights to notice, of the same cards and logs, without budgets and with them."""
    dice, low, high = np.random.default_rng(7), *np.quantile(flights.budget, [1 / 3, 2 / 3])
    pool = {"same": flights.budget > 0, "larger third": flights.budget > high, "smaller third": flights.budget < low}
    those = np.flatnonzero(pool[budgets])
    after: dict[str, list[float]] = {"without": [], "with": []}
    for _ in range(LOGS):
        card = card_of(chosen(flights, dice.integers(0, len(flights), of_card)))
        some = chosen(flights, dice.choice(those, LOOKS))
        log = ObservedFlights(some.cost, some.revenue * (1.0 - loss), some.budget)
        for name, used in (("without", replace(card, curve=None)), ("with", card)):
            after[name].append(watch(log, used, FALSE_ALARM).noticed_after or math.inf)
    row = f"{of_card:6,}  {loss:6.0%}  {budgets:15s}"
    for noticed in after.values():
        after_flights = np.quantile(noticed, [0.5, 0.9], method="higher")
        times = "".join(f"{flights:6.0f}" if math.isfinite(flights) else "     -" for flights in after_flights)
        row += f"  {np.isfinite(noticed).mean():7.1%} {times}"
    return row


def main() -> None:
    """Both tables."""
    began = time.time()
    print("market            agent      flights  elasticity       deviation        observed / expected, by eighths")
    flown = {}
    for (market, agent), flights in FLOWN.items():
        flown[market, agent] = fly(market, agent, flights)
        show_fit(market, agent, flown[market, agent])
    print(f"\n{LOGS} logs of {LOOKS:,} looks, airfrance-search; flights to notice: median and nine in ten")
    print(f"{'':33s}  budgets ignored        budgets controlled for")
    print("  card    loss  budgets          alarms  noticed after  alarms  noticed after")
    for of_card in CARDS:
        for loss in (0.0, 0.1, 0.2):
            for budgets in BUDGETS:
                print(simulate(flown["airfrance-search", "BayesDual"], of_card, budgets, loss), flush=True)
    print(f"{time.time() - began:.0f} s")


if __name__ == "__main__":
    main()
