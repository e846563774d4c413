"""Runs of a sweep, brought to the W&B server from the sweep's own record: what the server lacks, and nothing twice.

wandb's own offline directories are not read: `wandb sync` sends all rows again, and stops at a torn file.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import wandb

from gaelp_ray.errors import describe
from gaelp_ray.tracking.mirror import Directories
from gaelp_ray.tracking.process import REFUSALS, SERVICE
from gaelp_ray.tracking.records import RunRecord, holds
from gaelp_ray.tracking.runs import RunLog
from gaelp_ray.tracking.server import BUSY_SECONDS, HeldRun, Server

PROBE_SECONDS = 5.0
SETTLE_SECONDS = 5.0
"""How long a server may take until it shows what it was given."""


@dataclass(frozen=True)
class Uploaded:
    """What became of one run: how many rows were new to the server, and what is not right there, empty if all is."""

    id: str
    rows: int
    problem: str = ""


def upload(records: Iterable[RunRecord], home: Path | None = None) -> Iterator[Uploaded]:
    """Bring each run to the server; a run that is there as recorded costs one question.

    Its environment() is set, and no run of this process is open. `home` is the sweep's wandb folder, whose offline
    directories of these runs are marked as synced, so that `wandb sync` leaves them alone. Raises TrackingError in
    one line where no key is set or the server is away (noticed within a minute) or refuses the key; what was brought
    before stays.
    """
    server = Server.configured()
    server.probe(PROBE_SECONDS, BUSY_SECONDS)
    SERVICE.lost = False
    SERVICE.reset()
    held = Directories.below(home) if home else None
    try:
        for record in records:
            uploaded = _upload(server, record)
            if held and not uploaded.problem:
                _mark_synced(held.of(record.identity.id))
            yield uploaded
    finally:
        SERVICE.reset()


def _upload(server: Server, record: RunRecord) -> Uploaded:
    before = _held(server, record)
    if before and not _problem(before, record):
        return Uploaded(record.identity.id, 0)
    rows, refused = _send(record)
    problem = _settled(server, record)
    return Uploaded(record.identity.id, rows, problem and (refused or problem))


def _held(server: Server, record: RunRecord) -> HeldRun | None:
    identity = record.identity
    return server.run(identity.project, identity.entity, identity.id)


def _problem(held: HeldRun | None, record: RunRecord) -> str:
    """What is not right with a run on the server; empty if it is as recorded."""
    if held is None:
        return "the server does not have the run"
    history = record.history
    last = history[-1].step if history else -1
    if held.rows != len(history) or held.last_step != last:
        return (
            f"the server has {held.rows} rows up to step {held.last_step} of the {len(history)} rows "
            f"up to step {last}, and can add none before its last"
        )
    if not holds(held.config, record.config):
        return "the server has another config"
    if not holds(held.summary, record.told):
        return "the server has another summary"
    if held.state not in (("failed", "killed") if record.exit_code else ("finished",)):
        return f"the server has the run as {held.state}"
    return ""


def _send(record: RunRecord) -> tuple[int, str]:
    """Log what is missing through wandb: how many rows, and why not more."""
    identity = replace(record.identity, mode="online", reinit="create_new")
    with tempfile.TemporaryDirectory(prefix="gaelp-wandb-", ignore_cleanup_errors=True) as folder:
        keywords = identity.as_init() | {"id": identity.id, "name": identity.name, "dir": folder}
        keywords["allow_val_change"] = True
        try:
            log = _Told(SERVICE.start(lambda: wandb.init(config=dict(record.config), **keywords)))
        except REFUSALS as error:
            SERVICE.reset()
            return 0, describe(error)
        rows = log.catch_up(record.history)
        log.summarise(record.told)
        log.close(record.exit_code)
    return rows, log.failed


class _Told(RunLog):
    """Keeps the first failure instead of warning of each."""

    failed = ""

    def _complain(self, error: Exception) -> None:
        self.failed = self.failed or describe(error)


def _settled(server: Server, record: RunRecord) -> str:
    """What is not right after an upload, once the server has had its time to take it in."""
    until = time.monotonic() + SETTLE_SECONDS
    while True:
        problem = _problem(_held(server, record), record)
        if not problem or time.monotonic() > until:
            return problem
        time.sleep(0.5)


def _mark_synced(directories: Iterable[Path]) -> None:
    for directory in directories:
        for file in directory.glob("*.wandb"):
            file.with_suffix(".wandb.synced").touch()
