"""The numpy network behind learned policies: tanh MLP with its backward pass, Adam, and an observation normaliser."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from gaelp_ray.core.library import load
from gaelp_ray.core.net import moments
from gaelp_ray.market.elementary import ndtri
from gaelp_ray.records import FloatArray, zeros

Array = npt.NDArray[np.floating]
F32 = npt.NDArray[np.float32]


class MLP:
    """Fully connected network with tanh between its layers; parameters are arrays that Adam changes in place.

    Orthogonal initialisation with gain sqrt(2), and `last_gain` for the last layer (Andrychowicz et al. 2021: a small
    one keeps the first policy near its mean). `weights` and `biases` are views of `flat`, one after the other.
    """

    def __init__(
        self, sizes: Sequence[int], rng: np.random.Generator, last_gain: float, dtype: type = np.float32
    ) -> None:
        self._sizes = tuple(sizes)
        self._keep_in(np.zeros(sum((rows + 1) * columns for rows, columns in pairwise(sizes)), dtype))
        gains = [np.sqrt(2.0)] * (len(sizes) - 2) + [last_gain]
        for weight, gain in zip(self.weights, gains, strict=True):
            weight[...] = gain * _orthogonal(rng, *weight.shape)

    def _keep_in(self, flat: Array) -> None:
        shapes: list[tuple[int, ...]] = [*pairwise(self._sizes), *((columns,) for columns in self._sizes[1:])]
        parts = views(flat, shapes)
        self.flat, self.weights, self.biases = flat, parts[: len(parts) // 2], parts[len(parts) // 2 :]

    def move(self, flat: Array) -> None:
        """Keep the parameters in this array from now on."""
        flat[...] = self.flat
        self._keep_in(flat)

    def copy(self) -> MLP:
        """The same network with parameters of its own."""
        other = copy.copy(self)
        other._keep_in(self.flat.copy())
        return other

    @property
    def parameters(self) -> list[Array]:
        """Weights, then biases, first layer first."""
        return [*self.weights, *self.biases]

    def forward(self, x: Array) -> list[Array]:
        """Activations of every layer, the input first and the output (N, out) last."""
        layers = [x]
        last = len(self.weights) - 1
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = x @ weight
            x += bias
            if number < last:
                np.tanh(x, out=x)
            layers.append(x)
        return layers

    def __call__(self, x: Array) -> Array:
        """The output (N, out)."""
        return self.forward(x)[-1]

    def backward(self, layers: Sequence[Array], gradient: Array) -> list[Array]:
        """Gradients of the parameters, in their order, from the gradient (N, out) of the output."""
        weights: list[Array] = []
        biases: list[Array] = []
        for number in reversed(range(len(self.weights))):
            weights.append(layers[number].T @ gradient)
            biases.append(gradient.sum(axis=0))
            if number:
                gradient = gradient @ self.weights[number].T
                gradient *= 1.0 - layers[number] ** 2
        return weights[::-1] + biases[::-1]


def views(flat: Array, shapes: Sequence[tuple[int, ...]]) -> list[Array]:
    """Parts of a flat array, one after the other, in these shapes."""
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    return [part.reshape(shape) for part, shape in zip(np.split(flat, ends[:-1]), shapes, strict=True)]


def _orthogonal(rng: np.random.Generator, rows: int, columns: int) -> FloatArray:
    """A matrix (rows, columns) drawn uniformly from those with orthonormal rows or columns.

    Normal vectors made orthonormal one by one, by Gram and Schmidt's method applied twice, which is as accurate as
    Householder's (Giraud et al. 2005). Its sums have a fixed order, where LAPACK's follow the processor.
    """
    length, number = max(rows, columns), min(rows, columns)
    vectors = ndtri(rng.random((number, length)))
    for i in range(number):
        for _ in range(2 if i else 0):
            before = vectors[:i]
            shares = _sum_rows((before * vectors[i]).T)
            vectors[i] -= _sum_rows(before * shares[:, None])
        vectors[i] /= np.sqrt(_sum_rows(vectors[i] * vectors[i]))
    return vectors if rows < columns else vectors.T


def _sum_rows(x: FloatArray) -> FloatArray:
    """Sum over the first axis in its order, which np.sum does not promise."""
    added: FloatArray = np.cumsum(x, axis=0)[-1]
    return added


class Adam:
    """Adam (Kingma & Ba 2015) over a list of arrays, with a clip of the global gradient norm.

    Its moments are one flat array each, because many small arrays cost more in calls than in arithmetic; `first` and
    `second` are views of them in the shapes of the parameters, in their order.
    """

    def __init__(self, parameters: Sequence[Array], max_norm: float) -> None:
        self._parameters, self._max_norm = list(parameters), max_norm
        self._shapes = [p.shape for p in parameters]
        self.flat_first, self.flat_second = (
            np.concatenate([np.zeros_like(p).ravel() for p in parameters]) for _ in range(2)
        )
        self.first, self.second = views(self.flat_first, self._shapes), views(self.flat_second, self._shapes)
        self.steps = 0

    def next_rate(self, learning_rate: float) -> float:
        """Count a step, and return its learning rate with the corrections of the moments' first steps."""
        self.steps += 1
        return learning_rate * math.sqrt(1.0 - _power(0.999, self.steps)) / (1.0 - _power(0.9, self.steps))

    def step(self, gradients: Sequence[Array], learning_rate: float) -> None:
        """Change the parameters in place."""
        gradient = np.concatenate([g.ravel() for g in gradients])
        gradient *= min(1.0, self._max_norm / (float(np.sqrt(gradient @ gradient)) + 1e-8))
        self.flat_first += 0.1 * (gradient - self.flat_first)
        self.flat_second += 0.001 * (gradient * gradient - self.flat_second)
        change = self.flat_first / (np.sqrt(self.flat_second) + 1e-5)
        change *= self.next_rate(learning_rate)
        for parameter, part in zip(self._parameters, views(change, self._shapes), strict=True):
            parameter[...] -= part


def _power(x: float, n: int) -> float:
    """x^n by products alone: libm's power follows the processor."""
    result = 1.0
    while n:
        if n % 2:
            result *= x
        x, n = x * x, n // 2
    return result


class Normaliser:
    """Running mean and variance of observations (Chan et al. 1979), and the clipped z-score of them."""

    def __init__(self, size: int) -> None:
        self.mean, self.variance, self.count = zeros(size), zeros(size) + 1.0, 0.0

    def update(self, x: Array) -> None:
        """Take in observations (..., size)."""
        x = x.reshape(-1, x.shape[-1])
        mean, variance = column_moments(x)
        count, delta = len(x), mean - self.mean
        total = self.count + count
        spread = delta * delta * self.count * count / total
        self.variance = (self.variance * self.count + variance * count + spread) / total
        self.mean, self.count = self.mean + delta * count / total, total

    def constants(self) -> tuple[F32, F32]:
        """What __call__() subtracts, and multiplies by, (size,) each."""
        return self.mean.astype(np.float32), (1.0 / np.sqrt(self.variance + 1e-6)).astype(np.float32)

    def __call__(self, x: Array) -> F32:
        """z-scores, clipped to [-5, 5]."""
        mean, scale = self.constants()
        z = x.astype(np.float32) - mean
        z *= scale
        return np.clip(z, -5.0, 5.0, out=z)


def column_moments(x: Array) -> tuple[FloatArray, FloatArray]:
    """Means and variances of the columns of x (N, size), summed row by row; C has the same bits."""
    library = load().library
    if library is not None and x.dtype == np.float32:
        return moments(library, np.ascontiguousarray(x))
    mean = _sum_rows(x.astype(np.float64)) / len(x)
    away = x - mean
    return mean, _sum_rows(away * away) / len(x)
