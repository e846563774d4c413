"""Whether the rules that end a whole sweep let one that has ended go on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from gaelp_ray.sweep.format.spec import SweepSpec
from gaelp_ray.sweep.store.journal import History
from gaelp_ray.sweep.store.trial_files import TrialFiles


def no_room(spec: SweepSpec, history: History, folder: Path) -> Iterator[str]:
    """One line for each rule that would end the sweep at once, with the key to raise."""
    stop = spec.stop
    if stop.time is not None and history.seconds >= stop.time:
        used = f"{history.seconds:.0f} of {stop.time:g} s are used"
        yield f"stop.time: {used}: give it more, such as --set stop.time={2 * history.seconds:.0f}s"
    if stop.env_steps is not None:
        flown = sum(int(TrialFiles(folder, name).read().last.get("env_steps", 0)) for name in history.plans)
        if flown >= stop.env_steps:
            used = f"{flown:,} of {stop.env_steps:,} steps are flown"
            yield f"stop.env_steps: {used}: give it more, such as --set stop.env_steps={2 * flown}"
    yield from _reached(spec, history, folder)


def _reached(spec: SweepSpec, history: History, folder: Path) -> Iterator[str]:
    targets = {"stop.target": spec.stop.target, "metric.target": spec.metric.target}
    if not any(target is not None for target in targets.values()):
        return
    sign = 1.0 if spec.metric.goal == "maximize" else -1.0
    trials = (name for name, plan in history.plans.items() if not plan["is_default"])
    best = max((_best(folder, name, sign) for name in trials), default=-float("inf"))
    remedy = {"stop.target": "raise it with --set stop.target=...", "metric.target": "run a new sweep with another one"}
    for rule, target in targets.items():
        if target is not None and best >= sign * target:
            yield f"{rule}: a trial has reached {sign * best:.6g}, and the target is {target:g}: {remedy[rule]}"


def _best(folder: Path, name: str, sign: float) -> float:
    scores = (sign * float(row["report"]["score"]) for row in TrialFiles(folder, name).read().rows)
    return max((score for score in scores if not math.isnan(score)), default=-float("inf"))
