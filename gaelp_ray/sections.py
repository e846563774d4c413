"""The numbers of the agents: one section of a trial's configuration per family, every field documented and bounded.

A sweep addresses them with a dot: `ppo.clip_range`. Which agent reads which fields says agents/registry.py.
"""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

Reference = Literal["none", "constant", "PID", "BayesPID", "BayesDual", "ExactBayes"]
"""A classical bidder that a learned policy corrects; `none` learns the whole bid."""

REFERENCES: tuple[str, ...] = get_args(Reference)


class Section(BaseModel):
    """Frozen, strict, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ConstantConfig(Section):
    """`constant`: the market's historical bids times one number, in every hour."""

    bid_multiplier: float = Field(0.35, ge=0.01, le=100.0, description="times the historical bid")


class PIDConfig(Section):
    """`PID` and `BayesPID`: value / lambda, where a PID controller moves log lambda to hold the spending plan."""

    kp: float = Field(1.0, ge=0.0, le=50.0, description="gain on the pacing error")
    ki: float = Field(0.4, ge=0.0, le=10.0, description="gain on the summed pacing error, per hour")
    kd: float = Field(0.0, ge=0.0, le=50.0, description="gain on the change of the pacing error")


class DualConfig(Section):
    """`BayesDual`: each hour, the one multiplier that spends what is left over the expected rest of the flight.

    The defaults are the plain method: calibrated priors, no shading. They are the reference line of every
    leaderboard, so they are never tuned; a sweep varies them like any other field.
    """

    prior_strength: float = Field(
        1.0,
        gt=0.0,
        le=100.0,
        description="weight of the calibrated conversion rate, times its exact Bayes weight",
    )
    volume_prior_strength: float = Field(
        1.0,
        gt=0.0,
        le=100.0,
        description="weight of the calibrated click volume, times its exact Bayes weight",
    )
    optimism: float = Field(
        0.0, ge=-3.0, le=3.0, description="posterior standard deviations added to a channel's value, early on"
    )
    pacing_shade: float = Field(
        0.0,
        ge=-2.0,
        le=2.0,
        description="log factor on lambda, fading with the time left: > 0 holds back early",
    )
    shade: float = Field(0.0, ge=-2.0, le=2.0, description="log factor on lambda in every hour")
    traffic_use: float = Field(
        0.0,
        ge=0.0,
        le=2.0,
        description="exponent on today's traffic, relative to the flight's, for today's rest",
    )
    forgetting: float = Field(
        0.0,
        ge=0.0,
        le=0.5,
        description="share of clicks and conversions forgotten per hour, for drifting rates",
    )
    price_tracking: float = Field(
        1.0, ge=0.0, le=1.5, description="weight of the price level seen in the last hour in the forecast"
    )
    drift_tracking: float = Field(
        0.0,
        ge=0.0,
        le=100.0,
        description="hourly variance that beliefs of conversion rates gain, times the drift's own",
    )
    traffic: Literal["counts", "filter"] = Field(
        "counts",
        description="counts: every click tells of its channel's volume; filter: channel, flight and day told apart",
    )
    traffic_noise: float = Field(
        1.0, gt=0.0, le=10.0, description="filter: noise of hours and days, times the market's own"
    )


class PPOConfig(Section):
    """`PPO`: proximal policy optimisation (Schulman et al. 2017) on a correction of a reference bidder."""

    reference: Reference = Field("BayesDual", description="bidder that the policy corrects")
    correction: Literal["channels", "multiplier"] = Field(
        "channels", description="what is corrected: each channel's bid, or all bids of an hour by one factor"
    )
    residual_scale: float = Field(
        0.3,
        gt=0.0,
        le=5.0,
        description="largest correction, in log units of the bid; with reference none: 1 = all",
    )
    clip_range: float = Field(0.2, gt=0.0, lt=1.0, description="clip of the probability ratio")
    epochs: int = Field(4, ge=1, le=50, description="passes over each batch of flights")
    minibatches: int = Field(8, ge=1, le=256, description="gradient steps per pass")
    gae_lambda: float = Field(0.95, ge=0.0, le=1.0, description="lambda of generalised advantage estimation")
    gamma: float = Field(1.0, gt=0.0, le=1.0, description="discount; below 1 a bidder spends early")
    initial_std: float = Field(0.2, gt=0.0, le=2.0, description="exploration at the start, in units of the action")
    entropy_coef: float = Field(0.0, ge=0.0, le=1.0, description="weight of the entropy bonus")
    hidden_size: int = Field(64, ge=4, le=1024, description="units in each of the two tanh layers")
    max_grad_norm: float = Field(0.5, gt=0.0, description="clip of the gradient's global norm")
    averaging: float = Field(
        0.0, ge=0.0, lt=1.0, description="weight of the past in the average of policies that is deployed; 0: the last"
    )


class CEMConfig(Section):
    """`CEM`: the cross-entropy method over the constants of BayesDual, starting from those of the section `dual`."""

    population: int = Field(16, ge=4, le=1024, description="candidates per iteration; must divide batch_size")
    elite_share: float = Field(0.25, gt=0.0, le=0.9, description="share of the candidates that the search follows")
    smoothing: float = Field(0.4, ge=0.0, lt=1.0, description="weight of the old mean and spread in the new ones")
    initial_std: float = Field(1.0, gt=0.0, le=10.0, description="first spread, times the usual one of each constant")
    min_std: float = Field(0.1, ge=0.0, le=1.0, description="smallest spread, as a share of the first one")


class Sb3Config(Section):
    """`sb3:PPO`, `sb3:A2C`, `sb3:SAC`: stable-baselines3's learners (extra `sb3`), correcting a reference bidder.

    What is no field here keeps the library's default. Descriptions name the learners where not all three read a field.
    """

    reference: Reference = Field("BayesDual", description="bidder that the policy corrects")
    residual_scale: float = Field(
        0.3, gt=0.0, le=5.0, description="largest correction, in log units of the bid; with reference none: 1 = all"
    )
    hidden_size: int = Field(64, ge=4, le=1024, description="units in each of the two tanh layers of every network")
    gamma: float = Field(1.0, gt=0.0, le=1.0, description="discount; below 1 a bidder spends early")
    initial_std: float = Field(
        0.2, gt=0.0, le=2.0, description="PPO, A2C: exploration at the start, in units of the action"
    )
    gae_lambda: float = Field(
        0.95, ge=0.0, le=1.0, description="PPO, A2C: lambda of generalised advantage estimation; 1: plain returns"
    )
    entropy_coef: float = Field(0.0, ge=0.0, le=1.0, description="PPO, A2C: weight of the entropy bonus")
    value_coef: float = Field(0.5, ge=0.0, le=10.0, description="PPO, A2C: weight of the value function's loss")
    max_grad_norm: float = Field(0.5, gt=0.0, description="PPO, A2C: clip of the gradient's global norm")
    clip_range: float = Field(0.2, gt=0.0, lt=1.0, description="PPO: clip of the probability ratio")
    epochs: int = Field(4, ge=1, le=50, description="PPO: passes over each batch of flights")
    minibatches: int = Field(8, ge=1, le=256, description="PPO: gradient steps per pass")
    gradient_steps: int = Field(168, ge=1, le=100_000, description="SAC: gradient steps per batch of flights")
    replay_batch: int = Field(256, ge=2, le=65536, description="SAC: remembered hours per gradient step")
    buffer_size: int = Field(100_000, ge=1000, le=10**7, description="SAC: newest hours kept, part of its checkpoints")
    tau: float = Field(0.005, gt=0.0, le=1.0, description="SAC: share of the critics that their targets take per step")
    initial_temperature: float = Field(
        0.001, gt=0.0, le=10.0, description="SAC: weight of the entropy at the start, tuned by itself from there"
    )
