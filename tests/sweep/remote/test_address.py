"""URLs of storages: what they mean, where their working copies lie, and what is refused without being repeated."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from gaelp_ray.errors import StorageError
from gaelp_ray.sweep.remote.address import Address, is_remote

SERVER = "endpoint_override=there%3A9000&scheme=http"


@pytest.fixture(autouse=True)
def no_endpoint(monkeypatch, tmp_path):
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_a_sweep_lies_below_its_storage_and_the_query_stays():
    storage = Address.parse(f"s3://bucket/some/prefix/?{SERVER}")
    sweep = storage.child("trip")
    assert str(sweep) == f"s3://bucket/some/prefix/trip?{SERVER}"
    assert (sweep.name, sweep.parent) == ("trip", storage)
    assert Address.parse(str(sweep)) == sweep
    assert sweep.shown == f"'{sweep}'"  # or a shell would cut it at the ampersand
    assert storage.options == {"endpoint_override": "there:9000", "scheme": "http"}


def test_a_bucket_alone_is_a_storage():
    assert str(Address.parse("s3://bucket").child("trip")) == "s3://bucket/trip"
    assert str(Address.parse("s3://bucket/trip").parent) == "s3://bucket"
    assert Address.parse("s3://bucket/trip").shown == "s3://bucket/trip"
    assert Address.parse("s3://bucket/my trip").shown == "'s3://bucket/my trip'"


@pytest.mark.parametrize(
    ("place", "remote"), [("s3://b", True), (Path("s3://b/x"), True), ("results", False), (Path("/data/s3"), False)]
)
def test_what_is_a_url(place, remote):
    assert is_remote(place) is remote


def test_a_path_that_has_lost_a_slash_is_understood():
    assert str(Address.parse(Path("s3://bucket/x"))) == "s3://bucket/x"


def test_working_copies_of_two_servers_are_two_folders(tmp_path, monkeypatch):
    plain, queried = Address.parse("s3://bucket/p/trip"), Address.parse(f"s3://bucket/p/trip?{SERVER}")
    assert plain.working_copy == tmp_path / "gaelp_ray/storage/bucket/p/trip"
    assert queried.working_copy == tmp_path / "gaelp_ray/storage/bucket@there_9000/p/trip"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://there:9000/")
    assert plain.working_copy == queried.working_copy
    assert plain.options == queried.options
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://s3.there")
    assert plain.options == {"endpoint_override": "s3.there", "scheme": "https"}
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert plain.working_copy == tmp_path / "me/.cache/gaelp_ray/storage/bucket@s3.there/p/trip"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("gs://bucket/x", "gs:// is no storage that is known here"),
        ("s3://", "names no bucket"),
        ("s3://Big_Bucket/x", "s3://Big_Bucket names no bucket"),
        ("s3://bucket/../x", "neither `.` nor `..`"),
        ("s3://bucket/x#y", "nor `#`"),
        ("s3://bucket/x?secret_key=hunter2", "unknown after the `?`. Known: endpoint_override, region, scheme"),
        ("s3://AKIA1:hunter2@bucket/x", "holds credentials: leave them out"),
        ("s3://hunter2@bucket", "holds credentials"),
        ("gs://u:hunter2@bucket", "holds credentials"),
    ],
)
def test_what_is_refused_in_one_line_without_its_secret(url, told):
    with pytest.raises(StorageError) as refused:
        Address.parse(url)
    text = str(refused.value)
    assert told in text and "hunter2" not in text and "AKIA1" not in text and len(text.splitlines()) == 1


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
@pytest.mark.parametrize("url", ["http://ada:hunter2@there:9000", "ada:hunter2@there:9000/"])
def test_a_password_in_the_name_of_the_server_is_refused_and_never_shown(name, url, monkeypatch):
    with pytest.raises(
        StorageError, match="in AWS_ENDPOINT_URL, or in endpoint_override, holds credentials"
    ) as queried:
        Address.parse(f"s3://bucket/x?endpoint_override={quote(url, safe='')}")
    monkeypatch.setenv(name, url)
    with pytest.raises(StorageError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") as named:
        Address.parse("s3://bucket/x")
    for text in (str(queried.value), str(named.value)):
        assert "hunter2" not in text and len(text.splitlines()) == 1
    assert Address.parse(f"s3://bucket/x?{SERVER}").options["endpoint_override"] == "there:9000"


@pytest.mark.parametrize("name", ["", "..", "a/b"])
def test_what_is_no_sweep_s_name(name):
    with pytest.raises(StorageError, match="is no sweep's name in s3://bucket"):
        Address.parse("s3://bucket").child(name)


def test_another_process_need_not_have_the_server_in_its_environment(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9000")
    told = Address.parse("s3://bucket/ours?region=eu-west-1").resolved
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert told.options == {"region": "eu-west-1", "endpoint_override": "127.0.0.1:9000", "scheme": "http"}
    assert Address.parse(str(told)) == told == told.resolved
