"""One trial of a sweep again, in this process: from its recorded configuration and seeds to its recorded numbers.

Nothing in the sweep's folder is changed, no W&B run is made and no Ray session is needed. Start at rerun().
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gaelp_ray.errors import StorageError, TrainingError, did_you_mean
from gaelp_ray.sweep.planning.plan import SweepPlan, base_config, flat
from gaelp_ray.sweep.planning.reopened import plan_in
from gaelp_ray.sweep.provenance import provenance
from gaelp_ray.sweep.store.folder import SweepFolder
from gaelp_ray.sweep.store.journal import History
from gaelp_ray.sweep.store.trial_files import Record, TrialFiles
from gaelp_ray.sweep.trials.lockstep import Lockstep
from gaelp_ray.sweep.trials.settings import SharedSettings

CLOCKS = frozenset({"seconds", "cpu_seconds", "memory"})
"""What depends on the machine's load, and not on the trial."""

ABSENT = "absent"


@dataclass(frozen=True)
class Difference:
    """The first number that did not come again."""

    iteration: int
    metric: str
    recorded: Any
    now: Any


@dataclass(frozen=True)
class Repetition:
    """What came of it."""

    trial: str
    iterations: int  # that were compared
    whole: bool  # whether the record goes to the end of the training
    difference: Difference | None
    since: Mapping[str, tuple[Any, Any]]  # what is not as it was, then and now: git.commit, versions.numpy, ...

    @property
    def exact(self) -> bool:
        """Whether every number came again, bit for bit."""
        return self.difference is None


def rerun(folder: SweepFolder, trial: str, tell: Callable[[int, int], None] = lambda done, total: None) -> Repetition:
    """Repeat a trial, as far as it is recorded or until a number differs.

    tell: hears of each iteration, and how many there are. Raises StorageError for a trial that cannot be repeated.
    """
    plan = plan_in(folder, folder.history())
    record = TrialFiles(folder.path, trial).read()
    team = _untrained(folder, trial, plan, record)
    difference = _repeated(team, record, tell)
    return Repetition(trial, team.iteration, bool(record.last["done"]), difference, changed_since(folder, plan))


def regain(folder: SweepFolder, trial: str) -> None:
    """Train a trial again whose record was kept without its weights, and keep them this time.

    Raises StorageError for one that cannot be repeated, or does not come to the same numbers.
    """
    plan = plan_in(folder, folder.history())
    files = TrialFiles(folder.path, trial)
    record = files.read()
    team = _untrained(folder, trial, plan, record)
    if difference := _repeated(team, record, lambda done, total: None):
        where = f"iteration {difference.iteration}, {difference.metric}"
        why = "its weights are gone, and another training does not come to the same"
        raise StorageError(
            f"{trial} is needed again, but {why} ({where}): see `gaelp-ray rerun {folder.shown} {trial}`"
        )
    files.keep([number for number in files.checkpoints() if files.is_whole(number)])
    files.save(team.iteration, team.save)


def _untrained(folder: SweepFolder, trial: str, plan: SweepPlan, record: Record) -> Lockstep:
    history = folder.history()
    _require_repeatable(trial, history, record)
    config = history.plans[trial]["config"] | {"market": base_config(plan.spec).market}
    return Lockstep({**history.plans[trial], "config": config}, _settings(folder, plan, record))


def _repeated(team: Lockstep, record: Record, tell: Callable[[int, int], None]) -> Difference | None:
    """Train as far as the record goes, or until a number differs."""
    for number, row in enumerate(record.rows, 1):
        tell(number - 1, len(record.rows))
        if difference := _first_difference(row, _again(team, number)):
            return difference
        tell(number, len(record.rows))
    return None


def _require_repeatable(trial: str, history: History, record: Record) -> None:
    if trial not in history.plans:
        hint = did_you_mean(trial, history.plans) if history.plans else "None has begun."
        raise StorageError(f"no trial {trial!r} in this sweep. {hint}")
    source = next((exploit.source for exploit in history.lineage if exploit.trial == trial), None)
    if source:
        raise StorageError(f"{trial} went on from the weights of {source}, as in a population: it has no own beginning")
    if not record.rows:
        raise StorageError(f"{trial} has no recorded iteration that could be compared")


def _settings(folder: SweepFolder, plan: SweepPlan, record: Record) -> dict[str, Any]:
    """What all trials shared when this one was recorded."""
    settings = SharedSettings.of(plan, folder.path, folder.read_provenance()["id"], "disabled")
    most = len(record.rows) if record.last["done"] else None
    return vars(replace(settings, max_iterations=most))


def _again(team: Lockstep, number: int) -> dict[str, Any]:
    """An iteration as it would be recorded."""
    try:
        report, rows = team.step()
    except TrainingError as error:
        return {"iteration": number, "error": str(error)}
    written: dict[str, Any] = json.loads(json.dumps({"iteration": number, "report": report, "runs": rows}))
    return written


def _first_difference(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> Difference | None:
    """What all seeds report together comes first, then what each one's W&B run has."""
    if "error" in now:
        return Difference(now["iteration"], "the training", "went on", now["error"])
    for part in ("report", "runs"):
        old, new = (dict(_numbers(row[part])) for row in (recorded, now))
        for name in {**old, **new}:
            pair = old.get(name, ABSENT), new.get(name, ABSENT)
            if name not in CLOCKS and not _same(*pair):
                return Difference(now["iteration"], name, *pair)
    return None


def _numbers(node: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a report under its dotted name; of the rows of several seeds, `seed-1.performance/roas`."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _numbers(value, f"{name}.{key}" if name else key)
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _numbers(value, f"{name}.{number}" if name else f"seed-{number}")
    else:
        yield name, node


def _same(a: Any, b: Any) -> bool:
    """Bit for bit, and one NaN like another."""
    return json.dumps(a) == json.dumps(b)


def changed_since(folder: SweepFolder, plan: SweepPlan) -> dict[str, tuple[Any, Any]]:
    """What may make a number come out otherwise: (then, now) of code, packages, machine and market."""
    began, now = folder.read_provenance(), provenance(plan, {})
    pairs: dict[str, tuple[Any, Any]] = {}
    for part in ("git", "versions", "market", "stream", "core", "python", "platform", "matrix_products"):
        old, new = flat({part: began.get(part)}), flat({part: now.get(part)})
        pairs |= {key: (old.get(key), new.get(key)) for key in {**old, **new} if old.get(key) != new.get(key)}
    if now["git"] and now["git"]["dirty"] and began.get("git") == now["git"]:
        pairs["git.dirty"] = (True, True)  # not necessarily with the same changes
    return pairs
