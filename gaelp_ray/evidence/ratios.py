"""How sure the pooled ratios of one agent's flights are."""

from __future__ import annotations

import math

from scipy.special import stdtrit

from gaelp_ray.evidence.pooled import SUMS, pooled_ratio
from gaelp_ray.records import FlightTotals, Interval


def intervals(totals: FlightTotals, confidence: float) -> dict[str, Interval]:
    """Of every ratio of sums that was measured: the delta method with Student's t, for one look at all flights."""
    flights = len(totals)
    if flights < 2:
        return {}
    width = float(stdtrit(flights - 1, (1.0 + confidence) / 2.0)) / math.sqrt(flights)
    measured = {name: ratio for name in SUMS if (ratio := pooled_ratio(totals, name)) is not None}
    return {
        name: Interval(ratio.value - width * ratio.deviation, ratio.value + width * ratio.deviation)
        for name, ratio in measured.items()
    }
