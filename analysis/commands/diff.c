/* diff: two results held against each other. */
#include <string.h>

#include "claim_view.h"
#include "cli/text_wrapping.h"
#include "deltascope/claims.h"
#include "remeasure.h"
#include "study_claims.h"

/* Both files, and what is told of them. */
typedef struct comparison {
    json_t *envelopes[2], *results[2], *digests[2], *signatures[2]; /* results by command */
    bool hold;                                                      /* the last two */
    ds_claim_view view;
} comparison;

static void release(comparison *all) {
    for (size_t i = 0; i < 2; i++) {
        json_decref(all->envelopes[i]);
        json_decref(all->results[i]);
        json_decref(all->digests[i]);
        json_decref(all->signatures[i]);
    }
    ds_claim_view_release(&all->view);
}

static ds_status load(comparison *all, size_t i, const char *path) {
    ds_status status = DS_OK;
    bool hold;
    DS_TRY(ds_envelope_load(&all->envelopes[i], NULL, path));
    status = ds_figure_results(&all->results[i], all->envelopes[i]);
    if (status != DS_OK) {
        status = ds_fail_prefix(status, "%s", DS_SHOW(path));
        goto done;
    }
    DS_TRY(ds_digests_check(&all->digests[i], &hold, all->envelopes[i]));
    all->hold = all->hold && hold;
    DS_TRY(ds_signature_check(&all->signatures[i], &hold, all->envelopes[i], NULL));
    all->hold = all->hold && hold;
done:
    return status;
}

/* ---- comparing --------------------------------------------------------------------------------------------------- */

static ds_status compare_inputs(comparison *all, double other) {
    ds_status status = DS_OK;
    json_t *a = NULL, *b = NULL;
    DS_TRY(ds_claim_inputs(&a, all->envelopes[0]));
    DS_TRY(ds_claim_inputs(&b, all->envelopes[1]));
    DS_TRY(ds_claim_view_compare(&all->view, "inputs", "envelope", "", a, b, other));
    DS_TRY(ds_claim_view_compare(&all->view, "options", "envelope/options", "options",
                                 json_object_get(all->envelopes[0], "options"), json_object_get(all->envelopes[1], "options"),
                                 other));
done:
    json_decref(a);
    json_decref(b);
    return status;
}

/* The results of one command; where one file has none, the comparison is incomplete. */
static ds_status compare_command(comparison *all, const char *command, double other) {
    ds_status status = DS_OK;
    const json_t *a = json_object_get(all->results[0], command), *b = json_object_get(all->results[1], command);
    ds_text where = {0};
    if (a == NULL || b == NULL) {
        status = ds_claim_view_obstacle(&all->view, command,
                                        a == NULL ? "only the second file has it" : "only the first file has it", true);
        goto done;
    }
    if (!ds_is_study(all->envelopes[0])) /* all of a study stands at the top */
        DS_TRY(ds_text_printf(&where, ds_claimed_is_report(all->envelopes[0]) ? "results/%s" : "results", command));
    DS_TRY(ds_claim_view_compare(&all->view, command, command, where.length == 0 ? "" : where.bytes, a, b, other));
done:
    ds_text_release(&where);
    return status;
}

static ds_status compare_results(comparison *all, double other) {
    ds_status status = DS_OK;
    const char *command;
    json_t *value;
    json_object_foreach(all->results[0], command, value) DS_TRY(compare_command(all, command, other));
    json_object_foreach(all->results[1], command, value) {
        if (json_object_get(all->results[0], command) == NULL) DS_TRY(compare_command(all, command, other));
    }
    if (!ds_claimed_is_report(all->envelopes[0]) || !ds_claimed_is_report(all->envelopes[1])) goto done;
    DS_TRY(ds_claim_view_compare(&all->view, "findings", "envelope/findings", "findings",
                                 json_object_get(all->envelopes[0], "findings"), json_object_get(all->envelopes[1], "findings"),
                                 other));
done:
    return status;
}

/* ---- what is told ------------------------------------------------------------------------------------------------ */

static ds_status tell(ds_told *told, const comparison *all, const ds_invocation *invocation) {
    ds_status status = DS_OK;
    ds_json_builder b = {0}, o = {0};
    ds_json_begin_object(&o, NULL);
    ds_json_put_text(&o, "a", invocation->operands[0]);
    ds_json_put_text(&o, "b", invocation->operands[1]);
    ds_json_end(&o);
    DS_TRY(ds_json_finish(&told->options, &o));
    ds_json_begin_object(&b, NULL);
    ds_json_put_text(&b, "verdict", ds_claim_view_verdict(&all->view, all->hold));
    ds_json_begin_object(&b, "digests");
    ds_json_put(&b, "a", json_incref(all->digests[0]));
    ds_json_put(&b, "b", json_incref(all->digests[1]));
    ds_json_end(&b);
    ds_json_begin_object(&b, "signatures");
    ds_json_put(&b, "a", json_incref(all->signatures[0]));
    ds_json_put(&b, "b", json_incref(all->signatures[1]));
    ds_json_end(&b);
    ds_json_put(&b, "sections", json_incref(all->view.sections));
    ds_json_end(&b);
    DS_TRY(ds_json_finish(&told->results, &b));
done:
    return status;
}

static ds_status publish(const comparison *all, const ds_invocation *invocation) {
    static const char *const sentences[][2] = {
        {"agrees", "agrees: the two files say the same, every number within what it may differ by."},
        {"disagrees", "DISAGREES: the two files say different things, or one of them is not what it was."},
        {"incomplete", "incomplete: what both files have agrees, and one has what the other has not."}};
    ds_status status = DS_OK;
    ds_told told = {NULL, NULL};
    ds_run none = {.started = ds_seconds()};
    ds_table *table = NULL;
    size_t made = 0;
    DS_TRY(tell(&told, all, invocation));
    DS_TRY(ds_command_publish_results(&table, &made, invocation, &none, &told, &ds_claim_table, 1));
    const char *verdict = json_string_value(json_object_get(told.results, "verdict"));
    if (invocation->common.table) {
        ds_claim_print_digests(all->digests[0], "first: ");
        ds_claim_print_signature(all->signatures[0], "first: ");
        ds_claim_print_digests(all->digests[1], "second: ");
        ds_claim_print_signature(all->signatures[1], "second: ");
        DS_TRY(ds_claim_view_print(&all->view, table));
        for (size_t i = 0; i < sizeof sentences / sizeof *sentences; i++) {
            if (strcmp(sentences[i][0], verdict) == 0) ds_print_wrapped(sentences[i][1], 0, 0);
        }
    }
    if (strcmp(verdict, "disagrees") == 0) status = DS_CHECK_FAILED;
done:
    ds_table_free(&table);
    ds_told_release(&told);
    return status;
}

static ds_status run_command(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    comparison all = {.hold = true, .view = {.side_a = "first", .side_b = "second"}};
    for (size_t i = 0; i < 2; i++) DS_TRY(load(&all, i, invocation->operands[i]));
    const double other = ds_claims_arithmetic(all.envelopes[0], all.envelopes[1]);
    DS_TRY(compare_inputs(&all, other));
    DS_TRY(compare_results(&all, other));
    DS_TRY(publish(&all, invocation));
done:
    release(&all);
    return status;
}

static const ds_column_set column_sets[] = {DS_COLUMN_SET(ds_claim_columns)};

const ds_command ds_command_diff = {
    .name = "diff",
    .operands = "A.json B.json",
    .least_operands = 2,
    .most_operands = 2,
    .summary = "How two results differ, beyond what they may",
    .description =
        "Compares two files written by --json, --out or report, section by section: inputs, options, and the results of each "
        "command. Two numbers agree within the sum of the bounds that both files state, what our own kernels make to the bit; "
        "eigenvalues are compared as sets. What differs is told number by number: first, second, and by how much the two may "
        "differ. Digests and signatures are checked, each signature by the key its file names. Where one file has a section "
        "that the other has not, the verdict is "
        "\"incomplete\". Exit status 1 when something disagrees.",
    .examples = "  deltascope diff report-a/report.json report-b/report.json\n"
                "  deltascope diff --json - gates-1.json gates-2.json\n",
    .takes = DS_TAKES_RUN,
    .column_sets = column_sets,
    .column_set_count = sizeof column_sets / sizeof column_sets[0],
    .run = run_command,
};
