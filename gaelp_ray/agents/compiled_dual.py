"""BayesDual's Planner in C where that can be: the same bits, several times faster."""

from __future__ import annotations

from typing import Any

import numpy as np

from gaelp_ray.agents.beliefs import FilteredVolumes, Prices, Values, Volumes
from gaelp_ray.core.dual import CompiledDual, Known
from gaelp_ray.core.library import load
from gaelp_ray.market import Landscape
from gaelp_ray.market.compiled_prices import prices_in_c
from gaelp_ray.market.elementary import exp, log, total
from gaelp_ray.market.landscape import DAYS
from gaelp_ray.records import FloatArray
from gaelp_ray.sections import DualConfig


def compiled_planner(config: DualConfig, market: Landscape, flights: int) -> CompiledDual | None:
    """A Planner of so many flights in C; None where numpy plans."""
    library = load().library
    if library is None:
        return None
    values, volumes = Values(config, market, flights), Volumes(config, market, flights)
    constants = {
        "volume_prior": volumes.prior,
        **{
            name: getattr(config, name)
            for name in ("optimism", "shade", "pacing_shade", "traffic_use", "forgetting", "price_tracking")
        },
        "drift_tracking": config.drift_tracking,
        "day_variance": 0.0,
        "hour_variance": 0.0,
    }
    first = {"prior_sales": values.prior[0].T, "prior_clicks": values.prior[1].T}
    if config.traffic == "filter":
        filtered = FilteredVolumes(config, market, flights)
        constants |= {"day_variance": filtered.day_variance, "hour_variance": filtered.hour_variance}
        first |= filtered.first()
    return CompiledDual(
        library,
        Known(
            prices_in_c(market.pricing, market.channels, plans=True),
            _channels(market, volumes) | {"decay": Prices(config, market).decay, "traffic_ahead": volumes.ahead},
            _numbers(config, market),
        ),
        {name: _of_each(value, flights) for name, value in constants.items()},
        first,
        config.traffic == "filter",
    )  # fmt: skip


def _of_each(constant: Any, flights: int) -> FloatArray:
    """A number, or one for each flight, (B, 1), as (B,)."""
    return np.broadcast_to(np.ravel(np.asarray(constant, np.float64)), flights)


def _channels(market: Landscape, volumes: Volumes) -> dict[str, FloatArray | None]:
    prior, capped = market.conversion_prior_clicks, not (market.spend_cap >= 1.0).all()
    return {
        "log_price": market.log_price,
        "log_cpc": log(market.cpc),
        "log_bid": log(market.bid),
        "ctr": market.ctr,
        "clicks_per_day": volumes.calibrated,
        "conversion_rate": market.conversion_rate,
        "rate_prior_clicks": prior,
        "rate_prior_sales": market.conversion_rate * prior,
        "order_value": market.order_value,
        "calibrated_gap": log(market.value) - market.log_price,
        "calibrated_scale": market.volume * market.ctr * total(market.traffic[None]) * exp(market.log_price),
        "tiring": -market.fatigue_rate / (DAYS * market.volume) if market.fatigue_rate else None,
        "spend_cap": market.spend_cap if capped else None,
    }


def _numbers(config: DualConfig, market: Landscape) -> dict[str, float]:
    drift = market.conversion_rate_drift
    return {
        "mean_budget": market.budget,
        "waits": 1.0 - market.report_rate,
        "price_autocorrelation": market.price_autocorrelation,
        "drift_variance": drift * drift if np.any(config.drift_tracking) else 0.0,
        "action_scale": market.action_scale,
    }
