/* market/multiplier.py */

#pragma once

enum { AT_ONCE = 64 };
static const double SETTLED = 1e-9;

INLINE double clip(double x, double low, double high) { return least(most(x, low), high); }

/* The equations of n flights or channels: x is log lambda. */
typedef struct {
    double x[AT_ONCE], low[AT_ONCE], high[AT_ONCE], log_budget[AT_ONCE], spent[AT_ONCE], slope[AT_ONCE];
    Int settled[AT_ONCE];
} Newton;

static void start(Newton *w, Int n, const double *restrict budget, const double *restrict from, const double *bounds) {
    for (Int i = 0; i < n; i++) {
        w->log_budget[i] = log_(most(budget[i], 1e-9));
        w->x[i] = from[i], w->settled[i] = 0;
        w->low[i] = bounds[0] - 1e-6, w->high[i] = bounds[1] + 1e-6;
    }
}

/* One step at the `spent` and `slope` of x. Returns whether all are settled. */
static int step(Newton *w, Int n, const double *bounds) {
    Int settled = 0;
    for (Int i = 0; i < n; i++) {
        double x = w->x[i], spent = most(w->spent[i], 1e-300), excess = log_(spent) - w->log_budget[i];
        double low = excess > 0.0 ? x : w->low[i], high = excess > 0.0 ? w->high[i] : x;
        double newton = x + clip(excess * spent / most(w->slope[i], 1e-300), -2.0, 2.0);
        newton = clip(newton, bounds[0], bounds[1]);
        Int at_root = __builtin_fabs(newton - x) < SETTLED;
        double following = ((newton > low) & (newton < high)) | at_root ? newton : (low + high) / 2.0;
        w->low[i] = low, w->high[i] = high;
        w->x[i] = w->settled[i] ? x : following;
        w->settled[i] = w->settled[i] | at_root;
        settled += w->settled[i];
    }
    return settled == n;
}
