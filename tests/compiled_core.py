"""Libraries built anew from the source, by each compiler of this machine."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path

import pytest

from gaelp_ray.core import library

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def backend():
    """The module that builds the package."""
    spec = importlib.util.spec_from_file_location("build_backend", ROOT / "build_backend.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def compiler(backend):
    """The command of the compiler that an installation would take here."""
    return backend.find_compiler() or pytest.skip("no C compiler on this machine")


@pytest.fixture
def quick_compiler(backend, tmp_path_factory, monkeypatch):
    """A compiler that does not optimise, also as $CC: a build takes a second, not 20. [] without a compiler."""
    compiler = backend.find_compiler()
    if not compiler or "ziglang" in compiler:
        return compiler
    script = tmp_path_factory.mktemp("compiler") / "cc"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(compiler)} "$@" -O0\n', encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))
    return [str(script)]


@pytest.fixture(scope="session", params=["system", "ziglang"])
def libraries(request, backend, tmp_path_factory):
    """Every library that this processor can run, by instruction set: as installed, and built by ziglang."""
    installed = {level: library.library_path(level) for level in library.supported_levels()}
    if request.param == "system" and all(path.exists() for path in installed.values()):
        return {level: library.open_library(path) for level, path in installed.items()}
    if request.param == "system":
        compiler = request.getfixturevalue("compiler")
    elif importlib.util.find_spec("ziglang"):
        compiler = [sys.executable, "-m", "ziglang", "cc"]
    else:
        pytest.skip("ziglang is not installed")
    folder, opened = tmp_path_factory.mktemp("libraries"), {}
    for level in library.supported_levels():
        path = folder / library.library_path(level).name
        assert backend.compile_library(compiler, level, library.SOURCE, path) == ""
        opened[level] = library.open_library(path)
    return opened
