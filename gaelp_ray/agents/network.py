"""The numpy network behind learned policies: tanh MLP with its backward pass, Adam, and an observation normaliser."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gaelp_ray.records import zeros

Array = npt.NDArray[np.floating]


class MLP:
    """Fully connected network with tanh between its layers; parameters are arrays that Adam changes in place.

    Orthogonal initialisation with gain sqrt(2), and `last_gain` for the last layer (Andrychowicz et al. 2021: a small
    one keeps the first policy near its mean).
    """

    def __init__(
        self, sizes: Sequence[int], rng: np.random.Generator, last_gain: float, dtype: type = np.float32
    ) -> None:
        gains = [np.sqrt(2.0)] * (len(sizes) - 2) + [last_gain]
        shapes = zip(sizes[:-1], sizes[1:], gains, strict=True)
        self.weights: list[Array] = [
            _orthogonal(rng, rows, columns, gain).astype(dtype) for rows, columns, gain in shapes
        ]
        self.biases: list[Array] = [np.zeros(columns, dtype) for columns in sizes[1:]]

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


def _orthogonal(rng: np.random.Generator, rows: int, columns: int, gain: float) -> Array:
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q *= np.sign(np.diag(r))  # makes the draw uniform over orthogonal matrices
    return gain * (q if rows >= columns else q.T)


class Adam:
    """Adam (Kingma & Ba 2015) over a list of arrays, with a clip of the global gradient norm.

    Its moments are one flat array each, because many small arrays cost more in calls than in arithmetic; `first` and
    `second` are views of them in the shapes of the parameters.
    """

    def __init__(self, parameters: Sequence[Array], max_norm: float) -> None:
        self._parameters, self._max_norm = list(parameters), max_norm
        self._first, self._second = (np.concatenate([np.zeros_like(p).ravel() for p in parameters]) for _ in range(2))
        self.first, self.second = self._views(self._first), self._views(self._second)
        self.steps = 0

    def _views(self, flat: Array) -> list[Array]:
        """Parts of a flat array in the shapes of the parameters."""
        ends = np.cumsum([p.size for p in self._parameters])
        parts = zip(np.split(flat, ends[:-1]), self._parameters, strict=True)
        return [part.reshape(parameter.shape) for part, parameter in parts]

    def step(self, gradients: Sequence[Array], learning_rate: float) -> None:
        """Change the parameters in place."""
        gradient = np.concatenate([g.ravel() for g in gradients])
        gradient *= min(1.0, self._max_norm / (float(np.sqrt(gradient @ gradient)) + 1e-8))
        self.steps += 1
        rate = learning_rate * np.sqrt(1.0 - 0.999**self.steps) / (1.0 - 0.9**self.steps)
        self._first += 0.1 * (gradient - self._first)
        self._second += 0.001 * (gradient * gradient - self._second)
        change = self._first / (np.sqrt(self._second) + 1e-5)
        change *= rate
        for parameter, part in zip(self._parameters, self._views(change), strict=True):
            parameter[...] -= part


class Normaliser:
    """Running mean and variance of observations (Chan et al. 1979), and the clipped z-score of them."""

    def __init__(self, size: int) -> None:
        self.mean, self.variance, self.count = zeros(size), zeros(size) + 1.0, 0.0

    def update(self, x: Array) -> None:
        """Take in observations (..., size)."""
        x = x.reshape(-1, x.shape[-1]).astype(np.float64)
        mean, variance, count = x.mean(axis=0), x.var(axis=0), len(x)
        total, delta = self.count + count, mean - self.mean
        self.variance = (self.variance * self.count + variance * count + delta**2 * self.count * count / total) / total
        self.mean, self.count = self.mean + delta * count / total, total

    def __call__(self, x: Array) -> npt.NDArray[np.float32]:
        """z-scores, clipped to [-5, 5]."""
        scale = (1.0 / np.sqrt(self.variance + 1e-6)).astype(np.float32)
        z = x.astype(np.float32) - self.mean.astype(np.float32)
        z *= scale
        return np.clip(z, -5.0, 5.0, out=z)
