"""Lines that hold secrets, and lines that only look like it."""

from __future__ import annotations

import pytest

from gaelp_ray.cluster.preflight.leaks import secret_in

HEX = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (f"WANDB_API_KEY={HEX}", "a W&B key has"),
        (f"  key: local-{HEX}", "a W&B key"),
        ("  key: wandb_v1_AbCdEfGh123", "a W&B key"),
        ("  WANDB_API_KEY: short", "a value of WANDB_API_KEY"),
        ("export WANDB_API_KEY='short'; ray start", "a value of WANDB_API_KEY"),
        ("AWS_ACCESS_KEY_ID: AKIAIOSFODNN7EXAMPLE", "an AWS access key"),
        ("aws_secret_access_key = wJalrXUtnFEMIK7MDENG", "aws_secret_access_key"),
        ("RAY_AUTH_TOKEN=abc", "a value of RAY_AUTH_TOKEN"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "a private key"),
        ("git clone https://ada:pw@example.org/ours", "a password in an address"),
        ("token ghp_" + "a1" * 18, "a GitHub token"),
    ],
)
def test_secrets_are_recognised(line, kind):
    assert kind in secret_in(line)


@pytest.mark.parametrize(
    "line",
    [
        "export WANDB_API_KEY=$WANDB_API_KEY",
        'export WANDB_API_KEY="$KEY"',
        "  ~/.ray/auth_token: ~/.ray/auth_token",
        "RAY_AUTH_TOKEN_PATH=~/.ray/auth_token",
        f"pip install git+https://github.com/a/b@{HEX}",
        f"image: repo/image@sha256:{HEX}aaaaaaaaaaaaaaaaaaaaaaaa",
        "WANDB_API_KEY:",
        "ssh_private_key: ~/.ssh/id_ed25519",
    ],
)
def test_what_only_looks_like_one_is_not(line):
    assert secret_in(line) == ""
