/* agents/dual.py, beliefs.py and planning.py */

#pragma once

enum { AT_ONCE = 64, FIRST_STEPS = 15, NEWTON_STEPS = 4, DAY = 24 };
static const double LOG_MULTIPLIER_RANGE[2] = {-7.0, 9.0}, TODAY_PRIOR = 20.0;

/* The beliefs of BayesDual about B flights on S channels. dual.py has the same structure. */
typedef struct {
    Int flights, channels;
    /* the market: per channel */
    const Prices *prices;
    const double *log_price, *log_cpc, *log_bid, *ctr, *clicks_per_day;
    const double *conversion_rate, *rate_prior_clicks, *rate_prior_sales, *order_value;
    const double *calibrated_gap, *calibrated_scale; /* of the calibrated week */
    const double *tiring;                            /* 0 without fatigue */
    const double *spend_cap;                         /* 0 without caps */
    const double *decay, *traffic_ahead;             /* per hour */
    double mean_budget, waits, price_autocorrelation, drift_variance, action_scale;
    Int filters;
    /* the constants of the bidder: per flight */
    const double *optimism, *shade, *pacing_shade, *traffic_use, *forgetting, *price_tracking, *drift_tracking;
    const double *volume_prior, *day_variance, *hour_variance;
    /* what it remembers: S x B */
    double *all_clicks, *unripe, *seen_clicks, *seen_sales, *clicks, *sales, *prior_clicks, *prior_sales;
    double *heard_clicks, *heard_expected;
    /* the same, per flight */
    double *clicks_at_midnight, *expected_at_midnight, *flight, *today;
    double *level, *level_variance, *day, *day_level_variance, *covariance;
    double *log_multiplier, *first_multiplier;
    double *work; /* room for ROWS x S x AT_ONCE */
} Dual;

/* What an hour is planned with, S x AT_ONCE each. */
enum { LOG_VALUE, NOW, GAP, PRICE, AHEAD, SCALE, CLICKED, EXPECTED, TIRED, CAP, ROWS };

INLINE double *work(const Dual *d, Int row, Int s) { return d->work + (row * d->channels + s) * AT_ONCE; }

INLINE double clip(double x, double low, double high) { return least(most(x, low), high); }

/* A feature of n flights, as doubles. */
static void see(const float *restrict observation, Int width, Int n, double *restrict x) {
    for (Int i = 0; i < n; i++) x[i] = (double)observation[i * width];
}

/* Prices.log_prices() of a channel: of the hour to NOW, of the rest of the flight to `ahead`. */
static void see_prices(const Dual *d, Int t, Int s, Int n, const double *restrict tracking,
                       const double *restrict win_rate, const double *restrict price, double *restrict now,
                       double *restrict ahead) {
    double chance[AT_ONCE], paid[AT_ONCE], level[AT_ONCE], calibrated = d->log_price[s], cpc = d->log_cpc[s];
    double next = d->price_autocorrelation, rest = d->decay[t];
    if (!t) {
        for (Int i = 0; i < n; i++) now[i] = ahead[i] = calibrated;
        return;
    }
    for (Int i = 0; i < n; i++) {
        chance[i] = (win_rate[i] > 1e-6) & (win_rate[i] < 1.0 - 1e-6) ? win_rate[i] : 0.5;
        paid[i] = price[i] + cpc;
    }
    location_of_channel(d->prices, n, s, chance, paid, level);
    for (Int i = 0; i < n; i++) {
        double above = clip(level[i] - calibrated, -3.0, 3.0);
        level[i] = tracking[i] * ((win_rate[i] > 1e-6) & (win_rate[i] < 1.0 - 1e-6) ? above : 0.0);
        now[i] = calibrated + level[i] * next;
        ahead[i] = calibrated + level[i] * rest;
    }
}

/* Values._ripe() of a channel. */
static void ripen_seen(double waits, Int n, const double *restrict clicks, double *restrict all, double *restrict unripe,
                       double *restrict ripe) {
    for (Int i = 0; i < n; i++) {
        unripe[i] = (unripe[i] + clicks[i] - all[i]) * waits;
        all[i] = clicks[i];
        ripe[i] = clicks[i] - unripe[i];
    }
}

/* Values._fade() of a count. */
static void fade(Int n, const double *restrict keep, double *restrict counted) {
    for (Int i = 0; i < n; i++) counted[i] = counted[i] * keep[i];
}

/* What a count has become: it forgets, and adds what is new. */
static void remember(Int n, const double *restrict forgetting, const double *restrict total, double *restrict seen,
                     double *restrict counted) {
    for (Int i = 0; i < n; i++) {
        counted[i] = counted[i] * (1.0 - forgetting[i]) + total[i] - seen[i];
        seen[i] = total[i];
    }
}

/* Values.log_value() of a channel, at these ripe clicks. */
static void see_values(const Dual *d, Int t, Int s, Int first, Int n, const double *restrict ratio,
                       const double *restrict ripe, double *restrict log_value) {
    Int at = s * d->flights + first;
    double total[AT_ONCE], sold[AT_ONCE], keep[AT_ONCE], rate = d->conversion_rate[s], prior = d->rate_prior_clicks[s];
    double sales = d->rate_prior_sales[s], value = d->order_value[s], early = 1.0 - (double)t / HOURS;
    double variance = d->drift_variance;
    const double *forgetting = d->forgetting + first, *optimism = d->optimism + first;
    const double *tracking = d->drift_tracking + first;
    for (Int i = 0; i < n; i++) total[i] = most(exp_(ratio[i]) * rate * (ripe[i] + prior) - sales, 0.0);
    remember(n, forgetting, ripe, d->seen_clicks + at, d->clicks + at);
    remember(n, forgetting, total, d->seen_sales + at, d->sales + at);
    const double *clicks = d->clicks + at, *prior_clicks = d->prior_clicks + at;
    for (Int i = 0; i < n; i++) sold[i] = most(d->sales[at + i], 0.0) + d->prior_sales[at + i];
    for (Int i = 0; i < n; i++) total[i] = sold[i] / (most(clicks[i], 0.0) + prior_clicks[i]) * value;
    for (Int i = 0; i < n; i++) log_value[i] = log_(total[i]) + optimism[i] * early / __builtin_sqrt(sold[i]);
    if (!variance) return;
    for (Int i = 0; i < n; i++) keep[i] = 1.0 / (1.0 + sold[i] * tracking[i] * variance);
    fade(n, keep, d->clicks + at);
    fade(n, keep, d->sales + at);
    fade(n, keep, d->prior_clicks + at);
    fade(n, keep, d->prior_sales + at);
}

/* The features of a channel: all that its row of the work space holds but AHEAD and SCALE. */
static void see_channel(const Dual *d, Int t, Int s, Int first, Int n, const float *observation) {
    Int width = PER_CHANNEL * d->channels + OVERALL, S = d->channels;
    double x[AT_ONCE], y[AT_ONCE], ripe[AT_ONCE];
    const float *features = observation + first * width + s;
    double *restrict clicked = work(d, CLICKED, s), *restrict expected = work(d, EXPECTED, s);
    double *restrict price = work(d, PRICE, s), *restrict gap = work(d, GAP, s), *restrict value = work(d, LOG_VALUE, s);
    see(features + 3 * S, width, n, clicked);
    see(features + 4 * S, width, n, expected);
    for (Int i = 0; i < n; i++) clicked[i] = exp_(clicked[i]) - 1.0;
    for (Int i = 0; i < n; i++) expected[i] = exp_(expected[i]) - 1.0;
    if (d->waits) {
        Int at = s * d->flights + first;
        ripen_seen(d->waits, n, clicked, d->all_clicks + at, d->unripe + at, ripe);
    }
    see(features, width, n, x);
    see_values(d, t, s, first, n, x, d->waits ? ripe : clicked, value);
    see(features + S, width, n, x);
    see(features + 2 * S, width, n, y);
    see_prices(d, t, s, n, d->price_tracking + first, x, y, work(d, NOW, s), price);
    for (Int i = 0; i < n; i++) gap[i] = value[i] - price[i];
    for (Int i = 0; i < n; i++) price[i] = exp_(price[i]);
    if (d->tiring) {
        double *restrict tired = work(d, TIRED, s);
        see(features + 7 * S, width, n, tired);
        for (Int i = 0; i < n; i++) tired[i] = exp_(tired[i]);
    }
}

/* Calibrated traffic from hour t to midnight, in average days. */
static double rest_of_today(const Dual *d, Int t) {
    Int midnight = (t / DAY + 1) * DAY, hours = (Int)HOURS;
    return d->traffic_ahead[t] - d->traffic_ahead[midnight < hours ? midnight : hours];
}

/* Volumes._count() of n flights, of what all channels together have clicked. */
static void count(const Dual *d, Int t, Int first, Int n) {
    double clicks[AT_ONCE], expected[AT_ONCE];
    double *restrict midnight = d->clicks_at_midnight + first, *restrict expected_then = d->expected_at_midnight + first;
    double *restrict flight = d->flight + first, *restrict today = d->today + first;
    for (Int i = 0; i < n; i++) clicks[i] = expected[i] = 0.0;
    for (Int s = 0; s < d->channels; s++) {
        const double *clicked = work(d, CLICKED, s), *due = work(d, EXPECTED, s);
        for (Int i = 0; i < n; i++) clicks[i] += clicked[i], expected[i] += due[i];
    }
    for (Int i = 0; i < n && t % DAY == 0; i++) midnight[i] = clicks[i], expected_then[i] = expected[i];
    for (Int i = 0; i < n; i++) {
        flight[i] = (clicks[i] + TODAY_PRIOR) / (expected[i] + TODAY_PRIOR);
        today[i] = (clicks[i] - midnight[i] + TODAY_PRIOR) / (expected[i] - expected_then[i] + TODAY_PRIOR);
    }
}

/* Volumes._levels(): to AHEAD. */
static void count_levels(const Dual *d, Int t, Int first, Int n) {
    double ahead[AT_ONCE], traffic = d->traffic_ahead[t], rest = rest_of_today(d, t);
    const double *restrict prior = d->volume_prior + first, *restrict use = d->traffic_use + first;
    for (Int i = 0; i < n; i++) {
        double surplus = exp_(use[i] * log_(d->today[first + i] / d->flight[first + i])) - 1.0;
        ahead[i] = traffic + rest * surplus;
    }
    for (Int s = 0; s < d->channels; s++) {
        const double *restrict clicked = work(d, CLICKED, s), *restrict expected = work(d, EXPECTED, s);
        double *restrict level = work(d, AHEAD, s);
        for (Int i = 0; i < n; i++) level[i] = (clicked[i] + prior[i]) / (expected[i] + prior[i]) * ahead[i];
    }
}

/* FilteredVolumes._hear() of n flights, of the sums over the channels. */
static void hear(const Dual *d, Int first, Int n, const double *restrict clicks, const double *restrict expected) {
    double *restrict level = d->level + first, *restrict level_variance = d->level_variance + first;
    double *restrict day = d->day + first, *restrict day_variance = d->day_level_variance + first;
    double *restrict covariance = d->covariance + first;
    const double *restrict hour = d->hour_variance + first;
    for (Int i = 0; i < n; i++) {
        double heard = most(clicks[i], 0.0) + 0.5, due = most(expected[i], 0.0) + 0.5;
        double surprise = log_(heard / due) + hour[i] / 2.0 - level[i] - day[i];
        double toward_level = level_variance[i] + covariance[i], toward_day = day_variance[i] + covariance[i];
        double variance = toward_level + toward_day + hour[i] + 1.0 / heard;
        double level_gain = toward_level / variance, day_gain = toward_day / variance;
        level[i] = level[i] + level_gain * surprise, day[i] = day[i] + day_gain * surprise;
        level_variance[i] = level_variance[i] - level_gain * toward_level;
        covariance[i] = covariance[i] - level_gain * toward_day;
        day_variance[i] = day_variance[i] - day_gain * toward_day;
    }
}

/* What a channel's clicks add to the sums that the filter hears. */
static void overhear(Int n, const double *restrict clicked, const double *restrict due, double *restrict clicks_before,
                     double *restrict due_before, double *restrict clicks, double *restrict expected) {
    for (Int i = 0; i < n; i++) {
        clicks[i] += clicked[i] - clicks_before[i], expected[i] += due[i] - due_before[i];
        clicks_before[i] = clicked[i], due_before[i] = due[i];
    }
}

/* FilteredVolumes._levels(): to AHEAD. */
static void filter_levels(const Dual *d, Int t, Int first, Int n) {
    double clicks[AT_ONCE], expected[AT_ONCE], due[AT_ONCE], ahead[AT_ONCE];
    const double *restrict prior = d->volume_prior + first, *restrict flight = d->flight + first;
    for (Int i = 0; i < n; i++) clicks[i] = expected[i] = 0.0;
    for (Int s = 0; s < d->channels; s++) {
        const double *restrict clicked = work(d, CLICKED, s), *restrict known = work(d, EXPECTED, s);
        double *restrict relative = work(d, AHEAD, s);
        Int at = s * d->flights + first;
        for (Int i = 0; i < n; i++) {
            relative[i] = (clicked[i] / flight[i] + prior[i]) / (known[i] + prior[i]);
            due[i] = known[i] * relative[i];
        }
        if (t) overhear(n, clicked, due, d->heard_clicks + at, d->heard_expected + at, clicks, expected);
    }
    if (t) hear(d, first, n, clicks, expected);
    for (Int i = first; i < first + n && t && t % DAY == 0; i++) {
        d->day[i] = -d->day_variance[i] / 2.0, d->day_level_variance[i] = d->day_variance[i], d->covariance[i] = 0.0;
    }
    double rest = rest_of_today(d, t), later = d->traffic_ahead[t] - rest;
    for (Int i = 0; i < n; i++) {
        Int f = first + i;
        double both = d->level_variance[f] + 2.0 * d->covariance[f] + d->day_level_variance[f];
        double level = exp_(d->level[f] + d->level_variance[f] / 2.0), today = exp_(d->level[f] + d->day[f] + both / 2.0);
        ahead[i] = level * later + today * rest;
    }
    for (Int s = 0; s < d->channels; s++) {
        double *restrict level = work(d, AHEAD, s);
        for (Int i = 0; i < n; i++) level[i] = level[i] * ahead[i];
    }
}

/* Expected clicks if every auction were won: levels in AHEAD become clicks, and SCALE what they cost at location 0. */
static void expect_clicks(const Dual *d, Int n) {
    for (Int s = 0; s < d->channels; s++) {
        double *restrict ahead = work(d, AHEAD, s), *restrict scale = work(d, SCALE, s), per_day = d->clicks_per_day[s];
        const double *restrict tired = work(d, TIRED, s), *restrict price = work(d, PRICE, s);
        for (Int i = 0; i < n; i++) ahead[i] = per_day * ahead[i];
        for (Int i = 0; i < n && d->tiring; i++) ahead[i] = ahead[i] * tired[i];
        for (Int i = 0; i < n; i++) scale[i] = ahead[i] * price[i];
    }
}

/* What a channel spends at each log multiplier, and minus its derivative. */
static void spend_at(const Dual *d, Int s, Int n, const double *restrict multiplier, double *restrict spent,
                     double *restrict slope) {
    const double *restrict gap = work(d, GAP, s), *restrict scale = work(d, SCALE, s);
    double u[AT_ONCE];
    for (Int i = 0; i < n; i++) u[i] = gap[i] - multiplier[i];
    spend_of_channel(d->prices, n, s, u, spent, slope);
    for (Int i = 0; i < n; i++) spent[i] = scale[i] * spent[i], slope[i] = scale[i] * slope[i];
}

/* The roots of n equations, from `x` on; x of by_channel() is that of cells, of spend_all() that of flights. */
typedef struct {
    double low[AT_ONCE], high[AT_ONCE], log_budget[AT_ONCE], spent[AT_ONCE], slope[AT_ONCE];
    Int settled[AT_ONCE];
    Roots roots;
} Solver;

static void start_solver(Solver *v, Int n, const double *budget, double *x) {
    v->roots = (Roots){n, x, v->low, v->high, v->log_budget, v->settled};
    start_roots(&v->roots, budget, LOG_MULTIPLIER_RANGE[0], LOG_MULTIPLIER_RANGE[1]);
}

/* Returns how many equations are not settled. */
static Int step_solver(Solver *v) {
    return step_roots(&v->roots, v->spent, v->slope, LOG_MULTIPLIER_RANGE[0], LOG_MULTIPLIER_RANGE[1]);
}

/* What is spent up to a cap. */
static void keep_to_cap(Int n, const double *restrict cap, double *restrict spent, double *restrict slope) {
    for (Int i = 0; i < n; i++) {
        slope[i] = spent[i] < cap[i] ? slope[i] : 0.0;
        spent[i] = least(spent[i], cap[i]);
    }
}

/* planning.spend_all(): the multipliers that spend these budgets, from those given on. */
static void spend_all(const Dual *d, Int n, const double *budget, int capped, Int steps, double *multiplier) {
    Solver v;
    double spent[AT_ONCE], slope[AT_ONCE];
    start_solver(&v, n, budget, multiplier);
    for (Int left = n; left && steps; steps--) {
        for (Int i = 0; i < n; i++) v.spent[i] = v.slope[i] = 0.0;
        for (Int s = 0; s < d->channels; s++) {
            spend_at(d, s, n, multiplier, spent, slope);
            if (capped) keep_to_cap(n, work(d, CAP, s), spent, slope);
            for (Int i = 0; i < n; i++) v.spent[i] += spent[i], v.slope[i] += slope[i];
        }
        left = step_solver(&v);
    }
}

/* planning.by_channel() of a channel with a cap. */
static void raise_to_cap(const Dual *d, Int s, Int n, const double *common, double *each) {
    Solver v;
    for (Int i = 0; i < n; i++) each[i] = common[i];
    start_solver(&v, n, work(d, CAP, s), each);
    for (Int left = n, steps = NEWTON_STEPS; left && steps; steps--) {
        spend_at(d, s, n, each, v.spent, v.slope);
        left = step_solver(&v);
    }
    for (Int i = 0; i < n; i++) each[i] = most(each[i], common[i]);
}

/* BayesDual's first guess, in the calibrated market. Leaves GAP and SCALE as they were not. */
static void guess(const Dual *d, Int n, const double *budget, double *multiplier) {
    for (Int s = 0; s < d->channels; s++) {
        double *restrict gap = work(d, GAP, s), *restrict scale = work(d, SCALE, s);
        for (Int i = 0; i < n; i++) gap[i] = d->calibrated_gap[s], scale[i] = d->calibrated_scale[s];
    }
    for (Int i = 0; i < n; i++) multiplier[i] = 0.0;
    spend_all(d, n, budget, 0, FIRST_STEPS, multiplier);
}

/* planning.declining(): to SCALE. */
static void decline(const Dual *d, Int n, const double *restrict multiplier) {
    for (Int s = 0; s < d->channels; s++) {
        const double *restrict gap = work(d, GAP, s), *restrict ahead = work(d, AHEAD, s);
        const double *restrict tired = work(d, TIRED, s), *restrict price = work(d, PRICE, s);
        double *restrict scale = work(d, SCALE, s), ctr = d->ctr[s], tiring = d->tiring[s];
        double u[AT_ONCE], x[AT_ONCE], win[AT_ONCE];
        for (Int i = 0; i < n; i++) u[i] = gap[i] - multiplier[i];
        best_bid_of_channel(d->prices, n, s, u, x);
        win_of_channel(d->prices, n, s, x, win);
        for (Int i = 0; i < n; i++) {
            double impressions = ahead[i] / (ctr * tired[i]) * win[i];
            double loss = -most(impressions * tiring, LOWEST_LOG_FATIGUE);
            double series = 1.0 - loss * (0.5 - loss / 6.0), left = (1.0 - exp_(-loss)) / most(loss, 1e-4);
            scale[i] = ahead[i] * (loss > 1e-4 ? left : series) * price[i];
        }
    }
}

/* The bids of a channel, as actions. */
static void bid(const Dual *d, Int s, Int n, const double *restrict each, const double *restrict shade,
                float *restrict action) {
    const double *restrict value = work(d, LOG_VALUE, s), *restrict now = work(d, NOW, s);
    double base = d->log_bid[s], scale = d->action_scale, u[AT_ONCE], x[AT_ONCE], scaled[AT_ONCE];
    for (Int i = 0; i < n; i++) {
        double worth = value[i] - clip(each[i] + shade[i], LOG_MULTIPLIER_RANGE[0], LOG_MULTIPLIER_RANGE[1]);
        u[i] = worth - now[i];
    }
    best_bid_of_channel(d->prices, n, s, u, x);
    for (Int i = 0; i < n; i++) scaled[i] = clip((now[i] + x[i] - base) / scale, -1.0, 1.0);
    for (Int i = 0; i < n; i++) action[i * d->channels + s] = (float)scaled[i];
}

/* BayesDual.act() of n <= AT_ONCE flights from `first` on, in hour t; `fresh`: their first plan. */
static void plan_block(const Dual *d, Int t, int fresh, Int first, Int n, const float *observation, float *action) {
    Int width = PER_CHANNEL * d->channels + OVERALL;
    const float *overall = observation + first * width + PER_CHANNEL * d->channels;
    double budget[AT_ONCE], left[AT_ONCE], shade[AT_ONCE], each[AT_ONCE], early = 1.0 - (double)t / HOURS;
    double *multiplier = d->log_multiplier + first;
    see(overall + 1, width, n, left);
    see(overall + 5, width, n, budget);
    for (Int i = 0; i < n; i++) budget[i] = d->mean_budget * exp_(budget[i]);
    for (Int i = 0; i < n; i++) left[i] = left[i] * budget[i];
    if (fresh) guess(d, n, budget, multiplier);
    for (Int s = 0; s < d->channels; s++) {
        see_channel(d, t, s, first, n, observation);
        if (d->spend_cap) {
            double *restrict cap = work(d, CAP, s);
            see(observation + first * width + 5 * d->channels + s, width, n, cap);
            for (Int i = 0; i < n; i++) cap[i] = most((d->spend_cap[s] - cap[i]) * budget[i], 0.0);
        }
    }
    count(d, t, first, n);
    if (d->filters) filter_levels(d, t, first, n);
    else count_levels(d, t, first, n);
    expect_clicks(d, n);
    if (fresh) spend_all(d, n, left, d->spend_cap != 0, FIRST_STEPS, multiplier);
    if (d->tiring) decline(d, n, multiplier);
    spend_all(d, n, left, d->spend_cap != 0, NEWTON_STEPS, multiplier);
    for (Int i = 0; i < n && fresh; i++) d->first_multiplier[first + i] = multiplier[i];
    for (Int i = 0; i < n; i++) shade[i] = d->shade[first + i] + d->pacing_shade[first + i] * early;
    for (Int s = 0; s < d->channels; s++) {
        if (d->spend_cap) raise_to_cap(d, s, n, multiplier, each);
        bid(d, s, n, d->spend_cap ? each : multiplier, shade, action + first * d->channels);
    }
}

/* BayesDual.act() of all flights. */
EXPORT void gaelp_plan(const Dual *d, Int t, Int fresh, const float *observation, float *action) {
    for (Int first = 0; first < d->flights; first += AT_ONCE) {
        Int n = d->flights - first < AT_ONCE ? d->flights - first : AT_ONCE;
        plan_block(d, t, fresh != 0, first, n, observation, action);
    }
}
