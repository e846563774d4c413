"""What is asked of a cluster: a sweep that was checked here, the files that it needs, the command that runs it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from gaelp_ray.cluster.jobs.link import Job
from gaelp_ray.cluster.jobs.shipment import Shipment, shipment
from gaelp_ray.cluster.jobs.wording import sent_text
from gaelp_ray.errors import InputError
from gaelp_ray.market.market import is_market_file
from gaelp_ray.sweep.planning.plan import SweepPlan, plan_sweep
from gaelp_ray.sweep.provenance import checkout
from gaelp_ray.sweep.remote.address import Address, is_remote
from gaelp_ray.worlds import parts_of

DRIVER = "gaelp_ray.cluster.jobs.driver"
ENTRY = f'p=~/.gaelp/venv/bin/python; [ -x "$p" ] || p=python; exec "$p" -m {DRIVER}'
"""A job has the PATH that its node's `ray start` had, in which our virtual environment need not be."""


@dataclass(frozen=True)
class Wish:
    """A person's words, from the command line."""

    file: Path
    name: str | None = None
    storage: str | None = None
    settings: tuple[str, ...] = ()
    overwrite: bool = False
    resume: bool = False
    extend: int = 0
    retry: str | None = None

    def resumption(self) -> list[str]:
        """Words of `resume` that say what is new when a sweep goes on."""
        extend = ["--extend", str(self.extend)] if self.extend else []
        return extend + (["--retry", self.retry] if self.retry else [])


@dataclass(frozen=True)
class Request:
    """All that a cluster needs; `words` are the driver's, `texts` those that are sent in place of files."""

    job: Job
    words: tuple[str, ...]
    shipment: Shipment
    texts: Mapping[str, str]

    @property
    def entry(self) -> str:
        """The line of shell that starts the driver."""
        return f"{ENTRY} {shlex.join(self.words)}"


def requested(wish: Wish, root: Path) -> Request:
    """Check a sweep as `plan` does, and make ready what is sent of `root`, the working directory.

    Raises InputError for all that can be known to be wrong before anything leaves this machine.
    """
    if wish.resume and wish.overwrite:
        raise InputError("--resume goes on with a sweep, and --overwrite replaces it: give one of them")
    if wish.resumption() and not wish.resume:
        raise InputError(f"{wish.resumption()[0]} is for a sweep that lies in the storage: give --resume, too")
    replaced = {"name": wish.name, "storage": wish.storage}
    plan = plan_sweep(wish.file, {key: value for key, value in replaced.items() if value}, wish.settings)
    storage = shared_storage(plan.spec.storage)
    files = shipment(root)
    name = _inside(root, wish.file)
    if name not in files.files:
        raise InputError(f"{wish.file} is not among the files that are sent: see .gitignore, or rename it")
    if missing := next(_missing(root, plan, files), None):
        raise InputError(
            f"{wish.file}: the market file {missing} is not sent: write its path from {root}, and put it there"
        )
    text = sent_text(wish.file, wish.settings)
    metadata = {"sweep": plan.spec.name, "storage": storage, "file": name}
    job = Job(job_id(plan.spec.name, datetime.now(timezone.utc)), metadata=metadata)
    return Request(job, tuple(_words(wish, job, root)), files, {name: text})


def job_id(sweep: str, now: datetime) -> str:
    """`<sweep>-<yyyymmdd-hhmmss>`, of letters that Ray takes for the name of a log."""
    return f"{plain_name(sweep)}-{now:%Y%m%d-%H%M%S}"


def plain_name(sweep: str) -> str:
    """A sweep's name as that of a file, which it need not be; what comes from a cluster may be anything."""
    return re.sub("[^A-Za-z0-9._-]", "-", sweep).lstrip(".") or "sweep"


def shared_storage(storage: str) -> str:
    """A storage as the nodes may call it. Raises InputError for one that each of them would take for its own."""
    if is_remote(storage):
        return str(Address.parse(storage).resolved)  # a server that the environment names here is named there, too
    if not Path(storage).is_absolute():
        raise InputError(
            f"storage {storage}: on a cluster that would be a folder of the job's own, gone with it: "
            "give --storage s3://bucket/prefix, or the absolute path of a folder that all nodes share"
        )
    return storage


def _inside(root: Path, file: Path) -> str:
    path = file.resolve()
    if not path.is_relative_to(root):
        raise InputError(f"{file} is not below {root}, which is what is sent: copy it there, or change to its folder")
    return path.relative_to(root).as_posix()


def _missing(root: Path, plan: SweepPlan, files: Shipment) -> Iterator[str]:
    """Market files that the head would not find where the sweep file says."""
    named = [str(plan.spec.trial.get("market", "")), *(parts_of(each)[0] for each in plan.spec.select.markets)]
    for market in named:
        if is_market_file(market) and (
            Path(market).is_absolute() or Path(market).as_posix().removeprefix("./") not in files.files
        ):
            yield market


def _words(wish: Wish, job: Job, root: Path) -> list[str]:
    sweep, storage, name = (job.metadata[key] for key in ("sweep", "storage", "file"))
    code = checkout(root)
    commit = ["--commit", code["commit"] + "+" * code["dirty"]] if code else []
    words = ["--job", job.id, "--sweep", sweep, "--storage", storage, *commit, "--"]
    if wish.resume:
        words += ["resume", sweep, *wish.resumption()]
    else:
        words += ["sweep", name, "--name", sweep, *(["--overwrite"] if wish.overwrite else [])]
    words += ["--address", "auto", "--storage", storage]
    return words + [word for setting in wish.settings for word in ("--set", setting)]
