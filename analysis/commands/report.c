/* report: everything about one checkpoint in one folder. */
#include <math.h>
#include <stdlib.h>

#include "cli/json_output.h"
#include "cli/text_wrapping.h"
#include "commands/model_command.h"
#include "commands/rehearsal.h"
#include "deltascope/claims.h"
#include "report/report.h"

typedef struct report_options {
    const char *skip;
    bool force;
    double budget; /* seconds */
} report_options;

static const ds_option options[] = {
    {"skip", "LIST", "leave out: *, comma separated (none)", DS_OPTION_TEXT, offsetof(report_options, skip), 0,
     ds_report_step_words},
    {"force", NULL, "write over the finished report of another checkpoint", DS_OPTION_FLAG, offsetof(report_options, force), 0,
     NULL},
    {"budget", "TIME", "as many windows as fit into it by a rehearsal of every step: seconds, or a number with s, m or h (any)",
     DS_OPTION_TIME, offsetof(report_options, budget), 0, NULL},
};
static const report_options defaults = {.budget = HUGE_VAL};

/* `envelope` <- the complete report. How the run went is not part of what is hashed. */
static ds_status complete(json_t *envelope, ds_findings *findings, json_t *results, double started) {
    ds_status status = DS_OK;
    json_t *rows = NULL, *digests = NULL;
    int code = json_object_set(envelope, "results", results);
    code |= json_object_set_new(envelope, "seconds", json_real(ds_seconds() - started));
    DS_TRY(ds_findings_find(findings, envelope));
    DS_TRY(ds_findings_json(&rows, findings));
    code |= json_object_set_new(envelope, "findings", rows);
    code |= json_object_set_new(envelope, "verdict", json_string(findings->verdict.bytes));
    DS_TRY(ds_digests_make(&digests, envelope));
    code |= json_object_set_new(envelope, "digests", digests);
    if (code != 0) status = ds_fail(DS_ERR_SYSTEM, "report: out of memory while results are put together");
done:
    return status;
}

/* ---- what it will take ------------------------------------------------------------------------------------------- */

typedef struct budgeting {
    const char *skip;
    double seconds;
    bool table;     /* it is told */
    size_t windows; /* that fit */
} budgeting;

static ds_status rehearse(ds_rehearsal *all, void *context) {
    return ds_report_rehearse(all, ((const budgeting *)context)->skip);
}

static ds_status dry_run(const ds_invocation *invocation) {
    const ds_run_options opening = ds_rehearsal_options(invocation);
    budgeting all = {.skip = ((const report_options *)invocation->own)->skip};
    return ds_rehearse_command(invocation, &opening, rehearse, NULL, &all);
}

/* Widths of intervals go as one over the root of the number of windows. */
static ds_status choose_windows(const ds_rehearsal *rehearsed, void *context) {
    enum { FEWEST = 4 }; /* that give an interval */
    budgeting *all = context;
    const size_t every = ds_rehearsal_run(rehearsed)->sequences;
    all->windows = ds_rehearsal_fitting(rehearsed, all->seconds);
    if (all->windows < ds_min_size(FEWEST, every))
        return ds_fail(
            DS_ERR_USAGE,
            "--budget: %.3g s are not enough for %zu windows, the fewest that give an interval: allow more, leave steps "
            "out (--skip), or take shorter windows (--seq-len); --dry-run tells what each step takes",
            all->seconds, ds_min_size(FEWEST, every));
    if (!all->table) return DS_OK;
    ds_rehearsal_tell(rehearsed);
    if (all->windows < every)
        (void)printf("%zu of %zu windows fit into %.3g s: intervals about %.3g times as wide as of all\n", all->windows, every,
                     all->seconds, sqrt((double)every / (double)all->windows));
    (void)printf("\n");
    return DS_OK;
}

/* Number 0 rehearses; the number of windows is everybody's. */
static ds_status fit_into_budget(ds_invocation *fitted, const ds_invocation *invocation) {
    ds_status status = DS_OK;
    const report_options *own = invocation->own;
    const ds_run_options opening = ds_rehearsal_options(invocation);
    budgeting all = {.skip = own->skip, .seconds = own->budget, .table = invocation->common.table};
    size_t length = sizeof all.windows;
    void *bytes = &all.windows;
    *fitted = *invocation;
    if (isinf(own->budget)) goto done;
    const bool first = ds_ranks_number(invocation->ranks) == 0;
    if (first) DS_TRY(ds_rehearse_command(invocation, &opening, rehearse, choose_windows, &all));
    if (ds_ranks_count(invocation->ranks) > 1) DS_TRY(ds_ranks_share(invocation->ranks, &bytes, &length));
    fitted->common.sequences = (ds_count){*(const size_t *)bytes, true};
    if (bytes != &all.windows) free(bytes);
done:
    return status;
}

static ds_status run_command(const ds_invocation *given) {
    ds_status status = DS_OK;
    ds_invocation fitted;
    const ds_invocation *invocation = &fitted;
    const ds_common *common = &given->common;
    const report_options *own = given->own;
    ds_findings findings = {.count = 0};
    ds_manifest files = {.count = 0};
    ds_folder *folder;
    json_t *results = NULL, *envelope = NULL;
    double started = ds_seconds();
    const bool first = ds_ranks_number(given->ranks) == 0;
    if (first && common->out == NULL)
        return ds_fail(DS_ERR_USAGE, "report needs --out DIR, the folder the report is written into");
    DS_TRY(fit_into_budget(&fitted, given));
    DS_TRY(ds_report_measure(&results, &envelope, &files, invocation, own->skip, own->force));
    if (!first) goto done;
    DS_TRY(complete(envelope, &findings, results, started));
    if (invocation->signer != NULL) DS_TRY(ds_signature_add(envelope, invocation->signer));
    if (common->json != NULL) DS_TRY(ds_json_output(common->json, envelope, DS_JSON_CANONICAL));
    DS_TRY(ds_command_folder(&folder, invocation));
    DS_TRY(ds_report_write(folder, &files, envelope, &findings, invocation));
    DS_TRY(ds_manifest_replace(&files, folder));
    if (!common->table) goto done;
    ds_print_wrapped(findings.verdict.bytes, 0, 0);
    (void)printf("\n%s/report.html\ndigest of all %s\n", common->out, json_string_value(ds_json_at(envelope, "digests/all")));
    (void)printf("digest of own %s\n", json_string_value(ds_json_at(envelope, "digests/own")));
    if (invocation->signer != NULL) (void)printf("signed by key %s\n", ds_signer_sha256(invocation->signer));
done:
    ds_findings_release(&findings);
    ds_manifest_release(&files);
    json_decref(results);
    json_decref(envelope);
    return status;
}

const ds_command ds_command_report = {
    .name = "report",
    .operands = "CHECKPOINT",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "Everything about one checkpoint: page, figures, tables",
    .description =
        "Runs inspect, gates, spectrum, ablate, gradflow and verify, each into DIR/results, and makes of them DIR/report.html "
        "(one file that needs nothing else), report.md, report.json (all results), tables/ (CSV and LaTeX) and figures/ (SVG, "
        "PDF, PNG, each with its data and gnuplot script). It opens with a verdict in plain words and a table of findings with "
        "their thresholds.\n"
        "report.json is canonical JSON, and anybody can compute its digests: \"all\" of the whole file but for times and "
        "numbers of threads, \"own\" of what our own kernels make, equal on every x86-64 with FMA and the same C library. "
        "\"deltascope check\" holds every number of it against the checkpoint; \"deltascope diff\" compares two. With --sign "
        "it "
        "carries an Ed25519 signature of all it says, which \"deltascope check --signer\" checks; the key is in no output.\n"
        "DIR/report.journal tells what is finished: an interrupted report goes on with --resume, inside its spectrum and its "
        "ablations too, and ends with the bytes it would have had. The folder of another run is refused, and so is the "
        "finished report of another checkpoint unless --force is given. A failed check of "
        "verify is told among the findings and does not change the exit status.",
    .examples = "  deltascope report --tokens val.bin --out report checkpoint/\n"
                "  deltascope report --tokens val.bin --out report --resume checkpoint/\n"
                "  deltascope plot --figure controls --format pdf report/report.json\n",
    .takes = DS_TAKES_MODEL | DS_TAKES_RESUME | DS_TAKES_RANKS | DS_TAKES_REHEARSAL,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .defaults = &defaults,
    .own_size = sizeof defaults,
    .column_sets = ds_report_column_sets,
    .column_set_count = sizeof ds_report_column_sets / sizeof ds_report_column_sets[0],
    .run = run_command,
    .dry_run = dry_run,
};
