"""Weights that are gone, and that the final stage needs: they are trained again, to the same numbers.

Losers leave only their records when a sweep has finished. With other rules of selection one of them may be re-flown,
and a trial that a rule has ended is validated by its weights. A copy of a folder may lack some, too.
Start at regained().
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from gaelp_ray.results import TrialResult, TrialStatus
from gaelp_ray.sweep.listener import SweepListener
from gaelp_ray.sweep.outcome.final import eligibility_of
from gaelp_ray.sweep.outcome.late import ended_by_rule
from gaelp_ray.sweep.outcome.selection import finalists
from gaelp_ray.sweep.planning.plan import SweepPlan
from gaelp_ray.sweep.store.folder import SweepFolder
from gaelp_ray.sweep.store.journal import End
from gaelp_ray.sweep.store.trial_files import TrialFiles
from gaelp_ray.sweep.trials.gathering import gathered
from gaelp_ray.sweep.trials.rerun import regain


def regained(
    folder: SweepFolder, plan: SweepPlan, trials: Sequence[TrialResult], listener: SweepListener
) -> Sequence[TrialResult]:
    """The trials, of which all that the final stage may fly have weights; `plan` is what the sweep becomes.

    A sweep that had finished must be asked before it is reopened: its leaderboard has who was validated. Raises
    StorageError for a trial that does not come to its numbers again.
    """
    wanted = set(_wanted(folder, plan, trials))
    return gathered(plan, folder.history(), folder.path) if _retrained(folder, wanted, listener) else trials


def restored(
    folder: SweepFolder, plan: SweepPlan, listener: SweepListener, chosen: Sequence[TrialResult]
) -> Sequence[TrialResult]:
    """Trials that are to race, all with weights. Raises StorageError as regained() does."""
    if not _retrained(folder, {trial.trial for trial in chosen}, listener):
        return chosen
    found = {trial.trial: trial for trial in gathered(plan, folder.history(), folder.path)}
    return [replace(t, checkpoint=found[t.trial].checkpoint, seeds=found[t.trial].seeds) for t in chosen]


def _retrained(folder: SweepFolder, configurations: Collection[str], listener: SweepListener) -> bool:
    """Whether a trial of these configurations lacked weights; all have them afterwards."""
    history = folder.history()
    wanted = (name for name, trial in history.plans.items() if trial["first"] in configurations)
    missing = [name for name in wanted if _lacks_weights(TrialFiles(folder.path, name), history.ends.get(name))]
    for number, name in enumerate(missing):
        listener.stage("training missing weights again", number, len(missing))
        regain(folder, name)
    if missing:
        listener.stage("training missing weights again", len(missing), len(missing))
    return bool(missing)


def _lacks_weights(files: TrialFiles, end: End | None) -> bool:
    """Whoever has completed its training needs those of the last iteration; one that a rule has ended, any."""
    if end and end.status == str(TrialStatus.COMPLETED):
        return not files.is_whole(len(files.read().rows))
    return not any(files.is_whole(number) for number in files.checkpoints())


def _wanted(folder: SweepFolder, plan: SweepPlan, results: Sequence[TrialResult]) -> Iterator[str]:
    """Finalists among those that are there, of which no further configuration makes another one a finalist."""
    rules = plan.spec.select
    chosen = finalists(results, plan.spec.metric.name, plan.goal, rules.top_k, eligibility_of(plan))
    yield from (trial.trial for trial in chosen)
    board = folder.read_selection()["leaderboard"] if folder.is_finished() else ()
    judged = {row["trial"] for row in board if _is_number(row.get("search_score"))}
    yield from (trial.trial for trial in results if ended_by_rule(trial) and trial.trial in judged)


def _is_number(score: object) -> bool:
    return isinstance(score, (int, float)) and math.isfinite(score)
