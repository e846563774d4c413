"""What `ray up` sends to the nodes, made here: a wheel, a token, a file for secrets. Start at prepare()."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from gaelp_ray.cluster.file import ENV_FILE, TOKEN, WHEELS
from gaelp_ray.errors import InputError

SOURCES = ("pyproject.toml", "setup.py", "build_backend.py", "README.md", "gaelp_ray")
"""What the wheel is made of."""

EPOCH = "315532800"
"""1980, the first second that a zip file knows: the same sources give the same wheel, bit for bit."""

REQUIREMENTS = """\
# Made by `gaelp-ray cluster prepare`; install.sh hands it to pip on every node.
{index}-c ../constraints.txt
./{wheel}[cluster]
"""


def prepare(root: Path, everything: bool = False) -> list[str]:
    """Make what the nodes of a cluster are sent, and say in one line each what is there now.

    root: of the repository, whose dist/cluster/ is made anew. everything: also fetch the wheels of all dependencies,
    for nodes without a package index; they are those of this Python and this platform. Raises InputError.
    """
    missing = [name for name in (*SOURCES, "constraints.txt") if not (root / name).exists()]
    if missing:
        raise InputError(f"no {', '.join(missing)} here: run this at the top of the repository of gaelp_ray")
    with tempfile.TemporaryDirectory() as scratch:
        wheel = _built(root, Path(scratch))
        if everything:
            _run_pip("download", "--dest", wheel.parent, "-c", root / "constraints.txt", f"{wheel}[cluster]")
        index = "--no-index\n--find-links .\n" if everything else ""
        text = REQUIREMENTS.format(index=index, wheel=wheel.name)
        (wheel.parent / "requirements.txt").write_text(text, encoding="utf-8")
        shutil.rmtree(root / WHEELS, ignore_errors=True)
        shutil.copytree(wheel.parent, root / WHEELS)
    count = len(list((root / WHEELS).glob("*.whl"))) - 1
    others = f" and {count} wheels of dependencies" if everything else ""
    return [f"{WHEELS}: {wheel.name}{others}", _token(), _environment()]


def _built(root: Path, scratch: Path) -> Path:
    """The wheel, made from a copy: setuptools would leave a folder behind, and later take removed modules from it."""
    source, wheels = scratch / "source", scratch / "wheels"
    source.mkdir()
    for name in SOURCES:
        if (root / name).is_dir():
            shutil.copytree(root / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        else:
            shutil.copy(root / name, source)
    # Where setuptools is recent enough, no index is asked for another one.
    has_setuptools = int(metadata.version("setuptools").split(".")[0]) >= 77 if _has("setuptools") else False
    isolation = ["--no-build-isolation"] if has_setuptools else []
    # Tagged for any platform: nodes of another platform ignore the compiled core and compute in numpy.
    platform = "--config-settings=--build-option=--plat-name=any"
    _run_pip("wheel", "--no-deps", *isolation, platform, "--wheel-dir", wheels, source)
    return next(wheels.glob("*.whl"))


def _has(distribution: str) -> bool:
    return any(found.name == distribution for found in metadata.distributions(name=distribution))


def _run_pip(*words: str | Path) -> None:
    """Raises InputError with the last line that pip wrote."""
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, words)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"]
        reason = next((line for line in lines if "ERROR" in line), lines[-1]).strip()
        raise InputError(f"pip {words[0]} has failed: {reason}")


def _token() -> str:
    """Ray's token, which its own command would leave readable by others."""
    path = Path(TOKEN).expanduser()
    if path.is_file() and path.read_bytes().strip():
        path.chmod(0o600)
        return f"{TOKEN}: there already, mode 0600"
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_private(path, secrets.token_hex(32))
    return f"{TOKEN}: new, mode 0600"


def _environment() -> str:
    path = Path(ENV_FILE).expanduser()
    if path.is_file():
        path.chmod(0o600)
        return f"{ENV_FILE}: there already, mode 0600"
    _write_private(
        path, "# NAME=value, one a line, for instance WANDB_API_KEY=... ; nodes read it before Ray starts.\n"
    )
    return f"{ENV_FILE}: new and empty, mode 0600: write WANDB_API_KEY=... there if you use W&B"


def _write_private(path: Path, text: str) -> None:
    """Never readable by others, not for a moment."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)  # it may have been there, for all to read
        file.write(text)
