"""What goes in: the configuration of one trial.

GAELPExperimentConfig is the same object for a single training and for a sweep's trial. A field that belongs to one
family of agents lives in that family's section (`ppo`, `dual`, `pid`, `constant`); a sweep addresses it with a dot:
`ppo.clip_range`. Every field states its meaning, its unit and its bounds, so that bad values are refused here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gaelp_ray.errors import ConfigError, did_you_mean

Reference = Literal["none", "constant", "PID", "BayesPID", "BayesDual"]
"""A classical bidder that a learned policy corrects; `none` learns the whole bid."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ConstantConfig(_Section):
    """`constant`: the market's historical bids times one number, in every hour."""

    bid_multiplier: float = Field(0.35, ge=0.01, le=100.0, description="times the historical bid")


class PIDConfig(_Section):
    """`PID` and `BayesPID`: value / lambda, where a PID controller moves log lambda to hold the spending plan."""

    kp: float = Field(1.0, ge=0.0, le=50.0, description="gain on the pacing error")
    ki: float = Field(0.4, ge=0.0, le=10.0, description="gain on the summed pacing error, per hour")
    kd: float = Field(0.0, ge=0.0, le=50.0, description="gain on the change of the pacing error")


class DualConfig(_Section):
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


class PPOConfig(_Section):
    """`PPO`: proximal policy optimisation (Schulman et al. 2017) on a correction of a reference bidder."""

    reference: Reference = Field("BayesDual", description="bidder that the policy corrects")
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


class GAELPExperimentConfig(BaseModel):
    """Configuration of one experiment: which market, which agent, how long, and all of the agent's numbers.

    Unknown keywords are kept and appear in `to_dict()`. Sweeps are stricter: a parameter that is no field is
    refused when the file is loaded. Raises ConfigError naming the field, the value and what is allowed.
    """

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)

    agent_type: str = Field("PPO", description="name in the registry of agents")
    learning_rate: float = Field(1e-3, gt=0.0, le=1.0, description="step size of Adam at the start")
    batch_size: int = Field(32, ge=1, le=65536, description="flights flown in parallel per iteration and update")
    num_episodes: int = Field(
        100, ge=1, le=10**9, description="flights of the whole training, rounded up to full batches"
    )
    market: str = Field("airfrance-search", description="name of a shipped market, or path of a market file")
    departures: Literal["realistic", "nominal"] = Field(
        "realistic", description="nominal: no traffic noise and no drift of conversion rates"
    )
    heterogeneity: Annotated[float, Field(ge=0.0, le=3.0)] | None = Field(
        None, description="log sd of the hidden conversion rates between flights; null: the market's own"
    )
    auction: Literal["second_price", "first_price"] | None = Field(
        None, description="what the winner of an auction pays; null: the market's own rule"
    )
    reward_function: Literal["ROAS_optimized", "expected_ROAS"] = Field(
        "ROAS_optimized",
        description="reward of an hour: revenue / budget, or the same with the luck of single orders averaged out",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="root of every random number of the training")
    constant: ConstantConfig = ConstantConfig()
    pid: PIDConfig = PIDConfig()
    dual: DualConfig = DualConfig()
    ppo: PPOConfig = PPOConfig()

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(config_problems(error)) from None

    @property
    def iterations(self) -> int:
        """Batches of parallel flights in the whole training."""
        return -(-self.num_episodes // self.batch_size)

    def to_dict(self) -> dict[str, Any]:
        """All fields and all unknown keywords, as plain values."""
        return self.model_dump(mode="json")

    def replace(self, values: Mapping[str, Any]) -> GAELPExperimentConfig:
        """A copy with the given fields changed; keys may be dotted (`ppo.clip_range`)."""
        return GAELPExperimentConfig(**nest(values, into=self.to_dict()))


def nest(values: Mapping[str, Any], into: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Dotted keys as nested dictionaries, merged over `into`: {"ppo.epochs": 4} -> {"ppo": {"epochs": 4}}."""
    tree: dict[str, Any] = {k: dict(v) if isinstance(v, Mapping) else v for k, v in (into or {}).items()}
    for key, value in values.items():
        section, _, name = key.partition(".")
        if name:
            inner = tree.get(section, {})
            if not isinstance(inner, Mapping):
                raise ConfigError([(key, f"unknown field: {section} has no parts. {did_you_mean(key, FIELD_NAMES)}")])
            tree[section] = nest({name: value}, into=inner)
        elif isinstance(value, Mapping) and isinstance(tree.get(section), Mapping):
            tree[section] = nest(value, into=tree[section])
        else:
            tree[section] = value
    return tree


def _field_names(model: type[BaseModel] = GAELPExperimentConfig, prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _field_names(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


FIELD_NAMES = tuple(_field_names())
"""Every field that a sweep may vary, sections dotted."""

SECTIONS = ("constant", "pid", "dual", "ppo")

REFERENCES: tuple[str, ...] = get_args(Reference)


def config_problems(error: ValidationError) -> Iterator[tuple[str, str]]:
    """(dotted field, what is wrong and how to mend it) of each problem."""
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            yield name, f"unknown field. {did_you_mean(name, FIELD_NAMES)}"
        else:
            yield name, explain(problem["msg"], problem["input"])


def explain(message: str, value: object) -> str:
    """A pydantic message in a person's words, with the value and, where YAML is the trap, the remedy."""
    if isinstance(value, str) and looks_numeric(value) and ("number" in message or "integer" in message):
        return number_remedy(value, whole="integer" in message)
    words = message.removeprefix("Input ").removeprefix("String ")
    return f"{value!r} {words.replace('valid tuple', 'list').replace('valid dictionary', 'mapping of keys')}"


def number_remedy(value: object, whole: bool = False) -> str:
    """What is wrong with something that should be a number, and, where YAML is the trap, how to write it."""
    if isinstance(value, str) and looks_numeric(value):
        number = float(value)
        literal = repr(int(number)) if whole and number.is_integer() else repr(number)
        return f"{value!r} is text, not a number: write {literal} (YAML needs the dot in 1.0e-4, and no quotes)"
    return f"{value!r} is {'text, ' if isinstance(value, str) else ''}not a number"


def looks_numeric(text: str) -> bool:
    """Whether a text would be a finite number if YAML had read it as one."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
