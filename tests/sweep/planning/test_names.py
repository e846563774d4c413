"""Suggestions for unknown names come from the fields that the sweep's agents read."""

import pytest

from gaelp_ray.agents import agent_types
from gaelp_ray.config import FIELD_NAMES
from gaelp_ray.sweep.format.spec import SweepSpec
from gaelp_ray.sweep.planning.names import ALIASES, Fields


@pytest.mark.parametrize(
    ("agents", "name", "meant"),
    [
        (["PPO"], "epochs", ["ppo.epochs"]),
        (["PPO"], "gamma", ["ppo.gamma"]),
        (["PPO"], "discount", ["ppo.gamma"]),
        (["PPO"], "n-epochs", ["ppo.epochs"]),
        (["PPO"], "ppo.ent_coef", ["ppo.entropy_coef"]),
        (["PPO"], "lr", ["learning_rate"]),
        (["PPO"], "clip_rang", ["ppo.clip_range"]),
        (["PPO"], "ppo.clip_rang", ["ppo.clip_range"]),
        (["sb3:PPO"], "vf_coef", ["sb3.value_coef"]),
        (["sb3:SAC"], "epochs", []),
        (["PPO", "sb3:PPO"], "gae_lambda", ["ppo.gae_lambda", "sb3.gae_lambda"]),
        (["PPO", "sb3:PPO"], "sb3.clip", ["sb3.clip_range"]),
        (["BayesDual"], "gamma", []),
        (["BayesDual"], "lerning_rate", ["learning_rate"]),
        (["PPO"], "optimizer", []),
    ],
)
def test_unknown_name_stands_for_a_field_of_the_agents(agents, name, meant):
    assert Fields(tuple(agents)).meant(name) == meant


def test_aliases_are_no_fields_and_lead_to_fields():
    keys = {name.rpartition(".")[2] for name in FIELD_NAMES}
    assert set(ALIASES.values()) <= keys
    assert not set(ALIASES) & set(FIELD_NAMES)


def test_hint_names_all_that_may_be_meant_or_the_command_that_lists_all():
    both = Fields(("PPO", "sb3:PPO"))
    assert both.hint("gamma") == "Did you mean 'ppo.gamma' or 'sb3.gamma'?"
    assert both.hint("zebra").endswith("; `gaelp-ray fields` lists all.")
    assert Fields(("BayesDual",)).hint("gamma").endswith("; `gaelp-ray fields BayesDual` lists all.")


@pytest.mark.parametrize(
    ("trial", "swept", "agents"),
    [
        ({}, {}, ["PPO"]),
        ({"agent_type": "CEM"}, {}, ["CEM"]),
        ({"agent_type": "CEM"}, {"agent_type": {"values": ["PID", "BayesDaul"]}}, ["PID", "BayesDual"]),
        ({}, {"agent_type": {"value": "PID"}}, ["PID"]),
        ({"agent_type": "zebra"}, {}, agent_types()),
    ],
)
def test_agents_are_those_that_the_file_can_choose(trial, swept, agents):
    parameters = {"learning_rate": {"value": 0.1}} | swept
    spec = SweepSpec(name="s", method="grid", parameters=parameters, trial=trial)
    assert list(Fields.of(spec).agents) == agents
