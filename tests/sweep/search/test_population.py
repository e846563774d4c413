"""What may change during a training, and how: no Ray."""

from __future__ import annotations

import copy

import numpy as np

from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.sweep.format.parameters import ParameterSpec
from gaelp_ray.sweep.search.population import (
    Mutations,
    adopted,
    changes,
    mutated,
    offspring,
    scaled,
    settled,
    value_of,
)


def prior(**keys):
    return ParameterSpec(**keys).prior


def planned(name="a", seeds=(0,), seed=0, **params):
    config = GAELPExperimentConfig(seed=seed).replace(params).to_dict()
    return {"name": name, "config_id": f"id-{name}", "params": params, "config": config} | {
        "is_default": False,
        "seeds": list(seeds),
    }


RATE = prior(min=0.001, max=0.1)


def draws(value, distribution, resample=0.0, n=200):
    rng = np.random.default_rng(1)
    return [mutated(value, distribution, rng, resample) for _ in range(n)]


def test_a_number_is_multiplied_or_drawn_anew():
    assert {round(new, 6) for new in draws(0.01, RATE)} == {0.008, 0.012}
    drawn = draws(0.01, RATE, resample=1.0)
    assert len(set(drawn)) == 200 and 0.001 <= min(drawn) < 0.02 and 0.08 < max(drawn) <= 0.1
    both = draws(0.01, RATE, resample=0.25, n=2000)
    assert 0.2 < np.mean([round(new, 6) not in (0.008, 0.012) for new in both]) < 0.3


def test_a_number_stays_between_the_ends():
    assert {round(new, 6) for new in draws(0.09, RATE)} == {0.072, 0.1}
    assert {round(new, 6) for new in draws(0.0011, RATE)} == {0.001, 0.00132}
    assert set(draws(-0.9, prior(min=-1.0, max=1.0))) == {-0.7200000000000001, -1.0}


def test_whole_numbers_stay_whole_and_move():
    for value in (1, 2, 3, 10):
        news = set(draws(value, prior(min=1, max=11)))
        assert all(type(new) is int and 1 <= new <= 11 for new in news)
        assert any(new > value for new in news) and (value == 1 or any(new < value for new in news))
    assert set(draws(-2, prior(min=-5, max=5))) == {-1, -3}
    assert set(draws(10, prior(min=0, max=100, q=5, distribution="q_uniform"))) == {5, 15}
    assert set(draws(0.5, prior(min=0.0, max=2.0, q=0.25, distribution="q_uniform"))) == {0.25, 0.75}


def test_a_list_moves_to_a_neighbour():
    sizes = prior(values=["s", "m", "l", "xl"])
    assert set(draws("m", sizes)) == {"s", "l"}
    assert set(draws("xl", sizes)) == {"l", "xl"}
    assert set(draws("s", sizes, resample=1.0)) == {"s", "m", "l", "xl"}


def test_what_has_no_neighbour_is_drawn_anew():
    assert set(draws("gone", prior(values=["a", "b"]))) == {"a", "b"}
    for value in (None, 0.0):
        assert len(set(draws(value, RATE))) == 200


def test_settled_is_the_nearest_value_that_can_be_drawn():
    assert settled(7.6, prior(min=1, max=9)) == 8 and settled(99.0, prior(min=1, max=9)) == 9
    assert settled(7.0, prior(min=0, max=20, q=5, distribution="q_uniform")) == 5
    assert settled(0.0123, RATE) == 0.0123
    assert scaled(9, prior(min=1, max=9), 1.2) == 9


def test_offspring_is_itself_with_the_parameters_of_its_source():
    trial = planned("a", seeds=(1, 2), seed=7, **{"learning_rate": 0.05, "ppo.hidden_size": 32})
    source = planned("b", seeds=(3,), seed=8, **{"learning_rate": 0.01, "ppo.hidden_size": 64})
    before = copy.deepcopy((trial, source))
    child = offspring(trial, source, Mutations({"learning_rate": RATE}, 0.0), np.random.default_rng(0))
    assert (trial, source) == before
    same = ("name", "config_id", "is_default", "seeds")
    assert {key: child[key] for key in same} == {key: trial[key] for key in same}
    assert child["config"]["seed"] == 7
    assert child["params"]["ppo.hidden_size"] == child["config"]["ppo"]["hidden_size"] == 64
    assert child["params"]["learning_rate"] == child["config"]["learning_rate"]
    assert child["params"]["learning_rate"] in (0.008, 0.012)
    assert GAELPExperimentConfig(**child["config"]).to_dict() == child["config"]
    assert changes(trial, child) == {
        "learning_rate": (0.05, child["params"]["learning_rate"]),
        "ppo.hidden_size": (32, 64),
    }


def test_offspring_repeats_with_its_generator():
    trial, source = planned("a", learning_rate=0.05), planned("b", learning_rate=0.01)
    mutations = Mutations({"learning_rate": RATE, "ppo.clip_range": prior(min=0.1, max=0.3)}, 0.5)
    rates = [offspring(trial, source, mutations, np.random.default_rng(seed))["params"] for seed in (1, 1, 2)]
    assert rates[0] == rates[1] != rates[2]


def test_a_parameter_that_was_not_swept_joins_the_params():
    mutations = Mutations({"ppo.clip_range": prior(values=[0.1, 0.2, 0.3])}, 0.0)
    trial = planned("a", learning_rate=0.01)
    child = offspring(trial, trial, mutations, np.random.default_rng(0))
    assert child["params"]["ppo.clip_range"] == child["config"]["ppo"]["clip_range"] != 0.2
    assert changes(trial, child) == {"ppo.clip_range": (0.2, child["params"]["ppo.clip_range"])}


def test_a_value_that_the_field_refuses_is_left_as_it_was():
    trial, source = planned("a", learning_rate=0.01), planned("b", learning_rate=0.95)
    child = adopted(trial, source, {"learning_rate": 1.14, "ppo.gamma": 0.9})
    assert child["params"] == {"learning_rate": 0.95, "ppo.gamma": 0.9}
    assert value_of(child["config"], "learning_rate") == 0.95 and value_of(child["config"], "ppo.gamma") == 0.9
