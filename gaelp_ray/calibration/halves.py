"""The `held_out` block that a calibration writes: of each channel, a random half of the table's rows, as sums."""

from __future__ import annotations

import numpy as np

from gaelp_ray.calibration.fit import MIN_CLICKS
from gaelp_ray.calibration.number import SOURCE
from gaelp_ray.calibration.table import BoolArray, CampaignTable
from gaelp_ray.calibration.validation import enough, sums
from gaelp_ray.market.held_out import NUMBERS, Campaign, HeldOut
from gaelp_ray.records import FloatArray

MIN_CAMPAIGNS = 3
"""Fewer compare nothing: a correlation needs three."""


def random_halves(table: CampaignTable, seed: int, min_clicks: int = MIN_CLICKS // 2) -> HeldOut | None:
    """Halves of the channels that can be compared with their other half; None if those are fewer than MIN_CAMPAIGNS."""
    half = np.random.default_rng([seed, 2]).random(len(table.clicks)) < 0.5
    drawn = table.rows(half)
    one, other, effective = sums(drawn, None), sums(table.rows(~half), None), _effective(drawn)
    names = NUMBERS if table.revenue is not None else NUMBERS[:-1]
    rows = tuple(
        Campaign(
            name=f"half of {table.segments[s]}",
            channel=table.segments[s],
            effective_rows=effective[s],
            **dict(zip(names, one[:, s], strict=False)),
        )
        for s in np.flatnonzero(enough(one, other, min_clicks) & _funnel(one) & _funnel(other))
    )
    if len(rows) < MIN_CAMPAIGNS:
        return None
    note = f"a random half of each channel's rows: numpy.random.default_rng([{seed}, 2]).random(rows) below 0.5"
    return HeldOut(kind="parts", source=SOURCE, note=note, rows=rows)


def _funnel(totals: FloatArray) -> BoolArray:
    """Segments (S,) of (5, S) sums that could be channels."""
    possible: BoolArray = (totals[0] >= totals[1]) & (totals[1] >= totals[3])
    return possible


def _effective(table: CampaignTable) -> FloatArray:
    """(sum of clicks)^2 / sum of clicks^2 of each segment: as many equal rows would average out as well."""
    return np.maximum(table.sums(table.clicks) ** 2 / np.maximum(table.sums(table.clicks**2), 1.0), 1.0)
