"""How single rows differ from their segment, and how single prices differ: method of moments.

Shared notation: row i of a segment has n_i trials (impressions, clicks) and the total x_i (clicks, conversions, cost);
h_i = n_i / sum of n is its share, p = sum of x / sum of n the segment's rate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gaelp_ray.calibration.table import CampaignTable
from gaelp_ray.market.landscape import lognormal_competition
from gaelp_ray.market.prices import Pricing
from gaelp_ray.records import FloatArray

MIN_ROWS = 30
"""Rows that a spread needs: of 1 to FEW clicks for prices, with orders for order values, with bids for bids."""

FEW = 10

SHARED, OWN = 0.02, 0.25
"""Squared coefficients of variation of prices, before anything is known: of a row's level, and of a single price."""


def row_variation(table: CampaignTable, trials: FloatArray, totals: FloatArray, chance: FloatArray) -> float:
    """Coefficient of variation of the rows' true rates around their segment's, beyond chance.

    x_i has the variance n_i c + n_i (n_i - 1) p^2 v^2, where c is the variance of a single trial (`chance`, (S,)):
    p (1 - p) for clicks and conversions, the variance of one price for cost. The square of x_i - n_i p has, with w_i =
    that variance, the expectation (1 - 2 h_i) w_i + h_i^2 sum(w). Summed over a segment's rows and solved for v;
    segments are pooled in units of the relative variance of their total, with their totals as weights.
    """
    n, x = table.sums(trials), table.sums(totals)
    live = (n > 1) & (x > 0)
    safe = np.where(live, n, 1.0)
    rate = np.where(live, x / safe, 1.0)
    share = trials / safe[table.segment]
    pairs = trials * (trials - 1.0) * (trials > 1.0)
    squares = table.sums((totals - trials * rate[table.segment]) ** 2)
    noise = chance * table.sums(trials * (1.0 - share))
    weight = table.sums(pairs * (1.0 - 2.0 * share)) + table.sums(share**2) * table.sums(pairs)
    # Relative variance of the total, known the better the more there is of it.
    scale = np.where(live, x, 0.0) / (safe * rate) ** 2
    excess, per_unit = float((scale * (squares - noise)).sum()), float((scale * rate**2 * weight).sum())
    return float(np.sqrt(max(excess, 0.0) / per_unit)) if per_unit > 0 else 0.0


@dataclass(frozen=True)
class PriceVariation:
    """Coefficients of variation of the price of one click within a segment."""

    shared: float  # by all clicks of a row: its price level
    own: float  # of single clicks around their row's level
    weights: FloatArray  # (S,) of the segments' own^2 in own^2


def price_variations(table: CampaignTable) -> PriceVariation | None:
    """How prices of single clicks differ; None if the table cannot tell.

    The squared relative deviation of a row's CPC from its segment's has the expectation shared^2 + own^2 / clicks.
    Regressed on 1 / clicks, twice, the second time with the inverse variances that the first time has found. Only rows
    of few clicks show what single prices do: averages over many clicks hide it.
    """
    paid = (table.clicks > 0) & (table.cost > 0)
    if int((paid & (table.clicks <= FEW)).sum()) < MIN_ROWS:
        return None
    n = table.clicks[paid]
    segment = table.segment[paid]
    cpc = (table.sums(table.cost) / np.maximum(table.sums(table.clicks), 1.0))[segment]
    square = (table.cost[paid] / n / cpc - 1.0) ** 2
    shared, own = SHARED, OWN
    for _ in range(2):
        weight = 1.0 / (shared + own / n + 1e-9) ** 2
        middle = np.average(1.0 / n, weights=weight)
        across = 1.0 / n - middle
        slope = float((weight * across * square).sum() / max((weight * across**2).sum(), 1e-300))
        own = max(slope, 0.0)
        shared = max(float(np.average(square, weights=weight)) - own * middle, 0.0)
    parts = np.bincount(segment, weight * across / n, len(table.segments))
    weights = parts / parts.sum() if parts.sum() > 0 else np.bincount(segment, minlength=len(parts)) / len(segment)
    return PriceVariation(float(np.sqrt(shared)), float(np.sqrt(own)), weights)


def price_log_sd(found: PriceVariation, paid_over_bid: FloatArray) -> float:
    """The spread of lognormal competing prices that rows' levels and single prices (below the bid) make together.

    The latter by bisection in (0.05, 2): one spread for segments that pay these shares of their bids, (S,).
    """
    low, high = 0.05, 2.0
    for _ in range(40):
        middle = (low + high) / 2.0
        square = float(found.weights @ price_variation(np.full(len(paid_over_bid), middle), paid_over_bid) ** 2)
        low, high = (middle, high) if square < found.own**2 else (low, middle)
    return float(np.sqrt(low**2 + np.log1p(found.shared**2)))


def price_variation(log_sd: FloatArray, paid_over_bid: FloatArray) -> FloatArray:
    """Coefficient of variation of the price paid at the historical bid, (S,)."""
    competition = lognormal_competition(np.ones(len(log_sd)), paid_over_bid, log_sd)
    pricing, log_bid = Pricing(competition.shape), np.log(competition.bid)
    win, price = pricing.clearing(log_bid, competition.log_price)
    deviation: FloatArray = np.sqrt(pricing.variance(log_bid, competition.log_price, win, price))
    return deviation / price


def order_shape(table: CampaignTable) -> float | None:
    """Gamma shape of a single order's value by moments; None without MIN_ROWS rows of orders with revenue.

    The revenue of m orders has the variance m value^2 / shape; deviations from the segment's mean value lose the share
    1 - m_i / sum(m) to its estimate.
    """
    if table.revenue is None:
        return None
    sold = (table.conversions > 0) & (table.revenue > 0)
    if int(sold.sum()) < MIN_ROWS:
        return None
    some = table.rows(sold)
    orders, earned = some.conversions, table.revenue[sold]
    total = some.sums(orders)[some.segment]
    value = some.sums(earned)[some.segment] / total
    squares, freedom = float(((earned / value - orders) ** 2).sum()), float((orders * (1.0 - orders / total)).sum())
    return float(np.clip(freedom / max(squares, 1e-300), 0.05, 100.0))
