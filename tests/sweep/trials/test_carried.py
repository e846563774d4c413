"""A trial's files on their way to S3 and back: in the order that a resume needs, and never in the training's way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from s3_server.server import BUCKET

from gaelp_ray.checkpoint import write_json
from gaelp_ray.sweep.store.trial_files import TrialFiles
from gaelp_ray.sweep.trials import carried
from gaelp_ray.sweep.trials.carried import Carrier

HOME = "ours/trip/trials/a"


@pytest.fixture
def server(s3):
    s3.objects[f"{BUCKET}/ours/trip/.turn"] = (b"mine", 0.0)
    return s3


@pytest.fixture
def files(tmp_path):
    return TrialFiles(tmp_path / "trip", "a")


@pytest.fixture
def carrier(server, files, tmp_path, monkeypatch):
    monkeypatch.setattr(Carrier, "_paused_until", 0.0)
    monkeypatch.setattr(Carrier, "_unsent", {})
    return another(files)


def another(files: TrialFiles, turn: str = "mine") -> Carrier:
    sweep = files.folder.parent.parent
    return Carrier({"folder": str(sweep), "remote": f"s3://{BUCKET}/ours/trip", "turn": turn}, files)


def flown(files: TrialFiles, iteration: int, weights: str = "") -> None:
    files.folder.mkdir(parents=True, exist_ok=True)
    files.record.write_text("".join(f"{n}\n" for n in range(iteration)), encoding="utf-8")
    files.save(iteration, lambda folder: write_json(folder / "progress.json", weights or iteration))


def changes(server, since: int) -> list[str]:
    """What was written or removed, by its name below the trial; pyarrow's markers of folders left out."""
    found = [path.removeprefix(f"/{BUCKET}/{HOME}/") for method, path in server.asked[since:] if method == "PUT"]
    return [name for name in found if not name.endswith("/")]


def test_the_record_goes_first_and_what_makes_a_checkpoint_whole_last(carrier, server, files):
    flown(files, 2)
    carrier.send(2)
    whole = ["record.jsonl", "checkpoints/000002/progress.json", "checkpoints/000002/sha256.json"]
    assert changes(server, 0) == whole and server.keys(f"{HOME}/") == sorted(whole)


def test_only_what_is_kept_stays_and_only_what_is_new_goes(carrier, server, files):
    flown(files, 2)
    carrier.send(2)
    flown(files, 4)
    before = len(server.asked)
    carrier.send(4)
    assert changes(server, before)[:1] == ["record.jsonl"]
    assert not any("000002" in name for name in changes(server, before))
    assert any("000002" in name for name in server.keys(f"{HOME}/"))
    files.keep([4])
    carrier._sent = 0
    carrier.send(4)
    assert not any("000002" in name for name in server.keys(f"{HOME}/"))


def test_what_was_sent_is_not_sent_again(carrier, server, files):
    flown(files, 2)
    carrier.send(2)
    before = len(server.asked)
    carrier.send(2)
    assert len(server.asked) == before


def test_a_checkpoint_that_was_made_again_is_never_whole_with_the_other_one_s_files(carrier, server, files):
    flown(files, 2, "former")
    carrier.send(2)
    files.keep(())
    flown(files, 2, "latter")
    server.left = 8
    another(files).send(2)
    server.left = None
    digests = f"{BUCKET}/{HOME}/checkpoints/000002/sha256.json"
    assert digests not in server.objects
    Carrier._paused_until = 0.0
    another(files).send(2)
    assert digests in server.objects and b"latter" in server.read(f"{HOME}/checkpoints/000002/progress.json")


def test_a_server_that_is_away_is_asked_again_after_a_pause(carrier, server, files, monkeypatch):
    flown(files, 2)
    server.status = 503
    carrier.send(2)
    asked = len(server.asked)
    carrier.send(2)
    assert len(server.asked) == asked  # it pauses
    server.status = 0
    monkeypatch.setattr(Carrier, "_paused_until", 0.0)
    carrier.send(2)
    assert "sha256.json" in str(server.keys(f"{HOME}/"))
    assert carried.PAUSE_SECONDS >= 10


def test_what_a_trial_could_not_send_goes_with_the_next_one_of_its_worker(carrier, server, files, monkeypatch):
    flown(files, 2)
    server.status = 503
    carrier.send(2)
    server.status = 0
    monkeypatch.setattr(Carrier, "_paused_until", 0.0)
    following = TrialFiles(files.folder.parent.parent, "b")
    flown(following, 1)
    another(following).send(1)
    sent = server.keys("ours/trip/trials/")
    assert "a/checkpoints/000002/sha256.json" in sent and "b/checkpoints/000001/sha256.json" in sent
    assert Carrier._unsent == {}


def test_a_worker_whose_driver_was_overtaken_writes_nothing(server, files, carrier):
    flown(files, 2)
    overtaken = another(files, turn="former")
    overtaken.send(2)
    overtaken.send(4)
    assert server.keys(f"{HOME}/") == []
    assert len(server.asked) == 2  # one question, and never again


def test_a_trial_that_went_further_elsewhere_is_gone_on_from_there(carrier, server, files, tmp_path):
    flown(files, 4)
    carrier.send(4)
    elsewhere = TrialFiles(tmp_path / "other", "a")
    another(elsewhere).fetch()
    assert elsewhere.record.read_bytes() == files.record.read_bytes()
    assert elsewhere.checkpoints() == [4] and elsewhere.is_whole(4)


def test_a_trial_that_is_as_far_here_is_not_fetched(carrier, server, files):
    flown(files, 4)
    carrier.send(4)
    before = len(server.asked)
    another(files).fetch()
    assert len(server.asked) == before + 1


@pytest.mark.parametrize("here", ["0\n1\n2\n3\n4\n", "other\n"], ids=["ahead", "another one"])
def test_a_trial_that_is_no_beginning_of_that_one_stays_as_it_is(carrier, server, files, tmp_path, here):
    flown(files, 4)
    carrier.send(4)
    elsewhere = TrialFiles(tmp_path / "other", "a")
    elsewhere.folder.mkdir(parents=True)
    elsewhere.record.write_text(here, encoding="utf-8")
    another(elsewhere).fetch()
    assert elsewhere.record.read_text() == here and elsewhere.checkpoints() == []


def test_a_trial_goes_on_from_a_checkpoint_that_only_another_machine_has(carrier, server, files, tmp_path):
    flown(files, 2)
    carrier.send(2)
    other = TrialFiles(tmp_path / "other", "b")
    source = TrialFiles(tmp_path / "other", "a")
    another(other).fetch_checkpoint(source.checkpoint(2))
    assert source.is_whole(2)
    before = len(server.asked)
    another(other).fetch_checkpoint(source.checkpoint(2))
    assert len(server.asked) == before


def test_in_a_folder_nothing_is_asked(server, files):
    local = Carrier({"folder": str(files.folder.parent.parent), "remote": None}, files)
    flown(files, 2)
    local.fetch()
    local.fetch_checkpoint(files.checkpoint(4))
    local.send(2)
    assert server.asked == []


def test_two_trials_of_a_node_go_on_from_the_same_checkpoint(carrier, server, files, tmp_path):
    flown(files, 2)
    carrier.send(2)
    source = TrialFiles(tmp_path / "other", "a")
    ones = [another(TrialFiles(tmp_path / "other", name)) for name in "bcdefg"]
    with ThreadPoolExecutor(len(ones)) as pool:
        for done in [pool.submit(one.fetch_checkpoint, source.checkpoint(2)) for one in ones]:
            done.result()
    assert source.is_whole(2) and Carrier._paused_until == 0.0


@pytest.mark.parametrize("half", [[], ["progress.json"]])
def test_a_checkpoint_that_arrived_in_part_is_fetched_again(carrier, server, files, tmp_path, half):
    """Another trial is fetching it, or was killed when it did."""
    flown(files, 2)
    carrier.send(2)
    source = TrialFiles(tmp_path / "other", "a")
    source.checkpoint(2).mkdir(parents=True)
    for name in half:
        (source.checkpoint(2) / name).write_text("{", encoding="utf-8")
    another(TrialFiles(tmp_path / "other", "b")).fetch_checkpoint(source.checkpoint(2))
    assert source.is_whole(2)
