"""Results come whole, into a folder that is theirs (the head is played: tests/far_head.py)."""

from __future__ import annotations

import io
import json
import tarfile

import pytest

from gaelp_ray.cluster.file import read_cluster_file
from gaelp_ray.cluster.jobs import results as bringing
from gaelp_ray.cluster.jobs.driver import pack
from gaelp_ray.cluster.jobs.head import find_head
from gaelp_ray.cluster.jobs.link import Job
from gaelp_ray.cluster.jobs.results import Results
from gaelp_ray.errors import ClusterError, StorageError

JOB = Job("small-1", metadata={"sweep": "small"})


@pytest.fixture
def bring(desk, head, tmp_path):
    """Brings what the head has packed to `here/small`, after the tar file was written with these members."""
    results = Results(desk.work / "here/small")

    def run(**members):
        if members:
            jobs = head.home / ".gaelp/jobs"
            jobs.mkdir(parents=True, exist_ok=True)
            with tarfile.open(jobs / "small-1.tar", "w") as archive:
                for name, text in members.items():
                    entry = tarfile.TarInfo(name)
                    entry.size = len(text)
                    archive.addfile(entry, io.BytesIO(text.encode()))
        return results.bring(find_head(read_cluster_file(desk.work / "cluster.yaml")), JOB)

    run.folder = results.folder
    return run


def test_a_later_round_replaces_an_earlier_one_whole(bring):
    assert bring(**{"sweep.yaml": "a", "best/model.json": "{}"}) == ["best/", "sweep.yaml"]
    assert bring(**{"selection.json": "b"}) == ["selection.json"]
    assert sorted(path.name for path in bring.folder.iterdir()) == ["selection.json", "submission.json"]
    assert list(bring.folder.parent.iterdir()) == [bring.folder]
    assert json.loads((bring.folder / "submission.json").read_text()) == {
        "job": "small-1",
        "cluster": str(bring.folder.parents[1] / "cluster.yaml"),
        "sweep": "small",
    }


def test_a_folder_of_somebody_elses_stays(bring):
    bring.folder.mkdir(parents=True)
    (bring.folder / "thesis.tex").write_text("x")
    with pytest.raises(StorageError, match="holds no results of a submitted sweep: give another with -o"):
        bring(**{"sweep.yaml": "a"})
    assert (bring.folder / "thesis.tex").read_text() == "x"


def test_an_empty_folder_is_taken(bring):
    bring.folder.mkdir(parents=True)
    assert bring(**{"sweep.yaml": "a"}) == ["sweep.yaml"]


@pytest.mark.parametrize("name", ["../escaped", "/tmp/../escaped-absolutely/../../escaped"])
def test_nothing_is_written_beside_the_folder(bring, name):
    bring(**{"sweep.yaml": "a"})
    with pytest.raises(ClusterError, match="damaged"):
        bring(**{"sweep.yaml": "b", name: "x"})
    assert not list(bring.folder.parents[1].rglob("escaped*"))
    assert (bring.folder / "sweep.yaml").read_text() == "a"


@pytest.fixture
def old_python(monkeypatch):
    """Python before 3.10.12 and 3.11.4, whose tarfile knows no filters."""
    now = tarfile.TarFile.extractall

    def extractall(self, path=".", members=None, *, numeric_owner=False):
        now(self, path, members, numeric_owner=numeric_owner, filter="fully_trusted")

    monkeypatch.delattr(tarfile, "data_filter")
    monkeypatch.setattr(tarfile.TarFile, "extractall", extractall)


def test_an_old_python_brings_the_same(bring, old_python):
    assert bring(**{"sweep.yaml": "a", "best/model.json": "{}"}) == ["best/", "sweep.yaml"]
    with pytest.raises(ClusterError, match="damaged"):
        bring(**{"../escaped": "x"})
    assert not list(bring.folder.parents[1].rglob("escaped*"))


def packed(**entry):
    """A tar file with one entry; `entry` are attributes of it."""
    file, member = io.BytesIO(), tarfile.TarInfo("sweep.yaml")
    for name, value in entry.items():
        setattr(member, name, value)
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(member)
    return file


OUTWARD = {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}
WRONG = [
    {"type": tarfile.FIFOTYPE},
    OUTWARD,
    {"pax_headers": {"mtime": "inf"}},
    {"pax_headers": {"path": "a\0b"}},
]


@pytest.mark.parametrize("entry", WRONG, ids=["pipe", "link", "time", "name"])
def test_whatever_is_wrong_with_an_entry_is_one_line(tmp_path, entry):
    with pytest.raises(ClusterError, match="the results from far are damaged: ") as refused:
        Results(tmp_path / "small").keep(packed(**entry), JOB, "far")
    assert len(str(refused.value).splitlines()) == 1 and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("entry", WRONG[:2], ids=["pipe", "link"])
def test_an_old_python_takes_plain_files_only(tmp_path, entry, old_python):
    with pytest.raises(ClusterError, match=r"'sweep\.yaml' is no file or folder of it"):
        Results(tmp_path / "small").keep(packed(**entry), JOB, "far")


def test_a_file_that_broke_off_replaces_nothing(bring, head):
    bring(**{"sweep.yaml": "a"})
    (head.home / ".gaelp/jobs/small-1.tar").write_bytes(b"no tar file")
    with pytest.raises(ClusterError, match="damaged"):
        bring()
    assert (bring.folder / "sweep.yaml").read_text() == "a"


def test_none_are_there(bring):
    with pytest.raises(ClusterError, match=r"10\.1\.0\.1 has packed no results of this job"):
        bring()


def test_a_head_that_is_away_is_asked_again(bring, head, monkeypatch):
    head.away()
    with pytest.raises(ClusterError, match="Connection refused"):
        bring(**{"sweep.yaml": "a"})
    assert len(head.asked) == bringing.TRIES
    assert not bring.folder.exists()


def test_what_is_packed_is_what_a_person_wants_and_nobody_else_may_read_it(bring, head, storage, monkeypatch):
    monkeypatch.setenv("HOME", str(head.home))
    (storage / "small/report.html").write_text("r")
    pack("small-1", "small", str(storage))
    packed = head.home / ".gaelp/jobs/small-1.tar"
    assert packed.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in packed.parent.iterdir()] == ["small-1.tar"]
    with tarfile.open(packed) as archive:
        assert {name.split("/")[0] for name in archive.getnames()} == {
            *("best", "journal.jsonl", "provenance.json", "report.html", "selection.json", "sweep.yaml"),
        }


def test_there_must_be_a_sweep_to_pack(storage):
    with pytest.raises(StorageError, match="no sweep 'smal' in"):
        pack("small-1", "smal", str(storage))
