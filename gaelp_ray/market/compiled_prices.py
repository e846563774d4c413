"""prices.Pricing as the structure that C reads."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from gaelp_ray.core.prices import CompiledPrices, Grid
from gaelp_ray.market.elementary import exp
from gaelp_ray.market.prices import RESPONSE_GRID, SQRT_2PI, Lognormal, Pricing, Shape, Table
from gaelp_ray.records import FloatArray


@lru_cache(maxsize=16)
def prices_in_c(pricing: Pricing, channels: int, plans: bool = False) -> CompiledPrices:
    """The prices of S channels. plans: include the best responses to first prices, which planning bidders need.

    Raises TypeError for a shape of prices that C does not know.
    """
    series, width, grid = _series(pricing.shape, channels), 0.0, None
    if isinstance(pricing.shape, Table):
        width = pricing.shape.width
    if plans and pricing.first_price:
        series, grid = series | pricing.responses, Grid(*RESPONSE_GRID)
    return CompiledPrices(series, pricing.first_price, width, grid)


def _series(shape: Shape, channels: int) -> dict[str, FloatArray]:
    if isinstance(shape, Table):
        return shape.series
    if not isinstance(shape, Lognormal):
        raise TypeError(f"the compiled core does not know prices of type {type(shape).__name__}")
    sd = np.broadcast_to(np.asarray(shape.log_sd, np.float64), channels)
    half = 0.5 * (sd * sd)
    return {
        "log_sd": sd,
        "lift_1": exp(half),
        "lift_2": exp(4.0 * half),
        "lift_3": exp(9.0 * half),
        "half_variance": half,
        "slope_scale": SQRT_2PI * sd,
    }
