"""Weights that are gone, and that the final stage needs: they are trained again, to the same numbers.

Losers leave only their records when a sweep has finished. With other rules of selection one of them may be re-flown,
and a trial that a rule has ended is validated by its weights. A copy of a folder may lack some, too.
Start at regained().
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from gaelp_ray.results import TrialResult, TrialStatus
from gaelp_ray.sweep.listener import SweepListener
from gaelp_ray.sweep.outcome.late import ended_by_rule
from gaelp_ray.sweep.outcome.selection import finalists
from gaelp_ray.sweep.planning.constraints import constraints_of
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
    history = folder.history()
    configurations = set(_wanted(folder, plan, trials))
    wanted = (name for name, trial in history.plans.items() if trial["first"] in configurations)
    missing = [name for name in wanted if _lacks_weights(TrialFiles(folder.path, name), history.ends.get(name))]
    if not missing:
        return trials
    for number, name in enumerate(missing):
        listener.stage("training missing weights again", number, len(missing))
        regain(folder, name)
    listener.stage("training missing weights again", len(missing), len(missing))
    return gathered(plan, history, folder.path)


def _lacks_weights(files: TrialFiles, end: End | None) -> bool:
    """Whoever has completed its training needs those of the last iteration; one that a rule has ended, any."""
    if end and end.status == str(TrialStatus.COMPLETED):
        return not files.is_whole(len(files.read().rows))
    return not any(files.is_whole(number) for number in files.checkpoints())


def _wanted(folder: SweepFolder, plan: SweepPlan, results: Sequence[TrialResult]) -> Iterator[str]:
    """Finalists among those that are there, of which no further configuration makes another one a finalist."""
    rules = plan.spec.select
    bounds = constraints_of(rules.constraints)
    yield from (trial.trial for trial in finalists(results, plan.spec.metric.name, plan.goal, rules.top_k, bounds))
    board = folder.read_selection()["leaderboard"] if folder.is_finished() else ()
    judged = {row["trial"] for row in board if _is_number(row.get("search_score"))}
    yield from (trial.trial for trial in results if ended_by_rule(trial) and trial.trial in judged)


def _is_number(score: object) -> bool:
    return isinstance(score, (int, float)) and math.isfinite(score)
