"""Builds the compiled core with the package: a PEP 517 backend on setuptools, and the commands that setup.py registers.

The files of `gaelp_ray/core/c` become one shared library for each instruction set that the processors of this
platform may have; `gaelp_ray/core/library.py` loads the best of them with ctypes. The compiler is the system's:
`$CC`, cc, gcc or clang. Where none works, pip installs the PyPI package ziglang for the build, which contains one.
Where that is not to be had either, the package is built without the libraries: numpy then computes the same numbers.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from setuptools import Extension, build_meta
from setuptools.build_meta import (
    build_editable,
    build_sdist,
    build_wheel,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

SOURCE = "gaelp_ray/core/c"

LEVELS = {"x86_64": ("x86-64-v2", "x86-64-v3", "x86-64-v4")}
"""Instruction sets to build for, by machine; any other machine gets one library for all of its processors."""

FLAGS = (
    "-std=c11 -O3 -shared -fPIC -Wall -Werror=implicit-function-declaration "
    # The bits are those of numpy: every operation is rounded by itself, none is fused or reordered.
    "-ffp-contract=off -fno-fast-math "
    # Both change no number; without them gcc does not vectorise a square root or a choice between two quotients.
    "-fno-math-errno -fno-trapping-math"
).split()

LINUX_FLAGS = ["-ffreestanding", "-nostdlib", "-s"]
"""The source includes and calls nothing of the C library: a compiler alone is enough, without libc's headers."""


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:
    """What pip installs for the build of a wheel."""
    return build_meta.get_requires_for_build_wheel(config_settings) + _compiler_to_install()


def get_requires_for_build_editable(config_settings: dict[str, Any] | None = None) -> list[str]:
    """What pip installs for the build of an editable install."""
    return build_meta.get_requires_for_build_editable(config_settings) + _compiler_to_install()


def _compiler_to_install() -> list[str]:
    """ziglang, where no compiler is found and pip finds it on its index: an install must not fail without it."""
    if find_compiler():
        return []
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--quiet", "--retries", "1", "ziglang"]
    # An isolated build hides the pip of the environment behind PYTHONPATH.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = subprocess.run(pip, env=environment, capture_output=True, check=False)
    return ["ziglang"] if found.returncode == 0 else []


def find_compiler() -> list[str]:
    """The command that compiles C, or [] if there is none: the first that works."""
    commands = [shlex.split(name) for name in (os.environ.get("CC", ""), "cc", "gcc", "clang")]
    found = [command for command in commands if command and shutil.which(command[0])]
    if importlib.util.find_spec("ziglang"):
        found.append([sys.executable, "-m", "ziglang", "cc"])
    return next(filter(_works, found), [])


def _works(compiler: list[str]) -> bool:
    """Whether it compiles for the first level: gcc before 11 does not, nor macOS's cc without its developer tools."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "works.c").write_text("int works;\n", encoding="utf-8")
        level = next(iter(library_names().values()))
        return not compile_library(compiler, level, Path(folder), Path(folder, "works.so"))


def library_names() -> dict[str, str]:
    """File name, without its suffix, of each library of this platform -> its instruction set ("" for the only one)."""
    machine = platform.machine()
    return {f"core-{sys.platform}-{level or machine}": level for level in LEVELS.get(machine, ("",))}


def compile_library(compiler: list[str], level: str, source: Path, target: Path) -> str:
    """Compile the folder `source` to the shared library `target`; returns "", or the reason of a failure."""
    files = sorted(source.glob("*.[ch]"))
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    # Without a name, zig compiles for the processor at hand, other compilers for the platform's oldest.
    zig = f"-mcpu={level.replace('-', '_') or 'baseline'}"
    target_flags = [zig] if "ziglang" in compiler else [f"-march={level}"] if level else []
    target_flags += ["-mprefer-vector-width=512"] if level == "x86-64-v4" else []
    words = [*compiler, *FLAGS, *(LINUX_FLAGS if sys.platform == "linux" else []), *target_flags]
    target.parent.mkdir(parents=True, exist_ok=True)
    words += [f'-DSOURCE_SHA256="{digest}"', "-o", str(target), *(str(file) for file in files if file.suffix == ".c")]
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": cache}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if "error" in line] or [f"exit code {done.returncode}"]
    return lines[0].strip() if done.returncode else ""


class BuildCore(build_ext):
    """Builds the libraries that can be built here; never fails."""

    def run(self) -> None:
        """Build all, and say in one line what there is."""
        self.built: list[str] = []
        self.reason = "no C compiler found"
        super().run()
        if self.built:
            print(f"gaelp_ray: compiled core built for {', '.join(self.built)}")
        else:
            print(f"gaelp_ray: no compiled core ({self.reason}): numpy computes the same numbers, several times slower")

    def build_extension(self, ext: Extension) -> None:
        """Compile one library."""
        name = ext.name.rpartition(".")[2]
        compiler = find_compiler()
        if not compiler:
            return
        reason = compile_library(compiler, library_names()[name], Path(SOURCE), Path(self.get_ext_fullpath(ext.name)))
        if reason:
            self.reason = f"{' '.join(compiler)}: {reason}"
        else:
            self.built.append(name.removeprefix("core-"))

    def get_ext_filename(self, fullname: str) -> str:
        """A library belongs to a platform, not to a version of Python."""
        return str(Path(*fullname.split("."))) + ".so"


class PlatformWheel(bdist_wheel):
    """A wheel for every Python 3 of this platform."""

    def get_tag(self) -> tuple[str, str, str]:
        """py3-none-PLATFORM."""
        return "py3", "none", super().get_tag()[2]


def libraries() -> list[Extension]:
    """The libraries, as setuptools knows them; all optional."""
    files = [str(file) for file in sorted(Path(SOURCE).glob("*.[ch]"))]
    return [Extension(f"gaelp_ray.core.{name}", files, optional=True) for name in library_names()]
