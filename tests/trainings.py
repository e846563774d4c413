"""Small trainings and an episode, and what is read of their runs, for the tests of the trainer and the tracker."""

import asyncio
import logging
from pathlib import Path

import wandb

from gaelp_ray import GAELPExperimentConfig, IntegratedGAELPTrainer, load_market
from gaelp_ray.tracking.offline import OfflineRun, offline_runs

SMALL = GAELPExperimentConfig(batch_size=4, num_episodes=12, seed=3, ppo={"hidden_size": 8})
FIXED = GAELPExperimentConfig(agent_type="constant", batch_size=4, num_episodes=8)
SHOP = GAELPExperimentConfig(env="shop:Shop", batch_size=4, num_episodes=8, ppo={"reference": "none", "minibatches": 2})
MARKET = load_market("airfrance-search")
EPISODE = {
    "total_reward": 100.0,
    "steps": 50,
    "roas": 2.5,
    "ctr": 0.03,
    "conversion_rate": 0.06,
    "total_cost": 1000,
    "total_revenue": 2500,
}


def flown(config: GAELPExperimentConfig, name: str = "trip", episodes: int | None = None) -> IntegratedGAELPTrainer:
    trainer = IntegratedGAELPTrainer(name, False, config)
    asyncio.run(trainer.train(episodes))
    return trainer


def runs(folder: Path) -> list[OfflineRun]:
    wandb.teardown()  # finish() returns a moment before the file is whole; this waits for the writer
    return offline_runs(folder / "wandb")


def by_name(folder: Path) -> dict[str, OfflineRun]:
    return {run.name: run for run in runs(folder)}


def said(caplog) -> list[str]:
    """What the user reads; wandb's own log is its own."""
    ours = [record for record in caplog.records if record.name.startswith("gaelp_ray")]
    return [record.getMessage() for record in ours if record.levelno >= logging.WARNING]


def episode_rows(run: OfflineRun) -> list[dict]:
    return [row for row in run.history if "episode/total_reward" in row]


def own(row: dict, *rooms: str) -> dict:
    return {name: value for name, value in row.items() if name.partition("/")[0] in rooms}
