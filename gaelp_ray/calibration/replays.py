"""Replicates of real campaigns: the market's own auction hour, as long as a campaign's whole period.

What is known of a campaign beforehand is the rest of its channel. How well that is known is part of the prediction:
each replicate first draws the rest itself at its own rates, fits the market to that, and draws the campaign at the fit.
Campaigns spread around their channel where the market's validation says how far single rows of its source do.

Historical campaigns paid second prices, whatever the market's `auction` is (see landscape.solve_landscape), and their
conversions are all reported, whatever its delay: neither is asked here, nor are fatigue and the flight's departures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gaelp_ray.calibration.simulation import around
from gaelp_ray.calibration.validation import Sums, rates
from gaelp_ray.market.auction import Hour, Purse
from gaelp_ray.market.blocks import Channel, LognormalPrices, TablePrices
from gaelp_ray.market.held_out import Campaign
from gaelp_ray.market.keyed_auction import draw_keyed
from gaelp_ray.market.landscape import Competition
from gaelp_ray.market.market import Market
from gaelp_ray.market.prices import Pricing
from gaelp_ray.market.stream import Cells
from gaelp_ray.market.validation import RowSpread
from gaelp_ray.records import FloatArray

Fitted = FloatArray
"""(..., 4, N): CTR, CPC, conversion rate and order value."""


@dataclass(frozen=True)
class Replay:
    """N real campaigns, and what each is predicted from; in sums NaN is what the source does not know."""

    campaigns: tuple[Campaign, ...]
    real: Sums  # (5, N)
    rest: Sums  # (5, N)
    assumed_value: FloatArray  # (N,) revenue of a conversion; NaN where revenue was measured


@dataclass(frozen=True)
class _World:
    """What does not change between replicates."""

    competition: Competition  # of the campaigns at `own`
    per_mille: bool  # auctions are paid per impression: the price of a click falls as the CTR rises
    own: Fitted  # to the real rest, (4, N)
    spread: RowSpread
    order_value_shape: float
    assumed_value: FloatArray


def replays(rng: np.random.Generator, market: Market, known: Replay, samples: int) -> Sums:
    """(samples, 5, N) simulated impressions, clicks, cost, conversions and revenue of the campaigns."""
    if not known.campaigns:
        return np.zeros((samples, 5, 0))
    world = _world(market, known)
    rows = np.array([campaign.effective_rows for campaign in known.campaigns])
    fit = np.broadcast_to(world.own, (samples, *world.own.shape))
    again = _draw(rng, world, fit, known.rest[0], rows * known.rest[1] / known.real[1])
    return _draw(rng, world, _fit(again, world.own), known.real[0], rows)


def _world(market: Market, known: Replay) -> _World:
    names = market.channel_names
    value = market.landscape.order_value[[names.index(campaign.channel) for campaign in known.campaigns]]
    nothing = np.full_like(value, np.nan)
    return _World(
        competition=_competition(market.prices, known),
        per_mille=isinstance(market.prices, TablePrices),
        # Conversions that nobody has counted are not drawn; a rest that sold nothing says nothing of orders' values.
        own=_fit(known.rest, np.stack([nothing, nothing, np.zeros_like(value), value])),
        spread=market.validation.row_spread if market.validation else RowSpread(ctr=0, cpc=0, conversion_rate=0),
        order_value_shape=market.departures.order_value_shape.value,
        assumed_value=known.assumed_value,
    )


def _competition(prices: LognormalPrices | TablePrices, known: Replay) -> Competition:
    """The market's prices, fitted to the campaigns' rests instead of the channels."""
    columns = zip(known.campaigns, *known.rest[:3], strict=True)
    rests = [Channel(name=c.channel, impressions=shown, clicks=clicks, cost=cost) for c, shown, clicks, cost in columns]
    if isinstance(prices, TablePrices):
        tables = {row.channel: row for row in prices.rows}
        prices = prices.model_copy(update={"rows": tuple(tables[rest.name] for rest in rests)})
    return prices.competition(rests)


def _fit(totals: Sums, instead: Fitted) -> Fitted:
    """Rates of (..., 5, N) sums; `instead` (4, N) where they say nothing."""
    _, clicks, _, conversions, revenue = np.moveaxis(totals, -2, 0)
    ctr, cpc, rate, _ = np.moveaxis(rates(totals), -2, 0)
    value = np.divide(revenue, conversions, out=np.full_like(revenue, np.nan), where=conversions > 0)
    found = np.stack([ctr, cpc, rate, value], axis=-2)
    return np.where(np.isfinite(found) & (clicks > 0)[..., None, :], found, instead)


def _draw(rng: np.random.Generator, world: _World, fit: Fitted, impressions: FloatArray, rows: FloatArray) -> Sums:
    """(R, 5, N) of campaigns with these expected impressions (N,), at fits (R, 4, N).

    Every replicate is a flight without a budget, every campaign a channel, and the period an hour. `rows` (N,) is how
    many rows of the source average out in a campaign.
    """
    ctr, cpc, rate, value = np.moveaxis(fit, -2, 0)
    variation = {name: spread / np.sqrt(rows) for name, spread in world.spread.model_dump().items()}
    level = np.sqrt(np.log1p(variation["cpc"] ** 2))
    dearer = world.own[0] / ctr if world.per_mille else cpc / world.own[1]
    scale = dearer * np.exp(level * rng.standard_normal(ctr.shape) - level**2 / 2.0)
    then = world.competition
    won = then.shape.win(np.log(then.bid) - then.log_price)
    hour = Hour(
        volume=np.broadcast_to(impressions / won, ctr.shape),
        log_price=then.log_price + np.log(scale),
        pricing=Pricing(then.shape),
        ctr=around(rng, ctr, variation["ctr"]),
        conversion_rate=around(rng, rate, variation["conversion_rate"]),
        order_value=np.ones(ctr.shape[1]),  # in units of the replicate's own
        order_value_shape=world.order_value_shape,
    )
    replicates, campaigns = np.arange(len(ctr))[:, None], np.arange(ctr.shape[1])
    cells = Cells(int(rng.integers(2**64, dtype=np.uint64)), replicates, np.array(0), campaigns)
    out = draw_keyed(cells, hour, np.log(then.bid * scale), Purse(np.full(len(ctr), np.inf)))
    assumed = np.isfinite(world.assumed_value)
    revenue = np.where(assumed, out.conversions * world.assumed_value, out.revenue * value)
    return np.stack([out.impressions, out.clicks, out.cost, out.conversions, revenue], axis=1).astype(np.float64)
