"""Commands for a cluster that runs: `submit` hands a sweep to it, `attach` watches one that was handed to it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from gaelp_ray.cli.clusters import down_or_complain
from gaelp_ray.cli.options import Extend, File, Retry, Settings
from gaelp_ray.cli.screen import err, out
from gaelp_ray.cluster.file import ClusterFile, read_cluster_file
from gaelp_ray.cluster.jobs.driver import REFUSED
from gaelp_ray.cluster.jobs.following import Watch, exit_code, follow
from gaelp_ray.cluster.jobs.head import find_head
from gaelp_ray.cluster.jobs.link import Job, Link
from gaelp_ray.cluster.jobs.request import Wish, plain_name, requested
from gaelp_ray.cluster.jobs.results import Results
from gaelp_ray.cluster.jobs.shipment import OURS
from gaelp_ray.cluster.jobs.submitting import attach_command, find_job, resume_command, submit
from gaelp_ray.errors import ClusterError, InputError, StorageError, SweepInterrupted

Cluster = Annotated[
    Path, typer.Option("--cluster", help="File of Ray's cluster launcher: of a cluster that runs.", show_default=False)
]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", help=f"Folder for the results here. [default: {OURS}/NAME]")
]
DownWhenDone = Annotated[bool, typer.Option("--down-when-done", help="End the cluster after the results are here.")]

FATAL = 128
"""Exit codes above are of processes that were told to end, or made to."""


@dataclass(frozen=True)
class Attendance:
    """A job, and what is to become of it and of its cluster."""

    link: Link
    file: ClusterFile
    results: Results
    down: bool = False

    def until_ended(self, name: str, sweep: str) -> int:
        """Watch the job, bring back its results; returns the sweep's exit code, or 1 where they did not come."""
        head = self.link.head
        try:
            job = follow(Watch(self.link, _show, _say), name)
            code = exit_code(job, _say)
            brought = self._bring(job, code)
        except KeyboardInterrupt:
            again, stop = (attach_command(sweep, head.file, *more) for more in ((), ("--stop",)))
            raise SweepInterrupted(
                f"you look away, and the sweep goes on: watch it with `{again}`, end it with `{stop}`"
            ) from None
        except ClusterError as error:
            raise ClusterError(f"{error}. Look again with `{attach_command(sweep, head.file)}`") from None
        if code > FATAL:
            _say(f"the sweep has not finished: go on with `{resume_command(job, head.file)}`")
        if not brought:
            if self.down:
                _say("the cluster stays up, as no results are here")
            return code or 1
        if self.down:
            down_or_complain(self.file)
        return code

    def _bring(self, job: Job, code: int) -> bool:
        if code == REFUSED:  # nothing has run
            return False
        try:
            names = self.results.bring(self.link.head, job)
        except (ClusterError, StorageError) as error:
            _say(f"error: {error}")
            return False
        out.print(self.results.line(names, job), markup=False, highlight=False, soft_wrap=True)
        return True


def submit_sweep(
    file: File,
    cluster: Cluster,
    *,
    name: Annotated[str | None, typer.Option(help="Another name than the file's.")] = None,
    storage: Annotated[
        str | None,
        typer.Option(help="Where the sweep is to lie: s3://bucket/prefix, or a folder that all nodes share."),
    ] = None,
    settings: Settings = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a sweep of the same name.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the sweep in the storage.")] = False,
    extend: Extend = None,
    retry: Retry = None,
    output: Output = None,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for its end: `attach` does, later.")] = False,
    down_when_done: DownWhenDone = False,
) -> None:
    """Run a sweep on a cluster that runs: send this folder there, watch, bring back what came of it."""
    if detach and down_when_done:
        raise InputError("--detach does not wait, so --down-when-done belongs to the `attach` that does")
    launcher = read_cluster_file(cluster)
    wish = Wish(file, name, storage, tuple(settings or ()), overwrite, resume, extend or 0, retry)
    request = requested(wish, Path.cwd().resolve())
    job = request.job
    results = _results(output, job)
    results.require_free()
    if left := request.shipment.left_out:
        _say(
            f"not sent, by their names or as links out of this folder: {', '.join(left[:10])}{' …' * (len(left) > 10)}"
        )
    with Link(find_head(launcher)) as link:
        submit(link, request)
        again = attach_command(job.sweep, str(cluster))
        _say(f"{job.id} runs on {link.head.address}, with or without this machine: `{again}`")
        if detach:
            return
        code = Attendance(link, launcher, results, down_when_done).until_ended(job.id, job.sweep)
    raise typer.Exit(code)


def attach(
    name: Annotated[
        str | None, typer.Argument(help="Name of a sweep that was submitted. [default: the one that runs]")
    ] = None,
    *,
    cluster: Cluster,
    stop: Annotated[bool, typer.Option("--stop", help="End the sweep, as Ctrl-C ends one here.")] = False,
    output: Output = None,
    down_when_done: DownWhenDone = False,
) -> None:
    """Watch a sweep that was submitted, from any machine, until it has ended; bring back what came of it."""
    launcher = read_cluster_file(cluster)
    with Link(find_head(launcher)) as link:
        job = find_job(link, name)
        results = _results(output, job)
        results.require_free()
        if stop and not job.has_ended:
            link.stop(job.id)
            _say(f"{job.id} was told to end: it keeps what its trials have come to, which takes a moment")
        code = Attendance(link, launcher, results, down_when_done).until_ended(job.id, job.sweep)
    raise typer.Exit(code)


def _results(output: Path | None, job: Job) -> Results:
    return Results(output or Path(OURS) / plain_name(job.sweep))


def _show(text: str) -> None:
    """A job's own output, as it is."""
    sys.stdout.write(text)
    sys.stdout.flush()


def _say(line: str) -> None:
    err.print(line, markup=False, highlight=False, soft_wrap=True)
