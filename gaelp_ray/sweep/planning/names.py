"""Which field of a trial an unknown name stands for, among those that the agents of a sweep read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property

from gaelp_ray.agents import agent_reads, agent_types
from gaelp_ray.config import FIELD_NAMES, RECORDED, SECTIONS, GAELPExperimentConfig
from gaelp_ray.errors import closest, known_names
from gaelp_ray.sweep.format.parameters import leaves
from gaelp_ray.sweep.format.spec import SweepSpec

ALIASES = {
    **dict.fromkeys(("lr", "step_size", "learning_rate_init"), "learning_rate"),
    **dict.fromkeys(("batch", "train_batch_size", "n_envs", "num_envs"), "batch_size"),
    **dict.fromkeys(("episodes", "n_episodes"), "num_episodes"),
    **dict.fromkeys(("agent", "algo", "algorithm"), "agent_type"),
    **dict.fromkeys(("n_epochs", "num_epochs", "update_epochs", "num_sgd_iter"), "epochs"),
    **dict.fromkeys(("n_minibatches", "num_minibatches"), "minibatches"),
    **dict.fromkeys(("discount", "discount_factor"), "gamma"),
    **dict.fromkeys(("lambda", "lambda_"), "gae_lambda"),
    **dict.fromkeys(("clip", "clip_param", "clip_coef", "clip_ratio"), "clip_range"),
    **dict.fromkeys(("ent_coef", "entropy_coeff", "entropy"), "entropy_coef"),
    **dict.fromkeys(("vf_coef", "vf_loss_coeff"), "value_coef"),
    **dict.fromkeys(("grad_clip", "max_norm"), "max_grad_norm"),
    **dict.fromkeys(("hidden", "hidden_dim", "hidden_units", "fc_layer_size"), "hidden_size"),
    "replay_buffer_size": "buffer_size",
}
"""Names of other libraries (stable-baselines3, RLlib, CleanRL, W&B's examples), and ours without the section."""

LIKE, CERTAIN = 0.75, 0.85
"""Similarity from which a name counts as a misspelt one, and as one whatever the agents read."""


EVERY_KEY = (*FIELD_NAMES, *sorted(RECORDED), *SECTIONS)


@dataclass(frozen=True)
class Fields:
    """The fields that some of these agents read."""

    agents: tuple[str, ...]

    @classmethod
    def of(cls, spec: SweepSpec) -> Fields:
        """Those of the agents that a sweep file can choose; of all agents if it names none that is known."""
        swept = next((leaf.parameter for leaf in leaves(spec.parameters) if leaf.name == "agent_type"), None)
        default = GAELPExperimentConfig.model_fields["agent_type"].default
        named: Sequence[object] = (spec.trial.get("agent_type", default),)
        if swept:
            named = swept.values or (swept.value,)
        return cls.of_agents(named)

    @classmethod
    def of_agents(cls, named: Iterable[object]) -> Fields:
        """Those of agents by name; of all agents if none is known."""
        known = [agent for name in named if (agent := closest(str(name), agent_types()))]
        return cls(tuple(dict.fromkeys(known or agent_types())))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """In the order of the configuration."""
        reads = [agent_reads(GAELPExperimentConfig(agent_type=agent)) for agent in self.agents]
        # Another field's value may switch a field off; the sweep may choose another one.
        return tuple(name for name in FIELD_NAMES if any(r.applies(name) or name in dict(r.off) for r in reads))

    def meant(self, name: str) -> list[str]:
        """The fields that an unknown name may stand for: as other libraries call them, or misspelt."""
        plain = name.lower().replace("-", "_")
        section, _, last = plain.rpartition(".")
        wanted = ALIASES.get(last, last)
        same = [field for field in self.names if field.rpartition(".")[2] == wanted]
        if same:
            return [field for field in same if field.partition(".")[0] == section] or same
        likeness = {field: _likeness(plain, field) for field in self.names}
        best = max(likeness.values())
        if best >= LIKE:
            return [field for field in self.names if likeness[field] == best]
        # Of other agents, or of none: the plan names the agents that do not read it.
        return [field] if (field := closest(plain, EVERY_KEY, CERTAIN)) else []

    def hint(self, name: str) -> str:
        """One sentence that helps with an unknown name."""
        if likely := self.meant(name):
            return f"Did you mean {' or '.join(map(repr, likely))}?"
        agent = f" {self.agents[0]}" if len(self.agents) == 1 else ""
        return known_names(name, self.names, f"gaelp-ray fields{agent}")


def _likeness(name: str, field: str) -> float:
    """Of a name without a section to the field without its own."""
    written = field if "." in name else field.rpartition(".")[2]
    return SequenceMatcher(None, name, written.lower()).ratio()
