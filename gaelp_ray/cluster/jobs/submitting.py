"""A sweep handed to a cluster, and one that was handed to it found again. Start at submit()."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path

from gaelp_ray.cluster.jobs.head import none_runs
from gaelp_ray.cluster.jobs.link import Job, Link
from gaelp_ray.cluster.jobs.request import Request
from gaelp_ray.errors import ClusterError, HeadAway, InputError, did_you_mean


def submit(link: Link, request: Request) -> None:
    """Send the files, and start the job. Raises InputError where no head answers, or the sweep runs there now."""
    sweep = request.job.sweep
    if running := [job for job in known_jobs(link) if job.sweep == sweep and not job.has_ended]:
        again = attach_command(sweep, link.head.file)
        raise InputError(f"the sweep {sweep!r} runs there now, as {running[-1].id}: watch it with `{again}`")
    with tempfile.TemporaryDirectory() as scratch:
        package = Path(scratch) / "package.zip"
        request.shipment.pack(package, request.texts)
        try:
            link.submit(request.job, request.entry, package)
        except HeadAway as error:
            hint = f"whether the sweep has begun there, `{attach_command(sweep, link.head.file)}` says"
            raise ClusterError(f"{error}: {hint}") from None


def known_jobs(link: Link) -> list[Job]:
    """Sweeps that were submitted, the oldest first. Raises InputError where no head answers."""
    try:
        return link.jobs()
    except HeadAway as error:
        raise InputError(f"{none_runs(link.head.file)} ({error})") from None


def find_job(link: Link, name: str | None) -> Job:
    """The newest job of a sweep, or one by its id; without a name the only one that runs, or else the newest of all.

    Raises InputError where that is none, or several run.
    """
    jobs = known_jobs(link)
    if name:
        jobs = [job for job in jobs if name in (job.sweep, job.id)] or _unknown(name, jobs, link.head.file)
    running = [job for job in jobs if not job.has_ended]
    if not name and len(running) > 1:
        names = ", ".join(job.sweep for job in running)
        raise InputError(f"{len(running)} sweeps run there, {names}: give the name of one")
    if not jobs:
        raise InputError(f"{link.head.file}: no sweep was submitted to this cluster since it is up")
    return (running or jobs)[-1]


def _unknown(name: str, jobs: list[Job], file: str) -> list[Job]:
    hint = did_you_mean(name, {job.sweep for job in jobs}) if jobs else "None was, since it is up."
    raise InputError(f"{file}: no sweep {name!r} was submitted to this cluster. {hint}")


def attach_command(sweep: str, file: str, *more: str) -> str:
    """What a person types to watch a sweep."""
    return shlex.join(["gaelp-ray", "attach", sweep, "--cluster", file, *more])


def resume_command(job: Job, file: str) -> str:
    """What a person types to go on with a sweep that has ended early."""
    words = [job.metadata.get("file", "FILE"), "--cluster", file, "--storage", job.metadata.get("storage", "STORAGE")]
    return shlex.join(["gaelp-ray", "submit", *words, "--name", job.sweep, "--resume"])
