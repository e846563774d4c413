/* market/prices.py, of blocks of up to BLOCK cells */

#pragma once

/* The prices of S channels, lognormal or from a table. prices.py of this package has the same structure. */
typedef struct {
    Int first_price;
    const double *log_sd, *lift_1, *lift_2, *lift_3; /* per channel; lift_k is exp(k^2 log_sd^2 / 2) */
    Int rows, bins;                                  /* of the table; rows: 1 where channels share it, 0 without one */
    double width;
    const double *cumulative, *mass, *paid, *square, *cube; /* rows x (bins + 1), by the start of each bin */
} Prices;

/* Where a price, within the table, falls: its bin, as an index of the table's arrays, and the start of this bin. */
INLINE Int bin_of(const Prices *p, Word channel, double price, double *start) {
    double bin = least(__builtin_floor(price / p->width), (double)(p->bins - 1));
    *start = least(bin * p->width, price);
    return (p->rows > 1 ? (Int)channel * (p->bins + 1) : 0) + whole(bin);
}

/* Shape.win() */
static void win_block(const Prices *p, Int n, const Word *channel, const double *restrict x, double *restrict win) {
    if (!p->rows) {
        for (Int i = 0; i < n; i++) win[i] = ndtr_(x[i] / p->log_sd[channel[i]]);
        return;
    }
    double end = p->width * (double)p->bins;
    for (Int i = 0; i < n; i++) {
        double price = least(exp_(x[i]), end), start;
        Int k = bin_of(p, channel[i], price, &start);
        win[i] = p->cumulative[k] + p->mass[k] * (price - start);
    }
}

typedef struct {
    double win[BLOCK], paid[BLOCK], square[BLOCK], cube[BLOCK];
} Moments;

/* Shape.moments() */
static void moments_block(const Prices *p, Int n, const Word *channel, const double *restrict x, Moments *restrict m) {
    if (!p->rows) {
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

/* Shape.price() */
static void price_block(const Prices *p, Int n, const Word *channel, const double *restrict win,
                        double *restrict price) {
    if (!p->rows) {
        ndtri_block(n, win, price);
        for (Int i = 0; i < n; i++) price[i] = exp_(p->log_sd[channel[i]] * price[i]);
        return;
    }
    double chance[BLOCK];
    Int row[BLOCK], left[BLOCK], step = 1;
    for (Int i = 0; i < n; i++) {
        row[i] = p->rows > 1 ? (Int)channel[i] * (p->bins + 1) : 0;
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
