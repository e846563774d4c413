"""A secret that lies somewhere is found, and what Ray runs is known as Ray's."""

from __future__ import annotations

import pytest
from cluster.live.sky import holders, of_ray
from ssh_hosts import inits


def test_a_secret_is_found_within_any_file_with_its_mode(tmp_path):
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "deep/er/log").write_bytes(b"\xff\x00said: tell-me-not\n")
    (tmp_path / "deep/er/log").chmod(0o640)
    (tmp_path / "other").write_text("tell-me", encoding="utf-8")
    (tmp_path / "link").symlink_to("deep/er/log")
    assert holders([tmp_path], {"it": "tell-me-not"}) == [("it", str(tmp_path / "deep/er/log"), "0o640")]


@pytest.mark.parametrize(
    ("command", "is_so"),
    [
        ("ray::IDLE", True),
        ("/root/.gaelp/venv/lib/python3.11/site-packages/ray/core/src/ray/raylet/raylet --x", True),
        ("python -u /x/ray/autoscaler/_private/monitor.py", True),
        ("bash --login -c -i ray start --head", True),
        ("sshd: root@notty", False),
        (f"/usr/bin/python3 {inits.__file__} host", False),
    ],
)
def test_what_is_of_ray(command, is_so):
    assert of_ray(command) == is_so
