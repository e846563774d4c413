/* market/stream.py */

#pragma once

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
