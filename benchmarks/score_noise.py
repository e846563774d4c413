"""How much of a score is luck: scores from realised and from expected revenue, on the same flights.

    make noise

Two tables. Paired comparisons with default BayesDual: the standard deviation that one common flight adds to a
difference of delivered ROAS, and the flights that it takes to see a difference of 0.05 (95 % confidence, 80 % power).
A search: random BayesDuals scored on 128 common flights, and how their scores correlate with the truth, which is the
expected delivered ROAS on all flights flown here. One process, some minutes.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import time
from typing import Any

import numpy as np

from gaelp_ray import GAELPExperimentConfig
from gaelp_ray.agents import make_agent
from gaelp_ray.evidence.pooled import pooled_ratio
from gaelp_ray.evidence.sequences import Ratio
from gaelp_ray.records import FlightTotals, FloatArray
from gaelp_ray.training import Stream, fly_batch
from gaelp_ray.worlds import market_of

BLOCK, BLOCKS = 128, 32
SEEDS = [2027, Stream.EVALUATION]
DIFFERENCE, DEVIATIONS = 0.05, 1.959964 + 0.841621  # normal quantiles of 97.5 % and 80 %

ESTIMATORS = {"realised": "delivered_roas", "expected": "expected_delivered_roas"}
PAIRS: dict[str, dict[str, Any]] = {
    "optimism 0.1": {"dual": {"optimism": 0.1}},
    "price_tracking 0.8": {"dual": {"price_tracking": 0.8}},
    "shade 0.05": {"dual": {"shade": 0.05}},
    "traffic_use 0.8, filter": {"dual": {"traffic": "filter", "traffic_use": 0.8}},
    "PID": {"agent_type": "PID"},
}
CANDIDATES = 16


def flown(config: dict[str, Any]) -> list[FlightTotals]:
    """BLOCKS blocks of common flights."""
    trial = GAELPExperimentConfig(**{"agent_type": "BayesDual"} | config)
    world = market_of(trial)
    agent = make_agent(trial, world.landscape)
    return [fly_batch(agent, world, BLOCK, [*SEEDS, number]) for number in range(BLOCKS)]


def ratio(flights: FlightTotals, metric: str) -> Ratio:
    """A metric that every flight of a market has."""
    found = pooled_ratio(flights, metric)
    assert found is not None
    return found


def candidates() -> list[dict[str, Any]]:
    """Random constants around BayesDual's own."""
    rng = np.random.default_rng(0)
    return [
        {
            "dual": {
                "prior_strength": float(np.exp(rng.normal(0.0, 0.5))),
                "volume_prior_strength": float(np.exp(rng.normal(0.0, 0.5))),
                "optimism": float(rng.normal(0.0, 0.3)),
                "pacing_shade": float(rng.normal(0.0, 0.1)),
                "shade": float(rng.normal(0.0, 0.05)),
                "price_tracking": float(np.clip(rng.normal(1.0, 0.2), 0.0, 1.5)),
            }
        }
        for _ in range(CANDIDATES)
    ]


def compare_pairs() -> None:
    """Paired differences with default BayesDual."""
    base = FlightTotals.concatenate(flown({}))
    print(f"paired differences with default BayesDual, {len(base):,} common flights of airfrance-search")
    print(
        f"{'':26s}{'difference':>12s}{'sd realised':>13s}{'sd expected':>13s}{'variance':>10s}{'flights for 0.05':>22s}"
    )
    for name, config in PAIRS.items():
        other = FlightTotals.concatenate(flown(config))
        found = {e: ratio(other, metric) - ratio(base, metric) for e, metric in ESTIMATORS.items()}
        sds = {e: difference.deviation for e, difference in found.items()}
        needed = [f"{max((DEVIATIONS * sd / DIFFERENCE) ** 2, 1.0):,.0f}" for sd in sds.values()]
        print(
            f"{name:26s}{found['expected'].value:+12.3f}{sds['realised']:13.3f}{sds['expected']:13.3f}"
            f"{'/' + format((sds['realised'] / sds['expected']) ** 2, '.1f'):>10s}{' -> '.join(needed):>22s}"
        )


def correlate() -> None:
    """What a search sees of its candidates on one block of flights."""
    parts = [flown(config) for config in candidates()]
    truth = np.array([ratio(FlightTotals.concatenate(part), ESTIMATORS["expected"]).value for part in parts])
    print(f"\n{CANDIDATES} random BayesDuals, true delivered ROAS {truth.min():.3f} to {truth.max():.3f}")
    for estimator, metric in ESTIMATORS.items():
        scores = np.array([[ratio(block, metric).value for block in part] for part in parts])
        correlations = [np.corrcoef(scores[:, n], truth)[0, 1] for n in range(BLOCKS)]
        regret = [(truth.max() - truth[best]) / (truth.max() - truth.mean()) for best in scores.argmax(axis=0)]
        print(
            f"{estimator}: correlation of scores on {BLOCK} flights with the truth {interval(correlations)}, regret of "
            f"the best score {interval(regret)} of (best - mean)"
        )


def interval(values: list[float] | FloatArray) -> str:
    """Mean with its standard error over blocks."""
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1) / np.sqrt(len(values)):.2f}"


def main() -> None:
    start = time.process_time()
    compare_pairs()
    correlate()
    print(f"\n{time.process_time() - start:.0f} CPU s")


if __name__ == "__main__":
    main()
