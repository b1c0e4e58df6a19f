#include "deltascope/measure/verification.h"

#include <stdlib.h>
#include <string.h>

#include "deltascope/measure/external_reference.h"

const ds_verification_options ds_verification_defaults = {.only = NULL};

/* ---- which checks ------------------------------------------------------------------------------------------------ */

/* Whether the word names the check or the group before its dot. */
static bool names(const char *word, size_t length, const char *id) {
    return strncmp(word, id, length) == 0 && (id[length] == '\0' || id[length] == '.');
}

static bool is_listed(const char *list, const char *id) {
    const char *word;
    size_t length;
    while (ds_next_word(&list, &word, &length)) {
        if (names(word, length, id)) return true;
    }
    return false;
}

bool ds_verification_has(const ds_verification_options *options, const char *id) {
    return (options->only == NULL || is_listed(options->only, id)) && !is_listed(options->skip, id);
}

static ds_status unknown_check(const char *option, const char *word, size_t length) {
    ds_guess guess = {.word = word, .length = length};
    for (size_t i = 0; i < ds_check_count(); i++) {
        ds_guess_offer(&guess, ds_check_id(i), strcspn(ds_check_id(i), ".")); /* its group */
        ds_guess_offer(&guess, ds_check_id(i), strlen(ds_check_id(i)));
    }
    return ds_fail(DS_ERR_USAGE, "--%s: there is no check \"%s\"%s; verify --list prints them", option,
                   ds_escape(word, length).text, ds_guess_hint(&guess, "").text);
}

/* Every word of a list names some check. */
static ds_status check_list(const char *option, const char *list) {
    const char *word;
    size_t length;
    while (ds_next_word(&list, &word, &length)) {
        size_t i = 0;
        while (i < ds_check_count() && !names(word, length, ds_check_id(i))) i++;
        if (length == 0 || i == ds_check_count()) return unknown_check(option, word, length);
    }
    return DS_OK;
}

ds_status ds_verification_check(const ds_verification_options *options) {
    ds_status status = DS_OK;
    DS_TRY(check_list("only", options->only));
    DS_TRY(check_list("skip", options->skip));
done:
    return status;
}

/* ---- measuring --------------------------------------------------------------------------------------------------- */

static ds_status add_check(ds_verification *out, const ds_verification_options *options, const char *id, const char *claim,
                           const char *source, const ds_check_result *result) {
    ds_status status = DS_OK;
    DS_TRY(ds_grow((void **)&out->checks, &out->capacity, out->count + 1, sizeof *out->checks));
    ds_verified *check = &out->checks[out->count];
    *check = (ds_verified){.id = ds_strdup(id), .claim = claim, .source = source, .result = *result};
    if (check->id == NULL) return DS_ERR_SYSTEM;
    out->count++;
    if (options->finished != NULL) options->finished(options->context, check);
done:
    return status;
}

/* The checks that were asked for, and what ranks that share them out leave of each: a result's bytes. */
typedef struct checking {
    ds_verify *verify;
    ds_progress progress;
    size_t *chosen; /* (count): indices */
    size_t count;
    double *results; /* (count, RESULT_NUMBERS) */
    size_t finished;
} checking;
enum { RESULT_NUMBERS = (sizeof(ds_check_result) + sizeof(double) - 1) / sizeof(double) };

static ds_status choose_checks(checking *all, const ds_verification_options *options) {
    ds_status status = DS_OK;
    DS_NEW(all->chosen, ds_check_count());
    for (size_t i = 0; i < ds_check_count(); i++)
        if (ds_verification_has(options, ds_check_id(i))) all->chosen[all->count++] = i;
done:
    return status;
}

static ds_status compute_checks(void *context, size_t first, size_t count) {
    ds_status status = DS_OK;
    checking *all = context;
    for (size_t i = first; i < first + count; i++) {
        ds_check_result result;
        DS_TRY(ds_verify_check(&result, all->verify, all->chosen[i]));
        memcpy(all->results + i * RESULT_NUMBERS, &result, sizeof result);
    }
done:
    return status;
}

static ds_status tell_checks(void *context, size_t first, size_t count) {
    checking *all = context;
    (void)first;
    all->finished += count;
    ds_progress_update(&all->progress, (double)all->finished);
    return DS_OK;
}

/* Most of the time goes into few of the checks: each is a piece. */
static ds_status share_checks(checking *all, ds_ranks *ranks) {
    ds_status status = DS_OK;
    bool *finished = NULL;
    DS_NEW(all->results, all->count * RESULT_NUMBERS);
    DS_NEW(finished, all->count);
    const ds_ranks_work work = {.count = all->count,
                                .most = 1,
                                .length = RESULT_NUMBERS,
                                .results = all->results,
                                .finished = finished,
                                .compute = compute_checks,
                                .keep = tell_checks,
                                .context = all};
    DS_TRY(ds_ranks_do(ranks, &work));
done:
    free(finished);
    return status;
}

static ds_status run_checks(ds_verification *out, ds_verify *verify, const ds_run *run,
                            const ds_verification_options *options) {
    ds_status status = DS_OK;
    checking all = {.verify = verify};
    DS_TRY(choose_checks(&all, options));
    all.progress = ds_progress_start(run, "verify", (double)all.count);
    const bool shared = ds_ranks_count(run->options.ranks) > 1;
    if (shared) DS_TRY(share_checks(&all, run->options.ranks));
    for (size_t i = 0; i < all.count; i++) {
        const size_t check = all.chosen[i];
        ds_check_result result;
        if (shared)
            memcpy(&result, all.results + i * RESULT_NUMBERS, sizeof result);
        else
            DS_TRY(ds_verify_check(&result, verify, check));
        ds_progress_finish(&all.progress);
        DS_TRY(add_check(out, options, ds_check_id(check), ds_check_claim(check), ds_check_source(check), &result));
        ds_progress_update(&all.progress, (double)i + 1);
    }
done:
    if (all.progress.label != NULL) ds_progress_finish(&all.progress);
    free(all.chosen);
    free(all.results);
    return status;
}

static ds_status run_reference(ds_verification *out, ds_run *run, const ds_model *exact,
                               const ds_verification_options *options) {
    ds_status status = DS_OK;
    ds_reference *reference = NULL;
    ds_check_result *results = NULL;
    DS_TRY(ds_reference_run(&reference, &results, run, exact, options->reference));
    (void)snprintf(out->reference_sha256, sizeof out->reference_sha256, "%s", ds_reference_sha256(reference));
    for (size_t i = 0; i < ds_reference_count(reference); i++) {
        char id[DS_NAME_CAPACITY + sizeof "reference."];
        (void)snprintf(id, sizeof id, "reference.%s", DS_SHOW(ds_reference_name(reference, i)));
        DS_TRY(add_check(out, options, id, "agrees with what another framework computed", "--reference", &results[i]));
    }
done:
    ds_reference_close(&reference);
    free(results);
    return status;
}

/* What the checks need of the run: the same weights in double, and two of its windows, however many a batch holds: the
 * first, and the one half way. */
static ds_status open_verify(ds_verify **verify, ds_model **loaded, ds_run *run) {
    ds_status status = DS_OK;
    ds_model *exact = run->model;
    const size_t windows = ds_min_size(DS_VERIFIED_WINDOWS, run->sequences);
    uint32_t *inputs = NULL, *targets = NULL;
    if (ds_model_precision(run->model) != DS_F64) {
        DS_TRY(ds_model_load(loaded, run->checkpoint, DS_F64));
        exact = *loaded;
    }
    DS_NEW(inputs, windows * run->length);
    DS_NEW(targets, windows * run->length);
    for (size_t w = 0; w < windows; w++)
        DS_TRY(ds_run_read_windows(run, inputs + w * run->length, targets + w * run->length, w * run->sequences / windows, 1));
    const ds_batch batch = {inputs, targets, windows, run->length};
    DS_TRY(ds_verify_new(verify, run->model, exact, &batch, run->options.seed));
done:
    free(inputs);
    free(targets);
    return status;
}

ds_status ds_verification_measure(ds_verification *out, ds_run *run, const ds_verification_options *options) {
    ds_status status = DS_OK;
    ds_model *loaded = NULL; /* NULL: the run's own model is in double */
    ds_verify *verify = NULL;
    *out = (ds_verification){.count = 0};
    DS_TRY(ds_verification_check(options));
    DS_TRY(open_verify(&verify, &loaded, run));
    DS_TRY(run_checks(out, verify, run, options));
    if (options->reference != NULL) DS_TRY(run_reference(out, run, loaded != NULL ? loaded : run->model, options));
done:
    ds_verify_free(&verify);
    ds_model_free(&loaded);
    if (status != DS_OK) ds_verification_release(out);
    return status;
}

void ds_verification_release(ds_verification *verification) {
    for (size_t i = 0; i < verification->count; i++) free(verification->checks[i].id);
    free(verification->checks);
    *verification = (ds_verification){0};
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

ds_status ds_verification_json(json_t **results, const ds_verification *verification) {
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    ds_json_begin_array(&b, "checks");
    for (size_t i = 0; i < verification->count; i++) {
        const ds_verified *check = &verification->checks[i];
        const ds_check_result *result = &check->result;
        ds_json_begin_object(&b, NULL);
        ds_json_put_text(&b, "id", check->id);
        ds_json_put_text(&b, "claim", check->claim);
        ds_json_put_text(&b, "source", check->source);
        ds_json_put_real(&b, "measured", result->measured);
        ds_json_put_real(&b, "tolerance", result->tolerance);
        ds_json_put_text(&b, "status", ds_check_status_name(result->status));
        ds_json_put_text(&b, result->status == DS_CHECK_SKIP ? "reason" : "detail", result->detail);
        ds_json_end(&b);
    }
    ds_json_end(&b);
    ds_json_end(&b);
    return ds_json_finish(results, &b);
}

static ds_status tell_options(json_t **out, const ds_verification_options *options, const ds_verification *verification) {
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    ds_json_put_text(&b, "only", options->only);
    ds_json_put_text(&b, "skip", options->skip);
    ds_json_put_text(&b, "reference", options->reference);
    ds_json_put_text(&b, "reference_sha256", options->reference == NULL ? NULL : verification->reference_sha256);
    ds_json_end(&b);
    return ds_json_finish(out, &b);
}

ds_status ds_verification_results(json_t **options_json, json_t **results, ds_run *run,
                                  const ds_verification_options *options) {
    ds_status status = DS_OK;
    ds_verification verification = {.count = 0};
    *options_json = *results = NULL;
    DS_TRY(ds_verification_measure(&verification, run, options));
    DS_TRY(tell_options(options_json, options, &verification));
    DS_TRY(ds_verification_json(results, &verification));
done:
    ds_verification_release(&verification);
    return status;
}
