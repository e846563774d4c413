"""Ray's job server on a head, asked through a tunnel that is opened anew whenever it breaks. Start at Link."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from gaelp_ray.cluster.file import TOKEN
from gaelp_ray.cluster.jobs.head import Head
from gaelp_ray.cluster.jobs.tunnel import Tunnel
from gaelp_ray.cluster.ssh import last_line
from gaelp_ray.errors import ClusterError, HeadAway, InputError

T = TypeVar("T")

PATIENCE = (10.0, 60.0)
"""Seconds to connect, and to wait for an answer: Ray's client would wait for ever."""

STOPPING_SECONDS = 300
"""For a sweep that is told to end; Ray's own patience is 3 s, in which no trial writes a checkpoint."""


@dataclass(frozen=True)
class Job:
    """What the job server knows of a sweep that was submitted."""

    id: str
    status: str = "PENDING"
    code: int | None = None
    message: str = ""
    started: int = 0  # ms since 1970
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def sweep(self) -> str:
        """The sweep's name; empty for other people's jobs."""
        return self.metadata.get("sweep", "")

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it will change."""
        return self.status in ("SUCCEEDED", "FAILED", "STOPPED")


class Link:
    """A context manager. Whatever it is asked may raise HeadAway, and may then be asked again."""

    def __init__(self, head: Head) -> None:
        self.head = head
        self._tunnel = Tunnel(head)
        self._client: Any = None

    def __enter__(self) -> Link:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tunnel.close()

    def jobs(self) -> list[Job]:
        """Sweeps that were submitted there, the oldest first."""
        found = [_job(details) for details in self._ask(lambda client: client.list_jobs())]
        return sorted((job for job in found if job.sweep), key=lambda job: job.started)

    def job(self, name: str) -> Job:
        """One by its id. Raises ClusterError where nobody knows it any more."""
        return _job(self._ask(lambda client: client.get_job_info(name)))

    def log(self, name: str) -> str:
        """All that it has printed."""
        return str(self._ask(lambda client: client.get_job_logs(name)))

    def submit(self, job: Job, entry: str, package: Path) -> None:
        """Start a job: `entry` is a line of shell, run where the zip file `package` was unpacked."""
        environment = {"working_dir": str(package), "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOPPING_SECONDS)}}
        self._ask(
            lambda client: client.submit_job(
                entrypoint=entry, submission_id=job.id, metadata=dict(job.metadata), runtime_env=environment
            )
        )

    def stop(self, name: str) -> None:
        """What Ctrl-C is to a sweep here."""
        self._ask(lambda client: client.stop_job(name))

    def _ask(self, question: Callable[[Any], T]) -> T:
        from ray.exceptions import AuthenticationError
        from requests.exceptions import RequestException

        try:
            if self._client is None:
                self._client = _client(self._tunnel.open())
            return question(self._client)
        except AuthenticationError:
            raise InputError(
                f"{self.head.file}: the head does not take this machine's token: {TOKEN} must be what `ray up` has sent"
            ) from None
        except (RequestException, ConnectionError):
            self._client = None
            raise HeadAway(f"{self.head.address}: nothing answers at port {self.head.port} there") from None
        except RuntimeError as error:  # Ray's for whatever the server answers but 200
            raise self._refused(str(error)) from None

    def _refused(self, text: str) -> ClusterError:
        status = re.search(r"status code (\d)(\d\d)", text)
        if status and status[1] == "5":
            return HeadAway(f"{self.head.address}: the job server fails: {last_line(text)}")
        return ClusterError(f"{self.head.address}: the job server refuses: {last_line(text)}")


def _job(details: Any) -> Job:
    return Job(
        id=details.submission_id or details.job_id or "",
        status=str(getattr(details.status, "value", details.status)),
        code=details.driver_exit_code,
        message=details.message or "",
        started=details.start_time or 0,
        metadata=details.metadata or {},
    )


def _client(url: str) -> Any:
    """Ray's client, but that the environment names neither another address nor a proxy, and no answer is waited for
    without end."""
    from ray.job_submission import JobSubmissionClient

    from gaelp_ray.sweep.session import environment_set

    class Client(JobSubmissionClient):
        def _do_request(self, method: str, endpoint: str, **rest: Any) -> Any:
            return super()._do_request(method, endpoint, timeout=PATIENCE, proxies={"http": None, "all": None}, **rest)

    logging.getLogger("ray.dashboard.modules.dashboard_sdk").setLevel(logging.WARNING)  # names of packages
    with environment_set({"RAY_API_SERVER_ADDRESS": url}):
        return Client(url, headers=_token())


def _token() -> dict[str, str]:
    """The header with Ray's token, so that RAY_AUTH_MODE need not be set here; empty where there is none."""
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or TOKEN).expanduser()
    there = path.read_text(encoding="utf-8") if path.is_file() else ""
    token = (os.environ.get("RAY_AUTH_TOKEN") or there).strip()
    return {"Authorization": f"Bearer {token}"} if token else {}
