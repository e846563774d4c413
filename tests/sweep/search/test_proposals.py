"""What is proposed to Tune, in a first session and in one that goes on: trials that had begun come first."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from ray.tune.search import Searcher

from gaelp_ray.errors import StorageError
from gaelp_ray.sweep.search.proposals import Proposals, heard, replayed
from gaelp_ray.sweep.search.strategies import as_tune_config, strategy_for
from gaelp_ray.sweep.store.journal import End, History

HEAD = """\
name: trip
metric: {name: delivered_roas, goal: maximize}
trial: {agent_type: BayesDual}
"""
PLANNED = HEAD + "method: random\nrun_cap: 8\nparameters: {dual.shade: {min: 0.0, max: 1.0}}\n"
BAYES = PLANNED.replace("random", "bayes").replace("run_cap: 8", "run_cap: 30")
RACE = PLANNED + "seeds: {min: 1, max: 3}\n"
COMPLETED, FAILED = End("completed"), End("failed", "KeyError: x", "exception")


def scored(value):
    """A last report as Tune flattens it."""
    return {"final_score": value, "validation/delivery": 0.95}


class Book:
    """Writes what happens into a history, as journal and ledger do."""

    def __init__(self):
        self.history, self.reports = History(), {}

    def proposed(self, trial):
        plan = json.loads(json.dumps(as_tune_config(trial)))
        self.history.plans[trial.name] = plan
        self.history.asked.append(("proposed", trial.name))

    def ended(self, trial, report):
        if report is not None and "final_score" not in report:
            return None  # interrupted
        end = self.history.ends.get(trial.name) or (COMPLETED if report else FAILED)
        if trial.name not in self.history.ends:
            self.history.ends[trial.name], self.reports[trial.name] = end, report or {}
            self.history.first_ends.setdefault(trial.name, end)
            self.history.asked.append(("ended", trial.name))
        return end


class Session:
    """Tune, which runs a few trials at a time."""

    def __init__(self, plan, book, again=(), known=None):
        self.strategy, self.book = strategy_for(plan, ()), book
        self.known = replayed(self.strategy, book.history, book.reports.__getitem__)
        self.proposals = Proposals(self.strategy, book, again, book.history.first_ends)
        self.running, self.ids, self.names = {}, 0, []

    def ask(self):
        self.ids += 1
        given = self.proposals.suggest(str(self.ids))
        if not isinstance(given, dict):
            return given
        self.names.append(given["trial"]["name"])
        self.running[given["trial"]["name"]] = str(self.ids)
        return given["trial"]

    def end(self, name, report):
        self.proposals.on_trial_complete(self.running.pop(name), report, error=report is None)


def worth(trial):
    """Every trial ends in its own way: some fail, one has no number."""
    number = sum(map(ord, trial["name"]))
    if number % 7 == 0:
        return None
    return scored(math.nan if number % 11 == 0 else -((trial["params"].get("dual.shade", 0.0) - 0.3) ** 2))


def run(session, width, cut=None):
    """Trials `width` at a time, until the end or so many have ended; the oldest ends first."""
    ended, asked = 0, {}
    while True:
        while len(session.running) < width and isinstance(trial := session.ask(), dict):
            asked[trial["name"]] = trial
        if not session.running or ended == cut:
            return asked
        name = next(iter(session.running))
        session.end(name, worth(asked[name]))
        ended += 1


@pytest.mark.parametrize("text", [PLANNED, BAYES, RACE], ids=["planned", "bayes", "race"])
@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("cut", [0, 1, 4, 7, 12])
def test_a_search_that_goes_on_proposes_what_it_would_have_proposed(plan, text, width, cut):
    planned = plan(text)
    whole = Session(planned, Book())
    run(whole, width)
    first = Session(planned, Book())
    run(first, width, cut)
    history = first.book.history
    before = json.dumps(history.plans)
    unfinished = [name for name in history.plans if name not in history.ends]
    again = Session(planned, first.book)
    proposals = Proposals(again.strategy, first.book, [again.known[name] for name in unfinished], history.ends)
    again.proposals = proposals
    run(again, width)
    assert again.names[: len(unfinished)] == unfinished
    assert first.names + again.names[len(unfinished) :] == whole.names
    assert json.dumps(history.plans).startswith(before[:-1])  # those that come again were not proposed again
    assert json.dumps(history.plans) == json.dumps(whole.book.history.plans)
    assert history.ends == whole.book.history.ends


def test_values_that_are_not_the_recorded_ones_are_refused(plan):
    planned = plan(BAYES)
    book = Book()
    run(Session(planned, book), 2, 5)
    book.history.plans["trip-03"]["params"]["dual.shade"] += 1e-9
    with pytest.raises(StorageError, match=r"would now propose other values for trip-03 .*provenance\.json"):
        replayed(strategy_for(planned, ()), book.history, book.reports.__getitem__)


def test_another_order_and_more_trials_than_there_are_now_are_refused(plan):
    planned = plan(PLANNED)
    book = Book()
    run(Session(planned, book), 2)
    shorter = replace(planned, trials=planned.trials[:4])
    with pytest.raises(StorageError, match="would now propose other values for trip-03"):
        replayed(strategy_for(shorter, ()), book.history, book.reports.__getitem__)


def test_an_end_that_was_taken_back_is_told_as_it_was(plan):
    planned = plan(RACE)
    book = Book()
    run(Session(planned, book), 1, 2)
    del book.history.ends["trip-default"]  # it is tried again
    strategy = strategy_for(planned, ())
    told = []
    strategy.hear = lambda trial, result: told.append((trial.name, result))
    assert list(replayed(strategy, book.history, book.reports.__getitem__)) == list(book.history.plans)
    assert [name for name, _ in told] == ["trip-default", "trip-00"]
    assert all(result == (book.reports[name] or None) for name, result in told)


def test_no_end_is_told_twice(plan):
    planned, book = plan(PLANNED), Book()
    session = Session(planned, book)
    told = []
    session.strategy.hear = lambda trial, result: told.append((trial.name, result))
    trials = list(planned.trials[:2])
    for trial in trials:
        book.proposed(trial)
    book.ended(trials[0], scored(1.0))
    session.proposals = Proposals(session.strategy, book, trials, ["trip-default"])
    names = [session.ask()["name"] for _ in trials]
    for name in names:  # both report to their end, as with a scheduler
        session.end(name, scored(2.0))
    assert names == ["trip-default", "trip-00"] and told == [("trip-00", scored(2.0))]


def test_a_trial_that_only_ends_with_the_session_is_not_told(plan):
    session = Session(plan(PLANNED), Book())
    told = []
    session.strategy.hear = lambda trial, result: told.append(trial.name)
    session.end(session.ask()["name"], {"score": 1.0})
    assert told == [] and session.book.history.ends == {}


def test_tune_is_told_to_wait_and_when_to_end(plan):
    text = HEAD + "method: grid\nparameters: {dual.shade: {values: [0.0, 0.1, 0.2, 0.3]}}\nseeds: {min: 1, max: 2}\n"
    session = Session(plan(text + "select: {include_default: false}\n"), Book())
    given = [session.ask() for _ in range(4)]
    assert [trial["name"] for trial in given] == [f"trip-0{n}" for n in range(4)]
    assert given[1]["params"] == {"dual.shade": 0.1} and given[1]["seeds"] == [0]
    assert session.ask() is None
    for n, trial in enumerate(given):
        session.end(trial["name"], scored(float(n)) if n < 3 else None)
    assert [session.ask()["name"] for _ in range(2)] == ["trip-02-s1", "trip-01-s1"]
    assert session.ask() == Searcher.FINISHED


def test_what_a_strategy_hears():
    assert heard(FAILED, scored(1.0)) is None
    assert heard(COMPLETED, scored(1.0)) == scored(1.0)
    assert heard(End("stopped", "why"), None) == {}


@pytest.mark.parametrize("text", [BAYES, RACE], ids=["bayes", "race"])
def test_a_failure_that_is_tried_again_changes_nothing_that_was_proposed_after_it(plan, text):
    planned, book = plan(text), Book()
    asked = run(Session(planned, book), 1, 14)
    history = book.history
    failed = next(name for name in asked if history.ends[name] == FAILED)
    del history.ends[failed]  # `again` in the journal
    again = Session(planned, book, [Session(planned, book).known[failed]])
    again.ask()
    again.end(failed, scored(5.0))
    replayed(strategy_for(planned, ()), book.history, book.reports.__getitem__)
