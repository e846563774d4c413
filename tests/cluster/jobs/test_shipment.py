"""What a job's nodes get of a folder, and what they never get."""

from __future__ import annotations

import os
import zipfile

import pytest
from far_head import git

from gaelp_ray.cluster.jobs import shipment as shipping
from gaelp_ray.cluster.jobs.shipment import is_secret, shipment
from gaelp_ray.errors import InputError


@pytest.fixture
def project(tmp_path):
    """Makes files in a project's folder."""
    root = tmp_path / "project"

    def make(*names):
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(name, encoding="utf-8")
        return root

    return make


USUAL = ("sweep.yaml", "mine/world.py")


def sent(root):
    return sorted(shipment(root).files)


def test_of_a_folder_all_goes_but_what_was_made(project):
    made = (".git/config", ".venv/bin/x", "a/__pycache__/x.pyc", "dist/w.whl", "results/s/sweep.yaml", "wandb/r")
    root = project(*USUAL, *made, "submitted/s/sweep.yaml", "x.egg-info/PKG")
    assert sent(root) == ["mine/world.py", "sweep.yaml"]


def test_of_a_repository_goes_what_git_would_keep(project):
    root = project(*USUAL, ".gitignore", "big/data.csv", "dist/kept.txt", "gone.py", "submitted/s/sweep.yaml")
    (root / ".gitignore").write_text("big/\n")
    git(root, "init", "-q")
    git(root, "add", "sweep.yaml", "gone.py", "dist")
    (root / "gone.py").unlink()
    assert sent(root) == [".gitignore", "dist/kept.txt", "mine/world.py", "sweep.yaml"]


def test_of_a_folder_of_a_repository_goes_the_folder(project):
    root = project(*USUAL, "other/x.py")
    git(root, "init", "-q")
    assert sent(root / "mine") == ["world.py"]


@pytest.mark.parametrize(
    "name",
    [
        *(".env", ".env.local", "prod.env", "key.pem", "tls/server.key", ".netrc", "id_rsa", "id_ed25519.bak"),
        *("auth_token", "credentials.json", ".aws/config", "a/credentials/x.txt"),
    ],
)
@pytest.mark.parametrize("in_git", [True, False])
def test_secrets_by_their_names_stay_here(project, name, in_git):
    root = project(*USUAL, name)
    if in_git:
        git(root, "init", "-q")
        git(root, "add", "-f", name)
    found = shipment(root)
    assert sorted(found.files) == ["mine/world.py", "sweep.yaml"]
    assert found.left_out == (name,)


@pytest.mark.parametrize("name", ["environment.py", "keys.py", "id_map.py", "tokens.csv", "market.yaml"])
def test_names_that_are_none_go_along(name):
    assert not is_secret(name)


def test_links_out_of_the_folder_stay_here_and_those_within_go(project, tmp_path):
    root = project(*USUAL)
    (tmp_path / "secret").write_text("x")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "folder").symlink_to(tmp_path)
    (root / "in").symlink_to("sweep.yaml")
    found = shipment(root)
    assert sorted(found.files) == ["in", "mine/world.py", "sweep.yaml"]
    assert found.left_out == ("folder", "out")


def test_what_is_too_large_is_named(project, monkeypatch):
    monkeypatch.setattr(shipping, "LARGEST_MB", 0.5)
    root = project(*USUAL)
    (root / "data").mkdir()
    for number in range(3):
        (root / f"data/{number}.npy").write_bytes(bytes(400_000))
    with pytest.raises(InputError, match=r"has 1 MB, and at most 0 are sent: data \(1 MB\), .* add it to .gitignore"):
        shipment(root)


def test_a_home_is_not_sent(project, monkeypatch):
    root = project(*USUAL)
    monkeypatch.setenv("HOME", str(root))
    with pytest.raises(InputError, match="run this in the folder of your project"):
        shipment(root)


def test_equal_files_make_an_equal_package(project, tmp_path):
    """So that Ray does not send twice what it has."""
    root = project(*USUAL)
    (root / "sweep.yaml").chmod(0o755)
    packages = []
    for number in range(2):
        shipment(root).pack(tmp_path / f"{number}.zip", {"mine/world.py": "other"})
        packages.append((tmp_path / f"{number}.zip").read_bytes())
        os.utime(root / "sweep.yaml", (1.0e9, 1.0e9))
    assert packages[0] == packages[1]
    with zipfile.ZipFile(tmp_path / "0.zip") as archive:
        assert archive.read("mine/world.py") == b"other"
        assert archive.read("sweep.yaml") == b"sweep.yaml"
        assert archive.getinfo("sweep.yaml").external_attr >> 16 & 0o777 == 0o755
