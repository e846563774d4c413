"""What stands between Tune and a scheduler: the control arm, scores that are no number, and notes."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from gaelp_ray.sweep.search.spared import SweepScheduler, Worst, is_control


def trial(name, control=False, status="RUNNING", iteration=None):
    last = {"training_iteration": iteration} if iteration else {}
    return SimpleNamespace(
        config={"trial": {"name": name, "is_default": control}},
        status=status,
        PENDING="PENDING",
        PAUSED="PAUSED",
        last_result=last,
    )


class Recorder:
    """A scheduler that stops everybody, and remembers what it was asked."""

    supports_buffered_results = False

    def __init__(self):
        self.calls, self.controller = [], None

    def __getattr__(self, name):
        def call(controller, *arguments):
            self.controller = controller
            self.calls.append((name, *arguments))
            return {"on_trial_result": "STOP", "choose_trial_to_run": "chosen"}.get(name)

        return call


class Controller:
    """Tune's, as far as schedulers ask it."""

    search_alg = "a searcher"

    def __init__(self, *trials):
        self.trials, self.stopped = list(trials), []

    def get_trials(self):
        return self.trials

    def get_live_trials(self):
        return self.trials

    def stop_trial(self, trial):
        self.stopped.append(trial)

    def pause_trial(self, trial):
        return f"paused {trial}"


def make(iterations=10, worst=None):
    return SweepScheduler(Recorder(), iterations, worst or Worst("max", 1e300))


@pytest.mark.parametrize(
    ("mode", "size", "worst"), [("max", 1e300, -1e300), ("min", 1e300, 1e300), ("max", math.inf, -math.inf)]
)
def test_what_is_no_number_is_the_worst(mode, size, worst):
    scores = Worst(mode, size)
    assert [scores.of(score) for score in (1.0, math.nan, math.inf, -math.inf)] == [1.0, worst, worst, worst]


@pytest.mark.parametrize(("mode", "worst"), [("max", -2.0), ("min", 3.0)])
def test_or_the_worst_that_was_seen(mode, worst):
    scores = Worst(mode, None)
    assert [scores.of(score) for score in (math.nan, 1.0, 3.0, -2.0, 1.0)] == [0.0, 1.0, 3.0, -2.0, 1.0]
    assert scores.of(math.nan) == worst


def test_the_control_arm_is_never_shown_to_the_scheduler():
    scheduler, controller = make(), Controller()
    control = trial("control", control=True)
    assert is_control(control)
    scheduler.on_trial_add(controller, control)
    assert scheduler.on_trial_result(controller, control, {"score": 0.0, "training_iteration": 1}) == "CONTINUE"
    scheduler.on_trial_complete(controller, control, {})
    scheduler.on_trial_error(controller, control)
    scheduler.on_trial_remove(controller, control)
    assert scheduler._inner.calls == [] and scheduler.stopped == {}


def test_everybody_else_is():
    scheduler, controller, a = make(), Controller(), trial("a")
    scheduler.on_trial_add(controller, a)
    assert scheduler.on_trial_result(controller, a, {"score": math.nan, "training_iteration": 1}) == "STOP"
    scheduler.on_trial_complete(controller, a, {})
    scheduler.on_trial_error(controller, a)
    scheduler.on_trial_remove(controller, a)
    assert scheduler._inner.calls == [
        ("on_trial_add", a),
        ("on_trial_result", a, {"score": -1e300, "training_iteration": 1}),
        ("on_trial_complete", a, {"score": -1e300}),
        ("on_trial_error", a),
        ("on_trial_remove", a),
    ]


def test_stops_before_the_end_are_noted():
    scheduler, controller = make(iterations=10), Controller()
    for name, iteration in (("a", 9), ("b", 10)):
        scheduler.on_trial_result(controller, trial(name), {"score": 1.0, "training_iteration": iteration})
    paused, finished = trial("c", iteration=3), trial("d", iteration=10)
    for other in (paused, finished):
        scheduler._inner.controller.stop_trial(other)
    assert scheduler.stopped == {"a": 9, "c": 3}
    assert controller.stopped == [paused, finished]


def test_the_scheduler_sees_tune_without_the_control_arm_and_the_searcher():
    control, a = trial("control", control=True), trial("a")
    scheduler = make()
    scheduler.on_trial_add(Controller(control, a), a)
    seen = scheduler._inner.controller
    assert seen.get_trials() == [a] and seen.search_alg is None and seen.pause_trial("a") == "paused a"


def test_the_control_arm_is_run_first():
    for status, chosen in (("PENDING", "control"), ("PAUSED", "control"), ("RUNNING", "chosen")):
        control = trial("control", control=True, status=status)
        picked = make().choose_trial_to_run(Controller(trial("a", status="PENDING"), control))
        assert picked is control if chosen == "control" else picked == chosen


def test_it_takes_metric_and_buffering_from_within():
    scheduler = make()
    assert scheduler.metric == "score" and scheduler.supports_buffered_results is False
    assert scheduler.set_search_properties("other", "min") and scheduler.metric == "score"
    scheduler._inner.lineage = ["an exploit"]
    assert scheduler.lineage == ("an exploit",)


class Scripted:
    """A scheduler that decides by the iteration, and remembers what it was asked."""

    supports_buffered_results = False

    def __init__(self, decisions):
        self.decisions, self.heard, self.added = decisions, [], []

    def on_trial_result(self, controller, trial, result):
        self.heard.append((trial.config["trial"]["name"], result["training_iteration"]))
        return self.decisions.get(result["training_iteration"], "CONTINUE")

    def on_trial_add(self, controller, trial):
        self.added.append(trial.config["trial"]["name"])

    def on_trial_error(self, controller, trial):
        pass


def report(iteration, replayed=True):
    return {"score": 1.0, "training_iteration": iteration, "replayed": replayed}


def test_reports_that_come_again_are_heard_and_what_was_decided_about_them_stands():
    inner = Scripted({2: "STOP", 3: "PAUSE"})
    scheduler, controller = SweepScheduler(inner, 10, Worst("max", 1e300)), Controller()
    scheduler.go_on(SimpleNamespace(given_up=lambda name: None), {"b": 4})
    decided = [scheduler.on_trial_result(controller, trial("a"), report(n)) for n in range(1, 6)]
    assert decided == ["CONTINUE"] * 5 and scheduler.stopped == {}
    assert [scheduler.on_trial_result(controller, trial("b"), report(n)) for n in (3, 4)] == ["CONTINUE", "STOP"]
    assert scheduler.stopped == {"b": 4}
    assert inner.heard == [("a", n) for n in range(1, 6)] + [("b", 3), ("b", 4)]


def test_live_reports_are_decided_as_ever():
    scheduler, controller = SweepScheduler(Scripted({2: "STOP"}), 10, Worst("max", 1e300)), Controller()
    scheduler.go_on(SimpleNamespace(given_up=lambda name: None), {"a": 1})
    assert scheduler.on_trial_result(controller, trial("a"), report(1, replayed=False)) == "CONTINUE"
    assert scheduler.on_trial_result(controller, trial("a"), report(2, replayed=False)) == "STOP"
    assert scheduler.stopped == {"a": 2}


def test_decisions_in_step_are_made_again():
    inner = Scripted({2: "STOP", 3: "PAUSE"})
    scheduler, controller = SweepScheduler(inner, 10, Worst("max", 1e300), in_step=True), Controller()
    scheduler.go_on(SimpleNamespace(given_up=lambda name: None), {"a": 1})
    decided = [scheduler.on_trial_result(controller, trial("a"), report(n)) for n in (1, 2, 3)]
    assert decided == ["CONTINUE", "STOP", "PAUSE"] and scheduler.stopped == {"a": 2}


def test_a_trial_that_was_given_up_is_stopped_and_another_starts_again():
    gone, controller = set(), Controller()
    scheduler = SweepScheduler(Scripted({}), 10, Worst("max", 1e300))
    broke_off = []
    attempts = SimpleNamespace(given_up=lambda name: name in gone, broke_off=broke_off.append)
    scheduler.go_on(attempts, {})
    a, b, control = trial("a"), trial("b"), trial("control", control=True)
    gone |= {"a", "control"}
    for one in (a, b, control):
        scheduler.on_trial_error(controller, one)
        scheduler.on_trial_add(controller, one)
    assert broke_off == [a, b, control]
    assert controller.stopped == [a, control] and scheduler._inner.added == ["b"]
    assert scheduler.stopped == {}  # a failure is no decision of the scheduler
