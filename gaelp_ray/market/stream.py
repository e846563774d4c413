"""Random numbers that are functions of a key: what a cell draws does not depend on what is drawn for any other.

Every random number belongs to (seed, flight, hour, channel, purpose, attempt). Philox4x32-10 turns this key into two
uniforms; samplers turn uniforms into draws, by inverse distribution functions wherever that is possible, so that a
small change of a parameter changes a draw little or not at all. Bidders that are compared on one seed so share all
luck, whatever they bid. Built on elementary.py: the same bits everywhere. Where the
core is compiled, C draws them.

Layout of a key: the 64-bit seed is Philox's key, low word first. Its counter is the four words (flight,
hour x 2^16 + channel, purpose, attempt).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from gaelp_ray.core.functions import array_functions, compiled
from gaelp_ray.market.elementary import exp, log, ndtri
from gaelp_ray.records import FloatArray

Word = npt.NDArray[np.uint64]
"""32-bit words, each in a uint64, so that products of two keep all of their bits."""

STREAM: Final = 2
"""Version of the random numbers: sweeps and models record it, as numbers of different versions cannot be compared."""

FIRST_STREAM: Final = 1
"""The stream of sweeps, trainings and models that name none."""


class Purpose(IntEnum):
    """What a random number decides. The two uniforms of a block are named in order."""

    BUDGET = 0  # budget, -
    RATES = 1  # click-through rate, conversion rate
    VOLUME = 2  # volume, -
    LEVELS = 3  # price level, drift of the conversion rate; every hour
    TRAFFIC = 4  # noise of the hour, noise of the day (of the block of its first hour)
    CLICKS = 5  # clicks that convert, clicks that do not
    REST = 6  # cost of all clicks, won impressions without a click
    CLICK = 7  # price, time; one attempt for each click
    REPORTED = 8  # conversions reported in this hour, -
    ORDERS = 9  # normal, acceptance; one attempt for each proposal


WALK = 30.0
"""Mean (Poisson) or variance (binomial) from which on an expansion takes the place of a sum of probabilities."""

LONGEST_WALK = 120
"""Steps at most: from a mean of 30, this many have a chance of 1e-32, but a sum of doubles may end below 1 - 2^-53."""

BOOST = 2**32 - 1
"""Attempt whose first uniform lifts a gamma of shape + 1 to one of shape."""

_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10

_TWO_52 = 2.0**-52


def philox(counter: tuple[Word, Word, Word, Word], seed: int) -> tuple[Word, Word, Word, Word]:
    """Philox4x32-10: four random words for each counter of four words and a 64-bit key.

    Salmon, Moraes, Dror & Shaw (2011), Parallel random numbers: as easy as 1, 2, 3.
    """
    a, b, c, d = counter
    low, high = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(ROUNDS):
        first, second = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a, b, c, d = (
            (second >> _32) ^ b ^ np.uint64(low),
            second & _LOW,
            (first >> _32) ^ d ^ np.uint64(high),
            first & _LOW,
        )
        low, high = (low + _WEYL[0]) & 0xFFFFFFFF, (high + _WEYL[1]) & 0xFFFFFFFF
    return a, b, c, d


def uniform(high: Word, low: Word) -> FloatArray:
    """(m + 1/2) / 2^52 with m the 52 bits of `high` and the upper 20 of `low`: within (0, 1), never 0 or 1."""
    bits = (high << np.uint64(20)) | (low >> np.uint64(12))
    value: FloatArray = (bits.astype(np.float64) + 0.5) * _TWO_52
    return value


@dataclass(frozen=True)
class Cells:
    """Where random numbers are wanted: a seed, and arrays of flight, hour and channel that broadcast to one shape.

    Flights lie in 0..2^32 - 1, hours and channels in 0..2^16 - 1, the seed in 0..2^64 - 1.
    """

    seed: int
    flight: npt.NDArray[np.integer]
    hour: npt.NDArray[np.integer]
    channel: npt.NDArray[np.integer]

    def words(self) -> tuple[Word, Word]:
        """The first two words of their counters, which broadcast: flight, hour x 2^16 + channel."""
        flight, hour, channel = (np.asarray(word).astype(np.uint64) for word in (self.flight, self.hour, self.channel))
        return flight, hour * np.uint64(2**16) + channel

    def uniforms(self, purpose: Purpose, attempt: npt.NDArray[np.integer] | int = 0) -> tuple[FloatArray, FloatArray]:
        """Two uniforms for each cell (and attempt, which broadcasts with the cells)."""
        flight, place = self.words()
        number = np.asarray(attempt).astype(np.uint64)
        if functions := array_functions():
            return functions.uniforms(self.seed, (flight, place), purpose, number)
        counter = np.broadcast_arrays(flight, place, np.uint64(purpose), number)
        w = philox((counter[0], counter[1], counter[2], counter[3]), self.seed)
        return uniform(w[0], w[1]), uniform(w[2], w[3])

    def at(
        self, *, hour: npt.NDArray[np.integer] | None = None, channel: npt.NDArray[np.integer] | None = None
    ) -> Cells:
        """The same flights at other hours or on other channels."""
        return replace(
            self,
            hour=self.hour if hour is None else hour,
            channel=self.channel if channel is None else channel,
        )

    def take(self, index: npt.NDArray[np.intp]) -> Cells:
        """The cells at these indices of the flattened shape."""
        flight, hour, channel = (
            a.reshape(-1)[index] for a in np.broadcast_arrays(self.flight, self.hour, self.channel)
        )
        return Cells(self.seed, flight, hour, channel)


@compiled
def poisson(mean: FloatArray, u: FloatArray) -> FloatArray:
    """Poisson draws at these uniforms: whole numbers as float64, rising with u.

    Below a mean of WALK the smallest k with P(X <= k) >= u, from sums of probabilities. Above, the expansion of that k
    in powers of mean^-1/2 (Giles 2016, Algorithm 955: Approximation of the inverse Poisson cumulative distribution
    function, Q_N2), at most 1.5e-5 of total variation from the exact law.
    """
    mean, u = np.broadcast_arrays(mean, u)
    k = np.zeros(mean.shape)
    far = np.nonzero(mean >= WALK)
    if far[0].size:
        k[far] = _poisson_expansion(mean[far], ndtri(u[far]))
    p = exp(-np.minimum(mean, WALK))
    walking = np.nonzero((mean < WALK) & (u > p))
    if walking[0].size:
        k[walking] = _poisson_walk(mean[walking], u[walking], p[walking])
    return k


def _poisson_walk(mean: FloatArray, u: FloatArray, p: FloatArray) -> FloatArray:
    """The smallest k > 0 with P(X <= k) >= u, with p = P(X = 0) < u, (N,)."""
    k, total = np.zeros_like(u), p.copy()
    active = np.arange(len(u))
    for step in range(1, LONGEST_WALK + 1):
        p = p * mean / float(step)
        total = total + p
        k[active] = step
        more = u > total
        if not more.any():
            break
        active, mean, u, p, total = active[more], mean[more], u[more], p[more], total[more]
    return k


def _poisson_expansion(mean: FloatArray, w: FloatArray) -> FloatArray:
    """Giles' Q_N2 at the normal quantile w."""
    root, square = np.sqrt(mean), w * w
    x = mean + root * w + (1.0 / 3.0 + square * (1.0 / 6.0))
    x = x - w * (1.0 / 36.0 + square * (1.0 / 72.0)) / root
    x = x + (-8.0 / 405.0 + square * (7.0 / 810.0 + square * (1.0 / 270.0))) / mean
    return np.floor(np.maximum(x, 0.0))


@compiled
def binomial(n: FloatArray, p: FloatArray, u: FloatArray) -> FloatArray:
    """Binomial draws at these uniforms: whole numbers as float64, rising with u; `n` are whole numbers >= 0.

    Below a variance of WALK the smallest k with P(X <= k) >= u, from sums of probabilities (for p > 1/2, n minus the
    draw of the failures at 1 - u). Above, a Cornish-Fisher expansion of third order, at most 1e-5 of total variation
    from the exact law.
    """
    n, p, u = np.broadcast_arrays(n, p, u)
    flip = p > 0.5
    rare, chance = np.where(flip, 1.0 - p, p), np.where(flip, 1.0 - u, u)
    k = np.zeros(n.shape)
    variance = n * rare * (1.0 - rare)
    far = np.nonzero(variance >= WALK)
    if far[0].size:
        k[far] = _binomial_expansion(n[far], rare[far], ndtri(chance[far]))
    walking = np.nonzero((variance < WALK) & (n > 0.0) & (rare > 0.0))
    if walking[0].size:
        k[walking] = _binomial_walk(n[walking], rare[walking], chance[walking])
    return np.where(flip, n - k, k)


def _binomial_walk(n: FloatArray, p: FloatArray, u: FloatArray) -> FloatArray:
    """The smallest k with P(X <= k) >= u, 0 < p <= 1/2, (N,)."""
    q = 1.0 - p
    odds, mass = p / q, exp(n * log(q))
    k, total = np.zeros_like(u), mass.copy()
    active = np.nonzero(u > total)[0]
    n, odds, u, mass, total = n[active], odds[active], u[active], mass[active], total[active]
    step = 0
    while active.size and step < LONGEST_WALK:
        step += 1
        mass = mass * odds * (n - float(step - 1)) / float(step)
        total = total + mass
        k[active] = step
        more = (u > total) & (step < n)
        active, n, odds, u, mass, total = (a[more] for a in (active, n, odds, u, mass, total))
    return k


def _binomial_expansion(n: FloatArray, p: FloatArray, w: FloatArray) -> FloatArray:
    """Cornish-Fisher at the normal quantile w, p <= 1/2.

    Of the smooth density whose integrals over [k - 1/2, k + 1/2] are the probabilities: its cumulants are the
    binomial's, but for Sheppard's corrections -1/12 of the second and 1/120 of the fourth.
    """
    q = 1.0 - p
    pq, skew = p * q, q - p
    npq = n * pq
    variance = npq - 1.0 / 12.0
    sd = np.sqrt(variance)
    k3 = npq * skew / (variance * sd)
    k4 = (npq * (1.0 - 6.0 * pq) + 1.0 / 120.0) / (variance * variance)
    k5 = npq * skew * (1.0 - 12.0 * pq) / (variance * variance * sd)
    s = w * w
    x = w + k3 * (s - 1.0) / 6.0
    x = x + (k4 * (w * (s - 3.0)) / 24.0 - k3 * k3 * (w * (2.0 * s - 5.0)) / 36.0)
    x = x + (
        k5 * (s * (s - 6.0) + 3.0) / 120.0
        - k3 * k4 * (s * (s - 5.0) + 2.0) / 24.0
        + k3 * k3 * k3 * (s * (12.0 * s - 53.0) + 17.0) / 324.0
    )
    return np.minimum(np.floor(np.maximum(n * p + sd * x + 0.5, 0.0)), n)


def gamma(shape: FloatArray, cells: Cells, purpose: Purpose) -> FloatArray:
    """Gamma draws of these shapes, > 0, and scale 1; in the shape of `shape`, which equals the cells' shape.

    Marsaglia & Tsang (2000), A simple method for generating gamma variables: attempt after attempt of each cell until
    its proposal is accepted. For shapes below 1, the draw of shape + 1 times U^(1 / shape).
    """
    if functions := array_functions():
        return functions.gamma(shape, cells.seed, cells.words(), purpose)
    flat = shape.reshape(-1)
    low = flat < 1.0
    d = np.where(low, flat + 1.0, flat) - 1.0 / 3.0
    drawn = _marsaglia_tsang(d, cells.take(np.arange(flat.size)), purpose)
    if low.any():
        index = np.nonzero(low)[0]
        u = cells.take(index).uniforms(purpose, BOOST)[0]
        drawn[index] = drawn[index] * exp(log(u) / flat[index])
    return drawn.reshape(shape.shape)


def _marsaglia_tsang(d: FloatArray, cells: Cells, purpose: Purpose) -> FloatArray:
    """Gamma draws of shape d + 1/3 >= 1, (N,)."""
    drawn = np.empty_like(d)
    active, attempt = np.arange(d.size), 0
    c = 1.0 / np.sqrt(9.0 * d)
    while active.size:
        u, accept = cells.uniforms(purpose, attempt)
        z = ndtri(u)
        root = 1.0 + c * z
        v = root * root * root
        s = z * z
        bound = 0.5 * s + d * (1.0 - v + log(v))
        accepted = (root > 0.0) & ((accept < 1.0 - 0.0331 * (s * s)) | (log(accept) < bound))
        drawn[active[accepted]] = d[accepted] * v[accepted]
        left = np.nonzero(~accepted)[0]
        active, d, c, cells = active[left], d[left], c[left], cells.take(left)
        attempt += 1
    return drawn
