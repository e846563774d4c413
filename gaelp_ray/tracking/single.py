"""The W&B run of a single training: a RunLog beside which others may run, and whose failures are said once.

What a server that is away may cost is bounded: two probes (4.5 s each), INIT_SECONDS and FINISH_SECONDS.
"""

from __future__ import annotations

import logging
import os
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import wandb

from gaelp_ray.errors import InputError, describe
from gaelp_ray.tracking.modes import choose_mode
from gaelp_ray.tracking.runs import QUIET, RunIdentity, RunLog

logger = logging.getLogger(__name__)

INIT_SECONDS, FINISH_SECONDS, HTTP_SECONDS = 8.0, 8.0, 4.0
STEP = "episode/number"


class SingleRun(RunLog):
    """A RunLog that also takes config, charts and artifacts; only its first failure is a warning."""

    def __init__(self, run: Any | None) -> None:
        super().__init__(run)
        self.run = run
        self._failed = False

    @classmethod
    def start(
        cls, project: str, name: str, tags: tuple[str, ...], config: Mapping[str, Any], mode: str = "auto"
    ) -> SingleRun:
        """Online with a key and an answering server, else offline, else nothing: never an exception of W&B's."""
        try:
            chosen = choose_mode("auto" if mode == "online" else mode)
        except InputError as error:
            logger.warning("W&B is off: %s. Only the local results are kept", error)
            return cls(None)
        alone = RunIdentity(secrets.token_hex(4), name, project, "", "train", chosen.mode, tags=tags)
        identity = replace(alone, reinit="create_new")
        if chosen.mode == "online":
            log, why = cls._try(identity, config)
            if not why:
                return log
            # Not the same id: wandb holds on to that of a run that failed, and a teardown would end other runs.
            identity = replace(identity, id=secrets.token_hex(4), mode="offline")
        else:
            why = chosen.why
        log, refused = cls._try(identity, config)
        log._tell(why, refused, asked="offline" in (mode, os.environ.get("WANDB_MODE")))
        return log

    @classmethod
    def _try(cls, identity: RunIdentity, config: Mapping[str, Any]) -> tuple[SingleRun, str]:
        """The run, and why there is none."""
        if identity.mode == "disabled":
            return cls(None), ""
        keywords = identity.as_init() | {"group": None, "settings": _bounded_settings()}
        try:
            # wandb remembers the working directory of its first run in a process.
            keywords["dir"] = os.environ.get("WANDB_DIR") or str(Path.cwd())
            run = wandb.init(id=identity.id, name=identity.name, config=dict(config), **keywords)
            run.define_metric(STEP)
            run.define_metric("*", step_metric=STEP)
        except (wandb.Error, OSError, ValueError) as error:  # ValueError: a tag or a name that W&B refuses
            return cls(None), describe(error)
        return cls(run), ""

    def _tell(self, why: str, refused: str, asked: bool) -> None:
        """Say once what became of a run that is not online; `asked`: offline is what a person wanted."""
        if refused:
            logger.warning("W&B is off: %s. Only the local results are kept", refused)
        elif self.run is not None:
            # Whoever asked for it needs no warning.
            level = logging.INFO if asked else logging.WARNING
            logger.log(level, "W&B is offline: %s. Upload later with `%s`", why, self.upload_command)

    @property
    def upload_command(self) -> str:
        """What a person types to bring this run to the server."""
        if self.run is None:
            return "wandb sync"
        folder = Path(self.run.dir).parent
        shown = shlex.quote(os.path.relpath(folder) if folder.is_relative_to(Path.cwd()) else str(folder))
        return f"wandb sync {'' if self.run.settings.mode == 'offline' else '--include-online '}{shown}"

    def log(self, row: Mapping[str, Any], step: int, at: float | None = None) -> None:
        """One row of history, which may hold texts and W&B's own charts."""
        super().log(row, step, at)

    def configure(self, values: Mapping[str, Any]) -> None:
        """Add to the run's config; a later value replaces an earlier one."""
        self._forgiving(lambda run: run.config.update(dict(values), allow_val_change=True))

    def publish(self, name: str, path: Path) -> None:
        """Log a file or a folder as a model, unless the server is away."""
        if self.reachable():
            self._forgiving(lambda run: _log_model(run, name, path))
        if self._failed and self.run is not None:
            # Of a run that went online, `wandb sync` brings the rows, but never such a file.
            logger.warning("W&B may not have the model %s: keep it, and log it again", path)

    def reachable(self) -> bool:
        """Whether W&B can take a file now; asked before each, for a dead server costs wandb 20 s a file, a probe 4.5.

        Not asked again after a failure.
        """
        if self.run is None or self._failed:
            return False
        if self.run.settings.mode == "online" and (now := choose_mode("auto")).mode != "online":
            self._complain(ConnectionError(now.why))
        return not self._failed

    def _complain(self, error: Exception) -> None:
        if not self._failed:
            logger.warning(
                "W&B: %s. The training goes on, and the run lies on this machine: bring it to the server with `%s`",
                describe(error),
                self.upload_command,
            )
        self._failed = True


def _bounded_settings() -> wandb.Settings:
    limits = {
        "init_timeout": INIT_SECONDS,
        "finish_timeout": FINISH_SECONDS,
        "finish_timeout_raises": True,  # a TimeoutError, which is an OSError: said once, as any other failure
        "x_graphql_timeout_seconds": HTTP_SECONDS,
    }
    return wandb.Settings(**QUIET, **limits)


def _log_model(run: Any, name: str, path: Path) -> None:
    artifact = wandb.Artifact(name, type="model")
    if path.is_dir():
        for file in sorted(path.rglob("*")):  # add_dir() prints
            if file.is_file():
                artifact.add_file(str(file), name=str(file.relative_to(path)))
    else:
        artifact.add_file(str(path))
    run.log_artifact(artifact)
