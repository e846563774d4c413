"""The plan of a sweep that has been started before, from its folder: as it was, or with more and other than it had.

What has been measured stays comparable: whatever would change the meaning of a number that is there is refused, each
with its key. planned() looks and changes nothing; adopt() writes down what was asked for.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from gaelp_ray.errors import SweepFileError
from gaelp_ray.results import TrialStatus
from gaelp_ray.sweep.format.document import read_document
from gaelp_ray.sweep.format.interpolation import escaped
from gaelp_ray.sweep.format.spec import SweepSpec
from gaelp_ray.sweep.planning.plan import SweepPlan, base_config, flat
from gaelp_ray.sweep.planning.reopened import plan_in, require_unchanged
from gaelp_ray.sweep.planning.room import no_room
from gaelp_ray.sweep.planning.superset import narrowed
from gaelp_ray.sweep.store.folder import SPEC, SweepFolder
from gaelp_ray.sweep.store.journal import History, Journal

MAY_CHANGE = ("run_cap", "parameters", "stop", "select", "max_concurrent", "resources", "tracking", "publish")
"""Keys of a sweep file's top level that a sweep which goes on may change."""

OWN = ("trial", "storage")
"""Keys that stand in a sweep's file as a person wrote them, wherever the folder lies now."""

IN_STEP = ("pbt", "pb2", "hyperband")
NEW_SWEEP = "run a new sweep"


def planned(folder: SweepFolder, extend: int = 0, changes: Sequence[str] = ()) -> SweepPlan:
    """The plan as it was, wherever the folder lies now, or as it is to become.

    Args:
        folder: of the sweep.
        extend: how many configurations are to be added.
        changes: other values, `key=value` each, as of `--set`.

    Raises SweepFileError with a line for each thing that is refused, or if the sweep's file was changed by hand so
    that its trials would differ; StorageError if its market or its own environment is another one now.
    """
    history = folder.history()
    before = plan_in(folder, history)
    require_unchanged(folder, before)
    if not extend and not changes:
        return before
    if problems := list(_asked_in_vain(extend, changes)):
        raise SweepFileError(problems)
    added = [f"run_cap={_configurations(before) + extend}"] if extend else []
    after = plan_in(folder, history, [*changes, *added])
    if problems := list(_Step(folder, history, before, after).problems(extend)):
        raise SweepFileError(problems)
    return after


def adopt(folder: SweepFolder, plan: SweepPlan) -> None:
    """Make a plan that planned() has given for other values the sweep's own.

    Its file is written last: until then the sweep can be resumed as it was, from then on as it is to be.
    """
    history = folder.history()
    before = plan_in(folder, history)
    step = _Step(folder, history, before, plan)
    if step.reopens:
        cut = (name for name, end in history.ends.items() if end.status == str(TrialStatus.STOPPED))
        with closing(Journal(folder.path)) as journal:
            journal.again([name for name in cut if history.ends[name].reason == history.searched])
    folder.reopen()
    written = read_document(folder.path / SPEC).data
    spec = plan.as_file() | {key: escaped(written[key]) for key in OWN if key in written}
    began = folder.read_provenance()
    changed = {"time": time.time(), "keys": _differences(before.as_file(), plan.as_file())}
    folder.write_provenance(began | {"changes": [*began.get("changes", ()), changed]})
    folder.keep_markets(spec, written)
    folder.write_spec(spec)


def _asked_in_vain(extend: int, changes: Sequence[str]) -> Iterator[str]:
    """What is refused whatever the sweep is."""
    keys = [setting.partition("=")[0].strip().partition(".")[0] for setting in changes]
    if extend < 0:
        yield f"--extend {extend}: give the number of configurations to add"
    if extend and "run_cap" in keys:
        yield "--set run_cap and --extend both say how many configurations there are to be: keep one of them"
    for key in dict.fromkeys(keys):
        if key in SweepSpec.model_fields and key not in MAY_CHANGE:
            yield f"--set {key}: trials with another {key} are another sweep. What may change: {', '.join(MAY_CHANGE)}"


@dataclass(frozen=True)
class _Step:
    """From one plan of a sweep to the next."""

    folder: SweepFolder
    history: History
    before: SweepPlan
    after: SweepPlan

    @property
    def more(self) -> int:
        """Configurations that are added."""
        return _configurations(self.after) - _configurations(self.before)

    @property
    def reopens(self) -> bool:
        """Whether a search that is over goes on."""
        over = self.history.searched is not None
        control = len(self.after.trials) - len(self.before.trials) > self.more
        return self.more > 0 or control or (over and self.after.spec.stop != self.before.spec.stop)

    def problems(self, extend: int) -> Iterator[str]:
        """Why not, one line each."""
        narrower = list(self._of_space(extend))
        yield from narrower or self._of_number(extend)
        yield from self._of_selection()
        if self.more > 0 and (why := _together(self.after.spec)):
            yield f"{why}: {NEW_SWEEP} with more"
        if self.reopens:
            yield from no_room(self.after.spec, self.history, self.folder.path)

    def _of_number(self, extend: int) -> Iterator[str]:
        cap, number = self.after.spec.run_cap, _configurations(self.before)
        raised = cap != self.before.spec.run_cap
        if raised and cap is not None and cap < number:
            yield f"run_cap: the sweep has {number} configurations already, and {cap} is below that"
        elif extend and self.more < extend:
            left = f"only {self.more} further" if self.more > 0 else "no further"
            where = "grid" if self.after.spec.method == "grid" else "search space"
            yield f"--extend {extend}: the {where} has {left} configurations. Add values with --set parameters..."
        elif raised and cap != number and self.more <= 0:
            yield f"run_cap: all {number} configurations of the search space are in the sweep"

    def _of_space(self, extend: int) -> Iterator[str]:
        before, after = self.before.spec, self.after.spec
        if before.parameters == after.parameters:
            return
        if before.method == "bayes":
            yield f"parameters: method bayes has learned in the space as it was: {NEW_SWEEP}"
            return
        fields = flat(base_config(before).to_dict())
        yield from narrowed(before.parameters, after.parameters, fields, before.method == "grid")
        if self.more <= 0 and not extend:
            yield "parameters: they change for further configurations only: say how many with --extend"

    def _of_selection(self) -> Iterator[str]:
        before, after = self.before.spec, self.after.spec
        if before.select.include_default != after.select.include_default:
            if not after.select.include_default:
                yield "select.include_default: the control arm belongs to the sweep from its beginning: keep it"
            elif why := _together(before):
                yield f"select.include_default: {why}: {NEW_SWEEP}"
        for key in ("min_delivery", "constraints"):
            if getattr(before.select, key) != getattr(after.select, key) and before.method == "bayes":
                yield f"select.{key}: method bayes has judged trials by it: {NEW_SWEEP}"


def _configurations(plan: SweepPlan) -> int:
    return sum(not trial.is_default for trial in plan.trials)


def _together(spec: SweepSpec) -> str:
    """Why no trial can join later; empty where one can."""
    if spec.seeds.max > spec.seeds.min:
        return f"seeds: a race from {spec.seeds.min} to {spec.seeds.max} seeds compares trials that start together"
    if spec.scheduler.type in IN_STEP:
        return f"scheduler: {spec.scheduler.type} compares trials that start together"
    return ""


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """(former, new) value of every dotted key that differs."""
    old, new = flat(before), flat(after)
    return {key: (old.get(key), new.get(key)) for key in {**old, **new} if old.get(key) != new.get(key)}
