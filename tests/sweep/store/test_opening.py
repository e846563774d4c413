"""Sweeps found by name wherever they are; those in S3 from any machine, and from none while another one runs them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from s3_server.server import BUCKET, READER

from gaelp_ray.errors import StorageError
from gaelp_ray.retrieval import load_best
from gaelp_ray.sweep.remote import keeper, lease
from gaelp_ray.sweep.remote.sweep import RemoteSweep, facts
from gaelp_ray.sweep.store.folder import SweepFolder
from gaelp_ray.sweep.store.journal import End, Journal
from gaelp_ray.sweep.store.opening import every_sweep, new_sweep, open_sweep
from gaelp_ray.sweep.store.states import state_of

STORAGE = f"s3://{BUCKET}/ours"
DECISION = {"winner": None, "leaderboard": [], "reason": "nobody"}


@pytest.fixture
def server(s3, monkeypatch):
    monkeypatch.setattr(lease, "SETTLED_SECONDS", 0.0)
    monkeypatch.setattr(keeper, "DELIVERY_SECONDS", 0.0)
    return s3


@pytest.fixture
def at(server, monkeypatch, tmp_path):
    """Go to another machine."""

    def go(name: str) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))

    go("one")
    return go


def started(name: str = "trip", overwrite: bool = False) -> SweepFolder:
    folder = new_sweep(STORAGE, name)
    folder.require_free(overwrite)
    with folder.claim():
        folder.clear()
        folder.write_start({"name": name}, {"id": "first"})
        with closing(Journal(folder.path)) as journal:
            journal.proposed({"name": "a", "first": "a"})
        record(folder, "1\n")
        assert folder.deliver() == ""
    return folder


def record(folder: SweepFolder, text: str) -> None:
    path = folder.path / "trials/a/record.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def recorded(folder: SweepFolder) -> str:
    return (folder.path / "trials/a/record.jsonl").read_text(encoding="utf-8")


def test_a_sweep_is_found_on_a_machine_that_has_never_seen_it(at):
    first = started()
    at("two")
    for found in (open_sweep(STORAGE, "trip"), open_sweep("results", f"{STORAGE}/trip"), *every_sweep(STORAGE)):
        assert found.path != first.path and "two" in str(found.path)
        assert list(found.history().plans) == ["a"] and recorded(found) == "1\n"
        assert found.read_provenance() == {"id": "first"}
        assert (found.shown, found.storage) == (f"{STORAGE}/trip", STORAGE)


def test_what_is_not_there_is_said_with_what_is(at):
    with pytest.raises(StorageError, match=f"no sweep 'trip' in {STORAGE}. There is none yet"):
        open_sweep(STORAGE, "trip")
    assert list(every_sweep(STORAGE)) == []
    started()
    with pytest.raises(StorageError, match=f"no sweep 'tripp' in {STORAGE}. Did you mean 'trip'?"):
        open_sweep(STORAGE, "tripp")
    with pytest.raises(StorageError, match=f"'trip' has not finished: `gaelp-ray resume {STORAGE}/trip`"):
        load_best("trip", STORAGE)


def test_a_folder_at_home_is_found_by_its_short_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = new_sweep("~/sweeps", "trip")
    with folder.claim():
        folder.write_start({"name": "trip"}, {"id": "first"})
    assert open_sweep("~/sweeps", "trip") == open_sweep("results", "~/sweeps/trip") == folder
    assert list(every_sweep("~/sweeps")) == [folder]
    with pytest.raises(StorageError, match="'trip' has not finished"):
        load_best("trip", "~/sweeps")


def test_the_start_is_in_the_bucket_before_anything_runs(at, server):
    folder = new_sweep(STORAGE, "trip")
    with folder.claim():
        folder.write_start({"name": "trip"}, {"id": "first"})
        assert server.keys("ours/trip/") == [".lease", ".turn", "provenance.json", "sweep.yaml"]
        server.status = 503
        with pytest.raises(StorageError, match="the server is not well"):
            folder.write_start({"name": "trop"}, {"id": "second"})
    server.status = 0


def test_the_copy_of_whoever_ran_the_sweep_last_stays_although_the_bucket_is_behind(at, server):
    folder = started()
    with folder.claim():
        record(folder, "1\n2\n")  # and the server is away
    again = open_sweep(STORAGE, "trip")
    assert recorded(again) == "1\n2\n"
    assert server.read("ours/trip/trials/a/record.jsonl") == b"1\n"
    with again.claim():
        assert again.deliver() == ""
    assert server.read("ours/trip/trials/a/record.jsonl") == b"1\n2\n"


def test_what_was_done_elsewhere_since_then_replaces_this_machine_s_copy(at):
    folder = started()
    with folder.claim():
        record(folder, "1\nunsent\n")
    at("two")
    there = open_sweep(STORAGE, "trip")
    with there.claim():
        record(there, "1\n2\n3\n")
        there.write_end(DECISION, [{"rank": 1}])
        assert there.deliver() == ""
    at("one")
    back = open_sweep(STORAGE, "trip")
    assert back.path == folder.path and recorded(back) == "1\n2\n3\n" and back.is_finished()
    with back.claim():
        back.reopen()
        assert back.deliver() == ""
    at("two")
    assert not open_sweep(STORAGE, "trip").is_finished()  # as another sweep of finalists is being chosen


def test_a_look_is_no_turn(at):
    started()
    at("two")
    folder = open_sweep(STORAGE, "trip", facts)
    record(folder, "1\nsomebody has edited the copy\n")
    assert recorded(open_sweep(STORAGE, "trip", facts)) == "1\n"


def test_a_trial_that_went_on_elsewhere_comes_with_the_claim(at, server):
    folder = started()
    server.objects[f"{BUCKET}/ours/trip/trials/a/record.jsonl"] = (b"1\n2\n", time.time())
    server.objects[f"{BUCKET}/ours/trip/trials/b/record.jsonl"] = (b"1\n", time.time())
    again = open_sweep(STORAGE, "trip")
    with again.claim():
        assert recorded(folder) == "1\n2\n"
        assert (folder.path / "trials/b/record.jsonl").is_file()


def test_another_machine_s_driver_is_refused_and_shown(at, server):
    folder = started()
    other = {"process": 4711, "machine": "elsewhere", "id": "x", "renewed_at": time.time()}
    server.objects[f"{BUCKET}/ours/trip/.lease"] = (json.dumps(other).encode(), time.time())
    assert state_of(folder) == "running"
    for overwrite in (False, True):
        again = new_sweep(STORAGE, "trip") if overwrite else open_sweep(STORAGE, "trip")
        with pytest.raises(StorageError, match="is being run by process 4711 on elsewhere"), again.claim():
            pytest.fail("claimed")
    assert recorded(folder) == "1\n"
    server.objects[f"{BUCKET}/ours/trip/.lease"] = (json.dumps(other | {"renewed_at": 0}).encode(), 0.0)
    assert state_of(folder) == "interrupted"


def test_whoever_looked_before_another_one_ran_the_sweep_must_look_again(at):
    started()
    folder = open_sweep(STORAGE, "trip")
    at("two")
    with open_sweep(STORAGE, "trip").claim():
        pass
    at("one")
    with pytest.raises(StorageError, match="was changed from another machine just now"), folder.claim():
        pytest.fail("claimed")
    with open_sweep(STORAGE, "trip").claim():
        pass


def test_a_sweep_of_that_name_is_replaced_only_when_asked(at, server):
    folder = started()
    with folder.claim():
        folder.write_end(DECISION, [{"rank": 1}])
        assert folder.deliver() == ""
    at("two")
    with pytest.raises(StorageError, match=f"the sweep 'trip' exists already in {STORAGE}: give another name"):
        new_sweep(STORAGE, "trip").require_free(overwrite=False)
    assert not started(overwrite=True).is_finished()
    assert "selection.json" not in server.keys("ours/trip/")


def test_somebody_s_own_objects_are_left_alone(at, server):
    server.objects[f"{BUCKET}/ours/trip/holiday.jpg"] = (b"beach", 0.0)
    for overwrite in (False, True):
        with pytest.raises(StorageError, match=f"{STORAGE}/trip is no sweep's folder"):
            new_sweep(STORAGE, "trip").require_free(overwrite)


def test_a_start_that_was_cut_off_is_in_nobody_s_way(at, server):
    started()
    for name in server.keys("ours/trip/"):
        if name not in (".turn", "provenance.json"):
            del server.objects[f"{BUCKET}/ours/trip/{name}"]
    started()


def test_an_end_that_does_not_arrive_is_told_with_the_way_on(at, server):
    folder = started()
    with folder.claim():
        server.status = 503
        told = folder.deliver()
        server.status = 0
    assert told == (
        f"{STORAGE}/trip: the server is not well. What it lacks is on this machine: `gaelp-ray resume {STORAGE}/trip` "
        "brings it there"
    )


def test_weights_that_are_removed_here_go_there_too(at, server):
    folder = started()
    checkpoint = folder.path / "trials/a/checkpoints/000001"
    with folder.claim():
        checkpoint.mkdir(parents=True)
        (checkpoint / "sha256.json").write_text("{}", encoding="utf-8")
        assert folder.deliver() == ""
        assert "trials/a/checkpoints/000001/sha256.json" in server.keys("ours/trip/")
        with closing(Journal(folder.path)) as journal:
            journal.ended("a", End("completed"))
        folder.keep_weights_of(())
        assert folder.deliver() == ""
    assert not any("checkpoints" in name for name in server.keys("ours/trip/"))


def test_a_decision_that_is_taken_back_is_gone_there_at_once(at, server):
    folder = started()
    with folder.claim():
        folder.write_end(DECISION, [{"rank": 1}])
        assert folder.deliver() == ""
        folder.reopen()
        assert "selection.json" not in server.keys("ours/trip/")


def test_what_is_replaced_is_gone_there_before_the_next_one_begins(at, server):
    started()
    folder = new_sweep(STORAGE, "trip")
    with folder.claim():
        folder.clear()
        assert server.keys("ours/trip/") == [".lease", ".turn"]  # it stays ours
        assert (folder.path / ".turn").is_file()


def test_a_storage_that_may_only_be_read_takes_no_sweep(at, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER)
    with pytest.raises(StorageError, match="access denied to these credentials"):
        new_sweep(STORAGE, "trip").require_free(overwrite=False)


def test_a_record_that_went_another_way_there_does_not_replace_ours(at, server):
    folder = started()
    server.objects[f"{BUCKET}/ours/trip/trials/a/record.jsonl"] = (b"other\nrows\n", time.time())
    with open_sweep(STORAGE, "trip").claim():
        assert recorded(folder) == "1\n"


def test_a_copy_that_is_being_written_here_is_looked_at_as_it_is(at, server):
    folder = started()
    with folder.claim():
        record(folder, "1\n2\n")
        server.objects[f"{BUCKET}/ours/trip/.turn"] = (b"another", 0.0)
        assert recorded(open_sweep(STORAGE, "trip")) == "1\n2\n"


def test_only_sweeps_are_listed(at, server):
    started()
    server.objects[f"{BUCKET}/ours/photos/beach.jpg"] = (b"beach", 0.0)
    assert [folder.path.name for folder in every_sweep(STORAGE)] == ["trip"]


def test_of_a_sweep_whose_server_is_away_the_state_is_what_this_machine_knows(at, server):
    folder = started()
    server.status = 503
    assert state_of(folder) == "interrupted"


def test_a_local_sweep_asks_no_bucket(at, server, tmp_path):
    folder = new_sweep(str(tmp_path / "results"), "trip")
    folder.require_free(False)
    with folder.claim():
        folder.write_start({"name": "trip"}, {"id": "first"})
        assert folder.deliver() == ""
    assert open_sweep(tmp_path / "results", "trip").remote is None
    assert server.asked == []


def test_a_sweep_is_run_after_those_who_look_and_looked_at_by_one_at_a_time(at, monkeypatch):
    """What a slow one brought later would replace the journal of whoever runs it."""
    started()
    at("two")
    fetch, under_way, most, looking = RemoteSweep.fetch, 0, 0, threading.Event()

    def slowly(remote: RemoteSweep, folder: Path, wanted: Callable[[str], bool]) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        looking.set()
        time.sleep(0.3)
        fetch(remote, folder, wanted)
        under_way -= 1

    folder = open_sweep(STORAGE, "trip")
    monkeypatch.setattr(RemoteSweep, "fetch", slowly)
    with ThreadPoolExecutor(3) as pool:
        looks = [pool.submit(open_sweep, STORAGE, "trip", facts) for _ in range(3)]
        assert looking.wait(30)
        with folder.claim():
            running = under_way
            with closing(Journal(folder.path)) as journal:
                journal.proposed({"name": "b", "first": "b"})
            assert [list(look.result(timeout=30).history().plans) for look in looks] == [["a", "b"]] * 3
        assert (running, most) == (0, 1)
    assert list(open_sweep(STORAGE, "trip").history().plans) == ["a", "b"]
