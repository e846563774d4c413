/* simulator/hidden.py */

#pragma once

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
