"""Replicates of rows that a calibration has not seen: the market's own auction hour, one cell per row.

Two things make replicates as dispersed as real halves are. The fit is uncertain: each replicate fits the market anew,
to a bootstrap of the fit half's rows (Poisson weights). And rows differ: each draws its own CTR and conversion rate
(beta) and its own price level (lognormal) around its segment's, as far apart as the fit half's rows are beyond chance
(spread.row_variation).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gaelp_ray.calibration.fit import Estimates, estimate
from gaelp_ray.calibration.table import CampaignTable
from gaelp_ray.market.auction import Hour, Purse
from gaelp_ray.market.keyed_auction import draw_keyed
from gaelp_ray.market.landscape import lognormal_competition
from gaelp_ray.market.prices import Lognormal, Pricing
from gaelp_ray.market.stream import Cells
from gaelp_ray.records import FloatArray

CHUNK = 500_000
"""Cells that are drawn at once, which bounds the memory."""

NO_SPREAD = 1e6
"""Gamma shape of orders that are all worth the same: a table without revenue says nothing else."""


@dataclass(frozen=True)
class _Fit:
    """Rates of R refitted markets, (R, S) each."""

    ctr: FloatArray
    cpc: FloatArray
    conversion_rate: FloatArray
    order_value: FloatArray


def replicates_of(
    rng: np.random.Generator, seen: CampaignTable, unseen: CampaignTable, order_value: float | None, count: int
) -> FloatArray:
    """(count, 5, S) simulated impressions, clicks, cost, conversions and revenue of the unseen rows' segments."""
    found = estimate(seen)
    shown = unseen.rows(unseen.impressions > 0)
    each = max(CHUNK // max(len(shown.clicks), len(seen.clicks), 1), 1)
    parts = []
    for start in range(0, count, each):
        fit = _refit(rng, seen, order_value, min(each, count - start))
        parts.append(_draw(rng, found, fit, shown))
    return np.concatenate(parts)


def _refit(rng: np.random.Generator, seen: CampaignTable, order_value: float | None, count: int) -> _Fit:
    weights = rng.poisson(1.0, (count, len(seen.clicks))).astype(np.float64)
    revenue = seen.revenue if seen.revenue is not None else seen.conversions * (order_value or 0.0)
    numbers = (seen.impressions, seen.clicks, seen.cost, seen.conversions, revenue)
    impressions, clicks, cost, conversions, earned = (
        # A segment that no row of the bootstrap has clicked keeps the fit half's own sums.
        _mended(_by_segment(seen, weights * x), seen.sums(x), _by_segment(seen, weights * seen.clicks))
        for x in numbers
    )
    pooled = revenue.sum() / max(seen.conversions.sum(), 1e-300)
    return _Fit(
        ctr=clicks / np.maximum(impressions, 1.0),
        cpc=cost / np.maximum(clicks, 1.0),
        conversion_rate=np.minimum(conversions / np.maximum(clicks, 1.0), 1.0),
        order_value=np.where(conversions > 0, earned / np.maximum(conversions, 1e-300), pooled),
    )


def _mended(drawn: FloatArray, own: FloatArray, clicks: FloatArray) -> FloatArray:
    return np.where(clicks > 0, drawn, own)


def _by_segment(table: CampaignTable, numbers: FloatArray) -> FloatArray:
    """(R, N) numbers of rows as (R, S) sums."""
    count, segments = len(numbers), len(table.segments)
    cell = (np.arange(count)[:, None] * segments + table.segment).ravel()
    return np.bincount(cell, numbers.ravel(), count * segments).reshape(count, segments).astype(np.float64)


def _draw(rng: np.random.Generator, found: Estimates, fit: _Fit, rows: CampaignTable) -> FloatArray:
    """One hour as long as the period: every row of every replicate is a channel of one flight without a budget."""
    hour, log_bids = _hour(rng, found, fit, rows)
    # Each cell draws as a flight of its own: channels are numbered below 2^16.
    numbers = np.arange(log_bids.size)[None, :]
    cells = Cells(int(rng.integers(2**64, dtype=np.uint64)), numbers, np.array(0), np.array(0))
    outcome = draw_keyed(cells, hour, log_bids, Purse(np.array([np.inf])))
    drawn = (outcome.impressions, outcome.clicks, outcome.cost, outcome.conversions, outcome.revenue)
    count = len(fit.ctr)
    return np.stack([_by_segment(rows, x.reshape(count, -1).astype(np.float64)) for x in drawn], axis=1)


def _hour(rng: np.random.Generator, found: Estimates, fit: _Fit, rows: CampaignTable) -> tuple[Hour, FloatArray]:
    """(the rows' state, the logarithms of their historical bids): (1, R x N) each."""
    ctr, cpc, rate, value = (
        x[:, rows.segment].reshape(1, -1) for x in (fit.ctr, fit.cpc, fit.conversion_rate, fit.order_value)
    )
    # The spread of single prices is partly the rows' own levels; what is left is drawn within a row.
    level = np.sqrt(np.log1p(found.cpc_variation**2))
    within = np.maximum(np.sqrt(np.maximum(found.prices.log_sds**2 - level**2, 0.0)), 0.05)
    cpc = np.maximum(cpc, 1e-9) * np.exp(level * rng.standard_normal(cpc.shape) - level**2 / 2.0)
    # Prices scale: a competition at a CPC of 1 serves all rows of a segment.
    unit = lognormal_competition(np.ones(len(within)), found.prices.paid_over_bids, within)
    won = unit.shape.win(np.log(unit.bid) - unit.log_price)
    cell = np.tile(rows.segment, len(fit.ctr))
    shape = found.order_value_shape.value if rows.revenue is not None else NO_SPREAD
    exposures = np.tile(rows.impressions, len(fit.ctr))[None, :]
    hour = Hour(
        volume=exposures / won[cell],
        log_price=unit.log_price[cell] + np.log(cpc),
        pricing=Pricing(Lognormal(within[cell], len(cell))),
        ctr=around(rng, ctr, found.ctr_variation),
        conversion_rate=around(rng, rate, found.conversion_rate_variation),
        order_value=value[0],
        order_value_shape=shape,
    )
    return hour, np.log(unit.bid[cell] * cpc)


def around(rng: np.random.Generator, mean: FloatArray, variation: float | FloatArray) -> FloatArray:
    """Beta draws of these means and this coefficient of variation, or as close to it as a rate can come."""
    variance = np.minimum((variation * mean) ** 2, 0.95 * mean * (1.0 - mean))
    inside = (mean > 0.0) & (mean < 1.0) & (variance > 0.0)
    rate, spread = np.where(inside, mean, 0.5), np.where(inside, variance, 0.1)
    concentration = rate * (1.0 - rate) / spread - 1.0
    drawn = rng.beta(rate * concentration, (1.0 - rate) * concentration)
    return np.where(inside, drawn, mean)
