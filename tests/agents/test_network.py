"""The network, its optimiser and its normaliser against textbook versions of themselves."""

import numpy as np
import pytest

from gaelp_ray.agents.network import MLP, Adam, Normaliser


def network(seed: int = 0, sizes: tuple[int, ...] = (5, 7, 6, 3), last_gain: float = 0.5) -> MLP:
    return MLP(sizes, np.random.default_rng(seed), last_gain, dtype=np.float64)


@pytest.mark.parametrize("sizes", [(8, 4, 4, 2), (3, 16, 16, 5)])
def test_weights_start_orthogonal_with_their_gains(sizes):
    net = network(sizes=sizes, last_gain=0.01)
    for weight, gain in zip(net.weights, [np.sqrt(2.0), np.sqrt(2.0), 0.01], strict=True):
        rows, columns = weight.shape
        gram = weight.T @ weight if rows >= columns else weight @ weight.T
        np.testing.assert_allclose(gram, gain**2 * np.eye(min(rows, columns)), atol=1e-12)


def test_initial_weights_have_no_preferred_sign():
    corners = [network(seed).weights[0][0, 0] for seed in range(40)]
    assert 10 < sum(corner > 0 for corner in corners) < 30


def test_biases_start_at_zero_and_seeds_differ():
    assert not any(bias.any() for bias in network().biases)
    assert not np.array_equal(network(1).weights[0], network(2).weights[0])


def test_network_computes_in_float32_unless_told():
    net = MLP([3, 4, 2], np.random.default_rng(0), 1.0)
    assert net(np.ones((2, 3), np.float32)).dtype == np.float32


def test_forward_is_tanh_between_linear_layers():
    net, x = network(), np.random.default_rng(1).standard_normal((4, 5))
    for bias in net.biases:
        bias.fill(0.1)
    hidden = np.tanh(np.tanh(x @ net.weights[0] + 0.1) @ net.weights[1] + 0.1)
    np.testing.assert_allclose(net(x), hidden @ net.weights[2] + 0.1)
    assert [layer.shape[1] for layer in net.forward(x)] == [5, 7, 6, 3]


def test_forward_leaves_its_input_alone():
    x = np.ones((2, 5))
    network()(x)
    np.testing.assert_array_equal(x, np.ones((2, 5)))


def test_backward_agrees_with_finite_differences():
    net, rng = network(), np.random.default_rng(2)
    x, weights = rng.standard_normal((9, 5)), rng.standard_normal((9, 3))
    gradients = net.backward(net.forward(x), weights.copy())
    for parameter, gradient in zip(net.parameters, gradients, strict=True):
        numeric = np.zeros_like(parameter)
        for index in np.ndindex(parameter.shape):
            kept, losses = parameter[index], []
            for step in (1e-6, -1e-6):
                parameter[index] = kept + step
                losses.append((net(x) * weights).sum())
            parameter[index] = kept
            numeric[index] = (losses[0] - losses[1]) / 2e-6
        np.testing.assert_allclose(gradient, numeric, atol=1e-7)


def test_adam_finds_the_bottom_of_a_quadratic():
    target, x = np.array([3.0, -1.0]), np.zeros(2)
    adam = Adam([x], max_norm=100.0)
    for _ in range(2000):
        adam.step([2.0 * np.array([1.0, 20.0]) * (x - target)], 0.02)
    np.testing.assert_allclose(x, target, atol=1e-3)


def test_adam_follows_the_paper_step_by_step():
    rng = np.random.default_rng(3)
    x = np.array([1.0, -2.0, 0.5])
    adam, expected, m, v = Adam([x], max_norm=1e9), x.copy(), np.zeros(3), np.zeros(3)
    for t in range(1, 20):
        gradient = rng.standard_normal(3)
        adam.step([gradient], 0.01)
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        expected -= 0.01 * (m / (1 - 0.9**t)) / np.sqrt(v / (1 - 0.999**t))
    np.testing.assert_allclose(x, expected, rtol=2e-3)
    assert adam.steps == 19


def test_gradient_norm_is_clipped_over_all_parameters_together():
    adam = Adam([np.zeros(1), np.zeros(2)], max_norm=0.5)
    adam.step([np.array([3.0]), np.array([0.0, 4.0])], 0.1)
    np.testing.assert_allclose(np.concatenate(adam.first), 0.1 * np.array([0.3, 0.0, 0.4]), rtol=1e-6)


def test_small_gradients_are_not_scaled():
    adam = Adam([np.zeros(2)], max_norm=0.5)
    adam.step([np.array([0.03, 0.04])], 0.1)
    np.testing.assert_allclose(adam.first[0], [0.003, 0.004])


def test_adam_changes_the_given_arrays_and_keeps_their_type():
    x = np.ones(2, np.float32)
    Adam([x], max_norm=1.0).step([np.ones(2, np.float32)], 0.1)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, 0.9, atol=1e-3)


def test_normaliser_agrees_with_numpy_on_everything_seen():
    rng = np.random.default_rng(4)
    parts = [rng.normal(5.0, 3.0, (n, 4)) * [1.0, 10.0, 0.1, 0.0] for n in (1, 50, 3, 200)]
    normaliser = Normaliser(4)
    for part in parts:
        normaliser.update(part)
    whole = np.concatenate(parts)
    assert normaliser.count == len(whole)
    np.testing.assert_allclose(normaliser.mean, whole.mean(axis=0))
    np.testing.assert_allclose(normaliser.variance, whole.var(axis=0), atol=1e-12)


def test_normaliser_takes_hours_and_flights_as_one():
    x = np.random.default_rng(5).standard_normal((6, 5, 3))
    flat, stacked = Normaliser(3), Normaliser(3)
    flat.update(x.reshape(30, 3))
    stacked.update(x)
    np.testing.assert_array_equal(flat.mean, stacked.mean)


def test_normalised_observations_are_clipped_z_scores_in_float32():
    normaliser = Normaliser(2)
    normaliser.update(np.array([[0.0, 10.0], [2.0, 30.0]]))
    z = normaliser(np.array([[2.0, 20.0], [1e6, -1e6]], np.float32))
    assert z.dtype == np.float32
    np.testing.assert_allclose(z, [[1.0, 0.0], [5.0, -5.0]], atol=1e-5)


def test_normalising_leaves_the_observation_alone():
    x = np.full((2, 3), 7.0, np.float32)
    Normaliser(3)(x)
    np.testing.assert_array_equal(x, np.full((2, 3), 7.0))
