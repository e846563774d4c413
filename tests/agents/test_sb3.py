"""stable-baselines3's learners as agents: what reaches the library, what comes back, and the way without it."""

import subprocess
import sys

import numpy as np
import pytest
from stepped import Stepped

from gaelp_ray.agents import agent_types, make_agent, registry
from gaelp_ray.agents.ppo import generalised_advantages
from gaelp_ray.agents.registry import missing_extra
from gaelp_ray.checkpoint import Model, load_model, save_model
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.errors import InputError, SweepFileError, TrainingError
from gaelp_ray.market import load_market
from gaelp_ray.records import Rollout
from gaelp_ray.sections import PPOConfig
from gaelp_ray.simulator import AdCampaignVectorEnv
from gaelp_ray.sweep.planning.plan import plan_sweep
from gaelp_ray.training import fly

MARKET = load_market("airfrance-search")
OBSERVED, ACTIONS = 3, 2
ON_POLICY, ALL = ("PPO", "A2C"), ("PPO", "A2C", "SAC")
with_extra = pytest.mark.skipif(missing_extra("sb3:PPO") is not None, reason=str(missing_extra("sb3:PPO")))
ADVICE = "sb3:PPO needs the extra: pip install 'gaelp_ray[sb3]'"


def configured(algorithm: str = "PPO", learning_rate: float = 3e-3, **sb3: object) -> GAELPExperimentConfig:
    small = {"hidden_size": 8, "gradient_steps": 20} | sb3
    return GAELPExperimentConfig(agent_type=f"sb3:{algorithm}", learning_rate=learning_rate, sb3=small)


def learner(algorithm: str = "PPO", **options):
    from gaelp_ray.agents.sb3 import make_learner

    return make_learner(algorithm, configured(algorithm, **options), OBSERVED, ACTIONS)


def play(agent, seed: int, hours: int = 1, flights: int = 256, progress: float = 0.0) -> tuple[Rollout, np.ndarray]:
    """Flights that reward closeness to a target which depends on the observation."""
    rng = np.random.default_rng(seed)
    obs = rng.standard_normal((hours, flights, OBSERVED)).astype(np.float32)
    agent.begin(flights, rng)
    actions = np.stack([agent.act(one, explore=True) for one in obs])
    target = np.stack([0.5 * obs[..., 0], np.full((hours, flights), -0.4)], axis=-1)
    dones = np.zeros((hours, flights), bool)
    dones[-1] = True
    rewards = -((actions - target) ** 2).sum(axis=-1)
    return Rollout(obs, actions, rewards, dones, rewards.sum(axis=0), progress), target


def test_learners_are_listed_with_and_without_the_library():
    assert {f"sb3:{algorithm}" for algorithm in ALL} < set(agent_types())


def test_without_the_library_an_agent_says_what_to_install(monkeypatch):
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    with pytest.raises(InputError) as caught:
        make_agent(configured(), MARKET.landscape)
    assert str(caught.value) == f"agent_type: {ADVICE}"


def test_without_the_library_a_model_says_what_to_install(monkeypatch, tmp_path):
    stand_in = make_agent(GAELPExperimentConfig(agent_type="constant"), MARKET.landscape)
    save_model(tmp_path, Model(stand_in, configured(), MARKET, {}))
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    with pytest.raises(InputError) as caught:
        load_model(tmp_path)
    assert str(caught.value) == f"agent_type: {ADVICE}"


@pytest.mark.parametrize("where", ["trial: {agent_type: sb3:PPO}", "trial: {agent_type: PID}"])
def test_without_the_library_a_sweep_is_refused_before_it_starts(where, monkeypatch, tmp_path):
    path = tmp_path / "sweep.yaml"
    varied = "agent_type: {values: [PID, 'sb3:PPO']}" if "PID" in where else "learning_rate: {values: [0.001, 0.01]}"
    path.write_text(f"method: grid\nmetric: {{name: roas, goal: maximize}}\n{where}\nparameters: {{{varied}}}\n")
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    with pytest.raises(SweepFileError) as caught:
        plan_sweep(path)
    (problem,) = caught.value.problems
    assert problem.endswith(ADVICE)


def test_nothing_but_such_an_agent_imports_torch():
    code = (
        "import sys, gaelp_ray, gaelp_ray.cli.main, gaelp_ray.agents as agents, gaelp_ray.training as training\n"
        "agents.agent_types(); training.make_untrained(gaelp_ray.GAELPExperimentConfig(agent_type='PPO'))\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


@with_extra
@pytest.mark.parametrize(("algorithm", "updates", "rate"), [("PPO", 25, 1e-2), ("A2C", 250, 3e-2), ("SAC", 25, 1e-2)])
def test_updates_improve_a_simple_objective(algorithm, updates, rate):
    agent = learner(algorithm, learning_rate=rate, initial_std=0.3)

    def distance() -> float:
        rollout, target = play(agent, seed=999)
        return float(np.abs(agent.act(rollout.obs[0]) - target[0]).mean())

    start = distance()
    for seed in range(updates):
        agent.update(play(agent, seed)[0])
    assert distance() < 0.5 * start


@with_extra
@pytest.mark.parametrize("algorithm", ON_POLICY)
def test_the_library_gets_returns_and_advantages_of_whole_flights(algorithm):
    agent = learner(algorithm, gamma=0.9, gae_lambda=0.8, epochs=1, minibatches=1)
    rollout, _ = play(agent, seed=1, hours=6, flights=4)
    rollout.dones[2, 1] = True  # a flight that ends early, and another one after it
    agent.update(rollout)
    buffer = agent.model.rollout_buffer  # flattened by now, flight after flight
    values = buffer.values.reshape(4, 6).T.astype(np.float64)
    expected = generalised_advantages(rollout, values, PPOConfig(gamma=0.9, gae_lambda=0.8))
    np.testing.assert_allclose(buffer.advantages.reshape(4, 6).T, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(buffer.returns.reshape(4, 6).T, expected + values, rtol=1e-4, atol=1e-5)


@with_extra
@pytest.mark.parametrize("algorithm", ON_POLICY)
def test_the_library_gets_the_actions_that_were_drawn_with_their_log_probabilities(algorithm):
    agent = learner(algorithm, initial_std=1.5, epochs=1, minibatches=1)
    rollout, _ = play(agent, seed=1, flights=64)
    mean = agent.act(rollout.obs[0])
    agent.update(rollout)
    buffer = agent.model.rollout_buffer
    np.testing.assert_array_equal(buffer.actions, rollout.actions[0])
    assert np.abs(buffer.actions).max() > 1.0  # what clips them is the composition around the policy
    z = (rollout.actions[0] - mean) / 1.5
    log_prob = (-0.5 * z**2 - np.log(1.5) - 0.5 * np.log(2.0 * np.pi)).sum(axis=1)
    np.testing.assert_allclose(buffer.log_probs[:, 0], log_prob, rtol=1e-4)


@with_extra
def test_memory_holds_flights_one_after_the_other_and_forgets_the_oldest():
    agent = learner("SAC", buffer_size=1000)
    rollouts = [play(agent, seed, hours=10, flights=60)[0] for seed in (1, 2)]
    for seed in (1, 2):
        agent.update(play(agent, seed, hours=10, flights=60)[0])
    state, newest = agent.state_dict(), rollouts[1]
    assert len(state["memory_obs"]) == 1000
    np.testing.assert_array_equal(state["memory_obs"][-600:].reshape(60, 10, -1), newest.obs.swapaxes(0, 1))
    np.testing.assert_array_equal(state["memory_dones"].reshape(100, 10), np.eye(10)[[9] * 100])
    np.testing.assert_array_equal(state["memory_obs"][:400].reshape(40, 10, -1), rollouts[0].obs.swapaxes(0, 1)[20:])


@with_extra
def test_the_library_finds_the_next_hour_of_the_same_flight():
    agent = learner("SAC")
    rollout, _ = play(agent, 1, hours=10, flights=20)
    agent.update(rollout)
    sample = agent.model.replay_buffer._get_samples(np.arange(200))
    inner = sample.dones.numpy()[:, 0] == 0.0
    assert inner.sum() == 20 * 9
    seen = agent.normaliser(rollout.obs.swapaxes(0, 1))
    np.testing.assert_array_equal(sample.observations.numpy().reshape(20, 10, -1), seen)
    np.testing.assert_array_equal(sample.next_observations.numpy()[inner].reshape(20, 9, -1), seen[:, 1:])
    np.testing.assert_array_equal(sample.rewards.numpy().reshape(20, 10), rollout.rewards.T.astype(np.float32))


@with_extra
@pytest.mark.parametrize("algorithm", ALL)
def test_the_generators_of_others_are_left_alone(algorithm):
    import torch

    before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()
    agent = learner(algorithm)
    agent.update(play(agent, 1)[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    assert torch.equal(torch.get_rng_state(), torch_before)


@with_extra
@pytest.mark.parametrize("algorithm", ALL)
def test_learning_is_repeated_bit_for_bit_whatever_the_global_generators_hold(algorithm):
    states = []
    for noise in (1, 2):
        np.random.seed(noise)
        agent = learner(algorithm)
        for seed in range(2):
            agent.update(play(agent, seed)[0])
        states.append(agent.state_dict())
    for name, array in states[0].items():
        np.testing.assert_array_equal(array, states[1][name])


@with_extra
@pytest.mark.parametrize("algorithm", ALL)
def test_update_takes_its_observations_into_the_normaliser(algorithm):
    agent = learner(algorithm)
    rollout, _ = play(agent, 1)
    agent.update(rollout)
    assert agent.state_dict()["normaliser_count"] == 256
    np.testing.assert_allclose(agent.normaliser.mean, rollout.obs[0].mean(axis=0), rtol=1e-5, atol=1e-6)


@with_extra
def test_torch_computes_with_one_thread():
    import torch

    torch.set_num_threads(2)
    learner()
    assert torch.get_num_threads() == 1


@with_extra
@pytest.mark.parametrize("algorithm", ALL)
def test_learning_rate_falls_to_a_tenth(algorithm):
    agent, rates = learner(algorithm, learning_rate=0.01), {}
    for progress in (0.0, 0.5, 1.0):
        rates[progress] = agent.update(play(agent, 1, progress=progress)[0])["learning/learning_rate"]
    assert rates == pytest.approx({0.0: 0.01, 0.5: 0.0055, 1.0: 0.001})


FIELDS = [
    ("PPO", "gamma", 0.9, "gamma"),
    ("PPO", "gae_lambda", 0.5, "gae_lambda"),
    ("PPO", "entropy_coef", 0.1, "ent_coef"),
    ("PPO", "value_coef", 0.7, "vf_coef"),
    ("PPO", "max_grad_norm", 2.0, "max_grad_norm"),
    ("PPO", "epochs", 7, "n_epochs"),
    ("A2C", "gamma", 0.9, "gamma"),
    ("A2C", "gae_lambda", 0.5, "gae_lambda"),
    ("A2C", "entropy_coef", 0.1, "ent_coef"),
    ("A2C", "value_coef", 0.7, "vf_coef"),
    ("A2C", "max_grad_norm", 2.0, "max_grad_norm"),
    ("SAC", "gamma", 0.9, "gamma"),
    ("SAC", "tau", 0.1, "tau"),
]


@with_extra
@pytest.mark.parametrize(("algorithm", "field", "value", "attribute"), FIELDS)
def test_fields_reach_the_library(algorithm, field, value, attribute):
    assert getattr(learner(algorithm, **{field: value}).model, attribute) == value


@with_extra
def test_fields_of_another_name_and_kind_reach_the_library():
    assert learner("PPO", clip_range=0.3).model.clip_range(1.0) == 0.3
    assert np.exp(learner("SAC", initial_temperature=0.5).state_dict()["log_ent_coef"]) == pytest.approx([0.5])
    for algorithm in ON_POLICY:
        np.testing.assert_allclose(np.exp(learner(algorithm, initial_std=0.4).state_dict()["policy/log_std"]), 0.4)
    wide = learner("SAC", hidden_size=12).state_dict()
    assert wide["policy/actor.latent_pi.0.weight"].shape == (12, OBSERVED)


@with_extra
def test_gradient_steps_are_those_of_the_configuration():
    steps = learner("PPO", epochs=3, minibatches=5)
    steps.update(play(steps, 1)[0])
    assert steps.state_dict()["policy.optimizer/0/step"] == 15


@with_extra
def test_each_gradient_step_of_sac_sees_a_replayed_batch(monkeypatch):
    from stable_baselines3.common.buffers import ReplayBuffer

    sizes, sample = [], ReplayBuffer.sample

    def counted(self, batch_size, env=None):
        sizes.append(batch_size)
        return sample(self, batch_size, env)

    monkeypatch.setattr(ReplayBuffer, "sample", counted)
    agent = learner("SAC", gradient_steps=7, replay_batch=33)
    agent.update(play(agent, 1)[0])
    assert agent.state_dict()["actor.optimizer/0/step"] == 7
    assert sizes == [33] * 7


@with_extra
@pytest.mark.parametrize("algorithm", ALL)
def test_learning_that_diverged_is_reported(algorithm):
    agent = learner(algorithm)
    rollout, _ = play(agent, 1)
    rollout.rewards[:] = np.nan
    with pytest.raises(TrainingError, match="diverged"):
        agent.update(rollout)


@with_extra
def test_a_batch_smaller_than_its_minibatches_is_refused():
    agent = learner("PPO", minibatches=8)
    with pytest.raises(TrainingError, match="7 flight hours cannot be cut into 8 minibatches"):
        agent.update(play(agent, 1, flights=7)[0])
    other = learner("A2C", minibatches=8)  # which has none
    other.update(play(other, 1, flights=7)[0])


@with_extra
@pytest.mark.parametrize("algorithm", ALL)
def test_a_state_of_another_shape_is_refused(algorithm):
    state = learner(algorithm, hidden_size=16).state_dict()
    with pytest.raises(ValueError, match="size mismatch"):
        learner(algorithm).load_state_dict(state)
    with pytest.raises(KeyError):
        learner(algorithm).load_state_dict({"normaliser_mean": np.zeros(3)})


@with_extra
def test_an_untrained_state_replaces_what_the_optimiser_has_learned():
    agent, fresh = learner(), learner().state_dict()
    agent.update(play(agent, 1)[0])
    agent.load_state_dict(fresh)
    assert agent.state_dict().keys() == fresh.keys()


@with_extra
@pytest.mark.parametrize("algorithm", ON_POLICY)
def test_untrained_residual_acts_almost_like_its_reference(algorithm):
    learned, reference = (
        make_agent(config, MARKET.landscape)
        for config in (configured(algorithm, reference="BayesPID"), GAELPExperimentConfig(agent_type="BayesPID"))
    )
    observations = fly(AdCampaignVectorEnv(8, MARKET), Stepped(reference), ([3, 1], [3, 2]), progress=0.0).obs
    for agent in (learned, reference):
        agent.begin(8, np.random.default_rng(0))
    difference = [np.abs(learned.act(obs) - reference.act(obs)).max() for obs in observations]
    # In units of the log bid, where the correction could reach 0.3.
    assert 0.0 < max(difference) * MARKET.landscape.action_scale < 0.03
