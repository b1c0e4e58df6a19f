/* Forced gates measured through the library are what the program writes. */
#include <math.h>
#include <string.h>

#include "child.h"
#include "deltascope/measure/forced_gates.h"
#include "golden_run.h"
#include "program_json.h"
#include "scratch.h"
#include "support.h"

#define MODEL(name) "fixtures/models/" name
#define DATA "--tokens", "fixtures/data/val.bin", "--seq-len", "16", "--sequences", "5", "--offset", "3", "--seed", "7"

static ds_run_options sample(const char *checkpoint) {
    return (ds_run_options){.checkpoint = checkpoint,
                            .tokens = "fixtures/data/val.bin",
                            .length = 16,
                            .sequences = 5,
                            .spread = DS_SPREAD_FROM_OFFSET,
                            .offset = 3,
                            .seed = 7};
}

static void expect_program(const char *checkpoint, const ds_ablate_options *options, const char *const *arguments) {
    const ds_run_options opening = sample(checkpoint);
    ds_run run;
    json_t *told, *results;
    expect_ok(ds_run_open(&run, &opening));
    expect_ok(ds_ablate_results(&told, &results, &run, options));
    ds_run_close(&run);
    expect_as_written(told, results, program_json(arguments));
}

static void results_are_the_program_s(void **state) {
    (void)state;
    ds_ablate_options options = ds_ablate_defaults;
    expect_program(MODEL("additive-small"), &options, (const char *const[]){"ablate", DATA, MODEL("additive-small"), NULL});
    options.modes = "mean-gate,reflect";
    options.scopes = "all,each";
    options.shadow = 2;
    expect_program(MODEL("ddl-cc-ec"), &options,
                   (const char *const[]){"ablate", DATA, "--modes", "mean-gate,reflect", "--scopes", "all,each", "--shadow",
                                         "2", MODEL("ddl-cc-ec"), NULL});
    options.shadow = 0;
    expect_program(MODEL("scalar-kvshift"), &options,
                   (const char *const[]){"ablate", DATA, "--modes", "mean-gate,reflect", "--scopes", "all,each",
                                         MODEL("scalar-kvshift"), NULL});
}

/* Numbers, not only JSON; a journal taken up again gives the same, and refuses other options. */
static void a_journal_is_taken_up(void **state) {
    (void)state;
    const ds_run_options opening = sample(MODEL("cc-bf16"));
    const ds_journal_plan anew = {.path = scratch_path("ablate.journal")}, again = {.path = anew.path, .resume = true};
    ds_ablate_options options = {.modes = "closed,mean-gate", .scopes = "each", .journal = &anew};
    ds_run run;
    ds_ablate_result one, two;
    expect_ok(ds_run_open(&run, &opening));
    expect_ok(ds_ablate_measure(&one, &run, &options));
    options.journal = &again;
    expect_ok(ds_ablate_measure(&two, &run, &options));
    size_t cases = one.list.count;
    assert_int_equal(cases, 2 * ds_spec_sublayers(&run.spec));
    assert_memory_equal(one.baseline, two.baseline, 5 * sizeof(double));
    assert_memory_equal(one.loss, two.loss, cases * 5 * sizeof(double));
    assert_memory_equal(one.kl, two.kl, cases * 5 * sizeof(double));
    ds_ablate_release(&two);
    options.modes = "open";
    expect_failure(ds_ablate_measure(&two, &run, &options), DS_ERR_INPUT, "modes");
    options.modes = "shut";
    expect_failure(ds_ablate_measure(&two, &run, &options), DS_ERR_USAGE,
                   "--modes knows closed, open, reflect, mean-gate, write-only, erase-only, zeroed, uniform, recent, residual, "
                   "mask-embedding, mask-current, mask-history, bypass, identity-res, uniform-res, mean-mix, "
                   "mean-res, static and converged, not \"shut\"");
    options = (ds_ablate_options){.modes = "open", .scopes = "mlp,some"};
    expect_failure(ds_ablate_measure(&two, &run, &options), DS_ERR_USAGE,
                   "--scopes knows each, attn, mlp, all, from and upto, not \"some\"");
    ds_ablate_release(&two);
    ds_ablate_release(&one);
    ds_run_close(&run);
}

/* ---- attention over depth ---------------------------------------------------------------------------------------- */

static const char *const depth_models[] = {"attnres-full", "attnres-block", "attnres-cumulative-block", "delta-attnres",
                                           "delta-block"};
enum { DEPTH_MODELS = sizeof depth_models / sizeof *depth_models };

static const struct {
    const char *name, *file;
} stream_models[] = {
    {"hc", ""}, {"mhc", "/ckpt.pt"}, {"mhc-lite", "/ckpt.pt"}, {"mhc-static", "/ckpt.pt"}, {"mhc-static-mixed", "/ckpt.pt"}};
enum { STREAM_MODELS = sizeof stream_models / sizeof *stream_models };

static void open_depth(ds_run *run, const char *name) { *run = open_golden("fixtures/depth", name, "", DS_F64); }

/* Every mode of the rule. */
static void list_modes(ds_text *text, const ds_spec *spec) {
    size_t count;
    const ds_intervention *modes = ds_rule_interventions(spec->rule, &count);
    for (size_t m = 0; m < count; m++) expect_ok(ds_text_printf(text, "%s%s", m > 0 ? "," : "", modes[m].name));
}

static size_t find_case(const ds_case_list *list, const char *name) {
    size_t c = 0;
    while (c < list->count && strcmp(list->cases[c].name, name) != 0) c++;
    if (c == list->count) print_error("%s:\n", name);
    assert_true(c < list->count);
    return c;
}

/* Promised to 1e-9 relative, 1e-12 absolute. */
static void expect_golden(double found, const json_t *expected, const char *key) {
    double value = json_number_value(json_object_get(expected, key));
    assert_true(json_is_number(json_object_get(expected, key)));
    expect_close(found, value, fmax(1e-9 * fabs(value), 1e-12));
}

/* Of every mode in every scope it has a meaning in: the cases of the golden file, `absent` of them not here. Returns how many
 * cases here are not there. */
static size_t expect_golden_cases(ds_run *run, const char *folder, const char *model, size_t absent) {
    char path[64];
    const char *name;
    json_t *expected;
    size_t compared = 0;
    ds_ablate_result result;
    ds_text modes = {0};
    (void)snprintf(path, sizeof path, "%s/%s.json", folder, model);
    json_t *golden = json_load_file(path, 0, NULL);
    assert_non_null(golden);
    list_modes(&modes, &run->spec);
    const ds_ablate_options options = {.modes = modes.bytes};
    expect_ok(ds_ablate_measure(&result, run, &options));
    expect_golden((result.baseline[0] + result.baseline[1]) / 2, golden, "loss");
    json_object_foreach(json_object_get(golden, "ablations"), name, expected) {
        if (absent > 0 && strcmp(name, "mean-route:all") == 0) continue;
        size_t c = find_case(&result.list, name);
        expect_golden(ds_mean(result.loss + c * 2, 2), expected, "loss");
        expect_golden(ds_mean(result.kl + c * 2, 2), expected, "kl");
        compared++;
    }
    assert_true(compared + absent == json_object_size(json_object_get(golden, "ablations")));
    size_t beyond = result.list.count - compared;
    ds_ablate_release(&result);
    ds_text_release(&modes);
    json_decref(golden);
    return beyond;
}

static void forced_reads_and_outputs_have_their_golden_losses(void **state) {
    (void)state;
    for (size_t i = 0; i < DEPTH_MODELS; i++) {
        ds_run run;
        open_depth(&run, depth_models[i]);
        (void)expect_golden_cases(&run, "fixtures/depth", depth_models[i], 1);
        ds_run_close(&run);
    }
}

/* The sweep is the golden file's, case by case, and no case more. */
static void forced_streams_have_their_golden_losses(void **state) {
    (void)state;
    for (size_t i = 0; i < STREAM_MODELS; i++) {
        ds_run run;
        run = open_golden("fixtures/streams", stream_models[i].name, stream_models[i].file, DS_F64);
        assert_int_equal(expect_golden_cases(&run, "fixtures/streams", stream_models[i].name, 0), 0);
        ds_run_close(&run);
    }
}

/* Refused by name, rule by rule; a scope that none of the table has too. */
static void modes_of_streams_have_scopes_of_their_own(void **state) {
    (void)state;
    ds_case_list list;
    ds_run run;
    run = open_golden("fixtures/streams", "mhc-lite", "/ckpt.pt", DS_F64);
    size_t sublayers = ds_spec_sublayers(&run.spec);
    expect_ok(ds_case_list_parse(&list, &run.spec, "bypass,identity-res,static", NULL));
    assert_int_equal(list.count, sublayers + sublayers + 1 + 1);
    ds_case_list_release(&list);
    expect_failure(ds_case_list_parse(&list, &run.spec, "closed,bypass", "all"), DS_ERR_USAGE,
                   "--scopes: mode bypass goes with each, not with all");
    expect_failure(ds_case_list_parse(&list, &run.spec, "mean-mix", "each"), DS_ERR_USAGE,
                   "--scopes: mode mean-mix goes with all, not with each");
    expect_failure(ds_case_list_parse(&list, &run.spec, "converged", NULL), DS_ERR_USAGE, "not \"converged\"");
    expect_failure(ds_case_list_parse(&list, &run.spec, "mean-gate", NULL), DS_ERR_USAGE,
                   "a checkpoint of parallel streams has no gate of the delta rule");
    ds_run_close(&run);
    run = open_golden("fixtures/streams", "mhc-static-mixed", "/ckpt.pt", DS_F64);
    expect_failure(ds_case_list_parse(&list, &run.spec, "static", NULL), DS_ERR_USAGE, "not \"static\"");
    ds_run_close(&run);
}

/* Means of a run taken up again are those of its journal; the shadow has them too, and is near. */
static void means_of_mixing_are_kept_and_shadowed(void **state) {
    (void)state;
    const ds_journal_plan anew = {.path = scratch_path("streams.journal")}, again = {.path = anew.path, .resume = true};
    ds_ablate_options options = {.modes = "mean-mix,mean-res", .shadow = 1, .journal = &anew};
    ds_ablate_result one, two;
    ds_run run;
    run = open_golden("fixtures/streams", "mhc", "/ckpt.pt", DS_F32);
    expect_ok(ds_ablate_measure(&one, &run, &options));
    options.journal = &again;
    expect_ok(ds_ablate_measure(&two, &run, &options));
    assert_memory_equal(one.loss, two.loss, 2 * 2 * sizeof(double));
    for (size_t c = 0; c < 2; c++) {
        assert_true(one.shadow.cases[c].loss > 0 && one.shadow.cases[c].loss < 2e-5 * one.baseline[0]);
        assert_true(one.loss[2 * c] != one.baseline[0]);
    }
    ds_ablate_release(&one);
    ds_ablate_release(&two);
    ds_run_close(&run);
}

/* A mode goes with the scopes that mean something, and a routed readout is forced by name. */
static void modes_of_reads_have_scopes_of_their_own(void **state) {
    (void)state;
    ds_case_list list;
    ds_run run;
    ds_force forces[32];
    open_depth(&run, "attnres-full");
    size_t sublayers = ds_spec_sublayers(&run.spec);
    expect_ok(ds_case_list_parse(&list, &run.spec, "uniform,zeroed", NULL));
    assert_int_equal(list.count, sublayers + 2 + sublayers); /* each read and all of them; each output */
    assert_true(list.cases[find_case(&list, "uniform:final")].forced[sublayers]);
    assert_true(list.cases[find_case(&list, "uniform:all")].forced[sublayers]);
    ds_case_list_release(&list);
    expect_ok(ds_case_list_parse(&list, &run.spec, "closed", "all"));
    assert_false(list.cases[0].forced[sublayers]);
    ds_case_list_release(&list);
    expect_ok(ds_case_list_parse(&list, &run.spec, "closed,recent", "each,attn,all"));
    assert_int_equal(list.count, sublayers + 3); /* recent takes the last of them alone */
    ds_case_list_release(&list);
    expect_failure(ds_case_list_parse(&list, &run.spec, "closed,recent", "attn"), DS_ERR_USAGE,
                   "--scopes: mode recent goes with all, not with attn");
    expect_failure(ds_case_list_parse(&list, &run.spec, "uniform", "upto"), DS_ERR_USAGE,
                   "--scopes: mode uniform goes with each and all, not with upto");
    expect_failure(ds_case_list_parse(&list, &run.spec, "open", NULL), DS_ERR_USAGE,
                   "attention over depth has no gate of the delta rule: its reads and outputs can be forced, not \"open\"");
    expect_ok(ds_gates_parse(forces, &run.spec, "uniform:final,closed:0.mlp", "force"));
    assert_true(forces[sublayers].mode == DS_FORCE_UNIFORM && forces[1].mode == DS_FORCE_CLOSED);
    ds_run_close(&run);
    open_depth(&run, "delta-attnres"); /* whose readout is no choice */
    expect_failure(ds_gates_parse(forces, &run.spec, "uniform:final", "force"), DS_ERR_USAGE, "no forced gate");
    ds_run_close(&run);
}

static void the_program_forces_reads(void **state) {
    (void)state;
    const char *const words[] = {
        "ablate", "--tokens", "fixtures/data/val.bin", "--seq-len", "16", "--sequences",
        "5",      "--modes",  "uniform,zeroed",        "--shadow",  "1",  "fixtures/depth/attnres-full",
        NULL};
    json_t *written = program_json(words);
    const json_t *cases = ds_json_at(written, "results/cases");
    bool final = false;
    for (size_t c = 0; c < json_array_size(cases); c++) {
        const json_t *item = json_array_get(cases, c);
        final = final || strcmp(json_string_value(json_object_get(item, "name")), "uniform:final") == 0;
    }
    assert_true(final);
    assert_true(ds_json_real_at(written, "results/shadow/loss_error") < 1e-5);
    json_decref(written);
}

/* The words the help tells are those of the tables; it is wrapped, so that white space is compared as one space. */
static void the_help_knows_the_tables(void **state) {
    (void)state;
    static child help;
    ds_text words = {0};
    size_t length = 0;
    CHILD_RUN(&help, (child_limits){.seconds = 0}, "ablate", "--help");
    for (const char *at = help.out; *at != '\0'; at++) {
        bool space = *at == ' ' || *at == '\n';
        if (!space || (length > 0 && help.out[length - 1] != ' ')) help.out[length++] = (char)(space ? ' ' : *at);
    }
    help.out[length] = '\0';
    expect_ok(ds_mode_words(&words, ", ", ", "));
    expect_ok(ds_text_printf(&words, ", comma separated (closed)"));
    assert_non_null(strstr(help.out, words.bytes));
    words.length = 0;
    expect_ok(ds_scope_words(&words, ", ", ", "));
    expect_ok(ds_text_printf(&words, ", comma separated (all of them)"));
    assert_non_null(strstr(help.out, words.bytes));
    ds_text_release(&words);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_are_the_program_s),
        cmocka_unit_test(a_journal_is_taken_up),
        cmocka_unit_test(forced_reads_and_outputs_have_their_golden_losses),
        cmocka_unit_test(forced_streams_have_their_golden_losses),
        cmocka_unit_test(modes_of_streams_have_scopes_of_their_own),
        cmocka_unit_test(means_of_mixing_are_kept_and_shadowed),
        cmocka_unit_test(modes_of_reads_have_scopes_of_their_own),
        cmocka_unit_test(the_program_forces_reads),
        cmocka_unit_test(the_help_knows_the_tables),
    };
    return cmocka_run_group_tests_name("public ablate", tests, NULL, NULL);
}
