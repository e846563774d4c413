"""Flights on numpy's generator: what the law of flights on keyed random numbers is compared with."""

import numpy as np
from independent_auction import draw

from gaelp_ray.market.landscape import DAYS, HOURS, HOURS_PER_DAY, MAX_CONVERSION_RATE, Landscape
from gaelp_ray.simulator import AdCampaignVectorEnv
from gaelp_ray.simulator.hidden import MAX_CTR, Hidden
from gaelp_ray.simulator.ledger import Ledger
from gaelp_ray.simulator.random_streams import Drawn


def draw_hidden(rng: np.random.Generator, market: Landscape, flights: int) -> Hidden:
    """What the flights never show."""

    def mean_one(log_sd: float, *shape: int) -> np.ndarray:
        return np.exp(rng.normal(-(log_sd**2) / 2.0, log_sd, shape))

    channels, spread, rho = market.channels, market.budget_log_range, market.price_autocorrelation
    rate = market.conversion_rate * mean_one(market.conversion_rate_log_sd, flights, channels)
    drift = np.cumprod([mean_one(market.conversion_rate_drift, flights, channels) for _ in range(HOURS)], axis=0)
    level = np.zeros((HOURS + 1, flights, channels))
    for hour in range(HOURS):
        innovation = rng.normal(0.0, market.price_log_sd * np.sqrt(1.0 - rho**2), (flights, channels))
        level[hour + 1] = rho * level[hour] + innovation
    variance = market.price_log_sd**2 * (1.0 - rho ** (2.0 * np.arange(1, HOURS + 1)))
    by_day = np.repeat(mean_one(market.day_log_sd, DAYS, flights), HOURS_PER_DAY, axis=0)
    return Hidden(
        landscape=market,
        budget=market.budget * np.exp(rng.uniform(-spread, spread, flights)),
        ctr=np.minimum(market.ctr * mean_one(market.ctr_log_sd, flights, channels), MAX_CTR),
        volume=market.volume * mean_one(market.volume_log_sd, flights, channels),
        traffic=market.traffic[:, None] * by_day * mean_one(market.hour_log_sd, HOURS, flights),
        log_price=market.log_price + level[1:] - variance[:, None, None] / 2.0,
        conversion_rate=np.minimum(rate * drift, MAX_CONVERSION_RATE),
    )


class IndependentNumbers:
    """A KeyedStream whose numbers are those of a generator, in the order in which they are asked for."""

    def __init__(self, rng: np.random.Generator, landscape: Landscape, flights: int) -> None:
        self._rng, self._landscape, self._flights = rng, landscape, flights

    def hidden(self) -> Hidden:
        return draw_hidden(self._rng, self._landscape, self._flights)

    def ledger(self, budget: np.ndarray) -> Ledger:
        return Ledger(self._landscape, budget)

    def draw(self, hidden: Hidden, ledger: Ledger, actions: np.ndarray) -> Drawn:
        hour = hidden.hour(ledger.hour, ledger.log_fatigue, ledger.pending)
        bids = self._landscape.bids(actions)
        return Drawn(hour, bids, draw(self._rng, hour, bids, ledger.purse))


class IndependentEnv(AdCampaignVectorEnv):
    """AdCampaignVectorEnv on the generator of its seed."""

    def _new_random(self, seed: int | None, first_flight: int) -> IndependentNumbers:
        return IndependentNumbers(self.np_random, self.landscape, self.num_envs)
