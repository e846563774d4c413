"""`gaelp-ray` without a command, and what every command has in common."""

from __future__ import annotations

from importlib.metadata import version

import pytest


@pytest.mark.parametrize(("words", "command"), [((), "sweep"), (("cluster",), "prepare"), (("--debug",), "sweep")])
def test_without_a_command_the_help_is_printed_with_exit_code_0(gaelp_ray, words, command):
    code, out, err = gaelp_ray(*words)
    assert (code, err) == (0, "")
    assert "Usage: gaelp-ray" in out and f"{command} " in out
    assert out == gaelp_ray(*(word for word in words if word != "--debug"), "--help")[1]


def test_version_is_that_of_the_package(gaelp_ray):
    assert gaelp_ray("--version") == (0, f"gaelp-ray {version('gaelp_ray')}\n", "")


@pytest.mark.parametrize("words", [("nonsense",), ("cluster", "nonsense"), ("show",), ("show", "--nonsense", "x")])
def test_a_wrong_command_line_is_one_line_and_exit_code_2(gaelp_ray, words):
    code, out, err = gaelp_ray(*words)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("error: ") and "Error" not in line
