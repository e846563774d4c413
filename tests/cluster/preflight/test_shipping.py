"""What is sent: sources that are there, not open to others, and with nothing in them that bash would run."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("source", "remedy"),
    [
        ("home/.gaelp.env", "Run `gaelp-ray cluster prepare`"),
        ("home/.ray/auth_token", "Run `gaelp-ray cluster prepare`"),
        ("work/constraints.txt", "Make it, or take the line out"),
    ],
)
def test_a_missing_source_comes_with_its_remedy(desk, tmp_path, source, remedy):
    (tmp_path / source).unlink()
    (found,) = desk.check().errors
    assert "is not there" in found
    assert remedy in found


def test_wheels_that_were_never_made_are_missed(desk):
    (desk.work / "dist/cluster/requirements.txt").unlink()
    (found,) = desk.check().errors
    assert "the folder dist/cluster is empty. Run `gaelp-ray cluster prepare`" in found


def test_whoever_stands_in_another_folder_is_told_so(desk, monkeypatch):
    path = desk.write("deploy/aws.yaml").resolve()
    monkeypatch.chdir(desk.home)
    from gaelp_ray.cluster.preflight.check import check_cluster

    missing = [line for line in check_cluster(path).errors if "constraints.txt" in line]
    assert f"Run this in {desk.work}" in missing[0]


@pytest.mark.parametrize("mode", [0o644, 0o640])
@pytest.mark.parametrize("name", [".gaelp.env", ".ray/auth_token"])
def test_a_secret_that_others_may_read_is_refused(desk, name, mode):
    (desk.home / name).chmod(mode)
    (found,) = desk.check().errors
    assert f"~/{name} has mode {mode:04o}" in found


def test_an_empty_token_is_refused(desk):
    (desk.home / ".ray/auth_token").write_text("\n", encoding="utf-8")
    assert "~/.ray/auth_token is empty" in desk.check().errors[0]


def test_a_line_that_bash_would_run_is_named_and_not_shown(desk):
    (desk.home / ".gaelp.env").write_text("A=1\n\n# b\nWANDB_API_KEY: s3cret\n", encoding="utf-8")
    (found,) = desk.check().errors
    assert "line 4 of ~/.gaelp.env is no NAME=value" in found
    assert "s3cret" not in found


def test_a_source_that_is_no_text_is_refused(desk):
    (found,) = [line for line in desk.check(changes={": constraints.txt": ": 7"}).errors if "no path" in line]
    assert "file_mounts.~/.gaelp/constraints.txt: 7 is no path" in found
