"""Sweeps in S3 through the command line, on machines that share nothing else. Minutes: what flies is a process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
from reliability.stage import NAME, until
from s3_server.server import BUCKET, READER, SECRET

from .conftest import STORAGE, numbers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
HERE = f"ours/{NAME}"


def decided(server) -> str:
    return numbers(json.loads(server.read(f"{HERE}/selection.json"))["leaderboard"])


def ended(server) -> int:
    """Trials that have ended, as the bucket has it."""
    return server.read(f"{HERE}/journal.jsonl").count(b'"ended"') if f"{HERE}/journal.jsonl" in server.keys() else 0


def whole_checkpoints(server) -> int:
    return sum(name.endswith("sha256.json") for name in server.keys(HERE))


def secrets_in(machine, server) -> list[str]:
    """Files of a machine, and objects, that hold the secret key."""
    files = (path for path in machine.home.rglob("*") if path.is_file() and not path.is_symlink())
    found = [str(path) for path in files if SECRET.encode() in path.read_bytes()]
    return found + [key for key, (content, _) in server.objects.copy().items() if SECRET.encode() in content]


def test_a_sweep_in_a_bucket_is_seen_and_its_winner_fetched_anywhere_although_the_server_hung_meanwhile(
    server, machine, uninterrupted
):
    one, two = machine("one"), machine("two")
    driver = one.start("sweep", one.file())
    driver.until(lambda: ended(server) >= 1, "a trial that has ended, in the bucket")
    server.wait = 600.0
    driver.until(lambda: "racing the best" in driver.out, "the end of the search")
    server.wait = 0.0
    assert driver.wait() == 0
    until(lambda: f"{HERE}/selection.json" in server.keys(), "the decision in the bucket", 5)
    assert f"fetch it: gaelp-ray best {NAME} --storage {STORAGE} -o my_model" in driver.out
    assert decided(server) == uninterrupted
    assert ".lease" not in str(server.keys()) and whole_checkpoints(server) == 3  # of those that were re-flown
    assert two.here("list")[0].startswith(f"{NAME}  finished  ")
    assert json.loads(two.here("show", NAME, "--json")[0])["leaderboard"]
    best = json.loads(two.here("best", NAME, "-o", str(two.home / "model"), "--json")[0])
    assert (two.home / "model/model.npz").is_file()
    assert best["trial"] == json.loads(server.read(f"{HERE}/selection.json"))["winner"]["trial"]
    code = f"import gaelp_ray; print(type(gaelp_ray.load_best({NAME!r}, storage={STORAGE!r}).agent).__name__)"
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, env=two.env, cwd=two.env["PWD"], capture_output=True, text=True, check=True)
    assert loaded.stdout == "Residual\n"  # PPO as a correction
    assert "exists already in s3://" in one.here("sweep", one.file(), code=2)[1]
    assert secrets_in(one, server) == secrets_in(two, server) == []


def test_a_sweep_whose_machine_is_lost_goes_on_elsewhere_to_the_same_numbers(server, machine, uninterrupted):
    one, two = machine("one"), machine("two")
    driver = one.start("sweep", one.file())
    driver.until(lambda: ended(server) >= 1, "a trial that has ended, in the bucket")
    driver.process.send_signal(signal.SIGSTOP)
    refused = two.here("resume", f"{STORAGE}/{NAME}", code=2)[1]
    assert f"is being run by process {driver.process.pid} on " in refused
    driver.kill()
    flown = ended(server)
    assert flown < 5
    resumed = two.run("resume", NAME)
    assert decided(server) == uninterrupted
    assert resumed.out.count("completed") >= 5 - flown and secrets_in(two, server) == []
    shown, _ = one.here("show", NAME, "--json")  # whose working copy is the older one now
    assert numbers(json.loads(shown)["leaderboard"]) == uninterrupted


def test_a_server_that_goes_away_stops_nothing_and_gets_all_of_it_later(server, machine, uninterrupted):
    one, two = machine("one"), machine("two")
    driver = one.start("sweep", one.file())
    driver.until(lambda: ended(server) >= 1, "a trial that has ended, in the bucket")
    server.down()
    assert driver.wait() == 0
    told = f"{STORAGE}/{NAME}: the server does not answer. What it lacks is on this machine"
    assert told in driver.out + driver.err
    server.up()
    assert f"{HERE}/selection.json" not in server.keys()
    assert "nothing is left to do" in one.here("resume", f"{STORAGE}/{NAME}")[0]
    assert decided(server) == uninterrupted
    assert numbers(json.loads(two.here("show", NAME, "--json")[0])["leaderboard"]) == uninterrupted


def test_a_sweep_goes_on_where_it_was_killed_while_the_server_was_away(server, machine, uninterrupted):
    one = machine("one")
    driver = one.start("sweep", one.file())
    driver.until(lambda: ended(server) >= 1, "a trial that has ended, in the bucket")
    server.down()
    journal = one.working_copy(server) / "journal.jsonl"
    driver.until(
        lambda: journal.read_bytes().count(b'"ended"') > ended(server), "one of which the bucket knows nothing"
    )
    driver.kill()
    here = journal.read_bytes().count(b'"ended"')
    server.up()
    one.run("resume", NAME)
    assert decided(server) == uninterrupted
    ends = [line for line in server.read(f"{HERE}/journal.jsonl").splitlines() if b'"ended"' in line]
    assert len(ends) == 5 and here > 0  # none was flown twice


@pytest.mark.parametrize(
    ("storage", "env", "told"),
    [
        ("s3://nobodys-bucket/x", {}, "s3://nobodys-bucket/x: there is no such bucket"),
        (STORAGE, {"AWS_ACCESS_KEY_ID": READER}, "access denied to these credentials"),
        (STORAGE, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "the server does not answer"),
        (f"s3://AKIA:{SECRET}@{BUCKET}/x", {}, "the storage URL holds credentials"),
    ],
)
def test_a_storage_that_cannot_be_written_is_said_before_anything_starts(server, machine, storage, env, told):
    one = machine("one")
    one.env |= env
    for command in ("plan", "sweep"):
        out, err = one.here(command, one.file(), code=2, storage=storage)
        assert told in err and SECRET not in out + err
        assert len(err.splitlines()) == 1
    assert server.keys() == []
