"""Who runs a sweep in a bucket: one driver, and whose working copy counts."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time

import pytest
from s3_server.server import BUCKET

from gaelp_ray.errors import StorageError
from gaelp_ray.sweep.remote import lease as module
from gaelp_ray.sweep.remote.address import Address
from gaelp_ray.sweep.remote.bucket import Bucket
from gaelp_ray.sweep.remote.lease import LEASE, TURN, Lease, Turns

from .conftest import STORAGE


@pytest.fixture
def there(bucket, monkeypatch):
    monkeypatch.setattr(module, "SETTLED_SECONDS", 0.0)
    return Bucket(Address.parse(STORAGE).child("trip"), attempts=1)


def held(there: Bucket, **facts) -> None:
    holder = {"process": os.getppid(), "machine": "elsewhere", "id": "x", "renewed_at": time.time()}
    there.write(LEASE, json.dumps(holder | facts).encode())


def test_a_lease_names_its_process_and_is_given_back(there):
    lease = Lease(there)
    lease.take()
    holder = lease.holder()
    assert (holder.process, holder.machine) == (os.getpid(), platform.node()) and holder.runs
    lease.give_back()
    assert there.read(LEASE) is None


@pytest.mark.parametrize("ahead", [0, -3600, 3600], ids=["same clock", "its is late", "its is early"])
def test_a_young_lease_of_another_machine_is_refused_with_who_has_it(there, bucket, ahead):
    """Young by the server's clock: ours, and the other machine's, may be wrong."""

    def written_before(seconds: float) -> None:
        held(there, process=4711, renewed_at=time.time() - seconds + ahead)
        key = f"{BUCKET}/ours/trip/{LEASE}"
        bucket.objects[key] = (bucket.objects[key][0], time.time() - seconds)

    written_before(50)
    with pytest.raises(StorageError, match=r"s3://.*/trip is being run by process 4711 on elsewhere: wait for it"):
        Lease(there).take()
    written_before(61)
    Lease(there).take()
    assert bucket.keys("ours/trip/") == [LEASE]


def test_a_dead_process_of_this_machine_has_no_lease(there):
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and nobody has waited for it
        held(there, process=process.pid, machine=platform.node())
        Lease(there).take()
    held(there, process=process.pid, machine=platform.node())
    Lease(there).take()
    held(there, process=os.getppid(), machine=platform.node())
    with pytest.raises(StorageError, match="is being run by"):
        Lease(there).take()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"process": 1}'])
def test_a_lease_that_says_nothing_is_nobodys(there, content):
    there.write(LEASE, content)
    Lease(there).take()


def test_of_two_that_take_it_at_a_time_one_has_it(there, monkeypatch):
    first, second = Lease(there), Lease(there)
    monkeypatch.setattr(second, "holder", lambda: None)  # it looked before the first one wrote
    monkeypatch.setattr(module.time, "sleep", lambda seconds: second._write())
    with pytest.raises(StorageError, match="is being run by"):
        first.take()
    assert Lease(there).holder().id == second.id


def test_whoever_was_away_learns_who_has_taken_the_sweep_over(there):
    lease = Lease(there)
    lease.take()
    there.write(TURN, lease.id.encode())
    assert lease.renew() == ""
    there.remove(LEASE)  # one that has gone on and ended
    there.write(TURN, b"another")
    assert lease.renew() == "another machine"
    held(there)
    assert lease.renew() == f"process {os.getppid()} on elsewhere"
    lease.give_back()
    assert there.read(LEASE)  # it is not ours


def test_a_renewed_lease_is_younger(there):
    lease = Lease(there)
    lease.take()
    before = lease.holder().renewed_at
    assert lease.renew() == "" and lease.holder().renewed_at > before


def test_a_turn_that_did_not_arrive_costs_no_working_copy(there, bucket, tmp_path):
    turns = Turns(tmp_path)
    assert turns.known() == []
    turns.take(there, "first")
    assert turns.known() == ["first"] and there.read(TURN) == b"first"
    bucket.status = 503
    with pytest.raises(StorageError):
        turns.take(there, "second")
    assert turns.known() == ["first", "second"]  # whichever of them the bucket has
    bucket.status = 0
    turns.take(there, "third")
    assert turns.known() == ["third"]
    turns.forget()
    assert turns.known() == []
    assert bucket.objects[f"{BUCKET}/ours/trip/{TURN}"][0] == b"third"
