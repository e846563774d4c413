/* simulator/oracle.py, for lognormal prices in second-price auctions */

#pragma once

#include "multiplier.h"

/* Flights that are solved together: few, as a block takes as many steps as the slowest of them. */
enum { TOGETHER = 8 };
enum { SOLVER_STEPS = 80, SAMPLE = 7, ROUNDS = 24 };
static const double LOWEST_MULTIPLIER = -12.0, HIGHEST_MULTIPLIER = 12.0, ROUND_STEP = 0.3;

/* The truth of B flights on S channels, and their optimum. Cells are in the order of flights, S each. optimum.py has the
 * same structure. */
typedef struct {
    Int flights, channels, hours;
    /* per channel */
    const double *log_sd, *half_variance, *lift, *norm; /* log_sd^2 / 2, its exp, sqrt(2 pi) log_sd */
    const double *order_value, *spend_cap, *fatigue;    /* spend_cap, fatigue: 0 without */
    const double *volume, *ctr;                         /* per cell */
    const double *traffic;                              /* hours x flights */
    const double *log_price, *conversion_rate;          /* hours x cells */
    const double *budget;
    double *multiplier, *cost, *revenue; /* per flight */
} Optimum;

/* The cells of a few flights: n in all. */
typedef struct {
    const Optimum *o;
    Int flights, n, start; /* start: the first of its cells */
    /* per cell */
    double *sd, *half, *lift, *norm, *order_value, *often, *cap, *each, *spent, *slope;
    double *ctr, *fatigue, *won, *later, *return_;
    /* hours x n */
    double *price, *clicks, *value, *worth, *scale;
    double *fresh, *truly, *tired, *shadow, *surplus;
    /* per flight */
    double *common, *flight_spent, *flight_slope, *multiplier, *cost, *revenue;
    Roots by_flight, by_cell;
} Plan;

/* Loops over cells are functions of their own: so gcc knows that the arrays which they write to overlap no others, and
 * vectorises them. */
#define LOOP static __attribute__((noinline)) void

/* Cells.spend() of an hour, added to what earlier ones cost. */
LOOP spend_hour(const Plan *p, Int hour, double *restrict spent, double *restrict slope) {
    const double *worth = p->worth + hour * p->n, *scale = p->scale + hour * p->n;
    for (Int i = 0; i < p->n; i++) {
        double z = (worth[i] - p->each[i]) / p->sd[i] - p->sd[i];
        spent[i] += scale[i] * (p->lift[i] * ndtr_(z));
        slope[i] += scale[i] * (exp_(p->half[i] - 0.5 * z * z) / p->norm[i]);
    }
}

/* Cells.spend() at the log multipliers `each`, of one in `every` hours. */
static void spend(const Plan *p, Int every) {
    for (Int i = 0; i < p->n; i++) p->spent[i] = p->slope[i] = 0.0;
    for (Int hour = 0; hour < p->o->hours; hour += every) spend_hour(p, hour, p->spent, p->slope);
}

/* A number of each flight, for all of its cells. */
static void spread(const Plan *p, const double *by_flight, double *restrict by_cell) {
    for (Int flight = 0, i = 0; flight < p->flights; flight++)
        for (Int s = 0; s < p->o->channels; s++) by_cell[i++] = by_flight[flight];
}

/* Sums over the channels of each flight. */
static void add_channels(const Plan *p, const double *by_cell, double *restrict by_flight) {
    for (Int flight = 0, i = 0; flight < p->flights; flight++) {
        double total = by_cell[i++];
        for (Int s = 1; s < p->o->channels; s++) total += by_cell[i++];
        by_flight[flight] = total;
    }
}

/* The smallest of each flight's log multipliers. */
static void lowest_of(const Plan *p, double *restrict lowest) {
    for (Int flight = 0, i = 0; flight < p->flights; flight++) {
        lowest[flight] = p->each[i++];
        for (Int s = 1; s < p->o->channels; s++) lowest[flight] = least(lowest[flight], p->each[i++]);
    }
}

/* One log multiplier of each flight, from `common` on, for one in `every` hours. */
static void find_common(Plan *p, const double *budget, Int every, int capped) {
    Int left = 1;
    start_roots(&p->by_flight, budget, LOWEST_MULTIPLIER, HIGHEST_MULTIPLIER);
    for (Int step = 0; step < SOLVER_STEPS && left; step++) {
        spread(p, p->common, p->each);
        spend(p, every);
        for (Int i = 0; capped && i < p->n; i++) {
            int open = p->spent[i] < p->cap[i];
            p->spent[i] = open ? p->spent[i] : p->cap[i], p->slope[i] = open ? p->slope[i] : 0.0;
        }
        add_channels(p, p->spent, p->flight_spent);
        add_channels(p, p->slope, p->flight_slope);
        left = step_roots(&p->by_flight, p->flight_spent, p->flight_slope, LOWEST_MULTIPLIER, HIGHEST_MULTIPLIER);
    }
    spread(p, p->common, p->each);
}

/* Cells.near() */
static void start_near(Plan *p, const double *budget) {
    Int hours = p->o->hours;
    double share = (double)((hours + SAMPLE - 1) / SAMPLE) / (double)hours, of_sample[TOGETHER];
    for (Int flight = 0; flight < p->flights; flight++) {
        p->common[flight] = 0.0;
        of_sample[flight] = budget[flight] * share;
    }
    find_common(p, of_sample, SAMPLE, 0);
}

/* Cells.multipliers(), from `common` on. */
static void find_multipliers(Plan *p, const double *budget) {
    Roots *own = &p->by_cell;
    Int binding = 0;
    find_common(p, budget, 1, p->o->spend_cap != 0);
    if (!p->o->spend_cap) return;
    spend(p, 1);
    start_roots(own, p->cap, LOWEST_MULTIPLIER, HIGHEST_MULTIPLIER);
    for (Int i = 0; i < p->n; i++) {
        own->settled[i] = !(p->spent[i] > p->cap[i]);
        binding += !own->settled[i];
    }
    for (Int step = 0; step < SOLVER_STEPS && binding; step++) {
        spend(p, 1);
        binding = step_roots(own, p->spent, p->slope, LOWEST_MULTIPLIER, HIGHEST_MULTIPLIER);
    }
}

/* _cells() of an hour, whose traffic `clicks` holds. */
LOOP open_hour(const Plan *p, const double *log_price, const double *rate, double *restrict price,
               double *restrict clicks, double *restrict value, double *restrict worth, double *restrict scale) {
    for (Int i = 0; i < p->n; i++) {
        clicks[i] = clicks[i] * p->often[i];
        value[i] = rate[i] * p->order_value[i];
        price[i] = exp_(log_price[i]);
        worth[i] = log_(value[i]) - log_price[i];
        scale[i] = clicks[i] * price[i];
    }
}

/* _cells(), for the flights from `first` on. */
static void open_plan(Plan *p, Int first) {
    const Optimum *o = p->o;
    p->flights = o->flights - first < TOGETHER ? o->flights - first : TOGETHER;
    p->n = p->by_cell.n = p->flights * o->channels, p->by_flight.n = p->flights, p->start = first * o->channels;
    for (Int i = 0, s = 0; i < p->n; i++) {
        p->sd[i] = o->log_sd[s], p->half[i] = o->half_variance[s], p->lift[i] = o->lift[s], p->norm[i] = o->norm[s];
        p->order_value[i] = o->order_value[s], p->ctr[i] = o->ctr[p->start + i];
        p->often[i] = o->volume[p->start + i] * p->ctr[i];
        if (o->fatigue) p->fatigue[i] = o->fatigue[s];
        if (o->spend_cap) {
            double cap = o->spend_cap[s] * o->budget[first + i / o->channels];
            p->cap[i] = o->spend_cap[s] < 1.0 ? cap : __builtin_inf();
        }
        if (++s == o->channels) s = 0;
    }
    for (Int hour = 0; hour < o->hours; hour++) {
        Int from = hour * o->flights * o->channels + p->start, to = hour * p->n;
        spread(p, o->traffic + hour * o->flights + first, p->clicks + to);
        open_hour(p, o->log_price + from, o->conversion_rate + from, p->price + to, p->clicks + to, p->value + to,
                  p->worth + to, p->scale + to);
    }
}

/* Cells.optimum() of an hour, added to that of earlier ones. */
LOOP close_hour(const Plan *p, Int hour, double *restrict spent, double *restrict earned) {
    const double *worth = p->worth + hour * p->n, *scale = p->scale + hour * p->n;
    const double *clicks = p->clicks + hour * p->n, *value = p->value + hour * p->n;
    for (Int i = 0; i < p->n; i++) {
        double z = (worth[i] - p->each[i]) / p->sd[i];
        spent[i] += scale[i] * (p->lift[i] * ndtr_(z - p->sd[i]));
        earned[i] += clicks[i] * value[i] * ndtr_(z);
    }
}

/* The optimum of the flights from `first` on, of what its cells cost and earn. */
static void sum_up(Plan *p, const double *spent, const double *earned) {
    lowest_of(p, p->multiplier);
    for (Int flight = 0; flight < p->flights; flight++) p->multiplier[flight] = exp_(p->multiplier[flight]);
    add_channels(p, spent, p->cost);
    add_channels(p, earned, p->revenue);
}

/* Cells.optimum() */
static void close_plan(Plan *p) {
    double *earned = p->slope;
    for (Int i = 0; i < p->n; i++) p->spent[i] = earned[i] = 0.0;
    for (Int hour = 0; hour < p->o->hours; hour++) close_hour(p, hour, p->spent, earned);
    sum_up(p, p->spent, earned);
}

/* An hour of a plan that is played through with the fatigue that it brings: `won` are the impressions up to the hour. */
LOOP play_hour(const Plan *p, Int hour, double *restrict won, double *restrict truly, double *restrict surplus,
               double *restrict spent, double *restrict earned) {
    Int at = hour * p->n;
    const double *worth = p->worth + at, *clicks = p->clicks + at, *fresh = p->fresh + at;
    const double *price = p->price + at, *value = p->value + at;
    for (Int i = 0; i < p->n; i++) {
        double z = (worth[i] - p->each[i]) / p->sd[i], win = ndtr_(z), paid = p->lift[i] * ndtr_(z - p->sd[i]);
        double impressions = fresh[i] / p->ctr[i] * win;
        won[i] += impressions;
        double left = (won[i] - impressions) * -p->fatigue[i], t = most(left, LOWEST_LOG_FATIGUE);
        double clicked = fresh[i] * exp_(t);
        truly[i] = t;
        spent[i] += clicked * price[i] * paid;
        earned[i] += clicked * value[i] * win;
        surplus[i] = clicks[i] * (value[i] * win - p->return_[i] * (price[i] * paid));
    }
}

/* A step towards the fatigue and the shadow prices that belong to the plan: `later` is the surplus from the hour on. */
LOOP tire_hour(const Plan *p, Int hour, double *restrict later, double *restrict tired, double *restrict shadow,
               double *restrict clicks, double *restrict worth, double *restrict scale) {
    Int at = hour * p->n;
    const double *fresh = p->fresh + at, *value = p->value + at, *truly = p->truly + at, *surplus = p->surplus + at;
    const double *price = p->price + at;
    const double *log_price = p->o->log_price + hour * p->o->flights * p->o->channels + p->start;
    for (Int i = 0; i < p->n; i++) {
        later[i] += surplus[i];
        tired[i] = tired[i] + ROUND_STEP * (truly[i] - tired[i]);
        shadow[i] = shadow[i] + ROUND_STEP * ((later[i] - surplus[i]) * p->fatigue[i] - shadow[i]);
        double left = exp_(tired[i]), net = value[i] - shadow[i] / (p->ctr[i] * left);
        clicks[i] = fresh[i] * left;
        worth[i] = log_(most(net, 1e-9 * value[i])) - log_price[i];
        scale[i] = clicks[i] * price[i];
    }
}

/* _better(): what the flights have, or the best so far. */
static void keep_better(const Plan *p, Int first) {
    const Optimum *o = p->o;
    for (Int flight = 0; flight < p->flights; flight++) {
        double over = most(p->cost[flight] / o->budget[first + flight], 1.0);
        double cost = p->cost[flight] / over, revenue = p->revenue[flight] / over;
        if (!(revenue > o->revenue[first + flight])) continue;
        o->multiplier[first + flight] = p->multiplier[flight];
        o->cost[first + flight] = cost, o->revenue[first + flight] = revenue;
    }
}

/* _with_fatigue() */
static void play_rounds(Plan *p, Int first) {
    const Optimum *o = p->o;
    Int hours = o->hours, n = p->n;
    for (Int i = 0; i < hours * n; i++) p->fresh[i] = p->clicks[i], p->tired[i] = p->shadow[i] = 0.0;
    for (Int flight = first; flight < first + p->flights; flight++)
        o->multiplier[flight] = 1.0, o->cost[flight] = o->revenue[flight] = 0.0;
    for (Int round = 0; round < ROUNDS; round++) {
        double *earned = p->slope;
        if (round) find_multipliers(p, o->budget + first);
        for (Int i = 0; i < n; i++) {
            p->return_[i] = exp_(p->each[i]);
            p->won[i] = p->later[i] = p->spent[i] = earned[i] = 0.0;
        }
        for (Int hour = 0; hour < hours; hour++)
            play_hour(p, hour, p->won, p->truly + hour * n, p->surplus + hour * n, p->spent, earned);
        sum_up(p, p->spent, earned);
        keep_better(p, first);
        for (Int hour = hours - 1; hour >= 0; hour--)
            tire_hour(p, hour, p->later, p->tired + hour * n, p->shadow + hour * n, p->clicks + hour * n,
                      p->worth + hour * n, p->scale + hour * n);
        lowest_of(p, p->common);
    }
}

/* Lay a plan's arrays out in a room, or only count the numbers that it needs. */
static Int lay_out(Plan *p, const Optimum *o, double *room) {
    Int n = TOGETHER * o->channels, taken = 0;
    double **hourly[] = {&p->price, &p->clicks, &p->value, &p->worth, &p->scale};
    double **tiring[] = {&p->fresh, &p->truly, &p->tired, &p->shadow, &p->surplus};
    double **by_cell[] = {&p->sd, &p->half, &p->lift, &p->norm, &p->order_value, &p->often, &p->cap, &p->each,
                          &p->spent, &p->slope, &p->ctr, &p->fatigue, &p->won, &p->later, &p->return_,
                          &p->by_cell.low, &p->by_cell.high, &p->by_cell.log_budget};
    double **by_flight[] = {&p->common, &p->flight_spent, &p->flight_slope, &p->multiplier, &p->cost, &p->revenue,
                            &p->by_flight.low, &p->by_flight.high, &p->by_flight.log_budget};
#define LAY_OUT(group, numbers)                                                                                        \
    for (unsigned k = 0; k < sizeof group / sizeof *group; k++, taken += numbers) *group[k] = room + taken;
    LAY_OUT(hourly, o->hours * n)
    if (o->fatigue) LAY_OUT(tiring, o->hours * n)
    LAY_OUT(by_cell, n)
    LAY_OUT(by_flight, TOGETHER)
    p->by_cell.settled = (Int *)(room + taken), p->by_flight.settled = (Int *)(room + taken + n);
    p->by_cell.x = p->each, p->by_flight.x = p->common;
    return taken + n + TOGETHER;
}

/* How many numbers gaelp_optimum() needs to work with. */
EXPORT Int gaelp_optimum_room(const Optimum *o) {
    Plan p;
    double nothing[1];
    return lay_out(&p, o, nothing);
}

/* hindsight_optimum() of every flight. */
EXPORT void gaelp_optimum(const Optimum *o, double *room) {
    Plan p = {.o = o};
    lay_out(&p, o, room);
    for (Int first = 0; first < o->flights; first += TOGETHER) {
        open_plan(&p, first);
        start_near(&p, o->budget + first);
        find_multipliers(&p, o->budget + first);
        if (o->fatigue) {
            play_rounds(&p, first);
            continue;
        }
        close_plan(&p);
        for (Int flight = 0; flight < p.flights; flight++) {
            o->multiplier[first + flight] = p.multiplier[flight];
            o->cost[first + flight] = p.cost[flight], o->revenue[first + flight] = p.revenue[flight];
        }
    }
}

/* What an hour's bids lose, which leave it `win`, `mean` and `open`. Per cell but where said. optimum.py has the same
 * structure. */
typedef struct {
    Int cells, channels;
    const double *log_sd, *lift, *order_value; /* per channel */
    const double *log_price, *volume, *ctr, *conversion_rate, *win, *mean;
    const uint8_t *open;
    const double *multiplier;
    double *lost; /* per flight, as the multiplier */
} Regret;

/* regret() of n cells from `first` on; what a flight's cells before these lose is in `lost`. */
static void regret_block(const Regret *r, Int first, Int n) {
    const double *log_price = r->log_price + first, *rate = r->conversion_rate + first, *win = r->win + first;
    const double *volume = r->volume + first, *ctr = r->ctr + first, *mean = r->mean + first;
    double sd[BLOCK], lift[BLOCK], order_value[BLOCK], price[BLOCK], open[BLOCK], lost[BLOCK];
    for (Int i = 0, flight = first / r->channels, s = first % r->channels; i < n; i++) {
        sd[i] = r->log_sd[s], lift[i] = r->lift[s], order_value[i] = r->order_value[s];
        price[i] = r->multiplier[flight], open[i] = r->open[first + i] ? 1.0 : 0.0;
        if (++s == r->channels) s = 0, flight++;
    }
    for (Int i = 0; i < n; i++) {
        double value = rate[i] * order_value[i], z = (log_(value / price[i]) - log_price[i]) / sd[i];
        double paid = exp_(log_price[i]) * (lift[i] * ndtr_(z - sd[i])), best = ndtr_(z) * value - price[i] * paid;
        double made = win[i] * (value - price[i] * mean[i]);
        made = open[i] > 0.0 ? made : 0.0;
        lost[i] = volume[i] * ctr[i] * most(best - made, 0.0);
    }
    for (Int i = 0, flight = first / r->channels, s = first % r->channels; i < n; i++) {
        r->lost[flight] = s ? r->lost[flight] + lost[i] : lost[i];
        if (++s == r->channels) s = 0, flight++;
    }
}

/* regret() of every flight. */
EXPORT void gaelp_regret(const Regret *r) {
    for (Int i = 0; i < r->cells; i += BLOCK) regret_block(r, i, length(r->cells, i));
}
