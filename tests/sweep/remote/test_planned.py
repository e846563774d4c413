"""What a plan says of a storage in S3, before and after the sweep has begun."""

from __future__ import annotations

import pytest

from gaelp_ray.errors import StorageError
from gaelp_ray.sweep.planning.forecast import forecast
from gaelp_ray.sweep.planning.machine import storage, storage_of
from gaelp_ray.sweep.planning.plan import plan_sweep
from gaelp_ray.sweep.planning.resumption import planned
from gaelp_ray.sweep.provenance import provenance
from gaelp_ray.sweep.store.opening import new_sweep, open_sweep

from .conftest import STORAGE

KEYS = {
    "method": "random",
    "run_cap": 2,
    "metric": {"name": "delivered_roas", "goal": "maximize"},
    "parameters": {"learning_rate": {"min": 0.001, "max": 0.01}},
    "trial": {"num_episodes": 64},
    "tracking": {"mode": "disabled"},
}


@pytest.fixture
def plan(bucket, sweep_file):
    return plan_sweep(sweep_file(**KEYS | {"storage": STORAGE}))


def test_the_bucket_is_tried_and_nothing_stays(plan, bucket, tmp_path):
    found = storage(plan)
    assert (found.path, found.folder) == (STORAGE, f"{STORAGE}/small")
    assert (found.exists, found.problem) == (False, "")
    assert any(method == "PUT" for method, _ in bucket.asked) and bucket.keys() == []
    assert storage_of(plan).is_relative_to(tmp_path / "home/.cache")  # whose disk must have room


def test_what_is_wrong_with_it_is_the_plan_s_error(plan, bucket):
    bucket.status = 503
    expected = forecast(plan)
    assert expected.storage.problem == "the server is not well"
    with pytest.raises(StorageError, match=f"cannot write to the storage folder {STORAGE}: the server is not well. "):
        expected.require_possible()


def test_a_sweep_that_has_begun_keeps_its_storage_on_another_machine(plan, tmp_path, monkeypatch):
    folder = new_sweep(STORAGE, "small")
    with folder.claim():
        folder.write_start(plan.as_file(), provenance(plan, {}))
    assert storage(plan).exists
    monkeypatch.setenv("HOME", str(tmp_path / "another"))
    again = planned(open_sweep(STORAGE, "small"))
    assert again.spec.storage == STORAGE
    assert [trial.params for trial in again.trials] == [trial.params for trial in plan.trials]
