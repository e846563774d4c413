"""C and numpy compute the same bits: every function, every instruction set of this processor, every compiler."""

from __future__ import annotations

import numpy as np
import pytest

from gaelp_ray.core import functions as functions_module
from gaelp_ray.core import library
from gaelp_ray.core.functions import ArrayFunctions, array_functions
from gaelp_ray.market import elementary, stream
from gaelp_ray.market.stream import LONGEST_WALK, WALK, Cells, Purpose

N = 20_000
TINY = 2.0**-53
EDGES = [
    *(0.0, -0.0, 1.0, -1.0, 0.5, 2.0, np.inf, -np.inf, np.nan, 1e300, -1e300, 5e-324, 1e-310, TINY, 1 - TINY),
    *(-708.0, 709.0, 708.9, 710.0, -709.0, -745.0, 0.34657359027997264, -0.34657359027997264),
    *(np.sqrt(0.5), np.nextafter(np.sqrt(0.5), 0.0), np.sqrt(2.0), elementary.SMALLEST, 37.0, -37.0, 38.0, -38.0),
]
PROBABILITIES = [0.0, TINY, 1e-300, 1.38e-11, 1.39e-11, 0.075, 0.925, 0.5, 1.0 - 1e-12, 1.0 - TINY, 1.0, np.nan]
SEEDS = [0, 1, 2**32, 2**63 + 12345, 2**64 - 1]


def assert_equal_bits(libraries, call, expected):
    """Numbers that are not NaN agree bit for bit, NaN with NaN."""
    assert libraries
    for level, loaded in libraries.items():
        result = call(ArrayFunctions(loaded))
        wrong = (result.view(np.int64) != expected.view(np.int64)) & ~(np.isnan(result) & np.isnan(expected))
        assert not wrong.any(), f"{level}: {wrong.sum()} differ, first at {np.argmax(wrong)}"


@pytest.fixture(autouse=True)
def numpy_defines(monkeypatch):
    """The functions of elementary.py and stream.py are those of numpy."""
    monkeypatch.setenv(library.SWITCH, "numpy")
    library.load.cache_clear()
    assert array_functions() is None
    yield
    library.load.cache_clear()


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.mark.parametrize("name", ["exp", "log", "ndtr"])
def test_elementary_functions(libraries, rng, name):
    x = np.concatenate([EDGES, rng.normal(size=N), 40.0 * rng.normal(size=N), rng.uniform(-750.0, 750.0, N)])
    if name == "log":
        x = np.concatenate([x, np.exp(x[np.isfinite(x)].clip(-745.0, 709.0))])
    expected = getattr(elementary, name)(x)
    assert_equal_bits(libraries, lambda functions: functions.elementwise(name, x), expected)


def test_normal_quantile(libraries, rng):
    tail = np.exp(rng.uniform(-700.0, 0.0, N))
    p = np.concatenate([PROBABILITIES, rng.random(N), tail, 1.0 - tail])
    assert_equal_bits(libraries, lambda functions: functions.elementwise("ndtri", p), elementary.ndtri(p))


@pytest.mark.parametrize("length", [0, 1, 511, 512, 513])
def test_any_length(libraries, rng, length):
    p, mean = rng.random(length), 60.0 * rng.random(length)
    assert_equal_bits(libraries, lambda functions: functions.elementwise("ndtri", p), elementary.ndtri(p))
    assert_equal_bits(libraries, lambda functions: functions.elementwise("poisson", mean, p), stream.poisson(mean, p))


def test_shapes_broadcast(libraries, rng):
    mean, u = 60.0 * rng.random((5, 1)), rng.random((3, 1, 4))
    assert_equal_bits(libraries, lambda functions: functions.elementwise("poisson", mean, u), stream.poisson(mean, u))


def cells_of(rng, seed, number=N):
    flight = rng.integers(0, 2**32, number)
    hour, channel = (rng.integers(0, 2**16, number) for _ in range(2))
    return Cells(seed, flight, hour, channel)


@pytest.mark.parametrize("seed", SEEDS)
def test_uniforms(libraries, rng, seed):
    cells, attempt = cells_of(rng, seed, 4 * N), rng.integers(0, 2**32, 4 * N, dtype=np.uint64)
    for which in (0, 1):
        expected = cells.uniforms(Purpose.CLICK, attempt)[which]
        assert_equal_bits(
            libraries,
            lambda functions, w=which: functions.uniforms(seed, cells.words(), Purpose.CLICK, attempt)[w],
            expected,
        )


def test_poisson(libraries, rng):
    mean = np.concatenate([np.exp(rng.uniform(-10.0, 14.0, 4 * N)), WALK * rng.random(4 * N)])
    mean[:4] = 0.0, WALK, np.nextafter(WALK, 0.0), 1e-320
    u = rng.random(mean.size)
    u[rng.integers(0, u.size, 400)] = 1.0 - TINY
    u[rng.integers(0, u.size, 400)] = TINY
    expected = stream.poisson(mean, u)
    assert expected[mean < WALK].max() == LONGEST_WALK  # a walk that never ends is among them
    assert_equal_bits(libraries, lambda functions: functions.elementwise("poisson", mean, u), expected)


def test_binomial(libraries, rng):
    n = np.floor(np.exp(rng.uniform(0.0, 14.0, 8 * N))) - 1.0
    p, u = rng.random(n.size) ** rng.choice([1.0, 5.0, 20.0], n.size), rng.random(n.size)
    p[:300] = np.repeat([0.0, 1.0, 0.5], 100)
    p[rng.integers(0, n.size, N)] = 1.0 - 1e-3 * rng.random(N)
    u[rng.integers(0, u.size, 400)] = 1.0 - TINY
    u[rng.integers(0, u.size, 400)] = TINY
    assert_equal_bits(libraries, lambda functions: functions.elementwise("binomial", n, p, u), stream.binomial(n, p, u))


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_gamma(libraries, rng, seed):
    cells = cells_of(rng, seed)
    shape = np.exp(rng.uniform(-4.0, 8.0, N))
    shape[:3] = 1.0, np.nextafter(1.0, 0.0), 1e-3
    expected = stream.gamma(shape, cells, Purpose.ORDERS)
    assert_equal_bits(
        libraries, lambda functions: functions.gamma(shape, seed, cells.words(), Purpose.ORDERS), expected
    )


def test_package_computes_with_the_library_that_is_loaded(libraries, monkeypatch):
    level, loaded = next(iter(libraries.items()))
    calls = []
    monkeypatch.setattr(ArrayFunctions, "elementwise", lambda self, name, *arrays: calls.append(name))
    monkeypatch.setattr(functions_module, "load", lambda: library.Core(loaded, f"c ({level})"))
    elementary.exp(np.zeros(3))
    stream.poisson(np.zeros(3), np.zeros(3))
    assert calls == ["exp", "poisson"]


def test_a_number_stays_a_number(libraries):
    for loaded in libraries.values():
        result = ArrayFunctions(loaded).elementwise("exp", 1.0)
        assert np.isscalar(result) and result == elementary.exp(np.float64(1.0))
