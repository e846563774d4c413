/* market/multiplier.py */

#pragma once

static const double SETTLED = 1e-9;

/* Equations of n lanes that are solved at once, by lane. */
typedef struct {
    Int n;
    double *x, *low, *high, *log_budget;
    Int *settled;
} Roots;

/* What solve() starts with, but for x. */
static void start_roots(Roots *r, const double *budget, double lower, double upper) {
    for (Int i = 0; i < r->n; i++) {
        r->low[i] = lower - 1e-6, r->high[i] = upper + 1e-6;
        r->log_budget[i] = log_(most(budget[i], 1e-9));
        r->settled[i] = 0;
    }
}

/* One step of solve(), with the spend at x and minus its derivative. Returns how many lanes are not settled. Not inlined,
 * so that gcc knows that the arrays do not overlap. */
static __attribute__((noinline)) Int step_lanes(Int n, const double *restrict spend, const double *restrict slope,
                                                const double *restrict log_budget, double lower, double upper,
                                                double *restrict x, double *restrict low, double *restrict high,
                                                Int *restrict settled) {
    Int open = 0;
    for (Int i = 0; i < n; i++) {
        double spent = most(spend[i], 1e-300), excess = log_(spent) - log_budget[i];
        double l = excess > 0.0 ? x[i] : low[i], h = excess > 0.0 ? high[i] : x[i];
        double newton = x[i] + least(most(excess * spent / most(slope[i], 1e-300), -2.0), 2.0);
        newton = least(most(newton, lower), upper);
        Int at_root = __builtin_fabs(newton - x[i]) < SETTLED, inside = (newton > l) & (newton < h);
        double following = inside | at_root ? newton : (l + h) / 2.0;
        low[i] = l, high[i] = h;
        x[i] = settled[i] ? x[i] : following;
        settled[i] |= at_root;
        open += !settled[i];
    }
    return open;
}

static Int step_roots(Roots *r, const double *spend, const double *slope, double lower, double upper) {
    return step_lanes(r->n, spend, slope, r->log_budget, lower, upper, r->x, r->low, r->high, r->settled);
}
