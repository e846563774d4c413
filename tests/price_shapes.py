"""Every kind of competing prices, at random."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from gaelp_ray.market import Landscape
from gaelp_ray.market.prices import Lognormal, Table


def of_channels(landscape: Landscape, channels: int) -> Landscape:
    """The landscape with so many channels, again and again those it has."""
    pick = np.arange(channels) % landscape.channels
    names = [field.name for field in fields(landscape)]
    per_channel = [name for name in names if np.shape(getattr(landscape, name)) == (landscape.channels,)]
    return replace(landscape, **{name: getattr(landscape, name)[pick] for name in per_channel})


def a_table(rng, rows):
    """Prices up to 6 in 37 bins, some of them and the first ones empty; up to half of the auctions cannot be won."""
    shares = rng.gamma(0.5, 1.0, (rows, 37)) * (rng.random((rows, 37)) < 0.7)
    shares[:, :2] = 0.0
    chances = np.pad(np.cumsum(shares, axis=1), ((0, 0), (1, 0)))
    return Table(6.0 / 37.0, chances / chances[:, -1:] * rng.uniform(0.5, 1.0, (rows, 1)))


SHAPES = {
    "one spread": lambda rng, channels: Lognormal(0.8),
    "spreads": lambda rng, channels: Lognormal(np.exp(rng.uniform(-3.0, 1.0, channels)), channels),
    "one table": lambda rng, channels: a_table(rng, 1),
    "tables": a_table,
}
