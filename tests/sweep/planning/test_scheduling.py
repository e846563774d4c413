"""What a scheduler needs of the rest of a sweep file, and what a population may change; without Ray."""

import pytest
import yaml

from gaelp_ray.config import FIELD_NAMES
from gaelp_ray.errors import SweepFileError
from gaelp_ray.sweep.format.spec import SweepSpec
from gaelp_ray.sweep.planning.plan import plan_sweep
from gaelp_ray.sweep.planning.scheduling import _FIXED, fixed, mutable

RATE = {"learning_rate": {"min": 0.001, "max": 0.1}}


@pytest.fixture
def refusal(tmp_path):
    """What plan_sweep() says against a sweep with these keys, each from the key on."""

    def refusal(**keys) -> list[str]:
        path = tmp_path / "trip.yaml"
        path.write_text(yaml.safe_dump({"method": "random", "run_cap": 4, "parameters": RATE} | keys), encoding="utf-8")
        with pytest.raises(SweepFileError) as refused:
            plan_sweep(path)
        return [problem.split(": ", 1)[1] for problem in refused.value.problems]

    return refusal


def sweep(parameters, **scheduler):
    return SweepSpec(
        name="s", method="random", run_cap=4, parameters=parameters, scheduler={"type": "pbt", **scheduler}
    )


def test_what_may_not_change_are_fields_and_say_why():
    assert set(_FIXED) <= set(FIELD_NAMES)
    for name in ("ppo.hidden_size", "batch_size", "num_episodes", "agent_type", "market", "sb3.reference"):
        assert fixed(name), name
    for name in ("cem.population", "env", "seed", "ppo.averaging", "ppo.initial_std"):
        assert fixed(name), name
    for name in ("learning_rate", "ppo.clip_range", "ppo.epochs", "dual.shade", "pid.kp", "cem.smoothing"):
        assert not fixed(name), name


def test_mutable_are_the_swept_parameters_that_may_change():
    parameters = {
        "learning_rate": {"min": 0.001, "max": 0.1},
        "batch_size": {"values": [16, 32]},
        "ppo": {"parameters": {"clip_range": {"values": [0.1, 0.2]}, "hidden_size": {"values": [32, 64]}}},
        "ppo.gamma": {"value": 0.99},
    }
    assert list(mutable(sweep(parameters))) == ["learning_rate", "ppo.clip_range"]


def test_mutations_of_the_file_decide_instead():
    nested = {"ppo": {"parameters": {"entropy_coef": {"min": 0.0, "max": 0.01}}}, "ppo.epochs": {"values": [2, 4]}}
    spec = sweep({"learning_rate": {"min": 0.001, "max": 0.1}}, hyperparam_mutations=nested)
    assert list(mutable(spec)) == ["ppo.entropy_coef", "ppo.epochs"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("batch_size", "batch_size: batch_size lays out the training from its start, and cannot change"),
        ("ppo.clip", "ppo.clip: unknown parameter. Did you mean 'ppo.clip_range'?"),
        ("gamma", "gamma: unknown parameter. Did you mean 'ppo.gamma'?"),
    ],
)
def test_mutations_that_cannot_be_are_refused_at_their_key(refusal, name, words):
    (problem,) = refusal(scheduler={"type": "pbt", "hyperparam_mutations": {name: {"values": [1, 2]}}})
    assert problem.startswith(f"scheduler.hyperparam_mutations.{words}")


def test_a_population_that_can_change_nothing_is_refused_with_every_reason(refusal):
    parameters = {"batch_size": {"values": [16, 32]}, "learning_rate": {"value": 0.1}}
    (problem,) = refusal(scheduler={"type": "pbt"}, parameters=parameters)
    assert problem.startswith("scheduler: nothing that may change during a training is swept: batch_size lays out")
    assert problem.endswith("; learning_rate is constant")


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        (
            {"scheduler": {"type": "pbt"}, "method": "bayes"},
            "scheduler: pbt changes parameters that method bayes would",
        ),
        (
            {"scheduler": {"type": "hyperband"}, "method": "bayes"},
            "scheduler: hyperband compares trials that start tog",
        ),
        (
            {"scheduler": {"type": "pbt"}, "seeds": {"min": 2, "max": 3}},
            "scheduler: pbt compares trials that start tog",
        ),
        (
            {"scheduler": {"type": "pb2"}, "parameters": {"ppo.epochs": {"values": [2, 4]}}},
            "scheduler: pb2 needs a number with min and max that may change: write `type: pbt`",
        ),
    ],
)
def test_a_scheduler_that_does_not_fit_the_file_is_refused(refusal, keys, problem):
    (line,) = refusal(**keys)
    assert line.startswith(problem)


def test_pb2_says_what_to_install(refusal, monkeypatch):
    monkeypatch.setattr("gaelp_ray.sweep.planning.scheduling.find_spec", lambda name: None)
    assert refusal(scheduler={"type": "pb2"}) == ["scheduler: pb2 needs scikit-learn: pip install scikit-learn"]


@pytest.mark.parametrize(
    ("keys", "iterations"),
    [
        ({"trial": {"num_episodes": 256}}, 8),
        ({"trial": {"num_episodes": 640}, "stop": {"iterations": 8}}, 8),
        ({"trial": {"num_episodes": 64}, "parameters": {"batch_size": {"values": [8, 64]}}}, 8),
        ({"parameters": {"num_episodes": {"min": 64, "max": 256}}}, 8),
        ({}, 4),
    ],
)
def test_grace_period_above_the_longest_trial_is_refused(refusal, tmp_path, keys, iterations):
    rule = {"type": "asha", "grace_period": iterations + 1}
    (problem,) = refusal(scheduler=rule, **keys)
    assert problem.startswith(f"scheduler.grace_period: {iterations + 1} is above the {iterations} iterations of a tri")
    keys = {"method": "random", "run_cap": 4, "parameters": RATE, "scheduler": {"type": "asha"}} | keys
    keys["scheduler"]["grace_period"] = iterations
    (tmp_path / "fits.yaml").write_text(yaml.safe_dump(keys), encoding="utf-8")
    assert plan_sweep(tmp_path / "fits.yaml").spec.scheduler.grace_period == iterations


def test_grace_period_is_not_judged_by_values_that_have_problems(refusal):
    rule = {"type": "asha", "grace_period": 9}
    for trial in ({"num_episodes": 0}, {"n_episodes": 640}, {"num_episodes": "640"}):
        (problem,) = refusal(scheduler=rule, trial=trial)
        assert problem.startswith("trial.")
    (problem,) = refusal(scheduler=rule, parameters={"batch_size": {"min": -1, "max": 4}})
    assert problem.startswith("parameters.batch_size.min: -1 should be")
