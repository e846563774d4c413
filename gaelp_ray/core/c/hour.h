/* market/keyed_auction.py */

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
    const Prices *prices;
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
    const double *log_bid = h->log_bid + first, *log_price = h->log_price + first;
    double bid[BLOCK], scale[BLOCK], x[BLOCK], mean[BLOCK], variance[BLOCK], skewness[BLOCK];
    Moments m;
    for (Int i = 0; i < n; i++) {
        bid[i] = exp_(log_bid[i]);
        scale[i] = exp_(log_price[i]);
        x[i] = log_bid[i] - log_price[i];
    }
    moments_block(h->prices, n, h->channel + first, x, &m);
    for (Int i = 0; i < n; i++) {
        double inverse = 1.0 / most(m.win[i], 1e-300), price = scale[i] * (m.paid[i] * inverse);
        double mean_ = m.win[i] > 1e-12 ? price : bid[i], square = scale[i] * scale[i] * (m.square[i] * inverse);
        double cube = scale[i] * scale[i] * scale[i] * (m.cube[i] * inverse);
        double spread = square - mean_ * mean_, floor = 1e-6 * (mean_ * mean_), v = most(spread, floor);
        double third = cube - 3.0 * mean_ * square + 2.0 * mean_ * mean_ * mean_;
        mean[i] = mean_, variance[i] = v;
        skewness[i] = spread > floor ? least(most(third / (v * __builtin_sqrt(v)), -2.0), 6.0) : 0.0;
    }
    for (Int i = 0; i < n; i++) {
        h->bid[first + i] = bid[i], h->scale[first + i] = scale[i], h->win[first + i] = m.win[i];
        h->mean[first + i] = mean[i], h->variance[first + i] = variance[i], h->skewness[first + i] = skewness[i];
    }
}

/* The same where the winner pays the bid. */
static void clear_first_price_block(const Hour *h, Int first, Int n) {
    double x[BLOCK];
    for (Int i = 0; i < n; i++) x[i] = h->log_bid[first + i] - h->log_price[first + i];
    win_block(h->prices, n, h->channel + first, x, h->win + first);
    for (Int i = 0; i < n; i++) x[i] = exp_(h->log_bid[first + i]);
    for (Int i = 0; i < n; i++) h->bid[first + i] = h->mean[first + i] = x[i], h->variance[first + i] = 0.0;
}

/* Clearing.single(): prices of n clicks of these cells and their channels at uniforms `chance`, which is overwritten. */
static void single_block(const Hour *h, Int n, const Int *cell, const Word *channel, double *restrict chance,
                         double *restrict price) {
    if (h->prices->first_price) {
        for (Int j = 0; j < n; j++) price[j] = h->bid[cell[j]];
        return;
    }
    for (Int j = 0; j < n; j++) chance[j] = chance[j] * h->win[cell[j]];
    price_block(h->prices, n, channel, chance, price);
    for (Int j = 0; j < n; j++) price[j] = least(h->scale[cell[j]] * price[j], h->bid[cell[j]]);
}

/* The prices of single clicks, added to the cost of cells with up to SINGLY of them. */
static void charge_singly(const Hour *h, Cells cells, Int first, Int n) {
    double u[BLOCK], v[BLOCK];
    Word flight[BLOCK], place[BLOCK], channel[BLOCK];
    Int cell[BLOCK];
    for (Word number_ = 0; number_ < SINGLY; number_++) {
        Int found = 0;
        for (Int i = 0; i < n; i++) {
            double clicks = h->clicks[first + i];
            cell[found] = first + i, channel[found] = h->channel[first + i];
            flight[found] = cells.flight[i], place[found] = cells.place[i];
            found += (clicks > (double)number_) & (clicks <= (double)SINGLY);
        }
        uniforms_block(found, (Cells){cells.seed, flight, place}, CLICK, number_, u, v);
        single_block(h, found, cell, channel, u, v);
        for (Int j = 0; j < found; j++) h->cost[cell[j]] += v[j];
    }
}

/* The cost of the clicks of n cells from `first` on, at uniforms u. */
static void charge_block(const Hour *h, Cells cells, Int first, Int n, const double *restrict u) {
    double w[BLOCK], *restrict cost = h->cost + first;
    const double *clicks = h->clicks + first;
    if (h->prices->first_price) {
        for (Int i = 0; i < n; i++) cost[i] = clicks[i] * h->bid[first + i];
        return;
    }
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

/* Clicks, those that convert, and their cost, as if money did not run out, for n cells from `first` on. */
static void draw_block(const Hour *h, Int first, Int n) {
    double u[BLOCK], v[BLOCK], converting[BLOCK], unsold[BLOCK], more[BLOCK];
    Word place[BLOCK];
    double *restrict clicks = h->clicks + first, *restrict sold = h->sold + first, *restrict rest = h->rest + first;
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
    charge_block(h, cells, first, n, u);
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
        Int n = length(end * h->channels, i);
        if (h->prices->first_price) clear_first_price_block(h, i, n);
        else clear_block(h, i, n);
        draw_block(h, i, n);
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
    double u[BLOCK];
    Word channel[BLOCK];
    Int cell[BLOCK];
    all->number = 0;
    for (Int s = 0; s < h->channels; s++) {
        for (Int k = 0; k < (Int)h->clicks[first + s]; k++) {
            all->channel[all->number] = s;
            all->attempt[all->number++] = k;
        }
    }
    for (Int k = 0; k < all->number; k += BLOCK) {
        Int n = length(all->number, k), *attempt = all->attempt + k;
        double *time = all->time + k, *bill = all->bill + k;
        for (Int j = 0; j < n; j++) channel[j] = (Word)all->channel[k + j], cell[j] = first + all->channel[k + j];
        for (Int j = 0; j < n; j++) {
            Word place = h->hour << 16 | channel[j];
            philox(h->seed, (Lane)h->flight[first], (Lane)place, CLICK, (Lane)attempt[j], u + j, time + j);
        }
        single_block(h, n, cell, channel, u, bill);
        for (Int j = 0; j < n; j++) {
            /* No click is billed more than a purse holds. */
            bill[j] = least(bill[j], h->purse[first / h->channels]);
            if (h->cap) bill[j] = least(bill[j], h->cap[cell[j]]);
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
