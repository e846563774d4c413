"""Campaign exports with a column of bids, from channels whose response to the bid is known: numpy and scipy alone."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

HEADER = ("Campaign", "Day", "Impr.", "Clicks", "Cost", "Conversions", "Conv. value", "Max. CPC")


@dataclass(frozen=True)
class Export:
    """One row per channel and day; the competing prices of a click are lognormal, and the winner pays them."""

    paid_over_bid: tuple[float, ...] = (0.72, 0.62, 0.41, 0.11)  # at the usual bid
    log_sd: float = 0.72
    usual_bid: float = 2.0
    bid_log_sd: float = 0.3  # from day to day
    days: int = 120
    clicks: float = 60.0  # of a day at the usual bid
    demand_log_sd: float = 0.3  # from day to day
    ctr: float = 0.05
    conversion_rate: float = 0.1
    order_value: float = 60.0
    demand_follows_bid: float = 0.0  # elasticity of the auctions of a day: 0 is an experiment, above 0 confounding
    prices_follow_bid: float = 0.0  # elasticity of the competing prices of a day: above 0, bids answer the competition

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"channel {s}" for s in range(len(self.paid_over_bid)))

    def price_level(self, channel: int) -> float:
        """Mean of the log price at which the usual bid pays its share."""
        share, sd = self.paid_over_bid[channel], self.log_sd

        def excess(x: float) -> float:  # x: log of bid / median price
            return np.exp(sd**2 / 2.0 - x) * ndtr(x / sd - sd) / ndtr(x / sd) - share

        return float(np.log(self.usual_bid) - brentq(excess, -20.0 * sd, 20.0 * sd))

    def won(self, channel: int, bid: float | np.ndarray) -> np.ndarray:
        """Chance of winning an auction."""
        return ndtr((np.log(bid) - self.price_level(channel)) / self.log_sd)

    def clicks_at_double_bid(self) -> np.ndarray:
        """Of each channel, in units of those at the usual bid."""
        channels = range(len(self.paid_over_bid))
        return np.array([self.won(s, 2.0 * self.usual_bid) / self.won(s, self.usual_bid) for s in channels])

    def write(self, path: Path, seed: int = 0, columns: tuple[str, ...] = HEADER) -> Path:
        """The table, with these columns of HEADER."""
        rng = np.random.default_rng(seed)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            for s, name in enumerate(self.names):
                for day in range(self.days):
                    row = (name, date(2026, 1, 1) + timedelta(day), *self._day(rng, s))
                    writer.writerow(dict(zip(HEADER, row, strict=True)))
        return path

    def _day(self, rng: np.random.Generator, s: int) -> tuple[float, ...]:
        bid = round(self.usual_bid * np.exp(self.bid_log_sd * rng.standard_normal()), 2)
        demand = np.exp(self.demand_log_sd * rng.standard_normal()) * (bid / self.usual_bid) ** self.demand_follows_bid
        level = (bid / self.usual_bid) ** self.prices_follow_bid
        won = self.won(s, bid / level)
        usual = self.won(s, self.usual_bid)
        impressions = rng.poisson(demand * self.clicks / self.ctr * won / usual)
        clicks = rng.binomial(impressions, self.ctr)
        prices = level * np.exp(self.price_level(s) + self.log_sd * ndtri(won * rng.random(clicks)))
        sold = rng.binomial(clicks, self.conversion_rate)
        revenue = rng.gamma(2.0 * sold, self.order_value / 2.0) if sold else 0.0
        return impressions, clicks, round(prices.sum(), 2), sold, round(revenue, 2), bid
