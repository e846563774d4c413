/* simulator/oracle.py */

#pragma once

#include "multiplier.h"

/* Flights that are solved together: few, as a block takes as many steps as the slowest of them. */
enum { TOGETHER = 8, HOURS_AT_ONCE = BLOCK / TOGETHER };
enum { SOLVER_STEPS = 80, SAMPLE = 7, ROUNDS = 24 };
static const double LOWEST_MULTIPLIER = -12.0, HIGHEST_MULTIPLIER = 12.0, ROUND_STEP = 0.3;

/* The truth of B flights on S channels, and their optimum. Cells are in the order of flights, S each. optimum.py has the
 * same structure. */
typedef struct {
    Int flights, channels, hours;
    const Prices *prices;                            /* with best responses */
    const double *order_value, *spend_cap, *fatigue; /* per channel; the last two 0 without */
    const double *volume, *ctr;                      /* per cell */
    const double *traffic;                           /* hours x flights */
    const double *log_price, *conversion_rate;       /* hours x cells */
    const double *budget;
    double *multiplier, *cost, *revenue; /* per flight */
} Optimum;

/* The cells of a few flights, n in all, in the order of channels: the prices of a loop are those of one channel. */
typedef struct {
    const Optimum *o;
    Int flights, n, first; /* first: of the flights */
    /* channels x flights */
    double *cap, *each, *spent, *slope, *earned, *ctr;
    /* channels x hours x flights */
    double *log_price, *price, *clicks, *value, *worth, *scale;
    double *fresh, *truly, *tired, *shadow, *surplus;
    /* per flight */
    double *common, *flight_spent, *flight_slope, *multiplier, *cost, *revenue;
    Roots by_flight, by_cell;
} Plan;

/* Hours of a channel, as many as fit into a block: `at` is the place of the first in its arrays of all hours. */
typedef struct {
    Int s, at, hours, n;
} Run;

static Run run_of(const Plan *p, Int s, Int hour, Int every, Int hours) {
    Int left = (hours - hour + every - 1) / every, count = left < HOURS_AT_ONCE ? left : HOURS_AT_ONCE;
    return (Run){s, (s * hours + hour) * p->flights, count, count * p->flights};
}

/* Loops are functions of their own: so gcc knows that the arrays which they write to overlap no others, and vectorises
 * them. `stride` is the distance between two hours. */
#define LOOP static __attribute__((noinline)) void

INLINE void subtract_(Int hours, Int flights, Int stride, const double *worth, const double *each,
                      double *restrict u) {
    for (Int hour = 0; hour < hours; hour++)
        for (Int i = 0; i < flights; i++) u[hour * flights + i] = worth[hour * stride + i] - each[i];
}

LOOP subtract(Int hours, Int flights, Int stride, const double *worth, const double *each, double *restrict u) {
    if (flights == TOGETHER) subtract_(hours, TOGETHER, stride, worth, each, u);
    else subtract_(hours, flights, stride, worth, each, u);
}

INLINE void add_hours_(Int hours, Int flights, Int stride, const double *scale, const double *x, double *restrict sum) {
    for (Int hour = 0; hour < hours; hour++)
        for (Int i = 0; i < flights; i++) sum[i] += scale[hour * stride + i] * x[hour * flights + i];
}

LOOP add_hours(Int hours, Int flights, Int stride, const double *scale, const double *x, double *restrict sum) {
    if (flights == TOGETHER) add_hours_(hours, TOGETHER, stride, scale, x, sum);
    else add_hours_(hours, flights, stride, scale, x, sum);
}

LOOP multiply(Int n, const double *a, const double *b, double *restrict product) {
    for (Int i = 0; i < n; i++) product[i] = a[i] * b[i];
}

/* Cells.spend() at the log multipliers `each`, of one in `every` hours. */
static void spend(const Plan *p, Int every) {
    Int hours = p->o->hours, flights = p->flights, stride = every * flights;
    double u[BLOCK], paid[BLOCK], slope[BLOCK];
    for (Int i = 0; i < p->n; i++) p->spent[i] = p->slope[i] = 0.0;
    for (Int s = 0; s < p->o->channels; s++) {
        Int first = s * flights;
        for (Int hour = 0; hour < hours; hour += every * HOURS_AT_ONCE) {
            Run run = run_of(p, s, hour, every, hours);
            subtract(run.hours, flights, stride, p->worth + run.at, p->each + first, u);
            spend_of_channel(p->o->prices, run.n, s, u, paid, slope);
            add_hours(run.hours, flights, stride, p->scale + run.at, paid, p->spent + first);
            add_hours(run.hours, flights, stride, p->scale + run.at, slope, p->slope + first);
        }
    }
}

/* A number of each flight, for all of its cells. */
static void spread(const Plan *p, const double *by_flight, double *restrict by_cell) {
    for (Int s = 0; s < p->o->channels; s++)
        for (Int i = 0; i < p->flights; i++) by_cell[s * p->flights + i] = by_flight[i];
}

/* Sums over the channels of each flight. */
static void add_channels(const Plan *p, const double *by_cell, double *restrict by_flight) {
    for (Int i = 0; i < p->flights; i++) by_flight[i] = by_cell[i];
    for (Int s = 1; s < p->o->channels; s++)
        for (Int i = 0; i < p->flights; i++) by_flight[i] += by_cell[s * p->flights + i];
}

/* The smallest of each flight's log multipliers. */
static void lowest_of(const Plan *p, double *restrict lowest) {
    for (Int i = 0; i < p->flights; i++) lowest[i] = p->each[i];
    for (Int s = 1; s < p->o->channels; s++)
        for (Int i = 0; i < p->flights; i++) lowest[i] = least(lowest[i], p->each[s * p->flights + i]);
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

/* _cells() of a channel's hours, n in all, of which log_price, value (the conversion rates) and clicks (the traffic) are
 * filled in. */
LOOP value_hours(Int n, double order_value, const double *log_price, double *restrict price, double *restrict value,
                 double *restrict worth) {
    for (Int i = 0; i < n; i++) {
        value[i] = value[i] * order_value;
        price[i] = exp_(log_price[i]);
        worth[i] = log_(value[i]) - log_price[i];
    }
}

static void open_channel(Plan *p, Int s) {
    const Optimum *o = p->o;
    Int flights = p->flights, at = s * o->hours * flights;
    double often[TOGETHER];
    for (Int i = 0; i < flights; i++) {
        Int cell = (p->first + i) * o->channels + s;
        p->ctr[s * flights + i] = o->ctr[cell];
        often[i] = o->volume[cell] * o->ctr[cell];
        if (o->spend_cap) {
            double cap = o->spend_cap[s] * o->budget[p->first + i];
            p->cap[s * flights + i] = o->spend_cap[s] < 1.0 ? cap : __builtin_inf();
        }
    }
    for (Int hour = 0, to = at; hour < o->hours; hour++) {
        for (Int i = 0; i < flights; i++, to++) {
            Int from = (hour * o->flights + p->first + i) * o->channels + s;
            p->log_price[to] = o->log_price[from], p->value[to] = o->conversion_rate[from];
            p->clicks[to] = o->traffic[hour * o->flights + p->first + i] * often[i];
        }
    }
    value_hours(o->hours * flights, o->order_value[s], p->log_price + at, p->price + at, p->value + at, p->worth + at);
}

/* _cells(), for the flights from `first` on. */
static void open_plan(Plan *p, Int first) {
    const Optimum *o = p->o;
    p->first = first, p->flights = o->flights - first < TOGETHER ? o->flights - first : TOGETHER;
    p->n = p->by_cell.n = p->flights * o->channels, p->by_flight.n = p->flights;
    for (Int s = 0; s < o->channels; s++) open_channel(p, s);
    for (Int i = 0; i < o->hours * p->n; i++) p->scale[i] = p->clicks[i] * p->price[i];
}

/* Cells.outcome() of a run */
static void bid_best(const Plan *p, Run run, double *restrict win, double *restrict paid) {
    double u[BLOCK], x[BLOCK];
    subtract(run.hours, p->flights, p->flights, p->worth + run.at, p->each + run.s * p->flights, u);
    best_bid_of_channel(p->o->prices, run.n, run.s, u, x);
    win_of_channel(p->o->prices, run.n, run.s, x, win);
    payment_of_channel(p->o->prices, run.n, run.s, u, paid);
}

/* The optimum of the flights, of what their cells cost and earn. */
static void sum_up(Plan *p) {
    lowest_of(p, p->multiplier);
    for (Int i = 0; i < p->flights; i++) p->multiplier[i] = exp_(p->multiplier[i]);
    add_channels(p, p->spent, p->cost);
    add_channels(p, p->earned, p->revenue);
}

/* Cells.optimum() */
static void close_plan(Plan *p) {
    Int hours = p->o->hours, flights = p->flights;
    double win[BLOCK], paid[BLOCK], worth[BLOCK];
    for (Int i = 0; i < p->n; i++) p->spent[i] = p->earned[i] = 0.0;
    for (Int s = 0; s < p->o->channels; s++) {
        for (Int hour = 0; hour < hours; hour += HOURS_AT_ONCE) {
            Run run = run_of(p, s, hour, 1, hours);
            bid_best(p, run, win, paid);
            multiply(run.n, p->clicks + run.at, p->value + run.at, worth);
            add_hours(run.hours, flights, flights, p->scale + run.at, paid, p->spent + s * flights);
            add_hours(run.hours, flights, flights, worth, win, p->earned + s * flights);
        }
    }
    sum_up(p);
}

/* What was won before each hour; `won` are the impressions of the hours before the first, and then after the last. */
LOOP win_hours(Int hours, Int flights, const double *fresh, const double *ctr, const double *win, double *restrict won,
               double *restrict before) {
    for (Int hour = 0, k = 0; hour < hours; hour++) {
        for (Int i = 0; i < flights; i++, k++) {
            double impressions = fresh[k] / ctr[i] * win[k];
            won[i] += impressions;
            before[k] = won[i] - impressions;
        }
    }
}

/* The clicks of hours that are played through with the fatigue that the plan brings. */
LOOP tire_truly(Int n, double fatigue, const double *before, const double *fresh, double *restrict truly,
                double *restrict clicks) {
    for (Int i = 0; i < n; i++) {
        double t = most(before[i] * -fatigue, LOWEST_LOG_FATIGUE);
        truly[i] = t;
        clicks[i] = fresh[i] * exp_(t);
    }
}

LOOP find_surplus(Int hours, Int flights, const double *worth, const double *clicks, const double *scale,
                  const double *paid, double *restrict surplus) {
    for (Int hour = 0, k = 0; hour < hours; hour++)
        for (Int i = 0; i < flights; i++, k++) surplus[k] = clicks[k] * (worth[k] - scale[i] * paid[k]);
}

/* The hours of a channel, played through with the fatigue that they bring. */
static void play_channel(const Plan *p, Int s) {
    Int hours = p->o->hours, flights = p->flights, first = s * flights;
    double won[TOGETHER], return_[TOGETHER], win[BLOCK], paid[BLOCK], before[BLOCK], clicks[BLOCK], x[BLOCK], y[BLOCK];
    for (Int i = 0; i < flights; i++) won[i] = 0.0, return_[i] = exp_(p->each[first + i]);
    for (Int hour = 0; hour < hours; hour += HOURS_AT_ONCE) {
        Run run = run_of(p, s, hour, 1, hours);
        const double *fresh = p->fresh + run.at, *price = p->price + run.at, *value = p->value + run.at;
        bid_best(p, run, win, paid);
        win_hours(run.hours, flights, fresh, p->ctr + first, win, won, before);
        tire_truly(run.n, p->o->fatigue[s], before, fresh, p->truly + run.at, clicks);
        multiply(run.n, clicks, price, x);
        add_hours(run.hours, flights, flights, x, paid, p->spent + first);
        multiply(run.n, clicks, value, x);
        add_hours(run.hours, flights, flights, x, win, p->earned + first);
        multiply(run.n, value, win, x);
        multiply(run.n, price, paid, y);
        find_surplus(run.hours, flights, x, p->clicks + run.at, return_, y, p->surplus + run.at);
    }
}

/* What is earned after each hour; `later` is that of the hours after the last, and then from the first on. */
LOOP look_ahead(Int hours, Int flights, const double *surplus, double *restrict later, double *restrict after) {
    for (Int hour = hours - 1; hour >= 0; hour--) {
        for (Int i = 0; i < flights; i++) {
            Int k = hour * flights + i;
            later[i] += surplus[k];
            after[k] = later[i] - surplus[k];
        }
    }
}

/* A step towards the fatigue and the shadow prices that belong to the plan. */
LOOP adapt(Int n, double fatigue, const double *after, const double *truly, const double *fresh,
           double *restrict tired, double *restrict shadow, double *restrict left, double *restrict clicks) {
    for (Int i = 0; i < n; i++) {
        tired[i] = tired[i] + ROUND_STEP * (truly[i] - tired[i]);
        shadow[i] = shadow[i] + ROUND_STEP * (after[i] * fatigue - shadow[i]);
        left[i] = exp_(tired[i]);
        clicks[i] = fresh[i] * left[i];
    }
}

/* What the clicks are worth net of shadow prices; the rates `left` become these rates of clicks. */
LOOP net_worth(Int hours, Int flights, const double *shadow, const double *ctr, const double *value,
               double *restrict left) {
    for (Int hour = 0, k = 0; hour < hours; hour++)
        for (Int i = 0; i < flights; i++, k++) left[k] = value[k] - shadow[k] / (ctr[i] * left[k]);
}

LOOP worth_of(Int n, const double *net, const double *value, const double *log_price, const double *clicks,
              const double *price, double *restrict worth, double *restrict scale) {
    for (Int i = 0; i < n; i++) {
        worth[i] = log_(most(net[i], 1e-9 * value[i])) - log_price[i];
        scale[i] = clicks[i] * price[i];
    }
}

static void tire_channel(const Plan *p, Int s) {
    Int hours = p->o->hours, flights = p->flights;
    double later[TOGETHER] = {0.0}, after[BLOCK], net[BLOCK];
    for (Int hour = (hours - 1) / HOURS_AT_ONCE * HOURS_AT_ONCE; hour >= 0; hour -= HOURS_AT_ONCE) {
        Run run = run_of(p, s, hour, 1, hours);
        Int at = run.at;
        look_ahead(run.hours, flights, p->surplus + at, later, after);
        adapt(run.n, p->o->fatigue[s], after, p->truly + at, p->fresh + at, p->tired + at, p->shadow + at, net,
              p->clicks + at);
        net_worth(run.hours, flights, p->shadow + at, p->ctr + s * flights, p->value + at, net);
        worth_of(run.n, net, p->value + at, p->log_price + at, p->clicks + at, p->price + at, p->worth + at,
                 p->scale + at);
    }
}

/* _better(): what the flights have, or the best so far. */
static void keep_better(const Plan *p) {
    const Optimum *o = p->o;
    Int first = p->first;
    for (Int flight = 0; flight < p->flights; flight++) {
        double over = most(p->cost[flight] / o->budget[first + flight], 1.0);
        double cost = p->cost[flight] / over, revenue = p->revenue[flight] / over;
        if (!(revenue > o->revenue[first + flight])) continue;
        o->multiplier[first + flight] = p->multiplier[flight];
        o->cost[first + flight] = cost, o->revenue[first + flight] = revenue;
    }
}

/* _with_fatigue() */
static void play_rounds(Plan *p) {
    const Optimum *o = p->o;
    for (Int i = 0; i < o->hours * p->n; i++) p->fresh[i] = p->clicks[i], p->tired[i] = p->shadow[i] = 0.0;
    for (Int flight = p->first; flight < p->first + p->flights; flight++)
        o->multiplier[flight] = 1.0, o->cost[flight] = o->revenue[flight] = 0.0;
    for (Int round = 0; round < ROUNDS; round++) {
        if (round) find_multipliers(p, o->budget + p->first);
        for (Int i = 0; i < p->n; i++) p->spent[i] = p->earned[i] = 0.0;
        for (Int s = 0; s < o->channels; s++) play_channel(p, s);
        sum_up(p);
        keep_better(p);
        for (Int s = 0; s < o->channels; s++) tire_channel(p, s);
        lowest_of(p, p->common);
    }
}

/* Lay a plan's arrays out in a room, or only count the numbers that it needs. */
static Int lay_out(Plan *p, const Optimum *o, double *room) {
    Int n = TOGETHER * o->channels, taken = 0;
    double **hourly[] = {&p->log_price, &p->price, &p->clicks, &p->value, &p->worth, &p->scale};
    double **tiring[] = {&p->fresh, &p->truly, &p->tired, &p->shadow, &p->surplus};
    double **by_cell[] = {&p->cap, &p->each, &p->spent, &p->slope, &p->earned, &p->ctr,
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
            play_rounds(&p);
            continue;
        }
        close_plan(&p);
        for (Int i = 0; i < p.flights; i++) {
            o->multiplier[first + i] = p.multiplier[i];
            o->cost[first + i] = p.cost[i], o->revenue[first + i] = p.revenue[i];
        }
    }
}

/* What an hour's bids lose, which leave it `win`, `mean` and `open`. Per cell but where said. optimum.py has the same
 * structure. */
typedef struct {
    Int cells, channels, open_by_channel;
    const Prices *prices; /* with best responses */
    const Word *channel;
    const double *order_value, *log_price, *volume, *ctr, *conversion_rate, *win, *mean;
    const uint8_t *open; /* per cell or per flight */
    const double *multiplier;
    double *lost; /* per flight, as the multiplier */
} Regret;

/* regret() of n cells from `first` on; what a flight's cells before these lose is in `lost`. */
static void regret_block(const Regret *r, Int first, Int n) {
    const double *log_price = r->log_price + first, *rate = r->conversion_rate + first, *order = r->order_value + first;
    const double *volume = r->volume + first, *ctr = r->ctr + first, *mean = r->mean + first, *win = r->win + first;
    Channels channels = {r->channel + first, 0};
    double price[BLOCK], open[BLOCK], value[BLOCK], u[BLOCK], x[BLOCK], won[BLOCK], paid[BLOCK], lost[BLOCK];
    for (Int i = 0, flight = first / r->channels, s = first % r->channels; i < n; i++) {
        price[i] = r->multiplier[flight];
        open[i] = r->open[r->open_by_channel ? first + i : flight] ? 1.0 : 0.0;
        if (++s == r->channels) s = 0, flight++;
    }
    for (Int i = 0; i < n; i++) {
        value[i] = rate[i] * order[i];
        u[i] = log_(value[i] / price[i]) - log_price[i];
    }
    best_bid_of(r->prices, n, channels, u, x);
    win_of(r->prices, n, channels, x, won);
    if (r->prices->first_price)
        for (Int i = 0; i < n; i++) paid[i] = exp_(x[i]) * won[i];
    else payment_of(r->prices, n, channels, x, paid);
    for (Int i = 0; i < n; i++) {
        double best = won[i] * value[i] - price[i] * (exp_(log_price[i]) * paid[i]);
        double made = win[i] * (value[i] - price[i] * mean[i]);
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
