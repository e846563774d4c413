"""Whether all nodes get one Ray, one Python and this gaelp_ray: that of constraints.txt, and that of this machine."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from gaelp_ray.cluster.file import COMMANDS, ClusterFile, Finding
from gaelp_ray.cluster.preflight.shipping import PREPARE
from gaelp_ray.sweep.format.document import KeyPath

SETUP = COMMANDS[:4]
RAY_WORD = re.compile(
    r"(?<![\w./-])ray(?P<extras>\[[\w,]*\])?(?P<rest>\s*(?:==\s*(?P<version>[\w.]+)|[<>~!]=?\S*|@\s*\S+))?(?![\w/-])"
)
RAY_WHEEL = re.compile(r"ray-(?P<version>\d[\w.]*)-cp\d+")
PYTHON = re.compile(r"(?:(?<![\w.])python|(?<=python=)|(?<=python==))(?P<version>3\.\d+)")
IMAGE = re.compile(r"ray(?:-ml)?:(?P<version>\d+\.\d+\.\d+)\b(?:.*?-py(?P<python>3\d+))?")

CODE = (".py", ".c", ".h")
"""Suffixes of the files that are compared with this package."""


def version_findings(file: ClusterFile) -> Iterator[Finding]:
    """Versions that differ, or that nothing holds equal."""
    here = metadata.version("ray")
    pins, path = _constraints(file)
    pinned = pins.get("ray", here)
    if path and pinned != here:
        what = f"the nodes get Ray {pinned}, and this machine has {here}"
        yield Finding(path, what, f"pip install ray=={pinned} here, or change the constraints")
    yield from _installed(file, pinned)
    yield from _images(file, pinned)
    yield from _pythons(file)
    if not path:
        remedy = "send constraints.txt by file_mounts, as our cluster.yaml does"
        yield Finding((), "nothing holds the packages' versions equal on all nodes", remedy, warning=True)


def _constraints(file: ClusterFile) -> tuple[dict[str, str], KeyPath]:
    """Pinned versions of the constraints that are sent, and where they are named."""
    for remote, local in file.mapping("file_mounts").items():
        if isinstance(local, str) and Path(local).name.startswith("constraints"):
            source = Path(local).expanduser()
            text = source.read_text(encoding="utf-8", errors="replace") if source.is_file() else ""
            return dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", text, re.MULTILINE)), ("file_mounts", remote)
    return {}, ()


def _installed(file: ClusterFile, pinned: str) -> Iterator[Finding]:
    """Commands that install Ray by themselves."""
    ours = False
    for path, command in file.commands(*SETUP):
        ours = ours or "install.sh" in command or "gaelp" in command
        if not re.search(r"\b(pip|pip3|uv|conda|mamba)\b.*\binstall\b", command):
            continue
        for found in RAY_WHEEL.finditer(command):
            if found["version"] != pinned:
                yield Finding(
                    path,
                    f"this installs Ray {found['version']}, and {pinned} is wanted",
                    f"write ray[default]=={pinned}",
                )
        for found in RAY_WORD.finditer(command.split("install", 1)[1]):
            yield from _ray_word(path, found, pinned)
    if not ours and not file.get("docker"):
        remedy = "add `bash ~/.gaelp/install.sh python3` to setup_commands, as our cluster.yaml does"
        yield Finding((), "nothing installs gaelp_ray on the nodes", remedy, warning=True)


def _ray_word(path: KeyPath, found: re.Match[str], pinned: str) -> Iterator[Finding]:
    wanted = f"write ray[default]=={pinned}"
    if RAY_WHEEL.search(found["rest"] or ""):
        return  # by its address, which names its version
    if found["version"] is None:
        yield Finding(path, "this installs whichever Ray is newest that day", wanted)
    elif found["version"] != pinned:
        yield Finding(path, f"this installs Ray {found['version']}, and {pinned} is wanted", wanted)
    if not re.search(r"default|all", found["extras"] or ""):
        yield Finding(path, "the head takes jobs, and starts workers, only with what ray[default] installs", wanted)


def _images(file: ClusterFile, pinned: str) -> Iterator[Finding]:
    pythons = {}
    for key in ("image", "head_image", "worker_image"):
        found = IMAGE.search(file.string("docker", key))
        if not found:
            continue
        if found["version"] != pinned:
            what = f"the image has Ray {found['version']}, and {pinned} is wanted"
            yield Finding(("docker", key), what, f"name an image of Ray {pinned}")
        pythons[key] = found["python"]
    if len(set(pythons.values())) > 1:
        yield Finding(("docker",), "the images have different Pythons, and Ray connects equal ones only", "name one")


def _pythons(file: ClusterFile) -> Iterator[Finding]:
    """Ray compares Pythons down to the patch; from commands only the minor version can be known."""
    seen: dict[str, KeyPath] = {}
    for path, command in file.commands(*COMMANDS):
        for found in PYTHON.finditer(command):
            seen.setdefault(found["version"], path)
    if len(seen) > 1:
        what = f"commands name Python {' and '.join(sorted(seen))}, and Ray connects equal ones only"
        yield Finding(list(seen.values())[-1], what, "name one Python in all of them")
    for version, path in seen.items():
        if int(version.split(".")[1]) < 10:
            yield Finding(path, f"Python {version} is older than 3.10", "name a newer one")


def wheel_findings(file: ClusterFile) -> Iterator[Finding]:
    """Whether the wheel that is sent is of the package that runs here."""
    for remote, local in file.mapping("file_mounts").items():
        wheels = sorted(Path(local).expanduser().glob("gaelp_ray-*.whl")) if isinstance(local, str) else []
        for wheel in wheels:
            if not _is_current(wheel):
                what = f"{wheel.name} in {local} is not the gaelp_ray that runs here"
                yield Finding(("file_mounts", remote), what, PREPARE, warning=True)


def _is_current(wheel: Path) -> bool:
    package = Path(__file__).parents[2]
    sources = [path for path in package.rglob("*") if path.suffix in CODE]
    here = {f"gaelp_ray/{source.relative_to(package).as_posix()}": source for source in sources}
    try:
        with zipfile.ZipFile(wheel) as content:
            sent = {item.filename: item.CRC for item in content.infolist() if item.filename.endswith(CODE)}
    except (OSError, zipfile.BadZipFile):
        return False
    return sent == {name: zlib.crc32(source.read_bytes()) for name, source in here.items()}
