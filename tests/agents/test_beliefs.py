"""What BayesDual believes of rates that drift, and what its beliefs are worth (test_traffic.py: clicks to come)."""

from dataclasses import replace

import numpy as np
import pytest

from gaelp_ray.agents.beliefs import Values
from gaelp_ray.agents.dual import BayesDual
from gaelp_ray.market import load_market
from gaelp_ray.market.landscape import HOURS
from gaelp_ray.market.observation import View
from gaelp_ray.sections import DualConfig
from gaelp_ray.simulator import AdCampaignVectorEnv
from gaelp_ray.training import Stream, fly_batch

MARKET = load_market("airfrance-search")
LAND = MARKET.landscape
S = LAND.channels
DRIFTING = replace(LAND, conversion_rate_drift=0.1)


class Told:
    """An observation in float64, of the features that a test names: counts and ratios are not rounded."""

    def __init__(self, **channels: np.ndarray) -> None:
        self._channels = channels

    def channel(self, name: str) -> np.ndarray:
        return self._channels[name]


def counted(land, clicks: np.ndarray, conversions: np.ndarray) -> Told:
    """What is seen of sums (B, S) in a market without delay."""
    prior = land.conversion_prior_clicks
    rate = (conversions + prior * land.conversion_rate) / (clicks + prior)
    return Told(log_conversion_rate_ratio=np.log(rate / land.conversion_rate), log_clicks=np.log1p(clicks))


def evidence(hours: int, flights: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Sums of clicks and conversions so far, (T + 1, B, S), from nothing on."""
    rng = np.random.default_rng(seed)
    clicks = rng.poisson(30.0, (hours, flights, S))
    conversions = rng.binomial(clicks, 0.04)
    sums = (np.concatenate([np.zeros((1, flights, S)), np.cumsum(each, axis=0)]) for each in (clicks, conversions))
    clicks, conversions = sums
    return clicks, conversions


def believed(land, clicks: np.ndarray, conversions: np.ndarray, **constants) -> np.ndarray:
    """log values (T + 1, B, S) that these sums lead to, hour by hour."""
    values = Values(DualConfig().model_copy(update=constants), land, clicks.shape[1])
    return np.stack(
        [values.log_value(counted(land, c, v), t) for t, (c, v) in enumerate(zip(clicks, conversions, strict=True))]
    )


def shapes(land, clicks: np.ndarray, conversions: np.ndarray, **constants) -> np.ndarray:
    """Shapes of the gamma beliefs, (T + 1, B, S), read from what one standard deviation of optimism adds."""
    hopeful = believed(land, clicks, conversions, optimism=1.0, **constants)
    left = 1.0 - np.arange(len(clicks))[:, None, None] / HOURS
    return (left / (hopeful - believed(land, clicks, conversions, **constants))) ** 2


def recursion(land, clicks, conversions, variance: float, keep: float = 1.0) -> np.ndarray:
    """log values of a gamma belief (a, b): evidence comes in, a' = a / (1 + a x variance) at the same mean."""
    prior_b = land.conversion_prior_clicks * np.ones_like(clicks[0])
    prior_a, a, b = prior_b * land.conversion_rate, np.zeros_like(prior_b), np.zeros_like(prior_b)
    found = []
    for new_b, new_a in zip(
        np.diff(clicks, axis=0, prepend=0.0), np.diff(conversions, axis=0, prepend=0.0), strict=True
    ):
        a, b = keep * a + new_a, keep * b + new_b
        found.append(np.log((a + prior_a) / (b + prior_b) * land.order_value))
        fade = 1.0 / (1.0 + (a + prior_a) * variance)
        a, b, prior_a, prior_b = fade * a, fade * b, fade * prior_a, fade * prior_b
    return np.stack(found)


@pytest.mark.parametrize("strength", [1.0, 4.0])
def test_without_drift_tracking_a_rate_is_the_gamma_posterior(strength):
    clicks, conversions = evidence(40)
    prior = strength * DRIFTING.conversion_prior_clicks
    shape, weight = conversions + prior * DRIFTING.conversion_rate, clicks + prior
    given = {"prior_strength": strength, "drift_tracking": 0.0}
    posterior = believed(DRIFTING, clicks, conversions, **given)
    np.testing.assert_allclose(posterior, np.log(shape / weight * DRIFTING.order_value), atol=1e-9)
    np.testing.assert_allclose(shapes(DRIFTING, clicks, conversions, **given), shape, rtol=1e-6)


def test_tracking_in_a_market_without_drift_changes_nothing():
    still = replace(LAND, conversion_rate_drift=0.0)
    plain, tracked = (believed(still, *evidence(40), drift_tracking=weight) for weight in (0.0, 5.0))
    np.testing.assert_array_equal(plain, tracked)


@pytest.mark.parametrize("weight", [0.5, 1.0, 3.0])
def test_without_evidence_drift_thins_the_belief_and_leaves_its_mean(weight):
    nothing = np.zeros((60, 1, S))
    values = believed(DRIFTING, nothing, nothing, drift_tracking=weight)
    np.testing.assert_allclose(values, np.broadcast_to(np.log(DRIFTING.value), values.shape), atol=1e-9)
    shape = shapes(DRIFTING, nothing, nothing, drift_tracking=weight)[:, 0]
    first = DRIFTING.conversion_prior_clicks * DRIFTING.conversion_rate
    np.testing.assert_allclose(shape[0], first, rtol=1e-6)
    np.testing.assert_allclose(shape[1:], shape[:-1] / (1.0 + shape[:-1] * weight * 0.1**2), rtol=1e-6)


@pytest.mark.parametrize("forgetting", [0.0, 0.02])
def test_evidence_fades_with_the_drift_and_is_forgotten_besides(forgetting):
    clicks, conversions = evidence(60)
    values = believed(DRIFTING, clicks, conversions, drift_tracking=2.0, forgetting=forgetting)
    by_hand = recursion(DRIFTING, clicks, conversions, 2.0 * 0.1**2, 1.0 - forgetting)
    np.testing.assert_allclose(values, by_hand, atol=1e-9)
    plain = believed(DRIFTING, clicks, conversions, forgetting=forgetting)
    assert np.abs(values - plain)[-1].max() > 0.05


def test_clicks_whose_conversions_are_not_due_do_not_count_while_rates_drift():
    land = replace(MARKET.variant(conversion_delay=12.0).landscape, conversion_rate_drift=0.1)
    env = AdCampaignVectorEnv(4, MARKET.variant(conversion_delay=12.0))
    values = Values(DualConfig(drift_tracking=2.0), land, 4)
    obs, _ = env.reset(seed=2)
    believed_then, ripe, reported, clicks = [], [], [], []
    for t in range(50):
        believed_then.append(values.log_value(View(obs), t))
        clicks.append(env._ledger._clicks.copy())
        ripe.append(clicks[-1] - env._ledger._unripe)
        reported.append(env._ledger._conversions.copy())
        obs, *_ = env.step(np.full((4, S), -0.2, np.float32))
    by_hand = recursion(land, np.stack(ripe), np.stack(reported), 2.0 * 0.1**2)
    np.testing.assert_allclose(np.stack(believed_then), by_hand, atol=1e-4)
    hasty = recursion(land, np.stack(clicks), np.stack(reported), 2.0 * 0.1**2)
    assert np.abs(hasty - by_hand)[-1].max() > 0.1


def test_tracking_follows_rates_that_drift():
    rng, flights, hours = np.random.default_rng(4), 100, 150
    # As flights draw them: lognormal around the calibration, then a random walk of the logarithm.
    walk = np.cumsum(0.1 * rng.standard_normal((hours + 1, flights, S)), axis=0)
    first = LAND.conversion_rate_log_sd * rng.standard_normal((flights, S))
    rate = np.minimum(LAND.conversion_rate * np.exp(walk + first), 0.5)
    new = rng.poisson(1.0 / LAND.conversion_rate, (hours, flights, S))
    sums = (np.cumsum(each, axis=0) for each in (new, rng.binomial(new, rate[:-1])))
    clicks, conversions = (np.concatenate([np.zeros((1, flights, S)), each]) for each in sums)
    truth = np.log(rate * LAND.order_value)[100:]
    error = {
        weight: np.mean((believed(DRIFTING, clicks, conversions, drift_tracking=weight)[100:] - truth) ** 2)
        for weight in (0.0, 0.1, 1.0, 20.0)
    }
    assert error[1.0] < 0.4 * error[0.0]
    assert error[1.0] < min(error[0.1], error[20.0])  # the drift's own variance is the right one


CONSTANTS = {
    "prior_strength": (0.5, 3.0),
    "volume_prior_strength": (0.3, 2.0),
    "optimism": (0.0, 0.7),
    "pacing_shade": (0.2, -0.1),
    "shade": (0.0, 0.1),
    "traffic_use": (0.0, 1.2),
    "forgetting": (0.02, 0.0),
    "price_tracking": (1.0, 0.5),
    "drift_tracking": (0.0, 4.0),
    "traffic_noise": (0.5, 2.0),
}


@pytest.mark.parametrize("traffic", ["counts", "filter"])
def test_constants_of_two_flights_at_once_are_those_of_each_alone(traffic):
    assert {*CONSTANTS, "traffic"} == set(DualConfig.model_fields)
    env = AdCampaignVectorEnv(2, MARKET)
    obs, _ = env.reset(seed=1)
    columns = {name: np.array(pair)[:, None] for name, pair in CONSTANTS.items()}
    both = BayesDual(DualConfig(traffic=traffic).model_copy(update=columns), LAND)
    alone = [
        BayesDual(DualConfig(traffic=traffic, **{name: pair[row] for name, pair in CONSTANTS.items()}), LAND)
        for row in range(2)
    ]
    for agent, flights in ((both, 2), (alone[0], 1), (alone[1], 1)):
        agent.begin(flights, np.random.default_rng(0))
    for _ in range(60):
        action = both.act(obs)
        each = np.concatenate([agent.act(obs[row : row + 1]) for row, agent in enumerate(alone)])
        np.testing.assert_allclose(action, each, atol=1e-6)
        obs, *_ = env.step(action)


def test_better_beliefs_earn_more_in_the_realistic_market():
    seeds = [0, Stream.EVALUATION, 0]
    plain, better = (
        fly_batch(BayesDual(DualConfig(**constants), LAND), MARKET, 256, seeds)
        for constants in ({}, {"traffic": "filter", "drift_tracking": 1.0})
    )
    np.testing.assert_array_equal(plain.oracle_revenue, better.oracle_revenue)
    gain = (better.expected_revenue - plain.expected_revenue) / plain.oracle_revenue.mean()
    assert gain.mean() > 0.006
    assert gain.mean() > 4.0 * gain.std() / np.sqrt(len(gain))
