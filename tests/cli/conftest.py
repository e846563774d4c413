"""A command line, run in this process."""

from __future__ import annotations

import sys

import pytest

from gaelp_ray.cli.main import main


@pytest.fixture
def gaelp_ray(monkeypatch, capsys):
    """Runs a command line: (exit code, stdout, stderr)."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gaelp-ray", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run


@pytest.fixture
def file(tmp_path):
    """Writes a text as trip.yaml and returns its path."""

    def write(text: str):
        path = tmp_path / "trip.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write
