/* A thousand numbers of a report forged, one at a time and anywhere: digests find each, and where these were forged along, so
 * does what was measured again under other kernels of LAPACK; a sample finds the share that was said. And the report of `make
 * demo`, made under any kernels of LAPACK, agrees under all others, checked in less time than it took. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "commands/remeasure.h"
#include "core_types.h"
#include "deltascope/claims.h"
#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"

enum { FORGERIES = 1000, MOST_LEAVES = 1 << 16, PATH = 192 };
#define MODEL "fixtures/models/cc-bf16"

typedef struct place {
    json_t *holder;
    size_t index; /* in a list */
    char key[64]; /* of an object */
    char path[PATH];
    const ds_leaf *row;
} place;
static place *places;
static size_t place_count;
static char *search_path; /* the environment's own */

static json_t *report_under(const char *type) {
    static child made;
    char *bytes, path[512];
    size_t length;
    json_t *tree;
    (void)snprintf(path, sizeof path, "%s", scratch_path(type == NULL ? "own" : type));
    child_limits limits = {.seconds = 300, .preset = {type == NULL ? NULL : "OPENBLAS_CORETYPE", type}};
    CHILD_RUN(&made, limits, "report", "--tokens", "fixtures/data/val.bin", "--seq-len", "24", "--sequences", "6", "--quiet",
              "--out", path, MODEL);
    if (made.status != 0) fail_msg("%s", made.err);
    (void)snprintf(path + strlen(path), sizeof path - strlen(path), "/report.json");
    expect_ok(ds_read_file(&bytes, &length, path, 1 << 26));
    expect_ok(ds_json_parse(&tree, bytes, length, path));
    free(bytes);
    return tree;
}

/* ---- forging ----------------------------------------------------------------------------------------------------- */

/* Lists every leaf below; a list that is compared as a set is the row of all that it holds. */
static void list_leaves(const place *at, json_t *value, const ds_leaf *set) {
    place below = *at;
    const ds_leaf *row = set != NULL || json_is_object(value) ? set : ds_leaf_find(at->path);
    if (json_is_array(value) && row != NULL && row->kind == DS_LEAF_SET) set = row;
    below.holder = value;
    if (json_is_object(value)) {
        const char *key;
        json_t *member;
        json_object_foreach(value, key, member) {
            (void)snprintf(below.key, sizeof below.key, "%s", key);
            (void)snprintf(below.path, PATH, "%.120s/%.60s", at->path, key);
            list_leaves(&below, member, set);
        }
    } else if (json_is_array(value)) {
        json_t *member;
        json_array_foreach(value, below.index, member) {
            (void)snprintf(below.path, PATH, "%.160s/%zu", at->path, below.index);
            list_leaves(&below, member, set);
        }
    } else if (row != NULL && !isinf(row->relative)) {
        assert_true(place_count < MOST_LEAVES);
        places[place_count] = *at;
        places[place_count++].row = row;
    }
}

/* A number just beyond what its row allows beside the measured one: the next double where nothing is allowed. Bounds in
 * reports are far below 1e-4. */
static double moved(const ds_leaf *row, double x, double measured, ds_random *random) {
    const double sign = ds_random_u64(random) % 2 == 0 ? 1 : -1, size = fmax(fabs(x), 1);
    if (row->kind == DS_LEAF_EXACT) return nextafter(x, sign * INFINITY);
    if (row->scale != NULL && strcmp(row->scale, "smaller") == 0)
        return row->kind == DS_LEAF_SET ? fabs(x) * 1e6 + 1e-3
                                        : fmax(fabs(x), fabs(measured)) * (row->relative + 1) * 1.01 + 1e-300;
    return x + sign * (1e-3 + 1.01 * row->relative) * size;
}

static json_t *other_value(const place *at, const json_t *value, const json_t *measured, ds_random *random) {
    if (json_is_real(value)) return json_real(moved(at->row, json_real_value(value), json_number_value(measured), random));
    if (json_is_integer(value)) return json_integer(json_integer_value(value) + 1 + (json_int_t)at->row->relative);
    if (json_is_string(value)) return json_sprintf("%s.", json_string_value(value));
    return json_is_null(value) ? json_real(0.5) : json_boolean(!json_is_true(value));
}

static json_t *value_at(const place *at) {
    return json_is_array(at->holder) ? json_array_get(at->holder, at->index) : json_object_get(at->holder, at->key);
}

static void put_at(const place *at, json_t *value) {
    assert_int_equal(json_is_array(at->holder) ? json_array_set_new(at->holder, at->index, value)
                                               : json_object_set_new(at->holder, at->key, value),
                     0);
}

/* ---- finding ----------------------------------------------------------------------------------------------------- */

static bool digests_hold(const json_t *tree) {
    json_t *told;
    bool hold;
    expect_ok(ds_digests_check(&told, &hold, tree));
    json_decref(told);
    return hold;
}

static json_int_t disagreements(const char *command, const json_t *claimed, const json_t *measured) {
    json_t *section;
    expect_ok(ds_claims_compare(&section, command, command, "results", ds_json_at(ds_json_at(claimed, "results"), command),
                                ds_json_at(ds_json_at(measured, "results"), command), 0));
    json_int_t count = json_integer_value(json_object_get(section, "disagreed"));
    json_decref(section);
    return count;
}

/* Of what a sample draws of a command. */
static json_int_t drawn_disagreements(const ds_sample *sample, const char *name, const json_t *claimed,
                                      const json_t *measured) {
    const ds_command *command = ds_command_find(name);
    const json_t *theirs = ds_json_at(ds_json_at(claimed, "results"), name),
                 *ours = ds_json_at(ds_json_at(measured, "results"), name);
    json_t *section, *a, *b;
    if (command->rows == NULL) return ds_sample_draws(sample, name) ? disagreements(name, claimed, measured) : 0;
    expect_ok(ds_sample_cut(&a, &b, sample, command, theirs, ours));
    expect_ok(ds_claims_compare(&section, name, name, "results", a, b, 0));
    const json_int_t count = json_integer_value(json_object_get(section, "disagreed"));
    json_decref(section);
    json_decref(a);
    json_decref(b);
    return count;
}

static void a_thousand_forgeries_are_found(void **state) {
    (void)state;
    const double share = 0.25;
    const uint64_t seed = (uint64_t)(ds_seconds() * 1e9); /* another each time, printed */
    const char *types[CORE_TYPES];
    const size_t count = core_types(types);
    json_t *claimed = report_under(count > 0 ? types[count - 1] : NULL), *measured = report_under(NULL);
    ds_random random = ds_random_init(seed);
    size_t sampled = 0;
    ds_claimed parts;
    places = calloc(MOST_LEAVES, sizeof *places);
    assert_non_null(places);
    expect_ok(ds_claimed_find(&parts, claimed, "report.json"));
    for (size_t i = 0; i < parts.count; i++) {
        place root = {0};
        (void)snprintf(root.path, PATH, "%s", parts.parts[i].command);
        assert_int_equal(disagreements(parts.parts[i].command, claimed, measured), 0);
        list_leaves(&root, json_object_get(json_object_get(claimed, "results"), parts.parts[i].command), NULL);
    }
    ds_claimed_release(&parts);
    print_message("seed %llu, %zu leaves\n", (unsigned long long)seed, place_count);
    for (size_t i = 0; i < FORGERIES; i++) {
        const place *at = &places[ds_random_below(&random, place_count)];
        json_t *before = json_incref(value_at(at));
        const ds_sample sample = {share, ds_random_u64(&random)};
        char command[PATH];
        (void)snprintf(command, sizeof command, "%.*s", (int)strcspn(at->path, "/"), at->path);
        put_at(at, other_value(at, before, ds_json_at(ds_json_at(measured, "results"), at->path), &random));
        if (digests_hold(claimed)) fail_msg("forgery %zu, of %s: the digests hold", i, at->path);
        if (disagreements(command, claimed, measured) == 0)
            fail_msg("forgery %zu, of %s: measuring does not find it", i, at->path);
        sampled += drawn_disagreements(&sample, command, claimed, measured) > 0;
        put_at(at, before);
    }
    assert_true(digests_hold(claimed));
    const double rate = (double)sampled / FORGERIES, error = sqrt(share * (1 - share) / FORGERIES);
    print_message("of samples of %g of the claims, %.3f of the forgeries are found, %.1f standard errors off\n", share, rate,
                  (rate - share) / error);
    assert_true(fabs(rate - share) <= 4 * error);
    json_decref(claimed);
    json_decref(measured);
    free(places);
}

/* ---- every kind of kernels --------------------------------------------------------------------------------------- */

/* `make demo` under the kernels that OpenBLAS picks and under the oldest, each checked under all. */
static void the_demo_agrees_under_all_kernels(void **state) {
    (void)state;
    const char *types[EVERY_CORE_TYPE + 1] = {NULL};
    const size_t count = 1 + every_core_type(types + 1);
    double seconds = 0;
    assert_int_equal(setenv("PATH", search_path == NULL ? "" : search_path, 1), 0); /* with figures, as people make it */
    for (size_t i = 0; i < 2 * count; i++) {
        static child made;
        const char *maker = i < count ? NULL : "Prescott", *out = scratch_path(i < count ? "demo" : "demo-prescott");
        child_limits limits = {.seconds = 600, .preset = {maker == NULL ? NULL : "OPENBLAS_CORETYPE", maker}};
        char report[512];
        if (i % count == 0) {
            CHILD_RUN(&made, limits, "report", "--tokens", "fixtures/data/val.bin", "--sequences", "32", "--quiet", "--out",
                      out, "fixtures/models/ddl-cc-ec");
            if (made.status != 0) fail_msg("%s", made.err);
            seconds = made.seconds;
        }
        (void)snprintf(report, sizeof report, "%s/report.json", out);
        const char *type = types[i % count];
        limits.preset[0] = type == NULL ? NULL : "OPENBLAS_CORETYPE";
        limits.preset[1] = type;
        CHILD_RUN(&made, limits, "check", "--tokens", "fixtures/data/val.bin", report, "fixtures/models/ddl-cc-ec");
        print_message("made under %s in %.1f s, checked under %s in %.1f s\n", maker == NULL ? "its own" : maker, seconds,
                      type == NULL ? "its own" : type, made.seconds);
        if (made.status != 0 || strstr(made.out, "agrees: every number") == NULL) fail_msg("%s%s", made.out, made.err);
        if (i == 0) assert_true(made.seconds < seconds);
    }
}

static int hide_gnuplot(void **state) {
    (void)state;
    search_path = getenv("PATH") == NULL ? NULL : ds_strdup(getenv("PATH"));
    return setenv("PATH", "/nowhere", 1); /* figures are not what is tested */
}

static int forget_search_path(void **state) {
    (void)state;
    free(search_path);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_thousand_forgeries_are_found),
                                       cmocka_unit_test(the_demo_agrees_under_all_kernels)};
    return cmocka_run_group_tests(tests, hide_gnuplot, forget_search_path);
}
