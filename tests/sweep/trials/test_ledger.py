"""What the driver writes down of its trials: who ended, how and why, and what only ends with the session."""

from __future__ import annotations

import errno
import math
from types import SimpleNamespace

import pytest

from gaelp_ray.sweep.listener import Silence
from gaelp_ray.sweep.planning.plan import plan_sweep
from gaelp_ray.sweep.store.journal import Attempt, End, Exploit, History, Journal, read_history
from gaelp_ray.sweep.store.trial_files import TrialFiles
from gaelp_ray.sweep.trials.ledger import Ledger

FILE = """\
name: trip
method: grid
metric: {name: delivered_roas, goal: maximize}
parameters: {dual.shade: {values: [0.0, 0.1]}}
trial: {agent_type: BayesDual}
"""


@pytest.fixture
def plan(tmp_path):
    (tmp_path / "trip.yaml").write_text(FILE, encoding="utf-8")
    return plan_sweep(tmp_path / "trip.yaml")


@pytest.fixture
def keep(plan, tmp_path):
    """A ledger of a session that goes on from a history."""
    journals = []

    def make(history=None):
        journals.append(Journal(tmp_path))
        scheduler = SimpleNamespace(stopped={}, lineage=())
        return Ledger(plan.spec, journals[-1], history or History(), scheduler, Silence())

    yield make
    for journal in journals:
        journal.close()


@pytest.fixture
def told(tmp_path):
    """(what the journal says, what the worker finds) of a trial."""
    return lambda name: (read_history(tmp_path).ends.get(name), TrialFiles(tmp_path, name).read_end())


def give_up(ledger, name, cause="exception"):
    """As Attempts notes it."""
    ledger.attempts._given_up[name] = Attempt(name, cause, "KeyError: x", 3, 2.0**20)


def test_what_is_proposed_is_written_as_the_worker_gets_it(keep, plan, tmp_path):
    keep().proposed(plan.trials[1])
    (planned,) = read_history(tmp_path).plans.values()
    assert (planned["name"], planned["params"]) == ("trip-00", {"dual.shade": 0.0})


def test_a_trial_with_a_score_is_complete(keep, plan, told):
    ledger = keep()
    assert ledger.ended(plan.trials[1], {"final_score": 2.0}) == End("completed")
    assert told("trip-00") == (End("completed"), ("completed", ""))


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_a_failure(keep, plan, told, score):
    end = keep().ended(plan.trials[1], {"final_score": score})
    assert (end.status, end.cause) == ("failed", "metric") and f"is {score}, which is no finite number" in end.reason
    assert told("trip-00") == (end, ("failed", end.reason))


def test_a_trial_that_was_given_up_has_failed_whatever_it_reported_last(keep, plan, told):
    ledger = keep()
    give_up(ledger, "trip-00")
    ledger.end.ended["trip-00"] = "stop.time"
    assert ledger.ended(plan.trials[1], {"final_score": 2.0}) == End("failed", "KeyError: x", "exception")
    assert told("trip-00")[1] == ("failed", "KeyError: x")


def test_a_trial_that_was_stopped_says_by_whom(keep, plan, told):
    ledger = keep()
    ledger.scheduler.stopped["trip-00"] = 4
    ledger.end.ended |= {"trip-00": "stop.time: 3 s are over", "trip-01": "stop.time: 3 s are over"}
    for trial in plan.trials[1:]:
        ledger.ended(trial, {"score": 1.0, "final_score": None})
    assert told("trip-00")[0] == End("stopped", "by the scheduler at iteration 4")
    assert told("trip-01")[0] == End("stopped", "stop.time: 3 s are over")


def test_a_trial_that_only_ends_with_the_session_has_no_end(keep, plan, told, tmp_path):
    ledger = keep()
    assert ledger.ended(plan.trials[1], {"score": 1.0}) is None
    ledger.end.interrupt()
    ledger.end.ended["trip-01"] = "interrupted"
    assert ledger.ended(plan.trials[2], {"score": 1.0}) is None
    ledger.close()
    assert told("trip-00") == told("trip-01") == (None, None)
    assert read_history(tmp_path).searched is None


def test_a_search_that_is_over_says_why_and_nobody_is_left_without_an_end(keep, plan, told, tmp_path):
    ledger = keep()
    ledger.ended(plan.trials[1], {"final_score": 1.0})
    ledger.end.reason = "stop.time: 3 s are over"
    ledger.end.ended |= {"trip-00": ledger.end.reason, "trip-01": ledger.end.reason}
    ledger.close()
    assert told("trip-00")[0] == End("completed")
    assert told("trip-01") == (End("stopped", ledger.end.reason), ("stopped", ledger.end.reason))
    assert read_history(tmp_path).searched == ledger.end.reason


def test_a_known_end_stands_and_is_not_written_again(keep, plan, told, tmp_path):
    ledger = keep(History(ends={"trip-00": End("stopped", "why")}))
    assert ledger.ended(plan.trials[1], {"final_score": 2.0}) == End("stopped", "why")
    assert told("trip-00") == (None, None)
    assert ledger.ended(plan.trials[2], {"final_score": 2.0}) == ledger.ended(plan.trials[2], None)
    assert read_history(tmp_path).asked == [("ended", "trip-01")]


def test_the_worker_finds_out_why_before_the_journal_has_it(keep, told):
    ledger = keep()
    ledger.told_why("trip-00")
    assert told("trip-00") == (None, None)
    ledger.scheduler.stopped["trip-00"] = 4
    ledger.told_why("trip-00")
    assert told("trip-00") == (None, ("stopped", "by the scheduler at iteration 4"))


def test_a_full_disk_ends_the_search_and_is_nothing_that_tune_hears(keep, plan, told, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    ledger = keep()
    monkeypatch.setattr(TrialFiles, "write_end", full)
    ledger.ended(plan.trials[1], {"final_score": 1.0})
    ledger.checked()
    assert ledger.end.interrupted and ledger.end.reason == "No space left on device"
    assert told("trip-00") == (None, None)  # so that it is asked for again


def test_exchanges_are_written_once_each(keep, tmp_path):
    ledger = keep()
    exploits = [Exploit("a", "b", n, n, {}, {}) for n in (3, 6)]
    for lineage in (exploits[:1], exploits[:1], exploits):
        ledger.scheduler.lineage = tuple(lineage)
        ledger.checked()
    ledger.close()
    assert read_history(tmp_path).lineage == exploits
    assert (tmp_path / "journal.jsonl").read_text().count("exploit") == 2 * 2


def test_attempts_are_written_down(keep, tmp_path):
    ledger = keep()
    config = {"trial": {"name": "trip-00"}}
    dead = SimpleNamespace(
        config=config, pickled_error_file=None, error_file=None, last_result={"training_iteration": 2}
    )
    ledger.attempts.broke_off(dead)
    (attempt,) = read_history(tmp_path).attempts
    assert (attempt.trial, attempt.iteration) == ("trip-00", 2)


def test_of_a_trial_on_another_machine_the_report_says_how_far_it_came(keep, plan, told):
    ledger = keep()
    ledger.ended(plan.trials[0], {"final_score": 9.0, "iterations": 7})
    assert told(plan.trials[0].name)[0].iterations == 7
