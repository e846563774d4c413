"""What a person does with a cluster of one's own, on three SSH hosts: see scenario.py."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
from cluster.live.scenario import KEY, LOST, Story, Unprepared
from reliability.losses import of_results, offline
from reliability.stage import NAME, short_folder
from ssh_hosts.hosts import HEAD, LAPTOP, WORKERS, why_not

from gaelp_ray.sweep.store.journal import read_history

pytestmark = [pytest.mark.slow, pytest.mark.timeout(4500)]  # the whole story counts for the first test
ROOM = 4 * 2**30
TRIALS = [f"{NAME}-default", *(f"{NAME}-{number:02d}" for number in range(5))]


@pytest.fixture(scope="module")
def story():
    if reason := why_not():
        pytest.skip(reason)
    base = short_folder("gr-live-")
    if shutil.disk_usage(base).free < ROOM:
        base.rmdir()
        pytest.skip(f"less than {ROOM >> 30} GB are free in {base.parent}, where a whole Ray is installed")
    try:
        story = Story(base)
        try:
            story.prepare()
        except Unprepared as error:
            pytest.skip(str(error))
        story.play()
        yield story
    finally:
        shutil.rmtree(base)


def test_the_check_finds_three_hosts_that_share_the_folder(story):
    step = story.step("check")
    assert step.code == 0, step.text
    for address in story.hosts.addresses.values():
        assert f"{address} (" in step.text


def test_the_head_installs_and_all_three_are_alive(story):
    assert "installed wheels/gaelp_ray-" in story.step("up").text
    assert story.step("alive").text.split() == [HEAD, *WORKERS]
    told = "".join(path.read_text() for path in story.hosts.disk(HEAD, "/tmp/ray").glob("session_2*/logs/monitor.*"))
    assert told.count("is installed already") >= len(WORKERS)


def test_a_folder_that_is_not_shared_is_refused_with_the_nodes_that_do_not_see_it(story):
    step = story.step("refused")
    assert step.code == 2, step.text
    lines = [line for line in step.text.splitlines() if "does not see the storage folder /root/results" in line]
    assert [line.removeprefix("error: ").split(":")[0] for line in lines] == [f"node {worker}" for worker in WORKERS]
    assert list(story.hosts.disk(HEAD, "/root/results").iterdir()) == []


def test_the_sweep_flies_on_all_three(story):
    step = story.step("whole")
    assert step.code == 0, step.text
    history = read_history(story.shared / "whole" / NAME)
    assert history.attempts == [] and sorted(history.plans) == sorted(TRIALS)
    assert {end.status for end in history.ends.values()} == {"completed"}
    flown = story.sky.flown["whole"]
    assert sorted(flown) == sorted(TRIALS)
    assert {host for hosts in flown.values() for host in hosts} == {HEAD, *WORKERS}
    told = json.loads((story.shared / "whole" / NAME / "provenance.json").read_text())
    assert {node["host"] for node in told["nodes"]} == {HEAD, *WORKERS}


def test_trials_of_a_host_that_is_killed_end_elsewhere_and_no_number_changes(story):
    step = story.step("lost")
    assert step.code == 0, step.text
    history, flown = read_history(story.shared / "lost" / NAME), story.sky.flown["lost"]
    lost = story.sky.on("lost", LOST)
    assert lost and set(lost) <= {attempt.trial for attempt in history.attempts}  # or one more, not seen to begin
    assert {attempt.cause for attempt in history.attempts} == {"node lost"}
    assert all(flown[trial][-1] != LOST for trial in lost)
    assert [history.ends[trial].status for trial in TRIALS] == ["completed"] * len(TRIALS)
    assert of_results(SimpleNamespace(folder=story.shared / "lost" / NAME), whole(story)) == []


def test_the_best_model_is_fetched_and_flies_on_the_laptop(story):
    assert story.step("best").code == 0, story.step("best").text
    assert story.step("evaluate").code == 0, story.step("evaluate").text
    assert json.loads(story.step("evaluate").text)


def whole(story):
    return SimpleNamespace(folder=story.shared / "whole" / NAME)


@pytest.mark.parametrize("storage", ["whole", "lost"])
def test_offline_runs_of_all_hosts_are_gathered_each_whole_and_once(story, storage):
    assert story.step(storage).code == 0
    folder = story.shared / storage / NAME
    assert offline(SimpleNamespace(folder=folder)) == (f"{len(TRIALS)} runs whole", [])


def test_secrets_lie_where_they_were_put_and_nowhere_else(story):
    story.step("lost")
    wanted = []
    for machine in (LAPTOP, HEAD, *WORKERS):
        wanted.append(("Ray's token", str(story.hosts.disk(machine, "/root/.ray/auth_token")), "0o600"))
        wanted.append(("W&B's key", str(story.hosts.disk(machine, "/root/.gaelp.env")), "0o600"))
    assert sorted(story.secrets) == sorted(wanted)


def test_no_command_ever_had_a_secret_in_it(story):
    token = (story.home / ".ray/auth_token").read_text().strip()
    assert len(story.sky.commands) > 100
    assert [command for command in story.sky.commands if KEY in command[1] or token in command[1]] == []


def test_nothing_of_ray_runs_on_any_host_at_the_end(story):
    step = story.step("down")
    (problem,) = [line for line in step.text.splitlines() if line.startswith("error: ")]
    assert step.code == 1 and story.hosts.addresses[LOST] in problem  # it is away, and the only one
    assert story.left == []
