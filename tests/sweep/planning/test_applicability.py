"""A parameter that the chosen agents do not read is named, with the agents; one that they read is not."""

from __future__ import annotations

import pytest

from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.sweep.planning.applicability import applicable, default_training_length, inapplicable
from gaelp_ray.sweep.planning.plan import plan_sweep


@pytest.fixture
def found(tmp_path):
    """The records of a sweep file with these parameters and fixed fields, by parameter."""

    def found(parameters: str, trial: str = "{}", more: str = "select: {include_default: true}"):
        path = tmp_path / "trip.yaml"
        path.write_text(f"method: grid\nparameters: {parameters}\ntrial: {trial}\n{more}\n", encoding="utf-8")
        return {record.parameter: record for record in inapplicable(plan_sweep(path))}

    return found


@pytest.fixture
def texts(found):
    """What is said of a sweep file."""
    return lambda *keys: [record.text for record in found(*keys).values()]


def test_parameter_of_another_agent_is_named_with_what_the_agent_reads(texts):
    assert texts("{learning_rate: {values: [0.1, 0.2]}}", "{agent_type: BayesDual}") == [
        "learning_rate does not apply to BayesDual: BayesDual reads dual.*"
    ]


def test_nothing_is_said_of_parameters_that_every_agent_reads(texts):
    assert texts("{learning_rate: {values: [0.1]}, ppo.epochs: {value: 2}, dual.shade: {value: 0.1}}") == []
    assert texts("{dual.shade: {value: 0.1}}", "{agent_type: BayesDual}") == []


def test_fields_of_the_market_apply_to_every_agent(texts):
    fixed = "{agent_type: constant, market: airfrance-search, departures: nominal, heterogeneity: 0.1, seed: 3}"
    assert texts("{auction: {values: [first_price]}}", fixed) == []


def test_training_changes_nothing_in_an_agent_that_learns_nothing(texts):
    fixed = "{agent_type: PID, num_episodes: 64, batch_size: 32}"
    assert texts("{pid.kp: {value: 1.0}, reward_function: {value: expected_ROAS}}", fixed) == [
        "reward_function does not apply to PID, which learns nothing",
        "num_episodes does not apply to PID, which learns nothing",
        "batch_size does not apply to PID, which learns nothing",
    ]


def test_with_several_agents_a_parameter_is_named_for_those_that_do_not_read_it(found):
    records = found("{agent_type: {values: [PPO, BayesDual, PID]}, ppo.epochs: {value: 2}, dual.shade: {value: 0.1}}")
    assert list(records) == ["ppo.epochs", "dual.shade"]
    epochs, shade = records.values()
    assert (epochs.agents, epochs.applies_to) == (("BayesDual", "PID"), ("PPO on BayesDual",))
    said = "ppo.epochs does not apply to BayesDual and PID: BayesDual reads dual.*; PID reads pid.*"
    assert epochs.text == said
    assert (shade.agents, shade.applies_to) == (("PID",), ("PPO on BayesDual", "BayesDual"))


def test_several_agents_that_learn_nothing_share_one_line(texts):
    assert texts("{agent_type: {values: [PPO, BayesDual, PID]}}", "{num_episodes: 64}") == [
        "num_episodes does not apply to BayesDual and PID, which learn nothing"
    ]


def test_fixed_reference_decides_which_section_a_learner_reads(texts):
    parameters = "{dual.shade: {value: 0.1}, pid.kp: {value: 1.0}}"
    reads = "PPO on PID reads learning_rate, pid.* and ppo.*"
    assert texts(parameters, "{ppo.reference: PID}") == [f"dual.shade does not apply to PPO on PID: {reads}"]
    assert texts(parameters, "{ppo: {reference: PID}}") == [f"dual.shade does not apply to PPO on PID: {reads}"]
    assert texts(parameters, "{ppo.reference: none}") == [
        f"{name} does not apply to PPO without a reference: PPO without a reference reads learning_rate and ppo.*"
        for name in ("dual.shade", "pid.kp")
    ]


def test_swept_reference_is_named_with_the_agent(found):
    records = found("{ppo.reference: {values: [none, PID, BayesDual]}, pid.kp: {value: 1.0}}")
    assert list(records) == ["pid.kp"]
    assert set(records["pid.kp"].agents) == {"PPO without a reference", "PPO on BayesDual"}
    assert records["pid.kp"].applies_to == ("PPO on PID",)


def test_scale_of_a_correction_needs_something_to_correct(texts):
    assert texts("{ppo.residual_scale: {value: 0.1}}", "{ppo.reference: none}") == [
        "ppo.residual_scale does not apply to PPO without a reference"
    ]


def test_field_that_another_one_switches_off_is_named_with_it(texts, found):
    said = "dual.traffic_noise does not apply to {} with dual.traffic counts"
    assert texts("{dual.traffic_noise: {value: 2.0}}", "{agent_type: BayesDual}") == [said.format("BayesDual")]
    assert texts("{dual.traffic_noise: {value: 2.0}}") == [said.format("PPO on BayesDual")]
    swept = "{dual.traffic: {values: [counts, filter]}, dual.traffic_noise: {value: 2.0}, ppo.epochs: {value: 2}}"
    noise, epochs = found(swept, "{agent_type: BayesDual}").values()
    assert (noise.agents, noise.applies_to) == (("BayesDual with dual.traffic counts",), ("BayesDual",))
    assert (epochs.agents, epochs.text.count("reads dual.*")) == (("BayesDual",), 1)


def test_agent_without_parameters_says_so(texts):
    assert texts("{dual.shade: {values: [0.1, 0.2]}}", "{agent_type: ExactBayes}") == [
        "dual.shade does not apply to ExactBayes: ExactBayes has no parameters"
    ]


def test_control_arm_has_no_sampled_values_but_the_fixed_ones(found):
    # The control arm is PPO, which reads the learning rate; the only sampled trial is not.
    records = found("{agent_type: {value: BayesDual}, learning_rate: {value: 0.1}}", "{num_episodes: 64}")
    assert (records["learning_rate"].agents, records["learning_rate"].applies_to) == (("BayesDual",), ())
    assert records["num_episodes"].applies_to == ("PPO on BayesDual",)


def test_without_a_control_arm_a_fixed_field_may_apply_to_no_trial(found):
    more = "select: {include_default: false}"
    records = found("{agent_type: {value: BayesDual}}", "{num_episodes: 64, ppo: {epochs: 2}}", more)
    assert [(r.parameter, r.applies_to) for r in records.values()] == [("num_episodes", ()), ("ppo.epochs", ())]


def test_field_that_is_both_fixed_and_swept_is_named_once_for_all_trials(texts, found):
    said = ["learning_rate does not apply to BayesDual: BayesDual reads dual.*"]
    assert texts("{learning_rate: {value: 0.1}}", "{learning_rate: 0.2, agent_type: BayesDual}") == said
    (record,) = found("{agent_type: {value: BayesDual}, learning_rate: {value: 0.1}}", "{learning_rate: 0.2}").values()
    assert record.applies_to == ("PPO on BayesDual",)  # the control arm, at 0.2


@pytest.fixture
def length(tmp_path):
    """What is said of the default training length of a sweep file with these parameters and fixed fields."""

    def length(parameters: str, trial: str = "{}") -> str:
        path = tmp_path / "trip.yaml"
        path.write_text(f"method: grid\nparameters: {parameters}\ntrial: {trial}\n", encoding="utf-8")
        return default_training_length(plan_sweep(path))

    return length


def test_default_num_episodes_is_named_with_its_iterations(length):
    remedy = "Set it with `trial: {num_episodes: 2048}`"
    said = "num_episodes is not set: trials train on the default of 100 flights"
    assert length("{learning_rate: {values: [0.1]}}") == f"{said} (4 iterations of batch_size 32). {remedy}"
    swept = "{batch_size: {values: [16, 64]}}"
    assert length(swept) == f"{said} (2 to 7 iterations of batch_size 16 to 64). {remedy}"


def test_num_episodes_of_the_file_needs_no_remark(length):
    assert length("{learning_rate: {values: [0.1]}}", "{num_episodes: 100}") == ""
    assert length("{num_episodes: {values: [64, 100]}}") == ""
    assert length("{dual.shade: {values: [0.1]}}", "{agent_type: BayesDual}") == ""  # which learns nothing


def test_applicable_parameters_are_those_that_the_agent_reads():
    params = {"agent_type": "BayesDual", "learning_rate": 0.1, "ppo.epochs": 2, "dual.shade": 0.1, "num_episodes": 64}
    read = applicable(params, GAELPExperimentConfig(agent_type="BayesDual"))
    assert read == {"agent_type": "BayesDual", "dual.shade": 0.1}
    assert set(applicable(params, GAELPExperimentConfig())) == set(params)
    assert applicable({"auction": "first_price"}, GAELPExperimentConfig(env="shop:Shop")) == {}
