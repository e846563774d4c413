"""What is made for the nodes: a wheel with all of the package, bit for bit the same, and files nobody else reads."""

from __future__ import annotations

import shutil
import stat
import sys
import zipfile
from pathlib import Path

import pytest

from gaelp_ray.cli.main import main
from gaelp_ray.cluster import prepare as preparing
from gaelp_ray.cluster.preflight.check import check_cluster
from gaelp_ray.cluster.prepare import prepare
from gaelp_ray.errors import InputError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clone(desk, quick_compiler):
    """A fresh clone, as far as wheels are concerned, and an empty home."""
    for name in preparing.SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, desk.work / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, desk.work)
    (desk.home / ".gaelp.env").unlink()
    (desk.home / ".ray/auth_token").unlink()
    (desk.home / ".ray").rmdir()
    return desk


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_fresh_clone_is_ready_after_it(clone, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gaelp-ray", "cluster", "prepare"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)
    assert "~/.ray/auth_token: new, mode 0600" in capsys.readouterr().out
    report = check_cluster(clone.write())
    assert (report.errors, report.warnings) == ([], [])
    (wheel,) = (clone.work / "dist/cluster").glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        assert {"gaelp_ray/py.typed", "gaelp_ray/market/presets/airfrance-search.yaml"} <= set(content.namelist())
    first = wheel.read_bytes()
    assert not (clone.work / "build").exists()
    prepare(clone.work)
    assert wheel.read_bytes() == first


@pytest.fixture
def without_pip(monkeypatch):
    """pip, which leaves an empty wheel; what it was asked for is noted."""
    asked = []

    def run(*words):
        asked.append([str(word) for word in words])
        if words[0] == "wheel":
            folder = Path(words[words.index("--wheel-dir") + 1])
            folder.mkdir()
            (folder / "gaelp_ray-0.1.0-py3-none-any.whl").touch()
        else:
            (Path(words[2]) / "ray-2.60.0-cp312-none-any.whl").touch()

    monkeypatch.setattr(preparing, "_run_pip", run)
    return asked


def test_secrets_are_nobody_elses_whatever_the_umask(clone, without_pip, monkeypatch):
    import os

    before = os.umask(0)
    try:
        prepare(clone.work)
    finally:
        os.umask(before)
    assert mode(clone.home / ".ray/auth_token") == mode(clone.home / ".gaelp.env") == 0o600
    assert len((clone.home / ".ray/auth_token").read_text()) >= 32


def test_what_is_there_is_kept_and_closed_to_others(clone, without_pip):
    (clone.home / ".ray").mkdir()
    for name, text in ((".ray/auth_token", "mine"), (".gaelp.env", "WANDB_API_KEY=mine\n")):
        (clone.home / name).write_text(text, encoding="utf-8")
        (clone.home / name).chmod(0o644)
    prepare(clone.work)
    assert (clone.home / ".ray/auth_token").read_text() == "mine"
    assert (clone.home / ".gaelp.env").read_text() == "WANDB_API_KEY=mine\n"
    assert mode(clone.home / ".ray/auth_token") == mode(clone.home / ".gaelp.env") == 0o600


def test_an_empty_file_that_was_there_is_closed_before_it_holds_a_secret(tmp_path):
    path = tmp_path / "auth_token"
    path.touch(mode=0o644)
    with pytest.raises(UnicodeEncodeError):
        preparing._write_private(path, "\udc80")  # nothing is written
    assert mode(path) == 0o600


def test_nodes_without_an_index_get_all_wheels_and_ask_for_no_other(clone, without_pip):
    prepare(clone.work, everything=True)
    requirements = (clone.work / "dist/cluster/requirements.txt").read_text(encoding="utf-8")
    assert "--no-index\n--find-links .\n" in requirements
    assert [words[0] for words in without_pip] == ["wheel", "download"]
    assert str(clone.work / "constraints.txt") in without_pip[1]
    prepare(clone.work)
    assert "--no-index" not in (clone.work / "dist/cluster/requirements.txt").read_text(encoding="utf-8")
    assert len(list((clone.work / "dist/cluster").glob("*.whl"))) == 1


def test_elsewhere_than_in_the_repository_it_is_refused(desk):
    with pytest.raises(InputError, match="run this at the top of the repository"):
        prepare(desk.home)


def test_what_pip_refuses_is_said_in_one_line(clone):
    (clone.work / "pyproject.toml").write_text("[project\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"^pip wheel has failed: [^\n]+$"):
        prepare(clone.work)
