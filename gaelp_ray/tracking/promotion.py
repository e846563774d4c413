"""Which version of a model is `best`: judged beside the present one, moved, confirmed by the server. Start at settle().

artifacts.py logs a version; whatever happens here, that stays. Who judges flies models, of which nothing is known here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import wandb

from gaelp_ray.errors import GaelpError, ModelError, TrackingError, describe
from gaelp_ray.results import Comparison
from gaelp_ray.tracking.download import NoSuchArtifact, fetched
from gaelp_ray.tracking.process import REFUSALS
from gaelp_ray.tracking.server import HeldArtifact, Server

BEST = "best"
COMPARED = ("difference", "low", "high", "verdict")
ATTEMPTS = 3
MOVE_SECONDS, FETCH_SECONDS = 20.0, 60.0
PROBLEMS: tuple[type[Exception], ...] = (*REFUSALS, GaelpError)


@dataclass(frozen=True)
class Incumbent:
    """The version that is `best` now: ENTITY/PROJECT/ARTIFACT:v3, in a folder, unless a `problem` keeps it away."""

    name: str
    folder: Path | None
    problem: str = ""


@dataclass(frozen=True)
class Ruling:
    """What is said of a new version, and why; `against` is the version that it was compared with."""

    promoted: bool  # it is `best`
    passed: bool  # a pipeline goes on
    reason: str
    against: str | None = None
    comparison: Comparison | None = None
    standing: bool = False  # it was `best` before

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as selection.json has them."""
        names = ("promoted", "passed", "reason", "against")
        compared = self.comparison.as_dict() if self.comparison else dict.fromkeys(COMPARED)
        return {name: getattr(self, name) for name in names} | compared


class Judge(Protocol):
    """Says whether a model may be `best`."""

    def alone(self) -> Ruling | None:
        """What its own numbers say; None where they leave it to the present best."""

    def against(self, incumbent: Incumbent | None) -> Ruling:
        """Beside the present best, if there is one."""


@dataclass(frozen=True)
class Terms:
    """Under which a version is published: who judges, where a best one is linked to, and whose weights it has."""

    judge: Judge
    registry: str | None = None  # ORG/wandb-registry-NAME/COLLECTION, without ORG that of the entity
    trained_by: str = ""  # the id of a run of the same project


@dataclass(frozen=True)
class Settled:
    """What became of a version; `problem` is one line on all that is not done yet, empty if all is."""

    ruling: Ruling | None
    aliases: tuple[str, ...]
    problem: str


def settle(server: Server, logged: Any, terms: Terms, aliases: tuple[str, ...]) -> Settled:
    """Make a version that was logged `best` if it may be, link it then, and name the run that trained it.

    `logged` is wandb's artifact, which the server has confirmed, `aliases` those that it was logged with. Whatever
    the server does is told, not raised. One that dies or hangs costs a minute and a half at most.
    """
    ruling, held = None, aliases
    try:
        ruling = promote(server, logged, terms.judge)
        held = _held(server, logged, logged.version).aliases
        if BEST in held and terms.registry:
            _registered(logged, terms.registry)
        if terms.trained_by:
            _bounded("the run that trained it", lambda: _name_producer(logged, terms.trained_by))
    except PROBLEMS as error:
        return Settled(ruling, held, str(error) if isinstance(error, GaelpError) else describe(error))
    return Settled(ruling, held, "")


def promote(server: Server, logged: Any, judge: Judge) -> Ruling:
    """Give a version the alias `best` if the judge says so, on whom else it may be meanwhile. Raises TrackingError.

    W&B moves an alias without asking what it was before, so whoever is `best` is looked up again before and after.
    """
    if refusal := judge.alone():
        return refusal
    for _ in range(ATTEMPTS):
        present = _best(server, logged)
        if present and present.id == logged.id:
            return Ruling(True, True, f"{_name(logged, present)} is the best already", standing=True)
        try:
            ruling = judge.against(_incumbent(logged, present))
        except NoSuchArtifact:
            continue  # it was removed meanwhile
        if not ruling.promoted:
            return ruling
        if _best(server, logged) != present:
            continue
        _bounded("the alias best", lambda: _give_best(_name(logged)))
        now = _best(server, logged)
        if now and now.id == logged.id:
            return ruling
    raise TrackingError(f"{server.shown} has not made {_name(logged)} the best: others move the alias at the same time")


def _name(logged: Any, held: HeldArtifact | None = None) -> str:
    return f"{_path(logged)}/{_collection(logged)}:{held.version if held else logged.version}"


def _path(logged: Any) -> str:
    return f"{logged.entity}/{logged.project}"


def _collection(logged: Any) -> str:
    return str(logged.name).partition(":")[0]


def _best(server: Server, logged: Any) -> HeldArtifact | None:
    return server.artifact(_path(logged), f"{_collection(logged)}:{BEST}")


def _held(server: Server, logged: Any, version: str) -> HeldArtifact:
    held = server.artifact(_path(logged), f"{_collection(logged)}:{version}")
    if held is None:
        raise TrackingError(f"{server.shown} does not have {_name(logged)} any more")
    return held


def _incumbent(logged: Any, present: HeldArtifact | None) -> Incumbent | None:
    """The present best as a model, by its version: the alias may move. Raises NoSuchArtifact, TrackingError."""
    if present is None:
        return None
    name = _name(logged, present)
    try:
        return Incumbent(name, fetched(name, FETCH_SECONDS).folder)
    except NoSuchArtifact:
        raise
    except ModelError as error:
        return Incumbent(name, None, str(error))


def _give_best(name: str) -> None:
    version = wandb.Api().artifact(
        name
    )  # asked anew: the client adds only aliases that it does not believe to be there
    version.aliases.append(BEST)
    version.save()


def _registered(logged: Any, registry: str) -> None:
    try:
        _bounded("the link", lambda: logged.link(registry, aliases=[BEST]))
    except REFUSALS as error:
        raise TrackingError(f"{_name(logged)} is not in the registry {registry}: {describe(error)}") from None


def _name_producer(logged: Any, run_id: str) -> None:
    """A line of lineage from a run to the version, without opening the run again, which would change it."""
    wandb.Api().run(f"{_path(logged)}/{run_id}").log_artifact(logged)


def _bounded(what: str, action: Callable[[], Any]) -> None:
    """Do it within MOVE_SECONDS: wandb's own questions to a server that is away have no such limit.

    Raises what it raises, TimeoutError where it takes longer.
    """
    outcome: list[Exception | None] = []

    def act() -> None:
        try:
            action()
            outcome.append(None)
        except PROBLEMS as error:
            outcome.append(error)

    thread = threading.Thread(target=act, name=f"{what} in W&B", daemon=True)
    thread.start()
    thread.join(MOVE_SECONDS)
    error = outcome[0] if outcome else TimeoutError(f"W&B has not taken {what} within {MOVE_SECONDS:.0f} s")
    if error:
        raise error
