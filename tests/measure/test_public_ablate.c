/* Forced gates measured through the library are what the program writes. */
#include <string.h>

#include "child.h"
#include "deltascope/measure/forced_gates.h"
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
                   "--modes knows closed, open, reflect, mean-gate, write-only and erase-only, not \"shut\"");
    options = (ds_ablate_options){.modes = "open", .scopes = "mlp,some"};
    expect_failure(ds_ablate_measure(&two, &run, &options), DS_ERR_USAGE,
                   "--scopes knows each, attn, mlp, all, from and upto, not \"some\"");
    ds_ablate_release(&two);
    ds_ablate_release(&one);
    ds_run_close(&run);
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
        cmocka_unit_test(the_help_knows_the_tables),
    };
    return cmocka_run_group_tests_name("public ablate", tests, NULL, NULL);
}
