"""Table to market: what every number of the market file is, and where it comes from.

pool() makes channels of segments that say enough; estimate() finds the parameters. document.py writes them down.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gaelp_ray.calibration import spread
from gaelp_ray.calibration.number import SOURCE, Number
from gaelp_ray.calibration.prices import Prices, fit_prices
from gaelp_ray.calibration.table import BoolArray, CampaignTable
from gaelp_ray.errors import TableError
from gaelp_ray.records import FloatArray

MIN_CLICKS = 50
"""Clicks that a segment needs to be a channel of its own: the rates of fewer are mostly chance."""

OTHER = "other"


@dataclass(frozen=True)
class Pooled:
    """A table whose segments are the market's channels, and what became of the small ones."""

    table: CampaignTable
    pooled: tuple[str, ...]  # segments that became `other`
    dropped: tuple[str, ...]  # that did not suffice even together

    def sentences(self) -> list[str]:
        """What was done, for a person."""
        why = f"fewer than {MIN_CLICKS} clicks, or nothing sold"
        said = []
        if self.pooled:
            said.append(f"pooled into {OTHER!r} ({why}): {_listed(self.pooled)}")
        if self.dropped:
            said.append(f"left out ({why}, even together): {_listed(self.dropped)}")
        return said


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def pool(table: CampaignTable) -> Pooled:
    """Pool segments that calibrate nothing by themselves. Raises TableError: fewer than two channels, or no funnel."""
    where = table.origin.name
    if table.clicks.sum() == 0:
        raise TableError(
            f"{where}: no row has a click ({table.origin.columns['clicks']}): there is nothing to calibrate"
        )
    if len(table.segments) == 1:
        raise TableError(
            f"{where}: only one segment, {table.segments[0]!r} in {' / '.join(table.origin.segment_columns)}: a market "
            "needs two channels or more, choose other columns with --segment"
        )
    small = ~_suffices(table)
    names = [name for name, few in zip(table.segments, small, strict=True) if few]
    merged = _relabelled(table, small)
    enough = _suffices(merged)
    kept = merged.rows(enough[merged.segment])
    places = np.cumsum(enough) - 1
    labels = tuple(name for name, ok in zip(merged.segments, enough, strict=True) if ok)
    kept = replace(kept, segments=labels, segment=places[kept.segment])
    if len(labels) < 2:
        raise TableError(
            f"{where}: {len(labels)} of {len(table.segments)} segments have {MIN_CLICKS} clicks and a sale, a market "
            "needs two channels or more: choose coarser columns with --segment"
        )
    _check_funnel(kept)
    other_stays = not names or bool(enough[-1])
    return Pooled(kept, tuple(names) if other_stays else (), () if other_stays else tuple(names))


def _suffices(table: CampaignTable) -> BoolArray:
    enough = (
        (table.sums(table.clicks) >= MIN_CLICKS) & (table.sums(table.cost) > 0) & (table.sums(table.conversions) > 0)
    )
    return enough if table.revenue is None else enough & (table.sums(table.revenue) > 0)


def _relabelled(table: CampaignTable, small: BoolArray) -> CampaignTable:
    """The small segments as one, the last."""
    if not small.any():
        return table
    keep = [name for name, few in zip(table.segments, small, strict=True) if not few]
    other = OTHER if OTHER not in keep else f"{OTHER} (pooled)"
    places = np.where(small, len(keep), np.cumsum(~small) - 1)
    return replace(table, segments=(*keep, other), segment=places[table.segment])


def _check_funnel(table: CampaignTable) -> None:
    clicks, conversions = table.sums(table.clicks), table.sums(table.conversions)
    for name, few, many in zip(table.segments, clicks, conversions, strict=True):
        if many > few:
            column = table.origin.columns.get("conversions", "conversions")
            raise TableError(
                f"{table.origin.name}: segment {name!r} has {many:g} conversions ({column}) of {few:g} clicks: choose "
                "a column of conversions that follow clicks with --columns conversions=NAME, or coarser segments"
            )


@dataclass(frozen=True)
class Estimates:
    """What a table says about prices and orders, and how its rows differ."""

    prices: Prices
    order_value_shape: Number
    ctr_variation: float  # coefficients of variation between rows, beyond chance
    cpc_variation: float
    conversion_rate_variation: float


def estimate(table: CampaignTable) -> Estimates:
    """Every parameter that is not a sum; what the table cannot tell is assumed and says so."""
    prices = fit_prices(table)
    clicks, impressions = table.sums(table.clicks), table.sums(table.impressions)
    ctr, rate = _ratio(clicks, impressions), _ratio(table.sums(table.conversions), clicks)
    price = _ratio(table.sums(table.cost), clicks) * spread.price_variation(prices.log_sds, prices.paid_over_bids)
    return Estimates(
        prices=prices,
        order_value_shape=_order_shape(table),
        ctr_variation=spread.row_variation(table, table.impressions, table.clicks, ctr * (1.0 - ctr)),
        cpc_variation=spread.row_variation(table, table.clicks, np.where(table.clicks > 0, table.cost, 0.0), price**2),
        conversion_rate_variation=spread.row_variation(
            table,
            table.clicks,
            np.where(table.clicks > 0, table.conversions, 0.0),
            np.maximum(rate * (1.0 - rate), 0.0),
        ),
    )


def _ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    """above / below, and 0 where nothing was measured."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def _order_shape(table: CampaignTable) -> Number:
    found = spread.order_shape(table)
    if found is None:
        return Number(2.11486, "assumed", "gamma; measured on airfrance-search")
    return Number(found, SOURCE, "gamma by moments over rows with orders")
