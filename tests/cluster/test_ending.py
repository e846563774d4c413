"""`cluster down`: workers first, all at a time, and whatever fails ends nothing else.

The machines are played (tests/far_head.py).
"""

from __future__ import annotations

import os
import sys

import pytest
from far_head import FarHead

from gaelp_ray.cli.main import main
from gaelp_ray.cluster import ending
from gaelp_ray.cluster.ending import bring_down
from gaelp_ray.cluster.file import read_cluster_file

# Where it is slow, it ends once it runs on both workers.
RAY = """\
#!/bin/sh
echo "$@" >>~/stopped
[ ! -f ~/broken ] || exit 1
[ -f ~/slow ] || exit 0
for _ in $(seq 400); do
  [ ! -f ~/../10.1.0.2/stopped ] || [ ! -f ~/../10.1.0.3/stopped ] || exit 0
  sleep 0.05
done
exit 1
"""


@pytest.fixture
def machines(desk, tmp_path, monkeypatch):
    """The homes of three machines, in each of which there is a `ray`."""
    far = FarHead(tmp_path / "far", "10.1.0.1")
    monkeypatch.setenv("PATH", f"{far.folder / 'bin'}:{os.environ['PATH']}")
    for address in ("10.1.0.1", "10.1.0.2", "10.1.0.3"):
        ray = far.folder / address / ".gaelp/venv/bin/ray"
        ray.parent.mkdir(parents=True, exist_ok=True)
        ray.write_text(RAY, encoding="utf-8")
        ray.chmod(0o755)
    desk.write()
    yield far
    far.close()


@pytest.fixture
def downs(monkeypatch):
    """What Ray's `down` was called with; it finds nothing to complain of."""
    calls = []
    monkeypatch.setattr(ending, "_down", lambda file: calls.append(file.where) or [])
    return calls


def stopped(machines, address):
    told = machines.folder / address / "stopped"
    return told.read_text().splitlines() if told.exists() else []


def test_each_worker_is_stopped_and_then_the_head(desk, machines, downs):
    said = []
    assert bring_down(read_cluster_file(desk.write()), said.append) == []
    assert stopped(machines, "10.1.0.2") == stopped(machines, "10.1.0.3") == ["stop"]
    assert said == ["stopping Ray on 2 workers", "ray down -y cluster.yaml"]
    assert downs == ["cluster.yaml"]


def test_workers_stop_side_by_side(desk, machines, downs):
    for address in ("10.1.0.2", "10.1.0.3"):
        (machines.folder / address / "slow").touch()
    assert bring_down(read_cluster_file(desk.write()), str) == []


def test_a_worker_that_is_away_is_one_line_and_the_rest_is_stopped(desk, machines, downs, monkeypatch, capsys):
    (machines.folder / "10.1.0.2.away").touch()
    (machines.folder / "10.1.0.3/broken").touch()
    monkeypatch.setattr(sys, "argv", ["gaelp-ray", "cluster", "down", "cluster.yaml"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    complaints = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert complaints == [
        "error: cluster.yaml: 10.1.0.2 (worker): no ssh: ssh: connect to host 10.1.0.2 port 22: Connection refused",
        "error: cluster.yaml: 10.1.0.3 (worker): `~/.gaelp/venv/bin/ray stop` has failed there",
    ]
    assert stopped(machines, "10.1.0.3") == ["stop"]
    assert downs == ["cluster.yaml"]


def test_a_clouds_machines_are_its_own_affair(desk, machines, downs):
    said = []
    bring_down(read_cluster_file(desk.write("deploy/aws.yaml")), said.append)
    assert said == ["ray down -y deploy/aws.yaml"]
    assert machines.asked == []


def test_a_head_that_ray_knows_nothing_of_is_stopped_all_the_same(desk, machines, monkeypatch, tmp_path):
    """`ray down` is real. It says of a cluster that this machine has not started that it could not stop it, with 0."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (machines.folder / "10.1.0.1/broken").touch()
    problems = bring_down(read_cluster_file(desk.write()), str)
    assert stopped(machines, "10.1.0.1") == ["stop"]
    assert problems == ["cluster.yaml: 10.1.0.1 (head): `~/.gaelp/venv/bin/ray stop` has failed there"]


def test_rays_own_refusal_is_told(desk, machines):
    file = read_cluster_file(desk.write(changes={"cluster_name: gaelp": "cluster_name: gaelp\nno_such_key: 1"}))
    [line] = bring_down(file, str)
    assert line.startswith("cluster.yaml: `ray down` has failed: ")
