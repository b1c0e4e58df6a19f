/* study: variants and seeds trained by one plan. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/json_output.h"
#include "cli/progress_line.h"
#include "deltascope/claims.h"
#include "deltascope/study.h"
#include "model_command.h"
#include "stop_signals.h"

typedef struct study_options {
    double at_most; /* seconds */
    double target, plan_power;
    bool dry_run, report_only;
} study_options;

#define OWN(field) offsetof(study_options, field)
static const ds_option options[] = {
    {"dry-run", NULL, "tell what the plan will cost and could see, and run nothing", DS_OPTION_FLAG, OWN(dry_run), 0, NULL},
    {"report-only", NULL,
     "train nothing: say again what the runs that lie in DIR say; with a study.json in place of PLAN, what that file says",
     DS_OPTION_FLAG, OWN(report_only), 0, NULL},
    {"target", "LOSS", "tell whether each variant's mean final loss is below LOSS nats, by one-sided t tests (not asked)",
     DS_OPTION_REAL, OWN(target), 0, NULL},
    {"plan-power", "EFFECT", "tell how many seeds would find a difference of EFFECT nats, by the deviations seen (not asked)",
     DS_OPTION_REAL, OWN(plan_power), 0, NULL},
    {"at-most", "TIME", "refuse a plan that needs longer: seconds, or a number with s, m or h (any)", DS_OPTION_TIME,
     OWN(at_most), 0, NULL},
};
static const study_options defaults = {.at_most = HUGE_VAL, .target = NAN, .plan_power = NAN};

/* ---- options ----------------------------------------------------------------------------------------------------- */

/* ---- what it costs ----------------------------------------------------------------------------------------------- */

/* What a study of so many seeds finds four times out of five, in standard deviations of its differences. */
static double detectable(const ds_plan *plan) {
    const double n = (double)plan->seed_count;
    return ds_t_detectable(n - 1, DS_DETECTABLE_POWER, DS_SIGNIFICANCE) / sqrt(n);
}

static ds_status measure_cost(ds_study_cost *cost, const ds_plan *plan, const ds_folder *folder) {
    const size_t updates = 3;
    ds_status status = DS_OK;
    double *speeds = NULL;
    DS_NEW(speeds, plan->variant_count);
    DS_TRY(ds_study_measure_speed(speeds, plan, folder, updates));
    DS_TRY(ds_study_estimate(cost, plan, folder, speeds));
done:
    free(speeds);
    return status;
}

typedef struct time_words {
    char text[32];
} time_words;

/* In the unit that people would say it in. */
static time_words in_words(double seconds) {
    time_words out;
    const double minute = 60, hour = 3600;
    if (!(seconds >= 2 * minute))
        (void)snprintf(out.text, sizeof out.text, "%.3g seconds", seconds);
    else if (seconds < 2 * hour)
        (void)snprintf(out.text, sizeof out.text, "%.3g minutes", seconds / minute);
    else
        (void)snprintf(out.text, sizeof out.text, "%.3g hours", seconds / hour);
    return out;
}

static void tell_cost(const ds_plan *plan, const ds_study_cost *cost) {
    (void)printf("%zu runs, %zu of them to do: %zu variant%s, %zu seeds%s\n", cost->runs, cost->left, plan->variant_count,
                 ds_plural(plan->variant_count), plan->seed_count,
                 plan->has_noise_floor ? ", one run for the noise floor" : "");
    if (plan->sweep_seed_count != 0)
        (void)printf(
            "the sweep is of %llu learning rates or more, on %zu seeds, until each variant's best lies inside; then the "
            "test at that best\n",
            (unsigned long long)plan->sweep_points, plan->sweep_seed_count);
    (void)printf("%.3g floating-point operations: about %s at the speed of a few updates now, %s of the longest run\n",
                 cost->operations, in_words(cost->seconds).text, in_words(cost->longest).text);
    (void)printf("disk: %.4g MB; memory: %.4g MB for weights, gradient and moments, beside activations\n", 1e-6 * cost->bytes,
                 1e-6 * cost->memory);
    if (plan->rows > 0) return; /* crossed seeds are not so many independent ones */
    (void)printf("smallest effect found with power %.2g at %.2g: %.3g standard deviations of the differences between seeds\n",
                 DS_DETECTABLE_POWER, DS_SIGNIFICANCE, detectable(plan));
    const double smallest = ldexp(1, 1 - (int)ds_min_size(plan->seed_count, 60)); /* 2 of the 2^n patterns */
    if (smallest >= DS_SIGNIFICANCE)
        (void)printf("so few seeds can give no sign-flip p below %.2g: what they find rests on normality\n", smallest);
}

/* That a cell fits into memory and all of them onto the disk. */
static ds_status check_room(const ds_invocation *invocation, const ds_plan *plan, const ds_folder *folder) {
    ds_status status = DS_OK;
    const char *path = invocation->operands[0];
    ds_study_cost cost;
    DS_TRY(ds_study_estimate(&cost, plan, folder, NULL));
    if (cost.memory > cost.total_memory)
        status =
            ds_fail(DS_ERR_SYSTEM,
                    "%s: one run needs %.4g MB for weights, gradient and moments alone, and this machine has %.4g MB: take "
                    "smaller models",
                    DS_SHOW(path), 1e-6 * cost.memory, 1e-6 * cost.total_memory);
    else if (cost.bytes > cost.free_bytes)
        status = ds_fail(DS_ERR_SYSTEM, "%s: its %zu runs leave %.4g MB, and %s has room for %.4g MB: choose another folder",
                         DS_SHOW(path), cost.left, 1e-6 * cost.bytes, DS_SHOW(invocation->common.out), 1e-6 * cost.free_bytes);
done:
    return status;
}

static ds_status refuse_time(const ds_invocation *invocation, const ds_plan *plan, const ds_study_cost *cost) {
    const study_options *own = invocation->own;
    char effect[96] = ""; /* crossed seeds are not so many independent ones */
    if (plan->rows == 0)
        (void)snprintf(effect, sizeof effect, ", and would find effects from %.3g standard deviations on", detectable(plan));
    return ds_fail(DS_ERR_USAGE,
                   "%s: its %zu runs need about %s and %.4g MB of disk%s; --at-most is %s: take fewer seeds, variants, "
                   "steps or evaluations",
                   DS_SHOW(invocation->operands[0]), cost->left, in_words(cost->seconds).text, 1e-6 * cost->bytes, effect,
                   in_words(own->at_most).text);
}

static ds_status check_cost(const ds_invocation *invocation, const ds_plan *plan, const ds_folder *folder) {
    ds_status status = DS_OK;
    const study_options *own = invocation->own;
    ds_study_cost cost;
    DS_TRY(check_room(invocation, plan, folder));
    if (isinf(own->at_most) && !own->dry_run) goto done;
    DS_TRY(measure_cost(&cost, plan, folder));
    if (own->dry_run) tell_cost(plan, &cost);
    if (!(cost.seconds <= own->at_most)) status = refuse_time(invocation, plan, &cost);
done:
    return status;
}

/* ---- the study --------------------------------------------------------------------------------------------------- */

static ds_status end_by_signal(const ds_invocation *invocation, const ds_study_progress *progress) {
    (void)fprintf(stderr, "deltascope: stopped with %zu of %zu runs finished, which %s holds: go on with --resume\n",
                  progress->finished, progress->cells, DS_SHOW(invocation->common.out));
    return ds_stop_end();
}

static void tell_contrast(const json_t *contrast) {
    const json_t *interval = json_object_get(contrast, "interval");
    if (!json_is_number(json_object_get(contrast, "mean"))) {
        (void)printf("%s: no seed has both sides yet\n", json_string_value(json_object_get(contrast, "name")));
        return;
    }
    (void)printf("%s: %.4f nats", json_string_value(json_object_get(contrast, "name")), ds_json_real_at(contrast, "mean"));
    if (json_is_array(interval))
        (void)printf(" (%.4f to %.4f)", ds_json_real_at(interval, "0"), ds_json_real_at(interval, "1"));
    (void)printf(", %s", json_string_value(json_object_get(contrast, "verdict")));
    const json_t *needed = ds_json_at(contrast, "planned/seeds_needed");
    if (json_is_integer(needed))
        (void)printf("; %lld seeds would find %.4g", (long long)json_integer_value(needed),
                     ds_json_real_at(contrast, "planned/effect"));
    (void)printf("\n");
}

static void tell_targets(const json_t *target) {
    const char *name;
    json_t *variant;
    json_object_foreach(json_object_get(target, "variants"), name, variant)(void)
        printf("%s: mean %.4f of %.0f runs, standard deviation %.4f, below %.6g with p %.3g\n", name,
               ds_json_real_at(variant, "mean"), ds_json_real_at(variant, "n"), ds_json_real_at(variant, "sd"),
               ds_json_real_at(target, "loss"), ds_json_real_at(variant, "p"));
}

static ds_status tell_results(const ds_invocation *invocation, const json_t *told, const ds_study_progress *progress) {
    ds_status status = DS_OK;
    const json_t *contrast;
    ds_text shared = {0};
    size_t i;
    DS_TRY(ds_study_shared_words(&shared, told));
    (void)printf("%s\n", shared.bytes);
    json_array_foreach(json_object_get(told, "contrasts"), i, contrast) tell_contrast(contrast);
    tell_targets(json_object_get(told, "target"));
    if (progress->diverged == 0)
        (void)printf("%zu of %zu runs finished, none of them diverged: %s/report.html\n", progress->finished, progress->cells,
                     DS_SHOW(invocation->common.out));
    else
        (void)printf("%zu of %zu runs finished, %zu of them diverged: %s/report.html\n", progress->finished, progress->cells,
                     progress->diverged, DS_SHOW(invocation->common.out));
done:
    ds_text_release(&shared);
    return status;
}

/* Beside study.json what is made of it: page, tables, figures. */
static ds_status publish_page(const ds_invocation *invocation, const ds_folder *folder, const json_t *told) {
    ds_status status = DS_OK;
    ds_text command = {0};
    DS_TRY(ds_text_printf(&command, "deltascope study %s --out DIR", DS_SHOW(invocation->operands[0])));
    DS_TRY(ds_study_page(folder, told, command.bytes));
done:
    ds_text_release(&command);
    return status;
}

static ds_status report(const ds_invocation *invocation, const ds_plan *plan, const ds_folder *folder,
                        const ds_study_progress *progress) {
    ds_status status = DS_OK;
    json_t *told = NULL;
    const study_options *own = invocation->own;
    const ds_study_questions questions = {.target = own->target, .effect = own->plan_power};
    DS_TRY(ds_study_report(&told, plan, folder, &questions));
    DS_TRY(ds_command_write_lasting(folder, "study.json", told, invocation->signer));
    DS_TRY(publish_page(invocation, folder, told));
    if (invocation->common.json != NULL) DS_TRY(ds_json_output(invocation->common.json, told, DS_JSON_READABLE));
    if (invocation->common.table) DS_TRY(tell_results(invocation, told, progress));
done:
    json_decref(told);
    return status;
}

/* ---- a study.json alone ------------------------------------------------------------------------------------------ */

/* *study <- what the operand holds where it is a study.json, a new reference; NULL: it is something else, a plan perhaps. */
static ds_status read_study(json_t **study, const char *path) {
    const size_t most = (size_t)1 << 28;
    ds_status status = DS_OK;
    char *bytes = NULL;
    size_t length;
    json_t *found = NULL;
    *study = NULL;
    DS_TRY(ds_read_file(&bytes, &length, path, most));
    DS_TRY(ds_json_parse(&found, bytes, length, path));
    const char *format = json_string_value(json_object_get(found, "format"));
    if (format != NULL && strcmp(format, "study-1") == 0) *study = json_incref(found);
done:
    json_decref(found);
    free(bytes);
    return status;
}

/* Nothing that its runs would have to be read for, and nothing that somebody changed afterwards. */
static ds_status check_study(const ds_invocation *invocation, const json_t *study) {
    ds_status status = DS_OK;
    const study_options *own = invocation->own;
    const char *path = invocation->operands[0];
    json_t *told = NULL;
    bool hold;
    if (!own->report_only || own->dry_run || isfinite(own->at_most) || invocation->common.resume)
        return ds_fail(DS_ERR_USAGE, "%s is what a study found, no plan: with --report-only its page is made again",
                       DS_SHOW(path));
    if (isfinite(own->target) || isfinite(own->plan_power) || invocation->signer != NULL)
        return ds_fail(
            DS_ERR_USAGE,
            "%s stays as it is, only its page is made again: --target, --plan-power and --sign need the plan and the "
            "folder of its runs",
            DS_SHOW(path));
    DS_TRY(ds_digests_check(&told, &hold, study));
    if (!hold)
        status =
            ds_fail(DS_ERR_INPUT,
                    "%s: its digests do not hold, it was changed after the study: \"deltascope check\" tells what does not "
                    "follow",
                    DS_SHOW(path));
done:
    json_decref(told);
    return status;
}

/* Page, tables and figures of a study whose runs are not there. */
static ds_status show_again(const ds_invocation *invocation, const json_t *study) {
    ds_status status = DS_OK;
    ds_folder *folder;
    const json_t *contrast;
    size_t i;
    DS_TRY(check_study(invocation, study));
    DS_TRY(ds_command_folder(&folder, invocation));
    DS_TRY(ds_study_page(folder, study, "deltascope study PLAN --out DIR"));
    if (invocation->common.json != NULL) DS_TRY(ds_json_output(invocation->common.json, study, DS_JSON_READABLE));
    if (!invocation->common.table) goto done;
    json_array_foreach(json_object_get(study, "contrasts"), i, contrast) tell_contrast(contrast);
    (void)printf("from %s alone: %s/report.html\n", DS_SHOW(invocation->operands[0]), DS_SHOW(invocation->common.out));
done:
    return status;
}

/* The study would be written over a plan that is called so and lies there. */
static ds_status check_plan_place(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    ds_text path = {0};
    struct stat plan, output;
    DS_TRY(ds_text_printf(&path, "%s/study.json", invocation->out_of_all));
    if (stat(invocation->operands[0], &plan) != 0 || stat(path.bytes, &output) != 0) goto done;
    if (plan.st_dev == output.st_dev && plan.st_ino == output.st_ino)
        status = ds_fail(DS_ERR_USAGE, "%s: would be written over, and is an input of this run (PLAN): choose another place",
                         DS_SHOW(path.bytes));
done:
    ds_text_release(&path);
    return status;
}

/* What is found out and told before anything runs. */
static ds_status prepare(ds_plan *plan, ds_study_progress *progress, const ds_invocation *invocation, const ds_folder *folder) {
    ds_status status = DS_OK;
    const study_options *own = invocation->own;
    DS_TRY(ds_study_fix_seconds(plan, folder, !own->dry_run, invocation->operands[0]));
    DS_TRY(ds_study_look(progress, plan, folder, invocation->common.resume || own->dry_run || own->report_only));
    status = own->report_only ? report(invocation, plan, folder, progress) : check_cost(invocation, plan, folder);
done:
    return status;
}

/* Of several ranks number 0 prepares; what it measured and wrote is there for the others then. */
static ds_status open_study(ds_folder **folder, bool *runs, ds_plan *plan, ds_study_progress *progress,
                            const ds_invocation *invocation) {
    ds_status status = DS_OK;
    const study_options *own = invocation->own;
    const bool first = ds_ranks_number(invocation->ranks) == 0;
    if (first) DS_TRY(ds_command_folder(folder, invocation));
    if (first) DS_TRY(prepare(plan, progress, invocation, *folder));
    *runs = !own->report_only && !own->dry_run;
    if (!*runs) goto done;
    DS_TRY(ds_command_shared_folder(folder, invocation));
    if (!first) DS_TRY(ds_study_fix_seconds(plan, *folder, false, invocation->operands[0]));
done:
    return status;
}

static ds_status run_study(ds_plan *plan, ds_study_progress *progress, const ds_invocation *invocation,
                           const ds_folder *folder) {
    ds_status status = DS_OK;
    const ds_study_options how = {.folder = folder,
                                  .ranks = invocation->ranks,
                                  .resume = invocation->common.resume,
                                  .stop = ds_stop_asked,
                                  .listener = ds_progress_line(invocation->common.quiet)};
    ds_stop_watch();
    DS_TRY(ds_study_run(progress, plan, &how));
    if (!progress->stopped) DS_TRY(ds_study_tune(progress, plan, &how));
    if (!progress->stopped) DS_TRY(ds_study_audit(&progress->stopped, plan, &how));
    if (ds_ranks_number(invocation->ranks) > 0) goto done;
    status = progress->stopped ? end_by_signal(invocation, progress) : report(invocation, plan, folder, progress);
done:
    return status;
}

static ds_status run_plan(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    ds_plan plan = {.given = NULL};
    ds_folder *folder = NULL;
    ds_study_progress progress = {.cells = 0};
    bool runs;
    DS_TRY(check_plan_place(invocation));
    DS_TRY(ds_plan_read(&plan, invocation->operands[0]));
    DS_TRY(open_study(&folder, &runs, &plan, &progress, invocation));
    if (runs) DS_TRY(run_study(&plan, &progress, invocation, folder));
done:
    ds_plan_release(&plan);
    return status;
}

static ds_status run_command(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    const study_options *own = invocation->own;
    json_t *study = NULL;
    if (own->plan_power <= 0) return ds_fail(DS_ERR_USAGE, "--plan-power takes a number of nats above 0");
    if (invocation->out_of_all == NULL) return ds_fail(DS_ERR_USAGE, "study needs --out DIR; see \"deltascope study --help\"");
    DS_TRY(read_study(&study, invocation->operands[0]));
    if (study == NULL)
        DS_TRY(run_plan(invocation));
    else if (ds_ranks_number(invocation->ranks) == 0)
        DS_TRY(show_again(invocation, study));
done:
    json_decref(study);
    return status;
}

const ds_command ds_command_study = {
    .name = "study",
    .operands = "PLAN",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "Variants and seeds trained by one plan",
    .description =
        "Every variant of the plan is trained under every seed, by one recipe, from weights of which equal names have equal "
        "values, on equal batches: what then differs is the variant. Validation is over all windows of the validation tokens, "
        "at even distances. Seeds, that of the order of runs among them, are the plan's alone. One run is repeated with one "
        "weight moved by one unit in its last place: how far that carries is "
        "the noise floor.\n"
        "DIR/VARIANT/seed-S gets log.jsonl, checkpoints, windows.f32 (loss of every validation window in the end), "
        "times.jsonl, "
        "and last DONE. A sweep of learning rates, if the plan asks for one, runs below DIR/sweep, on seeds that the test does "
        "not "
        "contain, and the test at each variant's best in DIR/tuned. --resume runs what is missing, from the newest checkpoint "
        "of each run, and changes no byte of what it "
        "ends with; a run made by another recipe, configuration or data is refused. A run that diverges is kept as that. "
        "From a study.json alone --report-only makes page, tables and figures again, and leaves the file as it is.",
    .examples = "  deltascope study plan.json --dry-run --out study/\n"
                "  deltascope study plan.json --out study/\n"
                "  deltascope study plan.json --out study/ --resume\n"
                "  deltascope study study.json --report-only --out page/\n",
    .takes = DS_TAKES_OUTPUT | DS_TAKES_RESUME | DS_TAKES_RANKS,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .defaults = &defaults,
    .own_size = sizeof defaults,
    .run = run_command,
};
