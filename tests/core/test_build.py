"""Installing the package builds the core, and works without a compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from gaelp_ray.core import library

ROOT = Path(__file__).parents[2]
BUILD = "import sys, build_backend as backend; getattr(backend, sys.argv[1])(sys.argv[2])"


@pytest.fixture
def clone(tmp_path):
    """A fresh clone, as far as a build is concerned."""
    folder = tmp_path / "clone"
    folder.mkdir()
    for name in ("pyproject.toml", "setup.py", "build_backend.py", "README.md"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "gaelp_ray", folder / "gaelp_ray", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    return folder


@pytest.fixture
def no_compiler(tmp_path, monkeypatch):
    """A machine without a compiler, whose pip finds none."""
    (tmp_path / "python").mkdir()
    (tmp_path / "python/ziglang.py").write_text("raise SystemExit('no compiler')\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "python"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.delenv("CC", raising=False)


def build(clone, kind):
    """(the wheel, what the build printed of the core)"""
    words = [sys.executable, "-c", BUILD, kind, "out"]
    done = subprocess.run(words, cwd=clone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (clone / "out").glob("*.whl")
    return wheel, [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("gaelp_ray:")]


def names(folder):
    return {path.stem for path in folder.glob("gaelp_ray/core/*.so")}


def test_wheel_holds_the_libraries_and_serves_every_python_3(clone, backend, compiler, quick_compiler):
    wheel, lines = build(clone, "build_wheel")
    assert wheel.name.startswith("gaelp_ray-0.1.0-py3-none-") and not wheel.name.endswith("-any.whl")
    assert len(lines) == 1 and lines[0].startswith("gaelp_ray: compiled core built for ")
    shutil.unpack_archive(wheel, clone / "site", "zip")
    assert names(clone / "site") == set(backend.library_names())
    for file in library.SOURCE.iterdir():
        assert (clone / "site/gaelp_ray/core/c" / file.name).read_bytes() == file.read_bytes()


def test_editable_install_puts_the_libraries_beside_their_source(clone, backend, compiler, quick_compiler):
    build(clone, "build_editable")
    assert names(clone) == set(backend.library_names())


@pytest.mark.parametrize("kind", ["build_wheel", "build_editable"])
def test_without_a_compiler_the_build_says_so_in_one_line(clone, no_compiler, kind):
    wheel, lines = build(clone, kind)
    assert lines == [
        "gaelp_ray: no compiled core (no C compiler found): numpy computes the same numbers, several times slower"
    ]
    assert not names(clone)
    with zipfile.ZipFile(wheel) as content:
        assert not [name for name in content.namelist() if name.endswith(".so")]


def test_source_that_does_not_compile_is_named_in_that_line(clone, backend, compiler, quick_compiler):
    (clone / "gaelp_ray/core/c/market.c").write_text("int broken(void) { return missing; }\n", encoding="utf-8")
    _, (line,) = build(clone, "build_wheel")
    assert line.startswith("gaelp_ray: no compiled core (") and "missing" in line


def test_ziglang_is_required_only_where_no_compiler_works(backend, monkeypatch):
    found = iter([["cc"], [], []])
    monkeypatch.setattr(backend, "find_compiler", lambda: next(found))
    assert backend._compiler_to_install() == []
    monkeypatch.setattr(backend.subprocess, "run", lambda words, **_: subprocess.CompletedProcess(words, 0))
    assert backend._compiler_to_install() == ["ziglang"]
    monkeypatch.setattr(backend.subprocess, "run", lambda words, **_: subprocess.CompletedProcess(words, 1))
    assert backend._compiler_to_install() == []


def test_compiler_that_does_not_work_is_passed_over(backend, tmp_path, monkeypatch):
    for name, code in (("cc", 1), ("gcc", 0)):
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {code}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert backend.find_compiler() == ["gcc"]


def test_every_library_that_is_built_can_be_chosen(backend):
    assert set(backend.library_names().values()) == (set(library.REQUIRED) if library.supported_levels()[0] else {""})
