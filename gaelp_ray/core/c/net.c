/* agents/network.py and the loss of agents/ppo.py, in float32: a tanh network of two hidden layers, its gradients, Adam.
 *
 * The numbers are numpy's up to rounding; they are the same on every processor with fused multiply-add (x86-64-v3, v4,
 * ARM), for any number of rows: each output is summed by itself over k = 0, 1, ..., vectors lie along the outputs. On
 * x86-64-v2, which has no such instruction, the last bits differ. Nothing else is fused (-ffp-contract=off), and no
 * function of the C library is called.
 *
 * Rows are worked on in blocks, through all layers and back, so that activations stay in the cache. Networks are copied
 * to a workspace for each call, with rows and columns of zeros up to whole vectors.
 */

#include <stdint.h>

#if !defined(__clang__)
#pragma GCC optimize("no-tree-loop-distribute-patterns") /* which would make calls of memcpy and memset out of loops */
#endif

#define EXPORT __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 24")

typedef int64_t Int;

/* elementary.h */
void gaelp_exp(Int n, const double *restrict x, double *restrict y);
void gaelp_ndtri(Int n, const double *restrict p, double *restrict x);

/* Tiles of a product: so many rows times two vectors fill the registers. */
#if defined(__AVX512F__)
enum { LANES = 16, TILE = 12 };
#elif defined(__AVX__)
enum { LANES = 8, TILE = 6 };
#else
enum { LANES = 4, TILE = 6 };
#endif

enum { LAYERS = 3, ROWS = 96, STEP = 16, ROW_STEP = 4, PARTS = 16 }; /* tiles of TILE and TILE / 3 rows make ROW_STEP */

static const double HALF_LOG_2_PI = 0.91893853320467274178;

typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef float Unaligned __attribute__((vector_size(4 * LANES), aligned(4)));

INLINE float fused(float a, float b, float c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

INLINE Vector fused_vector(float a, Vector b, Vector c) {
    Vector sum;
    for (int i = 0; i < LANES; i++) sum[i] = fused(a, b[i], c[i]);
    return sum;
}

INLINE Int up(Int n, Int step) { return (n + step - 1) / step * step; }
INLINE Int least(Int a, Int b) { return a < b ? a : b; }

/* tanh as e / (e + 2) with e = exp(2 x) - 1 = 2^n (exp(r) - 1) + (2^n - 1), by Taylor's series of exp(r) - 1. */
INLINE float tanh_(float x) {
    union { float number; int32_t bits; } shifted, power;
    float y = x > 10.0f ? 20.0f : x < -10.0f ? -20.0f : 2.0f * x;
    shifted.number = fused(y, 1.44269504f, 12582912.0f); /* 1.5 x 2^23: the nearest integer is in its low bits */
    float n = shifted.number - 12582912.0f;
    float r = fused(n, 2.12194440e-4f, fused(n, -0.693359375f, y)); /* log 2 in two parts */
    float value = fused(r, 1.98412698e-4f, 1.38888889e-3f);
    value = fused(r, value, 8.33333333e-3f);
    value = fused(r, value, 4.16666667e-2f);
    value = fused(r, value, 1.66666667e-1f);
    value = fused(r, value, 0.5f);
    value = fused(r * r, value, r);
    power.bits = (int32_t)((uint32_t)(shifted.bits + 127) << 23);
    float e = fused(power.number, value, power.number - 1.0f);
    return e / (e + 2.0f);
}

/* ------------------------------------------------------------------------------------------------------- products */

/* Left factor of a product: element (i, k) is at[i * row + k * column]. The other matrices are stored by rows. */
typedef struct { const float *at; Int row, column; } Left;
typedef struct { float *at; Int stride; } Matrix;

INLINE void tile(int rows, int vectors, Int terms, Left a, Matrix b, Matrix c) {
    Vector sum[TILE][2];
    UNROLL for (int i = 0; i < rows; i++) UNROLL for (int v = 0; v < vectors; v++)
        sum[i][v] = *(const Unaligned *)(c.at + i * c.stride + v * LANES);
    for (Int k = 0; k < terms; k++) {
        const float *right = b.at + k * b.stride;
        UNROLL for (int i = 0; i < rows; i++) UNROLL for (int v = 0; v < vectors; v++)
            sum[i][v] = fused_vector(a.at[i * a.row + k * a.column], *(const Unaligned *)(right + v * LANES), sum[i][v]);
    }
    UNROLL for (int i = 0; i < rows; i++) UNROLL for (int v = 0; v < vectors; v++)
        *(Unaligned *)(c.at + i * c.stride + v * LANES) = sum[i][v];
}

INLINE void strip(Int rows, int vectors, Int terms, Left a, Matrix b, Matrix c) {
    Int i = 0;
    for (; i + TILE <= rows; i += TILE) {
        tile(TILE, vectors, terms, (Left){a.at + i * a.row, a.row, a.column}, b, (Matrix){c.at + i * c.stride, c.stride});
    }
    for (; i < rows; i += TILE / 3) {
        tile(TILE / 3, vectors, terms, (Left){a.at + i * a.row, a.row, a.column}, b,
             (Matrix){c.at + i * c.stride, c.stride});
    }
}

/* c += a b for a multiple of ROW_STEP rows and of STEP columns. */
static void add_product(Int rows, Int columns, Int terms, Left a, Matrix b, Matrix c) {
    Int j = 0;
    for (; j + 2 * LANES <= columns; j += 2 * LANES) {
        strip(rows, 2, terms, a, (Matrix){b.at + j, b.stride}, (Matrix){c.at + j, c.stride});
    }
    for (; j < columns; j += LANES) {
        strip(rows, 1, terms, a, (Matrix){b.at + j, b.stride}, (Matrix){c.at + j, c.stride});
    }
}

/* ------------------------------------------------------------------------------------------------------- networks */

/* A network in the workspace. Layer l takes `width[l]` numbers to `width[l + 1]`; rows of activations are `stride` apart. */
typedef struct {
    Int width[LAYERS + 1], stride[LAYERS + 1];
    Matrix weight[LAYERS], transposed[LAYERS], weight_gradient[LAYERS];
    float *bias[LAYERS], *bias_gradient[LAYERS];
    Int gradient_size; /* of all gradients, which lie one after the other */
    Matrix activation[LAYERS + 1];
} Network;

typedef struct { uintptr_t start; Int used; } Space;

static float *take(Space *space, Int count) {
    float *taken = (float *)(space->start + sizeof(float) * (uintptr_t)space->used);
    space->used += up(count, STEP);
    return taken;
}

static void lay_out(Network *net, Int inputs, Int hidden, Int outputs, float *input, Space *space) {
    const Int width[] = {inputs, hidden, hidden, outputs};
    for (int l = 0; l <= LAYERS; l++) {
        net->width[l] = width[l];
        net->stride[l] = up(width[l], l ? STEP : ROW_STEP);
        net->activation[l] = (Matrix){l ? take(space, ROWS * net->stride[l]) : input, net->stride[l]};
    }
    for (int l = 0; l < LAYERS; l++) {
        Int rows = net->stride[l], columns = net->stride[l + 1];
        net->weight[l] = (Matrix){take(space, rows * columns), columns};
        net->transposed[l] = (Matrix){l ? take(space, columns * rows) : 0, rows};
        net->bias[l] = take(space, columns);
    }
    Int before = space->used;
    for (int l = 0; l < LAYERS; l++) {
        Int rows = net->stride[l], columns = net->stride[l + 1];
        net->weight_gradient[l] = (Matrix){take(space, rows * columns), columns};
        net->bias_gradient[l] = take(space, columns);
    }
    net->gradient_size = space->used - before;
}

/* Parameters of a network in a row: weights, then biases, as MLP.parameters. */
static Int count(Int inputs, Int hidden, Int outputs) {
    return (inputs + hidden + outputs) * hidden + 2 * hidden + outputs;
}

static void load(Network *net, const float *parameters) {
    for (int l = 0; l < LAYERS; l++) {
        Matrix weight = net->weight[l], transposed = net->transposed[l];
        for (Int i = 0; i < net->width[l]; i++, parameters += net->width[l + 1]) {
            for (Int j = 0; j < net->width[l + 1]; j++) weight.at[i * weight.stride + j] = parameters[j];
        }
        for (Int j = 0; l && j < net->width[l + 1]; j++) {
            for (Int i = 0; i < net->width[l]; i++) {
                transposed.at[j * transposed.stride + i] = weight.at[i * weight.stride + j];
            }
        }
    }
    for (int l = 0; l < LAYERS; parameters += net->width[++l]) {
        for (Int j = 0; j < net->width[l + 1]; j++) net->bias[l][j] = parameters[j];
    }
}

static void store_gradients(const Network *net, float *gradient) {
    for (int l = 0; l < LAYERS; l++) {
        Matrix weight = net->weight_gradient[l];
        for (Int i = 0; i < net->width[l]; i++, gradient += net->width[l + 1]) {
            for (Int j = 0; j < net->width[l + 1]; j++) gradient[j] = weight.at[i * weight.stride + j];
        }
    }
    for (int l = 0; l < LAYERS; gradient += net->width[++l]) {
        for (Int j = 0; j < net->width[l + 1]; j++) gradient[j] = net->bias_gradient[l][j];
    }
}

/* Activations of a block of rows, a multiple of ROW_STEP, from the activations of layer 0. */
static void forward(const Network *net, Int rows) {
    for (int l = 0; l < LAYERS; l++) {
        Matrix x = net->activation[l], y = net->activation[l + 1];
        for (Int i = 0; i < rows; i++) {
            for (Int j = 0; j < y.stride; j++) y.at[i * y.stride + j] = net->bias[l][j];
        }
        add_product(rows, y.stride, net->width[l], (Left){x.at, x.stride, 1}, net->weight[l], y);
        for (Int i = 0; l + 1 < LAYERS && i < rows * y.stride; i++) y.at[i] = tanh_(y.at[i]);
    }
}

/* Add the gradients of a block to those of the network. `delta[l]`: those of the activations; the last one is given. */
static void backward(const Network *net, Int rows, float *const delta[LAYERS + 1]) {
    for (int l = LAYERS - 1; l >= 0; l--) {
        Matrix x = net->activation[l], d = {delta[l + 1], net->stride[l + 1]};
        float *bias_gradient = net->bias_gradient[l];
        for (Int i = 0; i < rows; i++) {
            for (Int j = 0; j < d.stride; j++) bias_gradient[j] += d.at[i * d.stride + j];
        }
        add_product(x.stride, d.stride, rows, (Left){x.at, 1, x.stride}, d, net->weight_gradient[l]);
        if (!l) return;
        for (Int i = 0; i < rows * x.stride; i++) delta[l][i] = 0.0f;
        add_product(rows, x.stride, net->width[l + 1], (Left){d.at, d.stride, 1}, net->transposed[l],
                    (Matrix){delta[l], x.stride});
        for (Int i = 0; i < rows * x.stride; i++) delta[l][i] *= 1.0f - x.at[i] * x.at[i];
    }
}

/* One row of observations, normalised as Normaliser does. */
INLINE void normalise(Int n, const float *restrict x, const float *restrict mean, const float *restrict scale,
                      float *restrict z) {
    for (Int j = 0; j < n; j++) {
        float value = (x[j] - mean[j]) * scale[j];
        z[j] = value > 5.0f ? 5.0f : value < -5.0f ? -5.0f : value;
    }
}

/* -------------------------------------------------------------------------------------------------------- flights */

/* A network that is only evaluated. net.py has the same structure. */
typedef struct {
    Int inputs, hidden, outputs;
    const float *parameters, *mean, *scale; /* mean and scale of the observations */
    float *workspace;
} Evaluated;

/* The network's output (n, outputs) for observations (n, inputs). */
EXPORT void gaelp_evaluate(const Evaluated *e, Int n, const float *obs, float *output) {
    Space space = {(uintptr_t)e->workspace, 0};
    Network net;
    float *input = take(&space, ROWS * up(e->inputs, ROW_STEP));
    lay_out(&net, e->inputs, e->hidden, e->outputs, input, &space);
    load(&net, e->parameters);
    Matrix x = net.activation[0], y = net.activation[LAYERS];
    for (Int first = 0; first < n; first += ROWS) {
        Int rows = least(n - first, ROWS);
        for (Int i = 0; i < rows; i++) {
            normalise(e->inputs, obs + (first + i) * e->inputs, e->mean, e->scale, x.at + i * x.stride);
        }
        forward(&net, up(rows, ROW_STEP)); /* what is in the rows beyond the last one is of no consequence */
        for (Int i = 0; i < rows; i++) {
            for (Int j = 0; j < e->outputs; j++) output[(first + i) * e->outputs + j] = y.at[i * y.stride + j];
        }
    }
}

/* ppo.sample(): adds std x noise to the means in `action` (n, outputs), by uniforms; log_prob (n,). */
EXPORT void gaelp_sample(Int n, Int outputs, const double *std, const double *log_std, const double *uniform,
                          double *noise, float *action, float *log_prob) {
    gaelp_ndtri(n * outputs, uniform, noise);
    for (Int i = 0; i < n; i++) {
        double sum = 0.0;
        for (Int j = 0; j < outputs; j++, action++, noise++) {
            double mean = *action;
            *action = (float)(mean + std[j] * *noise);
            double z = (*action - mean) / std[j];
            sum += -0.5 * z * z - log_std[j] - HALF_LOG_2_PI;
        }
        log_prob[i] = (float)sum;
    }
}

/* Normaliser.update(): means and variances of the columns of x (n, width). */
EXPORT void gaelp_moments(Int n, Int width, const float *restrict x, double *restrict mean, double *restrict variance) {
    for (Int j = 0; j < width; j++) mean[j] = variance[j] = 0.0;
    for (Int i = 0; i < n; i++) {
        for (Int j = 0; j < width; j++) mean[j] += x[i * width + j];
    }
    for (Int j = 0; j < width; j++) mean[j] /= (double)n;
    for (Int i = 0; i < n; i++) {
        for (Int j = 0; j < width; j++) {
            double away = x[i * width + j] - mean[j];
            variance[j] += away * away;
        }
    }
    for (Int j = 0; j < width; j++) variance[j] /= (double)n;
}

/* ------------------------------------------------------------------------------------------------------- learning */

/* A policy and a value function that learn. net.py has the same structure. */
typedef struct {
    Int inputs, hidden, outputs;
    float *parameters, *first, *second, *gradient; /* policy, value function, log_std; Adam's moments */
    float *workspace;
    const float *mean, *scale; /* of the observations */
    /* samples */
    const float *obs, *actions, *log_prob, *advantages, *returns;
    double clip_range, entropy_coef, max_norm;
    double clipped, squared_error; /* results: sums over a minibatch */
} Learner;

/* What the loss has to know beyond a block of samples, and its sums. */
typedef struct {
    Int size;
    double advantage_mean, advantage_scale;
    double *std, *log_std, *log_std_gradient;
} Minibatch;

static void lay_out_learner(const Learner *learner, Network *policy, Network *value, float *delta[LAYERS + 1],
                            Space *space) {
    float *input = take(space, ROWS * up(learner->inputs, ROW_STEP));
    lay_out(policy, learner->inputs, learner->hidden, learner->outputs, input, space);
    lay_out(value, learner->inputs, learner->hidden, 1, input, space);
    for (int l = 1; l <= LAYERS; l++) delta[l] = take(space, ROWS * policy->stride[l]);
}

/* Numbers that the workspace of a learner, and of each of its networks, must hold; zeros at first. */
EXPORT Int gaelp_workspace(Int inputs, Int hidden, Int outputs) {
    const Learner learner = {.inputs = inputs, .hidden = hidden, .outputs = outputs};
    Network policy, value;
    float *delta[LAYERS + 1];
    Space space = {0, 0};
    lay_out_learner(&learner, &policy, &value, delta, &space);
    return space.used + 6 * up(outputs, STEP);
}

/* Gradients of the loss by the policy's means, in `delta`, and by log_std. */
static void policy_loss(Learner *learner, const Minibatch *batch, Int n, const Int *rows, Matrix mean, float *delta) {
    Int outputs = learner->outputs;
    double log_ratio[ROWS], ratio[ROWS];
    for (Int i = 0; i < n; i++) {
        double sum = 0.0;
        for (Int j = 0; j < outputs; j++) {
            double z = ((double)learner->actions[rows[i] * outputs + j] - mean.at[i * mean.stride + j]) / batch->std[j];
            sum += -0.5 * z * z - batch->log_std[j] - HALF_LOG_2_PI;
        }
        double change = sum - learner->log_prob[rows[i]];
        log_ratio[i] = change > 20.0 ? 20.0 : change < -20.0 ? -20.0 : change;
    }
    gaelp_exp(n, log_ratio, ratio);
    for (Int i = 0; i < n; i++) {
        double advantage = (learner->advantages[rows[i]] - batch->advantage_mean) * batch->advantage_scale;
        int active = advantage >= 0.0 ? ratio[i] < 1.0 + learner->clip_range : ratio[i] > 1.0 - learner->clip_range;
        double slope = active ? -advantage * ratio[i] / (double)batch->size : 0.0;
        learner->clipped += !active;
        for (Int j = 0; j < outputs; j++) {
            double z = ((double)learner->actions[rows[i] * outputs + j] - mean.at[i * mean.stride + j]) / batch->std[j];
            delta[i * mean.stride + j] = (float)(slope * z / batch->std[j]);
            batch->log_std_gradient[j] += slope * (z * z - 1.0);
        }
    }
}

static void value_loss(Learner *learner, const Minibatch *batch, Int n, const Int *rows, Matrix value, float *delta) {
    for (Int i = 0; i < n; i++) {
        double error = (double)value.at[i * value.stride] - learner->returns[rows[i]];
        delta[i * value.stride] = (float)(2.0 * error / (double)batch->size);
        learner->squared_error += error * error;
    }
}

static void clear(Int n, float *x) {
    for (Int i = 0; i < n; i++) x[i] = 0.0f;
}

/* Mean and 1 / (standard deviation + 1e-8) of the minibatch's advantages. */
static void standardise(const Learner *learner, const Int *rows, Minibatch *batch) {
    double sum = 0.0, squares = 0.0, size = (double)batch->size;
    for (Int i = 0; i < batch->size; i++) sum += learner->advantages[rows[i]];
    batch->advantage_mean = sum / size;
    for (Int i = 0; i < batch->size; i++) {
        double away = learner->advantages[rows[i]] - batch->advantage_mean;
        squares += away * away;
    }
    batch->advantage_scale = 1.0 / (__builtin_sqrt(squares / size) + 1e-8);
}

/* PPO.gradients() of the samples `rows` (n,), into learner->gradient. */
EXPORT void gaelp_gradients(Learner *learner, Int n, const Int *rows) {
    Int inputs = learner->inputs, outputs = learner->outputs;
    Int policy_size = count(inputs, learner->hidden, outputs), value_size = count(inputs, learner->hidden, 1);
    const float *log_std = learner->parameters + policy_size + value_size;
    Space space = {(uintptr_t)learner->workspace, 0};
    Network policy, value;
    float *delta[LAYERS + 1];
    lay_out_learner(learner, &policy, &value, delta, &space);
    Minibatch batch = {.size = n};
    batch.std = (double *)take(&space, 2 * outputs);
    batch.log_std = (double *)take(&space, 2 * outputs);
    batch.log_std_gradient = (double *)take(&space, 2 * outputs);
    for (Int j = 0; j < outputs; j++) batch.log_std[j] = log_std[j], batch.log_std_gradient[j] = 0.0;
    gaelp_exp(outputs, batch.log_std, batch.std);
    standardise(learner, rows, &batch);
    load(&policy, learner->parameters);
    load(&value, learner->parameters + policy_size);
    clear(policy.gradient_size, policy.weight_gradient[0].at);
    clear(value.gradient_size, value.weight_gradient[0].at);
    learner->clipped = learner->squared_error = 0.0;
    for (Int first = 0; first < n; first += ROWS) {
        Int size = least(n - first, ROWS), padded = up(size, ROW_STEP);
        Matrix x = policy.activation[0];
        for (Int i = 0; i < padded; i++) {
            Int row = rows[first + least(i, size - 1)]; /* more of the last one, without a gradient, to a multiple */
            normalise(inputs, learner->obs + row * inputs, learner->mean, learner->scale, x.at + i * x.stride);
        }
        forward(&policy, padded);
        clear(padded * policy.stride[LAYERS], delta[LAYERS]);
        policy_loss(learner, &batch, size, rows + first, policy.activation[LAYERS], delta[LAYERS]);
        backward(&policy, padded, delta);
        forward(&value, padded);
        clear(padded * value.stride[LAYERS], delta[LAYERS]);
        value_loss(learner, &batch, size, rows + first, value.activation[LAYERS], delta[LAYERS]);
        backward(&value, padded, delta);
    }
    store_gradients(&policy, learner->gradient);
    store_gradients(&value, learner->gradient + policy_size);
    for (Int j = 0; j < outputs; j++) {
        learner->gradient[policy_size + value_size + j] = (float)(batch.log_std_gradient[j] - learner->entropy_coef);
    }
}

/* Adam.step() with learner->gradient; `rate`: the learning rate with Adam's corrections of the first steps. */
EXPORT void gaelp_adam(Learner *learner, double rate) {
    Int size = count(learner->inputs, learner->hidden, learner->outputs) + count(learner->inputs, learner->hidden, 1)
               + learner->outputs;
    double parts[PARTS] = {0.0}, sum = 0.0;
    for (Int i = 0; i < size; i++) parts[i % PARTS] += (double)learner->gradient[i] * learner->gradient[i];
    for (Int i = 0; i < PARTS; i++) sum += parts[i];
    double limit = learner->max_norm / (__builtin_sqrt(sum) + 1e-8);
    float scale = limit < 1.0 ? (float)limit : 1.0f, step = (float)rate;
    float *restrict parameter = learner->parameters, *restrict first = learner->first, *restrict second = learner->second;
    const float *restrict gradient = learner->gradient;
    for (Int i = 0; i < size; i++) {
        float slope = gradient[i] * scale;
        first[i] += 0.1f * (slope - first[i]);
        second[i] += 0.001f * (slope * slope - second[i]);
        parameter[i] -= step * (first[i] / (__builtin_sqrtf(second[i]) + 1e-5f));
    }
}

/* generalised_advantages() of `hours` x `flights`, and returns. */
EXPORT void gaelp_advantages(Int hours, Int flights, double gamma, double gae_lambda, const double *rewards,
                             const uint8_t *dones, const double *values, double *advantages) {
    for (Int t = hours - 1; t >= 0; t--) {
        for (Int i = t * flights; i < (t + 1) * flights; i++) {
            int last = t + 1 == hours || dones[i];
            double following = last ? 0.0 : values[i + flights], running = last ? 0.0 : advantages[i + flights];
            advantages[i] = rewards[i] + gamma * following - values[i] + gamma * gae_lambda * running;
        }
    }
}
