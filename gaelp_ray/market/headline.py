"""What a market did in its calibration period, in a few numbers."""

from __future__ import annotations

import numpy as np

from gaelp_ray.market.market import Market


def headline(market: Market) -> dict[str, float]:
    """Pooled historical ROAS, cost per click (currency of the market), click-through and conversion rate."""
    rows, land = market.channels.rows, market.landscape
    clicks = np.array([row.clicks for row in rows])
    impressions = sum(row.impressions for row in rows)
    cost, sales = float(clicks @ land.cpc), clicks * land.conversion_rate
    return {
        "roas": float(sales @ land.order_value) / cost,
        "cpc": cost / float(clicks.sum()),
        "ctr": float(clicks.sum()) / impressions,
        "conversion_rate": float(sales.sum() / clicks.sum()),
    }
