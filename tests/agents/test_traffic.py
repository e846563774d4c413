"""Traffic as BayesDual believes it, told apart into channel, flight and day: against exact arithmetic, and flights."""

from dataclasses import replace

import numpy as np
import pytest

from gaelp_ray.agents.beliefs import FilteredVolumes, Volumes
from gaelp_ray.market import load_market
from gaelp_ray.market.landscape import HOURS, HOURS_PER_DAY
from gaelp_ray.market.observation import View
from gaelp_ray.sections import DualConfig
from gaelp_ray.simulator.random_streams import KeyedStream

MARKET = load_market("airfrance-search")
LAND = MARKET.landscape
S = LAND.channels


class Told:
    """An observation in float64, of the features that a test names: counts and ratios are not rounded."""

    def __init__(self, **channels: np.ndarray) -> None:
        self._channels = channels

    def channel(self, name: str) -> np.ndarray:
        return self._channels[name]


def summed(clicks: np.ndarray, expected: np.ndarray) -> Told:
    return Told(log_clicks=np.log1p(clicks), log_expected_clicks=np.log1p(expected))


def forecasts(volumes: Volumes, clicks: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Clicks ahead (T + 1, B, S) over what is calibrated, as counts of single hours (T, B, S) come in."""
    start = np.zeros((1, *clicks.shape[1:]))
    totals = [np.concatenate([start, np.cumsum(each, axis=0)]) for each in (clicks, expected)]
    left = np.cumsum(LAND.traffic[::-1])[::-1]
    found = [volumes.clicks_ahead(summed(*now), t) / left[t] for t, now in enumerate(zip(*totals, strict=True))]
    return np.stack(found) / (LAND.volume * LAND.ctr)


def filtered(land=LAND, flights: int = 1, **constants) -> FilteredVolumes:
    return FilteredVolumes(DualConfig(traffic="filter", **constants), land, flights)


EXACT = {
    "realistic": ({"hour_log_sd": 0.3, "day_log_sd": 0.4}, 1.0),
    "three times the noise": ({"hour_log_sd": 0.3, "day_log_sd": 0.4}, 3.0),
    "one volume": ({"volume_log_sd": 0.0, "ctr_log_sd": 0.0}, 1.0),
    "nominal": ({"hour_log_sd": 0.0, "day_log_sd": 0.0}, 1.0),
}


@pytest.mark.parametrize(("departures", "noise"), EXACT.values(), ids=EXACT)
def test_filter_is_exact_conditioning_of_level_and_days_on_the_hours_heard(departures, noise):
    land, flights, hours = replace(LAND, **departures), 3, 31
    rng = np.random.default_rng(7)
    due = rng.uniform(5.0, 60.0, (hours, flights, S))
    clicks = rng.poisson(due * np.exp(0.4 * rng.standard_normal((hours, flights, 1)))).astype(float)
    volumes = filtered(land, flights, traffic_noise=noise)
    ahead = forecasts(volumes, clicks, due)
    for t in (1, 5, 23, 24, 25, 31):
        exact = conditioned(land, clicks[:t], due[:t], noise)
        np.testing.assert_allclose(ahead[t], exact.forecast(t), rtol=1e-6)
    np.testing.assert_allclose(volumes._level, exact.mean[:, 0], atol=1e-9)
    np.testing.assert_allclose(volumes._today, exact.mean[:, 2], atol=1e-9)
    np.testing.assert_allclose(volumes._level_var, exact.covariance[:, 0, 0], atol=1e-9)
    np.testing.assert_allclose(volumes._today_var, exact.covariance[:, 2, 2], atol=1e-9)
    np.testing.assert_allclose(volumes._covariance, exact.covariance[:, 0, 2], atol=1e-9)


class Conditioned:
    """Normal beliefs of (level, day 0, day 1), and what they say of clicks ahead."""

    def __init__(self, mean: np.ndarray, covariance: np.ndarray, relative: np.ndarray) -> None:
        self.mean, self.covariance, self.relative = mean, covariance, relative

    def forecast(self, t: int) -> np.ndarray:
        """Clicks ahead over what is calibrated, (B, S): today at level and day, later days at the level alone."""
        today = t // HOURS_PER_DAY
        rest = LAND.traffic[t : HOURS_PER_DAY * (today + 1)].sum()
        later = LAND.traffic[HOURS_PER_DAY * (today + 1) :].sum()
        clicks = rest * self._mean_of(np.eye(3)[0] + np.eye(3)[1 + today]) + later * self._mean_of(np.eye(3)[0])
        return self.relative * clicks[:, None] / (rest + later)

    def _mean_of(self, states: np.ndarray) -> np.ndarray:
        """E exp(sum of states), (B,)."""
        return np.exp(self.mean @ states + np.einsum("i,bij,j->b", states, self.covariance, states) / 2.0)


def conditioned(land, clicks: np.ndarray, expected: np.ndarray, noise: float) -> Conditioned:
    """All hours at once: the joint normal of states and observed hours, conditioned on the hours."""
    hours = len(clicks)
    all_clicks, all_expected = np.cumsum(clicks, axis=0), np.cumsum(expected, axis=0)
    # What channels brought against each other, hour by hour: the flight's own ratio shrunk by 20 clicks divided out.
    flight = (all_clicks.sum(axis=2) + 20.0) / (all_expected.sum(axis=2) + 20.0)
    prior = land.volume_prior_clicks
    relative = (all_clicks / flight[..., None] + prior) / (all_expected + prior)
    heard = clicks.sum(axis=2) + 0.5
    due = np.maximum(np.diff((all_expected * relative).sum(axis=2), axis=0, prepend=0.0), 0.0) + 0.5
    share = land.volume * land.ctr / (land.volume * land.ctr).sum()
    level = (land.volume_log_sd**2 + land.ctr_log_sd**2) * (share**2).sum()
    day, hour = (noise * land.day_log_sd) ** 2, (noise * land.hour_log_sd) ** 2
    before = np.diag([level, day, day])
    seen = np.zeros((hours, 3))
    seen[:, 0], seen[np.arange(hours), 1 + np.arange(hours) // HOURS_PER_DAY] = 1.0, 1.0
    means, covariances = [], []
    for b in range(clicks.shape[1]):
        of_hours = seen @ before @ seen.T + np.diag(hour + 1.0 / heard[:, b])
        gain = np.linalg.solve(of_hours, seen @ before).T
        surprise = np.log(heard[:, b] / due[:, b]) + hour / 2.0 + seen @ np.diag(before) / 2.0
        means.append(-np.diag(before) / 2.0 + gain @ surprise)
        covariances.append(before - gain @ seen @ before)
    return Conditioned(np.stack(means), np.stack(covariances), relative[-1])


def usual(hours: int) -> np.ndarray:
    """Expected clicks (T, 1, S) of busy hours: counting noise is small."""
    return np.full((hours, 1, S), 80.0)


def test_forecast_before_anything_was_heard_is_the_calibrated_one():
    for volumes in (filtered(flights=1), Volumes(DualConfig(), LAND, 1)):
        np.testing.assert_allclose(forecasts(volumes, usual(0), usual(0))[0], 1.0, atol=1e-12)


@pytest.mark.parametrize(("use", "strength"), [(0.0, 1.0), (0.0, 3.0), (0.5, 1.0), (1.0, 1.0)])
def test_counts_by_hand(use, strength):
    rng = np.random.default_rng(3)
    clicks, expected = rng.uniform(0.0, 60.0, (34, 2, S)), rng.uniform(5.0, 50.0, (34, 2, S))
    constants = DualConfig(traffic_use=use, volume_prior_strength=strength)
    ahead = forecasts(Volumes(constants, LAND, 2), clicks, expected)[-1]
    prior = strength * LAND.volume_prior_clicks
    ratio = (clicks.sum(axis=0) + prior) / (expected.sum(axis=0) + prior)
    flight, today = (
        (clicks[since:].sum(axis=(0, 2)) + 20.0) / (expected[since:].sum(axis=(0, 2)) + 20.0) for since in (0, 24)
    )
    rest, later = LAND.traffic[34:48].sum(), LAND.traffic[48:].sum()
    traffic = ((today / flight) ** use * rest + later) / (rest + later)
    np.testing.assert_allclose(ahead, ratio * traffic[:, None], rtol=1e-9)


def test_fatigue_lowers_the_clicks_ahead():
    land = MARKET.variant(fatigue_half_life=1.0).landscape
    tired = np.linspace(-0.6, 0.0, S)[None]
    told = Told(log_clicks=np.zeros((1, S)), log_expected_clicks=np.zeros((1, S)), log_fatigue=tired)
    for traffic in (FilteredVolumes, Volumes):
        ahead = traffic(DualConfig(), land, 1).clicks_ahead(told, 0)
        np.testing.assert_allclose(ahead, LAND.volume * LAND.ctr * LAND.traffic.sum() * np.exp(tired), rtol=1e-12)


def test_one_busy_day_says_little_of_later_days():
    counts, told_apart = (
        forecasts(volumes, 2.0 * usual(24), usual(24))[-1] for volumes in (Volumes(DualConfig(), LAND, 1), filtered())
    )
    assert (counts > 1.9).all()
    assert ((told_apart > 1.0) & (told_apart < 1.2)).all()


def test_many_busy_days_are_a_busy_flight():
    told_apart = forecasts(filtered(), 2.0 * usual(144), usual(144))[-1]
    assert ((told_apart > 1.35) & (told_apart < 2.0)).all()


def test_busy_morning_makes_a_busy_evening():
    # The last day, so that nothing but today lies ahead.
    clicks = np.concatenate([usual(144), 2.0 * usual(10)])
    told_apart, counts = (
        forecasts(volumes, clicks, usual(154)) for volumes in (filtered(), Volumes(DualConfig(), LAND, 1))
    )
    np.testing.assert_allclose(told_apart[144], 1.0, atol=0.1)
    assert ((told_apart[-1] > 1.7) & (told_apart[-1] < 2.1)).all()
    assert (counts[-1] < 1.1).all()


def test_noisier_days_and_hours_are_believed_less():
    # Day and hour grow together against the level: a busy day then says less of the flight.
    calm, wild = (forecasts(filtered(traffic_noise=n), 2.0 * usual(24), usual(24))[-1] for n in (0.3, 3.0))
    assert (calm > wild + 0.3).all()


def test_a_channels_own_volume_is_learned_while_all_traffic_doubles():
    own = np.where(np.arange(S) == 2, 1.5, 1.0)
    each = {}
    for busy in (1.0, 2.0):
        ahead = forecasts(filtered(), busy * own * usual(24), usual(24))[-1, 0]
        np.testing.assert_allclose(np.delete(ahead, 2), ahead[0])
        each[busy] = ahead[2] / ahead[0]
    assert each[1.0] == pytest.approx(1.5, rel=0.02)
    assert each[2.0] == pytest.approx(1.5, rel=0.02)


def test_nominal_traffic_is_believed_at_once_and_stays_finite():
    nominal = replace(LAND, hour_log_sd=0.0, day_log_sd=0.0)
    ahead = forecasts(filtered(nominal), 1.4 * usual(100), usual(100))
    np.testing.assert_allclose(ahead[2:], 1.4, rtol=0.05)
    np.testing.assert_allclose(ahead[-1], 1.4, rtol=0.005)
    silent = forecasts(filtered(nominal), 0.0 * usual(HOURS - 1), usual(HOURS - 1))
    assert np.isfinite(silent).all()
    assert (silent > 0.0).all()


@pytest.mark.parametrize("departures", [{}, {"hour_log_sd": 0.0, "day_log_sd": 0.0, "volume_log_sd": 0.0}])
def test_a_flight_that_buys_nothing_keeps_the_calibrated_forecast(departures):
    nothing = np.zeros((HOURS - 1, 1, S))
    ahead = forecasts(filtered(replace(LAND, **departures)), nothing, nothing)
    # Half a click is added to what was heard and to what was due: no hour is evidence of much.
    assert np.isfinite(ahead).all()
    np.testing.assert_allclose(ahead, 1.0, atol=0.1)


class Forecast:
    """Forecast over realised clicks of flights whose budgets never end, by hour: as sums, and as error of the log."""

    def __init__(self, flights: int, hours: tuple[int, ...]) -> None:
        random = KeyedStream(1, LAND, np.arange(flights))
        hidden = random.hidden()
        hidden = replace(hidden, budget=1e3 * hidden.budget)
        ledger = random.ledger(hidden.budget)
        kinds = {"counts": Volumes(DualConfig(), LAND, flights), "filter": filtered(flights=flights)}
        left = np.cumsum(hidden.traffic[::-1], axis=0)[::-1]
        actions = np.tile(LAND.action(np.log(LAND.bid) - 1.0), (flights, 1))
        self.mean: dict[str, list[float]] = {kind: [] for kind in kinds}
        self.error: dict[str, list[float]] = {kind: [] for kind in kinds}
        for t in range(max(hours) + 1):
            view = View(ledger.observe())
            realised = (hidden.volume * hidden.ctr).sum(axis=1) * left[t]
            for kind, volumes in kinds.items():
                ahead = volumes.clicks_ahead(view, t).sum(axis=1)
                if t in hours:
                    self.mean[kind].append(ahead.sum() / realised.sum())
                    self.error[kind].append(np.sqrt(np.mean(np.log(ahead / realised) ** 2)))
            drawn = random.draw(hidden, ledger, actions)
            ledger.book(drawn.outcome, hidden.conversion_rate[t], drawn.bids)


def test_forecasts_are_right_on_average_and_the_filters_are_sharper():
    forecast = Forecast(500, hours=(12, 24, 48, 96, 130))
    # Flights differ by 0.2 to 0.3 in the logarithm: a standard error of about 0.012.
    np.testing.assert_allclose(forecast.mean["filter"], 1.0, atol=0.04)
    assert (np.array(forecast.error["filter"]) < 0.9 * np.array(forecast.error["counts"])).all()
    assert forecast.error["filter"][1] < 0.65 * forecast.error["counts"][1]
