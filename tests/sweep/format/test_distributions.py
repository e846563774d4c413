"""20,000 draws of each of W&B's distributions have its closed-form distribution function, and its ends."""

import math

import numpy as np
import pytest
from scipy import stats

from gaelp_ray.sweep.format.parameters import KEYS, ParameterSpec
from gaelp_ray.sweep.format.spec import SweepSpec

DRAWS = 20_000
CLOSE = 1.63 / math.sqrt(DRAWS)
"""Kolmogorov's distance that 1 sample of 100 exceeds; the seed is fixed."""

LOG_2_TO_9 = stats.loguniform(math.exp(-2.0), math.exp(1.5))
CASES = {
    "uniform": ({"min": -1.0, "max": 3.0}, stats.uniform(-1.0, 4.0)),
    "q_uniform": ({"min": 0, "max": 10, "q": 2}, stats.uniform(0, 10)),
    "log_uniform": ({"min": -2, "max": 1.5}, LOG_2_TO_9),
    "log_uniform_values": ({"min": 1e-5, "max": 0.1}, stats.loguniform(1e-5, 0.1)),
    "q_log_uniform": ({"min": -2, "max": 1.5, "q": 0.25}, LOG_2_TO_9),
    "q_log_uniform_values": ({"min": 1, "max": 100, "q": 5}, stats.loguniform(1, 100)),
    "inv_log_uniform": ({"min": -1.5, "max": 2}, LOG_2_TO_9),
    "inv_log_uniform_values": ({"min": 0.2, "max": 30}, stats.loguniform(0.2, 30)),
    "normal": ({}, stats.norm(0, 1)),
    "q_normal": ({"mu": 1.5, "sigma": 3, "q": 0.5}, stats.norm(1.5, 3)),
    "log_normal": ({"mu": 0.5, "sigma": 0.7}, stats.lognorm(0.7, scale=math.exp(0.5))),
    "q_log_normal": ({}, stats.lognorm(1.0)),
    "beta": ({"a": 2, "b": 5}, stats.beta(2, 5)),
    "q_beta": ({"a": 2, "b": 5, "q": 0.1}, stats.beta(2, 5)),
}
LISTS = {
    "constant": ({"value": 7}, {7: 1.0}),
    "categorical": ({"values": ["a", "b", "c"]}, {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}),
    "categorical_w_probabilities": (
        {"values": ["a", "b", "c"], "probabilities": [0.7, 0.0, 0.3]},
        {"a": 0.7, "b": 0.0, "c": 0.3},
    ),
    "int_uniform": ({"min": 3, "max": 7}, dict.fromkeys(range(3, 8), 0.2)),
}


def parameter(kind: str, **keys) -> ParameterSpec:
    return ParameterSpec.model_validate({"distribution": kind, **keys})


@pytest.fixture(scope="module")
def drawn():
    """What SweepSpec.sample() gives of every distribution at once."""
    parameters = {kind: {"distribution": kind, **keys} for kind, (keys, _) in (CASES | LISTS).items()}
    spec = SweepSpec.model_validate({"name": "all", "method": "random", "parameters": parameters})
    rows = spec.sample(DRAWS, seed=1)
    return {kind: [row[kind] for row in rows] for kind in parameters}


def test_every_distribution_is_compared():
    assert {*CASES, *LISTS} == set(KEYS)


@pytest.mark.parametrize("kind", CASES)
def test_draws_have_the_closed_form_distribution_function(drawn, kind):
    keys, law = CASES[kind]
    values, counts = np.unique(np.array(drawn[kind], dtype=float), return_counts=True)
    half_a_step = keys.get("q", 1) / 2 if kind.startswith("q_") else 0.0
    at_most = np.cumsum(counts) / DRAWS
    assert np.abs(at_most - law.cdf(values + half_a_step)).max() < CLOSE
    assert len(values) > 3


@pytest.mark.parametrize("kind", [kind for kind in CASES if kind.startswith("q_")])
def test_quantised_draws_are_multiples_of_q_and_whole_where_q_is(drawn, kind):
    q = CASES[kind][0].get("q", 1)
    steps = np.array(drawn[kind], dtype=float) / q
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)
    assert {type(value) for value in drawn[kind]} == {int if isinstance(q, int) else float}


@pytest.mark.parametrize("kind", LISTS)
def test_values_of_a_list_are_drawn_as_often_as_they_should_be(drawn, kind):
    for value, probability in LISTS[kind][1].items():
        assert abs(np.mean([one == value for one in drawn[kind]]) - probability) < 0.01
    assert set(drawn[kind]) == {value for value, probability in LISTS[kind][1].items() if probability}


@pytest.mark.parametrize("kind", CASES)
def test_quantile_function_is_that_of_the_closed_form(kind):
    keys, law = CASES[kind]
    prior = parameter(kind, **keys).prior
    for u in (1e-6, 0.05, 0.3, 0.5, 0.9, 1 - 1e-6):
        expected = law.ppf(u)
        if kind.startswith("q_"):
            q = keys.get("q", 1)
            expected = np.round(expected / q) * q
        assert prior.from_unit(u) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("kind", ["normal", "log_normal", "beta"])
def test_default_arguments_are_wandbs(kind):
    law = {"normal": stats.norm(), "log_normal": stats.lognorm(1.0), "beta": stats.beta(1, 1)}[kind]
    assert [parameter(kind).prior.from_unit(u) for u in (0.1, 0.8)] == pytest.approx(law.ppf([0.1, 0.8]))
    assert parameter(f"q_{kind}").prior.from_unit(0.8) == round(law.ppf(0.8))


@pytest.mark.parametrize(
    ("kind", "keys", "ends"),
    [
        ("uniform", {"min": -1.0, "max": 3.0}, (-1.0, 3.0)),
        ("int_uniform", {"min": -1, "max": 3}, (-1, 3)),
        ("q_uniform", {"min": 1, "max": 6, "q": 4}, (0, 8)),  # rounding leaves the bounds, as in W&B
        ("log_uniform", {"min": 0, "max": 1}, (1.0, math.e)),
        ("inv_log_uniform", {"min": 0, "max": 1}, (1 / math.e, 1.0)),
        ("log_uniform_values", {"min": 0.001, "max": 10}, (0.001, 10.0)),
        ("inv_log_uniform_values", {"min": 0.001, "max": 10}, (0.001, 10.0)),
        ("q_log_uniform_values", {"min": 0.6, "max": 10, "q": 1}, (1, 10)),
        ("normal", {"mu": 3}, (-math.inf, math.inf)),
        ("normal", {"mu": 3, "sigma": 0}, (3.0, 3.0)),
        ("q_normal", {}, (-math.inf, math.inf)),
        ("log_normal", {}, (0.0, math.inf)),
        ("log_normal", {"mu": 1, "sigma": 0}, (math.e, math.e)),
        ("beta", {"a": 3}, (0.0, 1.0)),
        ("q_beta", {"q": 0.25}, (0.0, 1.0)),
    ],
)
def test_support_is_the_smallest_and_the_largest_value(kind, keys, ends):
    prior = parameter(kind, **keys).prior
    assert prior.support() == pytest.approx(ends)
    low, high = prior.from_unit(0.0), prior.from_unit(1.0)
    assert ends[0] - 1e-12 <= low <= high <= ends[1] + 1e-12
    assert math.isfinite(low) and math.isfinite(high)
    if all(map(math.isfinite, ends)):
        assert (low, high) == pytest.approx(ends, abs=1e-5)


def test_values_of_a_list_have_no_ends():
    with pytest.raises(ValueError, match="categorical has no smallest"):
        ParameterSpec.model_validate({"values": ["a", 2]}).prior.support()


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"values": ["a", "b"]}, ["a", "a", "b", "b"]),
        ({"values": ["a", "b"], "probabilities": [0.25, 0.75]}, ["a", "b", "b", "b"]),
        ({"values": ["a", "b", "c"], "probabilities": [0.0, 1.0, 0.0]}, ["b"] * 4),
        ({"min": 1, "max": 2}, [1, 1, 2, 2]),
        ({"value": None}, [None] * 4),
    ],
)
def test_a_uniform_number_chooses_from_a_list(keys, expected):
    prior = ParameterSpec.model_validate(keys).prior
    assert [prior.from_unit(u) for u in (0.0, 0.4, 0.6, 1.0)] == expected


def test_a_step_too_fine_for_floats_changes_nothing():
    prior = parameter("q_uniform", min=1e15, max=2e15, q=1e-9).prior
    assert prior.from_unit(0.3) == 1.3e15
    assert parameter("q_log_normal", mu=600, q=1).prior.from_unit(0.5) == int(math.exp(600))
