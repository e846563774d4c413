"""Where a worker's files are on a node: the folder that all see, or with S3 one of the node's own."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from s3_server.server import BUCKET

from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.errors import NodeError
from gaelp_ray.sweep.session import environment_set
from gaelp_ray.sweep.trials.site import copy_of, market_here, on_site, remove_copies
from gaelp_ray.tracking.modes import TrackingMode, environment


@pytest.fixture(autouse=True)
def kept_environment(tmp_path):
    """A worker's process gets the sweep's variables for good; this one is not a worker's for long."""
    with environment_set(environment(TrackingMode("offline", ""), tmp_path)):
        yield


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "drivers" / "trip"
    folder.mkdir(parents=True)
    (folder / "provenance.json").write_text(json.dumps({"id": "abc"}), encoding="utf-8")
    return {"folder": str(folder), "sweep_id": "abc", "session": "first", "mode": "offline", "cluster": True}


def test_with_a_folder_all_nodes_have_the_same_one(sweep):
    site = on_site(sweep)
    site.require_seen()
    assert (site.sweep, site.apart) == (sweep, False)


def test_a_folder_that_is_not_seen_says_on_which_node(sweep):
    with pytest.raises(NodeError, match=f"node {os.uname().nodename} does not see the sweep's folder /away"):
        on_site({**sweep, "folder": "/away"}).require_seen()
    on_site({**sweep, "folder": "/away", "cluster": False}).require_seen()  # on one machine, nobody asks


def test_another_sweep_in_the_same_place_is_none(sweep):
    with pytest.raises(NodeError, match="has another folder of its own at"):
        on_site({**sweep, "sweep_id": "xyz"}).require_seen()


def test_with_s3_a_node_of_a_cluster_has_a_folder_for_each_driver(sweep, tmp_path):
    shared = {**sweep, "remote": f"s3://{BUCKET}/ours/trip"}
    site = on_site(shared)
    assert site.apart and site.sweep["folder"] == str(tmp_path / "cache/gaelp_ray/nodes/trip-abc-first")
    assert copy_of({**shared, "session": "second"}) != copy_of(shared)
    assert not on_site({**shared, "cluster": False}).apart


def test_a_driver_leaves_neither_its_own_folder_nor_that_of_a_killed_one_and_no_other_goes(sweep):
    started = 1_800_000_000.0
    of = {
        "own": (sweep, 1),
        "killed": ({**sweep, "session": "killed"}, -1),
        "taken over by": ({**sweep, "session": "later"}, 1),
        "another sweep": ({**sweep, "sweep_id": "abcd", "session": "killed"}, -1),
        "another name": ({**sweep, "folder": "/x/round-trip", "session": "killed"}, -1),
    }
    folders = {what: copy_of(shared) for what, (shared, _) in of.items()}
    for what, (_, seconds) in of.items():
        (folders[what] / "trials").mkdir(parents=True)
        os.utime(folders[what], (started + seconds, started + seconds))
    remove_copies(sweep, started)
    left = [what for what, folder in folders.items() if folder.exists()]
    assert left == ["taken over by", "another sweep", "another name"]
    remove_copies(sweep, started)  # where there is nothing


def test_it_gets_the_market_files_and_wandb_writes_there(sweep, s3, monkeypatch):
    for name in ("WANDB_MODE", "WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR"):
        monkeypatch.setenv(name, "elsewhere")
    s3.objects[f"{BUCKET}/ours/trip/markets/mine.yaml"] = (b"name: mine", 0.0)
    s3.objects[f"{BUCKET}/ours/trip/trials/a/record.jsonl"] = (b"{}", 0.0)
    site = on_site({**sweep, "remote": f"s3://{BUCKET}/ours/trip"})
    site.require_seen()
    folder = Path(site.sweep["folder"])
    assert [str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()] == ["markets/mine.yaml"]
    assert (os.environ["WANDB_DIR"], os.environ["WANDB_MODE"]) == (str(folder), "offline")
    asked = len(s3.asked)
    site.require_seen()
    assert len(s3.asked) == asked  # once is enough


def test_a_server_that_is_away_is_the_nodes_fault(sweep, s3):
    s3.down()
    with pytest.raises(NodeError, match="the server does not answer"):
        on_site({**sweep, "remote": f"s3://{BUCKET}/ours/trip"}).require_seen()


def test_only_the_copy_of_a_market_file_lies_elsewhere(sweep):
    site = on_site({**sweep, "remote": f"s3://{BUCKET}/ours/trip"})
    config = GAELPExperimentConfig(market=f"{sweep['folder']}/markets/mine.yaml", learning_rate=0.01)
    here = market_here(config, site.sweep)
    assert here == config.replace({"market": f"{site.sweep['folder']}/markets/mine.yaml"})
    shipped = GAELPExperimentConfig()
    assert market_here(shipped, site.sweep) is shipped
    assert market_here(config, sweep) is config
