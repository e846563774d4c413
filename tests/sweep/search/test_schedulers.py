"""Each scheduler and each way to end a sweep on real Ray Tune, with a toy whose order is known.

A toy trial has a quality, and its score is the sum of its qualities so far; its checkpoint holds that sum.
"""

from __future__ import annotations

import json
import logging
import math
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ray import tune
from ray.tune.search import Searcher

from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.sweep.format.spec import SweepSpec
from gaelp_ray.sweep.search.attempts import Attempts
from gaelp_ray.sweep.search.schedulers import needs_all_trials_at_once, tune_environment, tune_scheduler
from gaelp_ray.sweep.search.stopping import SweepEnd
from gaelp_ray.sweep.session import environment_set, ray_session

BEST, WORST, BLIND = "best", "worst", "blind"
QUALITIES = {BEST: 0.9, "c": 0.7, "d": 0.5, "e": 0.4, "f": 0.3, "g": 0.2, WORST: 0.05, BLIND: 0.95}
CONTROL = "control"


def toy():
    """Made here, so that Ray sends the class itself: workers cannot import a test."""

    class Toy(tune.Trainable):
        def setup(self, config):
            self.trial, self.sum = config["trial"], 0.0

        def reset_config(self, new_config):
            self.setup(new_config)
            return True

        def step(self):
            trial = self.trial
            if trial["dies"]:
                raise ValueError("no flight today")
            time.sleep(trial["seconds"])
            self.sum += trial["config"]["learning_rate"]
            done = self.iteration + 1 >= trial["config"]["num_episodes"]
            score = float("nan") if trial["is_blind"] else self.sum
            return {"score": score, "env_steps": (self.iteration + 1) * 10, "done": done}

        def save_checkpoint(self, checkpoint_dir):
            Path(checkpoint_dir, "sum.json").write_text(json.dumps(self.sum))

        def load_checkpoint(self, checkpoint):
            self.sum = json.loads(Path(checkpoint, "sum.json").read_text())

    return Toy


class InOrder(Searcher):
    """Hands out planned trials."""

    def __init__(self, trials):
        super().__init__(metric="score", mode="max")
        self.trials = list(trials)

    def suggest(self, trial_id):
        return {"trial": self.trials.pop(0)} if self.trials else Searcher.FINISHED

    def on_trial_complete(self, trial_id, result=None, error=False):
        pass

    def save(self, checkpoint_path):
        pass


def planned(name, quality, iterations, seconds=0.0, dies=False):
    config = GAELPExperimentConfig(learning_rate=quality, num_episodes=iterations, batch_size=1)
    return {
        "name": name,
        "config_id": name,
        "params": {"learning_rate": quality},
        "config": config.to_dict(),
        "is_default": name == CONTROL,
        "is_blind": name == BLIND,
        "seeds": [0],
        "seconds": seconds,
        "dies": dies,
    }


def population(iterations, **keys):
    return [planned(CONTROL, 0.01, iterations, **keys)] + [
        planned(name, quality, iterations, **keys) for name, quality in QUALITIES.items()
    ]


def spec_of(**keys):
    metric = {"name": "delivered_roas", "goal": "maximize"}
    parameters = {"learning_rate": {"min": 0.01, "max": 1.0}}
    return SweepSpec(
        **{"name": "toy", "method": "random", "run_cap": 8, "metric": metric, "parameters": parameters} | keys
    )


@pytest.fixture(scope="module")
def session():
    before = {name: logging.getLogger(name).level for name in ("ray.tune", "ray.tune.tune")}
    for name in before:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with ray_session({}):
        yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def fly(session, tmp_path):
    """Runs planned toys through Tune as runner.py runs trials.

    at_once: how many at most, whatever this machine has. Tune gives a second worker any of the trials that wait, so
    only one at a time begin in their order.
    """

    def start(spec, trials, at_once=None):
        scheduler = tune_scheduler(spec, max(trial["config"]["num_episodes"] for trial in trials))
        broke_off = []
        attempts = Attempts(lambda attempt, *_: broke_off.append(attempt))
        end = SweepEnd.of(spec, attempts)
        scheduler.go_on(attempts, {})
        tuner = tune.Tuner(
            tune.with_resources(toy(), {"cpu": 1}),
            param_space={"sweep": {}},
            tune_config=tune.TuneConfig(
                num_samples=-1,
                search_alg=InOrder(trials),
                reuse_actors=True,
                max_concurrent_trials=at_once,
                scheduler=scheduler,
                trial_name_creator=name_of,
                trial_dirname_creator=name_of,
            ),
            run_config=tune.RunConfig(
                name="toy",
                storage_path=str(tmp_path),
                stop=end,
                callbacks=[end],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=True),
                failure_config=tune.FailureConfig(max_failures=-1),
                verbose=0,
            ),
        )
        # By the folder: a trial that was cut before its first report has the config of the worker's last trial.
        with environment_set(tune_environment(spec, len(trials))):
            results = tuner.fit()
        reported = [result for result in results if "training_iteration" in (result.metrics or {})]
        found = {Path(result.path).name: result for result in reported}
        return SimpleNamespace(
            scheduler=scheduler,
            end=end,
            found=found,
            broke_off=broke_off,
            iterations=lambda name: flown(found, name),
        )

    return start


def name_of(trial):
    return trial.config["trial"]["name"]


def flown(found, name):
    return found[name].metrics["training_iteration"]


def check_notes(run, iterations, unsaved=()):
    """What was stopped is where the notes say, the others came to their end; all but the unsaved have a checkpoint."""
    for name in (CONTROL, *QUALITIES):
        assert run.iterations(name) == run.scheduler.stopped.get(name, iterations), name
        assert name in unsaved or run.found[name].checkpoint is not None, name
        assert run.found[name].error is None, name
    assert not {BEST, CONTROL} & set(run.scheduler.stopped)


def test_early_terminate_stops_the_bad_at_its_bands(fly):
    run = fly(spec_of(early_terminate={"type": "hyperband", "min_iter": 2, "eta": 3}), population(7), at_once=1)
    check_notes(run, 7)
    assert run.scheduler.stopped.items() >= {WORST: 2, BLIND: 2, "g": 2}.items()
    assert set(run.scheduler.stopped.values()) <= {2, 3, 4, 5, 6}


def test_asha_stops_the_bad_at_its_rungs(fly):
    rule = {"type": "asha", "grace_period": 2, "reduction_factor": 3}
    run = fly(spec_of(scheduler=rule), population(8), at_once=1)
    check_notes(run, 8)
    assert run.scheduler.stopped.items() >= {WORST: 2, BLIND: 2, "g": 2}.items()
    assert set(run.scheduler.stopped.values()) <= {2, 6}


def test_hyperband_pauses_its_bracket_and_keeps_the_best_of_it(fly):
    # 10 iterations and eta 3: three trials in a bracket without halving, the next five meet at iteration 3.
    run = fly(spec_of(scheduler={"type": "hyperband", "reduction_factor": 3}), population(10))
    losers = {"g": 3, WORST: 3, BLIND: 3}
    check_notes(run, 10, unsaved=losers)  # a pause that is still being saved when its trial is stopped, Tune forgets
    assert run.scheduler.stopped == losers


def test_median_stops_what_is_below_the_others_means(fly):
    run = fly(spec_of(scheduler={"type": "median", "grace_period": 2, "min_samples": 2}), population(6), at_once=1)
    check_notes(run, 6)
    assert run.scheduler.stopped.items() >= {WORST: 2, BLIND: 2, "g": 2}.items()


def test_pbt_goes_on_from_good_trials_and_tells_it(fly):
    run = fly(spec_of(scheduler={"type": "pbt", "perturbation_interval": 3}), population(9))
    check_notes(run, 9)
    assert run.scheduler.stopped == {}
    lineage = run.scheduler.lineage
    first = {record.trial: record for record in reversed(lineage)}
    assert {WORST, BLIND} <= set(first) and CONTROL not in {name for r in lineage for name in (r.trial, r.source)}
    for name in (WORST, BLIND):
        source = first[name].source
        assert QUALITIES[source] >= 0.4 and source != BLIND
        assert first[name].copied["learning_rate"] >= 0.4 or source in first
        assert run.found[name].metrics["score"] > 9 * 0.05 or name == BLIND
    for name, result in run.found.items():
        own = result.config["trial"]
        assert own["name"] == own["config_id"] == name
        assert own["params"]["learning_rate"] == own["config"]["learning_rate"]
        changed = [r.changed["learning_rate"] for r in lineage if r.trial == name and r.changed]
        history = [QUALITIES.get(name, 0.01), *(new for _, new in changed)]
        assert [old for old, _ in changed] == history[:-1] and own["params"]["learning_rate"] == history[-1]
    assert {r.iteration for r in lineage} <= {3, 6} and {r.source_iteration for r in lineage} <= {3, 6}


def test_pb2_chooses_the_new_values(fly):
    pytest.importorskip("sklearn", reason="PB2 needs scikit-learn", exc_type=ImportError)
    run = fly(spec_of(scheduler={"type": "pb2", "perturbation_interval": 3}), population(9))
    check_notes(run, 9)
    assert {WORST, BLIND} <= {record.trial for record in run.scheduler.lineage}
    for result in run.found.values():
        own = result.config["trial"]
        assert 0.01 <= own["params"]["learning_rate"] == own["config"]["learning_rate"] <= 1.0


def test_a_target_ends_the_sweep_and_the_trial_that_reached_it_keeps_its_checkpoint(fly):
    run = fly(spec_of(stop={"target": 1.75}), population(400, seconds=0.02), at_once=4)
    assert run.end.reason == "stop.target: best reached 1.8 at iteration 2, the target is 1.75"
    assert BEST in run.end.ended and run.iterations(BEST) == 2
    # Whatever begins while the best one is being saved is cut, and has nothing to keep.
    awaited = {name_of(trial) for trial in run.end._awaited}
    assert BEST in awaited
    for name in awaited:
        assert run.found[name].checkpoint is not None and run.iterations(name) < 400
    assert WORST not in run.found


def test_failures_of_the_same_kind_end_the_sweep(fly):
    trials = [planned(BEST, 0.9, 2000, seconds=0.02), *(planned(name, 0.5, 9, dies=True) for name in "xyz")]
    run = fly(spec_of(stop={"failures": 2}), trials, at_once=2)
    assert run.end.reason == "stop.failures: 2 trials in a row died of ValueError: no flight today"
    assert run.iterations(BEST) < 2000 and run.end.ended == {BEST: run.end.reason}
    assert run.found[BEST].checkpoint is not None and "z" not in run.found
    assert sorted(attempt.trial for attempt in run.broke_off) == ["x", "y"]  # an exception would come again


def test_asha_brackets_are_dealt_from_the_seed():
    def dealt(seed):
        rule = {"type": "asha", "reduction_factor": 2, "brackets": 3}
        asha = tune_scheduler(spec_of(scheduler=rule, seed=seed), 16)._inner
        np.random.seed(0)  # not asked
        for number in range(30):
            asha.on_trial_add(None, SimpleNamespace(trial_id=number))
        return [asha._brackets.index(bracket) for bracket in asha._trial_info.values()]

    assert dealt(1) == dealt(1) != dealt(2)
    assert set(dealt(1)) == {0, 1, 2} and dealt(1).count(0) > dealt(1).count(2)


def test_mutations_and_sources_are_drawn_from_the_seed():
    def child(seed):
        pbt = tune_scheduler(spec_of(scheduler={"type": "pbt"}, seed=seed), 16)._inner
        trials = [SimpleNamespace(config={"trial": planned(name, 0.5, 16), "sweep": {"x": 1}}) for name in "ab"]
        config, _ = pbt._get_new_config(*trials)
        assert config["sweep"] == {"x": 1} and config["trial"]["name"] == "a"
        return config["trial"]["params"]["learning_rate"]

    assert child(1) == child(1) != 0.5
    assert len({child(seed) for seed in range(20)}) > 2


def test_what_runner_must_know():
    always = tune_environment(spec_of(method="bayes"), 9)
    assert always["TUNE_DISABLE_SIGINT_HANDLER"] == "1" and float(always["TUNE_GLOBAL_CHECKPOINT_S"]) > 1e6
    for kind, together in [("pbt", True), ("hyperband", True), ("asha", False), ("none", False)]:
        spec = spec_of(scheduler={"type": kind})
        assert needs_all_trials_at_once(spec) is together
        assert tune_environment(spec, 9) == always | {"TUNE_MAX_PENDING_TRIALS_PG": "9"}


def test_asha_of_trials_that_are_shorter_than_its_grace_period_stops_none():
    asha = tune_scheduler(spec_of(scheduler={"type": "asha", "grace_period": 9}), 8)._inner
    assert [milestone for bracket in asha._brackets for milestone, _ in bracket._rungs] == [8]


@pytest.mark.parametrize("goal", ["maximize", "minimize", None])
def test_the_goal_decides_what_is_worst(goal):
    for keys in ({"scheduler": {"type": kind}} for kind in ("asha", "hyperband", "median", "pbt", "none")):
        scheduler = tune_scheduler(spec_of(metric={"name": "roas", "goal": goal}, **keys), 8)
        assert (scheduler._worst.of(math.nan) < 0) == (goal == "maximize")
        assert getattr(scheduler._inner, "_mode", None) in (None, "max" if goal == "maximize" else "min")
