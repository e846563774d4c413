/* market/keyed_auction.py, for lognormal prices in second-price auctions */

#pragma once

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

/* Everything of an hour as if money did not run out, and which flights it may run out for, of flights from `first` to
 * before `end`. Returns the most clicks that one of these has. */
static Int draw_flights(const Hour *h, Int first, Int end) {
    double longest = 0.0;
    for (Int i = first * h->channels; i < end * h->channels; i += BLOCK) {
        clear_block(h, i, length(end * h->channels, i));
        draw_block(h, i, length(end * h->channels, i));
    }
    for (Int flight = first; flight < end; flight++) {
        h->may_run_out[flight] = (uint8_t)may_run_out(h, flight);
        double clicks = 0.0;
        for (Int i = flight * h->channels; i < (flight + 1) * h->channels; i++) clicks += h->clicks[i];
        if (h->may_run_out[flight]) longest = most(clicks, longest);
    }
    return (Int)longest;
}

/* The same of all flights. */
EXPORT Int gaelp_draw(const Hour *h) { return draw_flights(h, 0, h->cells / h->channels); }

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
 * draw_flights() returned it: 2 numbers and 4 integers each, and S numbers. */
static void serve_flights(const Hour *h, Int first, Int end, Int longest, double *numbers, Int *integers) {
    Clicks all = {0, numbers, numbers + longest, integers, integers + longest, integers + 2 * longest,
                  integers + 3 * longest};
    for (Int flight = first; flight < end; flight++)
        if (h->may_run_out[flight]) serve_flight(h, flight * h->channels, &all, numbers + 2 * longest);
}

/* The same of all flights. */
EXPORT void gaelp_serve(const Hour *h, Int longest, double *numbers, Int *integers) {
    serve_flights(h, 0, h->cells / h->channels, longest, numbers, integers);
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
static void book_flights(const Hour *h, Int first, Int end) {
    for (Int i = first * h->channels; i < end * h->channels; i += BLOCK)
        book_block(h, i, length(end * h->channels, i));
}

/* The same of all flights. */
EXPORT void gaelp_book(const Hour *h) { book_flights(h, 0, h->cells / h->channels); }
