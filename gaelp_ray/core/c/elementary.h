/* market/elementary.py */

#pragma once

#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline))

typedef int64_t Int;
typedef uint64_t Word; /* holds 32 bits, so that products of two keep all of theirs */

#define BLOCK 512 /* cells worked on at once: their intermediate results stay in the first-level cache */

static const double MAGIC = 6755399441055744.0;
static const double LN2_HIGH = 6.93147180369123816490e-01, LN2_LOW = 1.90821492927058770002e-10;
static const double SMALLEST = 2.2250738585072014e-308;
static const Int SQRT_HALF_BITS = 0x3FE6A09E667F3BCD;

INLINE Int bits(double x) {
    union { double number; Int bits; } both = {.number = x};
    return both.bits;
}

INLINE double number(Int x) {
    union { Int bits; double number; } both = {.bits = x};
    return both.number;
}

/* The smaller, the larger; NaN in x stays NaN. */
INLINE double least(double x, double limit) { return x > limit ? limit : x; }
INLINE double most(double x, double limit) { return x < limit ? limit : x; }

/* Whole numbers from -2^51 to 2^51 as one kind or the other, without the instructions, which few processors have for
 * several at once. */
INLINE double real(Int count) { return number(bits(MAGIC) + count) - MAGIC; }
INLINE Int whole(double count) { return bits(count + MAGIC) - bits(MAGIC); }

INLINE Int shift_left(Int x, int places) { return (Int)((uint64_t)x << places); }

/* Horner's scheme for `value` at x, highest power first. */
#define TERM(c) value = value * x + (c)

INLINE double exp_(double x) {
    x = least(most(x, -708.0), 709.0);
    double shifted = x * 1.44269504088896338700 + MAGIC, n = shifted - MAGIC;
    double high = x - n * LN2_HIGH, low = n * LN2_LOW, r = high - low;
    x = r * r;
    double value = 4.13813679705723846039e-08 * x + -1.65339022054652515390e-06;
    TERM(6.61375632143793436117e-05);
    TERM(-2.77777777770155933842e-03);
    TERM(1.66666666666666019037e-01);
    double c = r - x * value, mantissa = 1.0 - ((low - (r * c) / (2.0 - c)) - high);
    return mantissa * number(shift_left(bits(shifted) + 1023, 52));
}

INLINE double log_(double x) {
    x = most(x, SMALLEST);
    Int b = bits(x), exponent = (b - SQRT_HALF_BITS) >> 52;
    double f = number(b - shift_left(exponent, 52)) - 1.0;
    double k = real(exponent);
    double s = f / (2.0 + f), z = s * s, w = z * z;
    double odd = ((1.479819860511658591e-01 * w + 1.818357216161805012e-01) * w + 2.857142874366239149e-01) * w
                 + 6.666666666666735130e-01;
    double even = (1.531383769920937332e-01 * w + 2.222219843214978396e-01) * w + 3.999999999940941908e-01;
    double r = z * odd + w * even, half = (0.5 * f) * f;
    return k * LN2_HIGH - ((half - (s * (half + r) + k * LN2_LOW)) - f);
}

INLINE double mills(double x) {
    double value = 1.3748538540746624001e-6 * x + 0.00003701117644354796902, numerator;
    TERM(0.00048774650578918953532);
    TERM(0.0040708677462073688162);
    TERM(0.023535665759609207816);
    TERM(0.097415602962169412595);
    TERM(0.28870089076858145658);
    TERM(0.59316237177965336327);
    TERM(0.77426425872109074308);
    TERM(0.5);
    numerator = value;
    value = 3.4462475441202152588e-6 * x + 0.000092773261348451943687;
    TERM(0.0012260454300202349108);
    TERM(0.010296925444470394122);
    TERM(0.060210872387540917838);
    TERM(0.25420329828269460671);
    TERM(0.78025049683901876186);
    TERM(1.7115376390143635014);
    TERM(2.5584915119572477677);
    TERM(2.3464130782450375685);
    TERM(1.0);
    return numerator / value;
}

INLINE double ndtr_(double z) {
    double y = least(__builtin_fabs(z), 37.0), tail = exp_((-0.5 * y) * y) * mills(y);
    return z > 0.0 ? 1.0 - tail : tail;
}

/* ndtri() of [0.075, 0.925], with q = p - 1/2. */
INLINE double ndtri_centre(double q) {
    double x = 0.180625 - q * q, value = 2509.0809287301226727 * x + 33430.575583588128105, numerator;
    TERM(67265.770927008700853);
    TERM(45921.953931549871457);
    TERM(13731.693765509461125);
    TERM(1971.5909503065514427);
    TERM(133.14166789178437745);
    TERM(3.387132872796366608);
    numerator = value;
    value = 5226.495278852854561 * x + 28729.085735721942674;
    TERM(39307.89580009271061);
    TERM(21213.794301586595867);
    TERM(5394.1960214247511077);
    TERM(687.1870074920579083);
    TERM(42.313330701600911252);
    TERM(1.0);
    return q * numerator / value;
}

/* Of r = sqrt(-log(p)) <= 5, p the smaller tail. */
INLINE double ndtri_tail(double r) {
    double x = r - 1.6, value = 7.7454501427834140764e-4 * x + 0.0227238449892691845833, numerator;
    TERM(0.24178072517745061177);
    TERM(1.27045825245236838258);
    TERM(3.64784832476320460504);
    TERM(5.7694972214606914055);
    TERM(4.6303378461565452959);
    TERM(1.42343711074968357734);
    numerator = value;
    value = 1.05075007164441684324e-9 * x + 5.475938084995344946e-4;
    TERM(0.0151986665636164571966);
    TERM(0.14810397642748007459);
    TERM(0.68976733498510000455);
    TERM(1.6763848301838038494);
    TERM(2.05319162663775882187);
    TERM(1.0);
    return numerator / value;
}

/* The same of r > 5. */
INLINE double ndtri_far(double r) {
    double x = r - 5.0, value = 2.01033439929228813265e-7 * x + 2.71155556874348757815e-5, numerator;
    TERM(0.0012426609473880784386);
    TERM(0.026532189526576123093);
    TERM(0.29656057182848504891);
    TERM(1.7848265399172913358);
    TERM(5.4637849111641143699);
    TERM(6.6579046435011037772);
    numerator = value;
    value = 2.04426310338993978564e-15 * x + 1.4215117583164458887e-7;
    TERM(1.8463183175100546818e-5);
    TERM(7.868691311456132591e-4);
    TERM(0.0148753612908506148525);
    TERM(0.13692988092273580531);
    TERM(0.59983220655588793769);
    TERM(1.0);
    return numerator / value;
}

/* Whether ndtri() takes the centre's formula, which it does for NaN, too. */
INLINE int in_centre(double q) { return !(__builtin_fabs(q) > 0.425); }

EXPORT void gaelp_exp(Int n, const double *restrict x, double *restrict y) {
    for (Int i = 0; i < n; i++) y[i] = exp_(x[i]);
}

EXPORT void gaelp_log(Int n, const double *restrict x, double *restrict y) {
    for (Int i = 0; i < n; i++) y[i] = log_(x[i]);
}

EXPORT void gaelp_ndtr(Int n, const double *restrict x, double *restrict y) {
    for (Int i = 0; i < n; i++) y[i] = ndtr_(x[i]);
}

/* Of a block: the centre for all, then the tails, gathered. */
static void ndtri_block(Int n, const double *restrict p, double *restrict x) {
    Int outer = 0, place[BLOCK], outside[BLOCK];
    double tail[BLOCK], r[BLOCK];
    for (Int i = 0; i < n; i++) {
        x[i] = ndtri_centre(p[i] - 0.5);
        outside[i] = !in_centre(p[i] - 0.5);
    }
    /* Integers alone: compilers make a branch of a choice between numbers. */
    for (Int i = 0; i < n; i++) {
        place[outer] = i;
        outer += outside[i];
    }
    for (Int j = 0; j < outer; j++) r[j] = p[place[j]];
    for (Int j = 0; j < outer; j++) {
        r[j] = __builtin_sqrt(-log_(r[j] < 0.5 ? r[j] : 1.0 - r[j]));
        tail[j] = ndtri_tail(r[j]);
    }
    for (Int j = 0; j < outer; j++) {
        double value = r[j] <= 5.0 ? tail[j] : ndtri_far(r[j]);
        x[place[j]] = p[place[j]] < 0.5 ? -value : value;
    }
}

EXPORT void gaelp_ndtri(Int n, const double *restrict p, double *restrict x) {
    for (Int i = 0; i < n; i += BLOCK) ndtri_block(n - i < BLOCK ? n - i : BLOCK, p + i, x + i);
}
