"""Elementary functions of + - * / sqrt: accuracy against reference values, limits, and the same bits everywhere."""

import hashlib

import numpy as np
import pytest
from scipy import special

from gaelp_ray.market import elementary
from gaelp_ray.market.elementary import EXP_RANGE, SMALLEST, exp, log, ndtr, ndtri

# 19 digits, computed with mpmath at 40 digits.
PHI = [
    (-37.0, 5.725571222524576823e-300),
    (-20.0, 2.753624118606233695e-89),
    (-10.0, 7.619853024160526066e-24),
    (-7.0, 1.279812543885835004e-12),
    (-5.0, 2.866515718791939117e-7),
    (-3.0, 0.001349898031630094527),
    (-1.0, 0.1586552539314570514),
    (-0.25, 0.4012936743170762758),
    (0.125, 0.549738224830112893),
    (0.5, 0.6914624612740131036),
    (2.0, 0.9772498680518207928),
    (5.0, 0.9999997133484281208),
]
QUANTILES = [
    (2.0**-53, -8.209536151601386856),
    (2.0**-40, -7.047700256664408725),
    (1e-09, -5.997807015007686861),
    (0.001, -3.090232306167813535),
    (0.074, -1.44663206715897851),
    (0.076, -1.432502720825811619),
    (0.25, -0.6744897501960817432),
    (0.7, 0.5244005127080406563),
    (0.9375, 1.534120544352546312),
    (1.0 - 2.0**-20, 4.763001034267813957),
    (1.0 - 2.0**-53, 8.209536151601386856),
]


def ulps(found: np.ndarray, expected: np.ndarray) -> float:
    return float((np.abs(found - expected) / np.spacing(np.abs(expected))).max())


@pytest.mark.parametrize("largest", [1e-9, 1.0, 40.0, 700.0])
def test_exp_is_within_two_units_in_the_last_place_of_libm(largest):
    x = np.random.default_rng(0).uniform(-largest, largest, 20_000)
    assert ulps(exp(x), np.exp(x)) <= 2.0


@pytest.mark.parametrize("largest", [1e-9, 0.5, 3.0, 700.0])
def test_log_is_within_two_units_in_the_last_place_of_libm(largest):
    x = np.exp(np.random.default_rng(1).uniform(-largest, largest, 20_000))
    assert ulps(log(x), np.log(x)) <= 2.0


def test_exp_and_log_at_their_limits():
    np.testing.assert_array_equal(exp(np.array([0.0, -1e9, 1e9])), [1.0, *exp(np.array(EXP_RANGE))])
    assert np.isfinite(exp(np.array(EXP_RANGE))).all()
    assert exp(np.array(EXP_RANGE[0])) >= SMALLEST
    np.testing.assert_array_equal(log(np.array([1.0, 0.0, -1.0])), [0.0, *[float(log(np.array(SMALLEST)))] * 2])
    np.testing.assert_allclose(log(np.array([SMALLEST, 1.7e308])), np.log([SMALLEST, 1.7e308]), rtol=1e-15)


@pytest.mark.parametrize(("z", "expected"), PHI)
def test_ndtr_agrees_with_reference_values(z, expected):
    assert float(ndtr(np.array(z))) == pytest.approx(expected, rel=1e-15 + z * z * 1e-16)


@pytest.mark.parametrize(("p", "expected"), QUANTILES)
def test_ndtri_agrees_with_reference_values(p, expected):
    assert float(ndtri(np.array(p))) == pytest.approx(expected, rel=4e-15)


def test_normal_distribution_agrees_with_scipy_between_the_reference_values():
    z = np.linspace(-12.0, 9.0, 40_001)
    np.testing.assert_allclose(ndtr(z), special.ndtr(z), rtol=5e-14)
    p = np.concatenate([np.geomspace(1e-17, 0.5, 20_000), 1.0 - np.geomspace(2.0**-53, 0.5, 20_000)])
    np.testing.assert_allclose(ndtri(p), special.ndtri(p), rtol=5e-15, atol=1e-15)


def test_ndtr_is_clipped_far_out():
    np.testing.assert_array_equal(ndtr(np.array([-1e9, 0.0, 1e9])), [ndtr(np.array(-37.0)), 0.5, 1.0])


def test_ndtri_is_odd_finite_and_rises():
    p = (np.arange(0.5, 2**16) / 2**16)[: 2**15]
    np.testing.assert_array_equal(ndtri(p), -ndtri(1.0 - p))
    grid = np.sort(np.random.default_rng(2).random(50_000))
    assert (np.diff(ndtri(grid)) >= 0.0).all()
    assert np.isfinite(ndtri(np.array([0.0, 1.0]))).all()


@pytest.mark.parametrize(
    ("name", "arguments", "digest"),
    [
        ("exp", np.linspace(-750.0, 750.0, 10_007), "dbf78a2dc31f43fb"),
        ("log", np.arange(1.0, 10_000.0) / 777.0, "a9b1ce8037afba4d"),
        ("ndtr", np.linspace(-40.0, 10.0, 10_007), "71a2fa8fc9b07f6f"),
        ("ndtri", np.arange(1.0, 10_007.0) / 10_007.0, "2bed3a5b97270d9d"),
    ],
    ids=["exp", "log", "ndtr", "ndtri"],
)
def test_bits_are_the_same_on_every_processor(name, arguments, digest):
    bits = np.ascontiguousarray(getattr(elementary, name)(arguments), "<f8").tobytes()
    assert hashlib.sha256(bits).hexdigest()[:16] == digest
