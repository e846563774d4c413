"""Who may run a sweep: one process at a time, and after whatever has cut the last one off."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import shutil
from pathlib import Path

import pytest
from begun_sweeps import claimed

from gaelp_ray.errors import StorageError
from gaelp_ray.sweep.store.folder import SweepFolder, sweeps_in


def started(storage: Path, name: str = "trip") -> SweepFolder:
    folder = claimed(storage, name, overwrite=False)
    folder.write_start({"name": name}, {"id": "old"})
    (folder.path / "trials").mkdir()
    (folder.path / "trials" / "a.txt").write_text("an hour of work", encoding="utf-8")
    return folder


def contents(folder: SweepFolder) -> list[str]:
    return sorted(path.name for path in folder.path.iterdir())


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def hold(path: Path, pipe) -> None:
    """Another process that runs a sweep until it hears something."""
    with SweepFolder(path).claim():
        pipe.send("it runs")
        pipe.recv()


@pytest.fixture
def elsewhere():
    """Has another process run a sweep."""
    context = multiprocessing.get_context("fork")
    others = []

    def start(folder: SweepFolder):
        pipe, its_end = context.Pipe()
        other = context.Process(target=hold, args=(folder.path, its_end))
        others.append((other, pipe))
        other.start()
        assert pipe.poll(30) and pipe.recv() == "it runs"
        return other

    yield start
    for other, pipe in others:
        if other.is_alive():
            pipe.send("end")
        other.join(30)


def test_a_sweep_that_is_being_run_is_refused_with_who_runs_it_and_stays_as_it_is(tmp_path, elsewhere):
    folder = started(tmp_path)
    other = elsewhere(folder)
    before = everything(folder.path)
    with pytest.raises(StorageError, match=rf"'trip' is being run by process {other.pid} on .*: wait for it"):
        claimed(tmp_path, "trip", overwrite=True)
    assert everything(folder.path) == before


def test_on_nfs_it_is_seen_that_a_sweep_is_being_run(tmp_path, elsewhere, monkeypatch):
    """NFS has no exclusive lock for a file that was opened to be read. Played by flock(), as no NFS is here."""
    given = fcntl.flock

    def flock(number, kind):
        if kind & fcntl.LOCK_EX and fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        given(number, kind)

    folder = started(tmp_path)
    assert not folder.is_claimed()
    elsewhere(folder)
    monkeypatch.setattr("fcntl.flock", flock)
    assert folder.is_claimed()


def test_a_sweep_whose_process_was_killed_can_be_claimed(tmp_path, elsewhere):
    folder = started(tmp_path)
    other = elsewhere(folder)
    other.kill()
    other.join(30)
    with folder.claim():
        assert (folder.path / ".lock").read_text().startswith(f"process {os.getpid()} on ")


def test_a_claim_that_ended_is_no_sweep_and_in_nobodys_way(tmp_path):
    for _ in range(2):  # Ctrl-C before the first file
        assert not claimed(tmp_path, "trip", overwrite=False).is_sweep()
    assert list(sweeps_in(tmp_path)) == []


def test_a_folder_that_cannot_be_made_is_refused_at_the_claim(tmp_path):
    (tmp_path / "trip").write_text("mine", encoding="utf-8")
    with pytest.raises(StorageError, match=r"cannot write to .*trip"), SweepFolder(tmp_path / "trip").claim():
        pytest.fail("claimed")


class PowerCut(BaseException):
    """Ends everything at once."""


@pytest.mark.parametrize("allowed", range(5))
@pytest.mark.parametrize("overwrite", [False, True], ids=["new", "overwrite"])
def test_a_sweep_that_was_cut_off_while_its_folder_was_made_is_no_dead_end(tmp_path, monkeypatch, allowed, overwrite):
    """Wherever it was cut: --overwrite starts it again, and without it nothing but a sweep is in the way."""
    if overwrite:
        started(tmp_path)
    left = [allowed]

    def cut(original):
        def call(*arguments, **keywords):
            if not left[0]:
                raise PowerCut
            left[0] -= 1
            return original(*arguments, **keywords)

        return call

    with monkeypatch.context() as patched:
        for name in ("unlink", "replace"):
            patched.setattr(Path, name, cut(getattr(Path, name)))
        patched.setattr(shutil, "rmtree", cut(shutil.rmtree))
        try:
            claimed(tmp_path, "trip", overwrite).write_start({"name": "trip"}, {"id": "abc"})
        except PowerCut:
            pass
    again = claimed(tmp_path, "trip", overwrite=True)
    again.write_start({"name": "trip"}, {"id": "new"})
    assert again.read_provenance() == {"id": "new"} and contents(again) == [".lock", "provenance.json", "sweep.yaml"]


def test_somebody_s_own_folder_is_nobodys_even_if_its_files_are_called_as_ours(tmp_path):
    (tmp_path / "trip" / "markets").mkdir(parents=True)
    (tmp_path / "trip" / "provenance.json").write_text("{}", encoding="utf-8")
    for overwrite in (False, True):
        with pytest.raises(StorageError, match="is no sweep's folder"):
            claimed(tmp_path, "trip", overwrite)
    assert (tmp_path / "trip" / "markets").is_dir()
