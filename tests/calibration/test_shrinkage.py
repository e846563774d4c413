"""Empirical Bayes: its known answers, and that it beats both extremes on average."""

import numpy as np
import pytest

from gaelp_ray.calibration.shrinkage import shrink


def test_equal_variances_give_the_textbook_answer():
    # DerSimonian & Laird's tau^2 is then the sample variance less v.
    y, v = np.array([1.0, 2.0, 3.0, 4.0]), np.full(4, 0.25)
    found = shrink(y, v)
    assert found.mean == pytest.approx(2.5)
    assert found.between == pytest.approx(y.var(ddof=1) - 0.25)
    trust = found.between / (found.between + 0.25)
    np.testing.assert_allclose(found.values, 2.5 + trust * (y - 2.5))
    np.testing.assert_allclose(found.variances, trust * 0.25 + (1 - trust) ** 2 * (found.between + 0.25) / 4)


def test_estimates_closer_than_chance_become_their_mean():
    found = shrink(np.array([1.0, 1.1, 0.9]), np.ones(3))
    assert found.between == 0.0
    np.testing.assert_allclose(found.values, 1.0)


def test_certain_estimates_keep_their_values_and_uncertain_ones_move():
    found = shrink(np.array([0.0, 1.0, 5.0, -3.0]), np.array([1e-6, 1e-6, 4.0, 1e-6]))
    np.testing.assert_allclose(found.values[[0, 1, 3]], [0.0, 1.0, -3.0], atol=1e-4)
    assert found.mean < found.values[2] < 5.0


def test_no_estimate_gets_the_mean_with_the_variance_between():
    found = shrink(np.array([0.0, 2.0, 99.0]), np.array([0.01, 0.01, np.inf]))
    assert found.values[2] == pytest.approx(1.0)
    assert found.variances[2] > found.between > 1.0


def test_shrunk_estimates_have_less_error_than_own_ones_and_than_the_mean():
    rng = np.random.default_rng(0)
    truth = rng.normal(0.0, 1.0, (400, 12))
    variances = rng.uniform(0.3, 3.0, truth.shape)
    y = truth + np.sqrt(variances) * rng.standard_normal(truth.shape)
    found = [shrink(*case) for case in zip(y, variances, strict=True)]
    values, mean = np.array([f.values for f in found]), np.array([[f.mean] for f in found])
    error = ((values - truth) ** 2).mean()
    assert error < 0.8 * ((y - truth) ** 2).mean()
    assert error < 0.8 * ((mean - truth) ** 2).mean()
    # Below the error, because the estimated variance between is taken for the true one.
    assert 0.6 * error < np.mean([f.variances for f in found]) < 1.05 * error
