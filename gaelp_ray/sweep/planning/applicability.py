"""Parameters of a sweep file that the chosen agents, or an environment of the user's own, do not read.

Never an error: a sweep over several agents gives each its own parameters. Start at inapplicable().
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gaelp_ray.agents import Reads, agent_reads
from gaelp_ray.agents.registry import TRAINING
from gaelp_ray.config import FIELD_NAMES, GAELPExperimentConfig
from gaelp_ray.sweep.format.parameters import leaves
from gaelp_ray.sweep.planning.plan import SweepPlan
from gaelp_ray.worlds import MARKET_FIELDS


@dataclass(frozen=True)
class Inapplicable:
    """One parameter, the agents of the sweep that do not read it, and those that do."""

    parameter: str
    agents: tuple[str, ...]
    applies_to: tuple[str, ...]
    text: str


def inapplicable(plan: SweepPlan) -> list[Inapplicable]:
    """Every parameter that changes nothing in some planned trial, in the order of the file."""
    everyone, sampled = _distinct(plan, sampled=False), _distinct(plan, sampled=True)
    written = dict.fromkeys(_names(plan.spec.trial), everyone)
    swept = [leaf.name for leaf in leaves(plan.spec.parameters)]
    # The control arm has none of the sampled values.
    written |= dict.fromkeys(set(swept) - set(written), sampled)
    order = [*swept, *(name for name in written if name not in swept)]
    env = plan.spec.trial.get("env")
    return [record for name in order if (record := _inapplicable(name, written[name], env))]


def applicable(params: Mapping[str, Any], config: GAELPExperimentConfig) -> dict[str, Any]:
    """The parameters that the configured agent, in its market or environment, reads."""
    reads = agent_reads(config)
    return {
        name: value
        for name, value in params.items()
        if reads.applies(name) and not (config.env and name in MARKET_FIELDS)
    }


def default_training_length(plan: SweepPlan) -> str:
    """How long trials train if the file does not say it, and how to change it; empty if it does, or nothing learns."""
    swept = (leaf.name for leaf in leaves(plan.spec.parameters))
    learning = [trial.config for trial in plan.trials if agent_reads(trial.config).applies("num_episodes")]
    if "num_episodes" in {*_names(plan.spec.trial), *swept} or not learning:
        return ""
    iterations, sizes = ({getattr(config, name) for config in learning} for name in ("iterations", "batch_size"))
    length = f"{_span(iterations)} iterations of batch_size {_span(sizes)}"
    flights = f"the default of {learning[0].num_episodes} flights"
    return f"num_episodes is not set: trials train on {flights} ({length}). Set it with `trial: {{num_episodes: 2048}}`"


def _span(numbers: Collection[int]) -> str:
    return " to ".join(map(str, dict.fromkeys((min(numbers), max(numbers)))))


def _inapplicable(name: str, asked: Sequence[Reads], env: str | None) -> Inapplicable | None:
    """None for a parameter that all of the agents read, in a world that reads it."""
    if env and name in MARKET_FIELDS:
        agents = tuple(reads.agent for reads in asked)
        return Inapplicable(name, agents, (), f"{name} does not apply to {env}, which is no market")
    without = [reads for reads in asked if not reads.applies(name)]
    return _record(name, without, asked) if without else None


def _distinct(plan: SweepPlan, sampled: bool) -> list[Reads]:
    trials = [trial for trial in plan.trials if not (sampled and trial.is_default)]
    return list(dict.fromkeys(agent_reads(trial.config) for trial in trials))


def _names(fields: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted names of what fixed fields set, whether written dotted or as sections."""
    for key, value in fields.items():
        name = prefix + key
        if name in FIELD_NAMES:
            yield name
        elif isinstance(value, Mapping):
            yield from _names(value, f"{name}.")


def _record(name: str, without: Sequence[Reads], asked: Sequence[Reads]) -> Inapplicable:
    agents = {_called(reads, name): reads for reads in without}
    applies_to = dict.fromkeys(reads.agent for reads in asked if reads.applies(name))
    text = f"{name} does not apply to {_listed(agents)}{_why(name, agents)}"
    return Inapplicable(name, tuple(agents), tuple(applies_to), text)


def _called(reads: Reads, name: str) -> str:
    """The agent, and the other field that keeps it from reading this one, if there is any."""
    switch = dict(reads.off).get(name)
    return f"{reads.agent} with {switch}" if switch else reads.agent


def _why(name: str, agents: Mapping[str, Reads]) -> str:
    if name == "reward_function" and "CEM" in agents:
        return ", whose fitness is expected revenue" if len(agents) == 1 else ": they learn nothing from rewards"
    if name in TRAINING:
        return f", which learn{'s' if len(agents) == 1 else ''} nothing"
    section = name.partition(".")[0]
    # `PPO without a reference` reads ppo.*, but not this one; its name says why.
    telling = [(agent, _summary(reads)) for agent, reads in agents.items() if f"{section}.*" not in _summary(reads)]
    return f": {'; '.join(f'{agent} {_reading(fields)}' for agent, fields in telling)}" if telling else ""


def _reading(fields: Sequence[str]) -> str:
    return f"reads {_listed(fields)}" if fields else "has no parameters"


def _summary(reads: Reads) -> list[str]:
    """Sections as `dual.*`; the training's own fields go without saying."""
    names = [name for name in FIELD_NAMES if name in reads.fields and name not in TRAINING]
    return list(dict.fromkeys(f"{name.partition('.')[0]}.*" if "." in name else name for name in names))


def _listed(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
