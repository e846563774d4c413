"""Calibrated markets: the numbers and their sources, the arithmetic of an auction hour, what a bidder sees."""

from gaelp_ray.market.landscape import Landscape
from gaelp_ray.market.market import Market, load_market, market_names

__all__ = ["Landscape", "Market", "load_market", "market_names"]
