/* training.fly(): every hour of flights, planned by BayesDual, without Python between them */

#pragma once

/* What flights know beside the auctions, the books and the bidder: B flights on S channels, T hours. flight.py has the
 * same structure. */
typedef struct {
    Int expected; /* whether rewards count expected revenue */
    double report_rate, action_scale;
    const double *traffic, *traffic_passed, *time_left, *hour_sin, *hour_cos; /* per hour */
    const double *volume_share;                                               /* per hour and flight */
    const double *log_price, *conversion_rate;                                /* per hour and cell */
    const double *volume, *ctr, *log_bid;                                     /* per cell */
    const double *spend_cap;                                                  /* the same; 0 without */
    const Prices *prices;     /* with best responses; these and multipliers for rewards of regret, else 0 */
    const double *multiplier; /* per flight */
    double *reward;                                                           /* per hour and flight */
    /* the hour: per cell */
    float *action;
    double *log_bids, *hour_volume, *hour_ctr, *cap;
    uint8_t *open; /* per cell or per flight */
    /* how far the flights have come, and room for clicks that are served one by one: 2 numbers and 4 integers each, and
     * S numbers */
    Int first, hour, planned, room;
    double *numbers;
    Int *integers;
} Flights;

/* Ledger.purse: whether flights and channels have money, and what the channels have of it. */
static void open_purses(const Flights *f, const Books *b, Int first, Int end) {
    Int S = b->channels;
    for (Int flight = first; flight < end; flight++) {
        double budget = b->budget[flight];
        int funded = b->budget_left[flight] > 0.0;
        if (!f->spend_cap) {
            f->open[flight] = (uint8_t)funded;
            continue;
        }
        for (Int i = flight * S; i < (flight + 1) * S; i++) {
            double left = f->spend_cap[i] * budget - b->all_cost[i];
            f->cap[i] = left > SMALL_CHANGE * budget ? left : 0.0;
            f->open[i] = (uint8_t)(funded & (f->cap[i] > 0.0));
        }
    }
}

/* Hidden.hour() and Landscape.log_bids() of n cells from `first` on. */
static void open_block(const Flights *f, const Books *b, Int first, Int n) {
    double share[BLOCK];
    const double *volume_share = f->volume_share + f->hour * b->flights;
    for (Int i = 0, flight = first / b->channels, s = first % b->channels; i < n; i++) {
        share[i] = volume_share[flight];
        if (++s == b->channels) s = 0, flight++;
    }
    const double *restrict volume = f->volume + first, *restrict base = f->log_bid + first;
    const float *restrict action = f->action + first;
    double *restrict hour_volume = f->hour_volume + first, *restrict log_bids = f->log_bids + first;
    double scale = f->action_scale;
    for (Int i = 0; i < n; i++) hour_volume[i] = volume[i] * share[i];
    for (Int i = 0; i < n; i++) log_bids[i] = base[i] + scale * (double)action[i];
    if (b->fatigue_slope) {
        const double *restrict ctr = f->ctr + first, *restrict log_fatigue = b->log_fatigue + first;
        double *restrict tired = f->hour_ctr + first;
        for (Int i = 0; i < n; i++) tired[i] = ctr[i] * exp_(log_fatigue[i]);
    }
}

/* Point the auctions and the books to the hour. */
static void set_hour(const Flights *f, Hour *h, Books *b) {
    Int t = f->hour, last = (Int)HOURS - 1;
    h->hour = (uint64_t)t;
    h->log_price = f->log_price + t * h->cells;
    h->conversion_rate = b->true_rate = f->conversion_rate + t * h->cells;
    h->report_rate = t < last ? f->report_rate : 1.0;
    b->waits = t < last ? 1.0 - f->report_rate : 0.0;
    b->traffic = f->traffic[t], b->traffic_passed = f->traffic_passed[t], b->time_left = f->time_left[t];
    b->hour_sin = f->hour_sin[t], b->hour_cos = f->hour_cos[t];
}

/* The reward `regret` */
static void reward_regret(const Flights *f, const Hour *h, const Books *b, Int first, Int end) {
    Int S = b->channels, last = (Int)HOURS - 1;
    double *reward = f->reward + f->hour * b->flights;
    Regret r = {.cells = h->cells, .channels = S, .open_by_channel = b->open_by_channel, .prices = f->prices,
                .channel = h->channel, .order_value = b->order_value, .log_price = h->log_price, .volume = h->volume,
                .ctr = h->ctr, .conversion_rate = h->conversion_rate, .win = h->win, .mean = h->mean, .open = f->open,
                .multiplier = f->multiplier, .lost = reward};
    for (Int i = first * S; i < end * S; i += BLOCK) regret_block(&r, i, length(end * S, i));
    for (Int flight = first; flight < end; flight++) {
        double left = f->hour == last ? b->budget_left[flight] : 0.0;
        reward[flight] = (-reward[flight] - f->multiplier[flight] * left) / b->budget[flight];
    }
}

static void reward_flights(const Flights *f, const Books *b, Int first, Int end) {
    double *reward = f->reward + f->hour * b->flights;
    for (Int flight = first; flight < end; flight++) {
        double earned = 0.0;
        for (Int i = flight * b->channels; i < (flight + 1) * b->channels; i++) earned += b->revenue[i];
        reward[flight] = (f->expected ? b->earned[flight] : earned) / b->budget[flight];
    }
}

/* Fly on from where the flights are, a block after the other: its arrays stay in the second-level cache. Returns 0 when
 * all have ended, else for how many clicks there must be room before it can be called again. */
EXPORT Int gaelp_fly(Flights *f, Hour *h, Books *b, const Dual *d) {
    for (; f->first < b->flights; f->first += AT_ONCE, f->hour = 0) {
        Int n = b->flights - f->first < AT_ONCE ? b->flights - f->first : AT_ONCE, end = f->first + n;
        for (; f->hour < (Int)HOURS; f->hour++, f->planned = 0) {
            set_hour(f, h, b);
            if (!f->planned) {
                plan_block(d, f->hour, f->hour == 0, f->first, n, b->observation, f->action);
                for (Int i = f->first * b->channels; i < end * b->channels; i += BLOCK)
                    open_block(f, b, i, length(end * b->channels, i));
                open_purses(f, b, f->first, end);
                f->planned = 1;
            }
            Int longest = draw_flights(h, f->first, end);
            if (longest > f->room) return longest;
            if (longest) serve_flights(h, f->first, end, longest, f->numbers, f->integers);
            book_flights(h, f->first, end);
            close_flights(b, f->first, end);
            if (f->multiplier) reward_regret(f, h, b, f->first, end);
            else reward_flights(f, b, f->first, end);
        }
    }
    return 0;
}
