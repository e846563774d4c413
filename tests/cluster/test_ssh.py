"""How a machine is reached: the words of ssh, and what comes back (an `ssh` on PATH plays the other side)."""

from __future__ import annotations

import os
from itertools import pairwise

import pytest

from gaelp_ray.cluster.ssh import Login, last_line, require_ssh, said_by
from gaelp_ray.errors import InputError


@pytest.fixture
def ssh(tmp_path, monkeypatch):
    """Puts a program on PATH that does as it is told."""

    def write(text):
        (tmp_path / "ssh").write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (tmp_path / "ssh").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return write


def test_nobody_is_asked_for_a_password_and_the_key_is_the_files(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    words = Login.of({"ssh_user": "ada", "ssh_private_key": "~/.ssh/k", "ssh_proxy_command": "nc %h %p"}).words("X=y")
    assert words[0] == "ssh"
    assert words[-4:] == ["-i", "/home/ada/.ssh/k", "-l", "ada"]
    options = [word for before, word in pairwise(words) if before == "-o"]
    assert {"BatchMode=yes", "StrictHostKeyChecking=no", "X=y", "ProxyCommand=nc %h %p"} <= set(options)


def test_what_is_not_written_is_not_said():
    words = Login.of({"ssh_user": "ada", "ssh_private_key": 7}).words()
    assert "-i" not in words
    assert not any("Proxy" in word for word in words)


def test_a_script_is_run_there_whatever_it_ends_with(ssh):
    ssh("shift $(($# - 1)); exec $1")  # the last word: bash -s
    assert said_by(Login("ada"), "host", "echo one; echo two; exit 3", 5) == (["one", "two"], "")


def test_ssh_that_fails_says_why_in_its_own_words(ssh):
    ssh("echo noise >&2; echo 'Permission denied (publickey).' >&2; exit 255")
    assert said_by(Login("ada"), "host", "true", 5) == ([], "no ssh: Permission denied (publickey).")


def test_a_machine_that_does_not_answer_is_not_waited_for(ssh):
    ssh("exec sleep 20")
    assert said_by(Login("ada"), "host", "true", 0.2)[1].startswith("no answer within 0.2 s")


@pytest.mark.parametrize(("text", "last"), [("a\n b \n\n", "b"), ("", "no reason given")])
def test_of_complaints_the_last_counts(text, last):
    assert last_line(text) == last


def test_a_machine_without_ssh_says_where_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="apt-get install openssh-client"):
        require_ssh()
