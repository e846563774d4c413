"""Objects in a bucket, and what is said when a request fails."""

from __future__ import annotations

import time

import pytest
from s3_server.server import BUCKET, KEY, READER, SECRET

from gaelp_ray.errors import StorageError
from gaelp_ray.sweep.remote.address import Address
from gaelp_ray.sweep.remote.bucket import ANSWER_SECONDS, CONNECT_SECONDS, Bucket
from gaelp_ray.sweep.remote.sweep import require_writable

from .conftest import STORAGE


def ours(attempts: int = 1) -> Bucket:
    return Bucket(Address.parse(STORAGE), attempts)


def test_an_object_comes_back_as_it_was(bucket):
    content = bytes(range(256)) * 3000
    ours().write("a/b.bin", content)
    assert ours().read("a/b.bin") == content
    assert ours().stat("a/b.bin").size == len(content)
    assert abs(ours().stat("a/b.bin").when - time.time()) < 60
    assert ours().read("a/c.bin") is None and ours().stat("a/c.bin") is None


def test_a_file_of_some_megabytes_is_one_request_to_write_and_two_to_read(bucket):
    before = len(bucket.asked)
    ours().write("large", b"x" * 7_000_000)
    assert [method for method, _ in bucket.asked[before:]] == ["PUT"]
    assert len(ours().read("large")) == 7_000_000
    assert [method for method, _ in bucket.asked[before + 1 :]] == ["HEAD", "GET"]


def test_a_listing_has_every_page_and_no_folder(bucket):
    for number in range(2100):
        bucket.objects[f"{BUCKET}/ours/many/{number}"] = (b"1", 0.0)
    ours().write("one", b"22")
    found = ours().stats()
    assert len(found) == 2101 and found["one"].size == 2
    assert set(ours().stats("many")) == {f"many/{number}" for number in range(2100)}
    assert ours().stats("nowhere") == {}
    assert ours().folders() == ["many"]


def test_what_is_removed_is_gone_and_what_was_not_there_is_no_error(bucket):
    for name in ("a/1", "a/2", "b"):
        ours().write(name, b"x")
    ours().remove_folder("a")
    ours().remove("b")
    ours().remove("b")
    ours().remove_folder("a")
    assert ours().stats() == {}


def test_a_storage_is_tried_by_writing_and_nothing_stays(bucket):
    require_writable(Address.parse(STORAGE))
    assert "PUT" in [method for method, _ in bucket.asked]
    assert bucket.keys() == []


@pytest.mark.parametrize(
    ("storage", "env", "told"),
    [
        ("s3://nobodys-bucket/x", {}, "there is no such bucket"),
        (STORAGE, {"AWS_ACCESS_KEY_ID": READER}, "access denied to these credentials"),
        (STORAGE, {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "there are no credentials: set AWS_ACCESS_"),
        (STORAGE, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "the server does not answer"),
        (STORAGE, {"AWS_ENDPOINT_URL": "ftp://127.0.0.1:9"}, "no server is named like that: correct AWS_ENDPOINT_URL"),
    ],
)
def test_why_a_storage_cannot_be_written_is_one_line_without_a_secret(bucket, monkeypatch, storage, env, told):
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StorageError) as refused:
        require_writable(Address.parse(storage))
    text = str(refused.value)
    assert text.startswith(f"{storage}: ") and told in text and len(text.splitlines()) == 1
    assert SECRET not in text and KEY not in text and READER not in text


@pytest.mark.parametrize(("status", "told"), [(503, "the server is not well"), (400, "the credentials have expired")])
def test_a_server_that_fails_is_said_so(bucket, status, told):
    bucket.status = status
    with pytest.raises(StorageError, match=told):
        ours().write("x", b"1")


def test_whoever_logs_in_as_somebody_else_is_somebody_else(bucket, monkeypatch):
    ours().write("x", b"1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER)
    with pytest.raises(StorageError, match="access denied"):
        ours().write("x", b"2")


def test_a_server_that_hangs_is_given_up_within_five_seconds(bucket):
    bucket.wait = 60
    began = time.monotonic()
    with pytest.raises(StorageError, match="the server does not answer"):
        require_writable(Address.parse(STORAGE))
    assert CONNECT_SECONDS + ANSWER_SECONDS <= 5
    assert time.monotonic() - began < 20  # once, and not as long as the server hangs


def test_what_failed_once_is_tried_again(bucket):
    ours().write("x", b"1")
    bucket.status = 503

    class Mending(list):
        def append(self, item):
            super().append(item)
            bucket.status = 503 if len(self) < 2 else 0

    bucket.asked = Mending()
    assert ours(2).read("x") == b"1"
