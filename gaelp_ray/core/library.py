"""Finds and loads the compiled library, or says why numpy does the work. Start at load()."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gaelp_ray.errors import InputError

ABI_VERSION = 3
"""Of the functions that functions.py calls; raised with every change of their arguments."""

SWITCH = "GAELP_CORE"
"""Environment variable: `numpy` leaves the compiled library unused."""

FOLDER = Path(__file__).parent
SOURCE = FOLDER / "c"

REQUIRED = {
    "x86-64-v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
    "x86-64-v3": {"avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"},
    "x86-64-v2": {"sse4_1", "sse4_2", "ssse3", "popcnt"},
}
"""What a processor must have for each instruction set, best first, in the words of /proc/cpuinfo; each includes the
ones after it."""


class LibraryError(Exception):
    """A library does not belong to this package, or cannot be loaded."""


@dataclass(frozen=True)
class Core:
    """What computes: the library (None: numpy), and its name for people."""

    library: ctypes.CDLL | None
    name: str


@cache
def load() -> Core:
    """The best library of this processor; once for a process. Raises InputError: GAELP_CORE has an unknown value."""
    wanted = os.environ.get(SWITCH, "")
    if wanted not in ("", "numpy"):
        raise InputError(f"{SWITCH}={wanted}: unknown value: write {SWITCH}=numpy, or unset it")
    if wanted:
        return Core(None, f"numpy ({SWITCH}=numpy)")
    for level in supported_levels():
        path = library_path(level)
        if not path.exists():
            continue
        try:
            return Core(open_library(path), f"c ({level or platform.machine()})")
        except LibraryError as error:
            return Core(None, f"numpy ({error})")
    return Core(None, "numpy (no compiled library)")


def implementation() -> str:
    """What computes the market here, as `c (x86-64-v3)`, or `numpy (...)` with the reason."""
    return load().name


def library_path(level: str) -> Path:
    """Where the build puts the library of an instruction set; `level` is "" where a platform has a single one."""
    return FOLDER / f"core-{sys.platform}-{level or platform.machine()}.so"


def supported_levels() -> list[str]:
    """The instruction sets of this processor, best first; [""] on a platform with a single library."""
    if platform.machine() != "x86_64":
        return [""]
    flags = _processor_flags()
    levels, needed = [], set().union(*REQUIRED.values())
    for level, required in REQUIRED.items():
        if needed <= flags:
            levels.append(level)
        needed -= required
    return levels


def _processor_flags() -> set[str]:
    """Flags of the processor; empty where the system does not say."""
    if sys.platform == "darwin":
        names = ("machdep.cpu.features", "machdep.cpu.leaf7_features")
        done = subprocess.run(["sysctl", "-n", *names], capture_output=True, text=True, check=False)
        return set(done.stdout.lower().replace(".", "_").split())
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())


def open_library(path: Path) -> ctypes.CDLL:
    """Load a library, and check that it was built from the files in SOURCE. Raises LibraryError."""
    try:
        library = ctypes.CDLL(str(path))
        library.gaelp_abi.restype, library.gaelp_source.restype = ctypes.c_int64, ctypes.c_char_p
        abi, source = library.gaelp_abi(), library.gaelp_source().decode()
    except (OSError, AttributeError) as error:
        raise LibraryError(f"{path.name} cannot be loaded: {error}") from error
    if abi != ABI_VERSION:
        raise LibraryError(f"{path.name} has ABI version {abi}, not {ABI_VERSION}: install gaelp_ray again")
    files = sorted(SOURCE.glob("*.[ch]"))
    if source != hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest():
        raise LibraryError(f"{path.name} was built from another source: install gaelp_ray again")
    return library
