"""How much of a score is luck, with the package as it is and at an earlier commit (baseline.COMMIT).

    make noise

That commit scored realised revenue, and bidders shared what is hidden alone. Today's score is expected revenue, and
bidders share all random numbers. Two tables. Paired comparisons with default BayesDual: the standard deviation that one
common flight adds to a difference of delivered ROAS, and the flights that it takes to see a difference of 0.05 (95 %
confidence, 80 % power). A search: random BayesDuals scored on 128 common flights, and how their scores correlate with
the truth, which is the expected delivered ROAS on all flights that the same version flew here. Some minutes.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from baseline import COMMIT, SERVE, Server, serve, versions

from gaelp_ray import GAELPExperimentConfig
from gaelp_ray.agents import make_agent
from gaelp_ray.evidence.pooled import pooled_ratio
from gaelp_ray.evidence.sequences import Ratio
from gaelp_ray.records import PER_FLIGHT, FlightTotals, FloatArray
from gaelp_ray.training import Stream, fly_batch
from gaelp_ray.worlds import market_of

BLOCK, BLOCKS = 128, 32
SEEDS = [2027, Stream.EVALUATION]
DIFFERENCE, DEVIATIONS = 0.05, 1.959964 + 0.841621  # normal quantiles of 97.5 % and 80 %

EXPECTED = "expected_delivered_roas"
SCORES = {
    COMMIT: ("baseline", "delivered_roas"),
    "realised": ("now", "delivered_roas"),
    "expected": ("now", EXPECTED),
}
"""Version and metric."""

PAIRS: dict[str, dict[str, Any]] = {
    "optimism 0.1": {"dual": {"optimism": 0.1}},
    "price_tracking 0.8": {"dual": {"price_tracking": 0.8}},
    "shade 0.05": {"dual": {"shade": 0.05}},
    "traffic_use 0.8, filter": {"dual": {"traffic": "filter", "traffic_use": 0.8}},
    "PID": {"agent_type": "PID"},
}
CANDIDATES = 16


def fly_to(request: dict[str, Any]) -> int:
    """BLOCKS blocks of common flights of `request["config"]`, into the file `request["path"]`."""
    trial = GAELPExperimentConfig(**{"agent_type": "BayesDual"} | request["config"])
    world = market_of(trial)
    agent = make_agent(trial, world.landscape)
    flown = FlightTotals.concatenate([fly_batch(agent, world, BLOCK, [*SEEDS, number]) for number in range(BLOCKS)])
    np.savez(request["path"], steps=flown.steps, **{name: getattr(flown, name) for name in PER_FLIGHT})
    return len(flown)


class Sky:
    """Flights of both versions."""

    def __init__(self, servers: Mapping[str, Server], scratch: Path) -> None:
        self._servers, self._path = servers, scratch / "flights.npz"

    def flown(self, config: dict[str, Any]) -> dict[str, FlightTotals]:
        """By version."""
        flights = {}
        for version, server in self._servers.items():
            server.ask({"config": config, "path": str(self._path)})
            with np.load(self._path) as arrays:
                flights[version] = FlightTotals(int(arrays["steps"]), **{name: arrays[name] for name in PER_FLIGHT})
        return flights


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


def compare_pairs(sky: Sky) -> None:
    """Paired differences with default BayesDual."""
    base = sky.flown({})
    print(f"paired differences with default BayesDual, {BLOCK * BLOCKS:,} common flights of airfrance-search")
    print(f"{'':26s}{'difference':>11s}{'sd':>10s}{'':20s}{'ratio of variances':>22s}{'flights for 0.05':>20s}")
    print(f"{'':37s}" + "".join(f"{name:>10s}" for name in SCORES) + f"{'realised':>11s}{'expected':>11s}")
    for name, config in PAIRS.items():
        other = sky.flown(config)
        found = {s: ratio(other[v], metric) - ratio(base[v], metric) for s, (v, metric) in SCORES.items()}
        sds = {score: difference.deviation for score, difference in found.items()}
        needed = [max((DEVIATIONS * sds[score] / DIFFERENCE) ** 2, 1.0) for score in (COMMIT, "expected")]
        print(
            f"{name:26s}{found['expected'].value:+11.3f}"
            + "".join(f"{sd:10.3f}" for sd in sds.values())
            + "".join(f"{(sds[COMMIT] / sds[score]) ** 2:11,.1f}" for score in ("realised", "expected"))
            + f"{' -> '.join(f'{n:,.0f}' for n in needed):>20s}",
            flush=True,
        )


def correlate(sky: Sky) -> None:
    """What a search sees of its candidates on one block of flights."""
    arms = [sky.flown(config) for config in candidates()]
    truths = {v: np.array([ratio(arm[v], EXPECTED).value for arm in arms]) for v in ("baseline", "now")}
    low, high = truths["now"].min(), truths["now"].max()
    print(f"\n{CANDIDATES} random BayesDuals, true delivered ROAS {low:.3f} to {high:.3f}")
    blocks = [slice(start, start + BLOCK) for start in range(0, BLOCK * BLOCKS, BLOCK)]
    for name, (version, metric) in SCORES.items():
        truth = truths[version]
        scores = np.array([[ratio(arm[version].select(block), metric).value for block in blocks] for arm in arms])
        correlations = [np.corrcoef(column, truth)[0, 1] for column in scores.T]
        regret = [(truth.max() - truth[best]) / (truth.max() - truth.mean()) for best in scores.argmax(axis=0)]
        print(
            f"{name}: correlation of scores on {BLOCK} flights with the truth {interval(correlations)}, regret of "
            f"the best score {interval(regret)} of (best - mean)"
        )


def interval(values: list[float] | FloatArray) -> str:
    """Mean with its standard error over blocks."""
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1) / np.sqrt(len(values)):.2f}"


def main() -> None:
    with versions() as folders, ExitStack() as stack:
        servers = {name: stack.enter_context(Server(__file__, folder)) for name, folder in folders.items()}
        sky = Sky(servers, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        compare_pairs(sky)
        correlate(sky)


if __name__ == "__main__":
    serve(fly_to) if sys.argv[1:] == [SERVE] else main()
