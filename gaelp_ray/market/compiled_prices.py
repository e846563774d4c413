"""prices.Pricing as the structure that C reads."""

from __future__ import annotations

import numpy as np

from gaelp_ray.core.prices import CompiledPrices
from gaelp_ray.market.elementary import exp
from gaelp_ray.market.prices import Lognormal, Pricing, Table


def prices_in_c(pricing: Pricing, channels: int) -> CompiledPrices:
    """The prices of so many channels. Raises TypeError for a shape of prices that C does not know."""
    shape = pricing.shape
    if isinstance(shape, Table):
        return CompiledPrices(shape.series, pricing.first_price, shape.width)
    if not isinstance(shape, Lognormal):
        raise TypeError(f"the compiled core does not know prices of type {type(shape).__name__}")
    sd = np.broadcast_to(np.asarray(shape.log_sd, np.float64), channels)
    half = 0.5 * (sd * sd)
    series = {"log_sd": sd, "lift_1": exp(half), "lift_2": exp(4.0 * half), "lift_3": exp(9.0 * half)}
    return CompiledPrices(series, pricing.first_price)
