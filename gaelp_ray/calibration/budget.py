"""The budget of a flight: what the campaigns spent per week, or less where the market could not spend that."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gaelp_ray.calibration.number import Number
from gaelp_ray.market.landscape import Landscape
from gaelp_ray.market.spend import largest_spend

SURE = 0.95
"""Share of flights that can spend the highest budget that a flight may draw, at the highest bids."""

FEW_CLICKS = 25
"""Flights that buy fewer fail to spend their budget by chance. BayesDual delivered 0.92 to 0.96 of budgets of 9 to 19
clicks, 0.97 of one of 25 and 0.98 of one of 157 (docs/decisions/028-price-response.md)."""


@dataclass(frozen=True)
class Budget:
    """A flight's budget, and the lines that say why it is that much."""

    number: Number
    remarks: tuple[str, ...]


def choose_budget(landscape: Landscape, weekly: Number, asked: float | None) -> Budget:
    """The budget to write into a market file.

    Args:
        landscape: of the calibrated market, whatever its budget is.
        weekly: what the channels spent per week.
        asked: the budget given by the user, taken as it is.

    A flight draws its budget within exp(+-budget_log_range) of the market's. Unless a budget was given, it is at most
    the one at which SURE of the flights with the highest draw can spend theirs.
    """
    largest, highest = largest_spend(landscape), math.exp(landscape.budget_log_range)
    sure = _round_down(largest.quantile(1.0 - SURE) / highest)
    bound = f"the market can spend {_amount(largest.mean)} per flight at the highest bids"
    if asked is not None:
        number = Number(asked, "assumed", "given on the command line")
        line = f"budget of a flight: {_amount(asked)}, given on the command line; {bound}"
        if asked > sure:
            draws = f"flights draw up to {highest:.2f} x the budget"
            line = f"warning: --budget {_amount(asked)}: too large: {bound}, and {draws}: give {_amount(sure)} or less"
    elif weekly.value <= sure:
        number, line = weekly, f"budget of a flight: {_amount(weekly.value)}, {weekly.note}; {bound}"
    else:
        why = (
            f"{sure / largest.mean:.0%} of the {_amount(largest.mean)} that the market can spend per flight at the "
            f"highest bids, so that {SURE:.0%} of flights can spend {highest:.2f} x the budget, "
            "the highest that they draw"
        )
        number = Number(sure, weekly.source, why)
        spent = f"{_amount(weekly.value)} is {weekly.note}"
        line = f"budget of a flight: {_amount(sure)}, {why}; {spent} (--budget sets another)"
    clicks = number.value / _cpc(landscape)
    if clicks >= FEW_CLICKS:
        return Budget(number, (line,))
    few = f"warning: {_amount(number.value)} buys about {clicks:.0f} clicks: flights of fewer than {FEW_CLICKS} clicks"
    return Budget(number, (line, f"{few} fail to spend their budget by chance; lower `select.min_delivery`"))


def _cpc(landscape: Landscape) -> float:
    """Mean price of a click at the historical bids, over all channels."""
    win = landscape.pricing.shape.win(np.log(landscape.bid) - landscape.log_price)
    return float(np.average(landscape.cpc, weights=landscape.volume * landscape.ctr * win))


def _amount(money: float) -> str:
    """Four digits, or all before the point: as it can be typed after --budget."""
    return f"{money:.0f}" if money >= 1000.0 else f"{money:.4g}"


def _round_down(amount: float) -> float:
    """Two significant digits."""
    unit = 10.0 ** (math.floor(math.log10(amount)) - 1)
    return float(f"{math.floor(amount / unit * (1.0 + 1e-12)) * unit:.2g}")
