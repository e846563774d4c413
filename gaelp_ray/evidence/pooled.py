"""The metrics that bounds may be set on, as ratios whose error is known."""

from __future__ import annotations

import numpy as np

from gaelp_ray.evidence.sequences import Ratio
from gaelp_ray.records import FlightTotals, FloatArray

SUMS = {
    "roas": ("revenue", "cost"),
    "delivered_roas": ("revenue", "outlay"),
    "expected_roas": ("expected_revenue", "cost"),
    "expected_delivered_roas": ("expected_revenue", "outlay"),
    "delivery": ("cost", "budget"),
    "ctr": ("clicks", "impressions"),
    "conversion_rate": ("conversions", "clicks"),
    "cpc": ("cost", "clicks"),
    "cpa": ("cost", "conversions"),
    "optimality": ("expected_revenue", "oracle_revenue"),
}
"""What is divided by what."""

COUNTS = {
    "bid_violations": "bids_above_cap",
    "share_violations": "shares_above_cap",
    "delivery_violations": "short_of_delivery",
    "pacing_violations": "hours_off_pace",
}
"""What is counted per flight."""


def pooled_ratio(flights: FlightTotals, metric: str) -> Ratio | None:
    """A metric of EpisodeMetrics; None where nothing was measured, or where it is no ratio of two sums."""
    if metric in COUNTS:
        return Ratio.of(_counted(flights, COUNTS[metric]), np.ones(len(flights)))
    if metric == "safety_violations":
        counted = sum((_counted(flights, name) for name in COUNTS.values()), np.zeros(len(flights)))
        return Ratio.of(counted, np.ones(len(flights)))
    if metric not in SUMS:
        return None
    above, below = (_counted(flights, name) for name in SUMS[metric])
    return Ratio.of(above, below) if below.sum() > 0 else None


def _counted(flights: FlightTotals, name: str) -> FloatArray:
    values: FloatArray = getattr(flights, name)
    return values
