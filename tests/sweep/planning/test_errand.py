"""What a node finds when it is asked, here on this one: each fault is one line with what mends it."""

from __future__ import annotations

import errno
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from importlib import metadata

import pytest
from ray import cloudpickle
from s3_server.server import BUCKET, READER

from gaelp_ray.simulator.own import OwnEnv
from gaelp_ray.sweep.planning import errand as module
from gaelp_ray.sweep.planning.errand import Errand, fault

REMEDY = "put it where all nodes see it as that, such as on NFS, or give s3://bucket/prefix with --storage"
STORAGE = f"s3://{BUCKET}/ours"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(module, "APPEARS_SECONDS", 0.0)


@pytest.fixture
def errand(tmp_path):
    (tmp_path / "token").write_text("abc", encoding="utf-8")
    return Errand.of(tmp_path, False, ("token", "abc"), None)


@pytest.fixture
def server(s3):
    s3.objects[f"{BUCKET}/ours/token"] = (b"abc", 0.0)
    return s3


@pytest.fixture
def remote(server):
    return Errand.of(f"{STORAGE}?endpoint_override={server.host}&scheme=http", True, ("token", "abc"), None)


def test_a_folder_that_is_seen_and_can_be_written_has_no_fault(errand, tmp_path):
    assert fault(errand) == ""
    assert [path.name for path in tmp_path.iterdir()] == ["token"]


def test_a_folder_that_is_not_there(errand, tmp_path):
    assert fault(replace(errand, storage=f"{tmp_path}/away")) == (
        f"it does not see the storage folder {tmp_path}/away: {REMEDY}"
    )


def test_a_folder_of_the_same_name_is_another_one(errand, tmp_path):
    assert fault(replace(errand, token="xyz")) == f"{tmp_path} is another folder there: {REMEDY}"


def test_a_folder_that_only_others_may_write(errand, tmp_path, monkeypatch):
    def refuse(**_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    assert fault(errand) == f"it cannot write to the storage folder {tmp_path} (Read-only file system): {REMEDY}"


def test_a_file_that_appears_late_is_waited_for(errand, tmp_path, monkeypatch):
    (tmp_path / "token").unlink()
    monkeypatch.setattr(module, "APPEARS_SECONDS", 5.0)
    naps = []

    def sleep(seconds):
        naps.append(seconds)
        if len(naps) == 2:
            (tmp_path / "token").write_text("abc", encoding="utf-8")

    monkeypatch.setattr(module.time, "sleep", sleep)
    assert (fault(errand), len(naps)) == ("", 2)


def test_a_bucket_that_can_be_used_is_left_as_it_was(remote, server):
    before = server.keys()
    assert (fault(remote), server.keys()) == ("", before)


def test_another_bucket_of_that_name(remote, server):
    del server.objects[f"{BUCKET}/ours/token"]
    assert "is another bucket there: check AWS_ENDPOINT_URL" in fault(remote)


def test_a_node_whose_credentials_may_only_read(remote, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER)
    assert fault(remote) == f"it cannot use the storage {remote.storage}: access denied to these credentials"


def test_an_environment_of_ones_own_must_be_there_too(errand, shop, tmp_path):
    shop()
    world = OwnEnv(env="shop:Shop", folder=str(tmp_path))
    there = Errand.of(tmp_path, False, ("token", "abc"), world)
    assert fault(there) == ""
    missing = replace(there, env={"env": "nowhere_at_all:Shop", "folder": "/nowhere"})
    assert "no module 'nowhere_at_all' in /nowhere" in fault(missing)
    assert fault(missing).endswith("a folder which all nodes see, or a package which all have")


def test_another_version_of_the_package_is_told_with_both(errand):
    version = metadata.version("gaelp_ray")
    assert module._traveller()(asdict(errand)) == ""
    assert module._traveller()(asdict(replace(errand, version="0.0.1"))) == (
        f"it has gaelp_ray {version}, and this is 0.0.1: install the same on both"
    )


def test_no_package_at_all(errand, monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert module._traveller()(asdict(errand)) == (
        f"gaelp_ray is not installed there: install gaelp_ray {errand.version} on it"
    )


def test_the_question_needs_nothing_of_ours_to_arrive(errand, tmp_path):
    (tmp_path / "question").write_bytes(cloudpickle.dumps((module._traveller(), asdict(errand))))
    code = """if True:
        import sys
        class Nothing:
            def find_spec(self, name, *_):
                if name.startswith("gaelp_ray"):
                    raise ImportError("nothing of ours")
        sys.meta_path.insert(0, Nothing())
        import pickle
        look, errand = pickle.load(open(sys.argv[1], "rb"))
        print(look(errand))
    """
    words = [sys.executable, "-c", code, str(tmp_path / "question")]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("gaelp_ray cannot be imported there (nothing of ours): install gaelp_ray ")
