"""Configurations are determined by the file and its seed alone, and follow their distributions."""

import numpy as np
import pytest

from gaelp_ray.sweep.space import canonical, configurations, draw, levels
from gaelp_ray.sweep.spec import ParameterSpec, SweepSpec

MIXED = {
    "learning_rate": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2},
    "batch_size": {"min": 8, "max": 64},
    "agent_type": {"values": ["PPO", "BayesDual"]},
    "dual.shade": {"min": -0.5, "max": 0.5},
    "num_episodes": {"value": 100},
}
DRAWS = 4000
QUANTILES = np.array([0.05, 0.25, 0.5, 0.75, 0.95])


def spec(parameters, method="random", run_cap=8, seed=0) -> SweepSpec:
    keys = {"name": "s", "method": method, "run_cap": run_cap, "seed": seed, "parameters": parameters}
    return SweepSpec.model_validate(keys)


def sampled(**parameter) -> np.ndarray:
    """Values of one parameter in many configurations."""
    one = spec({"x": parameter})
    return np.array([draw(one, number)["x"] for number in range(DRAWS)])


def test_configuration_does_not_depend_on_how_many_are_drawn():
    assert configurations(spec(MIXED, run_cap=3)) == configurations(spec(MIXED, run_cap=20))[:3]


def test_configuration_does_not_depend_on_the_order_of_parameters_in_the_file():
    turned = dict(reversed(MIXED.items()))
    assert configurations(spec(turned)) == configurations(spec(MIXED))


def test_value_does_not_depend_on_which_other_parameters_there_are():
    alone = configurations(spec({"learning_rate": MIXED["learning_rate"]}))
    assert [c["learning_rate"] for c in configurations(spec(MIXED))] == [c["learning_rate"] for c in alone]


def test_seed_changes_the_configurations():
    first, second = (configurations(spec(MIXED, seed=seed)) for seed in (0, 1))
    assert not {c["learning_rate"] for c in first} & {c["learning_rate"] for c in second}


def test_parameters_of_one_configuration_are_independent():
    twins = spec({"a": {"min": 0.0, "max": 1.0}, "b": {"min": 0.0, "max": 1.0}})
    values = np.array([list(draw(twins, number).values()) for number in range(DRAWS)])
    assert abs(np.corrcoef(values.T)[0, 1]) < 0.05
    assert abs(np.corrcoef(values[:-1, 0], values[1:, 0])[0, 1]) < 0.05


def test_values_have_the_types_that_were_written():
    one = configurations(spec(MIXED))[0]
    kinds = {name: type(value) for name, value in one.items()}
    expected = {"agent_type": str, "batch_size": int, "dual.shade": float, "learning_rate": float, "num_episodes": int}
    assert kinds == expected
    assert one["num_episodes"] == 100


def test_uniform_has_the_quantiles_of_its_distribution():
    values = sampled(min=-1.0, max=3.0)
    np.testing.assert_allclose(np.quantile(values, QUANTILES), -1.0 + 4.0 * QUANTILES, atol=0.1)
    assert -1.0 <= values.min() < values.max() <= 3.0


def test_log_uniform_values_has_the_quantiles_of_its_distribution():
    values = sampled(distribution="log_uniform_values", min=1e-5, max=1e-1)
    np.testing.assert_allclose(np.log10(np.quantile(values, QUANTILES)), -5.0 + 4.0 * QUANTILES, atol=0.1)
    assert 1e-5 <= values.min() < values.max() <= 1e-1


def test_int_uniform_draws_every_whole_number_equally_often_ends_included():
    values, counts = np.unique(sampled(min=3, max=7), return_counts=True)
    assert values.tolist() == [3, 4, 5, 6, 7]
    np.testing.assert_allclose(counts / DRAWS, 0.2, atol=0.03)


@pytest.mark.parametrize("probabilities", [None, [0.7, 0.2, 0.1], [0.5, 0.0, 0.5]])
def test_categorical_follows_its_probabilities(probabilities):
    extra = {"probabilities": probabilities} if probabilities else {}
    values = sampled(values=["a", "b", "c"], **extra)
    shares = [np.mean(values == letter) for letter in "abc"]
    np.testing.assert_allclose(shares, probabilities or [1 / 3] * 3, atol=0.03)


def test_no_configuration_comes_twice():
    drawn = configurations(spec({"batch_size": {"min": 1, "max": 5}, "agent_type": {"values": ["a", "b"]}}, run_cap=10))
    assert len(drawn) == len({canonical(values) for values in drawn}) == 10


@pytest.mark.parametrize(
    ("parameters", "size"),
    [
        ({"batch_size": {"value": 8}}, 1),
        ({"batch_size": {"values": [1, 2, 1]}}, 2),
        ({"batch_size": {"min": 1, "max": 3}, "agent_type": {"values": ["a", "b"]}}, 6),
    ],
)
def test_space_smaller_than_run_cap_ends_early(parameters, size):
    assert len(configurations(spec(parameters, run_cap=50))) == size


def test_grid_goes_through_sorted_names_and_the_last_varies_fastest():
    drawn = configurations(spec({"b": {"values": [1, 2]}, "a": {"values": ["y", "x"]}}, method="grid"))
    assert drawn == [{"a": a, "b": b} for a in ("y", "x") for b in (1, 2)]


def test_grid_ends_at_run_cap_and_without_one_is_complete():
    parameters = {"a": {"min": 1, "max": 4}, "b": {"values": [True, False]}}
    whole = configurations(spec(parameters, method="grid", run_cap=None))
    assert len(whole) == 8
    assert configurations(spec(parameters, method="grid", run_cap=3)) == whole[:3]


def test_grid_is_the_same_for_every_seed():
    first, second = (configurations(spec({"a": {"min": 1, "max": 4}}, "grid", None, seed)) for seed in (0, 1))
    assert first == second


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        ({"value": None}, [None]),
        ({"values": [3, 1, 3, 2, 1]}, [3, 1, 2]),
        ({"values": [{"a": 1, "b": 2}, {"b": 2, "a": 1}]}, [{"a": 1, "b": 2}]),
        ({"min": -1, "max": 2}, [-1, 0, 1, 2]),
    ],
)
def test_levels_of_a_parameter_in_a_grid(parameter, expected):
    assert levels(ParameterSpec.model_validate(parameter)) == expected


@pytest.mark.parametrize("kind", ["uniform", "log_uniform_values"])
def test_continuous_parameter_has_no_levels(kind):
    parameter = ParameterSpec.model_validate({"distribution": kind, "min": 0.1, "max": 0.2})
    with pytest.raises(ValueError, match=f"{kind} is continuous: use values, or method random"):
        levels(parameter)
