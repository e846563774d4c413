"""Configurations are determined by the file and its seed alone, and follow their distributions."""

import numpy as np
import pytest

from gaelp_ray.errors import SweepFileError
from gaelp_ray.sweep.format.parameters import ParameterSpec
from gaelp_ray.sweep.format.space import canonical, configurations, draw, levels
from gaelp_ray.sweep.format.spec import SweepSpec

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
        ({"values": [3.0, 1, 3, True]}, [3, 1, True]),
        ({"distribution": "q_uniform", "min": 0, "max": 6, "q": 2}, [0, 2, 4]),
        ({"distribution": "q_uniform", "min": 1, "max": 4}, [1, 2, 3]),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25}, [0.0, 0.25, 0.5, 0.75]),
        ({"distribution": "q_uniform", "min": 0.5, "max": 3, "q": 1}, [0.5, 1.5, 2.5]),
        ({"distribution": "q_uniform", "min": 1.0, "max": 1.3, "q": 0.1}, pytest.approx([1.0, 1.1, 1.2])),
    ],
)
def test_levels_of_a_parameter_in_a_grid(parameter, expected):
    assert levels(ParameterSpec.model_validate(parameter)) == expected


@pytest.mark.parametrize("kind", ["uniform", "log_uniform_values"])
def test_continuous_parameter_has_no_levels(kind):
    parameter = ParameterSpec.model_validate({"distribution": kind, "min": 0.1, "max": 0.2})
    with pytest.raises(SweepFileError, match=f"{kind} is continuous: use values, or method random"):
        levels(parameter)


@pytest.mark.parametrize(
    ("parameter", "complaint"),
    [
        ({"distribution": "q_normal"}, "q_normal has no last value: use values"),
        ({"values": [1, 2], "probabilities": [0.5, 0.5]}, "leave out probabilities, or use method random"),
        ({"min": 1, "max": 100_001}, "a grid of 100,001 values is no grid"),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 1e-300}, "values is no grid"),
    ],
)
def test_what_has_no_list_of_values_is_refused_in_a_grid(parameter, complaint):
    if parameter.get("max") == 100_001:
        assert len(levels(ParameterSpec.model_validate({"min": 1, "max": 100_000}))) == 100_000
    with pytest.raises(SweepFileError, match=complaint):
        levels(ParameterSpec.model_validate(parameter))


NESTED = {
    "z": {"parameters": {"y": {"values": [1, 2]}, "b": {"parameters": {"q": {"values": ["u", "v"]}}}}},
    "a-b": {"values": [0, 9]},  # sorts before `a.c`, and after the mapping `a`
    "a": {"parameters": {"c": {"min": 1, "max": 2}}},
}


def test_sample_is_nested_as_written_and_a_grid_sorts_every_level():
    drawn = spec(NESTED, "grid", None).sample()
    assert drawn == [
        {"a": {"c": c}, "a-b": a_b, "z": {"b": {"q": q}, "y": y}}
        for c in (1, 2)
        for a_b in (0, 9)
        for q in ("u", "v")
        for y in (1, 2)
    ]
    assert spec(NESTED, "grid", None).sample(3) == drawn[:3]
    assert spec(NESTED, "grid", 2).sample() == drawn[:2]
    assert configurations(spec(NESTED, "grid", None))[0] == {"a.c": 1, "a-b": 0, "z.b.q": "u", "z.y": 1}


def test_a_nested_parameter_is_drawn_as_its_dotted_name():
    nested = spec({"ppo": {"parameters": {"clip_range": {"min": 0.1, "max": 0.3}}}}, run_cap=4)
    dotted = spec({"ppo.clip_range": {"min": 0.1, "max": 0.3}}, run_cap=4)
    assert configurations(nested) == configurations(dotted)
    assert [one["ppo"]["clip_range"] for one in nested.sample()] == [one["ppo.clip_range"] for one in dotted.sample()]


def test_a_sample_is_what_a_sweep_runs_and_does_not_depend_on_n():
    mixed = spec(MIXED, run_cap=20)
    assert mixed.sample() == configurations(mixed)
    assert mixed.sample(5) == mixed.sample(20)[:5] == mixed.sample(50)[:5]
    assert mixed.sample(5, seed=7) == spec(MIXED, run_cap=20, seed=7).sample(5) != mixed.sample(5)


def test_bayes_starts_from_the_prior_that_random_draws_from():
    assert spec(MIXED, "bayes").sample(5) == spec(MIXED).sample(5)


def test_a_sample_beyond_run_cap_goes_on_and_may_repeat():
    small = spec({"a": {"min": 1, "max": 3}}, run_cap=3)
    drawn = small.sample(30)
    assert sorted(one["a"] for one in drawn[:3]) == [1, 2, 3]
    assert len(drawn) == 30 and drawn[:3] == small.sample()
    assert spec({"a": {"value": 1}}, run_cap=5).sample(5) == [{"a": 1}] * 5
    assert spec({"a": {"min": 1, "max": 3}}, run_cap=None).sample(30) == [
        draw(spec({"a": {"min": 1, "max": 3}}), number) for number in range(30)
    ]


def test_what_a_caller_does_to_a_sample_does_not_reach_the_spec():
    mine = spec({"layers": {"values": [[64, 64]]}})
    mine.sample(1)[0]["layers"].append(8)
    assert mine.sample(1) == [{"layers": [64, 64]}]


@pytest.mark.parametrize(
    ("parameters", "method", "n", "complaint"),
    [
        (MIXED, "random", None, "method random has no end of its own: give run_cap"),
        (MIXED, "bayes", None, "method bayes has no end of its own: give run_cap"),
        (MIXED, "random", -1, "n -1: give a whole number of at least 0"),
        (MIXED, "random", 2.5, "n 2.5: give a whole number"),
        ({"a": {"parameters": {"b": {"min": 0.1, "max": 1}}}}, "grid", 3, "parameters.a.b: a grid needs a finite list"),
        ({"a": {"min": 1, "max": 2000}, "b": {"min": 1, "max": 1000}}, "grid", None, "a grid of 2,000,000 conf"),
    ],
)
def test_a_refusal_to_sample_is_an_error_of_our_own(parameters, method, n, complaint):
    with pytest.raises(SweepFileError, match=complaint):
        spec(parameters, method, None).sample(n)


def test_a_negative_seed_is_refused():
    with pytest.raises(SweepFileError, match="seed -1: give a whole number"):
        spec(MIXED).sample(1, seed=-1)


def test_the_start_of_a_grid_too_large_to_run_can_be_sampled():
    huge = spec({name: {"min": 1, "max": 1000} for name in "abcdef"}, "grid", None)
    assert [one["f"] for one in huge.sample(3)] == [1, 2, 3]


def test_draws_of_existing_sweeps_stay_as_they_were():
    weighted = {"ppo.averaging": {"values": [0.0, 0.9], "probabilities": [0.3, 0.7]}}
    assert configurations(spec(MIXED | weighted, run_cap=2, seed=3)) == [
        {
            "agent_type": "PPO",
            "batch_size": 41,
            "dual.shade": 0.09652157103976677,
            "learning_rate": pytest.approx(0.0005140625041240735, rel=1e-14),
            "num_episodes": 100,
            "ppo.averaging": 0.0,
        },
        {
            "agent_type": "BayesDual",
            "batch_size": 59,
            "dual.shade": -0.04808319543704065,
            "learning_rate": pytest.approx(0.0001559821595296193, rel=1e-14),
            "num_episodes": 100,
            "ppo.averaging": 0.0,
        },
    ]
