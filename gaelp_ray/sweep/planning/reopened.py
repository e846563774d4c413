"""A sweep's plan as its folder has it, on this machine and wherever the folder lies, and whether it still is the same.

Start at plan_in().
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from gaelp_ray.errors import StorageError, SweepFileError
from gaelp_ray.market import Market
from gaelp_ray.market.market import is_market_file
from gaelp_ray.market.stream import FIRST_STREAM, STREAM
from gaelp_ray.sweep.format.document import read_document
from gaelp_ray.sweep.planning.plan import SweepPlan, base_config, flat, plan_sweep
from gaelp_ray.sweep.store.folder import SPEC, SweepFolder
from gaelp_ray.sweep.store.journal import History


def plan_in(folder: SweepFolder, history: History, settings: Sequence[str] = ()) -> SweepPlan:
    """The plan of a sweep's file and journal: trials that were proposed stay, those that were not follow.

    settings: other values of the file. Raises SweepFileError.
    """
    path = folder.path / SPEC
    overrides: dict[str, Any] = {"storage": folder.storage}
    written = read_document(path).data
    kept, trial = folder.kept_markets(written), written.get("trial")
    if isinstance(trial, Mapping) and (market := kept.get(str(trial.get("market")))):
        overrides["trial"] = {**trial, "market": str(market)}
    return plan_sweep(path, overrides, settings, list(history.plans.values()), kept)


def require_unchanged(folder: SweepFolder, plan: SweepPlan) -> None:
    """Trials that go on must fly what those before them flew.

    Raises SweepFileError if the file's fixed fields were changed by hand, StorageError for another market.
    """
    began = folder.read_provenance()
    for trial in plan.trials[:1]:  # where none has begun yet, it has the file's own fields
        was, now = flat(trial.config.to_dict()), flat(base_config(plan.spec).to_dict())
        for name in now.keys() - trial.params.keys():
            if was.get(name) != now[name]:
                text = f"trial.{name} is {now[name]!r} now, and was {was.get(name)!r} when {trial.name} began"
                raise SweepFileError([f"{folder.path / SPEC}: {text}: set it back, or run a new sweep"])
    if began.get("market", {}).get("hash", plan.market.hash) != plan.market.hash:
        raise StorageError(_another_world(folder, plan, began))


def require_same_stream(folder: SweepFolder, plan: SweepPlan) -> None:
    """Episodes of one sweep have random numbers of one version. Raises StorageError for another one."""
    began = folder.read_provenance()
    stream = began.get("stream", FIRST_STREAM)
    if isinstance(plan.market, Market) and stream != STREAM:
        commit = (began.get("git") or {}).get("commit")
        version = f"the version that began it (commit {commit[:8]})" if commit else "the version that began it"
        raise StorageError(
            f"{folder.path.name} was run on random-number stream {stream}, this version uses stream {STREAM}, and "
            f"their episodes cannot be compared: run a new sweep, or resume with {version}. `show` and `best` still "
            "read it"
        )


def _another_world(folder: SweepFolder, plan: SweepPlan, began: Mapping[str, Any]) -> str:
    when = "when the sweep began"
    if not isinstance(plan.market, Market):
        what = f"the environment {plan.market.name} is not what it was {when}: its module was changed"
        return f"{what}. Go on with that of then, or run a new sweep"
    file = str(plan.spec.trial.get("market", ""))
    if is_market_file(file):
        return f"{file} has other numbers than {when}: put the file of then there, or run a new sweep"
    then, now = began.get("versions", {}).get("gaelp_ray", "?"), metadata.version("gaelp_ray")
    what = f"the market {plan.market.name} has other numbers than {when}"
    return f"{what}: go on with gaelp_ray {then} (this is {now}), or run a new sweep"
