/* market/prices.py, of n cells. Where a function says nothing else, `win`, x, u and what it returns are per cell. */

#pragma once

/* The prices of S channels, lognormal or from a table. core/prices.py has the same structure. */
typedef struct {
    Int first_price;
    const double *log_sd, *lift_1, *lift_2, *lift_3; /* per channel; lift_k is exp(k^2 log_sd^2 / 2) */
    const double *half_variance, *slope_scale;       /* log_sd^2 / 2 and sqrt(2 pi) log_sd */
    Int bins, next_row; /* of the table, 0 without; next_row: from a channel's row to the next, 0 where all share one */
    double width;
    const double *cumulative, *mass, *paid, *square, *cube; /* rows of (bins + 1), by the start of each bin */
    /* best responses to first prices, on a grid of u: rows of them as those of the table */
    Int next_responses;
    double first_u, step_of_u, last_u; /* the last, in steps from the first */
    const double *best, *payment, *slope;
} Prices;

/* The channels of cells: one of each, or a single one. Functions are inlined for either. */
typedef struct {
    const Word *each;
    Word all;
} Channels;

INLINE Word channel_of(Channels c, Int i) { return c.each ? c.each[i] : c.all; }

/* Where a price, within the table, falls: its bin, as an index of the table's arrays, and the start of this bin. */
INLINE Int bin_of(const Prices *p, Word channel, double price, double *start) {
    double bin = least(__builtin_floor(price / p->width), (double)(p->bins - 1));
    *start = least(bin * p->width, price);
    return (Int)channel * p->next_row + whole(bin);
}

/* Pricing._lookup() */
INLINE double look_up(const Prices *p, const double *table, Word channel, double u) {
    double place = least(most((u - p->first_u) / p->step_of_u, 0.0), p->last_u), left = __builtin_floor(place);
    const double *below = table + (Int)channel * p->next_responses + whole(left);
    return below[0] + (place - left) * (below[1] - below[0]);
}

INLINE void win_of(const Prices *p, Int n, Channels c, const double *restrict x, double *restrict win) {
    if (!p->bins) {
        for (Int i = 0; i < n; i++) win[i] = ndtr_(x[i] / p->log_sd[channel_of(c, i)]);
        return;
    }
    double end = p->width * (double)p->bins;
    for (Int i = 0; i < n; i++) {
        double price = least(exp_(x[i]), end), start;
        Int k = bin_of(p, channel_of(c, i), price, &start);
        win[i] = p->cumulative[k] + p->mass[k] * (price - start);
    }
}

INLINE void best_bid_of(const Prices *p, Int n, Channels c, const double *restrict u, double *restrict x) {
    for (Int i = 0; i < n; i++) x[i] = p->first_price ? look_up(p, p->best, channel_of(c, i), u[i]) : u[i];
}

INLINE void spend_of(const Prices *p, Int n, Channels c, const double *restrict u, double *restrict payment,
                     double *restrict slope) {
    if (p->first_price) {
        for (Int i = 0; i < n; i++) payment[i] = look_up(p, p->payment, channel_of(c, i), u[i]);
        for (Int i = 0; i < n; i++) slope[i] = look_up(p, p->slope, channel_of(c, i), u[i]);
        return;
    }
    if (!p->bins) {
        for (Int i = 0; i < n; i++) {
            Word s = channel_of(c, i);
            double sd = p->log_sd[s], z = u[i] / sd - sd;
            payment[i] = p->lift_1[s] * ndtr_(z);
            slope[i] = exp_(p->half_variance[s] - 0.5 * z * z) / p->slope_scale[s];
        }
        return;
    }
    double end = p->width * (double)p->bins;
    for (Int i = 0; i < n; i++) {
        double bid = exp_(u[i]), price = least(bid, end), start;
        Int k = bin_of(p, channel_of(c, i), price, &start);
        double mass = p->mass[k], square = price * price;
        payment[i] = p->paid[k] + mass * (square - start * start) / 2.0;
        slope[i] = bid > price ? 0.0 : mass * square;
    }
}

INLINE void payment_of(const Prices *p, Int n, Channels c, const double *restrict u, double *restrict payment) {
    if (p->first_price) {
        for (Int i = 0; i < n; i++) payment[i] = look_up(p, p->payment, channel_of(c, i), u[i]);
        return;
    }
    if (!p->bins) {
        for (Int i = 0; i < n; i++) {
            Word s = channel_of(c, i);
            payment[i] = p->lift_1[s] * ndtr_(u[i] / p->log_sd[s] - p->log_sd[s]);
        }
        return;
    }
    double end = p->width * (double)p->bins;
    for (Int i = 0; i < n; i++) {
        double price = least(exp_(u[i]), end), start;
        Int k = bin_of(p, channel_of(c, i), price, &start);
        payment[i] = p->paid[k] + p->mass[k] * (price * price - start * start) / 2.0;
    }
}

/* Shape.win() */
static void win_block(const Prices *p, Int n, const Word *channel, const double *restrict x, double *restrict win) {
    win_of(p, n, (Channels){channel, 0}, x, win);
}

typedef struct {
    double win[BLOCK], paid[BLOCK], square[BLOCK], cube[BLOCK];
} Moments;

/* Shape.moments(), of up to BLOCK cells */
static void moments_block(const Prices *p, Int n, const Word *channel, const double *restrict x, Moments *restrict m) {
    if (!p->bins) {
        for (Int i = 0; i < n; i++) {
            double sd = p->log_sd[channel[i]], z = x[i] / sd;
            m->win[i] = ndtr_(z);
            m->paid[i] = p->lift_1[channel[i]] * ndtr_(z - sd);
            m->square[i] = p->lift_2[channel[i]] * ndtr_(z - 2.0 * sd);
            m->cube[i] = p->lift_3[channel[i]] * ndtr_(z - 3.0 * sd);
        }
        return;
    }
    double end = p->width * (double)p->bins;
    for (Int i = 0; i < n; i++) {
        double price = least(exp_(x[i]), end), start;
        Int k = bin_of(p, channel[i], price, &start);
        double square = price * price, start_square = start * start, mass = p->mass[k];
        m->win[i] = p->cumulative[k] + mass * (price - start);
        m->paid[i] = p->paid[k] + mass * (square - start_square) / 2.0;
        m->square[i] = p->square[k] + mass * (square * price - start_square * start) / 3.0;
        m->cube[i] = p->cube[k] + mass * (square * square - start_square * start_square) / 4.0;
    }
}

/* Where a table reaches these chances, of up to BLOCK cells */
INLINE void table_price_of(const Prices *p, Int n, Channels c, const double *restrict win, double *restrict price) {
    double chance[BLOCK];
    Int row[BLOCK], left[BLOCK], step = 1;
    for (Int i = 0; i < n; i++) {
        row[i] = (Int)channel_of(c, i) * p->next_row;
        chance[i] = least(win[i], p->cumulative[row[i] + p->bins]);
        left[i] = 0;
    }
    while (2 * step <= p->bins) step *= 2;
    for (; step; step /= 2) {
        for (Int i = 0; i < n; i++) {
            Int next = left[i] + step;
            /* The end of the table is not below any chance. */
            next = next < p->bins ? next : p->bins;
            left[i] = p->cumulative[row[i] + next] < chance[i] ? next : left[i];
        }
    }
    for (Int i = 0; i < n; i++) {
        Int k = row[i] + left[i];
        price[i] = p->width * real(left[i]) + (chance[i] - p->cumulative[k]) / most(p->mass[k], SMALLEST);
    }
}

/* Shape.price(), of up to BLOCK cells */
static void price_block(const Prices *p, Int n, const Word *channel, const double *restrict win,
                        double *restrict price) {
    if (p->bins) {
        table_price_of(p, n, (Channels){channel, 0}, win, price);
        return;
    }
    ndtri_block(n, win, price);
    for (Int i = 0; i < n; i++) price[i] = exp_(p->log_sd[channel[i]] * price[i]);
}

/* The same of n cells of one channel, up to BLOCK, under the names of prices.py. */
static void win_of_channel(const Prices *p, Int n, Int s, const double *restrict x, double *restrict win) {
    win_of(p, n, (Channels){0, (Word)s}, x, win);
}

static void best_bid_of_channel(const Prices *p, Int n, Int s, const double *restrict u, double *restrict x) {
    best_bid_of(p, n, (Channels){0, (Word)s}, u, x);
}

static void spend_of_channel(const Prices *p, Int n, Int s, const double *restrict u, double *restrict payment,
                             double *restrict slope) {
    spend_of(p, n, (Channels){0, (Word)s}, u, payment, slope);
}

static void payment_of_channel(const Prices *p, Int n, Int s, const double *restrict u, double *restrict payment) {
    payment_of(p, n, (Channels){0, (Word)s}, u, payment);
}

static void location_of_channel(const Prices *p, Int n, Int s, const double *restrict win,
                                const double *restrict log_paid, double *restrict location) {
    double x[BLOCK], paid[BLOCK];
    if (p->bins) {
        table_price_of(p, n, (Channels){0, (Word)s}, win, x);
        for (Int i = 0; i < n; i++) x[i] = log_(most(x[i], 1e-300));
    } else {
        ndtri_block(n, win, x);
        for (Int i = 0; i < n; i++) x[i] = p->log_sd[s] * x[i];
    }
    if (p->first_price) {
        for (Int i = 0; i < n; i++) location[i] = log_paid[i] - x[i];
        return;
    }
    payment_of(p, n, (Channels){0, (Word)s}, x, paid);
    for (Int i = 0; i < n; i++) location[i] = log_paid[i] - log_(paid[i] / win[i]);
}
