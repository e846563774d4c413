"""What whole sweeps decide where the truth is known: `make proof`.

Real sweeps (run_sweep: Ray, workers, a shipped market, the default budget of the final stage) over BayesDuals whose
true expected delivered ROAS is measured first, on TRUTH other episodes each. The arms of a field are a grid of
constants and the control arm, BayesDual with its default constants. In `better`, one arm is 0.5 % better than the
control arm; in `none`, no arm is, and the best other one is as good up to 0.1 %. The filter's episodes differ from the
control arm's more than with other constants.

Reported: how often the better arm is selected; how often a sweep calls an arm the winner that is not the best one (its
confidence of 95 % allows one sweep in 20); and how often the 95 % intervals of paired differences hold the truth: the
published intervals, and the intervals between each arm and the control arm on 100 blocks of 1,024 episodes (the size of
a sweep's confirmation).
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

from gaelp_ray import GAELPExperimentConfig, run_sweep
from gaelp_ray.config import nest
from gaelp_ray.evidence.intervals import compare
from gaelp_ray.records import SCORE, FlightTotals
from gaelp_ray.results import Comparison
from gaelp_ray.sweep import pipeline
from gaelp_ray.sweep.outcome.reflight import Arm, fly_arms
from gaelp_ray.sweep.pipeline import SweepResult
from gaelp_ray.sweep.session import ray_session
from gaelp_ray.training import Stream
from gaelp_ray.worlds import market_of

SWEEPS = 10  # of each field
TRUTH, AT_ONCE = 102_400, 1_024
TRUTH_SEEDS = (10**6, Stream.EVALUATION)
CONFIDENCE = 0.95
TRIAL = {"agent_type": "BayesDual", "num_episodes": 64, "batch_size": 64}

CONTROL = "control arm"
FIELDS: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "better": {"dual.traffic": ["counts", "filter"], "dual.shade": [0.128, 0.25]},
    "none": {"dual.traffic": ["counts", "filter"], "dual.shade": [0.19, 0.3]},
}


def arms_of(field: str) -> dict[str, dict[str, Any]]:
    """Values of the parameters, by label."""
    grid = FIELDS[field]
    return {CONTROL: {}} | {
        ", ".join(map(str, values)): dict(zip(grid, values, strict=True)) for values in product(*grid.values())
    }


def arm(label: str, values: Mapping[str, Any]) -> Arm:
    config = GAELPExperimentConfig(**nest({**TRIAL, **values}))
    market = market_of(config).model_dump(mode="json")
    return Arm(label, market, config.to_dict(), market)


def flown(field: str, parts: Sequence[tuple[int, int]], seeds: Sequence[int]) -> dict[str, FlightTotals]:
    """The same episodes of all arms of a field."""
    found, failed = fly_arms([arm(*one) for one in arms_of(field).items()], parts, seeds, lambda done, total: None)
    assert not failed, failed
    return found


def scores(flights: Mapping[str, FlightTotals]) -> dict[str, float]:
    return {label: totals.pooled().as_dict()[SCORE] for label, totals in flights.items()}


@contextmanager
def one_session() -> Iterator[None]:
    """Share one Ray session between all sweeps."""
    with (
        ray_session({}),
        patch.multiple(
            pipeline, ray_session=lambda variables, address=None: nullcontext(), require_no_session=lambda: None
        ),
    ):
        yield


def swept(field: str, seed: int, scratch: Path) -> SweepResult:
    """One sweep over a field."""
    name = f"{field}-{seed}"
    keys = {
        "name": name,
        "method": "grid",
        "metric": {"name": "delivered_roas", "goal": "maximize"},
        "trial": TRIAL,
        "parameters": {parameter: {"values": list(values)} for parameter, values in FIELDS[field].items()},
        "seed": seed,
        "storage": str(scratch),
        "tracking": {"mode": "disabled"},
    }
    path = scratch / f"{name}.yaml"
    path.write_text(yaml.safe_dump(keys), encoding="utf-8")
    return run_sweep(path)


def selected(field: str, result: SweepResult) -> str:
    """The label of the arm that a sweep has kept."""
    winner = result.selection.winner
    assert winner is not None and winner.trial is not None
    return CONTROL if winner.role == "default" else ", ".join(str(winner.trial.params[p]) for p in FIELDS[field])


def held(comparison: Comparison, truth: float) -> bool:
    return comparison.interval.low <= truth <= comparison.interval.high


def prove(field: str, scratch: Path) -> None:
    """Measure the truths of a field, run its sweeps, and print what they decided."""
    flights = flown(field, batches_of(TRUTH), TRUTH_SEEDS)
    truth = scores(flights)
    best = max(truth, key=lambda label: truth[label])
    print(f"\n{field}: truths on {TRUTH:,} episodes, relative to the control arm ({truth[CONTROL]:.3f})")
    for label, value in truth.items():
        print(f"  {label:16s}{value / truth[CONTROL] - 1.0:+8.2%}")
    chosen, found, false = Counter[str](), 0, 0
    published = []
    for seed in range(SWEEPS):
        result = swept(field, seed, scratch)
        kept, won = selected(field, result), result.selection.decision == "winner"
        chosen[kept] += 1
        found += kept == best
        false += won and kept != best
        if comparison := result.selection.versus_default:
            published.append(held(comparison, truth[kept] - truth[CONTROL]))
    print(f"  {SWEEPS} sweeps selected " + ", ".join(f"{label} ({n})" for label, n in chosen.most_common()))
    print(f"  best arm ({best}) selected: {found} of {SWEEPS}; winners that are not the best: {false}")
    print(f"  published intervals that hold the truth: {sum(published)} of {len(published)}")
    for label in truth:
        if label != CONTROL:
            covered = covered_by_blocks(flights[label], flights[CONTROL], truth[label] - truth[CONTROL])
            print(
                f"  intervals of {label} - {CONTROL} that hold it: {sum(covered)} of {len(covered)} blocks", flush=True
            )


def covered_by_blocks(a: FlightTotals, b: FlightTotals, truth: float) -> list[bool]:
    """Whether the interval of each block of AT_ONCE episodes holds the true difference."""
    blocks = [slice(start, start + AT_ONCE) for start in range(0, len(a), AT_ONCE)]
    return [held(compare(a.select(block), b.select(block), CONFIDENCE), truth) for block in blocks]


def batches_of(episodes: int) -> list[tuple[int, int]]:
    """Batches of AT_ONCE episodes: with the 256 of a sweep there would be many small tasks."""
    return [(number, AT_ONCE) for number in range(episodes // AT_ONCE)]


def main() -> None:
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch, one_session():
        for field in FIELDS:
            prove(field, Path(scratch))
    print(f"\n{time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
