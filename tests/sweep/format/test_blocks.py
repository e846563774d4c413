"""The blocks beside the parameters: W&B's hyperband and metric; schedulers, seeds and stop of ours."""

import pytest
from small_sweep import complaint, made

from gaelp_ray.sweep.format.blocks import EarlyTerminate, Seeds, is_launchers, parse_seconds
from gaelp_ray.sweep.format.spec import SweepSpec


@pytest.mark.parametrize(
    ("keys", "bands"),
    [
        ({"max_iter": 81, "s": 3}, (3, 9, 27)),
        ({"max_iter": 81, "eta": 3, "s": 3}, (3, 9, 27)),
        ({"max_iter": 18, "eta": 3, "s": 2}, (2, 6)),
        ({"max_iter": 27, "s": 9}, (1, 3, 9)),  # a band below 1 is none
        ({"max_iter": 10, "eta": 2.5, "s": 2}, (1, 4)),
        ({"min_iter": 5, "max_iter": 27, "s": 1}, (9,)),  # max_iter and s count where both are given
    ],
)
def test_bands_are_those_of_wandb(keys, bands):
    assert EarlyTerminate(type="hyperband", **keys).bands == bands


def test_bands_from_min_iter_have_no_end():
    bands = EarlyTerminate(type="hyperband", min_iter=2, eta=3).bands
    assert bands[:4] == (2, 6, 18, 54)
    assert len(bands) > 30


def test_defaults_of_early_terminate_are_the_documented_ones():
    stop = made(early_terminate={"type": "hyperband", "min_iter": 3}).early_terminate
    assert stop is not None
    assert (stop.eta, stop.strict) == (3, False)


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({}, "needs min_iter, or max_iter and s"),
        ({"max_iter": 27}, "needs min_iter, or max_iter and s"),
        ({"s": 2}, "needs min_iter, or max_iter and s"),
        ({"max_iter": 2, "s": 2}, "max_iter 2 / eta 3 is below 1, which is no band"),
        ({"min_iter": 0}, "greater than or equal to 1"),
        ({"min_iter": 3, "eta": 1}, "greater than 1"),
        ({"min_iter": 3, "strict": 1}, "valid boolean"),
    ],
)
def test_wrong_early_terminate_is_refused(keys, text):
    assert text in complaint(early_terminate={"type": "hyperband", **keys})


@pytest.mark.parametrize(
    ("scheduler", "options"),
    [
        ({"type": "asha"}, {"grace_period": 1, "reduction_factor": 4, "brackets": 1}),
        ({"type": "asha", "grace_period": 3, "reduction_factor": 2.5}, {"grace_period": 3, "reduction_factor": 2.5}),
        ({"type": "hyperband", "reduction_factor": 4}, {"reduction_factor": 4}),
        ({"type": "median", "min_samples": 5}, {"min_samples": 5, "grace_period": 1}),
        ({"type": "pbt", "perturbation_interval": 4}, {"perturbation_interval": 4, "quantile_fraction": 0.25}),
        ({"type": "pb2", "hyperparam_mutations": {"x": {"min": 1, "max": 2}}}, {"resample_probability": 0.25}),
        ({"type": "none"}, {}),
    ],
)
def test_schedulers_have_their_own_options(scheduler, options):
    spec = made(scheduler=scheduler)
    assert spec.scheduler.type == scheduler["type"]
    assert {key: getattr(spec.scheduler, key) for key in options} == options
    assert SweepSpec.model_validate(spec.model_dump(mode="json", exclude_none=True)) == spec


def test_there_is_no_scheduler_unless_the_file_says_so():
    assert made().scheduler.type == "none"


def test_early_terminate_and_a_scheduler_exclude_each_other():
    both = {"early_terminate": {"type": "hyperband", "min_iter": 3}, "scheduler": {"type": "asha"}}
    assert "keep one of them" in complaint(**both)
    assert made(**(both | {"scheduler": {"type": "none"}})).early_terminate


@pytest.mark.parametrize(
    ("scheduler", "launchers"),
    [
        ({"engine": "optuna", "source": "space.py"}, True),
        ({"job": "a/b/c:v0", "num_workers": 4, "resource": "local-container"}, True),
        ({"type": "asha"}, False),
        ({"type": "asha", "settings": 3}, False),
        ({"grace_period": 4}, False),
        ({}, False),
        ("asha", False),
    ],
)
def test_wandbs_launcher_form_of_scheduler_is_told_apart(scheduler, launchers):
    assert is_launchers(scheduler) is launchers


@pytest.mark.parametrize(("written", "low", "high"), [(3, 3, 3), ({"min": 1, "max": 5}, 1, 5), ({"max": 4}, 1, 4)])
def test_seeds_are_a_number_or_a_range(written, low, high):
    assert made(seeds=written).seeds == Seeds(min=low, max=high)


@pytest.mark.parametrize(
    ("written", "text"),
    [(0, "0 seeds: write 1 to 1000"), ({"min": 3, "max": 2}, "min 3 is above max 2"), (True, ""), ("3", "")],
)
def test_wrong_seeds_are_refused(written, text):
    assert text in complaint(seeds=written)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [(90, 90), (1.5, 1.5), ("90", 90), ("30s", 30), ("10m", 600), ("2h", 7200), ("1h30m", 5400), ("1.5 h", 5400)],
)
def test_times_are_seconds_or_have_a_unit(written, seconds):
    assert parse_seconds(written) == seconds
    assert made(stop={"time": written}).stop.time == seconds


@pytest.mark.parametrize("written", ["soon", "2x", "h2", "", "2h x", "-2h", 0, -3, True])
def test_what_is_no_time_is_refused(written):
    assert complaint(stop={"time": written})


def test_stop_has_every_criterion():
    stop = {"iterations": 3, "env_steps": 100, "target": 2, "failures": 3, "trial_time": "10m"}
    spec = made(stop=stop | {"plateau": {"patience": 5}})
    assert spec.stop.plateau is not None
    assert (spec.stop.trial_time, spec.stop.plateau.min_delta, spec.stop.target) == (600, 0.0, 2)
    assert SweepSpec.model_validate(spec.model_dump(mode="json", exclude_none=True)) == spec


def test_a_race_has_a_budget_for_a_round_of_every_arm():
    assert made().select.budget is None
    assert made(select={"budget": 96}).select.budget == 96
    assert complaint(select={"budget": 95}).endswith(
        "budget 95 is too small for 6 arms: write 96 or more, or a lower top_k"
    )
    assert made(select={"budget": 32, "top_k": 2, "include_default": False}).select.budget == 32
    assert "32 or more" in complaint(select={"budget": 31, "top_k": 2, "include_default": False})
