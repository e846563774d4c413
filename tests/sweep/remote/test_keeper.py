"""What a running driver sends, and what becomes of it when the server is away."""

from __future__ import annotations

import os
import time
from contextlib import suppress

import pytest
from s3_server.server import BUCKET

from gaelp_ray.errors import StorageError
from gaelp_ray.sweep.remote import keeper as module
from gaelp_ray.sweep.remote.address import Address
from gaelp_ray.sweep.remote.bucket import Bucket
from gaelp_ray.sweep.remote.copies import fetch
from gaelp_ray.sweep.remote.keeper import Keeper
from gaelp_ray.sweep.remote.lease import TURN, Lease
from gaelp_ray.sweep.remote.sweep import catch_up, flown
from gaelp_ray.sweep.store.trial_files import TrialFiles

from .conftest import STORAGE

TRIAL = "trials/a/record.jsonl"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "trip"


@pytest.fixture
def keeper(bucket, folder, monkeypatch):
    for name, seconds in {"PUSH": 0.05, "PAUSE": 0.05, "DELIVERY": 0.5, "RETRY": 0.1, "RENEWED": 0.1}.items():
        monkeypatch.setattr(module, f"{name}_SECONDS", seconds)
    there = Bucket(Address.parse(STORAGE).child("trip"), attempts=1)
    lease = Lease(there)
    lease.take()
    there.write(TURN, lease.id.encode())
    found = Keeper(there, folder, lease)
    yield found
    if found._thread.ident:
        found.stop()


def write(folder, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    scratch = folder.with_name("scratch")  # the keeper, which looks at any time, may not see half a file
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(folder / name)


def there(bucket, name: str) -> str | None:
    found = bucket.objects.get(f"{BUCKET}/ours/trip/{name}")
    return found and found[0].decode()


def until(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def puts(bucket, name: str) -> int:
    return sum(asked == ("PUT", f"/{BUCKET}/ours/trip/{name}") for asked in bucket.asked)


def test_the_journal_and_the_ends_arrive_while_the_sweep_runs(keeper, bucket, folder):
    write(folder, "journal.jsonl", "1\n")
    keeper.start()
    until(lambda: there(bucket, "journal.jsonl") == "1\n")
    write(folder, "journal.jsonl", "1\n2\n")
    write(folder, "trials/a/end.json", "{}")
    write(folder, TRIAL, "its worker's to send")
    until(lambda: there(bucket, "journal.jsonl") == "1\n2\n" and there(bucket, "trials/a/end.json"))
    assert there(bucket, TRIAL) is None
    sent = puts(bucket, "journal.jsonl")
    time.sleep(0.3)
    assert puts(bucket, "journal.jsonl") == sent == 2  # nothing has changed


def test_a_server_that_was_away_gets_what_it_missed(keeper, bucket, folder):
    bucket.status = 503
    write(folder, "journal.jsonl", "1\n")
    keeper.start()
    time.sleep(0.3)
    bucket.status = 0
    until(lambda: there(bucket, "journal.jsonl") == "1\n")


def test_the_lease_is_renewed(keeper, bucket):
    keeper.start()
    before = puts(bucket, ".lease")
    until(lambda: puts(bucket, ".lease") > before + 1)


def test_whoever_was_overtaken_sends_nothing_more(keeper, bucket, folder, monkeypatch):
    monkeypatch.setattr(module, "RENEWED_SECONDS", -1.0)  # it asks at once
    write(folder, "journal.jsonl", "old")
    bucket.objects[f"{BUCKET}/ours/trip/.turn"] = (b"another", 0.0)
    keeper.start()
    until(lambda: keeper.taken_over)
    time.sleep(0.2)
    assert there(bucket, "journal.jsonl") is None
    assert keeper.deliver().startswith(f"{STORAGE}/trip is being run by another machine, and what was done here")
    assert there(bucket, "journal.jsonl") is None


def test_in_the_end_the_bucket_has_what_the_folder_has(keeper, bucket, folder):
    for name in ("sweep.yaml", "selection.json", "best/model.json", "wandb/run/x.wandb", TRIAL):
        write(folder, name, name)
    for name in ("leaderboard.csv", "wandb/old/x.wandb", "trials/a/checkpoints/000002/sha256.json"):
        bucket.objects[f"{BUCKET}/ours/trip/{name}"] = (b"old", 0.0)
    (folder / "trials/a/checkpoints").mkdir()  # which holds none any more
    assert keeper.deliver() == ""
    names = {name.removeprefix("ours/trip/") for name in bucket.keys()}
    assert names == {
        ".lease", ".turn", "sweep.yaml", "selection.json", "best/model.json", "wandb/run/x.wandb", TRIAL
    }  # fmt: skip
    before = len(bucket.asked)
    assert keeper.deliver() == ""
    assert [method for method, _ in bucket.asked[before:]] == ["GET"]  # the listing


def test_a_file_that_was_written_again_right_after_it_was_sent_is_sent_again(keeper, bucket, folder):
    write(folder, "journal.jsonl", "1\n")
    assert keeper.deliver() == ""
    sent = (folder / "journal.jsonl").stat().st_mtime_ns
    write(folder, "journal.jsonl", "2\n")
    os.utime(folder / "journal.jsonl", ns=(sent, sent + 10_000_000))  # some clocks of files are as slow as that
    assert keeper.deliver() == ""
    assert there(bucket, "journal.jsonl") == "2\n"


@pytest.mark.parametrize("here", [None, "1\n"])
def test_a_trial_that_is_behind_here_loses_nothing_there(keeper, bucket, folder, here):
    write(folder, "sweep.yaml", "x")
    if here:
        write(folder, TRIAL, here)
    kept = {TRIAL: b"1\n2\n", "trials/a/checkpoints/000002/sha256.json": b"{}"}
    for name, content in kept.items():
        bucket.objects[f"{BUCKET}/ours/trip/{name}"] = (content, time.time() + 60)
    assert keeper.deliver() == ""
    assert there(bucket, "trials/a/checkpoints/000002/sha256.json") == "{}"
    assert there(bucket, TRIAL) == "1\n2\n"


def test_a_decision_arrives_after_all_that_it_rests_on(keeper, bucket, folder):
    for name in ("selection.json", "journal.jsonl", "best/model.npz", "zzz"):
        write(folder, name, name)
    keeper.deliver()
    puts = [path.removeprefix(f"/{BUCKET}/ours/trip/") for method, path in bucket.asked if method == "PUT"]
    assert puts[-1] == "selection.json"


def test_a_server_that_stays_away_is_told_within_a_bounded_time(keeper, bucket, folder):
    write(folder, "selection.json", "{}")
    bucket.status = 503
    began = time.monotonic()
    assert keeper.deliver().startswith(f"{STORAGE}/trip: the server is not well. What it lacks is on this machine: ")
    assert time.monotonic() - began < 5


def test_one_that_comes_back_while_it_is_waited_for_gets_everything(keeper, bucket, folder, monkeypatch):
    write(folder, "selection.json", "{}")
    original = keeper._bucket.stats

    def once(*words):
        monkeypatch.setattr(keeper._bucket, "stats", original)
        raise StorageError("away")

    monkeypatch.setattr(keeper._bucket, "stats", once)
    assert keeper.deliver() == ""
    assert there(bucket, "selection.json") == "{}"


CHECKPOINT = "trials/a/checkpoints/000004"
WEIGHTS = {f"{CHECKPOINT}/seed-0/model.npz", f"{CHECKPOINT}/seed-0/model.json", f"{CHECKPOINT}/sha256.json"}


@pytest.fixture
def flown_elsewhere(bucket):
    """A trial that other machines' workers have completed."""
    for name in (TRIAL, *WEIGHTS):
        bucket.objects[f"{BUCKET}/ours/trip/{name}"] = (name.encode(), time.time() + 60)


def weights_there(bucket) -> set[str]:
    return {name.removeprefix("ours/trip/") for name in bucket.keys() if "/checkpoints/" in name}


@pytest.mark.parametrize("answered", range(0, 12))
@pytest.mark.parametrize("older", [False, True], ids=["empty", "over an older copy"])
@pytest.mark.usefixtures("flown_elsewhere")
def test_a_fetch_that_broke_off_costs_no_weights_there(keeper, bucket, folder, answered, older):
    write(folder, "sweep.yaml", "x")
    if older:
        write(folder, TRIAL, TRIAL[:8])
        write(folder, "trials/a/checkpoints/000002/sha256.json", "{}")
    found = keeper._bucket.stats()
    bucket.left = answered
    with suppress(StorageError):
        fetch(keeper._bucket, found, folder, flown)
    bucket.left = None
    assert keeper.deliver() == ""
    assert weights_there(bucket) >= WEIGHTS
    catch_up(keeper._bucket, folder)
    assert keeper.deliver() == ""
    assert weights_there(bucket) == WEIGHTS
    assert all((folder / name).read_text() == name for name in (TRIAL, *WEIGHTS))


@pytest.mark.parametrize("here", [(), ("000002/sha256.json",), ("000004/seed-0/model.npz",)])
def test_what_has_never_been_whole_here_stays_there_whatever_the_record_says(
    keeper, bucket, folder, flown_elsewhere, here
):
    write(folder, TRIAL, TRIAL)  # as a copy that looks has it
    for name in here:
        write(folder, f"trials/a/checkpoints/{name}", "x")
    assert keeper.deliver() == ""
    assert weights_there(bucket) >= WEIGHTS


def test_what_a_later_checkpoint_follows_goes_there_too(keeper, bucket, folder, flown_elsewhere):
    write(folder, TRIAL, TRIAL)
    write(folder, "trials/a/checkpoints/000006/sha256.json", "{}")
    assert keeper.deliver() == ""
    assert weights_there(bucket) == {"trials/a/checkpoints/000006/sha256.json"}


def test_the_weights_of_a_trial_that_needs_none_go_there_too(keeper, bucket, folder, flown_elsewhere):
    fetch(keeper._bucket, keeper._bucket.stats(), folder, flown)
    TrialFiles(folder, "a").keep(())
    (folder / "trials/a/checkpoints/.000006").mkdir()  # of a worker that was killed
    assert keeper.deliver() == ""
    assert weights_there(bucket) == set()


def test_the_lease_is_renewed_while_much_is_sent(keeper, bucket, folder, monkeypatch):
    for number in range(30):
        write(folder, f"trials/{number:02d}/end.json", "{}")
    send = Bucket.send
    monkeypatch.setattr(Bucket, "send", lambda *words: (time.sleep(0.03), send(*words)))
    keeper.start()
    until(lambda: puts(bucket, ".lease") > 2)
    assert sum("end.json" in name for name in bucket.keys()) < 30


def test_whoever_is_overtaken_while_much_is_sent_sends_no_more(keeper, bucket, folder, monkeypatch):
    for number in range(30):
        write(folder, f"trials/{number:02d}/end.json", "{}")
    send = Bucket.send
    monkeypatch.setattr(Bucket, "send", lambda *words: (time.sleep(0.03), send(*words)))
    keeper.start()
    until(lambda: any("end.json" in name for name in bucket.keys()))
    bucket.objects[f"{BUCKET}/ours/trip/.turn"] = (b"another", 0.0)
    until(lambda: keeper.taken_over)
    time.sleep(0.1)
    assert sum("end.json" in name for name in bucket.keys()) < 30
