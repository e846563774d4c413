"""BayesDual: what it reads out of an observation, what its constants do, and how good it is."""

from dataclasses import replace

import numpy as np
import pytest

from gaelp_ray.agents import make_agent
from gaelp_ray.agents.beliefs import Prices, Volumes
from gaelp_ray.agents.dual import BayesDual
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.market import load_market
from gaelp_ray.market.landscape import HOURS, HOURS_PER_DAY
from gaelp_ray.market.observation import GLOBAL, PER_CHANNEL, View, pack
from gaelp_ray.sections import DualConfig
from gaelp_ray.simulator.hidden import Hidden
from gaelp_ray.simulator.random_streams import KeyedStream
from gaelp_ray.training import Stream, evaluate

LAND = load_market("airfrance-search").landscape
FLIGHTS = 8

CHANGED = {
    "prior_strength": 3.0,
    "volume_prior_strength": 0.2,
    "optimism": 1.0,
    "pacing_shade": 0.3,
    "shade": 0.2,
    "traffic_use": 1.0,
    "forgetting": 0.05,
    "price_tracking": 0.0,
    "drift_tracking": 1.0,
    "traffic": "filter",
    "traffic_noise": 3.0,
}


class Seen:
    """The first hours of flights under random bids, with the truth beside the observations."""

    def __init__(self, hours: int, land=LAND) -> None:
        rng, random = np.random.default_rng(5), KeyedStream(5, land, np.arange(FLIGHTS))
        self.hidden: Hidden = random.hidden()
        ledger = random.ledger(self.hidden.budget)
        self.clicks = np.zeros((FLIGHTS, land.channels))
        self.conversions = np.zeros((FLIGHTS, land.channels))
        self.obs = [ledger.observe()]
        for t in range(hours):
            actions = rng.uniform(-0.4, 0.0, (FLIGHTS, land.channels)).astype(np.float32)
            drawn = random.draw(self.hidden, ledger, actions)
            ledger.book(drawn.outcome, self.hidden.conversion_rate[t], drawn.bids)
            self.clicks += drawn.outcome.clicks
            self.conversions += drawn.outcome.conversions
            self.obs.append(ledger.observe())


@pytest.fixture(scope="module")
def seen() -> Seen:
    return Seen(30)


def log_bids(observations: list[np.ndarray], market=LAND, **constants: float | str) -> np.ndarray:
    """Log bids (T, B, S) on observations seen one after the other."""
    bidder = BayesDual(DualConfig(**constants), market)
    bidder.begin(len(observations[0]), np.random.default_rng(0))
    return np.stack([np.log(LAND.bids(bidder.act(obs))) for obs in observations])


def at_hour(t: int, **features: float | np.ndarray) -> np.ndarray:
    """One flight's observation at hour t: as expected, but for the named features."""
    usual = {"time_left": 1.0 - t / HOURS, "budget_left": 1.0 - t / HOURS, "win_rate": 0.5} | features
    per_channel = {name: np.zeros((1, LAND.channels)) + usual.get(name, 0.0) for name in PER_CHANNEL}
    return pack(per_channel, {name: np.full(1, usual.get(name, 0.0)) for name in GLOBAL})


@pytest.mark.parametrize("first_price", [False, True], ids=["second price", "first price"])
def test_price_level_is_recovered_exactly_from_the_last_hour(first_price):
    land = replace(LAND, pricing=replace(LAND.pricing, first_price=first_price))
    seen, prices = Seen(30, land), Prices(DualConfig(price_tracking=1.0), land)
    for t in range(1, len(seen.obs)):
        recovered = prices._level(View(seen.obs[t]), t)
        np.testing.assert_allclose(recovered, seen.hidden.log_price[t - 1] - land.log_price, atol=1e-5)


def test_price_level_is_weighted_by_its_tracking(seen):
    whole, part = (Prices(DualConfig(price_tracking=weight), LAND) for weight in (1.0, 0.8))
    view = View(seen.obs[30])
    np.testing.assert_allclose(part._level(view, 30), 0.8 * whole._level(view, 30))


@pytest.mark.parametrize("t", [0, 30, 167])
def test_price_level_is_forecast_to_decay_over_the_rest_of_the_flight(t):
    ahead = np.arange(1, HOURS - t + 1)
    decay = Prices(DualConfig(), LAND).decay[t]
    assert decay == pytest.approx(np.mean(LAND.price_autocorrelation**ahead))


def test_values_come_from_the_exact_counts_of_clicks_and_conversions(seen):
    # Bids of one flight differ only by value, so that their differences show what the bidder believes.
    strength = 3.0
    bids = log_bids(seen.obs, prior_strength=strength)[-1]
    prior = strength * LAND.conversion_prior_clicks
    rate = (seen.conversions + prior * LAND.conversion_rate) / (seen.clicks + prior)
    log_value = np.log(rate * LAND.order_value)
    np.testing.assert_allclose(bids - bids[:, :1], log_value - log_value[:, :1], atol=1e-4)


@pytest.mark.parametrize("name", DualConfig.model_fields)
def test_every_constant_changes_the_bids(seen, name):
    assert CHANGED[name] != getattr(DualConfig(), name)
    others = {"traffic": "filter"} if name == "traffic_noise" else {}
    difference = log_bids(seen.obs, **others | {name: CHANGED[name]}) - log_bids(seen.obs, **others)
    assert np.abs(difference).max() > 0.01


def test_shade_lowers_every_bid_by_itself(seen):
    np.testing.assert_allclose(log_bids(seen.obs, shade=0.2) - log_bids(seen.obs), -0.2, atol=1e-5)


def test_pacing_shade_fades_with_the_time_left(seen):
    difference = log_bids(seen.obs, pacing_shade=0.3) - log_bids(seen.obs)
    fading = -0.3 * (1.0 - np.arange(len(seen.obs)) / HOURS)
    np.testing.assert_allclose(difference, np.broadcast_to(fading[:, None, None], difference.shape), atol=1e-5)


def test_forgotten_evidence_gives_way_to_the_prior():
    surprise = np.zeros(LAND.channels)
    surprise[0] = 0.5
    evidence = {"log_clicks": np.log1p(200.0), "log_conversion_rate_ratio": surprise}
    flights = [at_hour(0), *(at_hour(t, **evidence) for t in range(1, 80))]
    lead = {rate: log_bids(flights, forgetting=rate)[:, 0] @ [1, -1, 0, 0, 0, 0, 0] for rate in (0.0, 0.1)}
    prior = np.log(LAND.value[0] / LAND.value[1])
    assert lead[0.0][-1] - prior == pytest.approx(0.5, abs=1e-4)
    assert lead[0.1][1] - prior == pytest.approx(0.5, abs=1e-4)
    assert abs(lead[0.1][-1] - prior) < 0.01


def test_optimism_favours_the_channel_that_is_known_least_and_fades():
    known, hopeful = log_bids([at_hour(0)])[0, 0], log_bids([at_hour(0)], optimism=1.0)[0, 0]
    sales = LAND.conversion_prior_clicks * LAND.conversion_rate
    np.testing.assert_allclose(sales, sales[0])
    np.testing.assert_allclose((hopeful - known) - (hopeful - known)[0], 0.0, atol=1e-5)
    bought = np.zeros(LAND.channels)
    bought[0] = np.log1p(5000.0)
    leads = []
    for t in (1, 84):
        flight = [at_hour(0), at_hour(t, log_clicks=bought)]
        gain = (log_bids(flight, optimism=1.0) - log_bids(flight))[1, 0]
        leads.append(gain[1:] - gain[0])
    assert (leads[0] > 0.1).all()
    np.testing.assert_allclose(leads[1] / leads[0], (1.0 - 84 / HOURS) / (1.0 - 1 / HOURS), rtol=1e-3)


def test_dearer_prices_in_the_last_hour_raise_the_bids_with_tracking_only():
    cheap, dear = ([at_hour(0), at_hour(1, log_price_ratio=ratio)] for ratio in (-1.0, -0.5))
    assert (log_bids(dear)[1] > log_bids(cheap)[1]).all()
    np.testing.assert_array_equal(log_bids(dear, price_tracking=0.0), log_bids(cheap, price_tracking=0.0))


def test_fewer_clicks_than_expected_raise_the_bids():
    expected = {"log_expected_clicks": np.log1p(100.0)}
    scarce, usual = ([at_hour(0), at_hour(1, log_clicks=np.log1p(n), **expected)] for n in (40.0, 100.0))
    assert (log_bids(scarce)[1].mean() - log_bids(usual)[1].mean()) > 0.05


def test_busy_day_lowers_the_bids_of_its_rest_with_traffic_use_only():
    # Two days as expected, then a morning with three times the clicks; the flight's own ratio is the same for both.
    clicks = {0: 0.0, 24: 100.0, 48: 200.0, 58: 320.0}
    busy = [at_hour(t, log_clicks=np.log1p(n), log_expected_clicks=np.log1p(n)) for t, n in clicks.items()]
    busy[-1] = at_hour(58, log_clicks=np.log1p(320.0), log_expected_clicks=np.log1p(240.0))
    with_use, without = (log_bids(busy, traffic_use=use)[-1] for use in (1.0, 0.0))
    assert (with_use < without).all()


@pytest.mark.parametrize("use", [1.0, 0.5])
def test_todays_surplus_by_hand(use):
    # 7 channels: 1400 clicks as expected by midnight, then 840 where 280 were expected.
    counts = {48: (200.0, 200.0), 58: (320.0, 240.0)}
    flight = [at_hour(t, log_clicks=np.log1p(n), log_expected_clicks=np.log1p(m)) for t, (n, m) in counts.items()]
    volumes = [Volumes(DualConfig(traffic_use=exponent), LAND, 1) for exponent in (use, 0.0)]
    for t, obs in zip(counts, flight, strict=True):
        with_use, without = (each.clicks_ahead(View(obs), t) for each in volumes)
    # Both shrunk by 20 clicks; then against the flight's own ratio.
    busier = ((840 + 20) / (280 + 20)) / ((2240 + 20) / (1680 + 20))
    surplus = LAND.traffic[58:72].sum() * (busier**use - 1.0)
    np.testing.assert_allclose(with_use / without, 1.0 + surplus / LAND.traffic[58:].sum(), rtol=1e-5)


def test_flight_that_is_almost_over_and_broke_still_bids_finite():
    flights = [at_hour(t, budget_left=0.0) for t in (0, HOURS_PER_DAY, HOURS - 1)]
    assert np.isfinite(log_bids(flights)).all()


@pytest.fixture(scope="module")
def league() -> dict[str, float]:
    """Optimality of the classical bidders on the same 256 nominal flights with heterogeneity 0.5."""
    market = load_market("airfrance-search").variant("nominal", 0.5)
    agents = {
        name: make_agent(GAELPExperimentConfig(agent_type=name), market.landscape)
        for name in ("constant", "PID", "BayesPID", "BayesDual")
    }
    seeds = [0, Stream.EVALUATION]
    return {name: evaluate(agent, market, 256, seeds).metrics.optimality for name, agent in agents.items()}


def test_planning_comes_close_to_the_hindsight_optimum(league):
    assert 0.975 < league["BayesDual"] < 1.0


def test_better_classical_bidders_earn_more(league):
    assert league["BayesDual"] > league["BayesPID"] > league["PID"] > league["constant"]


def test_plan_holds_in_the_realistic_market():
    market = load_market("airfrance-search")
    dual, paced = (
        evaluate(make_agent(GAELPExperimentConfig(agent_type=name), market.landscape), market, 256, [0, 5]).metrics
        for name in ("BayesDual", "BayesPID")
    )
    assert dual.optimality > paced.optimality + 0.02
    assert dual.delivery > 0.97


def test_it_shades_its_bids_where_the_winner_pays_them():
    land = replace(LAND, pricing=replace(LAND.pricing, first_price=True))
    market = load_market("airfrance-search").variant("nominal", auction="first_price")
    first = BayesDual(DualConfig(), land)
    truthful = BayesDual(DualConfig(), LAND)  # bids what a click is worth, as second prices ask for
    shading, naive = (evaluate(b, market, 64, [0, Stream.EVALUATION]).metrics for b in (first, truthful))
    assert shading.optimality > 0.96
    assert shading.optimality > naive.optimality + 0.02


@pytest.mark.parametrize("auction", ["second_price", "first_price"])
@pytest.mark.parametrize("name", ["kag-social", "ipinyou-display"])
def test_planning_beats_pacing_on_every_market(name, auction):
    market = load_market(name).variant("nominal", auction=auction)
    planner = BayesDual(DualConfig(), market.landscape)
    pacer = make_agent(GAELPExperimentConfig(agent_type="BayesPID"), market.landscape)
    planned, paced = (evaluate(a, market, 64, [0, Stream.EVALUATION]).metrics.optimality for a in (planner, pacer))
    assert 0.96 < planned < 1.01
    assert planned > paced
