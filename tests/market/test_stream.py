"""Keyed random numbers: Philox's known answers, laws of the samplers, and draws that depend on their key alone."""

import hashlib

import numpy as np
import pytest
from scipy import stats

from gaelp_ray.market import stream
from gaelp_ray.market.elementary import ndtri
from gaelp_ray.market.stream import WALK, Cells, Purpose, binomial, gamma, philox, poisson, uniform

# Counter, key and answer of philox4x32-10 in the file kat_vectors of Random123.
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
HOUR, CHANNEL = np.array(0), np.array(0)


def cells(count: int, seed: int = 5) -> Cells:
    return Cells(seed, np.arange(count), HOUR, CHANNEL)


def spread_uniforms(count: int, seed: int = 5) -> np.ndarray:
    return cells(count, seed).uniforms(Purpose.CLICKS)[0]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_philox_gives_the_known_answers_of_random123(counter, key, answer):
    words = tuple(np.array([word], np.uint64) for word in counter)
    assert tuple(int(word[0]) for word in philox(words, key[0] | key[1] << 32)) == answer


def test_key_layout_is_flight_then_place_then_purpose_then_attempt():
    seed, flight, hour, channel, attempt = 0x299F31D0A4093822, 7, 167, 17, 3
    counter = (flight, hour * 65536 + channel, int(Purpose.ORDERS), attempt)
    words = philox(tuple(np.array(word, np.uint64) for word in counter), seed)
    one = Cells(seed, np.array(flight), np.array(hour), np.array(channel))
    first, second = one.uniforms(Purpose.ORDERS, attempt)
    assert first == uniform(words[0], words[1])
    assert second == uniform(words[2], words[3])


def test_uniforms_are_never_0_or_1():
    none, all_ = np.array([0], np.uint64), np.array([2**32 - 1], np.uint64)
    assert uniform(none, none) == 2.0**-53
    assert uniform(all_, all_) == 1.0 - 2.0**-53


def test_uniforms_of_neighbouring_keys_are_uniform_and_independent():
    grid = Cells(1, np.arange(200)[:, None, None], np.arange(20)[:, None], np.arange(5))
    first, second = grid.uniforms(Purpose.REST)
    assert first.shape == (200, 20, 5)
    for u in (first, second):
        assert stats.kstest(u.ravel(), "uniform").pvalue > 0.01
    others = [
        second,
        grid.uniforms(Purpose.CLICKS)[0],
        grid.uniforms(Purpose.REST, 1)[0],
        Cells(2, grid.flight, grid.hour, grid.channel).uniforms(Purpose.REST)[0],
        *(np.roll(first, 1, axis=axis) for axis in range(3)),
    ]
    for other in others:
        assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 4.0 / np.sqrt(first.size)


@pytest.mark.parametrize("mean", [0.01, 0.7, 5.0, 29.9, 30.0, 80.0, 2000.0])
def test_poisson_draws_are_the_inverse_distribution_function(mean):
    u = spread_uniforms(20_000)
    expected = stats.poisson.ppf(u, mean)
    different = poisson(np.array(mean), u) != expected
    # Where the expansion is used, it is off by one near some steps.
    assert different.mean() <= (0.0 if mean < WALK else 1e-4)


@pytest.mark.parametrize(
    ("n", "p"), [(3, 0.2), (50, 0.7), (400, 0.05), (120, 0.5), (150, 0.5), (900, 0.93), (1e6, 1e-3)]
)
def test_binomial_draws_are_the_inverse_distribution_function(n, p):
    u = spread_uniforms(20_000)
    # For p > 1/2 failures are counted at 1 - u.
    expected = stats.binom.ppf(u, n, p) if p <= 0.5 else n - stats.binom.ppf(1.0 - u, n, 1.0 - p)
    different = binomial(np.array(float(n)), np.array(p), u) != expected
    assert different.mean() <= (0.0 if n * p * (1.0 - p) < WALK else 1e-4)


def total_variation(counts: np.ndarray, pmf: np.ndarray) -> float:
    return float(0.5 * np.abs(counts - pmf).sum())


def distribution_of(draw, outcomes: np.ndarray) -> np.ndarray:
    """P(X = k) for an expansion, a function of the normal quantile, by bisection for the quantiles where it steps."""
    low, high = np.full(outcomes.size, -9.0), np.full(outcomes.size, 9.0)
    for _ in range(60):
        middle = (low + high) / 2.0
        below = draw(middle) <= outcomes
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.diff(stats.norm.cdf(low), prepend=0.0)


@pytest.mark.parametrize(("mean", "most"), [(30.0, 1.5e-5), (50.0, 6e-6), (300.0, 2e-7)])
def test_expansion_of_poisson_is_close_to_the_exact_law(mean, most):
    outcomes = np.arange(int(mean + 15.0 * np.sqrt(mean)))
    found = distribution_of(lambda w: stream._poisson_expansion(np.full(w.shape, mean), w), outcomes)
    assert total_variation(found, stats.poisson.pmf(outcomes, mean)) < most


@pytest.mark.parametrize(("n", "p"), [(121, 0.499), (200, 0.2), (3100, 0.01), (300_000, 1e-4)])
def test_expansion_of_binomial_is_close_to_the_exact_law(n, p):
    outcomes = np.arange(min(n, int(n * p + 100)) + 1)
    found = distribution_of(
        lambda w: stream._binomial_expansion(np.full(w.shape, float(n)), np.full(w.shape, p), w), outcomes
    )
    assert total_variation(found, stats.binom.pmf(outcomes, n, p)) < 1e-5


def test_counts_at_their_limits():
    u = np.array([2.0**-53, 0.5, 1.0 - 2.0**-53])
    np.testing.assert_array_equal(poisson(np.array(0.0), u), np.zeros(3))
    np.testing.assert_array_equal(binomial(np.array(0.0), np.array(0.3), u), np.zeros(3))
    np.testing.assert_array_equal(binomial(np.array(9.0), np.array(0.0), u), np.zeros(3))
    np.testing.assert_array_equal(binomial(np.array(9.0), np.array(1.0), u), np.full(3, 9.0))
    np.testing.assert_array_equal(binomial(np.array(2.0), np.array(0.5), u), [0.0, 1.0, 2.0])


@pytest.mark.parametrize("mean", [3.0, 29.0, 31.0, 400.0])
def test_counts_rise_with_the_uniform(mean):
    u = np.sort(
        np.concatenate(
            [spread_uniforms(5000), np.geomspace(2.0**-53, 0.5, 100), 1.0 - np.geomspace(2.0**-53, 0.5, 100)]
        )
    )
    assert (np.diff(poisson(np.array(mean), u)) >= 0.0).all()
    for p in (0.03, 0.4, 0.6):
        assert (np.diff(binomial(np.floor(mean / np.array(p)), np.array(p), u)) >= 0.0).all()


@pytest.mark.parametrize("shape", [0.3, 0.99, 1.0, 2.1, 40.0])
def test_gamma_draws_follow_their_law(shape):
    drawn = gamma(np.full(20_000, shape), cells(20_000), Purpose.ORDERS)
    assert stats.kstest(drawn, stats.gamma(shape).cdf).pvalue > 0.01


def test_normal_quantiles_of_uniforms_are_normal():
    assert stats.kstest(ndtri(spread_uniforms(50_000)), "norm").pvalue > 0.01


def test_a_draw_does_not_depend_on_the_others():
    many, rng = 400, np.random.default_rng(0)
    mean, n, p = rng.uniform(0.0, 60.0, many), np.floor(rng.uniform(0.0, 400.0, many)), rng.random(many)
    shape, place = rng.uniform(0.2, 9.0, many), Cells(3, np.arange(many), np.array(2), np.array(1))

    def drawn(index: np.ndarray) -> list[np.ndarray]:
        some = place.take(index)
        u, v = some.uniforms(Purpose.CLICKS)
        return [poisson(mean[index], u), binomial(n[index], p[index], v), gamma(shape[index], some, Purpose.ORDERS)]

    whole = drawn(np.arange(many))
    for index in (np.array([17]), np.arange(0, many, 7), np.arange(many)[::-1]):
        for alone, all_ in zip(drawn(index), whole, strict=True):
            np.testing.assert_array_equal(alone, all_[index])


def test_bits_of_samplers_are_the_same_on_every_processor():
    many = 3000
    place = Cells(2**63 + 12345, np.arange(many), np.array(100), np.array(6))
    u, v = place.uniforms(Purpose.CLICKS)
    spread = np.arange(many) / 50.0
    draws = [
        u,
        v,
        poisson(spread, u),
        binomial(np.arange(float(many)), v, u),
        gamma(spread + 0.1, place, Purpose.ORDERS),
    ]
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(drawn, "<f8").tobytes() for drawn in draws)).hexdigest()
    assert digest[:16] == "5d1e4fede9688276"
