/* Hours of flights: the same numbers, bit for bit, as the modules that head the sections below, which define and
 * explain them. Names are theirs.
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

/* ---- keyed_auction.py, for lognormal prices in second-price auctions ---- */

enum { SINGLY = 3, CLICKS = 5, REST = 6, CLICK = 7, REPORTED = 8, ORDERS = 9 };
static const double LOG_RISK = -13.815510557964274;

/* One hour of B flights on S channels. Cells are in the order of flights, S each; arrays are per cell but where said.
 * hour.py has the same structure. */
typedef struct {
    Int cells, channels;
    uint64_t seed, hour;
    /* what is known of the hour */
    const Word *flight, *channel;
    const double *log_sd, *lift_1, *lift_2, *lift_3; /* lift_k is exp(k^2 log_sd^2 / 2) */
    const double *log_bid, *log_price, *volume, *ctr, *conversion_rate;
    const double *purse; /* per flight */
    const double *cap;   /* 0 without caps */
    /* what is drawn */
    double *bid, *win, *mean, *cost;
    double *scale, *variance, *skewness, *clicks, *sold, *rest, *rest_chance;
    uint8_t *may_run_out; /* per flight */
    /* what gaelp_book() needs of the hour, and what it draws */
    const Int *pending; /* 0 without */
    double report_rate, order_shape;
    const double *order_scale; /* mean value of an order / order_shape */
    Int *impressions, *served, *conversions, *still_pending; /* served: of the clicks */
    double *revenue;
} Hour;

/* Clearing.at() for n cells from `first` on. Loops write to arrays of this function alone: where more than a few arrays
 * might overlap, gcc does not vectorise. */
static void clear_block(const Hour *h, Int first, Int n) {
    const double *log_bid = h->log_bid + first, *log_price = h->log_price + first, *sd = h->log_sd + first;
    double bid[BLOCK], scale[BLOCK], z[BLOCK], win[BLOCK], paid[BLOCK], squares[BLOCK], cubes[BLOCK];
    double mean[BLOCK], variance[BLOCK], skewness[BLOCK];
    for (Int i = 0; i < n; i++) {
        bid[i] = exp_(log_bid[i]);
        scale[i] = exp_(log_price[i]);
        z[i] = (log_bid[i] - log_price[i]) / sd[i];
    }
    for (Int i = 0; i < n; i++) {
        win[i] = ndtr_(z[i]);
        paid[i] = h->lift_1[first + i] * ndtr_(z[i] - sd[i]);
        squares[i] = h->lift_2[first + i] * ndtr_(z[i] - 2.0 * sd[i]);
        cubes[i] = h->lift_3[first + i] * ndtr_(z[i] - 3.0 * sd[i]);
    }
    for (Int i = 0; i < n; i++) {
        double inverse = 1.0 / most(win[i], 1e-300), price = scale[i] * (paid[i] * inverse);
        double m = win[i] > 1e-12 ? price : bid[i], square = scale[i] * scale[i] * (squares[i] * inverse);
        double cube = scale[i] * scale[i] * scale[i] * (cubes[i] * inverse);
        double spread = square - m * m, floor = 1e-6 * (m * m), v = most(spread, floor);
        double third = cube - 3.0 * m * square + 2.0 * m * m * m;
        mean[i] = m, variance[i] = v;
        skewness[i] = spread > floor ? least(most(third / (v * __builtin_sqrt(v)), -2.0), 6.0) : 0.0;
    }
    for (Int i = 0; i < n; i++) {
        h->bid[first + i] = bid[i], h->scale[first + i] = scale[i], h->win[first + i] = win[i];
        h->mean[first + i] = mean[i], h->variance[first + i] = variance[i], h->skewness[first + i] = skewness[i];
    }
}

/* The prices of single clicks, added to the cost of cells with up to SINGLY of them. */
static void charge_singly(const Hour *h, Cells cells, Int first, Int n) {
    double u[BLOCK], v[BLOCK], x[BLOCK];
    Word flight[BLOCK], place[BLOCK];
    Int cell[BLOCK];
    for (Word number_ = 0; number_ < SINGLY; number_++) {
        Int found = 0;
        for (Int i = 0; i < n; i++) {
            double clicks = h->clicks[first + i];
            cell[found] = first + i, flight[found] = cells.flight[i], place[found] = cells.place[i];
            found += (clicks > (double)number_) & (clicks <= (double)SINGLY);
        }
        uniforms_block(found, (Cells){cells.seed, flight, place}, CLICK, number_, u, v);
        for (Int j = 0; j < found; j++) u[j] = u[j] * h->win[cell[j]];
        ndtri_block(found, u, x);
        for (Int j = 0; j < found; j++) v[j] = h->scale[cell[j]] * exp_(h->log_sd[cell[j]] * x[j]);
        for (Int j = 0; j < found; j++) h->cost[cell[j]] += least(v[j], h->bid[cell[j]]);
    }
}

/* Clicks, those that convert, and their cost, as if money did not run out, for n cells from `first` on. */
static void draw_block(const Hour *h, Int first, Int n) {
    double u[BLOCK], v[BLOCK], w[BLOCK], converting[BLOCK], unsold[BLOCK], more[BLOCK];
    Word place[BLOCK];
    double *restrict clicks = h->clicks + first, *restrict sold = h->sold + first, *restrict cost = h->cost + first;
    double *restrict rest = h->rest + first;
    for (Int i = 0; i < n; i++) place[i] = h->hour << 16 | h->channel[first + i];
    Cells cells = {h->seed, h->flight + first, place};
    for (Int i = 0, flight = first / h->channels, s = first % h->channels; i < n; i++) {
        int open = h->purse[flight] > 0.0 && (!h->cap || h->cap[first + i] > 0.0);
        v[i] = open ? 1.0 : 0.0;
        if (++s == h->channels) s = 0, flight++;
    }
    for (Int i = 0; i < n; i++) {
        double won = h->volume[first + i] * h->win[first + i] * v[i], clicked = won * h->ctr[first + i];
        converting[i] = clicked * h->conversion_rate[first + i];
        unsold[i] = clicked - converting[i];
        rest[i] = won - clicked;
    }
    uniforms_block(n, cells, CLICKS, 0, u, v);
    poisson_block(n, converting, u, sold);
    poisson_block(n, unsold, v, more);
    for (Int i = 0; i < n; i++) clicks[i] = sold[i] + more[i];
    uniforms_block(n, cells, REST, 0, u, h->rest_chance + first);
    ndtri_block(n, u, w);
    for (Int i = 0; i < n; i++) {
        double number_ = most(clicks[i], 1.0), bend = h->skewness[first + i] / (6.0 * __builtin_sqrt(number_));
        double deviation = (w[i] + bend * (w[i] * w[i] - 1.0)) / __builtin_sqrt(1.0 + 2.0 * (bend * bend));
        double total = number_ * h->mean[first + i] + __builtin_sqrt(number_ * h->variance[first + i]) * deviation;
        total = least(most(total, 0.0), number_ * h->bid[first + i]);
        cost[i] = clicks[i] > (double)SINGLY ? total : 0.0;
    }
    charge_singly(h, cells, first, n);
}

INLINE double upper_bound(double mean, double variance, double excess) {
    double scale = excess * (-LOG_RISK / 3.0);
    return mean + scale + __builtin_sqrt(scale * scale + variance * (-2.0 * LOG_RISK));
}

/* Whether a flight's clicks may cost more than a purse holds. */
static int may_run_out(const Hour *h, Int flight) {
    Int first = flight * h->channels;
    double bills = 0.0, mean = 0.0, variance = 0.0, cost = 0.0, largest = 0.0;
    int capped = 0;
    for (Int i = first; i < first + h->channels; i++) {
        double clicks = h->clicks[i], bill = clicks * h->bid[i], excess = clicks > 0.0 ? h->bid[i] - h->mean[i] : 0.0;
        bills += bill, mean += clicks * h->mean[i], variance += clicks * h->variance[i], cost += h->cost[i];
        largest = i > first ? most(excess, largest) : excess;
        if (h->cap) {
            double bound = upper_bound(clicks * h->mean[i], clicks * h->variance[i], excess);
            capped |= most(least(bill, bound), h->cost[i]) > h->cap[i];
        }
    }
    return capped | (most(least(bills, upper_bound(mean, variance, largest)), cost) > h->purse[flight]);
}

/* Everything of an hour as if money did not run out, and which flights it may run out for. Returns the most clicks that
 * one of these has. */
EXPORT Int gaelp_draw(const Hour *h) {
    double longest = 0.0;
    for (Int i = 0; i < h->cells; i += BLOCK) {
        clear_block(h, i, length(h->cells, i));
        draw_block(h, i, length(h->cells, i));
    }
    for (Int flight = 0; flight < h->cells / h->channels; flight++) {
        h->may_run_out[flight] = (uint8_t)may_run_out(h, flight);
        double clicks = 0.0;
        for (Int i = flight * h->channels; i < (flight + 1) * h->channels; i++) clicks += h->clicks[i];
        if (h->may_run_out[flight]) longest = most(clicks, longest);
    }
    return (Int)longest;
}

/* The clicks of a flight, one by one; `order` are their places in the other arrays, in order of time. */
typedef struct {
    Int number;
    double *time, *bill;
    Int *channel, *attempt, *order, *spare;
} Clicks;

/* Prices and times of all clicks of a flight. */
static void draw_clicks(const Hour *h, Int first, Clicks *all) {
    double u[BLOCK], x[BLOCK];
    all->number = 0;
    for (Int s = 0; s < h->channels; s++) {
        for (Int k = 0; k < (Int)h->clicks[first + s]; k++) {
            all->channel[all->number] = s;
            all->attempt[all->number++] = k;
        }
    }
    for (Int k = 0; k < all->number; k += BLOCK) {
        Int n = length(all->number, k), *channel = all->channel + k, *attempt = all->attempt + k;
        double *time = all->time + k, *bill = all->bill + k;
        for (Int j = 0; j < n; j++) {
            Word place = h->hour << 16 | (Word)channel[j];
            philox(h->seed, (Lane)h->flight[first], (Lane)place, CLICK, (Lane)attempt[j], u + j, time + j);
        }
        for (Int j = 0; j < n; j++) u[j] = u[j] * h->win[first + channel[j]];
        ndtri_block(n, u, x);
        for (Int j = 0; j < n; j++) {
            Int i = first + channel[j];
            bill[j] = least(h->scale[i] * exp_(h->log_sd[i] * x[j]), h->bid[i]);
            /* No click is billed more than a purse holds. */
            bill[j] = least(bill[j], h->purse[first / h->channels]);
            if (h->cap) bill[j] = least(bill[j], h->cap[i]);
        }
    }
}

/* Sort by time: clicks in runs of 1, 2, 4, ... are merged. */
static void sort_clicks(Clicks *all) {
    Int n = all->number;
    for (Int j = 0; j < n; j++) all->order[j] = j;
    for (Int run = 1; run < n; run *= 2) {
        for (Int start = 0; start < n; start += 2 * run) {
            Int left = start, middle = start + run < n ? start + run : n;
            Int right = middle, end = middle + run < n ? middle + run : n;
            for (Int j = start; j < end; j++) {
                int take_left = left < middle
                                && (right == end || all->time[all->order[left]] <= all->time[all->order[right]]);
                all->spare[j] = take_left ? all->order[left++] : all->order[right++];
            }
        }
        Int *sorted = all->spare;
        all->spare = all->order, all->order = sorted;
    }
}

/* Pay the clicks of a channel, or of all (-1), until a purse is empty. Returns the time when it is, 1 for never. */
static double pay(Clicks *all, Int channel, double purse) {
    double limit = purse * (1.0 - 1e-12), spent = 0.0, until = 1.0;
    for (Int k = 0; k < all->number; k++) {
        Int j = all->order[k], ours = channel < 0 || all->channel[j] == channel;
        double bill = ours ? all->bill[j] : 0.0;
        spent = spent + bill;
        if (spent >= limit) until = least(until, all->time[j]);
        if (ours) all->bill[j] = least(most(limit - (spent - bill), 0.0), bill);
    }
    return until;
}

/* `clicks`, `sold`, `cost` and `rest` of a flight become those before its money ran out; `served` is room for S. */
static void serve_flight(const Hour *h, Int first, Clicks *all, double *served) {
    draw_clicks(h, first, all);
    sort_clicks(all);
    for (Int s = 0; s < h->channels; s++) served[s] = h->cap ? pay(all, s, h->cap[first + s]) : 1.0;
    double until = pay(all, -1, h->purse[first / h->channels]);
    Int *converts = all->spare;
    for (Int j = 0; j < all->number; j++) converts[j] = all->attempt[j] < (Int)h->sold[first + all->channel[j]];
    for (Int s = 0; s < h->channels; s++) {
        h->clicks[first + s] = h->sold[first + s] = h->cost[first + s] = 0.0;
        h->rest[first + s] *= least(served[s], until);
    }
    for (Int k = 0; k < all->number; k++) {
        Int j = all->order[k], i = first + all->channel[j];
        if (!(all->bill[j] > 0.0)) continue;
        h->clicks[i] += 1.0, h->sold[i] += (double)converts[j], h->cost[i] += all->bill[j];
    }
}

/* Serve the clicks of the flights that may run out of money one by one. Needs room for `longest` clicks, as
 * gaelp_draw() returned it: 2 numbers and 4 integers each, and S numbers. */
EXPORT void gaelp_serve(const Hour *h, Int longest, double *numbers, Int *integers) {
    Clicks all = {0, numbers, numbers + longest, integers, integers + longest, integers + 2 * longest,
                  integers + 3 * longest};
    for (Int flight = 0; flight < h->cells / h->channels; flight++)
        if (h->may_run_out[flight]) serve_flight(h, flight * h->channels, &all, numbers + 2 * longest);
}

/* What follows from the clicks that were served, for n cells from `first` on. */
static void book_block(const Hour *h, Int first, Int n) {
    double more[BLOCK], u[BLOCK], v[BLOCK], waiting[BLOCK], rate[BLOCK], conversions[BLOCK];
    Word place[BLOCK], flight[BLOCK];
    Int cell[BLOCK], sold = 0;
    for (Int i = 0; i < n; i++) {
        place[i] = h->hour << 16 | h->channel[first + i];
        waiting[i] = conversions[i] = h->sold[first + i] + (h->pending ? (double)h->pending[first + i] : 0.0);
        rate[i] = h->report_rate;
        h->revenue[first + i] = 0.0;
    }
    poisson_block(n, h->rest + first, h->rest_chance + first, more);
    if (h->report_rate < 1.0) {
        uniforms_block(n, (Cells){h->seed, h->flight + first, place}, REPORTED, 0, u, v);
        binomial_block(n, waiting, rate, u, conversions);
    }
    for (Int i = 0; i < n; i++) {
        h->impressions[first + i] = (Int)(h->clicks[first + i] + more[i]);
        h->served[first + i] = (Int)h->clicks[first + i];
        h->conversions[first + i] = (Int)conversions[i];
        h->still_pending[first + i] = (Int)(waiting[i] - conversions[i]);
    }
    for (Int i = 0; i < n; i++) {
        cell[sold] = first + i, u[sold] = h->order_shape * conversions[i];
        flight[sold] = h->flight[first + i], place[sold] = place[i];
        sold += conversions[i] > 0.0;
    }
    gamma_block(sold, u, (Cells){h->seed, flight, place}, ORDERS, v);
    for (Int j = 0; j < sold; j++) h->revenue[cell[j]] = v[j] * h->order_scale[cell[j]];
}

/* The rest of an hour, when `clicks`, `sold`, `cost` and `rest` are those before the money ran out. */
EXPORT void gaelp_book(const Hour *h) {
    for (Int i = 0; i < h->cells; i += BLOCK) book_block(h, i, length(h->cells, i));
}

/* ---- simulator/ledger.py ---- */

enum { PER_CHANNEL = 8, OVERALL = 6 };
static const double RECENT = 0.1, HOURS = 168.0, SMALL_CHANGE = 1e-9, LOWEST_LOG_FATIGUE = -30.0;

/* The books of B flights on S channels, before and after an hour. Arrays are per cell, in the order of flights, but
 * where said. books.py has the same structure. */
typedef struct {
    Int flights, channels;
    /* the market: each channel's numbers, once for each flight */
    const double *calibrated_clicks, *cpc, *order_value, *prior_clicks, *prior_conversions, *calibrated_rate, *max_bid;
    const double *fatigue_slope;       /* 0 without fatigue */
    const double *budget, *log_budget; /* per flight */
    double max_pacing_error;
    /* the hour that is booked, and what is known of the next */
    double traffic, waits, traffic_passed, time_left, hour_sin, hour_cos;
    Int delayed, open_by_channel;
    const Int *impressions, *clicks, *conversions;
    const double *cost, *revenue, *win_rate, *price, *bid, *true_rate;
    const uint8_t *open; /* per flight or per cell */
    /* the sums */
    double *all_impressions, *all_clicks, *all_conversions, *all_cost, *all_revenue, *expected_clicks, *recent_spend;
    double *unripe, *log_fatigue, *log_price_ratio;
    double *budget_left, *expected_revenue, *pacing_error, *bids_above_cap, *hours_off_pace; /* per flight */
    /* results */
    double *earned;     /* per flight */
    float *observation; /* per flight: PER_CHANNEL x S + OVERALL */
} Books;

/* A count as a number: a conversion that processors without an instruction for it do for several at once. */
INLINE double real(Int count) { return number(bits(MAGIC) + count) - MAGIC; }

static void add(Int n, const double *restrict x, double *restrict sum) {
    for (Int i = 0; i < n; i++) sum[i] += x[i];
}

static void add_counts(Int n, const Int *restrict counts, double *restrict sum) {
    for (Int i = 0; i < n; i++) sum[i] += real(counts[i]);
}

/* Clicks whose conversions have not been reported yet. */
static void ripen(Int n, const Int *restrict clicks, double waits, double *restrict unripe) {
    for (Int i = 0; i < n; i++) unripe[i] = (unripe[i] + real(clicks[i])) * waits;
}

static void tire(Int n, const double *restrict impressions, const double *restrict slope, double *restrict fatigue) {
    for (Int i = 0; i < n; i++) fatigue[i] = most(impressions[i] * slope[i], LOWEST_LOG_FATIGUE);
}

static void average(Int n, const double *restrict cost, const double *restrict budget, double *restrict recent) {
    for (Int i = 0; i < n; i++) recent[i] = recent[i] * (1.0 - RECENT) + (RECENT * HOURS) * cost[i] / budget[i];
}

/* Add the hour to the sums of n cells from `first` on, and compute what they contribute to the observation. */
INLINE void add_block(const Books *b, Int first, Int n, double features[PER_CHANNEL][BLOCK]) {
    double budget[BLOCK], expected[BLOCK];
    for (Int i = 0, flight = first / b->channels, s = first % b->channels; i < n; i++) {
        budget[i] = b->budget[flight];
        expected[i] = b->traffic * (b->open[b->open_by_channel ? first + i : flight] ? 1.0 : 0.0);
        if (++s == b->channels) s = 0, flight++;
    }
    for (Int i = 0; i < n; i++) expected[i] = b->calibrated_clicks[first + i] * (expected[i] * b->win_rate[first + i]);
    add_counts(n, b->impressions + first, b->all_impressions + first);
    if (b->fatigue_slope) {
        for (Int i = 0; i < n; i++) expected[i] = expected[i] * exp_(b->log_fatigue[first + i]);
        tire(n, b->all_impressions + first, b->fatigue_slope + first, b->log_fatigue + first);
    }
    add_counts(n, b->clicks + first, b->all_clicks + first);
    add_counts(n, b->conversions + first, b->all_conversions + first);
    add(n, b->cost + first, b->all_cost + first);
    add(n, b->revenue + first, b->all_revenue + first);
    add(n, expected, b->expected_clicks + first);
    if (b->delayed) ripen(n, b->clicks + first, b->waits, b->unripe + first);
    average(n, b->cost + first, budget, b->recent_spend + first);
    for (Int i = 0; i < n; i++) {
        /* Without delay `unripe` stays 0. */
        double ripe = b->all_clicks[first + i] - b->unripe[first + i];
        double posterior = b->all_conversions[first + i] + b->prior_conversions[first + i];
        features[0][i] = posterior / (ripe + b->prior_clicks[first + i]) / b->calibrated_rate[first + i];
        features[1][i] = b->win_rate[first + i];
        features[2][i] = b->price[first + i] / b->cpc[first + i];
        features[3][i] = 1.0 + b->all_clicks[first + i];
        features[4][i] = 1.0 + b->expected_clicks[first + i];
        features[5][i] = b->all_cost[first + i] / budget[i];
        features[6][i] = b->recent_spend[first + i];
        features[7][i] = b->log_fatigue[first + i];
    }
    for (Int i = 0; i < n; i++) {
        features[0][i] = log_(features[0][i]);
        features[2][i] = log_(features[2][i]);
        features[3][i] = log_(features[3][i]);
        features[4][i] = log_(features[4][i]);
    }
    for (Int i = 0; i < n; i++) b->log_price_ratio[first + i] = features[2][i];
}

/* Sum the hour over the channels of a flight, and complete its observation. */
static void close_flight(const Books *b, Int flight) {
    Int first = flight * b->channels;
    double earned = 0.0, cost = 0.0, above = 0.0, budget = b->budget[flight];
    for (Int i = first; i < first + b->channels; i++) {
        earned += (double)b->clicks[i] * b->true_rate[i] * b->order_value[i];
        cost += b->all_cost[i];
        above += b->bid[i] > b->max_bid[i] ? 1.0 : 0.0;
    }
    double left = budget * (1.0 - 1e-12) - cost;
    left = left > SMALL_CHANGE * budget ? left : 0.0;
    double pacing_error = 1.0 - left / budget - b->traffic_passed;
    b->earned[flight] = earned;
    b->expected_revenue[flight] += earned;
    b->budget_left[flight] = left;
    b->pacing_error[flight] = pacing_error;
    b->bids_above_cap[flight] += above;
    b->hours_off_pace[flight] += __builtin_fabs(pacing_error) > b->max_pacing_error ? 1.0 : 0.0;
    float *overall = b->observation + flight * (PER_CHANNEL * b->channels + OVERALL) + PER_CHANNEL * b->channels;
    overall[0] = (float)b->time_left;
    overall[1] = (float)(left / budget);
    overall[2] = (float)pacing_error;
    overall[3] = (float)b->hour_sin;
    overall[4] = (float)b->hour_cos;
    overall[5] = (float)b->log_budget[flight];
}

/* Book an hour: Ledger.book(), and Ledger.observe() of the next. */
EXPORT void gaelp_close(const Books *b) {
    double features[PER_CHANNEL][BLOCK];
    Int cells = b->flights * b->channels, width = PER_CHANNEL * b->channels + OVERALL;
    for (Int first = 0; first < cells; first += BLOCK) {
        Int n = length(cells, first);
        add_block(b, first, n, features);
        for (Int feature = 0; feature < PER_CHANNEL; feature++) {
            for (Int i = 0, flight = first / b->channels, s = first % b->channels; i < n; i++) {
                b->observation[flight * width + feature * b->channels + s] = (float)features[feature][i];
                if (++s == b->channels) s = 0, flight++;
            }
        }
    }
    for (Int flight = 0; flight < b->flights; flight++) close_flight(b, flight);
}

/* ---- simulator/hidden.py ---- */

enum { LEVELS = 3 };

/* The weeks of cells that hidden.py draws hour by hour. Arrays are per cell but where said. weeks.py has the same
 * structure. */
typedef struct {
    Int cells, hours;
    uint64_t seed;
    const Word *flight, *channel;
    double price_sd, price_autocorrelation, drift_sd, half_drift_variance, highest_rate;
    const double *half_variance; /* of the price level, per hour */
    const double *calibrated_log_price, *first_rate;
    double *log_price, *conversion_rate; /* hours x cells */
} Weeks;

/* Of n cells from `first` on. */
static void weeks_block(const Weeks *w, Int first, Int n) {
    double u[BLOCK], v[BLOCK], price[BLOCK], rate[BLOCK], level[BLOCK], drift[BLOCK];
    Word place[BLOCK];
    for (Int hour = 0; hour < w->hours; hour++) {
        double *restrict log_price = w->log_price + hour * w->cells + first;
        double *restrict conversion_rate = w->conversion_rate + hour * w->cells + first;
        double half_variance = w->half_variance[hour];
        for (Int i = 0; i < n; i++) place[i] = (Word)hour << 16 | w->channel[first + i];
        uniforms_block(n, (Cells){w->seed, w->flight + first, place}, LEVELS, 0, u, v);
        ndtri_block(n, u, price);
        ndtri_block(n, v, rate);
        for (Int i = 0; i < n; i++) {
            double innovation = w->price_sd * price[i], step = w->drift_sd * rate[i] - w->half_drift_variance;
            level[i] = hour ? innovation + w->price_autocorrelation * level[i] : innovation;
            drift[i] = hour ? drift[i] + step : step;
        }
        for (Int i = 0; i < n; i++) {
            log_price[i] = w->calibrated_log_price[first + i] + (level[i] - half_variance);
            conversion_rate[i] = least(w->first_rate[first + i] * exp_(drift[i]), w->highest_rate);
        }
    }
}

EXPORT void gaelp_weeks(const Weeks *w) {
    for (Int first = 0; first < w->cells; first += BLOCK) weeks_block(w, first, length(w->cells, first));
}
