"""What an agent is said to read of its configuration is what changes its flights: no more and no less."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
import pytest

from gaelp_ray.agents import agent_reads, agent_types
from gaelp_ray.agents.registry import missing_extra
from gaelp_ray.config import FIELD_NAMES, GAELPExperimentConfig
from gaelp_ray.errors import ConfigError
from gaelp_ray.sections import REFERENCES, Sb3Config
from gaelp_ray.training import Stream, fly_batch, make_untrained, train
from gaelp_ray.worlds import market_of

SMALL = {
    "num_episodes": 4,
    "batch_size": 2,
    "ppo": {"hidden_size": 8, "minibatches": 4},
    "cem": {"population": 4},
    "sb3": {"hidden_size": 8, "minibatches": 4, "gradient_steps": 2, "replay_batch": 16},
}
SINGLE = {name: {"agent_type": name} for name in agent_types() if not missing_extra(name)}
SINGLE["CEM"] |= {"batch_size": 8, "num_episodes": 16}  # a multiple of the population
SINGLE["BayesDual, traffic filtered"] = {"agent_type": "BayesDual", "dual": {"traffic": "filter"}}
COMPOSED = {
    f"PPO on {reference}": {"agent_type": "PPO", "ppo": SMALL["ppo"] | {"reference": reference}}
    for reference in REFERENCES
}
BIDDERS = ("constant", "PID", "BayesPID", "BayesDual")
COMPOSITIONS = {
    # Of the bidder inside, one field: the bidder itself tries them all.
    "BayesDual, traffic filtered": "dual.traffic_noise",
    "PPO on constant": "constant.bid_multiplier",
    "CEM": "dual.shade",
}


def outcome(config: GAELPExperimentConfig) -> list[np.ndarray]:
    """What the trained agent spends and earns in each of two flights."""
    env, agent = make_untrained(config)
    for _ in train(env, agent, config):
        pass
    flights = fly_batch(agent, market_of(config), 2, [0, Stream.VALIDATION])
    return [flights.cost, flights.revenue, flights.impressions]


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def others(config: GAELPExperimentConfig, name: str) -> Iterator[GAELPExperimentConfig]:
    """The configuration with one field changed, as often as a valid other value comes to mind."""
    model, field, value = held(config, name)
    for candidate in candidates(value, type(model).model_fields[field].annotation):
        try:
            changed = config.replace({name: candidate})
        except ConfigError:
            continue
        if candidate != value:
            yield changed


def held(config: GAELPExperimentConfig, name: str) -> tuple[Any, str, Any]:
    """(the config or section that has the field, its name there, its value)."""
    section, _, field = name.rpartition(".")
    model = getattr(config, section) if section else config
    return model, field, getattr(model, field)


def candidates(value: Any, annotation: Any) -> list[Any]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value * 2, value // 2, value + 1]
    if isinstance(value, float):
        return [value * 2, value / 2, value + 0.5, value - 0.5, value / 100]
    return [choice for choice in get_args(annotation) if isinstance(choice, str)] or [0.5, 1]


def test_an_agent_states_what_it_reads_or_plans_cannot_tell():
    for name in agent_types():
        reads = agent_reads(GAELPExperimentConfig(agent_type=name))
        assert reads.fields != frozenset(FIELD_NAMES), f"{name} has no line in the table of what agents read"
        assert reads.fields <= frozenset(FIELD_NAMES)


def test_every_field_of_a_section_is_read_by_some_agent():
    every = [agent_reads(GAELPExperimentConfig(agent_type=name)) for name in agent_types()]
    read = {name for reads in every for name in (*reads.fields, *dict(reads.off))}
    assert {name for name in FIELD_NAMES if "." in name} <= read


def test_fields_of_the_market_and_the_seed_apply_to_every_agent():
    shared = {"market", "departures", "heterogeneity", "auction", "seed", "agent_type"}
    for name in agent_types():
        reads = agent_reads(GAELPExperimentConfig(agent_type=name))
        assert all(reads.applies(field) for field in shared)
        assert not shared & reads.fields


@pytest.mark.parametrize(("fields"), (SINGLE | COMPOSED).values(), ids=SINGLE | COMPOSED)
def test_fields_that_do_not_apply_change_nothing_whatever_they_say(fields):
    config = GAELPExperimentConfig(**SMALL | fields)
    reads = agent_reads(config)
    unread = [name for name in FIELD_NAMES if not reads.applies(name)]
    assert unread
    changed = config
    for name in unread:
        changed = next(others(changed, name))
    assert all(held(changed, name)[2] != held(config, name)[2] for name in unread)
    assert same(outcome(config), outcome(changed))


def changes_flights(config: GAELPExperimentConfig, field: str, before: list[np.ndarray]) -> bool:
    return not all(same(before, outcome(changed)) for changed in others(config, field))


@pytest.mark.parametrize("name", BIDDERS)
def test_every_field_that_a_bidder_reads_changes_its_flights(name):
    config = GAELPExperimentConfig(**SMALL | SINGLE[name] | {"num_episodes": 1})
    before, fields = outcome(config), agent_reads(config).fields
    assert fields
    assert [field for field in sorted(fields) if not changes_flights(config, field, before)] == []


@pytest.mark.parametrize(("name", "inner"), COMPOSITIONS.items(), ids=COMPOSITIONS)
def test_every_field_that_a_composition_adds_changes_its_flights(name, inner):
    config = GAELPExperimentConfig(**SMALL | (SINGLE | COMPOSED)[name])
    before, fields = outcome(config), agent_reads(config).fields
    assert inner in fields
    added = {field for field in fields if field.partition(".")[0] != inner.partition(".")[0]}
    assert [field for field in sorted(added | {inner}) if not changes_flights(config, field, before)] == []


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_learner_reads_what_its_reference_reads_and_is_named_after_it(reference):
    for learner in ("PPO", "sb3:SAC"):
        section = "ppo" if learner == "PPO" else "sb3"
        reads = agent_reads(GAELPExperimentConfig(agent_type=learner, **{section: {"reference": reference}}))
        if reference == "none":
            assert reads.agent == f"{learner} without a reference"
            assert not any(name.startswith(("dual.", "pid.", "constant.")) for name in reads.fields)
        else:
            assert reads.agent == f"{learner} on {reference}"
            assert agent_reads(GAELPExperimentConfig(agent_type=reference)).fields < reads.fields
        assert (f"{section}.residual_scale" in reads.fields) == (reference != "none")
        if section == "ppo":
            assert ("ppo.correction" in reads.fields) == (reference != "none")


def test_learners_of_the_extra_read_what_their_fields_say():
    """Descriptions of Sb3Config name the learners where not all three read a field."""
    learners = ("PPO", "A2C", "SAC")
    for field, info in Sb3Config.model_fields.items():
        named, colon, _ = (info.description or "").partition(": ")
        listed = named.split(", ") if colon else []
        told = set(listed) if listed and set(listed) <= set(learners) else set(learners)
        reading = {n for n in learners if f"sb3.{field}" in agent_reads(_sb3(n)).fields}
        assert reading == told, field


def _sb3(learner: str) -> GAELPExperimentConfig:
    return GAELPExperimentConfig(agent_type=f"sb3:{learner}")
