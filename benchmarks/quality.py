"""How good the bidders are: optimality on flights that nobody trained with, as paired differences with 95 % intervals.

    make quality                   # everything: most of an hour on two cores
    python benchmarks/quality.py --seeds 1 --flights 256      # a look

Four tables. Classical bidders in every market. ExactBayes against BayesDual, with its default constants and with better
ones. Learners against BayesDual with its default constants, on the same flights: intervals hold both the luck of the
flights (normal) and of the training (t over the seeds). And what better information would be worth: BayesDual and
ExactBayes told the hidden values that they otherwise learn.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
from informed import INFORMED, KNOWLEDGE, fly_informed
from scipy.stats import t as student

from gaelp_ray import GAELPExperimentConfig
from gaelp_ray.agents import make_agent, reference_bidder
from gaelp_ray.records import FlightTotals
from gaelp_ray.training import Stream, evaluate, make_untrained, train
from gaelp_ray.worlds import market_of

EVALUATION = [2026, Stream.EVALUATION]
"""Flights of no training, validation or final stage."""

MARKETS: dict[str, dict[str, Any]] = {
    "airfrance nominal 0.25": {"departures": "nominal", "heterogeneity": 0.25},
    "airfrance nominal 0.5": {"departures": "nominal"},
    "airfrance nominal 1.0": {"departures": "nominal", "heterogeneity": 1.0},
    "airfrance realistic 0.25": {"heterogeneity": 0.25},
    "airfrance realistic 0.5": {},
    "airfrance realistic 1.0": {"heterogeneity": 1.0},
    "airfrance first price": {"auction": "first_price"},
    "airfrance delay 24 h": {"conversion_delay": 24.0},
    "airfrance fatigue 2": {"fatigue_half_life": 2.0},
    "kag-social": {"market": "kag-social"},
    "ipinyou-display": {"market": "ipinyou-display"},
}
"""Heterogeneity is the log sd of conversion rates between flights; realistic unless it says nominal."""

INFORMED_MARKETS = ("airfrance nominal 0.5", "airfrance realistic 0.5", "airfrance realistic 1.0")

# The winner of sweeps/bidders.yaml (seed 0): what it started from. CEM's own search is repeated per training seed.
FOUND = {"traffic": "filter", "drift_tracking": 0.456, "volume_prior_strength": 11.75, "traffic_use": 0.819,
         "pacing_shade": 0.0423}  # fmt: skip

BIDDERS: dict[str, dict[str, Any]] = {
    "PID": {"agent_type": "PID"},
    "BayesPID": {"agent_type": "BayesPID"},
    "BayesDual": {"agent_type": "BayesDual"},
    "  filter, drift": {"agent_type": "BayesDual", "dual": {"traffic": "filter", "drift_tracking": 1.0}},
    "  found by CEM": {"agent_type": "BayesDual", "dual": FOUND},
    "ExactBayes": {"agent_type": "ExactBayes"},
}
EXACT = "ExactBayes"
LESS = ("BayesDual", "  filter, drift", "  found by CEM")
"""What ExactBayes is compared with, flight by flight."""

CEM = {"agent_type": "CEM", "batch_size": 512, "num_episodes": 8192, "dual": FOUND}
PPO = {
    "agent_type": "PPO",
    "reward_function": "regret",
    "batch_size": 256,
    "num_episodes": 16384,
    "ppo": {"correction": "multiplier", "residual_scale": 0.5, "initial_std": 0.5, "averaging": 0.9},
}
LEARNERS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "CEM, the found configuration": (CEM, ["airfrance realistic 0.5"]),
    # Not with fatigue, whose hindsight optimum makes every iteration of a training slow.
    "PPO on BayesDual": (PPO, [name for name in MARKETS if "fatigue" not in name]),
}


def classical(market: str, bidder: str, flights: int) -> tuple[FlightTotals, float]:
    """Evaluation flights of a bidder that does not learn, and the CPU seconds that they took."""
    config = GAELPExperimentConfig(**MARKETS[market], **BIDDERS[bidder])
    world = market_of(config)
    started = time.process_time()
    totals = evaluate(make_agent(config, world.landscape), world, flights, EVALUATION).totals
    return totals, time.process_time() - started


def learned(market: str, learner: str, seed: int, flights: int) -> tuple[FlightTotals, FlightTotals]:
    """Evaluation flights of a learner trained with `seed`, and of BayesDual on the same flights."""
    config = GAELPExperimentConfig(**MARKETS[market], **LEARNERS[learner][0], seed=seed)
    env, agent = make_untrained(config)
    for _ in train(env, agent, config):
        pass
    world = market_of(config)
    reference = evaluate(reference_bidder(world.landscape), world, flights, EVALUATION)
    return evaluate(agent, world, flights, EVALUATION).totals, reference.totals


def difference(pairs: list[tuple[FlightTotals, FlightTotals]]) -> tuple[float, float]:
    """(mean, half width of its 95 % interval) of optimality gained, in points."""
    oracle = pairs[0][1].oracle_revenue.mean()
    gains = np.array([(a.expected_revenue - b.expected_revenue) / oracle for a, b in pairs]) * 100.0
    seeds, flights = gains.shape
    of_flights = 1.96 * gains.mean(axis=0).std(ddof=1) / np.sqrt(flights)
    of_seeds = student.ppf(0.975, seeds - 1) * gains.mean(axis=1).std(ddof=1) / np.sqrt(seeds) if seeds > 1 else 0.0
    return float(gains.mean()), float(np.hypot(of_flights, of_seeds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="training seeds")
    parser.add_argument("--flights", type=int, default=2048, help="evaluation flights")
    parser.add_argument("--only", default="", help="learners on markets whose name contains this")
    options = parser.parse_args()
    started = time.monotonic()
    with ProcessPoolExecutor() as pool:
        if not options.only:
            print_classical(pool, options.flights)
            print_information(pool, options.flights)
        print_learned(pool, options)
    print(f"\n{options.flights} evaluation flights; {(time.monotonic() - started) / 60:.0f} minutes")


def print_classical(pool: ProcessPoolExecutor, flights: int) -> None:
    jobs = {(m, b): pool.submit(classical, m, b, flights) for m in MARKETS for b in BIDDERS}
    print(f"{'optimality':28s}" + "".join(f"{bidder:>18s}" for bidder in BIDDERS))
    for market in MARKETS:
        row = (jobs[market, bidder].result()[0].pooled().optimality for bidder in BIDDERS)
        print(f"{market:28s}" + "".join(f"{optimality:18.4f}" for optimality in row), flush=True)
    print(f"\n{'points of ExactBayes above':28s}" + "".join(f"{name.strip():>18s}" for name in LESS) + "   CPU time")
    for market in MARKETS:
        exact, cpu = jobs[market, EXACT].result()
        cells = [difference([(exact, jobs[market, name].result()[0])]) for name in LESS]
        times = cpu / jobs[market, LESS[0]].result()[1]
        print(f"{market:28s}" + "".join(f"{gain:+11.2f} ± {half:4.2f}" for gain, half in cells) + f"   x {times:.2f}")


def print_information(pool: ProcessPoolExecutor, flights: int) -> None:
    markets = {name: MARKETS[name] for name in INFORMED_MARKETS}
    cases = [(bidder, knowledge) for bidder in INFORMED for knowledge in KNOWLEDGE]
    jobs = {
        (m, b, k): pool.submit(fly_informed, MARKETS[m], k, flights, EVALUATION, b) for m in markets for b, k in cases
    }
    for bidder in INFORMED:
        print(f"\n{bidder + ' told':44s}" + "".join(f"{market:>28s}" for market in markets))
        for knowledge in KNOWLEDGE:
            pairs = ((jobs[m, bidder, k].result() for k in (knowledge, "nothing")) for m in markets)
            cells = [difference([(told, plain)]) for told, plain in pairs]
            print(f"{knowledge:44s}" + "".join(f"{gain:+19.2f} ± {half:5.2f} " for gain, half in cells), flush=True)


def print_learned(pool: ProcessPoolExecutor, options: argparse.Namespace) -> None:
    cases = [(m, n) for n, (_, markets) in LEARNERS.items() for m in markets if options.only in m]
    seeds = range(1, options.seeds + 1)
    jobs = {(m, n, s): pool.submit(learned, m, n, s, options.flights) for m, n in cases for s in seeds}
    print(f"\n{'points above BayesDual':28s}{'learner':32s}{'difference':>20s}  seeds")
    for market, learner in cases:
        pairs = [jobs[market, learner, seed].result() for seed in seeds]
        mean, half = difference(pairs)
        single = "  ".join(f"{difference([pair])[0]:+.2f}" for pair in pairs)
        print(f"{market:28s}{learner:32s}{mean:+12.2f} ± {half:5.2f}  {single}", flush=True)


if __name__ == "__main__":
    main()
