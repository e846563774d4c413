"""What a finished sweep says of the other markets in which its best has flown (`select: {markets: [...]}`).

Pure. None of these flights had a part in a decision. Those of one market are the same for all arms.
"""

from __future__ import annotations

from typing import Any

from gaelp_ray.evidence.intervals import compare
from gaelp_ray.records import SCORE, Evaluation, shown
from gaelp_ray.results import Candidate, Selection
from gaelp_ray.sweep.planning.plan import SweepPlan

TOLD = (
    SCORE,
    f"{SCORE}_low",
    f"{SCORE}_high",
    "estimator",
    "roas",
    "roas_low",
    "roas_high",
    "delivery",
    "optimality",
    "cpa",
)


def record(plan: SweepPlan, selection: Selection) -> dict[str, dict[str, Any]]:
    """For selection.json, by market: its hash, the arms that flew there, and how who was kept compares with them."""
    kept = selection.winner
    if kept is None:
        return {}
    return {
        name: {"hash": market.hash, "arms": _rows(selection, name), **_versus(plan, selection, kept, name)}
        for name, market in plan.other_markets.items()
    }


def _rows(selection: Selection, market: str) -> list[dict[str, Any]]:
    found = [(arm, arm.markets[market].as_dict()) for arm in selection.ranking if market in arm.markets]
    return [{"trial": a.label, "role": a.role, **{name: flown[name] for name in TOLD}} for a, flown in found]


def _versus(plan: SweepPlan, selection: Selection, kept: Candidate, market: str) -> dict[str, dict[str, Any] | None]:
    others = {arm.role: arm for arm in selection.ranking if arm.label != kept.label}
    flown = {role: arm.markets.get(market) for role, arm in others.items()}
    mine = kept.markets.get(market)
    return {f"versus_{role}": _compared(plan, mine, flown.get(role)) for role in ("default", "reference")}


def _compared(plan: SweepPlan, mine: Evaluation | None, theirs: Evaluation | None) -> dict[str, Any] | None:
    """None without a second arm."""
    if mine is None or theirs is None:
        return None
    return compare(mine.totals, theirs.totals, plan.spec.select.confidence).as_dict()


def section(plan: SweepPlan, kept: Candidate) -> str:
    """Of card.md: what the model earns in each of the markets; empty where it flew in none."""
    if not kept.markets:
        return ""
    rows = "\n".join(_row(plan, name, flown) for name, flown in kept.markets.items())
    return f"""
## In other markets

{plan.spec.select.episodes} fresh flights in each, which decided nothing. The model keeps the beliefs of its own market.

| market | {kept.evaluation.score_name} | ROAS | delivery | optimality | cost per conversion |
|---|---|---|---|---|---|
{rows}
"""


def _row(plan: SweepPlan, name: str, flown: Evaluation) -> str:
    metrics, ends = flown.metrics, flown.score_interval
    interval = f"({flown.confidence:.0%} interval {ends.low:.3f} to {ends.high:.3f})"
    cells = (
        f"`{name}`",
        f"{shown(getattr(metrics, SCORE), '{:.3f}')} {interval}",
        shown(metrics.roas, "{:.3f}"),
        shown(metrics.delivery, "{:.1%}"),
        shown(metrics.optimality, "{:.1%}"),
        shown(metrics.cpa, "{:.2f}", plan.other_markets[name].currency),
    )
    return f"| {' | '.join(cells)} |"
