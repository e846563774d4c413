"""Which agents there are, and how one is made from a configuration."""

from __future__ import annotations

from collections.abc import Callable

from gaelp_ray.agents.base import Agent
from gaelp_ray.agents.dual import BayesDual
from gaelp_ray.agents.pacing import ConstantBidder, PacedBidder
from gaelp_ray.agents.ppo import PPO
from gaelp_ray.agents.residual import Residual
from gaelp_ray.config import DualConfig, GAELPExperimentConfig
from gaelp_ray.errors import ConfigError, did_you_mean
from gaelp_ray.market import Landscape

Maker = Callable[[GAELPExperimentConfig, Landscape], Agent]


def make_agent(config: GAELPExperimentConfig, market: Landscape) -> Agent:
    """The agent that `config.agent_type` names, untrained. Raises ConfigError for an unknown name."""
    if config.agent_type not in _MAKERS:
        known = did_you_mean(config.agent_type, _MAKERS)
        raise ConfigError([("agent_type", f"unknown agent {config.agent_type!r}. {known}")])
    return _MAKERS[config.agent_type](config, market)


def agent_types() -> list[str]:
    """Names that `agent_type` may have."""
    return sorted(_MAKERS)


def reference_bidder(market: Landscape) -> Agent:
    """BayesDual with its default constants: the reference line of every leaderboard."""
    return BayesDual(DualConfig(), market)


def _make_ppo(config: GAELPExperimentConfig, market: Landscape) -> Agent:
    ppo = config.ppo
    reference = None if ppo.reference == "none" else _MAKERS[ppo.reference](config, market)
    policy = PPO(config, observed=Residual.observed(market, reference), actions=market.channels)
    return Residual(reference, policy, market, ppo.residual_scale)


_MAKERS: dict[str, Maker] = {
    "constant": lambda config, market: ConstantBidder(config.constant, market),
    "PID": lambda config, market: PacedBidder(config.pid, market, learns_value=False),
    "BayesPID": lambda config, market: PacedBidder(config.pid, market, learns_value=True),
    "BayesDual": lambda config, market: BayesDual(config.dual, market),
    "PPO": _make_ppo,
}
