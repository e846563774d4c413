"""A comparison of models as a W&B run of its own: both tables, and the verdicts as its summary."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from gaelp_ray.checkpoint import plain
from gaelp_ray.records import SCORE
from gaelp_ray.tracking.report import Destination, Report

RATIOS = (SCORE, "roas", "delivery", "optimality")
ENDS = (f"{SCORE}_low", f"{SCORE}_high", "roas_low", "roas_high")
MODEL = ("label", "model", "agent_type", *RATIOS, *ENDS, "cpa")
FOUND = ("difference", "low", "high", "probability", "verdict")


def log_comparison(to: Destination, facts: Mapping[str, Any]) -> str:
    """One run of what `gaelp-ray compare --json` prints; returns where it is, in a line for a person."""
    models, pairs = facts["models"], facts["pairs"]
    metrics = [name for name in RATIOS if any(name in pair for pair in pairs)]
    config = {name: facts[name] for name in ("market", "episodes", "seed", "confidence")}
    config["models"] = {model["label"]: model["model"] for model in models}
    report = Report.begin(to, "compare", f"compare-{secrets.token_hex(4)}", config)
    report.tabulate("models", MODEL, [[plain(model[name]) for name in MODEL] for model in models])
    columns = ["a", "b", *(f"{metric}_{name}" for metric in metrics for name in FOUND)]
    rows = [[pair["a"], pair["b"], *(pair[metric][name] for metric in metrics for name in FOUND)] for pair in pairs]
    report.tabulate("pairs", columns, rows)
    report.summarise(_summary(models, pairs) | {"best": facts["best"] or "none"})
    report.close()
    return report.where


def _summary(models: list[dict[str, Any]], pairs: list[dict[str, Any]]) -> dict[str, Any]:
    of_models = {f"{name}/{m['label']}": plain(m[name]) for m in models for name in RATIOS}
    names = ("difference", "probability", "verdict")
    return of_models | {f"{SCORE}_{n}/{p['a']}-{p['b']}": p[SCORE][n] for p in pairs if SCORE in p for n in names}
