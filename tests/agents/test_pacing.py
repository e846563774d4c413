"""The constant bidder does not move; a paced one holds the spending plan."""

import numpy as np
import pytest

from gaelp_ray.agents import make_agent
from gaelp_ray.agents.pacing import ConstantBidder, PacedBidder
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.market import load_market
from gaelp_ray.market.observation import GLOBAL, PER_CHANNEL, pack
from gaelp_ray.sections import ConstantConfig, PIDConfig
from gaelp_ray.training import evaluate

LAND = load_market("airfrance-search").landscape
FLIGHTS = 3


def observed(**features: float) -> np.ndarray:
    """Observations of a flight that has seen nothing, but for the named features."""
    per_channel = {name: np.full((FLIGHTS, LAND.channels), features.get(name, 0.0)) for name in PER_CHANNEL}
    return pack(per_channel, {name: np.full(FLIGHTS, features.get(name, 0.0)) for name in GLOBAL})


def log_bids(bidder: PacedBidder | ConstantBidder, *observations: np.ndarray) -> np.ndarray:
    """Log bids on the last of the observations, seen one after the other."""
    bidder.begin(FLIGHTS, np.random.default_rng(0))
    return np.log(LAND.bids([bidder.act(obs) for obs in observations][-1]))


def pid(learns_value: bool = False, **gains: float) -> PacedBidder:
    return PacedBidder(PIDConfig(**gains), LAND, learns_value)


@pytest.mark.parametrize("multiplier", [0.01, 0.35, 2.0, 100.0])
def test_constant_bidder_multiplies_the_historical_bids(multiplier):
    bids = np.exp(log_bids(ConstantBidder(ConstantConfig(bid_multiplier=multiplier), LAND), observed()))
    np.testing.assert_allclose(bids, np.tile(multiplier * LAND.bid, (FLIGHTS, 1)), rtol=1e-5)


def test_constant_bidder_sees_nothing():
    bidder = ConstantBidder(ConstantConfig(), LAND)
    np.testing.assert_array_equal(log_bids(bidder, observed()), log_bids(bidder, observed(pacing_error=0.5)))


def test_first_bids_are_in_proportion_to_the_calibrated_values():
    bids = log_bids(pid(), observed()) - np.log(LAND.value)
    np.testing.assert_allclose(bids, np.tile(bids[:, :1], (1, LAND.channels)), atol=1e-5)


def test_bids_fall_when_ahead_of_the_plan_and_rise_when_behind():
    behind, even, ahead = (log_bids(pid(), observed(pacing_error=error)) for error in (-0.1, 0.0, 0.1))
    assert (ahead < even).all()
    assert (even < behind).all()


def test_proportional_gain_is_log_units_per_pacing_error():
    bidder = pid(kp=2.0, ki=0.0)
    shift = log_bids(bidder, observed(pacing_error=0.1)) - log_bids(bidder, observed())
    np.testing.assert_allclose(shift, -0.2, atol=1e-5)


def test_integral_gain_remembers_earlier_hours():
    bidder, late = pid(kp=0.0, ki=0.5), observed(pacing_error=0.1)
    shift = log_bids(bidder, late, late, late) - log_bids(bidder, observed())
    np.testing.assert_allclose(shift, -0.15, atol=1e-5)


def test_derivative_gain_reacts_to_the_change_of_the_error():
    bidder, late = pid(kp=0.0, ki=0.0, kd=1.0), observed(pacing_error=0.1)
    rising = log_bids(bidder, observed(), late) - log_bids(bidder, observed())
    steady = log_bids(bidder, late, late) - log_bids(bidder, observed())
    np.testing.assert_allclose(rising, -0.1, atol=1e-5)
    np.testing.assert_allclose(steady, 0.0, atol=1e-5)


def test_without_gains_the_plan_is_never_corrected():
    bidder = pid(kp=0.0, ki=0.0)
    np.testing.assert_array_equal(
        log_bids(bidder, observed(pacing_error=0.4)), log_bids(bidder, observed(pacing_error=-0.4))
    )


def test_larger_budget_starts_with_higher_bids():
    assert (log_bids(pid(), observed(log_budget=0.5)) > log_bids(pid(), observed(log_budget=-0.5))).all()


@pytest.mark.parametrize(("learns_value", "shift"), [(True, 0.3), (False, 0.0)])
def test_only_bayes_pid_bids_by_the_posterior_conversion_rate(learns_value, shift):
    bidder = pid(learns_value)
    better = observed(log_conversion_rate_ratio=0.3)
    np.testing.assert_allclose(log_bids(bidder, better) - log_bids(bidder, observed()), shift, atol=1e-5)


@pytest.mark.parametrize("departures", ["nominal", "realistic"])
@pytest.mark.parametrize("name", ["PID", "BayesPID"])
def test_paced_bidders_spend_their_budgets(name, departures):
    market = load_market("airfrance-search").variant(departures)
    agent = make_agent(GAELPExperimentConfig(agent_type=name), market.landscape)
    assert evaluate(agent, market, 128, [0, 5]).metrics.delivery >= 0.93
