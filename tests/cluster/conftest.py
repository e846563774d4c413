"""Launcher files of one's own: copies of ours, filled in, with all that they send."""

from __future__ import annotations

import base64
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from gaelp_ray.cluster.preflight.check import Report, check_cluster

ROOT = Path(__file__).parents[2]
FILLED_IN = {
    "cluster.yaml": {
        "head_ip: CHANGE-ME": "head_ip: 10.1.0.1",
        "[CHANGE-ME, CHANGE-ME]": "[10.1.0.2, 10.1.0.3]",
        "ssh_user: CHANGE-ME": "ssh_user: ada",
    },
    "deploy/aws.yaml": {
        "region: CHANGE-ME": "region: eu-central-1",
        "ImageId: CHANGE-ME": "ImageId: ami-0123456789abcdef0",
        "{Name: CHANGE-ME}": "{Name: gaelp}",
    },
    "deploy/gcp.yaml": {"project_id: CHANGE-ME": "project_id: my-project-123"},
}


PRIVATE_KEY = f"""\
-----BEGIN OPENSSH PRIVATE KEY-----
{base64.b64encode(b"openssh-key-v1" + bytes([0, 0, 0, 0, 4]) + b"none").decode()}
-----END OPENSSH PRIVATE KEY-----
"""
"""What `ssh-keygen` writes, as far as anybody here reads it."""


@dataclass
class Desk:
    """A person's home and working directory, where everything is as it should be."""

    home: Path
    work: Path

    def write(self, name: str = "cluster.yaml", changes: dict[str, str] | None = None) -> Path:
        """One of our files, filled in, with old text -> new text."""
        text = (ROOT / name).read_text(encoding="utf-8")
        for old, new in {**FILLED_IN.get(name, {}), **(changes or {})}.items():
            assert old in text, old
            text = text.replace(old, new)
        path = self.work / name
        path.write_text(text, encoding="utf-8")
        return path.relative_to(self.work)

    def check(
        self, name: str = "cluster.yaml", changes: dict[str, str] | None = None, storage: str | None = None
    ) -> Report:
        """What is found in it."""
        return check_cluster(self.write(name, changes), storage)


@pytest.fixture(scope="session")
def furnish():
    """Makes a desk in an empty folder."""

    def make(base: Path) -> Desk:
        home, work = base / "home", base / "work"
        (home / ".ssh").mkdir(parents=True)
        (home / ".ray").mkdir()
        for name, text in {
            ".ssh/id_ed25519": PRIVATE_KEY,
            ".ray/auth_token": "c0ffee",
            ".gaelp.env": "# secrets\nWANDB_API_KEY=x\nexport AWS_ACCESS_KEY_ID=y\n",
        }.items():
            (home / name).write_text(text, encoding="utf-8")
            (home / name).chmod(0o600)
        (work / "dist/cluster").mkdir(parents=True)
        (work / "dist/cluster/requirements.txt").write_text("-c ../constraints.txt\n", encoding="utf-8")
        (work / "deploy").mkdir()
        shutil.copy(ROOT / "deploy/install.sh", work / "deploy")
        shutil.copy(ROOT / "constraints.txt", work)
        return Desk(home, work)

    return make


@pytest.fixture
def desk(furnish, tmp_path, monkeypatch):
    made = furnish(tmp_path)
    monkeypatch.setenv("HOME", str(made.home))
    monkeypatch.chdir(made.work)
    return made
