"""The tracker of a single training, with the calls that GAELP's users know.

Every log_* method builds a row and hands it to `_log`; W&B and its failures are SingleRun's business alone, so that
tracking never stops a training. Start at GAELPWandbTracker.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from gaelp_ray.checkpoint import write_json
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.tracking.curve import Reference, learning_curve, png_image
from gaelp_ray.tracking.rows import batch_row, episode_row, paired_row, summary
from gaelp_ray.tracking.single import SingleRun
from gaelp_ray.tracking.system import system_facts
from gaelp_ray.tracking.values import Sifted, file_name, number, readable, sift

logger = logging.getLogger(__name__)

Config = Mapping[str, Any] | GAELPExperimentConfig


class GAELPWandbTracker:
    """One W&B run: online with a key and an answering server, otherwise offline in ./wandb.

    `anonymous` is kept for the documented signature: either way the tracker works without an account. `run` is
    W&B's run, None where there is none; `episode_metrics` are the rows of all episodes so far. `mode` is W&B's:
    `offline` asks no server, `disabled` makes no run; `auto` and `online` are the same here, for no server stops a
    training.
    """

    def __init__(  # noqa: PLR0913  # the documented signature, and the mode
        self,
        project_name: str = "gaelp-rl-training",
        experiment_name: str | None = None,
        config: Config | None = None,
        tags: Sequence[str] | None = None,
        anonymous: bool = True,
        *,
        mode: Literal["auto", "online", "offline", "disabled"] = "auto",
    ) -> None:
        self.project_name = project_name
        self.experiment_name = experiment_name or self.new_name()
        self.config = _as_dict(config or {})
        self.tags = list(tags or ())
        self.anonymous = anonymous
        self.episode_metrics: list[dict[str, Any]] = []
        self._log_of_run = SingleRun.start(
            project_name, self.experiment_name, tuple(self.tags), readable(self.config) | system_facts(), mode
        )
        self.run = self._log_of_run.run
        self._step = 0
        self._names_at_step: set[str] = set()
        self._warned: set[str] = set()
        self._first_batch: dict[str, Any] = {}
        self._episodes_drawn = 0

    @staticmethod
    def new_name() -> str:
        """A name that no other experiment has."""
        return f"gaelp_training_{datetime.now():%Y%m%d_%H%M%S}_{secrets.token_hex(3)}"

    def update_config(self, values: Config) -> None:
        """Replace or add keys of the config, here and in the run."""
        changed = _as_dict(values)
        self.config |= changed
        self._log_of_run.configure(readable(changed))

    def log_training_config(self, config: Config) -> None:
        """Add `training` to the run's config."""
        self._log_of_run.configure({"training": readable(_as_dict(config))})

    def log_hyperparameters(self, hyperparams: Config) -> None:
        """Add `hyperparameters` to the run's config."""
        self._log_of_run.configure({"hyperparameters": readable(_as_dict(hyperparams))})

    def log_environment_calibration(self, calibration_data: Mapping[str, Any]) -> None:
        """Numbers and texts under `calibration/`; what is nested gets a name for each level."""
        self._log(sift(calibration_data, "calibration", texts=True))

    def log_episode_metrics(  # noqa: PLR0913, PLR0917  # the documented signature
        self,
        episode: int,
        total_reward: float,
        steps: int,
        roas: float | None,
        ctr: float | None,
        conversion_rate: float | None,
        total_cost: float,
        total_revenue: float,
        avg_cpc: float | None = None,
        additional_metrics: Mapping[str, Any] | None = None,
    ) -> None:
        """One episode; None says that nothing was measured. `additional_metrics` go under `custom/`.

        With `conversions` (or `avg_cpc`, from which they follow) among them there is a cost per conversion.
        """
        core = {"number": episode, "total_reward": total_reward, "steps": steps}
        performance = {
            "roas": roas,
            "ctr": ctr,
            "conversion_rate": conversion_rate,
            "cost": total_cost,
            "revenue": total_revenue,
            "cpc": avg_cpc,
        }
        row = episode_row(core, performance, additional_metrics or {})
        self.episode_metrics.append(row.good)
        self._log(row, episode)

    def log_batch_metrics(
        self,
        episode_batch: Sequence[Mapping[str, Any]],
        batch_size: int = 10,
        reference: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Statistics of a batch of episodes; `batch_size` is what the names say, as in `batch/avg_reward_10ep`.

        `reference`: BayesDual's episodes on the same flights, in the same order, for `batch/roas_vs_bayesdual`.
        """
        if not episode_batch:
            return
        row = batch_row(episode_batch, batch_size, self._first_batch)
        self._first_batch = self._first_batch or row.good
        episode = number(episode_batch[-1].get("episode"))
        planned = number(self.config.get("num_episodes"))
        progress = sift({"progress": episode / planned if planned and episode / planned >= 0 else None}, "batch")
        paired = paired_row(episode_batch, reference) if reference else Sifted({}, {})
        self._log(Sifted(row.good | progress.good | paired.good, row.wrong | paired.wrong), episode)

    def log_learning_metrics(self, episode: int, diagnostics: Mapping[str, Any]) -> None:
        """Numbers of the learner under `learning/`, at the last episode that it has learned from."""
        self._log(sift({name.removeprefix("learning/"): x for name, x in diagnostics.items()}, "learning"), episode)

    def log_evaluation_metrics(self, eval_results: Mapping[str, Any]) -> None:
        """Numbers and texts under `evaluation/`; what is nested gets a name for each level."""
        self._log(sift(eval_results, "evaluation", texts=True))

    def log_model_artifacts(self, model_path: str | Path, model_name: str = "gaelp_agent") -> None:
        """Log a file or a folder as the artifact `<model_name>_<experiment_name>` of type model."""
        path = Path(model_path)
        if not path.exists():
            logger.warning("no model was logged: %s is not there", path)
            return
        self._log_of_run.publish(file_name(f"{model_name}_{self.experiment_name}")[:128], path)

    def log_learning_curve(
        self, reference: Mapping[str, Reference] | None = None, filename: str | Path | None = None
    ) -> Path | None:
        """A picture and charts of reward, ROAS and optimality by episode; with `filename` also the picture as a PNG.

        `reference` are lines to compare with, by name: a ROAS, as {"BayesDual": 14.2}, or the rows of episodes, named
        as in `episode_metrics`. Returns the file's path; None where none was written.
        """
        self._episodes_drawn = len(self.episode_metrics)
        reachable = self._log_of_run.reachable()
        if not self.episode_metrics or not (reachable or filename):
            return None
        from gaelp_ray.tracking.picture import learning_picture  # matplotlib takes a while

        picture = learning_picture(self.episode_metrics, reference or {}, self.experiment_name)
        if reachable:
            charts = learning_curve(self.episode_metrics, reference or {})
            self._log(Sifted(charts | {"learning_curve/picture": png_image(picture)}, {}))
        return _written(Path(filename), picture) if filename else None

    def save_local_results(
        self, results: Sequence[Mapping[str, Any]], filename: str | Path | None = None
    ) -> Path | None:
        """Write results as JSON, whatever W&B does: the file's path, or None where it could not be written."""
        path = Path(filename or f"gaelp_results_{file_name(self.experiment_name)}.json")
        content = {
            "experiment_name": self.experiment_name,
            "project_name": self.project_name,
            "timestamp": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "config": self.config,
            "results": results,
            "summary": summary(results),
        }
        try:
            write_json(path, readable(content))
        except OSError as error:
            logger.warning("the results were not written to %s: %s", path, error.strerror or error)
            return None
        return path

    def finish(self, exit_code: int = 0) -> None:
        """Log the learning curve, unless it shows all episodes already, and end the run; again, it does nothing."""
        if self._episodes_drawn < len(self.episode_metrics):
            self.log_learning_curve()
        self._log_of_run.close(exit_code)

    def _log(self, row: Sifted, episode: float | None = None) -> None:
        """The one way to W&B. A row shares its step with others, but never replaces a value of theirs."""
        self._warn(row.wrong)
        if not row.good:
            return
        at = number(episode)
        step = max(self._step, int(at)) if abs(at) < 2**63 else self._step
        if step == self._step and self._names_at_step & row.good.keys():
            step += 1
        self._names_at_step = set(row.good) | (self._names_at_step if step == self._step else set())
        self._step = step
        self._log_of_run.log(row.good, step)

    def _warn(self, wrong: Mapping[str, str]) -> None:
        for name, why in wrong.items():
            if name not in self._warned:
                logger.warning("%s was not logged, the other metrics were: %s (said once)", name, why)
        self._warned |= wrong.keys()


def create_experiment_tracker(
    experiment_name: str | None = None, config: Config | None = None, tags: Sequence[str] | None = None
) -> GAELPWandbTracker:
    """A tracker in the default project; without a name it gets a unique one."""
    return GAELPWandbTracker(experiment_name=experiment_name, config=config, tags=tags)


def _as_dict(config: Config) -> dict[str, Any]:
    return config.to_dict() if isinstance(config, GAELPExperimentConfig) else dict(config)


def _written(path: Path, picture: bytes) -> Path | None:
    try:
        path.write_bytes(picture)
    except OSError as error:
        logger.warning("the learning curve was not written to %s: %s", path, error.strerror or error)
        return None
    return path
