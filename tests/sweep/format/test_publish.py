"""The block `publish`: registries in few words, and a gate where one is written."""

import pytest
from small_sweep import complaint, made

from gaelp_ray.sweep.format.spec import SweepSpec


@pytest.mark.parametrize(
    ("written", "target"),
    [
        (None, None),
        ("bidders", "wandb-registry-bidders/trip-best"),
        ("wandb-registry-bidders", "wandb-registry-bidders/trip-best"),
        ("bidders/champion", "wandb-registry-bidders/champion"),
        ("acme/bidders/champion", "acme/wandb-registry-bidders/champion"),
        ("acme/wandb-registry-bidders/champion", "acme/wandb-registry-bidders/champion"),
    ],
)
def test_a_registry_is_named_in_as_few_words_as_it_takes(written, target):
    assert made(publish={"registry": written} if written else {}).publish.target("trip-best") == target


@pytest.mark.parametrize("written", ["", "a/b/c/d", "a//b", "a/", "/a", "bid ders", "bidders:best", "a?b"])
def test_what_is_no_registry_is_refused(written):
    said = complaint(publish={"registry": written})
    assert said.endswith("is no registry: write REGISTRY, REGISTRY/COLLECTION or ORG/REGISTRY/COLLECTION")


def test_a_gate_is_there_where_it_is_written():
    assert made().publish.gate is made(publish={}).publish.gate is None
    gate = made(publish={"gate": {}}).publish.gate
    assert gate is not None and (gate.constraints, gate.regression) == ({}, True)
    spec = made(publish={"registry": "r", "gate": {"constraints": {"min_roas": 4.5}, "regression": False}})
    assert SweepSpec.model_validate(spec.model_dump(mode="json", exclude_none=True)) == spec
    assert "write `gate: {}` for the regression rule alone" in complaint(publish={"gate": None})
    assert complaint(publish={"gate": {"regression": "yes"}}) and complaint(publish={"gate": {"min_roas": 3}})
