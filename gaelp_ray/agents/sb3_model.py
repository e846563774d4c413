"""stable-baselines3's models: made from a configuration, and their parameters as named numpy arrays, never pickle.

Names of arrays are paths, parts joined by `/`: `policy/mlp_extractor.policy_net.0.weight` and, for the optimiser's
numbers of its third parameter, `policy.optimizer/2/exp_avg`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger

from gaelp_ray.agents.base import Action, State
from gaelp_ray.config import GAELPExperimentConfig

TEMPERATURE = "log_ent_coef"
"""SAC's only learned number outside its networks."""


def make_model(algorithm: str, config: GAELPExperimentConfig, observed: int, actions: int) -> BaseAlgorithm:
    """An untrained model on the CPU, `algorithm` being PPO, A2C or SAC; its logger keeps numbers and prints nothing."""
    kinds = {"PPO": _make_ppo, "A2C": _make_a2c, "SAC": _make_sac}
    with chance(np.random.default_rng([config.seed, 1])):
        model = kinds[algorithm](config, env=_Spaces(observed, actions), device="cpu")
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


def _make_ppo(config: GAELPExperimentConfig, **common: Any) -> BaseAlgorithm:
    sb3 = config.sb3
    # n_steps and batch_size are those of a buffer that the first update replaces.
    sizes = {"n_steps": 2, "batch_size": 2, "n_epochs": sb3.epochs}
    return PPO("MlpPolicy", clip_range=sb3.clip_range, **sizes, **_gaussian(config), **common)


def _make_a2c(config: GAELPExperimentConfig, **common: Any) -> BaseAlgorithm:
    return A2C("MlpPolicy", n_steps=2, **_gaussian(config), **common)


def _gaussian(config: GAELPExperimentConfig) -> dict[str, Any]:
    sb3 = config.sb3
    network = {
        "net_arch": [sb3.hidden_size] * 2,
        "activation_fn": torch.nn.Tanh,
        "log_std_init": float(np.log(sb3.initial_std)),
    }
    return {
        "gamma": sb3.gamma,
        "gae_lambda": sb3.gae_lambda,
        "ent_coef": sb3.entropy_coef,
        "vf_coef": sb3.value_coef,
        "max_grad_norm": sb3.max_grad_norm,
        "policy_kwargs": network,
    }


def _make_sac(config: GAELPExperimentConfig, **common: Any) -> BaseAlgorithm:
    sb3 = config.sb3
    return SAC(
        "MlpPolicy",
        buffer_size=1,  # replaced by each update
        tau=sb3.tau,
        gamma=sb3.gamma,
        ent_coef=f"auto_{sb3.initial_temperature}",
        policy_kwargs={"net_arch": [sb3.hidden_size] * 2, "activation_fn": torch.nn.Tanh},
        **common,
    )


class _Spaces(gymnasium.Env[Action, Action]):
    """What the library wants to know of an environment: its spaces. Observations are z-scores."""

    def __init__(self, observed: int, actions: int) -> None:
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (observed,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (actions,), np.float32)


@contextmanager
def chance(rng: np.random.Generator) -> Iterator[None]:
    """The global generators that the library draws from, seeded by ours; afterwards they are what they were."""
    before = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        np.random.seed(int(rng.integers(2**32)))
        torch.manual_seed(int(rng.integers(2**63)))
        try:
            yield
        finally:
            np.random.set_state(before)


def arrays_of(model: BaseAlgorithm) -> dict[str, npt.NDArray[Any]]:
    """Networks, optimisers and SAC's temperature as copies."""
    state: dict[str, npt.NDArray[Any]] = {}
    for part, content in model.get_parameters().items():
        if _is_optimiser(content):
            for number, moments in content["state"].items():
                state |= {f"{part}/{number}/{name}": _array(value) for name, value in moments.items()}
        else:
            state |= {f"{part}/{name}": _array(value) for name, value in content.items()}
    if hasattr(model, TEMPERATURE):
        state[TEMPERATURE] = _array(model.log_ent_coef)
    return state


def load_arrays(model: BaseAlgorithm, state: State) -> None:
    """Give a model of the same shape its arrays back; raises KeyError or ValueError for one of another shape."""
    parameters = model.get_parameters()
    for part, content in parameters.items():
        if _is_optimiser(content):
            content["state"] = _moments(part, state)
        else:
            parameters[part] = {name: torch.tensor(state[f"{part}/{name}"]) for name in content}
    try:
        model.set_parameters(parameters)
    except RuntimeError as error:  # torch's word for arrays that do not fit
        raise ValueError(str(error).replace("\n\t", " ")) from None
    if hasattr(model, TEMPERATURE):
        with torch.no_grad():
            model.log_ent_coef.copy_(torch.tensor(state[TEMPERATURE]))


def _is_optimiser(content: dict[str, Any]) -> bool:
    return "param_groups" in content


def _moments(part: str, state: State) -> dict[int, dict[str, torch.Tensor]]:
    """An optimiser's numbers per parameter; none before its first step."""
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for path, array in state.items():
        head, *rest = path.split("/")
        if head == part:
            number, name = rest
            moments.setdefault(int(number), {})[name] = torch.tensor(array)
    return moments


def _array(value: torch.Tensor) -> npt.NDArray[Any]:
    return np.array(value.detach().cpu().numpy())
