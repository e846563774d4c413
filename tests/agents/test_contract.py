"""What every registered agent promises: the shape of its actions, its state, and flights that do not mix."""

import copy
import pickle

import numpy as np
import pytest
from stepped import Stepped

from gaelp_ray.agents import Agent, agent_types, make_agent, reference_bidder
from gaelp_ray.agents.registry import missing_extra
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.errors import ConfigError
from gaelp_ray.market import load_market
from gaelp_ray.records import Rollout
from gaelp_ray.sections import REFERENCES
from gaelp_ray.simulator import AdCampaignVectorEnv
from gaelp_ray.training import fly

MARKET = load_market("airfrance-search")
LAND = MARKET.landscape
SEEDS = ([1, 1], [1, 2])

LEARNERS = ("PPO", "A2C", "SAC", "CEM")  # ends of their names
SMALL = {"ppo": {"hidden_size": 8}, "sb3": {"hidden_size": 8, "gradient_steps": 4}}
CONFIGS = {name: GAELPExperimentConfig(agent_type=name, **SMALL) for name in agent_types()} | {
    f"PPO on {reference}": GAELPExperimentConfig(agent_type="PPO", ppo={"reference": reference, "hidden_size": 8})
    for reference in REFERENCES
}


def installed(name: str) -> pytest.MarkDecorator:
    """Skips an agent whose extra is not installed, with the reason."""
    return pytest.mark.skipif(missing_extra(name) is not None, reason=str(missing_extra(name)))


every_agent = pytest.mark.parametrize(
    "config", [pytest.param(c, id=name, marks=installed(c.agent_type)) for name, c in CONFIGS.items()]
)


def fresh(config: GAELPExperimentConfig) -> Agent:
    return make_agent(config, LAND)


def trained(config: GAELPExperimentConfig) -> Agent:
    """An agent after one update, so that a learner is no longer what its configuration says."""
    agent = fresh(config)
    agent.update(fly(AdCampaignVectorEnv(4, MARKET), agent, SEEDS, progress=0.0))
    return agent


def flown(agent: Agent, flights: int = 3, seed: int = 7) -> Rollout:
    return fly(AdCampaignVectorEnv(flights, MARKET), Stepped(agent), ([seed, 1], [seed, 2]), progress=0.0)


def actions_on(agent: Agent, observations: np.ndarray) -> np.ndarray:
    """What the agent does on recorded observations (T, B, D), without exploration."""
    agent.begin(observations.shape[1], np.random.default_rng(3))
    return np.stack([agent.act(obs) for obs in observations])


@pytest.fixture(scope="module")
def observations() -> np.ndarray:
    return flown(reference_bidder(LAND), flights=4).obs[:40]


@every_agent
@pytest.mark.parametrize("explore", [False, True])
def test_actions_are_float32_of_one_per_flight_and_channel_within_one(config, explore, observations):
    agent = trained(config)
    agent.begin(4, np.random.default_rng(3))
    for obs in observations:
        action = agent.act(obs, explore=explore)
        assert action.shape == (4, LAND.channels)
        assert action.dtype == np.float32
        assert np.abs(action).max() <= 1.0


@every_agent
def test_saved_agent_acts_the_same(config, observations):
    agent, restored = trained(config), fresh(config)
    restored.load_state_dict(agent.state_dict())
    np.testing.assert_array_equal(actions_on(restored, observations), actions_on(agent, observations))


@every_agent
def test_saved_agent_explores_and_learns_the_same(config):
    agent, restored = trained(config), fresh(config)
    restored.load_state_dict(agent.state_dict())
    for one in (agent, restored):
        one.update(flown(one))
    first, second = agent.state_dict(), restored.state_dict()
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


@every_agent
def test_saved_state_is_not_changed_by_further_learning(config):
    agent = trained(config)
    state = agent.state_dict()
    kept = {name: array.copy() for name, array in state.items()}
    agent.update(flown(agent))
    for name, array in kept.items():
        np.testing.assert_array_equal(state[name], array)


@every_agent
def test_state_is_arrays_that_numpy_can_store(config, tmp_path):
    state = trained(config).state_dict()
    np.savez(tmp_path / "state.npz", **state)
    with np.load(tmp_path / "state.npz", allow_pickle=False) as stored:
        assert set(stored.files) == set(state)
        for name in state:
            np.testing.assert_array_equal(stored[name], state[name])


@every_agent
def test_begin_forgets_the_last_flights(config):
    agent = trained(config)
    first = flown(agent)
    flown(agent, flights=5, seed=8)
    again = flown(agent)
    np.testing.assert_array_equal(first.actions, again.actions)
    np.testing.assert_array_equal(first.rewards, again.rewards)


@every_agent
def test_two_agents_of_one_configuration_are_the_same(config, observations):
    np.testing.assert_array_equal(actions_on(trained(config), observations), actions_on(trained(config), observations))


@every_agent
def test_flights_of_a_batch_do_not_mix(config, observations):
    agent = trained(config)
    together = actions_on(agent, observations)
    alone = [actions_on(agent, observations[:, row : row + 1]) for row in range(observations.shape[1])]
    # Sums of a larger matrix product are ordered differently in float32.
    np.testing.assert_allclose(together, np.concatenate(alone, axis=1), atol=1e-4)


@every_agent
def test_acting_without_exploration_needs_no_chance(config, observations):
    agent = trained(config)
    agent.begin(4, np.random.default_rng(1))
    first = np.stack([agent.act(obs) for obs in observations])
    np.testing.assert_array_equal(first, actions_on(agent, observations))


@every_agent
def test_agent_leaves_its_observations_alone(config, observations):
    before = observations.copy()
    actions_on(trained(config), observations)
    np.testing.assert_array_equal(observations, before)


@pytest.mark.parametrize("name", [name for name in agent_types() if not name.endswith(LEARNERS)])
def test_classical_bidder_learns_nothing(name):
    agent = fresh(CONFIGS[name])
    assert agent.update(flown(agent)) == {}
    assert agent.state_dict() == {}


def test_learner_learns_something_and_reports_it():
    agent = fresh(CONFIGS["PPO"])
    before = agent.state_dict()
    diagnostics = agent.update(flown(agent))
    after = agent.state_dict()
    assert any(not np.array_equal(before[name], after[name]) for name in before)
    assert diagnostics
    assert all(np.isfinite(value) for value in diagnostics.values())


def test_state_of_another_network_is_refused():
    small, large = (fresh(GAELPExperimentConfig(ppo={"hidden_size": size})) for size in (8, 16))
    with pytest.raises(ValueError, match="broadcast"):
        large.load_state_dict(small.state_dict())


def test_unknown_agent_comes_with_the_closest_name():
    with pytest.raises(ConfigError, match=r"agent_type: unknown agent 'BayseDual'\. Did you mean 'BayesDual'"):
        fresh(GAELPExperimentConfig(agent_type="BayseDual"))


def test_reference_line_is_bayes_dual_with_its_defaults(observations):
    dual = fresh(GAELPExperimentConfig(agent_type="BayesDual"))
    np.testing.assert_array_equal(actions_on(reference_bidder(LAND), observations), actions_on(dual, observations))


def test_reference_line_ignores_a_tuned_configuration(observations):
    tuned = fresh(GAELPExperimentConfig(agent_type="BayesDual", dual={"shade": 0.5}))
    assert not np.array_equal(actions_on(reference_bidder(LAND), observations), actions_on(tuned, observations))


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda agent: pickle.loads(pickle.dumps(agent))], ids=["copy", "pickle"]
)
@every_agent
def test_copy_continues_the_flight_and_learns_alike(config, copied):
    agent, env = trained(config), AdCampaignVectorEnv(4, MARKET)
    agent.begin(4, np.random.default_rng(5))
    obs, _ = env.reset(seed=5)
    obs, *_ = env.step(agent.act(obs))
    other = copied(agent)
    assert other.act(obs).tobytes() == agent.act(obs).tobytes()
    for one in (agent, other):
        one.update(fly(AdCampaignVectorEnv(4, MARKET), one, SEEDS, progress=0.0))
    assert flown(other).rewards.tobytes() == flown(agent).rewards.tobytes()
