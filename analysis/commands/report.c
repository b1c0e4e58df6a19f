/* report: everything about one checkpoint in one folder. */
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
} report_options;

static const ds_option options[] = {
    {"skip", "LIST", "leave out: *, comma separated (none)", DS_OPTION_TEXT, offsetof(report_options, skip), 0,
     ds_report_step_words},
    {"force", NULL, "write over the finished report of another checkpoint", DS_OPTION_FLAG, offsetof(report_options, force), 0,
     NULL},
};
static const report_options defaults = {0};

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

static ds_status run_command(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    const ds_common *common = &invocation->common;
    const report_options *own = invocation->own;
    ds_findings findings = {.count = 0};
    ds_manifest files = {.count = 0};
    ds_folder *folder;
    json_t *results = NULL, *envelope = NULL;
    double started = ds_seconds();
    const bool first = ds_ranks_number(invocation->ranks) == 0;
    if (first && common->out == NULL)
        return ds_fail(DS_ERR_USAGE, "report needs --out DIR, the folder the report is written into");
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

static ds_status rehearse(ds_rehearsal *all, void *context) { return ds_report_rehearse(all, context); }

static ds_status dry_run(const ds_invocation *invocation) {
    const ds_run_options opening = ds_rehearsal_options(invocation);
    const report_options *own = invocation->own;
    return ds_dry_run(invocation, &opening, rehearse, (void *)(uintptr_t)own->skip);
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
