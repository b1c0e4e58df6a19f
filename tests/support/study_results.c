#include "study_results.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "deltascope/measure/seed_contrasts.h"
#include "support.h"

enum { MOST_VARIANTS = 8, MOST_SEEDS = 24, POINTS = 13, SEED = 75431 };
static const char *const names[MOST_VARIANTS] = {
    "additive",  "ddl-scalar",           "ddl-scalar-write-only", "ddl-scalar-fixed-gate",
    "ddl-cc-ec", "ddl-cc-ec-write-only", "it's_odd {\\x}",        "tc"};

typedef struct study {
    size_t variants, seeds;
    double final[MOST_VARIANTS][MOST_SEEDS];
    double curve[MOST_VARIANTS][MOST_SEEDS][POINTS];
} study;

static void make_runs(study *s, double step, bool diverged, ds_random *random) {
    for (size_t k = 0; k < s->seeds; k++) {
        double shared = 0.01 * ds_random_normal(random);
        for (size_t v = 0; v < s->variants; v++) {
            double end = 1.65 - step * (double)v + shared + 0.003 * ds_random_normal(random);
            for (size_t p = 0; p < POINTS; p++) {
                double gone = (double)p / (POINTS - 1);
                s->curve[v][k][p] =
                    end + (4.2 - end) * exp(-6 * gone) * (1 - gone) + (p + 1 < POINTS ? 0.002 * ds_random_normal(random) : 0);
            }
            s->final[v][k] = s->curve[v][k][POINTS - 1];
        }
    }
    if (diverged) s->final[s->variants - 1][s->seeds - 1] = NAN;
}

static void put_interval(ds_json_builder *b, const char *key, double low, double high) {
    if (isnan(low))
        ds_json_put_real(b, key, NAN);
    else
        ds_json_put_reals(b, key, (const double[]){low, high}, 2);
}

/* ---- the parts of study.json ------------------------------------------------------------------------------------- */

static void put_plan(ds_json_builder *b, const study *s) {
    ds_json_put_text(b, "format", "study-1");
    ds_json_put_text(b, "schema", "deltascope/1");
    ds_json_put_text(b, "command", "study");
    ds_json_begin_object(b, "plan");
    ds_json_put_text(b, "name", "write-only");
    ds_json_begin_array(b, "seeds");
    for (size_t k = 0; k < s->seeds; k++) ds_json_put_count(b, NULL, k + 1);
    ds_json_end(b);
    ds_json_end(b);
    ds_json_put_text(b, "plan_sha256", "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b");
    ds_json_begin_object(b, "recipe");
    ds_json_put_real(b, "learning_rate", 0.003);
    ds_json_put_count(b, "steps", 600);
    ds_json_end(b);
    ds_json_begin_object(b, "tool");
    ds_json_put_text(b, "version", DS_VERSION);
    ds_json_end(b);
    ds_json_begin_object(b, "machine");
    ds_json_put_text(b, "cpu", "a processor");
    ds_json_put_count(b, "cores", 2);
    ds_json_end(b);
    ds_json_begin_object(b, "data");
    ds_json_begin_object(b, "train");
    ds_json_put_text(b, "path", "train.bin");
    ds_json_put_count(b, "tokens", 1003854);
    ds_json_end(b);
    ds_json_begin_object(b, "validation");
    ds_json_put_text(b, "path", "val.bin");
    ds_json_put_count(b, "tokens", 111540);
    ds_json_put_count(b, "windows", 871);
    ds_json_put_count(b, "seq_len", 128);
    ds_json_end(b);
    ds_json_end(b);
}

static void put_matching(ds_json_builder *b, const study *s) {
    ds_json_begin_object(b, "matching");
    ds_json_begin_array(b, "tensors");
    for (size_t i = 0; i < 5; i++) {
        char name[24];
        (void)snprintf(name, sizeof name, "transformer.h.%zu", i);
        ds_json_begin_object(b, NULL);
        ds_json_put_text(b, "name", name);
        ds_json_begin_array(b, "variants");
        for (size_t v = 0; v < (i == 4 ? 1 : s->variants); v++) ds_json_put_text(b, NULL, names[v]);
        ds_json_end(b);
        ds_json_put_bool(b, "equal", true);
        ds_json_end(b);
    }
    ds_json_end(b);
    ds_json_put_bool(b, "batches_equal", true);
    ds_json_begin_object(b, "overrides");
    ds_json_end(b);
    ds_json_begin_object(b, "noise_floor");
    ds_json_put_text(b, "variant", names[0]);
    ds_json_put_count(b, "seed", 1);
    ds_json_put_real(b, "final_a", 1.65);
    ds_json_put_real(b, "final_b", 1.6512);
    ds_json_put_real(b, "difference", 0.0012);
    ds_json_put_real(b, "seed_sd", 0.01);
    ds_json_end(b);
    ds_json_end(b);
}

static void put_run(ds_json_builder *b, const study *s, size_t v, size_t k) {
    bool ended = isfinite(s->final[v][k]);
    ds_json_begin_object(b, NULL);
    ds_json_begin_object(b, "seed");
    ds_json_put_count(b, "init", k + 1);
    ds_json_put_count(b, "data", k + 1);
    ds_json_end(b);
    ds_json_put_text(b, "status", ended ? "done" : "diverged");
    ds_json_put_count(b, "updates", ended ? 600 : 212);
    ds_json_put_count(b, "tokens", ended ? 1228800 : 434176);
    ds_json_put_real(b, "train_seconds", 40 + (double)v);
    ds_json_put_real(b, "eval_seconds", 8.5);
    ds_json_put_real(b, "final", s->final[v][k]);
    ds_json_put_real(b, "initial", 4.2);
    ds_json_begin_array(b, "spikes");
    ds_json_end(b);
    ds_json_put_real(b, "diverged_at", ended ? NAN : 212);
    ds_json_end(b);
}

static void put_variants(ds_json_builder *b, const study *s) {
    ds_json_begin_object(b, "variants");
    for (size_t v = 0; v < s->variants; v++) {
        ds_seed_summary summary;
        expect_ok(ds_seed_summarise(&summary, s->final[v], s->seeds));
        ds_json_begin_object(b, names[v]);
        ds_json_put_text(b, "rule", strstr(names[v], "write-only") != NULL ? "write-only" : v == 0 ? "additive" : "ddl");
        ds_json_put_count(b, "parameters", 810000 + 4000 * v);
        ds_json_put_count(b, "trained_parameters", 810000 + 4000 * v);
        ds_json_put_count(b, "state_floats_per_token", v < 4 ? 128 : 512);
        ds_json_put_real(b, "flops_per_token", 4.8e6 + 1e5 * (double)v);
        ds_json_begin_array(b, "runs");
        for (size_t k = 0; k < s->seeds; k++) put_run(b, s, v, k);
        ds_json_end(b);
        ds_json_put_seed_summary(b, "summary", &summary);
        ds_json_end(b);
    }
    ds_json_end(b);
}

static void put_contrast(ds_json_builder *b, const study *s, size_t v, const ds_contrast *contrast) {
    char name[80];
    (void)snprintf(name, sizeof name, "%s - %s", names[v], names[v - 1]);
    ds_json_begin_object(b, NULL);
    ds_json_put_text(b, "name", name);
    ds_json_put_text(b, "a", names[v]);
    ds_json_put_text(b, "b", names[v - 1]);
    ds_json_put_bool(b, "primary", v == 1);
    ds_json_put_text(b, "measure", "final");
    ds_json_put_text(b, "budget", "tokens");
    ds_json_begin_array(b, "differences");
    for (size_t k = 0; k < s->seeds; k++) ds_json_put_real(b, NULL, s->final[v][k] - s->final[v - 1][k]);
    ds_json_end(b);
    ds_json_put_contrast(b, contrast);
    ds_json_put_real(b, "window_se", 0.0004);
    ds_json_end(b);
}

static void put_contrasts(ds_json_builder *b, const study *s) {
    ds_contrast contrasts[MOST_VARIANTS];
    for (size_t v = 1; v < s->variants; v++)
        expect_ok(ds_contrast_paired(&contrasts[v - 1], s->final[v], s->final[v - 1], s->seeds, 0.005, 0));
    expect_ok(ds_contrasts_judge(contrasts, s->variants - 1, 0));
    ds_json_begin_array(b, "contrasts");
    for (size_t v = 1; v < s->variants; v++) put_contrast(b, s, v, &contrasts[v - 1]);
    ds_json_end(b);
}

static void put_points(ds_json_builder *b, const study *s, const double (*curve)[POINTS], double last) {
    double x[POINTS], mean[POINTS], low[POINTS], high[POINTS], column[MOST_SEEDS];
    for (size_t p = 0; p < POINTS; p++) {
        ds_seed_summary summary;
        for (size_t k = 0; k < s->seeds; k++) column[k] = curve[k][p];
        expect_ok(ds_seed_summarise(&summary, column, s->seeds));
        x[p] = last * (double)p / (POINTS - 1);
        mean[p] = summary.mean;
        low[p] = summary.low;
        high[p] = summary.high;
    }
    ds_json_put_reals(b, "x", x, POINTS);
    ds_json_put_reals(b, "mean", mean, POINTS);
    ds_json_put_reals(b, "lo", low, POINTS);
    ds_json_put_reals(b, "hi", high, POINTS);
}

static void put_curve(ds_json_builder *b, const study *s, size_t v, double last) {
    ds_json_begin_object(b, names[v]);
    put_points(b, s, (const double(*)[POINTS])s->curve[v], last);
    ds_json_begin_array(b, "seeds");
    for (size_t k = 0; k < s->seeds; k++) ds_json_put_reals(b, NULL, s->curve[v][k], POINTS);
    ds_json_end(b);
    ds_json_end(b);
}

static void put_differences(ds_json_builder *b, const study *s) {
    static double differences[MOST_SEEDS][POINTS];
    ds_json_begin_object(b, "differences");
    for (size_t v = 1; v < s->variants; v++) {
        char name[80];
        (void)snprintf(name, sizeof name, "%s - %s", names[v], names[v - 1]);
        for (size_t k = 0; k < s->seeds; k++) {
            for (size_t p = 0; p < POINTS; p++) differences[k][p] = s->curve[v][k][p] - s->curve[v - 1][k][p];
        }
        ds_json_begin_object(b, name);
        put_points(b, s, (const double(*)[POINTS])differences, 1228800);
        ds_json_end(b);
    }
    ds_json_end(b);
}

static void put_curves(ds_json_builder *b, const study *s) {
    static const char *const axes[] = {"tokens", "flops", "seconds"};
    static const double last[] = {1228800, 5.9e12, 41.5};
    ds_json_begin_object(b, "curves");
    for (size_t a = 0; a < 3; a++) {
        ds_json_begin_object(b, axes[a]);
        for (size_t v = 0; v < s->variants; v++) put_curve(b, s, v, last[a] * (a == 0 ? 1 : 1 + 0.1 * (double)v));
        ds_json_end(b);
    }
    put_differences(b, s);
    ds_json_end(b);
}

static void put_sweeps(ds_json_builder *b, const study *s, ds_random *random) {
    enum { GRID = 6, TRIES = 3 };
    double grid[GRID];
    for (size_t g = 0; g < GRID; g++) grid[g] = 0.001 * pow(2, (double)g / 2);
    ds_json_begin_object(b, "sweeps");
    for (size_t v = 0; v < s->variants; v++) {
        ds_json_begin_object(b, names[v]);
        ds_json_put_text(b, "key", "learning_rate");
        ds_json_put_reals(b, "grid", grid, GRID);
        ds_json_put_counts(b, "seeds", (const uint64_t[]){101, 102, 103}, TRIES);
        ds_json_begin_array(b, "loss");
        for (size_t k = 0; k < TRIES; k++) {
            double loss[GRID];
            for (size_t g = 0; g < GRID; g++)
                loss[g] = 1.65 - 0.01 * (double)v + 0.02 * pow((double)g - 2.5, 2) + 0.004 * ds_random_normal(random);
            ds_json_put_reals(b, NULL, loss, GRID);
        }
        ds_json_end(b);
        ds_json_put_real(b, "best", grid[2]);
        put_interval(b, "within_0_01", grid[1], grid[3]);
        ds_json_put_real(b, "sensitivity", 0.021);
        ds_json_end(b);
    }
    ds_json_end(b);
}

static void put_targets(ds_json_builder *b) {
    ds_json_begin_array(b, "to_target");
    ds_json_begin_object(b, NULL);
    ds_json_put_real(b, "loss", 1.66);
    ds_json_put_text(b, "axis", "tokens");
    ds_json_put_text(b, "a", names[1]);
    ds_json_put_text(b, "b", names[0]);
    ds_json_put_real(b, "geometric_mean", 0.91);
    put_interval(b, "interval", 0.85, 0.97);
    ds_json_begin_object(b, "censored");
    ds_json_put_count(b, "a", 0);
    ds_json_put_count(b, "b", 1);
    ds_json_end(b);
    ds_json_end(b);
    ds_json_end(b);
}

static void put_audit(ds_json_builder *b, const study *s, ds_random *random) {
    ds_json_begin_object(b, "audit");
    ds_json_begin_object(b, "variants");
    for (size_t v = 1; v < s->variants; v++) {
        double values[MOST_SEEDS];
        ds_seed_summary summary;
        for (size_t k = 0; k < s->seeds; k++) values[k] = 1 + 0.1 * ds_random_normal(random);
        expect_ok(ds_seed_summarise(&summary, values, s->seeds));
        ds_json_begin_object(b, names[v]);
        ds_json_begin_object(b, "beta:0.attn");
        ds_json_put_reals(b, "values", values, s->seeds);
        ds_json_put_seed_summary(b, "summary", &summary);
        ds_json_end(b);
        ds_json_end(b);
    }
    ds_json_end(b);
    ds_json_end(b);
}

json_t *make_study(size_t variants, size_t seeds, double step, bool diverged) {
    static study s;
    ds_json_builder b = {0};
    ds_random random = ds_random_init(SEED);
    json_t *out;
    s.variants = variants;
    s.seeds = seeds;
    make_runs(&s, step, diverged, &random);
    ds_json_begin_object(&b, NULL);
    put_plan(&b, &s);
    put_matching(&b, &s);
    put_variants(&b, &s);
    put_contrasts(&b, &s);
    put_curves(&b, &s);
    put_sweeps(&b, &s, &random);
    put_targets(&b);
    put_audit(&b, &s, &random);
    ds_json_end(&b);
    expect_ok(ds_json_finish(&out, &b));
    return out;
}

/* ---- groups of compare ------------------------------------------------------------------------------------------- */

static void put_seeds(ds_json_builder *b, const char *key, double mean, double sd, size_t seeds, ds_random *random) {
    double values[MOST_SEEDS];
    ds_seed_summary summary;
    for (size_t k = 0; k < seeds; k++) values[k] = mean + sd * ds_random_normal(random);
    expect_ok(ds_seed_summarise(&summary, values, seeds));
    ds_json_put_seed_summary(b, key, &summary);
}

/* Those with gates have more to tell of a sublayer. */
static void put_gate_use(ds_json_builder *b, double beta, size_t seeds, ds_random *random) {
    put_seeds(b, "beta_mean", beta, 0.1, seeds, random);
    put_seeds(b, "discrepancy_before", 2, 0.1, seeds, random);
    put_seeds(b, "discrepancy_after", 2 - beta, 0.1, seeds, random);
    ds_json_begin_array(b, "regimes");
    for (size_t r = 0; r < 5; r++) {
        ds_json_begin_object(b, NULL);
        put_seeds(b, "share", 0.2, 0.04, seeds, random);
        ds_json_end(b);
    }
    ds_json_end(b);
}

static void put_states(ds_json_builder *b, size_t states, size_t seeds, ds_random *random) {
    ds_json_begin_array(b, "states");
    for (size_t i = 0; i < states; i++) {
        ds_json_begin_object(b, NULL);
        ds_json_put_count(b, "index", i);
        put_seeds(b, "gradient", exp(-0.3 * (double)i), 0.2 * exp(-0.3 * (double)i), seeds, random);
        ds_json_end(b);
    }
    ds_json_end(b);
}

void put_groups(ds_json_builder *b, size_t groups, size_t seeds, size_t layers) {
    static study s;
    ds_random random = ds_random_init(SEED + 1);
    s.variants = groups < MOST_VARIANTS ? groups : MOST_VARIANTS;
    s.seeds = seeds;
    make_runs(&s, 0.004, false, &random);
    ds_json_begin_array(b, "groups");
    for (size_t g = 0; g < groups; g++) {
        ds_json_begin_object(b, NULL);
        char name[48];
        (void)snprintf(name, sizeof name, "%s%s", g < MOST_VARIANTS ? "" : "again ", names[g % MOST_VARIANTS]);
        ds_json_put_text(b, "name", name);
        ds_json_begin_array(b, "sublayers");
        for (size_t i = 0; i < 2 * layers; i++) {
            ds_json_begin_object(b, NULL);
            ds_json_put_count(b, "index", i);
            if (g > 0) put_gate_use(b, 0.8 + 0.1 * (double)g, seeds, &random); /* the first has no gates */
            put_seeds(b, "closed_cost", 0.1 / (double)(i + 1), 0.01, seeds, &random);
            ds_json_end(b);
        }
        ds_json_end(b);
        put_states(b, 2 * layers + 1, seeds, &random);
        ds_json_end(b);
    }
    ds_json_end(b);
    put_contrasts(b, &s);
}
