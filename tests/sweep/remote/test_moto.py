"""S3 as moto plays it: another's understanding of the protocol than that of the stand-in, which is ours."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from amazon import REGION, Amazon
from three_nodes import TRIALS, Three, numbers

from gaelp_ray.checkpoint import load_model
from gaelp_ray.errors import StorageError
from gaelp_ray.sweep.remote.address import Address
from gaelp_ray.sweep.remote.bucket import Bucket
from gaelp_ray.sweep.remote.lease import Lease
from gaelp_ray.sweep.remote.sweep import require_writable

BUCKET = "trials"

LONG = ("--set", "trial.num_episodes=1600")
"""So that not all trials end between two pushes of the journal, which are two seconds apart."""


@pytest.fixture(scope="module")
def amazon() -> Iterator[Amazon]:
    with Amazon() as cloud:
        cloud.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield cloud


@pytest.fixture(scope="module")
def storage(amazon) -> str:
    """The server is named here and nowhere else."""
    return f"s3://{BUCKET}/ours?endpoint_override={quote(amazon.host, safe='')}&scheme=http"


@pytest.fixture(scope="module")
def env(amazon) -> dict[str, str]:
    return {name: value for name, value in amazon.env.items() if name != "AWS_ENDPOINT_URL"}


@pytest.fixture(scope="module")
def three(env) -> Iterator[Three]:
    with Three(env) as three:
        yield three


def test_every_request_of_ours_is_understood(storage, env, monkeypatch):
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    address = Address.parse(storage)
    require_writable(address)
    bucket = Bucket(address.child("requests"))
    parts = os.urandom(12 * 2**20)  # more than one request sends
    for name, content in {"small": b"a", "below/it": b"bc", "below/large": parts}.items():
        bucket.write(name, content)
    assert {name: stat.size for name, stat in bucket.stats().items()} == {
        **{"small": 1, "below/it": 2},
        "below/large": len(parts),
    }
    assert (bucket.folders(), bucket.read("below/large"), bucket.read("nothing")) == (["below"], parts, None)
    assert abs(bucket.stat("small").when - time.time()) < 30 and bucket.stat("nothing") is None
    bucket.remove("small")
    bucket.remove_folder("below")
    assert bucket.stats() == {}
    lease = Lease(bucket)
    lease.take()
    with pytest.raises(StorageError, match="is being run by process"):
        Lease(bucket).take()
    lease.give_back()
    with pytest.raises(StorageError, match="there is no such bucket"):
        require_writable(Address.parse(storage.replace(BUCKET, "nobodys")))


def objects(amazon: Amazon, below: str) -> dict[str, bytes]:
    s3 = amazon.client("s3")
    found = s3.list_objects_v2(Bucket=BUCKET, Prefix=below).get("Contents", [])
    return {o["Key"].removeprefix(below): s3.get_object(Bucket=BUCKET, Key=o["Key"])["Body"].read() for o in found}


def ended(amazon: Amazon) -> list[str]:
    """Trials that have, by the journal in the bucket."""
    lines = objects(amazon, "ours/random/journal.jsonl").get("", b"").rpartition(b"\n")[0].splitlines()
    return [line["trial"] for line in map(json.loads, lines) if line["event"] == "ended"]


def wait(process: subprocess.Popen[str], found: Callable[[], object]) -> None:
    """Until something is there, while a process runs."""
    deadline = time.monotonic() + 600
    while not found():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_a_sweep_whose_driver_is_lost_goes_on_on_the_cluster_from_the_bucket_alone(amazon, storage, three):
    def copies() -> set[Path]:
        """The folders that the two nodes without the driver have for trials."""
        return set(three.base.glob("cache-?/gaelp_ray/nodes/*"))

    alone = numbers(three.sweep("random", str(three.base / "alone"), *LONG))
    driver = three.sweep("random", storage, *LONG, "--address", three.address)
    wait(driver, lambda: ended(amazon))
    driver.kill()
    driver.communicate()
    before, killed = ended(amazon), copies()
    assert len(before) < TRIALS and "selection.json" not in objects(amazon, "ours/random/")
    words = ("random", "--storage", storage)
    resumed = three.start("resume", *words, "--address", three.address, "--json", machine="other")
    wait(resumed, lambda: copies() - killed)
    assert numbers(resumed) == alone
    after = ended(amazon)
    assert after[: len(before)] == before and len(after) == len(set(after)) == TRIALS  # none was flown twice
    assert list(three.base.glob("*/gaelp_ray/nodes/*")) == []  # nor did the killed driver leave anything
    left = objects(amazon, "ours/random/")
    assert ".lease" not in left
    out, err = three.start("best", *words, "-o", "model", "--json", machine="third").communicate(timeout=600)
    assert json.loads(out or "{}").get("trial") == json.loads(left["selection.json"])["winner"]["trial"], err
    assert (three.base / "model/model.npz").read_bytes() == left["best/model.npz"]
    assert load_model(three.base / "model").agent
