"""docs/guide-cluster.md: its commands are accepted as typed on files that are filled in, and its files are there."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from gaelp_ray.cli.main import main
from gaelp_ray.cluster import prepare as preparing
from gaelp_ray.cluster.preflight.hosts import Host
from gaelp_ray.sweep.format.load import load_sweep

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/guide-cluster.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ gaelp-ray (.*)$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_are_accepted(desk, monkeypatch, command):
    for name in ("cluster.yaml", "deploy/aws.yaml", "deploy/gcp.yaml"):
        desk.write(name)
    monkeypatch.setattr("gaelp_ray.cli.clusters.prepare", lambda root, everything: [])
    monkeypatch.setattr("gaelp_ray.cli.clusters.try_hosts", lambda file, storage: [Host("a", "head", "3.12.3", 9.0)])
    monkeypatch.setattr(sys, "argv", ["gaelp-ray", *shlex.split(command)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)


SUBMITTED = re.findall(r"^gaelp-ray ((?:submit|attach|cluster down) [^#\n]*)", PAGE, re.MULTILINE)


@pytest.mark.parametrize("command", SUBMITTED)
def test_commands_that_want_a_cluster_are_as_they_are_typed(monkeypatch, capsys, command):
    """The help comes only where every word before it was understood."""
    monkeypatch.setattr(sys, "argv", ["gaelp-ray", *shlex.split(command), "--help"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None), capsys.readouterr().err


def test_the_sweeps_that_it_names_are_those_of_its_files():
    """A sweep is called as its file says."""
    shipped = {load_sweep(path).name for path in (ROOT / "sweeps").glob("*.yaml")}
    named = set(re.findall(r"^gaelp-ray (?:attach|resume) (\w\S*)", PAGE, re.MULTILINE))
    assert named and named <= shipped


def test_it_tells_of_submitting_watching_and_ending():
    assert {command.split()[0] for command in SUBMITTED} == {"submit", "attach", "cluster"}


def test_it_has_a_command_for_each_launcher():
    assert len(COMMANDS) >= 5
    assert all(any(name in command for command in COMMANDS) for name in ("cluster.yaml", "aws.yaml", "gcp.yaml"))


def test_its_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)#:]+)\)", PAGE)
    assert len(targets) >= 5
    assert [target for target in targets if not (ROOT / "docs" / target).exists()] == []


def test_the_image_has_the_ray_that_is_pinned_and_what_prepare_makes():
    pinned = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert f"FROM rayproject/ray:{pinned[1]}-py312" in PAGE
    assert preparing.WHEELS in PAGE
