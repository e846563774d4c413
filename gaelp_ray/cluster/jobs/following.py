"""A job watched from here until it has ended, also when tunnels break and the head is away. Start at follow()."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gaelp_ray.cluster.jobs.link import Job, Link
from gaelp_ray.errors import ClusterError, HeadAway

SECONDS = 2.0
AWAY_SECONDS = 600.0

STOPPED = 130
"""What a sweep ends with that a person has stopped: Ray keeps no exit code of a job that it was told to stop."""

MESSAGE_LINES = 5


@dataclass
class Watch:
    """What was seen of a job so far. `show` gets its output, `say` a line when the head goes away or comes back."""

    link: Link
    show: Callable[[str], object]
    say: Callable[[str], object]
    shown: int = 0  # characters
    away_since: float | None = field(default=None)

    def look(self, name: str) -> Job | None:
        """The job now, after all that it has printed is shown; None where the head does not answer.

        Raises ClusterError where it has not for too long.
        """
        try:
            job = self.link.job(name)
            log = self.link.log(name)
        except HeadAway as error:
            self._is_away(error)
            return None
        if self.away_since is not None:
            self.say(f"{self.link.head.address} answers again")
            self.away_since = None
        self.show(log[self.shown :])
        self.shown = max(self.shown, len(log))
        return job

    def _is_away(self, error: HeadAway) -> None:
        now = time.monotonic()
        if self.away_since is None:
            self.away_since = now
            self.say(f"{error}; the sweep may well go on: asking again for {AWAY_SECONDS / 60:.0f} minutes")
        elif now - self.away_since > AWAY_SECONDS:
            raise ClusterError(f"{error}, for {AWAY_SECONDS / 60:.0f} minutes")


def follow(watch: Watch, name: str) -> Job:
    """Wait for a job's end. Raises ClusterError where nobody answers any more, or nobody knows the job."""
    while True:
        job = watch.look(name)
        if job and job.has_ended:
            return job
        time.sleep(SECONDS)


def exit_code(job: Job, say: Callable[[str], object]) -> int:
    """The sweep's own; where it has none, `say` gets why."""
    if job.status == "STOPPED":
        return STOPPED
    if job.code is not None:
        return job.code if job.code >= 0 else 128 - job.code
    if job.status == "SUCCEEDED":
        return 0
    for line in job.message.strip().splitlines()[-MESSAGE_LINES:] or ["Ray does not say why"]:
        say(f"the job has died: {line}")
    return 1
