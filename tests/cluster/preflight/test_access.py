"""The key that the launcher logs in with: one that ssh takes, and that nobody has to type a passphrase for."""

from __future__ import annotations

import pytest

KEY = ".ssh/id_ed25519"


@pytest.fixture
def errors(desk):
    def of(content=None, mode=0o600):
        if content is not None:
            (desk.home / KEY).write_text(content, encoding="utf-8")
        (desk.home / KEY).chmod(mode)
        return desk.check().errors

    return of


def private_key(cipher):
    from base64 import b64encode

    body = b"openssh-key-v1\0" + len(cipher).to_bytes(4, "big") + cipher + b"\0\0\0\6bcrypt"
    return f"-----BEGIN OPENSSH PRIVATE KEY-----\n{b64encode(body).decode()}\n-----END OPENSSH PRIVATE KEY-----\n"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_key_that_others_may_read_is_refused_as_ssh_does(errors, mode):
    (found,) = errors(mode=mode)
    assert f"has mode {mode:04o}" in found
    assert found.endswith("Chmod 600 ~/.ssh/id_ed25519")


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_key_of_ones_own_is_fine(errors, mode):
    assert errors(mode=mode) == []


@pytest.mark.parametrize("cipher", [b"aes256-ctr", b"chacha20-poly1305@openssh.com"])
def test_a_passphrase_is_noticed(errors, cipher):
    assert "has a passphrase" in errors(private_key(cipher))[0]


def test_an_old_key_with_a_passphrase_is_noticed(errors):
    old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"
    assert "has a passphrase" in errors(old)[0]


@pytest.mark.parametrize("content", [private_key(b"none"), "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n"])
def test_a_key_without_one_is_fine(errors, content):
    assert errors(content) == []


def test_a_public_key_is_no_private_one(errors):
    assert "holds no private key" in errors("ssh-ed25519 AAAAC3Nza ada@laptop\n")[0]


def test_a_public_key_that_is_not_there_is_named(desk):
    (found,) = desk.check(changes={"  ssh_user: ada": "  ssh_user: ada\n  ssh_public_key: ~/.ssh/id.pub"}).errors
    assert "~/.ssh/id.pub is not there" in found
