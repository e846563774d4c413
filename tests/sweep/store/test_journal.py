"""The driver's journal: what is written is what a history says, over sessions, retries and torn ends."""

from __future__ import annotations

import pytest

from gaelp_ray.sweep.store import journal as module
from gaelp_ray.sweep.store.journal import Attempt, End, Exploit, History, Journal, read_history

ATTEMPT = Attempt("a", "worker killed", "the worker died", 7, 2.0**30)
EXPLOIT = Exploit("a", "b", 10, 12, {"learning_rate": (0.1, 0.012)}, {"learning_rate": 0.01})


@pytest.fixture
def clock(monkeypatch):
    """Seconds that a test sets."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def session(tmp_path):
    """Writes a session, each word with its arguments, and returns the history."""

    def write(*events) -> History:
        journal = Journal(tmp_path)
        for event, *arguments in events:
            getattr(journal, event)(*arguments)
        journal.close()
        return read_history(tmp_path)

    return write


def proposed(name, **params):
    return "proposed", {"name": name, "params": params}


def ended(name, *end):
    return "ended", name, End(*end)


def test_a_sweep_without_a_journal_has_no_history(tmp_path):
    assert read_history(tmp_path) == History()


def test_what_happened_is_read_in_its_order(session):
    history = session(
        ("session",),
        proposed("a", x=0.1),
        proposed("b", x=0.2),
        ("attempt", ATTEMPT),
        ("exploit", EXPLOIT),
        ended("b", "failed", "KeyError: x", "exception"),
        ended("a", "completed"),
        ("searched", ""),
    )
    assert history.asked == [("proposed", "a"), ("proposed", "b"), ("ended", "b"), ("ended", "a")]
    assert history.plans == {"a": {"name": "a", "params": {"x": 0.1}}, "b": {"name": "b", "params": {"x": 0.2}}}
    assert list(history.ends.items()) == [("b", End("failed", "KeyError: x", "exception")), ("a", End("completed"))]
    assert (history.attempts, history.lineage, history.searched, history.sessions) == ([ATTEMPT], [EXPLOIT], "", 1)
    assert history.unfinished == []


def test_a_search_is_over_until_it_goes_on(session):
    assert session(("session",), proposed("a")).searched is None
    assert session(("searched", "stop.time: 3 s are over")).searched == "stop.time: 3 s are over"
    assert session(("session",)).searched is None


def test_trials_that_run_again_have_no_end_until_they_end_again(session):
    history = session(
        proposed("a"), ended("a", "failed", "x"), proposed("b"), ended("b", "completed"), ("searched", "")
    )
    assert history.unfinished == []
    history = session(("again", ["a"]))
    assert (history.unfinished, history.searched, list(history.ends)) == (["a"], None, ["b"])
    assert session(ended("a", "completed")).ends["a"] == End("completed")


def test_seconds_are_those_of_all_searches(tmp_path, clock):
    for seconds in (7.0, 3.0):
        journal = Journal(tmp_path)
        clock[0] += 50.0  # before the search
        journal.session()
        clock[0] += seconds
        journal.searched("")
        journal.close()
    assert read_history(tmp_path).seconds == 10.0
    journal = Journal(tmp_path)
    journal.again(["a"])
    journal.close()
    assert read_history(tmp_path).seconds == 10.0


def test_an_exchange_that_is_decided_again_replaces_the_first(session):
    again = Exploit("a", "c", 10, 12, {}, {})
    later = Exploit("a", "c", 20, 12, {}, {})
    assert session(("exploit", EXPLOIT), ("exploit", later)).lineage == [EXPLOIT, later]
    assert session(("session",), ("exploit", again)).lineage == [again, later]


def test_a_torn_end_is_left_out_and_the_next_session_goes_on_after_it(session, tmp_path):
    session(("session",), proposed("a"), ended("a", "completed"))
    path = tmp_path / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    history = read_history(tmp_path)
    assert history.ends == {} and history.unfinished == ["a"]
    assert session(ended("a", "completed")).ends == {"a": End("completed")}


def test_events_of_a_later_version_are_passed_over(session, tmp_path):
    session(proposed("a"))
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write('{"event":"music","at":1.0}\n{"event":"ended","at":1.0,"trial":"a","end":{"status":"completed"}}\n')
    assert read_history(tmp_path).ends == {"a": End("completed")}
