"""Copies between a folder and a bucket: equal when they are done, and nothing whole when they break off."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from s3_server.server import BUCKET

from gaelp_ray.errors import StorageError
from gaelp_ray.sweep.remote.address import Address
from gaelp_ray.sweep.remote.bucket import Bucket
from gaelp_ray.sweep.remote.copies import by_rank, fetch, is_sent, local_files
from gaelp_ray.sweep.remote.sweep import everything, facts, winner

from .conftest import STORAGE

FILES = {
    "sweep.yaml": b"name: trip",
    "journal.jsonl": b"{}\n",
    "selection.json": b"{}",
    "best/model.npz": b"weights",
    "best/model.json": b"{}",
    "wandb/run/run.wandb": b"rows",
    "trials/a/record.jsonl": b"1\n2\n",
    "trials/a/checkpoints/000002/seed-0/model.npz": b"two",
    "trials/a/checkpoints/000002/sha256.json": b"{}",
}


@pytest.fixture
def there(bucket):
    for name, content in FILES.items():
        bucket.objects[f"{BUCKET}/ours/{name}"] = (content, 1_700_000_000.0)
    return Bucket(Address.parse(STORAGE), attempts=1)


def contents(folder) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in local_files(folder)}


def test_all_of_it_comes_and_what_is_the_same_comes_once(there, bucket, tmp_path):
    fetch(there, there.stats(), tmp_path, everything)
    assert contents(tmp_path) == FILES
    before = len(bucket.asked)
    fetch(there, there.stats(), tmp_path, everything)
    assert [method for method, _ in bucket.asked[before:]] == ["GET"]  # the listing


def test_what_is_other_here_is_replaced_and_what_is_more_here_goes(there, tmp_path):
    fetch(there, there.stats(), tmp_path, everything)
    (tmp_path / "journal.jsonl").write_bytes(b"[]\n")  # as long
    (tmp_path / "trials/a/checkpoints/000004").mkdir()
    (tmp_path / "trials/a/checkpoints/000004/model.npz").write_bytes(b"four")
    fetch(there, there.stats(), tmp_path, everything)
    assert contents(tmp_path) == FILES
    assert not (tmp_path / "trials/a/checkpoints/000004").exists()


def test_a_file_of_another_length_is_another_one_whatever_its_time(there, tmp_path):
    fetch(there, there.stats(), tmp_path, everything)
    path = tmp_path / "journal.jsonl"
    when = path.stat().st_mtime
    path.write_bytes(b"{}\n{}\n")
    os.utime(path, (when, when))
    fetch(there, there.stats(), tmp_path, everything)
    assert contents(tmp_path) == FILES


def test_a_copy_of_which_only_one_file_is_missing_is_no_sweep_until_it_is_there(there, bucket, tmp_path):
    fetch(there, there.stats(), tmp_path, everything)
    (tmp_path / "journal.jsonl").unlink()
    found = there.stats()
    bucket.left = 0
    with pytest.raises(StorageError):
        fetch(there, found, tmp_path, everything)
    assert not (tmp_path / "sweep.yaml").exists()


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (facts, {"sweep.yaml", "journal.jsonl", "selection.json", "trials/a/record.jsonl"}),
        (winner, {"sweep.yaml", "selection.json", "best/model.npz", "best/model.json"}),
    ],
)
def test_who_looks_gets_what_that_needs(there, tmp_path, wanted, names):
    fetch(there, there.stats(), tmp_path, wanted)
    assert set(contents(tmp_path)) == names


@pytest.mark.parametrize("answered", range(0, 18, 2))
@pytest.mark.parametrize("older", [False, True], ids=["empty", "over an older copy"])
def test_a_copy_that_breaks_off_is_no_sweep_and_goes_on(there, bucket, tmp_path, answered, older):
    if older:
        fetch(there, there.stats(), tmp_path, everything)
        for name, content in FILES.items():
            bucket.objects[f"{BUCKET}/ours/{name}"] = (content + b" ", 1_700_000_001.0)
    found = there.stats()
    bucket.left = answered  # two requests for each of nine files
    with pytest.raises(StorageError):
        fetch(there, found, tmp_path, everything)
    assert not (tmp_path / "sweep.yaml").exists()
    checkpoint = tmp_path / "trials/a/checkpoints/000002"
    assert not (checkpoint / "sha256.json").exists() or (checkpoint / "seed-0/model.npz").exists()
    bucket.left = None
    fetch(there, there.stats(), tmp_path, everything)
    assert contents(tmp_path) == {name: content + b" " * older for name, content in FILES.items()}


def test_what_makes_a_folder_whole_goes_last():
    names = [name for group in by_rank(sorted(FILES, reverse=True)) for name in group]
    assert sorted(names) == sorted(FILES)
    assert names[-2:] == ["selection.json", "sweep.yaml"]
    place = names.index
    assert place("best/model.npz") < place("best/model.json")
    assert place("trials/a/checkpoints/000002/seed-0/model.npz") < place("trials/a/checkpoints/000002/sha256.json")


def test_scratch_links_and_caches_are_not_the_sweep_s(tmp_path):
    names = ".lock .tune/state .best/model.npz trials/a/.x trials/a/checkpoints/.000002/m wandb/cache/x wandb/.kept x"
    for name in names.split():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "wandb/latest-run").symlink_to(tmp_path / "x")
    assert sorted(local_files(tmp_path)) == ["wandb/.kept", "x"]


def test_a_file_was_sent_if_it_is_as_long_and_has_not_been_written_since(there, tmp_path):
    stat = there.stat("journal.jsonl")
    path = tmp_path / "journal.jsonl"
    path.write_bytes(FILES["journal.jsonl"])
    assert not is_sent(path, stat)  # written now, sent long ago
    os.utime(path, (stat.when, stat.when))
    assert is_sent(path, stat) and not is_sent(path, None)
    path.write_bytes(FILES["journal.jsonl"] * 2)
    os.utime(path, (stat.when, stat.when))
    assert not is_sent(path, stat)


def test_a_checkpoint_that_another_worker_is_about_to_write_stays(there, tmp_path):
    """Of a folder that several workers of a node share."""
    begun, left = (tmp_path / "trials/other/checkpoints" / name for name in (".000001", "000002"))
    for folder in (begun, left):
        folder.mkdir(parents=True)
    fetch(there, there.stats(), tmp_path, everything)
    assert begun.is_dir() and not left.exists()


RECORD = "trials/a/record.jsonl"


@pytest.mark.parametrize("answered", range(0, 18))
def test_a_trials_record_comes_after_all_else_of_it(there, bucket, tmp_path, answered):
    (tmp_path / RECORD).parent.mkdir(parents=True)
    (tmp_path / RECORD).write_bytes(b"1\n")
    found = there.stats()
    bucket.left = answered
    with suppress(StorageError):
        fetch(there, found, tmp_path, everything)
    here = contents(tmp_path)
    assert here[RECORD] == b"1\n" or {name for name in FILES if name.startswith("trials/")} <= here.keys()
    assert here[RECORD] in (b"1\n", FILES[RECORD])


def test_where_a_checkpoint_has_gone_meanwhile_no_record_says_that_it_is_here(there, bucket, tmp_path):
    found = there.stats()
    for name in [name for name in FILES if "000002" in name]:  # and its worker has sent a later one
        there.remove(name)
    bucket.objects[f"{BUCKET}/ours/{RECORD}"] = (b"1\n2\n3\n4\n", 1_700_000_001.0)
    bucket.objects[f"{BUCKET}/ours/trials/a/checkpoints/000004/sha256.json"] = (b"{}", 1_700_000_001.0)
    with pytest.raises(StorageError, match="is being changed by another machine"):
        fetch(there, found, tmp_path, everything)
    assert {RECORD, "sweep.yaml"}.isdisjoint(contents(tmp_path))
    fetch(there, there.stats(), tmp_path, everything)
    assert {RECORD, "trials/a/checkpoints/000004/sha256.json"} <= contents(tmp_path).keys()


def test_two_that_fetch_the_same_at_a_time_are_in_nobodys_way(there, tmp_path, monkeypatch):
    read = Bucket.read

    def while_another_one_does(bucket: Bucket, name: str) -> bytes | None:
        monkeypatch.setattr(Bucket, "read", read)
        content = bucket.read(name)
        fetch(there, there.stats(), tmp_path, everything)
        return content

    monkeypatch.setattr(Bucket, "read", while_another_one_does)
    fetch(there, there.stats(), tmp_path, everything)
    assert contents(tmp_path) == FILES


def test_several_that_fetch_at_a_time_all_have_it(there, tmp_path):
    found = there.stats()
    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(fetch, there, found, tmp_path, everything) for _ in range(6)]:
            done.result()
    assert contents(tmp_path) == FILES
    assert {path.name for path in tmp_path.iterdir()} == {name.partition("/")[0] for name in FILES}


def test_what_a_killed_one_has_left_goes_later(there, tmp_path):
    old, young = tmp_path / ".fetched-old", tmp_path / ".fetched-young"
    for place in (old, young):
        place.mkdir()
        (place / "x").write_bytes(b"half")
    os.utime(old, (1_700_000_000.0, 1_700_000_000.0))
    fetch(there, there.stats(), tmp_path, everything)
    assert young.is_dir() and not old.exists()
    assert contents(tmp_path) == FILES


def test_a_checkpoint_without_files_goes_only_where_the_bucket_has_none_of_it(there, tmp_path):
    """What another command fetches has a folder before it has files."""
    left, arriving = (tmp_path / "trials/a/checkpoints" / name for name in ("000001", "000002"))
    for place in (left / "seed-0", arriving):
        place.mkdir(parents=True)
    fetch(there, there.stats(), tmp_path, lambda name: name.startswith("trials/a/checkpoints/000002/"))
    assert left.is_dir()
    found = there.stats()
    fetch(there, found, tmp_path, everything)
    assert arriving.is_dir() and not left.exists()
