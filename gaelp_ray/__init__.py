"""Distributed hyperparameter sweeps for agents that buy advertising.

The public names. Ray and wandb are imported only where a sweep or a tracker needs them: an agent can be loaded and
flown without them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.market import Market, load_market
from gaelp_ray.simulator import AdCampaignEnv, AdCampaignVectorEnv

if TYPE_CHECKING:
    from gaelp_ray.retrieval import load_best
    from gaelp_ray.sweep.format.load import load_sweep
    from gaelp_ray.sweep.pipeline import run_sweep
    from gaelp_ray.tracking.tracker import GAELPWandbTracker, create_experiment_tracker
    from gaelp_ray.trainer import IntegratedGAELPTrainer

__all__ = [
    "AdCampaignEnv",
    "AdCampaignVectorEnv",
    "GAELPExperimentConfig",
    "GAELPWandbTracker",
    "IntegratedGAELPTrainer",
    "Market",
    "create_experiment_tracker",
    "load_best",
    "load_market",
    "load_sweep",
    "run_sweep",
]

_LAZY = {
    "GAELPWandbTracker": "gaelp_ray.tracking.tracker",
    "IntegratedGAELPTrainer": "gaelp_ray.trainer",
    "create_experiment_tracker": "gaelp_ray.tracking.tracker",
    "load_best": "gaelp_ray.retrieval",
    "load_sweep": "gaelp_ray.sweep.format.load",
    "run_sweep": "gaelp_ray.sweep.pipeline",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
