"""The networks of PPO in C: the structures that net.c reads and fills. Start at CompiledLearner.

Results are numpy's up to rounding, and the same on every processor with fused multiply-add, for any number of rows.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from gaelp_ray.core.structure import ARRAY, INT, REAL, Pointers, address, arrays
from gaelp_ray.records import FloatArray, zeros

F32 = npt.NDArray[np.float32]


class Sizes(NamedTuple):
    """Of a network with two hidden layers."""

    inputs: int
    hidden: int
    outputs: int


class Batch(NamedTuple):
    """What is learned from: N flight hours, float32."""

    obs: F32  # (N, D), for C as they were seen, for numpy normalised
    actions: F32  # (N, A)
    log_prob: F32  # (N,) under the policy that flew
    advantages: F32  # (N,)
    returns: F32  # (N,)


class Constants(NamedTuple):
    """Of the normaliser, (D,) each: what is subtracted, and what the difference is multiplied by."""

    mean: F32
    scale: F32


class Objective(NamedTuple):
    """Constants of the loss and of the optimiser."""

    clip_range: float
    entropy_coef: float
    max_norm: float


class Learned(NamedTuple):
    """What an update changes in place, (P,) each: policy, value function and log_std in a row, and Adam's moments."""

    parameters: F32
    first: F32
    second: F32


@cache
def _function(library: ctypes.CDLL, name: str, *arguments: Any) -> Any:
    """A void function of the library; cached, because declaring its arguments costs as much as a call."""
    function = getattr(library, name)
    function.argtypes, function.restype = arguments, None
    return function


_SIZES = [(name, INT) for name in Sizes._fields]


class _Evaluated(ctypes.Structure):
    """`Evaluated` of net.c."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [*_SIZES, *arrays("parameters", *Constants._fields, "workspace")]


class _Learner(ctypes.Structure):
    """`Learner` of net.c."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        *_SIZES,
        *arrays(*Learned._fields, "gradient", "workspace", *Constants._fields, *Batch._fields),
        *((name, REAL) for name in (*Objective._fields, "clipped", "squared_error")),
    ]


class CompiledNetwork:
    """Evaluates a network whose parameters, (P,), and normaliser may change in place."""

    def __init__(self, library: ctypes.CDLL, sizes: Sizes, parameters: F32, constants: Constants) -> None:
        self._evaluate = _function(library, "gaelp_evaluate", ARRAY, INT, ARRAY, ARRAY)
        self._sizes = sizes
        self._network = _Evaluated(*sizes)
        self._address = ctypes.addressof(self._network)
        self._pointers = Pointers(self._network)
        self._pointers.set("workspace", _workspace(library, sizes))
        for name, array in {**constants._asdict(), "parameters": parameters}.items():
            self._pointers.set(name, array)

    def __call__(self, obs: npt.NDArray[np.floating]) -> F32:
        """Outputs (N, A) for observations (N, D). Raises ValueError for another D than the network has."""
        obs = np.ascontiguousarray(obs, np.float32)
        if obs.shape[1] != self._sizes.inputs:
            raise ValueError(f"observations of {obs.shape[1]} numbers for a network of {self._sizes.inputs}")
        output = np.empty((len(obs), self._sizes.outputs), np.float32)
        self._evaluate(self._address, len(obs), address(obs), address(output))
        return output


class CompiledLearner:
    """PPO's gradients and steps on one batch; the arrays of `learned` are changed in place."""

    def __init__(
        self, library: ctypes.CDLL, sizes: Sizes, objective: Objective, learned: Learned, *read: Constants | Batch
    ) -> None:
        self._gradients = _function(library, "gaelp_gradients", ARRAY, INT, ARRAY)
        self._adam = _function(library, "gaelp_adam", ARRAY, REAL)
        self._learner = _Learner(*sizes, **objective._asdict())
        self._address = ctypes.addressof(self._learner)
        self._pointers = Pointers(self._learner)
        for name, array in (item for fields in (learned, *read) for item in fields._asdict().items()):
            self._pointers.set(name, np.asarray(array, np.float32))
        self._gradient = np.empty_like(learned.parameters)
        self._pointers.set("gradient", self._gradient)
        self._pointers.set("workspace", _workspace(library, sizes))

    def gradients(self, rows: npt.NDArray[np.int64]) -> tuple[F32, float, float]:
        """(gradients (P,), valid until the next call; share of clipped samples; mean squared error of the values)."""
        rows = np.ascontiguousarray(rows)
        self._gradients(self._address, len(rows), address(rows))
        return self._gradient, self._learner.clipped / len(rows), self._learner.squared_error / len(rows)

    def step(self, rate: float) -> None:
        """Adam's step with the gradients computed last; `rate` includes the corrections of the first steps."""
        self._adam(self._address, rate)


def _workspace(library: ctypes.CDLL, sizes: Sizes) -> F32:
    """Zeros, from a multiple of 64 bytes on, so that vectors do not straddle cache lines."""
    library.gaelp_workspace.argtypes, library.gaelp_workspace.restype = (INT, INT, INT), INT
    numbers = np.zeros(library.gaelp_workspace(*sizes) + 16, np.float32)
    return numbers[-address(numbers) % 64 // 4 :]


def sample(
    library: ctypes.CDLL, mean: F32, spread: tuple[FloatArray, FloatArray], uniform: FloatArray
) -> tuple[F32, F32]:
    """(actions (B, A), their log probabilities (B,)) around the policy's means, as ppo.sample().

    spread: standard deviation of each action and its logarithm, (A,). uniform: (B, A).
    """
    function = _function(library, "gaelp_sample", INT, INT, *(ARRAY,) * 6)
    action, log_prob, noise = mean.copy(), np.empty(len(mean), np.float32), np.empty(mean.shape)
    given = (address(array) for array in (*spread, uniform, noise, action, log_prob))
    function(*mean.shape, *given)
    return action, log_prob


def moments(library: ctypes.CDLL, x: F32) -> tuple[FloatArray, FloatArray]:
    """Means and variances of the columns of x (N, D), summed row by row."""
    function = _function(library, "gaelp_moments", INT, INT, ARRAY, ARRAY, ARRAY)
    mean, variance = zeros(x.shape[1]), zeros(x.shape[1])
    function(*x.shape, address(x), address(mean), address(variance))
    return mean, variance


def advantages(
    library: ctypes.CDLL,
    rewards: FloatArray,
    dones: npt.NDArray[np.bool_],
    values: FloatArray,
    discounts: tuple[float, float],
) -> FloatArray:
    """ppo.generalised_advantages(): (T, B) of rewards, ends and values of that shape; discounts: gamma, lambda."""
    function = _function(library, "gaelp_advantages", INT, INT, REAL, REAL, *(ARRAY,) * 4)
    result = np.empty(rewards.shape)
    rewards, values = (np.ascontiguousarray(array, np.float64) for array in (rewards, values))
    dones = np.ascontiguousarray(dones, np.bool_)
    function(*rewards.shape, *discounts, *map(address, (rewards, dones, values, result)))
    return result
