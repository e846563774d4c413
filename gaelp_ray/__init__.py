"""Distributed hyperparameter sweeps for agents that buy advertising.

The public names. Ray and wandb are imported only when a sweep is run: an agent can be loaded and flown without them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.market import Market, load_market
from gaelp_ray.simulator import AdCampaignEnv, AdCampaignVectorEnv

if TYPE_CHECKING:
    from gaelp_ray.sweep.load import load_sweep
    from gaelp_ray.sweep.pipeline import run_sweep
    from gaelp_ray.sweep.store import load_best

__all__ = [
    "AdCampaignEnv",
    "AdCampaignVectorEnv",
    "GAELPExperimentConfig",
    "Market",
    "load_best",
    "load_market",
    "load_sweep",
    "run_sweep",
]

_LAZY = {
    "load_best": "gaelp_ray.sweep.store",
    "load_sweep": "gaelp_ray.sweep.load",
    "run_sweep": "gaelp_ray.sweep.pipeline",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
