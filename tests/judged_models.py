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
