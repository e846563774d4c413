"""What a model's artifact says of it, and how sure each of its numbers is.

Pure: records in, plain values out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.evidence.ratios import intervals
from gaelp_ray.records import RATIOS, SCORE, Evaluation
from gaelp_ray.sweep.planning.plan import SweepPlan, flat


def ends(evaluation: Evaluation) -> dict[str, list[float]]:
    """[low, high] of every ratio that has an interval; those of ROAS and SCORE are resampled."""
    found = intervals(evaluation.totals, evaluation.confidence)
    found |= {"roas": evaluation.roas_interval, SCORE: evaluation.score_interval}
    return {name: [end.low, end.high] for name, end in found.items()}


def within(evaluation: Evaluation, name: str, form: str) -> str:
    """The interval of a metric as it stands behind its value, such as ` (1.20 to 1.40)`; empty where it has none."""
    low, high = ends(evaluation).get(name, (None, None))
    return "" if low is None else f" ({form.format(low)} to {form.format(high)})"


def metadata(plan: SweepPlan, record: Mapping[str, Any], origin: Mapping[str, Any]) -> dict[str, Any]:
    """What W&B keeps beside the artifact, from what selection.json and provenance.json hold.

    W&B takes no more than 100 keys, nested ones included: of the configuration there is what differs from the defaults.
    """
    winner, defaults = record["winner"], flat(GAELPExperimentConfig().to_dict())
    earned, config = winner["evaluation"], flat(winner["config"])
    return {
        **{name: winner[name] for name in ("trial", "role", "params")},
        "agent": config["agent_type"],
        "config": {name: value for name, value in config.items() if value != defaults.get(name)},
        "seeds": _seeds(plan, record),
        "metrics": {name: earned.get(name) for name in ("flights", *RATIOS, "confidence")},
        "intervals": winner.get("intervals") or {"roas": [earned["roas_low"], earned["roas_high"]]},
        **{name: record.get(name) for name in ("decision", "rule", "tied")},
        "market": {"name": plan.market.name, "hash": plan.market.hash},
        **{name: origin.get(name) for name in ("git", "versions")},
    }


def _seeds(plan: SweepPlan, record: Mapping[str, Any]) -> dict[str, Any]:
    """The sweep's own, those that the configuration was trained on, and that of the weights."""
    winner = record["winner"]
    trained = next((row.get("seeds", 0) for row in record["leaderboard"] if row["trial"] == winner["trial"]), 0)
    kept = (winner.get("weights") or {}).get("seed")
    return {"sweep": plan.spec.seed, "trial": list(plan.seeds[:trained]), "model": kept}
