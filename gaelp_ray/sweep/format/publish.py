"""The block `publish` of a sweep file: where the model goes in W&B, and what it must show there."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from gaelp_ray.sweep.format.parameters import Block, Number


def _no_empty_gate(written: object) -> object:
    if written is None:  # it would look like a gate, and be none
        raise ValueError("the gate is empty: write `gate: {}` for the regression rule alone, or leave the key out")
    return written


class GateSpec(Block):
    """What the published model must show, or the command ends with exit code 1."""

    constraints: dict[str, Number] = Field({}, description="bounds on the winner's confirmed metrics: min_roas: 4.5")
    regression: bool = Field(True, description="refuse a model that is certainly below the present best")


REGISTRY = "wandb-registry-"
"""What W&B puts before the name of a registry."""


class PublishSpec(Block):
    """Where the model goes in W&B beside its artifact, and what it must show."""

    registry: str | None = Field(
        None,
        description="W&B registry that a new best is linked to: REGISTRY, REGISTRY/COLLECTION, or ORG/ before them",
    )
    gate: Annotated[GateSpec | None, BeforeValidator(_no_empty_gate, json_schema_input_type=GateSpec)] = None

    @field_validator("registry")
    @classmethod
    def _is_path(cls, written: str | None) -> str | None:
        if written is not None and not re.fullmatch(r"[^/:\s#?%\\]+(/[^/:\s#?%\\]+){0,2}", written):
            raise ValueError(
                f"{written!r} is no registry: write REGISTRY, REGISTRY/COLLECTION or ORG/REGISTRY/COLLECTION"
            )
        return written

    def target(self, artifact: str) -> str | None:
        """The collection that a best version of an artifact is linked to, as W&B writes it; None without a registry.

        A collection that is not named has the artifact's own name.
        """
        if self.registry is None:
            return None
        parts = [*self.registry.split("/"), artifact] if "/" not in self.registry else self.registry.split("/")
        parts[-2] = parts[-2] if parts[-2].startswith(REGISTRY) else f"{REGISTRY}{parts[-2]}"
        return "/".join(parts)
