"""Which library is loaded, and which is refused."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys

import pytest

from gaelp_ray.core import implementation, library

PRINT = "from gaelp_ray.core import implementation; print(implementation())"


def implementation_with(value: str) -> str:
    words, environment = [sys.executable, "-c", PRINT], {**os.environ, "GAELP_CORE": value}
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def compiler(compiler, quick_compiler):
    """One that does not optimise."""
    return quick_compiler


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder instead of the package's; the choice is made anew."""
    monkeypatch.setattr(library, "FOLDER", tmp_path)
    monkeypatch.delenv(library.SWITCH, raising=False)
    library.load.cache_clear()
    yield tmp_path
    library.load.cache_clear()


def build(backend, compiler, level, source=library.SOURCE):
    assert backend.compile_library(compiler, level, source, library.library_path(level)) == ""


def test_gaelp_core_numpy_leaves_the_library_unused():
    assert implementation_with("numpy") == "numpy (GAELP_CORE=numpy)\n"


def test_unknown_value_of_gaelp_core_is_an_error(folder, monkeypatch):
    monkeypatch.setenv(library.SWITCH, "numpi")
    with pytest.raises(library.InputError, match="GAELP_CORE=numpi: unknown value: write GAELP_CORE=numpy"):
        library.load()


def test_without_a_library_numpy_computes(folder):
    assert library.load() == library.Core(None, "numpy (no compiled library)")


def test_best_library_of_the_processor_is_loaded(folder, backend, compiler):
    for level in library.supported_levels():
        build(backend, compiler, level)
    assert implementation() == f"c ({library.supported_levels()[0] or platform.machine()})"


def test_lesser_library_is_loaded_where_the_best_was_not_built(folder, backend, compiler):
    level = library.supported_levels()[-1]
    build(backend, compiler, level)
    assert implementation() == f"c ({level or platform.machine()})"


def test_library_of_another_source_is_refused(folder, backend, compiler, tmp_path):
    source = tmp_path / "c"
    shutil.copytree(library.SOURCE, source)
    (source / "changed.h").write_text("/* changed */\n", encoding="utf-8")
    build(backend, compiler, library.supported_levels()[0], source)
    assert "was built from another source: install gaelp_ray again" in implementation()
    assert library.load().library is None


def test_library_of_another_abi_version_is_refused(folder, backend, compiler, monkeypatch):
    build(backend, compiler, library.supported_levels()[0])
    monkeypatch.setattr(library, "ABI_VERSION", library.ABI_VERSION + 1)
    assert f"has ABI version {library.ABI_VERSION - 1}, not {library.ABI_VERSION}" in implementation()


@pytest.mark.parametrize("content", [b"", b"no library"])
def test_broken_library_is_refused(folder, content):
    library.library_path(library.supported_levels()[0]).write_bytes(content)
    assert "cannot be loaded" in implementation()


def test_foreign_library_is_refused(folder, backend, compiler, tmp_path):
    (tmp_path / "other.c").write_text("int other;\n", encoding="utf-8")
    build(backend, compiler, library.supported_levels()[0], tmp_path)
    assert "cannot be loaded" in implementation()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="a machine with a single library")
@pytest.mark.parametrize(
    ("missing", "levels"),
    [
        ("avx512vl", ["x86-64-v3", "x86-64-v2"]),
        ("avx2", ["x86-64-v2"]),
        ("ssse3", []),
    ],
)
def test_processor_without_an_instruction_gets_no_library_that_needs_it(monkeypatch, missing, levels):
    every = set().union(*library.REQUIRED.values())
    monkeypatch.setattr(library, "_processor_flags", lambda: every)
    assert library.supported_levels() == ["x86-64-v4", "x86-64-v3", "x86-64-v2"]
    monkeypatch.setattr(library, "_processor_flags", lambda: every - {missing})
    assert library.supported_levels() == levels
