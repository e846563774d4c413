"""A sweep file means there what it means here, and says no secret."""

from __future__ import annotations

import pytest
import yaml

from gaelp_ray.cluster.jobs.wording import sent_text
from gaelp_ray.errors import InputError
from gaelp_ray.sweep.planning.plan import plan_sweep

PLAIN = """\
method: random  # a comment
run_cap: 2
parameters: {learning_rate: {min: 1.0e-4, max: 1.0e-3}}
"""


@pytest.fixture
def file(tmp_path):
    """Writes a sweep file."""

    def write(text):
        path = tmp_path / "s.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_file_without_references_goes_as_it_is(file):
    assert sent_text(file(PLAIN)) == PLAIN


def test_references_are_what_they_are_here(file, tmp_path, monkeypatch):
    text = (
        PLAIN + 'description: "${WHO} pays $${5}"\nprogram: "${program}"\nseed: ${SEED:-7}\nproject: "${PROJECT:-p}"\n'
    )
    monkeypatch.setenv("WHO", "ada ${x}")
    monkeypatch.setenv("SEED", "11")
    path = file(text)
    here = plan_sweep(path)
    (tmp_path / "there").mkdir()
    there = tmp_path / "there/s.yaml"
    there.write_text(sent_text(path), encoding="utf-8")
    for name in ("WHO", "SEED"):
        monkeypatch.delenv(name)
    assert yaml.safe_load(there.read_text())["program"] == "${program}"
    assert plan_sweep(there) == here
    assert here.spec.description == "ada ${x} pays ${5}"
    assert here.spec.seed == 11


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("description: ${WANDB_API_KEY}", r"\$\{WANDB_API_KEY\} is a value of WANDB_API_KEY"),
        ("description: by ${MINE}", r"\$\{MINE\} is a W&B key"),
        ("description: wandb_v1_0123456789abcdef", "s.yaml:4: a W&B key stands here"),
    ],
)
def test_secrets_do_not_go_and_are_not_repeated(file, monkeypatch, line, said):
    monkeypatch.setenv("WANDB_API_KEY", "hush-hush-0")
    monkeypatch.setenv("MINE", "wandb_v1_0123456789abcdef")
    with pytest.raises(InputError, match=said) as refused:
        sent_text(file(f"{PLAIN}{line}\n"))
    assert "hush" not in str(refused.value) and "0123456789" not in str(refused.value)
    assert "~/.gaelp.env" in str(refused.value)


def test_a_secret_that_is_only_mentioned_is_none(file, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "hush-hush-0")
    assert "hush" not in sent_text(file(f"{PLAIN}# ${{WANDB_API_KEY}} is not read here\n"))
