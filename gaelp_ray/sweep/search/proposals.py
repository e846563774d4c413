"""Tune's view of a strategy: proposals out, ends in, and both again in a session that goes on.

Start at Proposals; replayed() asks and tells a new strategy what an earlier one was asked and told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from ray.tune.search import Searcher

from gaelp_ray.errors import StorageError
from gaelp_ray.sweep.planning.plan import TrialPlan
from gaelp_ray.sweep.search.strategies import Strategy, as_tune_config
from gaelp_ray.sweep.session import DriverOnly
from gaelp_ray.sweep.store.journal import End, History


class Book(Protocol):
    """Where proposals and ends are written down; trials.ledger in a sweep."""

    def proposed(self, trial: TrialPlan) -> None:
        """A trial is handed out for the first time."""

    def ended(self, trial: TrialPlan, report: Mapping[str, Any] | None) -> End | None:
        """Tune's word that a trial has ended; None where it only ends with this session."""


class Proposals(DriverOnly, Searcher):
    """Tune's view of a strategy.

    Args:
        strategy: has been asked and told already what the journal says, see replayed().
        book: hears what happens.
        again: trials that were handed out in an earlier session, and come first.
        heard: names of those of them whose end the strategy knows.
    """

    def __init__(
        self, strategy: Strategy, book: Book, again: Iterable[TrialPlan] = (), heard: Iterable[str] = ()
    ) -> None:
        super().__init__(metric="score", mode="max")
        self._strategy, self._book = strategy, book
        self._again, self._heard = deque(again), set(heard)
        self._trials: dict[str, TrialPlan] = {}  # by Tune's id

    def set_search_properties(self, *given: Any, **spec: Any) -> bool:
        """Tune's own search space holds only what all trials share."""
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial as Tune's config, None to wait, or FINISHED."""
        if self._again:
            trial: TrialPlan | None = self._again.popleft()
        else:
            trial = self._strategy.propose()
            if trial is None:
                return str(Searcher.FINISHED) if self._strategy.finished else None
            self._book.proposed(trial)
        assert trial is not None
        self._trials[trial_id] = trial
        return {"trial": as_tune_config(trial)}

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Tune's word for a trial that ended, however it did."""
        trial = self._trials[trial_id]
        end = self._book.ended(trial, result)
        if end and trial.name not in self._heard:
            self._heard.add(trial.name)
            self._strategy.hear(trial, heard(end, result))

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is what a sweep goes on from."""


def heard(end: End, report: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """What a strategy is told of a trial that has ended: its last report, None where it failed.

    One that was stopped has no score, whatever it may earn when it runs again.
    """
    return None if end.status == "failed" else report or {} if end.status == "completed" else {}


def replayed(strategy: Strategy, history: History, reports: Callable[[str], Mapping[str, Any]]) -> dict[str, TrialPlan]:
    """Ask and tell a new strategy what an earlier one was asked and told, in the same order.

    reports: the last report of a trial, flat. Returns the trials that were proposed, by name. Raises StorageError if
    the strategy now proposes others, as after an upgrade of optuna.
    """
    proposed: dict[str, TrialPlan] = {}
    told: set[str] = set()
    for event, name in history.asked:
        if event == "proposed":
            trial = strategy.propose()
            if trial is None or trial.name != name or dict(trial.params) != history.plans[name]["params"]:
                raise StorageError(
                    f"the search would now propose other values for {name} than it did: go on with the versions of "
                    "gaelp_ray and optuna in provenance.json"
                )
            proposed[name] = trial
        elif name in proposed and name not in told:
            told.add(name)
            strategy.hear(proposed[name], heard(history.first_ends[name], reports(name)))
    return proposed
