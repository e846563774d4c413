/* The hot arithmetic of the market: the same numbers, bit for bit, as market/elementary.py and market/stream.py, which
 * define and explain it. Names are theirs.
 *
 * Only + - * /, square roots, comparisons and integers, each rounded by itself (-ffp-contract=off): no call of the C
 * library, whose functions differ between machines in their last bits, and no instruction of a single processor. The
 * compiler vectorises the loops; build_backend.py compiles this file once for each instruction set.
 *
 * Loops over cells that branch (a walk along probabilities, a rejected proposal) come after a loop without branches
 * over the same block, which does the part that all cells share.
 */

#include <stdint.h>

#define ABI_VERSION 1
#define EXPORT __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline))

typedef int64_t Int;
typedef uint64_t Word; /* holds 32 bits, so that products of two keep all of theirs */

/* library.py compares both before it calls anything else. */
EXPORT Int gaelp_abi(void) { return ABI_VERSION; }
EXPORT const char *gaelp_source(void) { return SOURCE_SHA256; }

/* ---- elementary.py ---- */

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

INLINE Int shift_left(Int x, int places) { return (Int)((uint64_t)x << places); }

/* Horner's scheme, highest power first. */
#define TERM(c) value = value * x + (c)

INLINE double exp_(double x) {
    x = least(most(x, -708.0), 709.0);
    double shifted = x * 1.44269504088896338700 + MAGIC, n = shifted - MAGIC;
    double high = x - n * LN2_HIGH, low = n * LN2_LOW, r = high - low, square = r * r, value;
    {
        double x = square;
        value = 4.13813679705723846039e-08 * x + -1.65339022054652515390e-06;
        TERM(6.61375632143793436117e-05);
        TERM(-2.77777777770155933842e-03);
        TERM(1.66666666666666019037e-01);
    }
    double c = r - square * value, mantissa = 1.0 - ((low - (r * c) / (2.0 - c)) - high);
    return mantissa * number(shift_left(bits(shifted) + 1023, 52));
}

INLINE double log_(double x) {
    x = most(x, SMALLEST);
    Int b = bits(x), exponent = (b - SQRT_HALF_BITS) >> 52;
    double f = number(b - shift_left(exponent, 52)) - 1.0;
    /* As a conversion of the exponent, which few processors can do for several numbers at once. */
    double k = number(bits(MAGIC) + exponent) - MAGIC;
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

static double ndtri_(double p) {
    double q = p - 0.5;
    if (in_centre(q)) return ndtri_centre(q);
    double r = __builtin_sqrt(-log_(q < 0.0 ? p : 1.0 - p)), x = r <= 5.0 ? ndtri_tail(r) : ndtri_far(r);
    return q < 0.0 ? -x : x;
}

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
    Int outer = 0, place[BLOCK];
    double tail[BLOCK], r[BLOCK];
    for (Int i = 0; i < n; i++) x[i] = ndtri_centre(p[i] - 0.5);
    for (Int i = 0; i < n; i++) {
        place[outer] = i;
        tail[outer] = p[i] < 0.5 ? p[i] : 1.0 - p[i];
        outer += !in_centre(p[i] - 0.5);
    }
    for (Int j = 0; j < outer; j++) {
        r[j] = __builtin_sqrt(-log_(tail[j]));
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

/* ---- stream.py ---- */

enum { LONGEST_WALK = 120 };
static const double WALK = 30.0;
static const Word BOOST = 0xFFFFFFFF;

/* Where random numbers are wanted: a seed, and for each cell its flight and hour x 2^16 + channel. */
typedef struct {
    uint64_t seed;
    const Word *flight, *place;
} Cells;

/* How a loop holds the 32-bit words of Philox: gcc multiplies two of them as such where the processor has no product of
 * 64 bits for several numbers at once. */
#if defined(__clang__) || defined(__AVX512DQ__)
typedef uint64_t Lane;
#else
typedef uint32_t Lane;
#endif

#define ROUND                                                                                                          \
    {                                                                                                                  \
        Word first = (Word)(uint32_t)a * 0xD2511F53u, second = (Word)(uint32_t)c * 0xCD9E8D57u;                        \
        a = (Lane)(second >> 32) ^ b ^ low;                                                                            \
        b = (uint32_t)second;                                                                                          \
        c = (Lane)(first >> 32) ^ d ^ high;                                                                            \
        d = (uint32_t)first;                                                                                           \
        low = (uint32_t)(low + 0x9E3779B9u);                                                                           \
        high = (uint32_t)(high + 0xBB67AE85u);                                                                         \
    }

INLINE double uniform(Word high, Word low) {
    /* The 52 bits as those of a number in [1, 2): a conversion without an instruction for it. */
    return number((Int)((high << 20 | low >> 12) | 0x3FF0000000000000)) - (1.0 - 1.1102230246251565e-16);
}

/* The two uniforms of a key, by Philox4x32-10. */
INLINE void philox(uint64_t seed, Lane a, Lane b, Lane c, Lane d, double *u, double *v) {
    Lane low = (uint32_t)seed, high = (Lane)(seed >> 32);
    ROUND ROUND ROUND ROUND ROUND ROUND ROUND ROUND ROUND ROUND
    *u = uniform(a, b);
    *v = uniform(c, d);
}

static void uniforms_block(Int n, Cells cells, Word purpose, Word attempt, double *restrict u, double *restrict v) {
    for (Int i = 0; i < n; i++) philox(cells.seed, cells.flight[i], cells.place[i], purpose, attempt, u + i, v + i);
}

/* Walks along probabilities take several cells at once. The loop ends with the longest of them, which compilers do not
 * vectorise by themselves; GNU C's vectors, of the width of a register, say how. */
#if defined(__AVX512F__)
enum { WIDTH = 8 };
#elif defined(__AVX__)
enum { WIDTH = 4 };
#else
enum { WIDTH = 2 };
#endif
enum { LANES = 16, GROUPS = LANES / WIDTH, UNCHECKED = 4 };
typedef double Vector __attribute__((vector_size(8 * WIDTH), aligned(8), may_alias));
typedef Int Mask __attribute__((vector_size(8 * WIDTH)));

/* How many of the sums p_0, p_0 + p_1, ... lie below u, for LANES cells: p holds p_0, and `next` makes p_step of
 * p_(step - 1). A cell whose walk has ended is carried on without effect. Needs u, p, k and `next` by group g. */
#define COUNT_SUMS_BELOW(next)                                                                                         \
    Vector total[GROUPS];                                                                                              \
    Mask below[GROUPS];                                                                                                \
    for (int g = 0; g < GROUPS; g++) total[g] = p[g], below[g] = (Mask){0};                                            \
    for (Int step = 1, walking = 1; walking && step <= LONGEST_WALK;) {                                                \
        for (int part = 0; part < UNCHECKED; part++, step++) {                                                         \
            double number_of_step = (double)step;                                                                      \
            for (int g = 0; g < GROUPS; g++) {                                                                         \
                below[g] -= u[g] > total[g];                                                                           \
                p[g] = next;                                                                                           \
                total[g] = total[g] + p[g];                                                                            \
            }                                                                                                          \
        }                                                                                                              \
        Mask left = u[0] > total[0];                                                                                   \
        for (int g = 1; g < GROUPS; g++) left |= u[g] > total[g];                                                      \
        walking = 0;                                                                                                   \
        for (int l = 0; l < WIDTH; l++) walking |= left[l] != 0;                                                       \
    }                                                                                                                  \
    for (int l = 0; l < LANES; l++) k[l] = (double)below[l / WIDTH][l % WIDTH];

static void poisson_walk(const double *mean_, const double *u_, double *p_, double *k) {
    const Vector *mean = (const Vector *)mean_, *u = (const Vector *)u_;
    Vector *p = (Vector *)p_;
    COUNT_SUMS_BELOW(p[g] * mean[g] / number_of_step)
}

static void binomial_walk(const double *n_, const double *odds_, const double *u_, double *p_, double *k) {
    const Vector *n = (const Vector *)n_, *odds = (const Vector *)odds_, *u = (const Vector *)u_;
    Vector *p = (Vector *)p_;
    COUNT_SUMS_BELOW(p[g] * odds[g] * (n[g] - (number_of_step - 1.0)) / number_of_step)
}

INLINE double poisson_expansion(double mean, double w) {
    double root = __builtin_sqrt(mean), square = w * w, x = mean + root * w + (1.0 / 3.0 + square * (1.0 / 6.0));
    x = x - w * (1.0 / 36.0 + square * (1.0 / 72.0)) / root;
    x = x + (-8.0 / 405.0 + square * (7.0 / 810.0 + square * (1.0 / 270.0))) / mean;
    return __builtin_floor(most(x, 0.0));
}

INLINE double binomial_expansion(double n, double p, double w) {
    double q = 1.0 - p, pq = p * q, skew = q - p, npq = n * pq, variance = npq - 1.0 / 12.0;
    double sd = __builtin_sqrt(variance), k3 = npq * skew / (variance * sd);
    double k4 = (npq * (1.0 - 6.0 * pq) + 1.0 / 120.0) / (variance * variance);
    double k5 = npq * skew * (1.0 - 12.0 * pq) / (variance * variance * sd), s = w * w;
    double x = w + k3 * (s - 1.0) / 6.0;
    x = x + (k4 * (w * (s - 3.0)) / 24.0 - k3 * k3 * (w * (2.0 * s - 5.0)) / 36.0);
    x = x + (k5 * (s * (s - 6.0) + 3.0) / 120.0 - k3 * k4 * (s * (s - 5.0) + 2.0) / 24.0
             + k3 * k3 * k3 * (s * (12.0 * s - 53.0) + 17.0) / 324.0);
    return least(__builtin_floor(most(n * p + sd * x + 0.5, 0.0)), n);
}

static void poisson_block(Int n, const double *restrict mean, const double *restrict u, double *restrict k) {
    double none[BLOCK], m[BLOCK], p[BLOCK], v[BLOCK], drawn[BLOCK];
    Int place[BLOCK], walks = 0, far = 0;
    for (Int i = 0; i < n; i++) none[i] = exp_(-least(mean[i], WALK)), k[i] = 0.0;
    for (Int i = 0; i < n; i++) {
        place[walks] = i;
        walks += (mean[i] < WALK) & (u[i] > none[i]);
    }
    for (Int j = 0; j < walks; j++) m[j] = mean[place[j]], v[j] = u[place[j]], p[j] = none[place[j]];
    for (Int j = walks; j % LANES; j++) m[j] = v[j] = p[j] = 0.0;
    for (Int j = 0; j < walks; j += LANES) poisson_walk(m + j, v + j, p + j, drawn + j);
    for (Int j = 0; j < walks; j++) k[place[j]] = drawn[j];
    for (Int i = 0; i < n; i++) {
        place[far] = i;
        far += mean[i] >= WALK;
    }
    for (Int j = 0; j < far; j++) m[j] = mean[place[j]], v[j] = u[place[j]];
    ndtri_block(far, v, p);
    for (Int j = 0; j < far; j++) drawn[j] = poisson_expansion(m[j], p[j]);
    for (Int j = 0; j < far; j++) k[place[j]] = drawn[j];
}

static void binomial_block(Int n, const double *restrict number_, const double *restrict chance,
                           const double *restrict u, double *restrict k) {
    double rare[BLOCK], v[BLOCK], m[BLOCK], odds[BLOCK], p[BLOCK], q[BLOCK], drawn[BLOCK];
    Int place[BLOCK], walks = 0, far = 0;
    for (Int i = 0; i < n; i++) {
        rare[i] = chance[i] > 0.5 ? 1.0 - chance[i] : chance[i];
        v[i] = chance[i] > 0.5 ? 1.0 - u[i] : u[i];
        k[i] = 0.0;
    }
    for (Int i = 0; i < n; i++) {
        place[walks] = i;
        walks += (number_[i] * rare[i] * (1.0 - rare[i]) < WALK) & (number_[i] > 0.0) & (rare[i] > 0.0);
    }
    for (Int j = 0; j < walks; j++) m[j] = number_[place[j]], p[j] = rare[place[j]], q[j] = v[place[j]];
    for (Int j = 0; j < walks; j++) odds[j] = p[j] / (1.0 - p[j]), p[j] = exp_(m[j] * log_(1.0 - p[j]));
    for (Int j = walks; j % LANES; j++) m[j] = odds[j] = q[j] = p[j] = 0.0;
    for (Int j = 0; j < walks; j += LANES) binomial_walk(m + j, odds + j, q + j, p + j, drawn + j);
    for (Int j = 0; j < walks; j++) k[place[j]] = least(drawn[j], m[j]);
    for (Int i = 0; i < n; i++) {
        place[far] = i;
        far += number_[i] * rare[i] * (1.0 - rare[i]) >= WALK;
    }
    for (Int j = 0; j < far; j++) m[j] = number_[place[j]], p[j] = rare[place[j]], q[j] = v[place[j]];
    ndtri_block(far, q, odds);
    for (Int j = 0; j < far; j++) drawn[j] = binomial_expansion(m[j], p[j], odds[j]);
    for (Int j = 0; j < far; j++) k[place[j]] = drawn[j];
    for (Int i = 0; i < n; i++) k[i] = chance[i] > 0.5 ? number_[i] - k[i] : k[i];
}

static void gamma_block(Int n, const double *restrict shape, Cells cells, Word purpose, double *restrict drawn) {
    double u[BLOCK], accept[BLOCK], z[BLOCK], d[BLOCK], c[BLOCK], v[BLOCK];
    Word flight[BLOCK], hour_channel[BLOCK], attempt = 0;
    Int place[BLOCK], left = n, accepted[BLOCK];
    for (Int i = 0; i < n; i++) {
        d[i] = (shape[i] < 1.0 ? shape[i] + 1.0 : shape[i]) - 1.0 / 3.0;
        c[i] = 1.0 / __builtin_sqrt(9.0 * d[i]);
        place[i] = i, flight[i] = cells.flight[i], hour_channel[i] = cells.place[i];
    }
    while (left) {
        Int rejected = 0;
        uniforms_block(left, (Cells){cells.seed, flight, hour_channel}, purpose, attempt++, u, accept);
        ndtri_block(left, u, z);
        for (Int j = 0; j < left; j++) {
            double root = 1.0 + c[j] * z[j], s = z[j] * z[j];
            v[j] = root * root * root;
            double bound = 0.5 * s + d[j] * (1.0 - v[j] + log_(v[j]));
            accepted[j] = (root > 0.0) & ((accept[j] < 1.0 - 0.0331 * (s * s)) | (log_(accept[j]) < bound));
        }
        for (Int j = 0; j < left; j++) {
            if (accepted[j]) {
                drawn[place[j]] = d[j] * v[j];
                continue;
            }
            place[rejected] = place[j], d[rejected] = d[j], c[rejected] = c[j];
            flight[rejected] = flight[j], hour_channel[rejected++] = hour_channel[j];
        }
        left = rejected;
    }
    for (Int i = 0; i < n; i++) {
        if (shape[i] < 1.0) {
            philox(cells.seed, cells.flight[i], cells.place[i], purpose, BOOST, u, accept);
            drawn[i] = drawn[i] * exp_(log_(u[0]) / shape[i]);
        }
    }
}

/* The same on arrays of any length. */
INLINE Int length(Int n, Int start) { return n - start < BLOCK ? n - start : BLOCK; }

EXPORT void gaelp_uniforms(Int n, uint64_t seed, const Word *flight, const Word *place, Word purpose,
                           const Word *attempt, double *restrict u, double *restrict v) {
    for (Int i = 0; i < n; i++)
        philox(seed, (Lane)flight[i], (Lane)place[i], (Lane)purpose, (Lane)attempt[i], u + i, v + i);
}

EXPORT void gaelp_poisson(Int n, const double *mean, const double *u, double *k) {
    for (Int i = 0; i < n; i += BLOCK) poisson_block(length(n, i), mean + i, u + i, k + i);
}

EXPORT void gaelp_binomial(Int n, const double *number_, const double *chance, const double *u, double *k) {
    for (Int i = 0; i < n; i += BLOCK) binomial_block(length(n, i), number_ + i, chance + i, u + i, k + i);
}

EXPORT void gaelp_gamma(Int n, uint64_t seed, const Word *flight, const Word *place, Word purpose, const double *shape,
                        double *drawn) {
    for (Int i = 0; i < n; i += BLOCK)
        gamma_block(length(n, i), shape + i, (Cells){seed, flight + i, place + i}, purpose, drawn + i);
}
