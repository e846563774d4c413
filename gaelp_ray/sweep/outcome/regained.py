"""Weights that were removed when a sweep had finished, and that it needs again as it goes on.

Losers leave only their records. With other rules of selection one of them may be re-flown, and a trial that a rule has
ended is validated by its weights. Both are trained again here, to the same numbers. Start at regain_weights().
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from gaelp_ray.results import TrialResult
from gaelp_ray.sweep.listener import SweepListener
from gaelp_ray.sweep.outcome.late import ended_by_rule
from gaelp_ray.sweep.outcome.selection import finalists
from gaelp_ray.sweep.planning.constraints import constraints_of
from gaelp_ray.sweep.planning.plan import SweepPlan
from gaelp_ray.sweep.store.folder import SweepFolder
from gaelp_ray.sweep.store.trial_files import TrialFiles
from gaelp_ray.sweep.trials.gathering import gathered
from gaelp_ray.sweep.trials.rerun import regain


def regain_weights(folder: SweepFolder, plan: SweepPlan, listener: SweepListener) -> None:
    """Train again whoever the final stage may want to fly and has no weights; `plan` is what the sweep becomes.

    The sweep must have finished before. Raises StorageError for a trial that does not come to its numbers again.
    """
    history = folder.history()
    configurations = set(_wanted(folder, plan, gathered(plan, history, folder.path)))
    trials = [name for name, trial in history.plans.items() if trial["first"] in configurations]
    missing = [name for name in trials if not TrialFiles(folder.path, name).checkpoints()]
    for number, name in enumerate(missing):
        listener.stage("training removed weights again", number, len(missing))
        regain(folder, name)
    if missing:
        listener.stage("training removed weights again", len(missing), len(missing))


def _wanted(folder: SweepFolder, plan: SweepPlan, results: Sequence[TrialResult]) -> Iterator[str]:
    """Finalists among those that are there, of which no further configuration makes another one a finalist."""
    rules = plan.spec.select
    bounds = constraints_of(rules.constraints)
    yield from (trial.trial for trial in finalists(results, plan.spec.metric.name, plan.goal, rules.top_k, bounds))
    judged = {row["trial"] for row in folder.read_selection()["leaderboard"] if _is_number(row.get("search_score"))}
    yield from (trial.trial for trial in results if ended_by_rule(trial) and trial.trial in judged)


def _is_number(score: object) -> bool:
    return isinstance(score, (int, float)) and math.isfinite(score)
