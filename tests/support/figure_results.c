#include "figure_results.h"

#include <math.h>
#include <stdio.h>

#include "deltascope/report.h"
#include "measure/result_json.h"
#include "study_results.h"
#include "support.h"

enum { SEED = 99, TOKENS = 600 };

static const char *kind_of(size_t sublayer) { return sublayer % 2 == 0 ? "attn" : "mlp"; }

static void put_name(ds_json_builder *b, size_t sublayer) {
    char name[32];
    (void)snprintf(name, sizeof name, "%zu.%s", sublayer / 2, kind_of(sublayer));
    ds_json_put_count(b, "index", sublayer);
    ds_json_put_text(b, "name", name);
}

/* Statistics of numbers in (low, high) around a random centre. */
static void put_spread(ds_json_builder *b, const char *key, double low, double high, ds_random *random) {
    double values[TOKENS], center = 2 * ds_random_uniform(random) - 1;
    ds_summary summary;
    for (size_t i = 0; i < TOKENS; i++) values[i] = low + (high - low) / (1 + exp(-center - 1.5 * ds_random_normal(random)));
    expect_ok(ds_summary_init(&summary, 0));
    expect_ok(ds_summary_add(&summary, values, TOKENS));
    ds_json_put_summary(b, key, &summary);
    ds_summary_release(&summary);
}

static void put_gate_histogram(ds_json_builder *b, ds_random *random) {
    ds_histogram histogram;
    double beta[TOKENS];
    for (size_t i = 0; i < TOKENS; i++) beta[i] = 2 * ds_random_uniform(random);
    expect_ok(ds_histogram_init(&histogram, 0, 2, 64));
    expect_ok(ds_histogram_add(&histogram, beta, TOKENS));
    ds_json_put_histogram(b, "histogram", &histogram);
    ds_histogram_release(&histogram);
}

static void put_gates(ds_json_builder *b, size_t sublayers, ds_random *random) {
    static const char *const regimes[] = {"identity", "damped", "projection", "over_relaxed", "reflection"};
    ds_json_begin_object(b, "gates");
    ds_json_begin_array(b, "sublayers");
    for (size_t s = 0; s < sublayers; s++) {
        double left = 1;
        ds_json_begin_object(b, NULL);
        put_name(b, s);
        put_spread(b, "beta", 0, 2, random);
        put_spread(b, "eigenvalue", -1, 1, random);
        put_gate_histogram(b, random);
        ds_json_begin_object(b, "regimes");
        for (size_t r = 0; r < 5; r++) {
            double share = r == 4 ? left : left * ds_random_uniform(random);
            ds_json_put_real(b, regimes[r], share);
            left -= share;
        }
        ds_json_end(b);
        ds_json_begin_object(b, "discrepancy");
        ds_json_put_real(b, "pre_rms", 2 + ds_random_uniform(random));
        ds_json_put_real(b, "post_rms", ds_random_uniform(random));
        ds_json_end(b);
        ds_json_put_real(b, "readout_rms", ds_random_uniform(random));
        ds_json_put_real(b, "target_rms", 2 + ds_random_uniform(random));
        ds_json_put_real(b, "edit_norm", 3 + ds_random_uniform(random));
        ds_json_put_real(b, "relative_edit", ds_random_uniform(random));
        ds_json_end(b);
    }
    ds_json_end(b);
    ds_json_end(b);
}

static void put_case(ds_json_builder *b, const char *name, double delta, double half) {
    ds_json_begin_object(b, NULL);
    ds_json_put_text(b, "name", name);
    ds_json_put_real(b, "delta_loss", delta);
    ds_json_put_reals(b, "delta_loss_ci95", (const double[]){delta - half, delta + half}, 2);
    ds_json_put_real(b, "kl", fabs(delta));
    ds_json_end(b);
}

static void put_ablation(ds_json_builder *b, size_t sublayers, ds_random *random, double half) {
    static const char *const modes[] = {"closed", "open", "reflect", "mean-gate", "write-only", "erase-only"};
    static const char *const scopes[] = {"attn", "mlp", "all"};
    char name[64];
    ds_json_begin_object(b, "ablate");
    ds_json_begin_object(b, "baseline");
    ds_json_put_real(b, "loss", 3.25);
    ds_json_end(b);
    ds_json_begin_array(b, "cases");
    for (size_t s = 0; s < sublayers; s++) {
        (void)snprintf(name, sizeof name, "closed:%zu.%s", s / 2, kind_of(s));
        put_case(b, name, 0.1 * ds_random_normal(random) + 1.0 / (1.0 + (double)s), half);
    }
    for (size_t m = 0; m < 6; m++) {
        for (size_t k = 0; k < 3; k++) {
            (void)snprintf(name, sizeof name, "%s:%s", modes[m], scopes[k]);
            put_case(b, name, (double)(m + k), half);
        }
    }
    for (size_t s = 0; s < sublayers; s++) {
        (void)snprintf(name, sizeof name, "closed-from:%zu", s);
        put_case(b, name, 5 - (double)s / (double)sublayers, half);
        (void)snprintf(name, sizeof name, "closed-upto:%zu", s);
        put_case(b, name, 3 + (double)s / (double)sublayers, half);
    }
    ds_json_end(b);
    ds_json_end(b);
}

static void put_sweep(ds_json_builder *b) {
    ds_json_begin_array(b, "sweep");
    for (int i = 0; i <= 200; i++) {
        double beta = i / 100.0;
        ds_json_begin_object(b, NULL);
        ds_json_put_real(b, "beta", beta);
        ds_json_put_real(b, "eigenvalue", 1 - beta);
        ds_json_put_real(b, "eigenvalue_lapack", 1 - beta + 1e-16);
        ds_json_put_real(b, "determinant", 1 - beta);
        ds_json_put_real(b, "orthogonality_defect", fabs((1 - beta) * (1 - beta) - 1));
        ds_json_end(b);
    }
    ds_json_end(b);
}

static void put_accumulated(ds_json_builder *b, size_t sublayers, ds_random *random) {
    ds_json_begin_array(b, "accumulated");
    for (size_t t = 0; t < 3; t++) {
        ds_json_begin_object(b, NULL);
        ds_json_put_count(b, "sequence", t);
        ds_json_put_count(b, "position", 5);
        ds_json_begin_array(b, "eigenvalues");
        for (size_t i = 0; i < sublayers; i++)
            ds_json_put_reals(b, NULL, (const double[]){2 * ds_random_uniform(random) - 1, 0.1 * ds_random_normal(random)}, 2);
        ds_json_end(b);
        ds_json_begin_array(b, "singular_values");
        for (size_t i = 0; i < sublayers; i++) ds_json_put_real(b, NULL, (double)(i + 1) / (double)(sublayers + 1));
        ds_json_end(b);
        ds_json_end(b);
    }
    ds_json_end(b);
}

static void put_distribution(ds_json_builder *b, size_t sublayers, ds_random *random) {
    ds_json_begin_array(b, "distribution");
    for (size_t depth = 1; depth <= sublayers; depth++) {
        ds_json_begin_object(b, NULL);
        ds_json_put_count(b, "depth", depth);
        put_spread(b, "norm2", 0.99, 1, random);
        put_spread(b, "smallest", 0.001, 1 / (double)depth, random);
        put_spread(b, "mean_squared_singular_value", 0.9, 1, random);
        put_spread(b, "row_gain", 1, 2, random);
        put_spread(b, "column_gain", 1, 2, random);
        ds_json_end(b);
    }
    ds_json_end(b);
}

static void put_directions(ds_json_builder *b, size_t sublayers, ds_random *random) {
    ds_json_begin_object(b, "directions");
    ds_json_begin_array(b, "coherence");
    for (size_t i = 0; i < sublayers; i++) {
        ds_json_begin_array(b, NULL);
        for (size_t j = 0; j < sublayers; j++) ds_json_put_real(b, NULL, i == j ? 1 : 0.3 * ds_random_uniform(random));
        ds_json_end(b);
    }
    ds_json_end(b);
    ds_json_put_real(b, "effective_rank", 0.8 * (double)sublayers);
    ds_json_end(b);
}

static void put_weights(ds_json_builder *b, size_t layers, ds_random *random) {
    static const char *const names[] = {"attn.c_q", "attn.c_proj", "mlp.c_fc1", "mlp.c_proj"};
    ds_json_begin_array(b, "weights");
    for (size_t i = 0; i < 4 * layers; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "transformer.h.%zu.%s.weight", i / 4, names[i % 4]);
        ds_json_begin_object(b, NULL);
        ds_json_put_text(b, "tensor", name);
        ds_json_put_real(b, "alpha", i == 0 ? NAN : 2 + 3 * ds_random_uniform(random)); /* a tail too short to fit */
        ds_json_put_real(b, "alpha_stderr", i == 0 ? NAN : 0.4);
        ds_json_put_real(b, "stable_rank", 20 * ds_random_uniform(random));
        ds_json_end(b);
    }
    ds_json_end(b);
}

static void put_flow_sublayer(ds_json_builder *b, size_t sublayer, ds_random *random) {
    static const char *const paths[] = {"shortcut_norm", "direction_norm", "gate_norm", "value_norm", "total_norm"};
    ds_json_begin_object(b, NULL);
    put_name(b, sublayer);
    for (size_t p = 0; p < 5; p++) ds_json_put_real(b, paths[p], pow(10, -(double)p) * (1 + ds_random_uniform(random)));
    ds_json_end(b);
}

static void put_gradflow(ds_json_builder *b, size_t sublayers, ds_random *random) {
    ds_json_begin_object(b, "gradflow");
    ds_json_begin_array(b, "states");
    for (size_t s = 0; s <= sublayers; s++) {
        ds_json_begin_object(b, NULL);
        ds_json_put_count(b, "index", s);
        ds_json_put_real(b, "grad_norm", 1 + ds_random_uniform(random));
        ds_json_end(b);
    }
    ds_json_end(b);
    ds_json_begin_array(b, "sublayers");
    for (size_t s = 0; s < sublayers; s++) put_flow_sublayer(b, s, random);
    ds_json_end(b);
    ds_json_begin_array(b, "jacobians");
    for (size_t s = 0; s < sublayers; s++) {
        ds_json_begin_object(b, NULL);
        put_name(b, s);
        ds_json_put_count(b, "size", 512);
        ds_json_put_real(b, "norm2", 1 + ds_random_uniform(random));
        ds_json_put_real(b, "smallest", 0.1 + 0.1 * ds_random_uniform(random));
        ds_json_put_real(b, "spectral_radius", 1 + 0.5 * ds_random_uniform(random));
        ds_json_end(b);
    }
    ds_json_end(b);
    ds_json_end(b);
}

static void put_moments(ds_json_builder *b, const char *key, ds_random *random) {
    ds_json_begin_object(b, key);
    ds_json_put_real(b, "mean", 0.5 + ds_random_uniform(random));
    ds_json_put_real(b, "std", 0.1 * ds_random_uniform(random));
    ds_json_end(b);
}

static void put_randoms(ds_json_builder *b, const char *key, size_t count, ds_random *random) {
    ds_json_begin_array(b, key);
    for (size_t i = 0; i < count; i++) ds_json_put_real(b, NULL, ds_random_uniform(random));
    ds_json_end(b);
}

static void put_reads(ds_json_builder *b, size_t reads, bool weights, ds_random *random) {
    ds_json_begin_array(b, "depth_rows");
    for (size_t s = 0; s < reads; s++) {
        ds_json_begin_object(b, NULL);
        if (weights) put_moments(b, "max_share", random);
        put_moments(b, "contribution_sources", random);
        put_moments(b, "contribution_max", random);
        put_randoms(b, "contribution", s + 1, random);
        ds_json_end(b);
    }
    ds_json_end(b);
}

/* Of streams, or of the delta rule on another backbone. */
static void put_rules(ds_json_builder *b, size_t sublayers, bool streams, ds_random *random) {
    static const char *const keys[2][2] = {{"norm2", "smallest"}, {"forward_gain", "backward_gain"}};
    ds_json_begin_object(b, "rules");
    ds_json_put_text(b, "backbone", streams ? "nanogpt" : "ddl");
    put_randoms(b, "mass", sublayers, random);
    ds_json_put_real(b, "mass_cost_rank_correlation", streams ? 0.5 : NAN);
    ds_json_begin_object(b, "gradflow");
    put_randoms(b, "sources", streams ? sublayers + 1 : 0, random);
    ds_json_begin_array(b, "states");
    for (size_t s = 0; s <= sublayers; s++) {
        ds_json_begin_object(b, NULL);
        ds_json_put_real(b, "grad_norm", ds_random_uniform(random));
        ds_json_end(b);
    }
    ds_json_end(b);
    ds_json_end(b);
    ds_json_begin_object(b, "depth");
    put_reads(b, sublayers + 1, streams, random);
    put_randoms(b, "source_norms", sublayers + 1, random);
    ds_json_begin_object(b, streams ? "composite" : "products");
    if (!streams) {
        ds_json_end(b);
        ds_json_end(b);
        ds_json_begin_object(b, "spectrum");
    }
    ds_json_begin_array(b, streams ? "prefix" : "distribution");
    for (size_t s = 0; s < sublayers; s++) {
        ds_json_begin_object(b, NULL);
        for (size_t k = 0; k < 2; k++) put_moments(b, keys[streams][k], random);
        ds_json_end(b);
    }
    ds_json_end(b);
    ds_json_end(b);
    if (streams) ds_json_end(b);
    ds_json_end(b);
}

/* Two steps of a run; the second has no interval when there is one sequence. */
static void put_comparison(ds_json_builder *b, const json_t *sublayers, ds_random *random, double half) {
    static const char *const labels[] = {"step-100", "it's_200 {\\x}"};
    ds_json_begin_object(b, "compare");
    ds_json_put_bool(b, "trajectory", true);
    ds_json_put_text(b, "x", "number");
    ds_json_begin_array(b, "checkpoints");
    for (size_t i = 0; i < 2; i++) {
        ds_json_begin_object(b, NULL);
        ds_json_put_text(b, "label", labels[i]);
        ds_json_put_real(b, "x", 100 * (double)(i + 1));
        ds_json_put_real(b, "loss", 3 - (double)i);
        ds_json_put_real(b, "difference", i == 0 ? NAN : -1);
        ds_json_put_reals(b, "difference_ci95", (const double[]){i == 0 ? NAN : -1 - half, i == 0 ? NAN : -1 + half}, 2);
        ds_json_put(b, "sublayers", json_deep_copy(sublayers));
        ds_json_begin_array(b, "cases");
        for (size_t c = 0; c < json_array_size(sublayers); c++) {
            double cost = ds_random_uniform(random);
            ds_json_begin_object(b, NULL);
            ds_json_put_count(b, "index", c);
            ds_json_put_real(b, "delta_loss", cost);
            ds_json_put_reals(b, "delta_loss_ci95", (const double[]){cost - half, cost + half}, 2);
            ds_json_end(b);
        }
        ds_json_end(b);
        put_rules(b, json_array_size(sublayers), i == 0, random);
        ds_json_end(b);
    }
    ds_json_end(b);
    put_groups(b, json_array_size(sublayers) > 8 ? 11 : 2, half > 0 ? 4 : 2, json_array_size(sublayers) / 2);
    ds_json_end(b);
}

static void put_audits(ds_json_builder *b, size_t updates, size_t sublayers, ds_random *random) {
    char name[32];
    ds_json_begin_array(b, "audits");
    for (size_t step = 0; step <= updates; step += 1 + updates / 2) { /* at 0, and after about half of them */
        ds_json_begin_object(b, NULL);
        ds_json_put_count(b, "step", step);
        ds_json_begin_array(b, "gates");
        for (size_t s = 0; s < sublayers; s++) {
            (void)snprintf(name, sizeof name, "%zu.%s", s / 2, kind_of(s));
            ds_json_begin_object(b, NULL);
            ds_json_put_text(b, "name", name);
            ds_json_put_real(b, "beta_mean", 2 * ds_random_uniform(random));
            ds_json_end(b);
        }
        ds_json_end(b);
        ds_json_end(b);
    }
    ds_json_end(b);
}

/* A run of so many updates, each of so many tokens. */
static void put_run(ds_json_builder *b, const char *label, size_t updates, double tokens, size_t sublayers, ds_random *random) {
    ds_json_put_text(b, "label", label);
    ds_json_put_real(b, "tokens_per_update", tokens);
    ds_json_put_real(b, "clip", 1);
    ds_json_begin_array(b, "steps");
    for (size_t t = 0; t < updates; t++) {
        ds_json_begin_object(b, NULL);
        ds_json_put_count(b, "step", t);
        ds_json_put_real(b, "lr", 3e-4 * ds_random_uniform(random));
        ds_json_put_real(b, "loss", 2 + 2 * exp(-(double)t / 100) + 0.1 * ds_random_normal(random));
        ds_json_put_real(b, "gradient_norm", 0.1 + 3 * ds_random_uniform(random));
        ds_json_end(b);
    }
    ds_json_end(b);
    ds_json_begin_array(b, "evaluations");
    for (size_t t = 0; t <= updates; t += 50) {
        ds_json_begin_object(b, NULL);
        ds_json_put_count(b, "step", t);
        ds_json_put_real(b, "val_loss", 2 + 2 * exp(-(double)t / 100));
        ds_json_end(b);
    }
    ds_json_end(b);
    ds_json_begin_array(b, "spikes");
    if (updates > 30) {
        ds_json_begin_object(b, NULL);
        ds_json_put_count(b, "step", 30);
        ds_json_put_real(b, "loss", 4.5);
        ds_json_end(b);
    }
    ds_json_end(b);
    put_audits(b, updates, sublayers, random);
}

/* One layer: a run of one update. More: eight runs, one of no update, whose lengths and batches differ. */
static void put_training(ds_json_builder *b, size_t sublayers, ds_random *random) {
    static const char *const labels[] = {"a", "b's_{run}", "", "a rather long label of a run", "e", "f", "g", "h"};
    ds_json_begin_object(b, "train");
    if (sublayers == 2) put_run(b, "a", 1, 4096, sublayers, random);
    if (sublayers > 2) ds_json_begin_array(b, "runs");
    for (size_t i = 0; sublayers > 2 && i < sizeof labels / sizeof *labels; i++) {
        ds_json_begin_object(b, NULL);
        put_run(b, labels[i], i == 0 ? 1300 : i == 1 ? 0 : 40 * i, 1000 * (double)(i + 1), i % 3 == 0 ? sublayers : 2, random);
        ds_json_end(b);
    }
    if (sublayers > 2) ds_json_end(b);
    ds_json_end(b);
}

json_t *make_results(size_t layers, double half) {
    ds_json_builder b = {0};
    ds_random random = ds_random_init(SEED);
    json_t *results = NULL;
    ds_json_begin_object(&b, NULL);
    put_gates(&b, 2 * layers, &random);
    ds_json_begin_object(&b, "spectrum");
    put_sweep(&b);
    put_accumulated(&b, 2 * layers, &random);
    put_distribution(&b, 2 * layers, &random);
    put_directions(&b, 2 * layers, &random);
    put_weights(&b, layers, &random);
    ds_json_end(&b);
    put_ablation(&b, 2 * layers, &random, half);
    put_gradflow(&b, 2 * layers, &random);
    put_comparison(&b, json_object_get(json_object_get(b.open[0], "gates"), "sublayers"), &random, half);
    put_training(&b, 2 * layers, &random);
    ds_json_put(&b, "study", make_study(layers > 4 ? 8 : 2, 3, 0.004, layers > 1));
    ds_json_end(&b);
    expect_ok(ds_json_finish(&results, &b));
    return results;
}
