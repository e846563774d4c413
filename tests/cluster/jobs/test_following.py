"""A job is watched through whatever happens to tunnel and head (tests/far_head.py plays both)."""

from __future__ import annotations

import os
import threading

import pytest
from far_head import until
from psutil import process_iter

from gaelp_ray.cluster.file import read_cluster_file
from gaelp_ray.cluster.jobs import following
from gaelp_ray.cluster.jobs.following import Watch, exit_code, follow
from gaelp_ray.cluster.jobs.head import find_head
from gaelp_ray.cluster.jobs.link import Job, Link
from gaelp_ray.errors import ClusterError


class Watched(threading.Thread):
    """A job `small-1` that is being watched; what was shown and said of it."""

    def __init__(self, desk):
        super().__init__(daemon=True)
        self.shown, self.said, self.outcome = [], [], None
        self.link = Link(find_head(read_cluster_file(desk.work / "cluster.yaml")))
        self.start()

    def run(self):
        with self.link:
            try:
                self.outcome = follow(Watch(self.link, self.shown.append, self.said.append), "small-1")
            except ClusterError as error:
                self.outcome = error

    @property
    def text(self):
        return "".join(self.shown)


@pytest.fixture
def watched(desk, head):
    head.add("small-1", "small")
    made = Watched(desk)
    yield made
    head.end("small-1", 0)
    made.join(60)
    assert not made.is_alive()


def test_output_is_shown_as_it_comes_and_once(head, watched):
    head.logs["small-1"] = "one\ntwo"
    until(lambda: watched.text == "one\ntwo" and len(watched.shown) > 3)  # looked at again, with nothing new
    head.logs["small-1"] += " and a half\nthree\n"
    head.end("small-1", 1)
    watched.join(60)
    assert watched.text == "one\ntwo and a half\nthree\n"
    assert watched.outcome.code == 1


def test_a_tunnel_that_breaks_is_opened_anew(head, watched):
    head.logs["small-1"] = "one\n"
    until(lambda: watched.text == "one\n")
    head.away()
    until(lambda: watched.said)
    head.logs["small-1"] += "two\n"
    head.away(False)
    until(lambda: watched.text == "one\ntwo\n")
    seen = len(watched.shown)
    until(lambda: len(watched.shown) > seen + 2)
    went, came = watched.said
    assert went.startswith("10.1.0.1: ") and went.endswith("asking again for 10 minutes")
    assert came == "10.1.0.1 answers again"
    assert len([line for line in head.asked if " -L " in line]) >= 2


def test_ctrl_c_does_not_reach_the_tunnel(head, watched):
    """Which the shell sends to all processes of a group."""
    until(lambda: watched.shown)
    port = watched.link._client.get_address().rpartition(":")[2]
    [tunnel] = [p for p in process_iter(["cmdline"]) if f"127.0.0.1:{port}:" in " ".join(p.info["cmdline"] or ())]
    assert os.getpgid(tunnel.pid) != os.getpgrp()


def test_a_job_server_that_fails_for_a_moment_ends_nothing(head, watched):
    head.logs["small-1"] = "one\n"
    until(lambda: watched.text)
    head.fails = 3
    until(lambda: len(watched.said) == 2)
    assert "the job server fails: RuntimeError: the agent is away" in watched.said[0]


def test_nobody_waits_for_ever(head, watched, monkeypatch):
    monkeypatch.setattr(following, "AWAY_SECONDS", 0.3)
    head.away()
    watched.join(60)
    assert isinstance(watched.outcome, ClusterError)
    assert "10.1.0.1: " in str(watched.outcome)
    assert len(watched.said) == 1
    head.away(False)


def test_a_job_that_a_new_head_does_not_know_is_lost(head, watched):
    about = head.jobs.pop("small-1")
    watched.join(60)
    assert "Job small-1 does not exist" in str(watched.outcome)
    assert watched.said == []
    head.jobs["small-1"] = about


@pytest.mark.parametrize(
    ("job", "code"),
    [
        (Job("j", "SUCCEEDED", 0), 0),
        (Job("j", "SUCCEEDED"), 0),
        (Job("j", "FAILED", 2), 2),
        (Job("j", "FAILED", -9), 137),
        (Job("j", "STOPPED"), 130),
    ],
)
def test_the_exit_code_is_the_sweeps_own(job, code):
    said = []
    assert exit_code(job, said.append) == code
    assert said == []


def test_a_job_that_died_without_a_code_says_the_end_of_rays_reason():
    said = []
    message = "\n".join(f"line {number}" for number in range(9))
    assert exit_code(Job("j", "FAILED", message=message), said.append) == 1
    assert said == [f"the job has died: line {number}" for number in range(4, 9)]
    assert exit_code(Job("j", "FAILED"), said.append) == 1
    assert said[-1] == "the job has died: Ray does not say why"
