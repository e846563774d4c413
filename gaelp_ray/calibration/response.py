"""Does the fitted price response hold on rows that it has not seen? Start at validate_response().

Within each channel, rows of high bids are set beside rows of low bids: the ratio of their clicks per row, and of their
prices per click. The fit to one half of the rows predicts both ratios at the bids of the other half. The fit uses
prices only (prices.py), so that clicks are an independent test; they also follow demand, where it moves with the bids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gaelp_ray.calibration.prices import MIN_BID_SPREAD, Prices, bid_spread, fit_prices
from gaelp_ray.calibration.table import BoolArray, CampaignTable, IndexArray
from gaelp_ray.market.landscape import lognormal_competition
from gaelp_ray.market.prices import Lognormal, Pricing
from gaelp_ray.market.validation import BesideFloor, ChannelResponse, PriceResponse, ResponseError
from gaelp_ray.records import FloatArray

MIN_ROWS, MIN_CLICKS = 5, 10
"""That rows of high and of low bids need, in both halves, for a channel to be compared."""

QUANTILE = 1.645
"""90 % of a normal distribution lie within so many standard deviations."""

CLICKS, CPC = 0, 1


def validate_response(table: CampaignTable, halves: Sequence[BoolArray], splits: int) -> PriceResponse:
    """Errors of the predicted log ratios between rows of high and of low bids, each beside its noise floor.

    Args:
        table: rows whose segments are the channels.
        halves: random halves of the rows; the floor is the median over all of them.
        splits: so many of them, the first, are fitted and predicted.
    """
    if table.bid is None:
        return PriceResponse(not_tested="no column of bids")
    if not (bid_spread(table) >= MIN_BID_SPREAD).any():
        return PriceResponse(not_tested="the bids of a channel do not vary")
    found = [_compare(table, half, fit=number < splits) for number, half in enumerate(halves)]
    if not any(split.channels.any() for split in found[:splits]):
        few = f"no channel has {MIN_ROWS} rows and {MIN_CLICKS} clicks at high and at low bids in both halves"
        return PriceResponse(not_tested=few)
    fitted = found[:splits]
    return PriceResponse(
        clicks=_error(found, fitted, CLICKS), cpc=_error(found, fitted, CPC), channels=_channels(table, fitted)
    )


@dataclass(frozen=True)
class _Split:
    """One split; log ratios high / low, (2, S): clicks per row, and CPC."""

    channels: BoolArray  # (S,) that can be compared
    seen: FloatArray
    unseen: FloatArray
    predicted: FloatArray  # of the unseen half
    deviation: FloatArray  # standard deviation of unseen - predicted


@dataclass(frozen=True)
class _Rows:
    """Rows with bids, in 2 S groups: of each channel low bids, then high ones."""

    table: CampaignTable
    group: IndexArray
    count: FloatArray  # (2 S,)

    def sums(self, numbers: FloatArray) -> FloatArray:
        """Sums per group, (2 S,)."""
        return np.bincount(self.group, numbers, len(self.count)).astype(np.float64)


def _compare(table: CampaignTable, half: BoolArray, fit: bool) -> _Split:
    seen, unseen = _rows(table, half), _rows(table, ~half)
    channels = (bid_spread(table) >= MIN_BID_SPREAD) & _enough(seen) & _enough(unseen)
    split = _Split(channels, _observed(seen), _observed(unseen), *np.full((2, 2, len(channels)), np.nan))
    if not fit:
        return split
    fit_half = table.rows(half)
    prices, cpc = fit_prices(fit_half), fit_half.sums(fit_half.cost) / np.maximum(fit_half.sums(fit_half.clicks), 1.0)
    cpc = np.where(cpc > 0, cpc, 1.0)  # nothing bought: such a channel is not compared
    predicted = _predicted(unseen, prices, cpc)
    # The delta method: each of a channel's two numbers one standard error further.
    further = (
        replace(prices, logit_paid=prices.logit_paid + np.sqrt(prices.logit_paid_variance)),
        replace(prices, log_log_sd=prices.log_log_sd + np.sqrt(prices.log_log_sd_variance)),
    )
    steps = [(_predicted(unseen, other, cpc) - predicted) ** 2 for other in further]
    return replace(split, predicted=predicted, deviation=np.sqrt(sum(steps) + _noise(seen, prices, cpc)))


def _rows(table: CampaignTable, chosen: BoolArray) -> _Rows:
    assert table.bid is not None
    known = np.nan_to_num(table.bid) > 0
    log_bid = np.log(np.where(known, table.bid, 1.0))
    mean = table.sums(log_bid * known) / np.maximum(table.sums(known.astype(np.float64)), 1.0)
    group = 2 * table.segment + (log_bid > mean[table.segment])
    kept = chosen & known
    count = np.bincount(group[kept], minlength=2 * len(table.segments)).astype(np.float64)
    return _Rows(table.rows(kept), group[kept], count)


def _enough(rows: _Rows) -> BoolArray:
    """(S,) channels with enough rows, enough clicks and some cost at high and at low bids."""
    clicks, cost = rows.sums(rows.table.clicks), rows.sums(rows.table.cost)
    enough = (rows.count >= MIN_ROWS) & (clicks >= MIN_CLICKS) & (cost > 0)
    both: BoolArray = enough[::2] & enough[1::2]
    return both


def _observed(rows: _Rows) -> FloatArray:
    clicks, cost = rows.sums(rows.table.clicks), rows.sums(rows.table.cost)
    return np.stack([_log_ratio(clicks, rows.count), _log_ratio(cost, clicks)])


def _log_ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    """Log of (above / below) of high over low bids, (S,); NaN where nothing was bought."""
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.where((above > 0) & (below > 0), np.log(above / below), np.nan)
    ratio: FloatArray = log[1::2] - log[::2]
    return ratio


def _expected(rows: _Rows, prices: Prices, cpc: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(chance of winning, cost of its clicks) of each row at its own bid."""
    table = rows.table
    assert table.bid is not None
    location = lognormal_competition(cpc, prices.paid_over_bids, prices.log_sds).log_price
    shape = Lognormal(prices.log_sds[table.segment], len(table.segment))
    win, price = Pricing(shape).clearing(np.log(table.bid), location[table.segment])
    return win, table.clicks * price


def _predicted(rows: _Rows, prices: Prices, cpc: FloatArray) -> FloatArray:
    win, cost = _expected(rows, prices, cpc)
    clicks = rows.sums(rows.table.clicks)
    return np.stack([_log_ratio(rows.sums(win), rows.count), _log_ratio(rows.sums(cost), clicks)])


def _noise(rows: _Rows, prices: Prices, cpc: FloatArray) -> FloatArray:
    """Variance of such rows' observed log ratios, (2, S): by chance, and by demand and prices that differ by row."""
    win, cost = _expected(rows, prices, cpc)
    few = rows.count / np.maximum(rows.count - 1.0, 1.0)
    variances = []
    for real, expected in ((rows.table.clicks, win), (rows.table.cost, cost)):
        total = np.maximum(rows.sums(real), 1e-100)
        scale = total / np.maximum(rows.sums(expected), 1e-300)
        off = real - expected * scale[rows.group]
        of_group = few * rows.sums(off**2) / total**2
        variances.append(of_group[::2] + of_group[1::2])
    return np.stack(variances)


def _error(found: Sequence[_Split], fitted: Sequence[_Split], kind: int) -> ResponseError:
    gaps = [(split.unseen - split.predicted)[kind][split.channels] for split in fitted]
    limits = [QUANTILE * split.deviation[kind][split.channels] for split in fitted]
    inside = np.concatenate([np.abs(gap) <= limit for gap, limit in zip(gaps, limits, strict=True)])
    floors = [(split.seen - split.unseen)[kind][split.channels] for split in found]
    return ResponseError(mae=BesideFloor.error(_median_mae(gaps), _median_mae(floors)), coverage_90=inside.mean())


def _median_mae(gaps: Sequence[FloatArray]) -> float:
    return float(np.median([np.abs(gap).mean() for gap in gaps if gap.size]))


def _channels(table: CampaignTable, fitted: Sequence[_Split]) -> tuple[ChannelResponse, ...]:
    """Each channel's ratios of the unseen halves: medians over the splits that compare it."""
    rows_with_bids = _rows(table, np.ones(len(table.clicks), np.bool_))
    assert rows_with_bids.table.bid is not None
    log_bid = rows_with_bids.sums(np.log(rows_with_bids.table.bid)) / np.maximum(rows_with_bids.count, 1.0)
    bids = np.exp(log_bid[1::2] - log_bid[::2])
    rows = []
    for s, name in enumerate(table.segments):
        mine = [split for split in fitted if split.channels[s]]
        if mine:
            real, told = (
                np.exp(np.median([getattr(split, side)[:, s] for split in mine], axis=0))
                for side in ("unseen", "predicted")
            )
            rows.append(
                ChannelResponse(
                    channel=name,
                    bids=bids[s],
                    clicks=real[CLICKS],
                    predicted_clicks=told[CLICKS],
                    cpc=real[CPC],
                    predicted_cpc=told[CPC],
                )
            )
    return tuple(rows)
