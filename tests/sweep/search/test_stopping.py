"""Each rule under `stop` by itself, with trials and a clock that are made up; test_schedulers.py has them on Tune."""

from __future__ import annotations

import copy
import math
import pickle
from types import SimpleNamespace

import pytest
from ray import cloudpickle
from ray.exceptions import RayTaskError

from gaelp_ray.sweep.format.blocks import MetricSpec, Plateau, Stop
from gaelp_ray.sweep.search.attempts import Attempts, died_of
from gaelp_ray.sweep.search.stopping import GRACE_SECONDS, Plateaus, StepCount, Streak, SweepEnd

UP = MetricSpec(name="delivered_roas", goal="maximize")


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def trial(name, status="RUNNING", control=False):
    return SimpleNamespace(
        config={"trial": {"name": name, "is_default": control}},
        status=status,
        RUNNING="RUNNING",
        PAUSED="PAUSED",
        last_result=None,
        pickled_error_file=None,
        error_file=None,
    )


def report(name="a", iteration=1, **values):
    trial = {"name": name, "is_default": values.pop("control", False)}
    measured = {"score": 0.0, "env_steps": 0, "seconds": 0.0, "done": False}
    return {"config": {"trial": trial}, "training_iteration": iteration, **measured, **values}


def sweep_end(metric=UP, clock=None, trials=(), attempts=None, spent=0.0, **rules):
    end = SweepEnd(Stop(**rules), metric, attempts, spent, clock or Clock())
    end.on_step_begin(0, trials)
    return end


def test_without_rules_nothing_ends():
    end = sweep_end()
    assert not end("1", report(iteration=10**6, env_steps=10**9, seconds=10**6, score=math.nan))
    assert not end.stop_all() and end.reason == "" and end.ended == {}


def test_iterations_end_every_trial_the_control_arm_too():
    end = sweep_end(iterations=3)
    assert not end("1", report(iteration=2))
    assert end("1", report(iteration=3)) and end("2", report("control", 3, control=True))
    assert end.ended == dict.fromkeys(("a", "control"), "stop.iterations: it has flown 3 batches")
    assert not end.stop_all() and not end.reason


def test_a_trial_at_its_own_end_was_not_ended():
    end = sweep_end(iterations=3, target=5.0)
    assert not end("1", report(iteration=3, score=9.0, done=True))
    assert end.ended == {} and end.stop_all() and "a reached 9" in end.reason


def test_trial_time_spares_the_control_arm():
    end = sweep_end(trial_time="1m")
    assert not end("1", report(seconds=59.0)) and end("1", report("a", 2, seconds=60.0))
    assert not end("2", report("control", seconds=1e6, control=True))
    assert end.ended == {"a": "stop.trial_time: 60 s are over"} and not end.stop_all()


@pytest.mark.parametrize(
    ("scores", "sign", "patience", "delta", "ends_at"),
    [
        ([1, 2, 3, 4, 5], 1, 2, 0.0, None),
        ([1, 2, 2, 2, 3], 1, 2, 0.0, 4),  # no improvement at 3 and at 4
        ([1, 2, 2, 3, 3, 3], 1, 2, 0.0, 6),  # the improvement at 4 starts the count anew
        ([5, 4, 3, 4, 4], -1, 2, 0.0, 5),
        ([1.0, 1.4, 1.8, 2.2], 1, 2, 0.5, None),  # 1.8 beats 1 by more than 0.5, though not 1.4
        ([1.0, 1.5, 1.2, 1.6], 1, 2, 0.5, 3),  # exactly min_delta is none
        ([math.nan, math.nan, 1.0, 1.0], 1, 3, 0.0, None),
        ([math.nan, math.nan, math.nan], 1, 2, 0.0, 3),
        ([1.0, math.nan, math.nan], 1, 2, 0.0, 3),
    ],
)
def test_plateaus(scores, sign, patience, delta, ends_at):
    plateaus = Plateaus(Plateau(patience=patience, min_delta=delta), sign)
    reached = [plateaus.reached("a", float(score)) for score in scores]
    assert (reached.index(True) + 1 if True in reached else None) == ends_at


def test_a_plateau_is_of_one_trial_and_not_of_the_control_arm():
    end = sweep_end(plateau={"patience": 1})
    assert [end("", report(name, i, score=1.0)) for i in (1, 2) for name in "ab"] == [False, False, True, True]
    assert not any(end("", report("control", i, score=1.0, control=True)) for i in range(1, 9))
    assert set(end.ended) == {"a", "b"} and end.ended["a"] == "stop.plateau: no better score for 1 iteration"


@pytest.mark.parametrize("rule", ["stop.target", "metric.target"])
@pytest.mark.parametrize(("goal", "missed", "reached"), [("maximize", 4.9, 5.0), ("minimize", 5.1, 5.0)])
def test_a_target_ends_the_sweep_in_the_goals_direction(rule, goal, missed, reached):
    metric = MetricSpec(name="roas", goal=goal, target=5.0 if rule == "metric.target" else None)
    end = sweep_end(metric, **({"target": 5.0} if rule == "stop.target" else {}))
    for score in (missed, math.nan):
        assert not end("1", report(score=score)) and not end.stop_all()
    assert not end("2", report("control", score=reached, control=True)) and not end.reason
    assert end("1", report(iteration=7, score=reached)) and end.stop_all()
    assert end.reason == f"{rule}: a reached 5 at iteration 7, the target is 5"
    assert end.ended == {"a": end.reason}


def test_env_steps_are_those_of_all_trials_the_control_arm_too():
    end = sweep_end(env_steps=1000)
    assert not end("1", report("a", 1, env_steps=400)) and not end("2", report("c", 1, env_steps=500, control=True))
    assert not end.stop_all()
    assert end("1", report("a", 2, env_steps=500)) and end.stop_all()
    assert end.reason == "stop.env_steps: 1,000 of 1,000 steps are flown"


def test_steps_of_another_trials_checkpoint_are_not_counted_again():
    steps = StepCount()
    steps.add("a", 1, 100)
    steps.add("a", 2, 200)
    assert steps.total == 200
    steps.add("a", 11, 1100)  # went on from a checkpoint at 10
    steps.add("a", 12, 1200)
    steps.add("b", 1, 100)
    assert steps.total == 500
    steps.add("b", 2, 50)  # of a trial with smaller batches
    assert steps.total == 525


def test_time_is_that_of_the_sweep():
    clock = Clock()
    end = sweep_end(clock=clock, time="1h")
    clock.now = 100.0
    assert not end.stop_all()
    clock.now = 3699.0
    assert not end.stop_all()
    clock.now = 3700.0
    assert end.stop_all() and end.reason == "stop.time: 3600 s are over"


def test_running_trials_end_with_their_batch_before_everything_does():
    clock = Clock()
    running, waiting = [trial("a"), trial("b")], trial("c", "PENDING")
    end = sweep_end(clock=clock, trials=[*running, waiting], time=10)
    assert not end.stop_all()
    clock.now = 10.0
    assert not end.stop_all() and end.reason
    assert end("1", report("a"))
    running[0].status = "TERMINATED"
    assert not end.stop_all()
    assert end("2", report("b", control=True))
    running[1].status = "TERMINATED"
    waiting.status = "RUNNING"  # started in the place of a: is not waited for
    assert end.stop_all()
    assert end.ended == dict.fromkeys("abc", end.reason)


def test_a_batch_that_takes_too_long_is_not_waited_for():
    clock = Clock()
    end = sweep_end(clock=clock, trials=[trial("a"), trial("b", "PAUSED"), trial("c", "TERMINATED")], time=10)
    assert not end.stop_all()
    clock.now = 10.0
    assert not end.stop_all()
    clock.now += GRACE_SECONDS - 1
    assert not end.stop_all()
    clock.now += 1
    assert end.stop_all() and set(end.ended) == {"a", "b"}


def died(name, text, tmp_path):
    """A trial that has died, with the files that Tune writes."""
    dead = trial(name, "ERROR")
    try:
        raise ValueError(text)
    except ValueError as cause:
        error = RayTaskError("train", "Traceback\nValueError: wrapped", cause)
    dead.pickled_error_file = str(tmp_path / f"{name}.pkl")
    (tmp_path / f"{name}.pkl").write_bytes(cloudpickle.dumps(error))
    return dead


def give_up(end, attempts, dead):
    """As SweepScheduler and Tune do it: a trial that is not tried again is one that has ended."""
    attempts.broke_off(dead)
    end.on_trial_complete(0, [], dead)


def test_failures_in_a_row_of_the_same_error_end_the_sweep(tmp_path):
    attempts = Attempts(lambda *_: None)
    end = sweep_end(failures=2, attempts=attempts)
    give_up(end, attempts, died("a", "no table x", tmp_path))
    give_up(end, attempts, died("b", "no table y", tmp_path))
    assert not end.stop_all()
    end.on_trial_complete(0, [], trial("c", "TERMINATED"))
    give_up(end, attempts, died("d", "no table y", tmp_path))
    assert not end.stop_all()
    give_up(end, attempts, died("e", "no table y", tmp_path))
    assert end.stop_all() and end.reason == "stop.failures: 2 trials in a row died of ValueError: no table y"


def test_a_streak_does_not_mind_numbers():
    streak = Streak()
    for error in ("ValueError: nan at batch 7", "ValueError: nan at batch 12"):
        streak.failed(error)
    assert streak.length == 2 and streak.error == "ValueError: nan at batch 12"
    streak.failed("KeyError: nan at batch 7")
    assert streak.length == 1


def test_the_reason_of_a_death_is_the_trials_own(tmp_path):
    dead = trial("a", "ERROR")
    dead.error_file = str(tmp_path / "error.txt")
    (tmp_path / "error.txt").write_text("Failure # 1\nTraceback:\n  File x\ngaelp_ray.errors.TrainingError: lost it\n")
    attempts = Attempts(lambda *_: None)
    end = sweep_end(failures=1, attempts=attempts)
    give_up(end, attempts, dead)
    assert end.reason == "stop.failures: 1 trial died of TrainingError: lost it"
    assert died_of(None) == "an unknown error"
    assert died_of(RuntimeError("line\nray.exceptions.OutOfMemoryError")) == "Ray's memory monitor killed its worker"
    assert died_of(RuntimeError("line\nray.exceptions.RaySystemError: gone")) == "RaySystemError: gone"
    assert died_of(RuntimeError("")) == "RuntimeError"


def test_the_first_reason_stays():
    end = sweep_end(env_steps=10, target=1.0)
    end("1", report(env_steps=10, score=2.0))
    assert end.reason.startswith("stop.env_steps")


def test_time_of_earlier_sessions_counts():
    clock = Clock()
    clock.now = 5000.0
    end = sweep_end(clock=clock, time=1000.0, spent=999.0)
    assert not end.stop_all()
    clock.now += 1.0
    assert end.stop_all() and end.reason == "stop.time: 1000 s are over"


def test_steps_of_trials_that_have_ended_before_count_and_those_that_report_again_count_once():
    end = sweep_end(env_steps=1000)
    end.flown_before(600)
    assert not end("1", report("a", 1, env_steps=200, replayed=True)) and not end.stop_all()
    assert not end("1", report("a", 1, env_steps=200)) and not end.stop_all()  # its worker was lost
    assert not end("1", report("a", 2, env_steps=399)) and not end.stop_all()
    assert end("2", report("b", 1, env_steps=1)) and end.stop_all()
    assert end.reason == "stop.env_steps: 1,000 of 1,000 steps are flown"


def test_all_steps_of_a_trial_that_goes_on_in_another_session_count():
    end = sweep_end(env_steps=1000)
    assert not end("1", report("a", 9, env_steps=900, replayed=True))  # only the last one is reported again
    assert end("1", report("a", 10, env_steps=1000))


def test_a_report_that_is_repeated_by_another_worker_is_no_further_one_without_improvement():
    end = sweep_end(plateau={"patience": 2})
    assert not end("1", report("a", 1, score=1.0)) and not end("1", report("a", 2, score=1.0))
    assert not end("1", report("a", 2, score=1.0, replayed=True))
    assert end("1", report("a", 3, score=1.0))


def test_an_interruption_ends_all_trials_after_their_batch_and_is_no_rule():
    clock = Clock()
    running = trial("a")
    end = sweep_end(clock=clock, trials=[running])
    end.interrupt()
    assert end.interrupted and not end.stop_all()
    assert end("1", report("a")) and end("2", report("control", control=True))
    running.status = "TERMINATED"
    assert end.stop_all()


def test_an_interruption_while_the_sweep_ends_by_a_rule_changes_nothing():
    end = sweep_end(env_steps=10)
    end("1", report(env_steps=10))
    reason = end.reason
    end.interrupt()
    assert not end.interrupted and end.reason == reason


def test_tune_may_pickle_and_copy_it_as_it_likes():
    attempts = Attempts(lambda *_: None)
    end = SweepEnd.of(SimpleNamespace(stop=Stop(time=1000.0, env_steps=300), metric=UP), attempts)
    end.on_step_begin(0, [lambda: None])  # what Tune's trials are to pickle
    assert type(pickle.loads(pickle.dumps(end))) is object  # nobody reads it: the journal is what a sweep goes on from
    assert copy.deepcopy(end) is end
