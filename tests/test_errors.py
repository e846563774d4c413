"""The family tree of errors, and the sentence that helps with a misspelt name."""

import pickle
import re

import pytest

from gaelp_ray import errors
from gaelp_ray.errors import (
    ClusterFileError,
    ConfigError,
    GaelpError,
    InputError,
    SweepFileError,
    describe,
    did_you_mean,
)

FAMILY = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, GaelpError)]
INPUT_ERRORS = ("ConfigError", "MarketError", "SweepFileError", "StorageError", "ModelError")


@pytest.mark.parametrize("name", INPUT_ERRORS)
def test_wrong_input_is_an_input_error(name):
    assert issubclass(getattr(errors, name), InputError)


@pytest.mark.parametrize("name", ["TrainingError", "SweepInterrupted"])
def test_what_happens_while_a_sweep_runs_is_no_input_error(name):
    kind = getattr(errors, name)
    assert issubclass(kind, GaelpError)
    assert not issubclass(kind, InputError)


@pytest.mark.parametrize("kind", FAMILY, ids=lambda kind: kind.__name__)
def test_family_tree_in_the_docstring_draws_every_error(kind):
    assert kind.__name__ in (errors.__doc__ or "")


def test_sweep_file_error_keeps_its_problems_and_their_order():
    error = SweepFileError(line for line in ("s.yaml:2:1: second", "s.yaml:1:1: first"))
    assert error.problems == ("s.yaml:2:1: second", "s.yaml:1:1: first")
    assert str(error) == "s.yaml:2:1: second\ns.yaml:1:1: first"


@pytest.mark.parametrize(
    "error",
    [ConfigError([("seed", "is no number"), ("lr", "is below 0")]), SweepFileError("ab"), ClusterFileError(["a", "b"])],
)
def test_an_error_is_the_same_in_another_process(error):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.problems, str(again)) == (type(error), error.problems, str(error))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("learning_rat", "learning_rate"),
        ("lerning_rate", "learning_rate"),
        ("LEARNING_RATE", "learning_rate"),
        ("ppo", "PPO"),
        ("BayesDaul", "BayesDual"),
    ],
)
def test_misspelt_name_comes_with_the_closest_known_one(typed, meant):
    assert did_you_mean(typed, ["PPO", "BayesDual", "learning_rate", "batch_size"]) == f"Did you mean {meant!r}?"


def test_name_like_no_other_comes_with_all_known_ones_in_order():
    assert did_you_mean("zebra", ["PPO", "BayesDual", "PID"]) == "Known: BayesDual, PID, PPO."


def test_of_many_names_the_closest_five_and_the_command_that_lists_all():
    known = [f"name{number}" for number in range(9)]
    listed = did_you_mean("9", known, "gaelp-ray fields")
    assert re.fullmatch(r"Closest: (name\d, ){4}name\d; `gaelp-ray fields` lists all\.", listed)
    assert did_you_mean("9", known) == f"Known: {', '.join(known)}."  # where no command lists them


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "ValueError: one"),
        (KeyError("x"), "KeyError: 'x'"),
        (RuntimeError(), "RuntimeError"),
        (RuntimeError("  \n"), "RuntimeError"),
        (RuntimeError("\n first\nsecond"), "RuntimeError: first"),
    ],
)
def test_an_exception_is_told_in_one_line(error, line):
    assert describe(error) == line
