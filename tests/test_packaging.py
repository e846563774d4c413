"""What an installation of this package brings."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = "import sys, setuptools.build_meta as backend; backend.build_editable(sys.argv[1])"
IMPORT = "import site, sys; site.addsitedir(sys.argv[1]); import gaelp_ray; print(gaelp_ray.load_best.__module__)"


def python(folder: Path, code: str, argument: Path) -> str:
    surroundings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [sys.executable, "-c", code, str(argument)]
    done = subprocess.run(words, cwd=folder, env=surroundings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_editable_install_works_in_the_folder_above_a_clone_named_gaelp_ray(tmp_path, quick_compiler):
    clone = tmp_path / "gaelp_ray"
    clone.mkdir()
    for name in ("pyproject.toml", "setup.py", "build_backend.py", "README.md"):
        shutil.copy(ROOT / name, clone)
    shutil.copytree(ROOT / "gaelp_ray", clone / "gaelp_ray", ignore=shutil.ignore_patterns("__pycache__"))
    python(clone, BUILD, tmp_path / "wheels")
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    shutil.unpack_archive(wheel, tmp_path / "site", "zip")  # what pip does with it
    assert python(tmp_path, IMPORT, tmp_path / "site") == "gaelp_ray.retrieval\n"
