"""A trial's files on a node that shares none of them: the bucket has all that counts, or the trial has not done it."""

from __future__ import annotations

from pathlib import Path

import pytest
from s3_server.server import BUCKET

from gaelp_ray.checkpoint import write_json
from gaelp_ray.errors import NodeError
from gaelp_ray.sweep.store.trial_files import TrialFiles
from gaelp_ray.sweep.trials import carried
from gaelp_ray.sweep.trials.carried import Carrier

HOME = "ours/trip/trials/a"


@pytest.fixture
def server(s3, monkeypatch):
    monkeypatch.setattr(Carrier, "_paused_until", 0.0)
    monkeypatch.setattr(Carrier, "_unsent", {})
    monkeypatch.setattr(carried, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(carried, "PATIENCE_SECONDS", 0.0)
    s3.objects[f"{BUCKET}/ours/trip/.turn"] = (b"mine", 0.0)
    return s3


def node(folder: Path) -> tuple[Carrier, TrialFiles]:
    files = TrialFiles(folder, "a")
    shared = {"folder": str(folder), "drivers": "/drivers", "turn": "mine", "remote": f"s3://{BUCKET}/ours/trip"}
    return Carrier(shared, files), files


def flown(files: TrialFiles, iteration: int) -> None:
    files.folder.mkdir(parents=True, exist_ok=True)
    files.record.write_text("".join(f"{n}\n" for n in range(iteration)), encoding="utf-8")
    files.save(iteration, lambda folder: write_json(folder / "progress.json", iteration))


def test_what_one_node_did_the_next_one_goes_on_from(server, tmp_path):
    here, files = node(tmp_path / "one")
    flown(files, 3)
    here.send(3)
    there, others = node(tmp_path / "two")
    there.fetch()
    assert others.record.read_bytes() == files.record.read_bytes()
    assert others.checkpoints() == [3] and others.is_whole(3)


def test_what_only_a_node_has_does_not_count_when_the_trial_comes_back(server, tmp_path):
    here, files = node(tmp_path / "one")
    flown(files, 3)
    here.send(3)
    flown(files, 5)
    node(tmp_path / "one")[0].fetch()
    assert (len(files.record.read_text().splitlines()), files.checkpoints()) == (3, [3])


def test_how_a_trial_ended_is_the_drivers_to_say(server, tmp_path):
    here, files = node(tmp_path / "one")
    flown(files, 3)
    here.send(3)
    server.objects[f"{BUCKET}/{HOME}/end.json"] = (b'{"status": "failed", "reason": ""}', 0.0)
    there, others = node(tmp_path / "two")
    there.fetch()
    assert others.read_end() is None


def test_a_trial_waits_for_a_server_and_is_handed_back_in_the_end(server, tmp_path, monkeypatch):
    here, files = node(tmp_path / "one")
    flown(files, 3)
    server.down()
    here.send(3)  # nobody waits here
    with pytest.raises(NodeError, match="the server does not answer"):
        here.settle()
    with pytest.raises(NodeError):
        node(tmp_path / "two")[0].fetch()
    monkeypatch.setattr(carried, "PATIENCE_SECONDS", 30.0)
    monkeypatch.setattr(carried.time, "sleep", lambda _: server.up())
    here.settle()
    assert f"{HOME}/record.jsonl" in server.keys()
    asked = len(server.asked)
    here.settle()  # what has arrived
    assert len(server.asked) == asked


def test_a_trial_that_is_let_go_of_leaves_its_record(server, tmp_path):
    here, files = node(tmp_path / "one")
    flown(files, 3)
    here.send(3)
    files.record.write_text("0\n1\n2\n3\n", encoding="utf-8")  # no checkpoint since
    here.leave()
    assert server.read(f"{HOME}/record.jsonl") == b"0\n1\n2\n3\n"
    asked = len(server.asked)
    here.leave()
    assert len(server.asked) == asked


def test_another_trials_checkpoint_comes_from_the_bucket(server, tmp_path):
    here, files = node(tmp_path / "one")
    flown(files, 3)
    here.send(3)
    there, others = node(tmp_path / "two")
    there.fetch_checkpoint(others.checkpoint(3))
    assert others.is_whole(3) and not others.record.exists()


def test_a_worker_goes_on_by_what_has_arrived_whatever_tune_believes(worker):
    """The node that wrote the checkpoint which Tune knows is gone, and has not sent it."""
    worker.fly(2)
    going = worker.start()
    told = going.save()
    told.checkpoint.path = "trials/trip-00/checkpoints/000004"
    going.restore(told)
    report = going.train()
    assert (report["training_iteration"], report["replayed"]) == (3, False)


def test_a_reference_travels_by_value(worker):
    going = worker.start()
    for _ in range(2):
        going.train()
    told = going.save()
    told.metrics = {"training_iteration": 2}  # a population's scheduler gives others
    again = worker.start()
    again.restore(told)
    report = again.train()
    assert report["training_iteration"] == 3
    assert worker.numbers(report) == worker.numbers(worker.files().read().last)


def test_trials_that_ended_in_another_session_are_heard_without_a_file_that_says_so(worker):
    reports = worker.fly()
    worker.files().keep(())
    worker.sweep |= {"replays": True, "session": "second", "ended": ("trip-00",)}
    again = worker.fly()
    assert [r["replayed"] for r in again] == [True] * len(reports)


def test_a_trial_is_not_done_before_the_bucket_has_it(worker, monkeypatch):
    def settle(_):
        raise NodeError("the server does not answer")

    going = worker.start()
    monkeypatch.setattr(Carrier, "settle", settle)
    for _ in range(4):
        going.train()
    with pytest.raises(NodeError):
        going.train()
    with pytest.raises(NodeError):
        going.save()


def test_a_worker_looks_whether_it_sees_the_sweep_before_it_flies(worker):
    worker.sweep["cluster"] = True  # and the folder has no provenance.json
    with pytest.raises(NodeError, match="does not see the sweep's folder"):
        worker.start().train()
    assert not worker.files().record.exists()
