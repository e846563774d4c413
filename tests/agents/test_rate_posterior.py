"""Grid posterior of conversion rates: against quadrature and a dense filter, and what drift does to it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad

from gaelp_ray.agents.rate_posterior import RatePosterior, grid, random_walk
from gaelp_ray.market import load_market
from gaelp_ray.market.landscape import HOURS, MAX_CONVERSION_RATE, Landscape

LAND = load_market("airfrance-search").landscape
STILL = replace(LAND, conversion_rate_drift=0.0)
S = LAND.channels

EVIDENCE = {
    "nothing": (0, 0),
    "clicks only": (400, 0),
    "lucky": (50, 4),
    "as expected": (1000, 11),
    "much": (6000, 90),
    "one click, one conversion": (1, 1),
}


def updated(market: Landscape, clicks: np.ndarray, conversions: np.ndarray) -> RatePosterior:
    """The posterior after hours of evidence, (T, B, S)."""
    posterior = RatePosterior(market)
    posterior.begin(clicks.shape[1])
    for hour in zip(clicks, conversions, strict=True):
        posterior.update(*hour)
    return posterior


def exact_mean(rate: float, log_sd: float, clicks: int, conversions: int) -> float:
    """Posterior mean of min(rate x lognormal, cap) by adaptive quadrature over z, binomial likelihood."""

    def weight(z: float, power: int) -> float:
        p = min(rate * np.exp(log_sd * z - log_sd**2 / 2.0), MAX_CONVERSION_RATE)
        log_likelihood = conversions * np.log(p / rate) + (clicks - conversions) * np.log1p(-p) + clicks * rate
        return p**power * np.exp(log_likelihood - z**2 / 2.0)

    first, total = (quad(weight, -9.0, 9.0, (power,), limit=400, epsabs=0.0)[0] for power in (1, 0))
    return first / total


@pytest.mark.parametrize("log_sd", [0.25, 0.5, 1.0])
@pytest.mark.parametrize(("clicks", "conversions"), EVIDENCE.values(), ids=EVIDENCE)
def test_without_drift_the_mean_is_that_of_the_exact_posterior(clicks, conversions, log_sd):
    market = replace(STILL, conversion_rate_log_sd=log_sd, conversion_rate=np.linspace(0.006, 0.03, S))
    in_two_hours = (
        np.reshape(counts, (2, 1, 1)) * np.ones(S)
        for counts in ((clicks // 3, clicks - clicks // 3), (0.0, conversions))
    )
    mean = updated(market, *in_two_hours).mean()
    exact = [exact_mean(rate, log_sd, clicks, conversions) for rate in market.conversion_rate]
    np.testing.assert_allclose(mean[0], exact, rtol=2e-3)


def test_rates_at_the_cap_are_believed_to_be_there():
    market = replace(STILL, conversion_rate=np.full(S, 0.45))
    for clicks, conversions in ((0, 0), (30, 14)):
        evidence = (np.full((1, 1, S), float(n)) for n in (clicks, conversions))
        exact = exact_mean(0.45, market.conversion_rate_log_sd, clicks, conversions)
        np.testing.assert_allclose(updated(market, *evidence).mean(), exact, rtol=3e-3)


@pytest.mark.parametrize("log_sd", [0.0, 0.01])
def test_a_known_rate_stays_what_it_is(log_sd):
    market = replace(STILL, conversion_rate_log_sd=log_sd)
    mean = updated(market, np.full((3, 2, S), 40.0), np.full((3, 2, S), 2.0)).mean()
    np.testing.assert_allclose(mean, np.tile(LAND.conversion_rate, (2, 1)), rtol=0.02)


@pytest.mark.parametrize("sd", [0.005, 0.02, 0.2, 0.6])
def test_an_hour_of_drift_has_its_variance_and_leaves_the_expected_rate(sd):
    step = 0.14
    walk = random_walk(121, step, sd)
    away = step * (np.arange(121) - 60)
    assert (walk >= 0.0).all()
    np.testing.assert_allclose(walk.sum(axis=1), 1.0)
    assert walk[60] @ np.exp(away) == pytest.approx(1.0, abs=1e-9)
    mean = walk[60] @ away
    assert mean == pytest.approx(-(sd**2) / 2.0, rel=0.01)
    assert walk[60] @ (away - mean) ** 2 == pytest.approx(sd**2, rel=1e-6)


def dense(market: Landscape, channel: int, clicks: np.ndarray, conversions: np.ndarray) -> list[float]:
    """Posterior means of one channel after each hour, (T,), by a filter with normal steps on 1,201 nodes."""
    x = np.linspace(-6.0, 4.0, 1201)
    sd, drift = market.conversion_rate_log_sd, market.conversion_rate_drift
    rate = np.minimum(market.conversion_rate[channel] * np.exp(x), MAX_CONVERSION_RATE)
    step = np.exp(-0.5 * ((x[None] - x[:, None] + drift**2 / 2.0) / drift) ** 2)
    step /= step.sum(axis=1, keepdims=True)
    weight = np.exp(-0.5 * ((x + sd**2 / 2.0) / sd) ** 2) @ step
    means = []
    for n, y in zip(clicks, conversions, strict=True):
        weight = weight * rate**y * (1.0 - rate) ** (n - y)
        weight = weight / weight.sum() @ step
        means.append(float(weight @ rate / weight.sum()))
    return means


@pytest.mark.parametrize("drift", [0.02, 0.1])
def test_with_drift_it_is_the_filter_of_the_random_walk(drift):
    market = replace(LAND, conversion_rate_drift=drift)
    rng, hours = np.random.default_rng(3), 60
    clicks = rng.poisson(40.0, (hours, 1, S)).astype(float)
    conversions = rng.binomial(clicks.astype(int), 2.0 * LAND.conversion_rate).astype(float)
    posterior = RatePosterior(market)
    posterior.begin(1)
    exact = np.array([dense(market, s, clicks[:, 0, s], conversions[:, 0, s]) for s in (1, 3)])
    for t in range(hours):
        posterior.update(clicks[t], conversions[t])
        np.testing.assert_allclose(posterior.mean()[0, [1, 3]], exact[:, t], rtol=0.01)


def test_drift_makes_old_evidence_count_less():
    nothing = np.zeros((100, 1, S))
    clicks, conversions = nothing.copy(), nothing.copy()
    clicks[0], conversions[0] = 300.0, 12.0
    late, early = clicks[::-1], clicks
    then, now = (updated(LAND, n, n * 0.04).mean() for n in (early, late))
    assert (then < now - 0.02 * LAND.conversion_rate).all()
    still = [updated(STILL, n, n * 0.04).mean() for n in (early, late)]
    np.testing.assert_allclose(*still, rtol=1e-4)
    np.testing.assert_allclose(updated(LAND, nothing, nothing).mean()[0], LAND.conversion_rate, rtol=2e-3)


@pytest.mark.parametrize("market", [LAND, STILL], ids=["drift", "still"])
def test_evidence_that_contradicts_the_belief_stays_finite(market):
    clicks = np.full((4, 1, S), 1e5)
    conversions = np.array([1e5, 0.0, 2e4, 1.0])[:, None, None] * np.ones((1, S))
    mean = updated(market, clicks, conversions).mean()
    assert np.isfinite(mean).all()
    assert ((mean > 0.0) & (mean <= MAX_CONVERSION_RATE)).all()


@pytest.mark.parametrize("market", [LAND, STILL, replace(LAND, budget=1e6, volume=100.0 * LAND.volume)])
def test_grids_are_fine_where_much_can_be_learned(market):
    nodes = grid(market)
    step = nodes[1] - nodes[0]
    clicks = np.minimum(market.budget / market.cpc, market.volume * market.ctr * 7.0)
    most = (clicks * market.conversion_rate).max()
    # Nominal: as many conversions; drifting: an hour's evidence and the drift in balance.
    sd = most**-0.5 if not market.conversion_rate_drift else (0.02 * (HOURS / most) ** 0.5) ** 0.5
    assert step < 2.0 * sd
    assert len(nodes) <= 121
