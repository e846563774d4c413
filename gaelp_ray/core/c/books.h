/* simulator/ledger.py */

#pragma once

enum { PER_CHANNEL = 8, OVERALL = 6 };
static const double RECENT = 0.1, HOURS = 168.0, SMALL_CHANGE = 1e-9, LOWEST_LOG_FATIGUE = -30.0;

/* The books of B flights on S channels, before and after an hour. Arrays are per cell, in the order of flights, but
 * where said. books.py has the same structure. */
typedef struct {
    Int flights, channels;
    /* the market: each channel's numbers, once for each flight */
    const double *calibrated_clicks, *cpc, *order_value, *prior_clicks, *prior_conversions, *calibrated_rate, *max_bid;
    const double *fatigue_slope;       /* 0 without fatigue */
    const double *budget, *log_budget; /* per flight */
    double max_pacing_error;
    /* the hour that is booked, and what is known of the next */
    double traffic, waits, traffic_passed, time_left, hour_sin, hour_cos;
    Int delayed, open_by_channel;
    const Int *impressions, *clicks, *conversions;
    const double *cost, *revenue, *win_rate, *price, *bid, *true_rate;
    const uint8_t *open; /* per flight or per cell */
    /* the sums */
    double *all_impressions, *all_clicks, *all_conversions, *all_cost, *all_revenue, *expected_clicks, *recent_spend;
    double *unripe, *log_fatigue, *log_price_ratio;
    double *budget_left, *expected_revenue, *pacing_error, *bids_above_cap, *hours_off_pace; /* per flight */
    /* results */
    double *earned;     /* per flight */
    float *observation; /* per flight: PER_CHANNEL x S + OVERALL */
} Books;

static void add(Int n, const double *restrict x, double *restrict sum) {
    for (Int i = 0; i < n; i++) sum[i] += x[i];
}

static void add_counts(Int n, const Int *restrict counts, double *restrict sum) {
    for (Int i = 0; i < n; i++) sum[i] += real(counts[i]);
}

/* Clicks whose conversions have not been reported yet. */
static void ripen(Int n, const Int *restrict clicks, double waits, double *restrict unripe) {
    for (Int i = 0; i < n; i++) unripe[i] = (unripe[i] + real(clicks[i])) * waits;
}

static void tire(Int n, const double *restrict impressions, const double *restrict slope, double *restrict fatigue) {
    for (Int i = 0; i < n; i++) fatigue[i] = most(impressions[i] * slope[i], LOWEST_LOG_FATIGUE);
}

static void average(Int n, const double *restrict cost, const double *restrict budget, double *restrict recent) {
    for (Int i = 0; i < n; i++) recent[i] = recent[i] * (1.0 - RECENT) + (RECENT * HOURS) * cost[i] / budget[i];
}

/* Add the hour to the sums of n cells from `first` on, and compute what they contribute to the observation. */
INLINE void add_block(const Books *b, Int first, Int n, double features[PER_CHANNEL][BLOCK]) {
    double budget[BLOCK], expected[BLOCK];
    for (Int i = 0, flight = first / b->channels, s = first % b->channels; i < n; i++) {
        budget[i] = b->budget[flight];
        expected[i] = b->traffic * (b->open[b->open_by_channel ? first + i : flight] ? 1.0 : 0.0);
        if (++s == b->channels) s = 0, flight++;
    }
    for (Int i = 0; i < n; i++) expected[i] = b->calibrated_clicks[first + i] * (expected[i] * b->win_rate[first + i]);
    add_counts(n, b->impressions + first, b->all_impressions + first);
    if (b->fatigue_slope) {
        for (Int i = 0; i < n; i++) expected[i] = expected[i] * exp_(b->log_fatigue[first + i]);
        tire(n, b->all_impressions + first, b->fatigue_slope + first, b->log_fatigue + first);
    }
    add_counts(n, b->clicks + first, b->all_clicks + first);
    add_counts(n, b->conversions + first, b->all_conversions + first);
    add(n, b->cost + first, b->all_cost + first);
    add(n, b->revenue + first, b->all_revenue + first);
    add(n, expected, b->expected_clicks + first);
    if (b->delayed) ripen(n, b->clicks + first, b->waits, b->unripe + first);
    average(n, b->cost + first, budget, b->recent_spend + first);
    for (Int i = 0; i < n; i++) {
        /* Without delay `unripe` stays 0. */
        double ripe = b->all_clicks[first + i] - b->unripe[first + i];
        double posterior = b->all_conversions[first + i] + b->prior_conversions[first + i];
        features[0][i] = posterior / (ripe + b->prior_clicks[first + i]) / b->calibrated_rate[first + i];
        features[1][i] = b->win_rate[first + i];
        features[2][i] = b->price[first + i] / b->cpc[first + i];
        features[3][i] = 1.0 + b->all_clicks[first + i];
        features[4][i] = 1.0 + b->expected_clicks[first + i];
        features[5][i] = b->all_cost[first + i] / budget[i];
        features[6][i] = b->recent_spend[first + i];
        features[7][i] = b->log_fatigue[first + i];
    }
    for (Int i = 0; i < n; i++) {
        features[0][i] = log_(features[0][i]);
        features[2][i] = log_(features[2][i]);
        features[3][i] = log_(features[3][i]);
        features[4][i] = log_(features[4][i]);
    }
    for (Int i = 0; i < n; i++) b->log_price_ratio[first + i] = features[2][i];
}

/* Sum the hour over the channels of a flight, and complete its observation. */
static void close_flight(const Books *b, Int flight) {
    Int first = flight * b->channels;
    double earned = 0.0, cost = 0.0, above = 0.0, budget = b->budget[flight];
    for (Int i = first; i < first + b->channels; i++) {
        earned += (double)b->clicks[i] * b->true_rate[i] * b->order_value[i];
        cost += b->all_cost[i];
        above += b->bid[i] > b->max_bid[i] ? 1.0 : 0.0;
    }
    double left = budget * (1.0 - 1e-12) - cost;
    left = left > SMALL_CHANGE * budget ? left : 0.0;
    double pacing_error = 1.0 - left / budget - b->traffic_passed;
    b->earned[flight] = earned;
    b->expected_revenue[flight] += earned;
    b->budget_left[flight] = left;
    b->pacing_error[flight] = pacing_error;
    b->bids_above_cap[flight] += above;
    b->hours_off_pace[flight] += __builtin_fabs(pacing_error) > b->max_pacing_error ? 1.0 : 0.0;
    float *overall = b->observation + flight * (PER_CHANNEL * b->channels + OVERALL) + PER_CHANNEL * b->channels;
    overall[0] = (float)b->time_left;
    overall[1] = (float)(left / budget);
    overall[2] = (float)pacing_error;
    overall[3] = (float)b->hour_sin;
    overall[4] = (float)b->hour_cos;
    overall[5] = (float)b->log_budget[flight];
}

/* Book an hour of flights from `from` to before `end`: Ledger.book(), and Ledger.observe() of the next. */
static void close_flights(const Books *b, Int from, Int end) {
    double features[PER_CHANNEL][BLOCK];
    Int cells = end * b->channels, width = PER_CHANNEL * b->channels + OVERALL;
    for (Int first = from * b->channels; first < cells; first += BLOCK) {
        Int n = length(cells, first);
        add_block(b, first, n, features);
        for (Int feature = 0; feature < PER_CHANNEL; feature++) {
            float *place = b->observation + first / b->channels * width + feature * b->channels;
            for (Int i = 0, s = first % b->channels; i < n; i++) {
                place[s] = (float)features[feature][i];
                if (++s == b->channels) s = 0, place += width;
            }
        }
    }
    for (Int flight = from; flight < end; flight++) close_flight(b, flight);
}

/* The same of all flights. */
EXPORT void gaelp_close(const Books *b) { close_flights(b, 0, b->flights); }
