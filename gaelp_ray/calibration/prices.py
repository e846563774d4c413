"""The price response of each channel: paid / bid, and the spread of the competing prices. Start at fit_prices().

With lognormal competing prices, paid / bid at the historical bid fixes (log bid - location) / log_sd once log_sd is
known. Two things identify log_sd: how single prices differ in rows of few clicks (spread.py), and how the price of a
click answers bids that vary over time. In a second-price auction d(spend) = bid x d(clicks), so that the two
elasticities to the bid are tied: clicks = cpc x (paid / bid) / (1 - paid / bid). Prices are much less noisy than
clicks, and demand does not move them: the fit uses prices only, and clicks at different bids are left for the
validation (response.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares
from scipy.special import expit, logit

from gaelp_ray.calibration import spread
from gaelp_ray.calibration.number import SOURCE, Number
from gaelp_ray.calibration.shrinkage import Shrunk, shrink
from gaelp_ray.calibration.table import BoolArray, CampaignTable
from gaelp_ray.market.prices import Lognormal, Pricing
from gaelp_ray.records import FloatArray

PAID_OVER_BID = (0.02, 0.94)
"""Range of paid / bid that a market file can hold."""

LOG_SD = (0.1, 3.0)

MIN_BID_SPREAD = 0.05
"""Standard deviation of log bids within a channel, from which on its rows are rows of different bids."""

MAX_LOG_SD_ERROR = 0.5
"""Standard error of a channel's log(log_sd): above it, prices at different bids do not identify it."""


@dataclass(frozen=True)
class Prices:
    """Prices of S channels; the arrays, (S,), are on the scale on which they are shrunk: logit and log."""

    paid_over_bid: Number  # of a channel without bids of its own
    log_sd: Number
    has_bids: bool
    logit_paid: FloatArray
    logit_paid_variance: FloatArray
    log_log_sd: FloatArray
    log_log_sd_variance: FloatArray

    @property
    def paid_over_bids(self) -> FloatArray:
        """Paid / bid of each channel, (S,)."""
        return np.clip(expit(self.logit_paid), *PAID_OVER_BID)

    @property
    def log_sds(self) -> FloatArray:
        """log_sd of each channel, (S,)."""
        return np.exp(self.log_log_sd)


def fit_prices(table: CampaignTable) -> Prices:
    """Prices of every channel, each shrunk towards the common mean; assumed where the table cannot tell."""
    channels = len(table.segments)
    usable = rows_with_bids(table)
    if int(usable.sum()) < spread.MIN_ROWS:
        paid = Number(0.35, "assumed", "as in paid search, where it was measured; too few bids here")
        ratios = Shrunk(logit(paid.value), 0.0, np.full(channels, logit(paid.value)), np.zeros(channels))
    else:
        ratios = _paid_over_bid(table.rows(usable))
        value = float(np.clip(expit(ratios.mean), *PAID_OVER_BID))
        paid = Number(value, SOURCE, f"mean over channels of their click-weighted CPC / bid, {int(usable.sum())} rows")
    curves = _log_sd_of_curves(table, ratios)
    log_sd = _common_log_sd(table, ratios, curves)
    spreads = curves or Shrunk(np.log(log_sd.value), 0.0, np.full(channels, np.log(log_sd.value)), np.zeros(channels))
    return Prices(
        paid_over_bid=paid,
        log_sd=log_sd,
        has_bids=paid.source == SOURCE,
        logit_paid=ratios.values,
        logit_paid_variance=ratios.variances,
        log_log_sd=spreads.values,
        log_log_sd_variance=spreads.variances,
    )


def rows_with_bids(table: CampaignTable) -> BoolArray:
    """Rows whose paid / bid is known, (N,)."""
    if table.bid is None:
        return np.zeros(len(table.clicks), np.bool_)
    return (table.clicks > 0) & (table.cost > 0) & (np.nan_to_num(table.bid) > 0)


def _paid_over_bid(table: CampaignTable) -> Shrunk:
    """logit of each channel's click-weighted mean of CPC / bid, of rows that have both.

    Its variance by the delta method: the variance of a row, pooled over the channels, by the channel's effective rows,
    (sum of clicks)^2 / sum of clicks^2. Without a channel of two rows: that of prices by the constants of spread.py.
    """
    assert table.bid is not None
    weight, ratio = table.clicks, table.cost / table.clicks / table.bid
    total, square = table.sums(weight), np.maximum(table.sums(weight**2), 1e-300)
    present = total > 0
    common = np.average(ratio, weights=weight)
    mean = np.where(present, table.sums(weight * ratio) / np.maximum(total, 1e-300), common)
    mean = np.clip(mean, *PAID_OVER_BID)
    off, freedom = ratio - mean[table.segment], float((total - square / np.maximum(total, 1e-300))[present].sum())
    if freedom > 1e-9:
        slope = mean * (1.0 - mean)
        row = float((weight * (off / slope[table.segment]) ** 2).sum()) / freedom
        variance = row * square / np.maximum(total, 1.0) ** 2
    else:
        variance = (spread.SHARED + spread.OWN / np.maximum(total, 1.0)) / (1.0 - mean) ** 2
    return shrink(logit(mean), np.where(present, variance, np.inf))


def bid_spread(table: CampaignTable) -> FloatArray:
    """Standard deviation of the log bids of each channel's rows that have one, (S,); 0 without two."""
    if table.bid is None:
        return np.zeros(len(table.segments))
    known = table.rows(np.nan_to_num(table.bid) > 0)
    assert known.bid is not None
    log_bid = np.log(known.bid)
    count = np.maximum(known.sums(np.ones(len(log_bid))), 1.0)
    centred = log_bid - (known.sums(log_bid) / count)[known.segment]
    deviation: FloatArray = np.sqrt(known.sums(centred**2) / count)
    return deviation


def _log_sd_of_curves(table: CampaignTable, ratios: Shrunk) -> Shrunk | None:
    """log(log_sd) of each channel from its prices at different bids; None if no channel identifies it.

    Only channels with one row per day: over time the bid moves while the competition stays. Bids of different keywords
    or ads differ because their competition does, which would pass for a steep price curve.
    """
    if table.day is None or table.bid is None:
        return None
    channels = len(table.segments)
    estimates, variances = np.zeros(channels), np.full(channels, np.inf)
    usable, varies = rows_with_bids(table), bid_spread(table) >= MIN_BID_SPREAD
    for s in np.flatnonzero(varies):
        rows = table.rows(usable & (table.segment == s))
        assert rows.day is not None
        if len(rows.clicks) >= spread.MIN_ROWS and len(np.unique(rows.day)) == len(rows.clicks):
            estimates[s], variances[s] = _price_curve(rows, float(expit(ratios.values[s])))
    return shrink(estimates, variances) if np.isfinite(variances).any() else None


def _price_curve(rows: CampaignTable, paid_over_bid: float) -> tuple[float, float]:
    """(log(log_sd), its variance) of one channel by weighted least squares of CPC on bid; infinite: not identified.

    The variance is robust (White's sandwich): prices of days differ by more than the chance of their clicks.
    """
    assert rows.bid is not None
    log_bid, cpc = np.log(rows.bid), rows.cost / rows.clicks
    level = rows.cost.sum() / rows.clicks.sum()
    weight = 1.0 / np.sqrt(spread.SHARED + spread.OWN / rows.clicks) / level
    middle = np.log(level / paid_over_bid)

    def residuals(theta: FloatArray) -> FloatArray:
        _, price = Pricing(Lognormal(float(np.exp(theta[1])))).clearing(log_bid, np.full_like(log_bid, theta[0]))
        weighted: FloatArray = weight * (price - cpc)
        return weighted

    bounds = ((middle - 15.0, np.log(LOG_SD[0])), (middle + 15.0, np.log(LOG_SD[1])))
    found = least_squares(residuals, (np.log(level), np.log(0.8)), bounds=bounds)
    jacobian: FloatArray = np.asarray(found.jac)
    information = jacobian.T @ jacobian
    if found.active_mask.any() or np.linalg.cond(information) > 1e10:
        return 0.0, np.inf
    bread = np.linalg.inv(information)
    meat = (jacobian * found.fun[:, None] ** 2).T @ jacobian
    variance = float((bread @ meat @ bread)[1, 1]) * len(cpc) / (len(cpc) - 2)
    return float(found.x[1]), variance if variance <= MAX_LOG_SD_ERROR**2 else np.inf


def _common_log_sd(table: CampaignTable, ratios: Shrunk, curves: Shrunk | None) -> Number:
    if curves is not None:
        return Number(float(np.exp(curves.mean)), SOURCE, "from CPC against bids that differ from day to day")
    found = spread.price_variations(table)
    if found is None:
        few = f"fewer than {spread.MIN_ROWS} rows of 1 to {spread.FEW} clicks: the table cannot tell"
        return Number(0.8, "assumed", few)
    note = f"from CPC against clicks per row: single prices vary by {found.own:.0%}, rows' levels by {found.shared:.0%}"
    return Number(spread.price_log_sd(found, np.clip(expit(ratios.values), *PAID_OVER_BID)), SOURCE, note)
