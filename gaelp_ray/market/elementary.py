"""exp, log and the normal distribution from + - * / sqrt, comparisons and bit operations only, in float64.

IEEE 754 fixes the result of each of these operations, so that these functions return the same bits on every processor
and in every language, where libm, SciPy and NumPy's own SIMD code do not. The order of operations is the definition: a
translation must keep it, and must not contract a product and a sum to a fused multiply-add.

All functions take arrays of any shape, element by element, of finite numbers. Where the core is compiled, C computes
them.
"""

from __future__ import annotations

import numpy as np

from gaelp_ray.core.functions import compiled
from gaelp_ray.records import FloatArray

SMALLEST = 2.2250738585072014e-308
"""The smallest normal number, 2^-1022; log() takes everything below it for it."""

EXP_RANGE = (-708.0, 709.0)
"""Arguments that exp() does not clip: the result is a finite normal number."""

NDTR_RANGE = 37.0
"""ndtr() takes a z further from 0 for this: Phi(-37) is 5.7e-300."""

_MAGIC = 6755399441055744.0
"""1.5 x 2^52: x + _MAGIC holds the integer nearest to x in its low bits."""

_LOG2_E = 1.44269504088896338700
# log 2 in two parts: n x _LN2_HIGH is exact for |n| < 2^20.
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10

_EXP = (
    4.13813679705723846039e-08,
    -1.65339022054652515390e-06,
    6.61375632143793436117e-05,
    -2.77777777770155933842e-03,
    1.66666666666666019037e-01,
)
"""r (exp(r) + 1) / (exp(r) - 1) - 2 as a polynomial in r^2, without the constant 0, highest power first."""

_LOG_EVEN = (1.531383769920937332e-01, 2.222219843214978396e-01, 3.999999999940941908e-01)
_LOG_ODD = (1.479819860511658591e-01, 1.818357216161805012e-01, 2.857142874366239149e-01, 6.666666666666735130e-01)
"""log((1 + s) / (1 - s)) / s - 2 as a polynomial in s^2: its odd and its even powers, in s^4, highest first."""

_SQRT_HALF_BITS = 0x3FE6A09E667F3BCD

_MILLS_NUMERATOR = (
    1.3748538540746624001e-6,
    0.00003701117644354796902,
    0.00048774650578918953532,
    0.0040708677462073688162,
    0.023535665759609207816,
    0.097415602962169412595,
    0.28870089076858145658,
    0.59316237177965336327,
    0.77426425872109074308,
    0.5,
)
_MILLS_DENOMINATOR = (
    3.4462475441202152588e-6,
    0.000092773261348451943687,
    0.0012260454300202349108,
    0.010296925444470394122,
    0.060210872387540917838,
    0.25420329828269460671,
    0.78025049683901876186,
    1.7115376390143635014,
    2.5584915119572477677,
    2.3464130782450375685,
    1.0,
)

_CENTRE_NUMERATOR = (
    2509.0809287301226727,
    33430.575583588128105,
    67265.770927008700853,
    45921.953931549871457,
    13731.693765509461125,
    1971.5909503065514427,
    133.14166789178437745,
    3.387132872796366608,
)
_CENTRE_DENOMINATOR = (
    5226.495278852854561,
    28729.085735721942674,
    39307.89580009271061,
    21213.794301586595867,
    5394.1960214247511077,
    687.1870074920579083,
    42.313330701600911252,
    1.0,
)
_TAIL_NUMERATOR = (
    7.7454501427834140764e-4,
    0.0227238449892691845833,
    0.24178072517745061177,
    1.27045825245236838258,
    3.64784832476320460504,
    5.7694972214606914055,
    4.6303378461565452959,
    1.42343711074968357734,
)
_TAIL_DENOMINATOR = (
    1.05075007164441684324e-9,
    5.475938084995344946e-4,
    0.0151986665636164571966,
    0.14810397642748007459,
    0.68976733498510000455,
    1.6763848301838038494,
    2.05319162663775882187,
    1.0,
)
_FAR_NUMERATOR = (
    2.01033439929228813265e-7,
    2.71155556874348757815e-5,
    0.0012426609473880784386,
    0.026532189526576123093,
    0.29656057182848504891,
    1.7848265399172913358,
    5.4637849111641143699,
    6.6579046435011037772,
)
_FAR_DENOMINATOR = (
    2.04426310338993978564e-15,
    1.4215117583164458887e-7,
    1.8463183175100546818e-5,
    7.868691311456132591e-4,
    0.0148753612908506148525,
    0.13692988092273580531,
    0.59983220655588793769,
    1.0,
)


@compiled
def exp(x: FloatArray) -> FloatArray:
    """e^x, of x clipped to EXP_RANGE; within 1 ulp.

    x = n log 2 + r with |r| <= log(2) / 2, and exp(r) = 1 + r + r c / (2 - c) with a polynomial c (FDLIBM, e_exp.c).
    """
    x = np.minimum(np.maximum(x, EXP_RANGE[0]), EXP_RANGE[1])
    shifted = x * _LOG2_E + _MAGIC
    n = shifted - _MAGIC
    high, low = x - n * _LN2_HIGH, n * _LN2_LOW
    r = high - low
    square = r * r
    c = r - square * _polynomial(_EXP, square)
    mantissa = 1.0 - ((low - (r * c) / (2.0 - c)) - high)
    # The bits of _MAGIC above the integer are shifted out.
    scale = ((_bits(shifted) + 1023) << 52).view(np.float64)
    product: FloatArray = mantissa * scale
    return product


@compiled
def log(x: FloatArray) -> FloatArray:
    """Natural logarithm of x, of SMALLEST where x is below it; within 1 ulp.

    x = 2^k (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), and log(1 + f) = f - f^2/2 + s (f^2/2 + R) with
    s = f / (2 + f) and a polynomial R (FDLIBM, e_log.c).
    """
    x = np.maximum(x, SMALLEST)
    bits = _bits(x)
    exponent = (bits - _SQRT_HALF_BITS) >> 52
    f = (bits - (exponent << 52)).view(np.float64) - 1.0
    k = exponent.astype(np.float64)
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    r = z * _polynomial(_LOG_ODD, w) + w * _polynomial(_LOG_EVEN, w)
    half = (0.5 * f) * f
    logarithm: FloatArray = k * _LN2_HIGH - ((half - (s * (half + r) + k * _LN2_LOW)) - f)
    return logarithm


@compiled
def ndtr(z: FloatArray) -> FloatArray:
    """Phi(z), the normal distribution function, of z clipped to +-NDTR_RANGE.

    exp(-z^2 / 2) times a rational function of |z|, fitted to Phi(-|z|) exp(z^2 / 2) on [0, 38] by Lawson's method, with
    a relative error of 5.7e-17. Its coefficients are positive, so that nothing cancels. The relative error of the lower
    tail is that of z^2 / 2 as a double: below 1e-15 for z > -3, 3e-15 at -8, 6e-14 at -37.
    """
    y = np.minimum(np.abs(z), NDTR_RANGE)
    tail = exp((-0.5 * y) * y) * (_polynomial(_MILLS_NUMERATOR, y) / _polynomial(_MILLS_DENOMINATOR, y))
    return np.where(z > 0.0, 1.0 - tail, tail)


def log_ndtr(z: FloatArray) -> FloatArray:
    """log Phi(z), also where Phi(z) is too small for a double: ndtr()'s factors, their logarithms added."""
    y = np.abs(z)
    ratio = _polynomial(_MILLS_NUMERATOR, y) / _polynomial(_MILLS_DENOMINATOR, y)
    return np.where(z > 0.0, log(ndtr(z)), (-0.5 * y) * y + log(ratio))


@compiled
def ndtri(p: FloatArray) -> FloatArray:
    """Phi^-1(p), the quantile of the normal distribution, 0 < p < 1; relative error below 2e-15 for p >= 2^-53.

    Wichura (1988), Algorithm AS 241, PPND16: three rational functions. Results for 0 and 1 are finite, +-37.5.
    """
    p = np.asarray(p, np.float64)
    q = p - 0.5
    r = 0.180625 - q * q
    x = np.asarray(q * _polynomial(_CENTRE_NUMERATOR, r) / _polynomial(_CENTRE_DENOMINATOR, r))
    outer = np.abs(q) > 0.425
    if outer.any():
        x[outer] = _ndtri_outer(p[outer], q[outer])
    return x


def _ndtri_outer(p: FloatArray, q: FloatArray) -> FloatArray:
    """ndtri() outside of [0.075, 0.925], with q = p - 1/2."""
    r = np.sqrt(-log(np.where(q < 0.0, p, 1.0 - p)))
    near, far = r - 1.6, r - 5.0
    x = np.where(
        r <= 5.0,
        _polynomial(_TAIL_NUMERATOR, near) / _polynomial(_TAIL_DENOMINATOR, near),
        _polynomial(_FAR_NUMERATOR, far) / _polynomial(_FAR_DENOMINATOR, far),
    )
    return np.where(q < 0.0, -x, x)


def total(x: FloatArray) -> FloatArray:
    """Sums over the channels, (B, S) -> (B,), in their order: np.sum adds in an order of its own."""
    added: FloatArray = x[:, 0]
    for s in range(1, x.shape[1]):
        added = added + x[:, s]
    return added


def _polynomial(coefficients: tuple[float, ...], x: FloatArray) -> FloatArray:
    """Horner's scheme, highest power first."""
    value = coefficients[0] * x + coefficients[1]
    for coefficient in coefficients[2:]:
        value = value * x + coefficient
    return value


def _bits(x: FloatArray) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.asarray(x, np.float64).view(np.int64)
