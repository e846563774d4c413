"""deploy/install.sh on a node whose python3 is a stand-in that notes what pip is asked for: all else is real."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

INSTALL = Path(__file__).parents[2] / "deploy/install.sh"
WHEEL = "gaelp_ray-0.1.0-py3-none-any.whl"

PYTHON = """\
#!/bin/sh
case "$1 $2 $3" in
  -VV*) cat "{node}/version" ;;
  "-m venv"*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; echo venv >>"{node}/log" ;;
  "-m pip"*) echo "$*" >>"{node}/log"; [ ! -f "{node}/no-index" ] ;;
  *version_info*) [ ! -f "{node}/old" ] ;;
  *ensurepip*) [ ! -f "{node}/no-venv" ] ;;
esac
"""


@pytest.fixture
def node(tmp_path, monkeypatch):
    """A home with what file_mounts brings."""
    gaelp = tmp_path / ".gaelp"
    (gaelp / "wheels").mkdir(parents=True)
    (gaelp / "wheels/requirements.txt").write_text(f"-c ../constraints.txt\n./{WHEEL}[cluster]\n", encoding="utf-8")
    (gaelp / "wheels" / WHEEL).write_bytes(b"one")
    (gaelp / "constraints.txt").write_text("ray==2.60.0\n", encoding="utf-8")
    shutil.copy(INSTALL, gaelp)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3").write_text(PYTHON.format(node=tmp_path), encoding="utf-8")
    (tmp_path / "bin/python3").chmod(0o755)
    (tmp_path / "version").write_text("Python 3.12.3\n", encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return tmp_path


def install(node, *words):
    """Exit code, what was said, and what pip was asked for."""
    (node / "log").write_text("", encoding="utf-8")
    command = ["bash", str(node / ".gaelp/install.sh"), *(words or ("python3",))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    return done.returncode, done.stdout + done.stderr, (node / "log").read_text(encoding="utf-8").splitlines()


def test_the_first_run_installs_and_the_second_does_nothing(node):
    code, said, log = install(node)
    assert (code, said) == (0, f"installed wheels/{WHEEL}\n")
    assert log[0] == "venv"
    assert log[1].endswith("install --quiet --disable-pip-version-check --no-compile --requirement requirements.txt")
    assert log[2].endswith(f"--no-deps --force-reinstall wheels/{WHEEL}")
    assert install(node) == (0, f"wheels/{WHEEL} is installed already\n", [])


@pytest.mark.parametrize("changed", [f"wheels/{WHEEL}", "constraints.txt", "wheels/requirements.txt", "install.sh"])
def test_whatever_has_changed_is_installed_into_the_same_environment(node, changed):
    install(node)
    with (node / ".gaelp" / changed).open("a") as file:
        file.write("\n#[ gaelp\n")
    code, said, log = install(node)
    assert (code, "installed wheels" in said, len(log)) == (0, True, 2)


def test_another_python_or_package_is_news_and_another_python_a_new_environment(node):
    install(node)
    assert "boto3" in install(node, "python3", "boto3")[2][0]
    (node / "version").write_text("Python 3.12.4\n", encoding="utf-8")
    assert install(node, "python3", "boto3")[2][0] == "venv"


def test_an_installation_that_failed_is_tried_again(node):
    (node / "no-index").touch()
    assert install(node)[0] != 0
    (node / "no-index").unlink()
    assert "installed wheels" in install(node)[1]


def test_ray_is_on_the_path_of_a_login_shell_once(node):
    for words in (("python3",), ("python3", "boto3")):
        install(node, *words)
    lines = (node / ".bashrc").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if ".gaelp/venv/bin" in line] == lines
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("words", "lacks", "said"),
    [
        (["python3.99"], "none", "no python3.99"),
        (["python3"], "old", "older than Python 3.10"),
        (["python3"], "no-venv", "apt-get install python3-venv"),
    ],
)
def test_what_a_node_lacks_is_said_in_one_line(node, words, lacks, said):
    (node / lacks).touch()
    code, text, log = install(node, *words)
    assert (code, log) == (2, [])
    assert said in text
    assert text.count("\n") == 1
