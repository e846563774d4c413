"""Small models on disk for tests of commands that judge models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from gaelp_ray.agents import make_agent
from gaelp_ray.checkpoint import Model, save_model
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.market import Market, load_market

EVALUATION = {"roas": 10.2, "roas_low": 9.9, "roas_high": 10.6, "confidence": 0.95, "flights": 512, "delivery": 0.99}
CURVE = {
    "reference": 110.0,
    "roas": 10.8,
    "roas_error": 0.0075,
    "elasticity": -0.58,
    "elasticity_error": 0.0185,
    "deviation": 0.345,
    "misfit": 0.0,
    "low_budget": 54.6,
    "high_budget": 221.5,
}
"""ROAS by budget of a model such as EVALUATION's."""


def save(folder: str, market: Market | None = None, about: dict[str, Any] | None = None, **fields: Any) -> Path:
    """A model of an agent with these fields; BayesDual if they do not say which."""
    config = GAELPExperimentConfig(**{"agent_type": "BayesDual", **fields})
    market = market or load_market("airfrance-search")
    about = {"evaluation": EVALUATION} if about is None else about
    save_model(Path(folder), Model(make_agent(config, market.landscape), config, market, about))
    return Path(folder)


def write_log(path: str, roas: float, flights: int = 300, budget: float | None = 110.0) -> Path:
    """Observed flights of this ROAS in the long run; the same luck whatever it is."""
    dice = np.random.default_rng(3)
    lines = []
    for _ in range(flights):
        cost = float(dice.uniform(60.0, 140.0))
        row = {"cost": cost, "revenue": roas * cost * float(dice.gamma(7.0, 1 / 7.0)), "campaign": "spring"}
        lines.append(json.dumps(row | ({} if budget is None else {"budget": budget})))
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Path(path)


def write_budgets(
    path: str, budgets: tuple[float, float], left: float = 1.0, flights: int = 300, missing: int = 0
) -> None:
    """Flights with CURVE's ROAS, of which so much is `left`, and budgets between two; every `missing`th has none."""
    dice, lines = np.random.default_rng(4), []
    for number in range(flights):
        budget = float(dice.uniform(*budgets))
        roas = left * CURVE["roas"] * (budget / CURVE["reference"]) ** CURVE["elasticity"]
        row = {"cost": 0.99 * budget, "revenue": 0.99 * budget * roas * float(dice.gamma(8.4, 1 / 8.4))}
        lines.append(json.dumps(row | ({} if missing and number % missing == 0 else {"budget": budget})) + "\n")
    Path(path).write_text("".join(lines), encoding="utf-8")
