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
    """Adam (Kingma & Ba 2015) over a list of arrays, with a clip of the global gradient norm."""

    def __init__(self, parameters: Sequence[Array], max_norm: float) -> None:
        self._parameters, self._max_norm = list(parameters), max_norm
        self.first = [np.zeros_like(p) for p in self._parameters]
        self.second = [np.zeros_like(p) for p in self._parameters]
        self.steps = 0

    def step(self, gradients: Sequence[Array], learning_rate: float) -> None:
        """Change the parameters in place."""
        norm = float(np.sqrt(sum(float(np.vdot(g, g)) for g in gradients)))
        clip = min(1.0, self._max_norm / (norm + 1e-8))
        self.steps += 1
        rate = learning_rate * np.sqrt(1.0 - 0.999**self.steps) / (1.0 - 0.9**self.steps)
        moments = zip(self._parameters, gradients, self.first, self.second, strict=True)
        for parameter, gradient, first, second in moments:
            scaled = gradient * clip
            np.add(first, 0.1 * (scaled - first), out=first)
            np.add(second, 0.001 * (scaled * scaled - second), out=second)
            change = rate * first / (np.sqrt(second) + 1e-5)
            np.subtract(parameter, change.astype(parameter.dtype), out=parameter)


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
