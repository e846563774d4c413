"""What goes in: the configuration of one trial.

GAELPExperimentConfig is the same object for a single training and for a sweep's trial. A field that belongs to one
family of agents lives in that family's section (`ppo`, `dual`, `pid`, `constant`); a sweep addresses it with a dot:
`ppo.clip_range`. Every field states its meaning, its unit and its bounds, so that bad values are refused here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from gaelp_ray.errors import ConfigError, did_you_mean
from gaelp_ray.sections import CEMConfig, ConstantConfig, DualConfig, PIDConfig, PPOConfig, Sb3Config


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
    env: str | None = Field(
        None,
        description="module:Class of a gymnasium environment of your own, in the place of a market; null: the market",
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
    conversion_delay: Annotated[float, Field(ge=0.0, le=168.0)] | None = Field(
        None, description="mean hours from a click to the report of its conversion; null: the market's own"
    )
    fatigue_half_life: Annotated[float, Field(ge=0.5, le=100.0)] | None = Field(
        None, description="won share of a week's auctions that halves a channel's CTR; null: the market's own"
    )
    reward_function: Literal["ROAS_optimized", "expected_ROAS", "regret"] = Field(
        "ROAS_optimized",
        description="reward of an hour: revenue / budget; with the luck of single orders averaged out; or minus what "
        "its bids lose against the hindsight optimum's (least variance)",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="root of every random number of the training")
    max_steps_per_episode: int = Field(
        100, ge=1, description="recorded only: a flight always has the 168 hours of a week, an own environment its own"
    )
    environment_type: str = Field(
        "EnhancedGAELP", description="recorded only: a label; `market` or `env` says what is flown"
    )
    constant: ConstantConfig = ConstantConfig()
    pid: PIDConfig = PIDConfig()
    dual: DualConfig = DualConfig()
    ppo: PPOConfig = PPOConfig()
    cem: CEMConfig = CEMConfig()
    sb3: Sb3Config = Sb3Config()

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**_plain(values))
        except ValidationError as error:
            raise ConfigError(config_problems(error)) from None

    @field_validator("env")
    @classmethod
    def _names_a_class(cls, env: str | None) -> str | None:
        module, _, name = (env or "").partition(":")
        parts = [*module.split("."), name]
        if env is not None and (module.endswith(".py") or not all(part.isidentifier() for part in parts)):
            raise ValueError("is no import path: write module:Class, such as shop:Shop for the class Shop of shop.py")
        return env

    @model_validator(mode="after")
    def _candidates_share_a_batch(self) -> GAELPExperimentConfig:
        if self.agent_type == "CEM" and self.batch_size % self.cem.population:
            problem = f"{self.batch_size} is no multiple of cem.population {self.cem.population}"
            raise ConfigError([("batch_size", f"{problem}: every candidate flies the same number of flights")])
        return self

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


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers as numpy's generators draw them become Python's, also in sections."""
    return {
        key: _plain(value) if isinstance(value, Mapping) else value.item() if isinstance(value, np.generic) else value
        for key, value in values.items()
    }


def nest(values: Mapping[str, Any], into: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Dotted keys as nested dictionaries, merged over `into`: {"ppo.epochs": 4} -> {"ppo": {"epochs": 4}}."""
    tree: dict[str, Any] = {k: dict(v) if isinstance(v, Mapping) else v for k, v in (into or {}).items()}
    for key, value in values.items():
        section, _, name = key.partition(".")
        if name:
            inner = tree.get(section, {})
            if not isinstance(inner, Mapping):
                hint = did_you_mean(key, FIELD_NAMES, LISTING)
                raise ConfigError([(key, f"unknown field: {section} has no parts. {hint}")])
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


RECORDED = frozenset({"max_steps_per_episode", "environment_type"})
"""Fields of the documented signature that change nothing here; they are kept, and no sweep may vary them."""

FIELD_NAMES = tuple(name for name in _field_names() if name not in RECORDED)
"""Every field that a sweep may vary, sections dotted."""

LISTING = "gaelp-ray fields"
"""The command that lists every field."""

SECTIONS = ("constant", "pid", "dual", "ppo", "cem", "sb3")


def config_problems(error: ValidationError) -> Iterator[tuple[str, str]]:
    """(dotted field, what is wrong and how to mend it) of each problem."""
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            yield name, f"unknown field. {did_you_mean(name, FIELD_NAMES, LISTING)}"
        else:
            yield name, explain(problem["msg"], problem["input"])


def explain(message: str, value: object) -> str:
    """A pydantic message in a person's words, with the value and, where YAML is the trap, the remedy."""
    if isinstance(value, str) and looks_numeric(value) and ("number" in message or "integer" in message):
        return number_remedy(value, whole="integer" in message)
    words = message.removeprefix("Input ").removeprefix("String ").removeprefix("Value error, ")
    return f"{value!r} {words.replace('valid tuple', 'list').replace('valid dictionary', 'mapping of keys')}"


def number_remedy(value: object, whole: bool = False) -> str:
    """What is wrong with something that should be a number, and, where YAML is the trap, how to write it."""
    if isinstance(value, str) and looks_numeric(value):
        number = float(value)
        literal = repr(int(number)) if whole and number.is_integer() else repr(number)
        if "e" in literal and "." not in literal:
            literal = literal.replace("e", ".0e")  # 1e-05 is text to YAML
        return f"{value!r} is text, not a number: write {literal} (YAML needs the dot in 1.0e-4, and no quotes)"
    return f"{value!r} is {'text, ' if isinstance(value, str) else ''}not a number"


def looks_numeric(text: str) -> bool:
    """Whether a text would be a finite number if YAML had read it as one."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
