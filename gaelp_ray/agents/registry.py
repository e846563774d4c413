"""Which agents there are, how one is made from a configuration, and which fields of it an agent reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

from gaelp_ray.agents.base import Agent, Bidder
from gaelp_ray.agents.cem import CEM
from gaelp_ray.agents.dual import BayesDual
from gaelp_ray.agents.exact_bayes import ExactBayes
from gaelp_ray.agents.pacing import ConstantBidder, PacedBidder
from gaelp_ray.agents.ppo import PPO
from gaelp_ray.agents.residual import Residual
from gaelp_ray.config import FIELD_NAMES, LISTING, GAELPExperimentConfig
from gaelp_ray.errors import ConfigError, InputError, did_you_mean
from gaelp_ray.market import Landscape
from gaelp_ray.sections import DualConfig

Maker = Callable[[GAELPExperimentConfig, Landscape], Agent]


def make_agent(config: GAELPExperimentConfig, market: Landscape) -> Agent:
    """The agent that `config.agent_type` names, untrained. Raises ConfigError for an unknown name."""
    if config.agent_type not in _MAKERS:
        known = did_you_mean(config.agent_type, _MAKERS, LISTING)
        raise ConfigError([("agent_type", f"unknown agent {config.agent_type!r}. {known}")])
    return _MAKERS[config.agent_type](config, market)


def make_policy(config: GAELPExperimentConfig, observed: int, actions: int) -> Agent:
    """A learner of whole actions for an environment that is no market: no bidder knows it, so none is corrected.

    Raises ConfigError for an agent that bids in markets only.
    """
    if problems := policy_problems(config):
        raise ConfigError(problems)
    policy = _make_network(config, observed, actions)
    return Residual(None, policy, None, 1.0)


def policy_problems(config: GAELPExperimentConfig) -> list[tuple[str, str]]:
    """(field, what is wrong) where an agent cannot fly an environment that is no market."""
    name = config.agent_type
    learners = [known for known in agent_types() if _section_of(known) in _LEARNERS]
    if name not in learners:
        return [("agent_type", f"{name} bids in markets only. With an env of your own: {', '.join(learners)}")]
    field = f"{_section_of(name)}.reference"
    reference = getattr(config, _section_of(name)).reference
    if reference == "none":
        return []
    remedy = f"with an env of your own, `trial` has {field}: none"
    return [(field, f"{name} would correct {reference}, which bids in markets only: {remedy}")]


def agent_types() -> list[str]:
    """Names that `agent_type` may have."""
    return sorted(_MAKERS)


def copies(config: GAELPExperimentConfig) -> int:
    """How often the training wants each flight of a batch flown: once, or once per candidate that is compared on it."""
    return config.cem.population if config.agent_type == "CEM" else 1


def reference_bidder(market: Landscape) -> Agent:
    """BayesDual with its default constants: the reference line of every leaderboard."""
    return BayesDual(DualConfig(), market)


def missing_extra(name: str) -> str | None:
    """What to install before an agent of this name can be made here, in one line; None if nothing is missing."""
    if name not in _SB3 or (find_spec("stable_baselines3") and find_spec("torch")):
        return None
    return f"{name} needs the extra: pip install 'gaelp_ray[sb3]'"


def _make_ppo(config: GAELPExperimentConfig, market: Landscape) -> Agent:
    ppo = config.ppo
    reference = _BIDDERS[ppo.reference](config, market) if ppo.reference != "none" else None
    actions = 1 if reference and ppo.correction == "multiplier" else market.channels
    policy = _make_network(config, Residual.observed(market, reference), actions)
    return Residual(reference, policy, market, ppo.residual_scale)


def _make_network(config: GAELPExperimentConfig, observed: int, actions: int) -> Agent:
    """A learner without a bidder: it sees `observed` numbers and acts in R^actions."""
    if config.agent_type == "PPO":
        return PPO(config, observed, actions)
    if missing := missing_extra(config.agent_type):
        raise InputError(f"agent_type: {missing}")
    from gaelp_ray.agents.sb3 import make_learner  # torch takes a second and 200 MB

    return make_learner(config.agent_type.removeprefix("sb3:"), config, observed, actions)


def _section_of(name: str) -> str:
    """Section of the configuration that a learner reads."""
    return name.partition(":")[0].lower()


def _make_sb3(config: GAELPExperimentConfig, market: Landscape) -> Agent:
    sb3 = config.sb3
    reference = _BIDDERS[sb3.reference](config, market) if sb3.reference != "none" else None
    policy = _make_network(config, Residual.observed(market, reference), market.channels)
    return Residual(reference, policy, market, sb3.residual_scale)


_SB3 = ("sb3:PPO", "sb3:A2C", "sb3:SAC")
_LEARNERS = ("ppo", "sb3")
"""Sections of the agents that can do without a bidder."""


_BIDDERS: dict[str, Callable[[GAELPExperimentConfig, Landscape], Bidder]] = {
    "constant": lambda config, market: ConstantBidder(config.constant, market),
    "PID": lambda config, market: PacedBidder(config.pid, market, learns_value=False),
    "BayesPID": lambda config, market: PacedBidder(config.pid, market, learns_value=True),
    "BayesDual": lambda config, market: BayesDual(config.dual, market),
    "ExactBayes": lambda config, market: ExactBayes(market),
}

_MAKERS: dict[str, Maker] = {
    **_BIDDERS,
    "PPO": _make_ppo,
    "CEM": CEM,
    **dict.fromkeys(_SB3, _make_sb3),
}

TRAINING = ("num_episodes", "batch_size", "reward_function")
"""Fields of the training loop: an agent that learns nothing is the same whatever they say."""

_GRADIENTS = (*TRAINING, "learning_rate")
_ON_POLICY = ("initial_std", "gae_lambda", "entropy_coef", "value_coef", "max_grad_norm")


def _sb3(*names: str) -> tuple[str, ...]:
    shared = ("reference", "residual_scale", "hidden_size", "gamma")
    return (*_GRADIENTS, *(f"sb3.{name}" for name in (*shared, *names)))


_OF_A_CORRECTION = (".residual_scale", ".correction")

# One line per agent: the fields and whole sections that it reads, TRAINING among them if it learns. A field named
# `reference` adds what that bidder reads; without a bidder, what shapes a correction is not read.
_READS: dict[str, tuple[str, ...]] = {
    "constant": ("constant",),
    "PID": ("pid",),
    "BayesPID": ("pid",),
    "BayesDual": ("dual",),
    "ExactBayes": (),
    "PPO": (*_GRADIENTS, "ppo"),
    "CEM": ("num_episodes", "batch_size", "dual", "cem"),  # its fitness is expected revenue, whatever the reward
    "sb3:PPO": _sb3(*_ON_POLICY, "clip_range", "epochs", "minibatches"),
    "sb3:A2C": _sb3(*_ON_POLICY),
    "sb3:SAC": _sb3("gradient_steps", "replay_batch", "buffer_size", "tau", "initial_temperature"),
}

# (a field, its value) -> a field that is then not read.
_SWITCHES_OFF = {("dual.traffic", "counts"): "dual.traffic_noise", ("dual.traffic", "filter"): "dual.traffic_use"}


@dataclass(frozen=True)
class Reads:
    """An agent as its configuration makes it, such as `PPO on BayesDual`, and the dotted fields that it reads.

    `off` are fields that it would read if another field, whose name and value are the second text, were different.
    """

    agent: str
    fields: frozenset[str]
    off: tuple[tuple[str, str], ...] = ()

    def applies(self, name: str) -> bool:
        """Whether a field can change what the agent does; a field that belongs to no agent applies to all of them."""
        return name in self.fields or not _belongs_to_agents(name)


def agent_reads(config: GAELPExperimentConfig) -> Reads:
    """What the agent of a configuration reads of it. An agent that states nothing here counts as reading everything."""
    name, fields = config.agent_type, _fields_of(config.agent_type)
    sections = [field.partition(".")[0] for field in fields if name in _READS and field.endswith(".reference")]
    reference = getattr(config, sections[0]).reference if sections else None
    if reference == "none":
        name, fields = f"{name} without a reference", frozenset(f for f in fields if not f.endswith(_OF_A_CORRECTION))
    elif reference:
        name, fields = f"{name} on {reference}", fields | _fields_of(reference)
    off = []
    for (switch, value), field in _SWITCHES_OFF.items():
        section, _, key = switch.partition(".")
        if field in fields and getattr(getattr(config, section), key) == value:
            off.append((field, f"{switch} {value}"))
    return Reads(name, fields - {field for field, _ in off}, tuple(off))


@cache
def _fields_of(name: str) -> frozenset[str]:
    stated = _READS.get(name, FIELD_NAMES)
    return frozenset(field for field in FIELD_NAMES if field in stated or field.partition(".")[0] in stated)


@cache
def _belongs_to_agents(name: str) -> bool:
    return any(name in _fields_of(agent) for agent in _READS)
