"""The composition of a reference bidder and a correcting policy, with policies that always say the same."""

import numpy as np
import pytest

from gaelp_ray.agents import make_agent
from gaelp_ray.agents.base import FixedBidder
from gaelp_ray.agents.dual import BayesDual
from gaelp_ray.agents.residual import Residual
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.market import Market, load_market, observation
from gaelp_ray.records import Rollout
from gaelp_ray.sections import DualConfig
from gaelp_ray.simulator import AdCampaignVectorEnv

MARKET = load_market("airfrance-search")
LAND = MARKET.landscape
OBS = np.random.default_rng(0).standard_normal((3, observation.size(LAND.channels))).astype(np.float32)
SCALE = 0.3


class Always(FixedBidder):
    """Says one number on every channel, and remembers what it was shown and told."""

    def __init__(self, answer: float) -> None:
        self.answer = answer
        self.state = {"answer": np.array(answer)}
        self.begun: list[int] = []
        self.learned: list[Rollout] = []

    def begin(self, flights: int, rng: np.random.Generator) -> None:
        self.begun.append(flights)

    def act(self, obs: np.ndarray, explore: bool = False) -> np.ndarray:
        self.shown, self.explored = obs, explore
        return np.full((len(obs), LAND.channels), self.answer, np.float32)

    def update(self, rollout: Rollout) -> dict[str, float]:
        self.learned.append(rollout)
        return {"learning/answer": self.answer}

    def state_dict(self) -> dict[str, np.ndarray]:
        return self.state

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        self.state = state


def composed(proposal: float | None, correction: float) -> tuple[Residual, Always | None, Always]:
    reference = None if proposal is None else Always(proposal)
    policy = Always(correction)
    residual = Residual(reference, policy, LAND, SCALE)
    residual.begin(len(OBS), np.random.default_rng(0))
    return residual, reference, policy


def test_no_correction_is_the_reference_itself():
    residual, _, _ = composed(-0.2, 0.0)
    np.testing.assert_array_equal(residual.act(OBS), np.full((3, LAND.channels), -0.2, np.float32))


@pytest.mark.parametrize(("correction", "factor"), [(1.0, SCALE), (-1.0, -SCALE), (0.5, SCALE / 2), (9.0, SCALE)])
def test_correction_is_a_log_factor_on_the_bid_up_to_the_scale(correction, factor):
    residual, reference, _ = composed(-0.2, correction)
    log_ratio = np.log(LAND.bids(residual.act(OBS)) / LAND.bids(reference.act(OBS)))
    np.testing.assert_allclose(log_ratio, factor, atol=1e-5)


@pytest.mark.parametrize(("proposal", "correction"), [(1.0, 1.0), (-1.0, -1.0)])
def test_corrected_bid_stays_within_reach(proposal, correction):
    residual, _, _ = composed(proposal, correction)
    np.testing.assert_array_equal(residual.act(OBS), np.full((3, LAND.channels), proposal, np.float32))


@pytest.mark.parametrize(("answer", "action"), [(0.4, 0.4), (3.0, 1.0), (-3.0, -1.0)])
def test_without_a_reference_the_policy_says_the_whole_bid(answer, action):
    residual, _, _ = composed(None, answer)
    np.testing.assert_array_equal(residual.act(OBS), np.full((3, LAND.channels), action, np.float32))


def test_policy_sees_the_observation_and_the_proposal():
    residual, reference, policy = composed(-0.2, 0.0)
    residual.act(OBS)
    assert policy.shown.shape[1] == Residual.observed(LAND, reference)
    np.testing.assert_array_equal(policy.shown, np.concatenate([OBS, reference.act(OBS)], axis=1))


def test_policy_without_a_reference_sees_the_observation_alone():
    residual, _, policy = composed(None, 0.0)
    residual.act(OBS)
    np.testing.assert_array_equal(policy.shown, OBS)
    assert Residual.observed(LAND, None) == OBS.shape[1]


@pytest.mark.parametrize("proposal", [None, -0.2])
def test_only_the_policy_explores(proposal):
    residual, reference, policy = composed(proposal, 0.0)
    residual.act(OBS, explore=True)
    assert policy.explored
    assert reference is None or not reference.explored


def test_both_begin_new_flights():
    residual, reference, policy = composed(-0.2, 0.0)
    residual.begin(5, np.random.default_rng(0))
    assert reference.begun == policy.begun == [3, 5]


def test_only_the_policy_learns():
    residual, reference, policy = composed(-0.2, 0.5)
    rollout = Rollout(OBS[None], OBS[None], np.zeros((1, 3)), np.ones((1, 3), bool), np.zeros(3), 0.0)
    assert residual.update(rollout) == {"learning/answer": 0.5}
    assert policy.learned == [rollout]
    assert reference.learned == []


def test_state_is_the_policys():
    residual, reference, policy = composed(-0.2, 0.5)
    assert residual.state_dict() is policy.state
    residual.load_state_dict({"answer": np.array(0.9)})
    assert policy.state == {"answer": np.array(0.9)}
    assert reference.state == {"answer": np.array(-0.2)}


class Remembering(Always):
    """A reference with an insight: how often it has acted, and the last observation's first number."""

    insights = 2

    def begin(self, flights: int, rng: np.random.Generator) -> None:
        self.acted = 0

    def act(self, obs: np.ndarray, explore: bool = False) -> np.ndarray:
        self.acted += 1
        return super().act(obs, explore)

    def insight(self) -> np.ndarray:
        return np.stack([np.full(len(self.shown), float(self.acted)), self.shown[:, 0].astype(np.float64)], axis=1)


def test_policy_sees_observation_proposal_and_insight_in_this_order():
    reference, policy = Remembering(-0.2), Always(0.0)
    residual = Residual(reference, policy, LAND, SCALE)
    residual.begin(len(OBS), np.random.default_rng(0))
    for hour in (1.0, 2.0):
        residual.act(OBS)
        insight = np.stack([np.full(3, hour), OBS[:, 0]], axis=1)  # of the hour that is bid for, not of the last one
        proposal = np.full((3, LAND.channels), -0.2)
        np.testing.assert_array_equal(policy.shown, np.concatenate([OBS, proposal, insight], axis=1, dtype=np.float32))
        assert policy.shown.dtype == np.float32
    assert Residual.observed(LAND, reference) == policy.shown.shape[1]


@pytest.mark.parametrize(
    ("reference", "extra"), [("none", 0), ("constant", 7), ("PID", 7), ("BayesPID", 7), ("BayesDual", 10)]
)
def test_policies_are_made_for_what_their_reference_remembers(reference, extra):
    agent = ppo(reference=reference)
    assert agent.state_dict()["normaliser_mean"].shape == (OBS.shape[1] + extra,)
    assert bid(agent, hours=2).shape == (2, 4, LAND.channels)


def test_classical_bidders_without_a_memory_have_no_insight():
    for name in ("constant", "PID", "BayesPID"):
        bidder = make_agent(GAELPExperimentConfig(agent_type=name), LAND)
        assert bidder.insights == 0
        with pytest.raises(TypeError, match="remembers nothing"):
            bidder.insight()


def ppo(initial_std: float = 0.2, **given: str) -> Residual:
    section = {"hidden_size": 8, "initial_std": initial_std} | given
    return make_agent(GAELPExperimentConfig(agent_type="PPO", ppo=section), LAND)


def bid(agent, hours: int, explore: bool = False, seed: int = 1) -> np.ndarray:
    """Actions (T, 4, S) of the first hours of four flights."""
    env = AdCampaignVectorEnv(4, MARKET)
    obs, _ = env.reset(seed=seed)
    agent.begin(4, np.random.default_rng(0))
    actions = []
    for _ in range(hours):
        actions.append(agent.act(obs, explore=explore))
        obs, *_ = env.step(actions[-1])
    return np.stack(actions)


@pytest.mark.parametrize("reference", ["BayesDual", "PID"])
def test_a_multiplier_shifts_all_channels_by_the_same_factor(reference):
    first_hour = bid(make_agent(GAELPExperimentConfig(agent_type=reference), LAND), hours=1)
    by_one, by_channel = (
        bid(ppo(2.0, reference=reference, correction=kind), hours=1, explore=True) - first_hour
        for kind in ("multiplier", "channels")
    )
    log_factor = by_one[0] * LAND.action_scale
    np.testing.assert_allclose(log_factor, np.repeat(log_factor[:, :1], LAND.channels, axis=1), atol=1e-5)
    assert np.unique(log_factor[:, 0].round(4)).size > 1  # each flight has its own
    assert np.abs(log_factor).max() <= SCALE + 1e-5
    assert np.ptp(by_channel[0], axis=1).min() > 0.01


def test_a_multiplier_stays_within_reach_channel_by_channel():
    class One(Always):
        def act(self, obs: np.ndarray, explore: bool = False) -> np.ndarray:
            return np.full((len(obs), 1), self.answer, np.float32)

    class Uneven(Always):
        def act(self, obs: np.ndarray, explore: bool = False) -> np.ndarray:
            return np.tile(np.linspace(-1.0, 1.0, LAND.channels, dtype=np.float32), (len(obs), 1))

    residual = Residual(Uneven(0.0), One(1.0), LAND, SCALE)
    residual.begin(3, np.random.default_rng(0))
    step = SCALE / LAND.action_scale
    expected = np.minimum(np.linspace(-1.0, 1.0, LAND.channels) + step, 1.0)
    np.testing.assert_allclose(residual.act(OBS), np.tile(expected, (3, 1)), atol=1e-6)


def test_without_a_reference_there_is_nothing_to_multiply():
    one, each = (
        bid(ppo(reference="none", correction=kind), hours=2, explore=True) for kind in ("multiplier", "channels")
    )
    assert one.shape == (2, 4, LAND.channels)
    np.testing.assert_array_equal(one, each)


class Remembered:
    """BayesDual's insights (T, B, 3) and bids beside the sums that led to them."""

    def __init__(self, hours: int, market: Market = MARKET, **constants: str) -> None:
        env, bidder = AdCampaignVectorEnv(4, market), BayesDual(DualConfig(**constants), market.landscape)
        obs, _ = env.reset(seed=6)
        bidder.begin(4, np.random.default_rng(0))
        insights, clicks, expected, multipliers = [], [], [], []
        land, prior = market.landscape, market.landscape.conversion_prior_clicks
        for _ in range(hours):
            ledger = env._ledger
            action = bidder.act(obs)
            insights.append(bidder.insight())
            clicks.append(ledger._clicks.sum(axis=1))
            expected.append(ledger._expected_clicks.sum(axis=1))
            rate = (ledger._conversions + prior * land.conversion_rate) / (ledger._clicks + prior)
            # Second prices: the bid is value / lambda.
            multipliers.append(np.log(rate * land.order_value) - np.log(land.bids(action)))
            obs, *_ = env.step(action)
        self.insights, self.multipliers = np.stack(insights), np.stack(multipliers)
        self.clicks, self.expected = np.stack(clicks), np.stack(expected)


CONDITIONS = {
    "plain": MARKET,
    "fatigue": MARKET.variant(fatigue_half_life=1.0),
    "first price": MARKET.variant(auction="first_price"),
}


@pytest.mark.parametrize("market", CONDITIONS.values(), ids=CONDITIONS)
@pytest.mark.parametrize("traffic", ["counts", "filter"])
def test_insight_of_the_first_hour_is_zero(market, traffic):
    insight = Remembered(1, market, traffic=traffic).insights[0]
    assert insight.shape == (4, BayesDual.insights) == (4, 3)
    np.testing.assert_array_equal(insight, 0.0)


@pytest.mark.parametrize("traffic", ["counts", "filter"])
def test_insight_is_the_shift_of_lambda_and_the_traffic_of_the_flight_and_of_today(traffic):
    seen = Remembered(40, traffic=traffic)
    shift, flight, today = np.moveaxis(seen.insights, 2, 0)
    np.testing.assert_allclose(shift, np.median(seen.multipliers - seen.multipliers[:1], axis=2), atol=1e-3)
    np.testing.assert_allclose(flight, np.log((seen.clicks + 20.0) / (seen.expected + 20.0)), atol=1e-5)
    midnight = np.where(np.arange(40) < 24, 0, 24)
    since = (seen.clicks - seen.clicks[midnight] + 20.0) / (seen.expected - seen.expected[midnight] + 20.0)
    np.testing.assert_allclose(today, np.log(since), atol=1e-4)
    np.testing.assert_array_equal(today[24], 0.0)
    for column in (shift, flight, today):
        assert np.abs(column[30]).min() > 1e-3


def test_insight_starts_anew_with_new_flights():
    bidder = BayesDual(DualConfig(), LAND)
    bid(bidder, hours=5)
    assert np.abs(bidder.insight()).min(axis=0).max() > 0.0
    bid(bidder, hours=1, seed=2)  # other budgets, and so another first plan
    np.testing.assert_array_equal(bidder.insight(), 0.0)
