"""Delivery, before anything is flown: budgets that the market cannot take, and a metric that ignores them."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gaelp_ray.market import Market
from gaelp_ray.market.spend import largest_delivery
from gaelp_ray.sweep.planning.plan import SweepPlan


def largest_delivery_of(plan: SweepPlan) -> float | None:
    """Share of the budgets that the highest bids spend, 0..1; None in an environment of one's own."""
    return largest_delivery(plan.market.landscape) if isinstance(plan.market, Market) else None


def delivery_remarks(plan: SweepPlan) -> Iterator[str]:
    """Why a sweep may end without a winner, or search for arms that spend little; each with its remedy."""
    largest, bound = largest_delivery_of(plan), plan.spec.select.min_delivery
    if largest is None:
        return
    if largest < bound:
        lower = math.floor(100.0 * largest) / 100.0
        yield (
            f"select.min_delivery: at the highest bids, {plan.market.name} takes {largest:.1%} of its budgets, below "
            f"{bound:.0%}: no trial can be eligible. Give the market a budget that it can spend (`gaelp-ray calibrate "
            f"--budget`), or accept less with `--set select.min_delivery={lower:g}`"
        )
    if plan.spec.metric.name == "roas" and plan.goal == "maximize":
        yield (
            "metric.name: roas rises when a trial spends less, so the search favours trials that leave budget unspent; "
            "the final stage ranks by the return on the whole budget. Search by it with "
            "`--set metric.name=delivered_roas`"
        )
