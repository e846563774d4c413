"""One training in one process, without Ray: trained, tracked, evaluated, and continued after whatever ended it.

The loop is training.train(), the same as in a sweep's trial. Start at IntegratedGAELPTrainer.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np

from gaelp_ray.calibration.held_out import compare_held_out
from gaelp_ray.checkpoint import Model
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.errors import MarketError
from gaelp_ray.evidence.intervals import compare
from gaelp_ray.market import Market
from gaelp_ray.market.headline import headline
from gaelp_ray.progress import Checkpoints, Progress
from gaelp_ray.records import SCORE, Evaluation
from gaelp_ray.tracking.bar import TrainingBar
from gaelp_ray.tracking.tracker import GAELPWandbTracker
from gaelp_ray.tracking.values import file_name
from gaelp_ray.training import Iteration, Stream, evaluate, fly_as_trained, train
from gaelp_ray.worlds import reference_for, training_flights, untrained, world_of

BATCH = 10
"""Episodes of one row of batch statistics, and flights per iteration where no configuration says otherwise."""

SAVE_SECONDS, SAVE_SHARE = 5.0, 0.05
"""Training time that a crash may cost; more where saving would take a larger share of it, as after 100,000 episodes."""

REFERENCE = "BayesDual"

BLOCKS, COMPARED = 10, 1000
"""Of a long training, BayesDual flies about COMPARED flights: whole batches, of at least BLOCKS stages."""


class IntegratedGAELPTrainer:
    """Trains one agent and tells W&B and the person about it.

    Args:
        experiment_name: names the run, the local results and the checkpoints; an experiment of the same name goes on
            from its last checkpoint. Without one, a new name is made.
        enable_wandb: False: no W&B run; local results and checkpoints are written either way.
        config: what is trained, and how; by default PPO on airfrance-search in batches of ten flights.
        folder: where the checkpoints of all experiments lie.

    Raises ConfigError or MarketError for a configuration that cannot be trained, StorageError where the experiment's
    checkpoint is that of another configuration, ModelError where it is damaged.
    """

    def __init__(
        self,
        experiment_name: str | None = None,
        enable_wandb: bool = True,
        config: GAELPExperimentConfig | None = None,
        folder: str | Path = "gaelp_checkpoints",
    ) -> None:
        self.enable_wandb = enable_wandb
        self.config = config or GAELPExperimentConfig(batch_size=BATCH)
        self.world = world_of(self.config)
        self.agent = untrained(self.world, self.config)
        self._env = training_flights(self.world, self.config)
        self.results: list[dict[str, Any]] = []
        self._iterations = 0
        self._bidder = reference_for(self.world)
        self._reference: dict[int, dict[str, Any]] = {}  # BayesDual's episodes by number
        self.picture: Path | None = None  # of the learning curve, once finished
        self.experiment_name = experiment_name or GAELPWandbTracker.new_name()
        self.checkpoints = Checkpoints(Path(folder) / file_name(self.experiment_name))
        before = self.checkpoints.load(self.config)
        mode: Any = "auto" if enable_wandb else "disabled"
        tags = ["GAELP", self.config.agent_type]
        self.tracker = GAELPWandbTracker(experiment_name=self.experiment_name, config=self.config, tags=tags, mode=mode)
        if isinstance(self.world, Market):
            facts = {"market": self.world.name, "hash": self.world.hash} | headline(self.world)
            self.tracker.log_environment_calibration(facts)
        if before:
            self._go_on_from(before)

    def _go_on_from(self, before: Progress) -> None:
        """The run of this process shows the episodes of earlier ones, too."""
        self.agent, self._iterations = before.model.agent, before.iterations
        self._reference = {episode["episode"]: episode for episode in before.reference}
        self._record(before.episodes)

    async def train(self, num_episodes: int | None = None) -> list[dict[str, Any]]:
        """Train until so many episodes have been flown in all; returns one dict per episode, None for the unmeasured.

        Args:
            num_episodes: default the configuration's; rounded up to full batches of `batch_size` flights. What earlier
                calls and the last checkpoint have flown counts: with nothing left to fly, nothing is trained. Learners
                with a schedule (PPO's step size) follow that of the number they were asked for at the time.

        Other tasks of the event loop get their turn after every batch of flights.
        """
        self.config = self.config.replace({"num_episodes": num_episodes} if num_episodes is not None else {})
        self.tracker.update_config({"num_episodes": self.config.num_episodes})
        saved, pause = time.monotonic(), SAVE_SECONDS
        asked = self.config.iterations * self.config.batch_size
        with TrainingBar(self.experiment_name, max(asked, len(self.results))) as bar:
            bar.advanced(self.results)
            try:
                for iteration in train(self._env, self.agent, self.config, self._iterations):
                    self._take(iteration)
                    bar.advanced(self.results)
                    if (now := time.monotonic()) - saved > pause:
                        self._save()
                        saved = time.monotonic()
                        pause = max(SAVE_SECONDS, (saved - now) / SAVE_SHARE)
                    await asyncio.sleep(0)
            except asyncio.CancelledError:  # Ctrl-C arrives here, between two batches
                self._save()
                raise
        self._save()
        return list(self.results)

    def _take(self, iteration: Iteration) -> None:
        self._iterations = iteration.number
        if iteration.number in self._compared(self.config.iterations):
            self._fly_reference(iteration.number)
        self._record(iteration.episodes(first=len(self.results) + 1))
        self.tracker.log_learning_metrics(len(self.results), iteration.learning)

    def _record(self, episodes: list[dict[str, Any]]) -> None:
        """Log episodes, and the statistics of every ten."""
        for episode in episodes:
            self.results.append(episode)
            self._log(episode)
            if len(self.results) % BATCH == 0:
                batch = self.results[-BATCH:]
                reference = [self._reference[e["episode"]] for e in batch if e["episode"] in self._reference]
                # Paired flight by flight: a batch of which BayesDual flew only some has no comparison.
                self.tracker.log_batch_metrics(batch, BATCH, reference if len(reference) == BATCH else ())

    def _log(self, episode: dict[str, Any]) -> None:
        counts = {name: episode[f"total_{name}"] for name in ("impressions", "clicks", "conversions")}
        self.tracker.log_episode_metrics(
            episode=episode["episode"],
            total_reward=episode["total_reward"],
            steps=episode["steps"],
            roas=episode["final_roas"],
            ctr=episode["ctr"],
            conversion_rate=episode["conversion_rate"],
            total_cost=episode["total_cost"],
            total_revenue=episode["total_revenue"],
            avg_cpc=episode["avg_cpc"],
            additional_metrics=counts | {name: episode[name] for name in ("delivery", "optimality")},
        )

    def _save(self) -> None:
        about = {"experiment": self.experiment_name, "episodes": len(self.results)}
        model = Model(self.agent, self.config, self.world, about)
        self.checkpoints.save(Progress(model, self._iterations, self.results, list(self._reference.values())))

    def evaluate(self, episodes: int = 512) -> dict[str, Any]:
        """The agent and BayesDual on the same fresh flights: pooled metrics, and the difference in SCORE.

        Logged under `evaluation/`. An environment of the user's own has no reference bidder.
        """
        flown = self._fly(self.agent, episodes)
        facts: dict[str, Any] = {"episodes": episodes, "agent": flown.as_dict()}
        if self._bidder:
            other = self._fly(self._bidder, episodes)
            ahead = compare(flown.totals, other.totals, flown.confidence)
            facts["reference"] = {"name": REFERENCE} | other.as_dict()
            facts[f"{SCORE}_difference"] = ahead.as_dict()
        self.tracker.log_evaluation_metrics(facts | facts["agent"])
        return facts

    def _fly(self, agent: Any, episodes: int) -> Evaluation:
        return evaluate(agent, self.world, episodes, [self.config.seed, Stream.EVALUATION])

    def reference_episodes(self) -> list[dict[str, Any]]:
        """What BayesDual makes of the flights trained on; of a long training, of evenly chosen batches.

        One dict per flight as train() returns, so that single episodes can be compared; none for an own environment.
        """
        numbers, size = self._compared(self._iterations), self.config.batch_size
        for number in numbers:
            self._fly_reference(number)
        return [self._reference[(number - 1) * size + i] for number in numbers for i in range(1, size + 1)]

    def _compared(self, iterations: int) -> list[int]:
        """Which of so many iterations BayesDual flies, too: all, or of a long training about COMPARED flights."""
        if self._bidder is None or not iterations:
            return []
        count = min(iterations, BLOCKS * max(1, COMPARED // (BLOCKS * self.config.batch_size)))
        numbers: list[int] = np.unique(np.linspace(1, iterations, count).round().astype(int)).tolist()
        return numbers

    def _fly_reference(self, number: int) -> None:
        """Fly an iteration's flights with BayesDual, once. Seeds determine all flights: training is not affected."""
        first = (number - 1) * self.config.batch_size + 1
        if self._bidder is not None and first not in self._reference:
            flown = fly_as_trained(self._env, self._bidder, self.config, number)
            self._reference |= {episode["episode"]: episode for episode in flown.episodes(first)}

    def evaluate_on_real_data(self, n_samples: int = 100) -> dict[str, Any]:
        """How well the calibrated market repeats real campaigns that it was not calibrated on.

        Of ROAS, CTR, CPC and conversion rate: `roas_mae`, `roas_rmse`, `roas_correlation`, each beside its
        `..._noise_floor`, and the share of campaigns within 1.0 of their real ROAS (calibration/held_out.py says how).
        It judges the market, not the agent. Logged under `evaluation/`.

        Args:
            n_samples: simulated replicates of each campaign.

        Raises MarketError for a market without held-out campaigns, and for an environment of the user's own.
        """
        if not isinstance(self.world, Market):
            raise MarketError(f"the environment {self.world.name!r} has no real campaigns to be compared with")
        found = compare_held_out(self.world, n_samples, self.config.seed).as_dict()
        self.tracker.log_evaluation_metrics(found)
        return found

    def finish_training(self, results: list[dict[str, Any]] | None = None) -> Path | None:
        """Write the local backup, log model and learning curve, and close the run; returns the backup's path.

        Beside the JSON lies the learning curve as `gaelp_learning_curve_<experiment_name>.png`.
        """
        written = self.tracker.save_local_results(self.results if results is None else results)
        flown = self.reference_episodes()
        reference = {f"{REFERENCE}, same flights": [_row(episode) for episode in flown]} if flown else {}
        picture = f"gaelp_learning_curve_{file_name(self.experiment_name)}.png"
        self.picture = self.tracker.log_learning_curve(reference, picture)
        if self.checkpoints.last:
            self.tracker.log_model_artifacts(self.checkpoints.last)
        self.tracker.finish()
        return written


def _row(episode: dict[str, Any]) -> dict[str, Any]:
    """An episode under the names of the tracker's rows, as far as the learning curve shows it."""
    named = {
        "episode/number": episode["episode"],
        "episode/total_reward": episode["total_reward"],
        "performance/roas": episode["final_roas"],
        "custom/optimality": episode["optimality"],
    }
    return {name: value for name, value in named.items() if value is not None}
