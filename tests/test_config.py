"""A configuration says what it holds, refuses what is wrong, and names the remedy."""

import json

import numpy as np
import pytest
from pydantic import ValidationError

from gaelp_ray.config import FIELD_NAMES, RECORDED, SECTIONS, GAELPExperimentConfig, nest
from gaelp_ray.errors import ConfigError, InputError
from gaelp_ray.market import load_market

DEFAULT = GAELPExperimentConfig()


def value_of(config: GAELPExperimentConfig, dotted: str) -> object:
    found: object = config
    for part in dotted.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize(
    ("field", "documented"),
    [
        ("agent_type", "PPO"),
        ("learning_rate", 0.001),
        ("batch_size", 32),
        ("num_episodes", 100),
        ("max_steps_per_episode", 100),
        ("environment_type", "EnhancedGAELP"),
        ("reward_function", "ROAS_optimized"),
    ],
)
def test_documented_defaults(field, documented):
    assert getattr(DEFAULT, field) == documented


def test_default_market_is_shipped():
    assert load_market(DEFAULT.market).name == DEFAULT.market


def test_unknown_keywords_are_kept():
    config = GAELPExperimentConfig(batch_size=8, team="search", tags=["a", "b"])
    assert config.to_dict()["team"] == "search"
    assert config.to_dict()["tags"] == ["a", "b"]
    assert config.to_dict()["batch_size"] == 8


def test_unknown_keywords_survive_replace():
    assert GAELPExperimentConfig(team="search").replace({"seed": 3}).to_dict()["team"] == "search"


def test_to_dict_makes_the_same_configuration_again():
    config = GAELPExperimentConfig(ppo={"epochs": 2}, heterogeneity=0.25, note="x")
    assert GAELPExperimentConfig(**config.to_dict()) == config


@pytest.mark.parametrize(
    ("values", "field", "shown"),
    [
        ({"learning_rate": 0.0}, "learning_rate", "0.0"),
        ({"learning_rate": "fast"}, "learning_rate", "'fast'"),
        ({"learning_rate": float("nan")}, "learning_rate", "nan"),
        ({"batch_size": 0}, "batch_size", "0"),
        ({"batch_size": 2.5}, "batch_size", "2.5"),
        ({"num_episodes": True}, "num_episodes", "True"),
        ({"seed": -1}, "seed", "-1"),
        ({"agent_type": 3}, "agent_type", "3"),
        ({"departures": "wild"}, "departures", "'wild'"),
        ({"heterogeneity": 4.0}, "heterogeneity", "4.0"),
        ({"conversion_delay": -1.0}, "conversion_delay", "-1.0"),
        ({"conversion_delay": 169.0}, "conversion_delay", "169.0"),
        ({"conversion_delay": float("nan")}, "conversion_delay", "nan"),
        ({"fatigue_half_life": 0.4}, "fatigue_half_life", "0.4"),
        ({"fatigue_half_life": 101.0}, "fatigue_half_life", "101.0"),
        ({"auction": "third_price"}, "auction", "'third_price'"),
        ({"reward_function": "CTR"}, "reward_function", "'CTR'"),
        ({"cem": {"population": 3}}, "cem.population", "3"),
        ({"cem": {"elite_share": 0.0}}, "cem.elite_share", "0.0"),
        ({"cem": {"smoothing": 1.0}}, "cem.smoothing", "1.0"),
        ({"ppo": {"correction": "bids"}}, "ppo.correction", "'bids'"),
        ({"dual": {"traffic": "kalman"}}, "dual.traffic", "'kalman'"),
        ({"dual": {"drift_tracking": -1.0}}, "dual.drift_tracking", "-1.0"),
        ({"dual": {"traffic_noise": 0.0}}, "dual.traffic_noise", "0.0"),
        ({"ppo": {"gamma": 1.1}}, "ppo.gamma", "1.1"),
        ({"ppo": {"reference": "Oracle"}}, "ppo.reference", "'Oracle'"),
        ({"dual": {"prior_strength": 0.0}}, "dual.prior_strength", "0.0"),
        ({"ppo": {"epochs": 2.0}}, "ppo.epochs", "2.0"),
        ({"dual": {"shade": "0.1"}}, "dual.shade", "'0.1'"),
        ({"ppo": 3}, "ppo", "3"),
    ],
)
def test_wrong_value_is_refused_with_field_and_value(values, field, shown):
    with pytest.raises(ConfigError) as refused:
        GAELPExperimentConfig(**values)
    assert str(refused.value).startswith(f"{field}: {shown} ")


@pytest.mark.parametrize(
    ("given", "batch", "population"),
    [({"batch_size": 40}, 40, 16), ({"cem": {"population": 64}}, 32, 64), ({"batch_size": 8}, 8, 16)],
)
def test_candidates_that_cannot_share_a_batch_are_refused_in_one_line(given, batch, population):
    with pytest.raises(ConfigError) as refused:
        GAELPExperimentConfig(agent_type="CEM", **given)
    line = (
        f"batch_size: {batch} is no multiple of cem.population {population}: "
        "every candidate flies the same number of flights"
    )
    assert str(refused.value) == line
    assert [field for field, _ in refused.value.problems] == ["batch_size"]


def test_candidates_that_share_a_batch_are_accepted():
    shared = GAELPExperimentConfig(agent_type="CEM", batch_size=48)
    assert shared.batch_size == 3 * shared.cem.population
    assert shared.replace({"cem.population": 48}).cem.population == 48
    with pytest.raises(ConfigError, match=r"no multiple of cem\.population 32"):
        shared.replace({"cem.population": 32})


def test_batches_of_other_agents_do_not_know_the_population():
    assert GAELPExperimentConfig(agent_type="PPO", batch_size=40, cem={"population": 64}).batch_size == 40
    with pytest.raises(ConfigError, match="no multiple"):
        GAELPExperimentConfig(batch_size=40).replace({"agent_type": "CEM"})


def test_conditions_are_the_markets_own_unless_given():
    assert (DEFAULT.conversion_delay, DEFAULT.fatigue_half_life) == (None, None)
    given = DEFAULT.replace({"conversion_delay": 0.0, "fatigue_half_life": 0.5})
    assert (given.conversion_delay, given.fatigue_half_life) == (0.0, 0.5)


@pytest.mark.parametrize(("text", "number"), [("1e-4", "0.0001"), ("0.01", "0.01")])
def test_number_that_yaml_read_as_text_comes_with_the_remedy(text, number):
    with pytest.raises(ConfigError, match=f"learning_rate: '{text}' is text, not a number: write {number} "):
        GAELPExperimentConfig(learning_rate=text)


def test_numbers_that_numpy_has_drawn_are_numbers():
    drawn = {"num_episodes": np.int64(64), "learning_rate": np.float32(0.5), "ppo": {"epochs": np.int32(2)}}
    config = GAELPExperimentConfig(**drawn, note=np.float64(1.5))
    assert config == GAELPExperimentConfig(num_episodes=64, learning_rate=0.5, ppo={"epochs": 2}, note=1.5)
    assert type(config.num_episodes) is int and json.loads(json.dumps(config.to_dict()))["note"] == 1.5
    with pytest.raises(ConfigError, match=r"num_episodes: 64\.0 should be a valid integer"):
        GAELPExperimentConfig(num_episodes=np.float64(64.0))


def test_allowed_choices_are_named():
    with pytest.raises(ConfigError, match="'realistic' or 'nominal'"):
        GAELPExperimentConfig(departures="wild")


def test_every_problem_gets_its_own_line():
    with pytest.raises(ConfigError) as refused:
        GAELPExperimentConfig(batch_size=0, ppo={"epochs": 0}, dual={"shade": 9.0})
    lines = str(refused.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["batch_size", "dual.shade", "ppo.epochs"]


@pytest.mark.parametrize(
    ("section", "misspelt", "meant"),
    [
        ("ppo", "clip_rnge", "ppo.clip_range"),
        ("dual", "optimsm", "dual.optimism"),
        ("pid", "kpp", "pid.kp"),
        ("constant", "bid_multiplyer", "constant.bid_multiplier"),
    ],
)
def test_misspelt_section_field_is_refused_with_the_closest_name(section, misspelt, meant):
    with pytest.raises(ConfigError, match=f"{section}.{misspelt}.*Did you mean '{meant}'"):
        GAELPExperimentConfig(**{section: {misspelt: 1.0}})


def test_config_errors_are_input_errors():
    assert issubclass(ConfigError, InputError)


@pytest.mark.parametrize(
    ("episodes", "batch", "iterations"), [(100, 32, 4), (96, 32, 3), (97, 32, 4), (1, 32, 1), (5, 1, 5)]
)
def test_iterations_round_up_to_full_batches(episodes, batch, iterations):
    assert GAELPExperimentConfig(num_episodes=episodes, batch_size=batch).iterations == iterations


def test_replace_reaches_into_sections_and_leaves_the_rest():
    changed = DEFAULT.replace({"ppo.clip_range": 0.1, "seed": 7, "dual.shade": 0.5})
    assert (changed.ppo.clip_range, changed.seed, changed.dual.shade) == (0.1, 7, 0.5)
    assert changed.ppo.epochs == DEFAULT.ppo.epochs
    assert changed.replace({"ppo.clip_range": 0.2, "seed": 0, "dual.shade": 0.0}) == DEFAULT


def test_replace_does_not_change_the_original():
    DEFAULT.replace({"ppo.clip_range": 0.1})
    assert GAELPExperimentConfig() == DEFAULT


def test_replace_refuses_what_the_constructor_refuses():
    with pytest.raises(ConfigError, match=r"Did you mean 'ppo.clip_range'"):
        DEFAULT.replace({"ppo.clip_rang": 0.1})


def test_configurations_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        DEFAULT.seed = 3
    with pytest.raises(ValidationError, match="frozen"):
        DEFAULT.ppo.epochs = 3


@pytest.mark.parametrize("name", FIELD_NAMES)
def test_every_sweepable_field_can_be_set_by_its_dotted_name(name):
    assert DEFAULT.replace({name: value_of(DEFAULT, name)}) == DEFAULT


def test_recorded_fields_are_kept_and_not_among_those_that_a_sweep_may_vary():
    config = GAELPExperimentConfig(max_steps_per_episode=50, environment_type="mine")
    assert {"max_steps_per_episode": 50, "environment_type": "mine"}.items() <= config.to_dict().items()
    assert not RECORDED & set(FIELD_NAMES)
    assert set(GAELPExperimentConfig.model_fields) >= RECORDED


def test_field_names_hold_sections_dotted_and_never_bare():
    assert "ppo.reference" in FIELD_NAMES
    assert "dual.forgetting" in FIELD_NAMES
    assert "heterogeneity" in FIELD_NAMES
    assert not set(SECTIONS) & set(FIELD_NAMES)


def test_every_section_field_has_a_meaning():
    fields = {
        name: field for section in SECTIONS for name, field in type(getattr(DEFAULT, section)).model_fields.items()
    }
    assert [name for name, field in fields.items() if not field.description] == []


def test_nest_merges_over_a_tree_without_changing_it():
    tree = {"ppo": {"epochs": 4, "gamma": 1.0}, "seed": 0}
    assert nest({"ppo.epochs": 2, "seed": 1}, into=tree) == {"ppo": {"epochs": 2, "gamma": 1.0}, "seed": 1}
    assert tree == {"ppo": {"epochs": 4, "gamma": 1.0}, "seed": 0}


@pytest.mark.parametrize(
    ("values", "remedy"),
    [
        ({"batch_size": "32"}, "write 32 "),
        ({"learning_rate": "1e-4"}, "write 0.0001 "),
        ({"learning_rate": "2.0"}, "write 2.0 "),
    ],
)
def test_numbers_written_as_text_get_a_remedy_that_works(values, remedy):
    with pytest.raises(ConfigError, match=remedy):
        GAELPExperimentConfig(**values)


@pytest.mark.parametrize("key", ["agent_type.x", "ppo.epochs.x"])
def test_a_dotted_name_below_a_plain_field_is_refused(key):
    with pytest.raises(ConfigError, match="has no parts"):
        GAELPExperimentConfig().replace({key: 3})
