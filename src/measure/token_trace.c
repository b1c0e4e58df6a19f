#include "deltascope/measure/token_trace.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/stats.h"

#include "trace_coefficients.h"

const ds_trace_options ds_trace_defaults = {.show = NULL};

static const char *const shown_words[DS_TRACE_SHOWN] = {
    [DS_TRACE_BETA] = "beta", [DS_TRACE_EIGENVALUE] = "eigenvalue", [DS_TRACE_EDIT] = "edit",
    [DS_TRACE_LOSS] = "loss", [DS_TRACE_SOURCES] = "sources",       [DS_TRACE_MIXING] = "mixing",
};

ds_trace_quantity ds_trace_find(const char *word) {
    ds_trace_quantity found = DS_TRACE_BETA;
    while (found < DS_TRACE_SHOWN && strcmp(shown_words[found], word) != 0) found++;
    return found;
}

ds_status ds_trace_check(const ds_trace_options *options) {
    const ds_window_source *window = &options->window;
    if ((window->text != NULL) + (window->text_file != NULL) + (window->tokens != NULL) != 1)
        return ds_fail(DS_ERR_USAGE, "trace needs one of --text FILE, --text WORDS and --tokens FILE");
    if (window->tokens == NULL && window->type != DS_TOKENS_ANY)
        return ds_fail(DS_ERR_USAGE, "--token-type says what --tokens FILE holds: it goes with no other");
    if (window->tokens == NULL && window->tokenizer == NULL)
        return ds_fail(DS_ERR_USAGE, "trace needs --tokenizer PATH to turn text into tokens");
    return DS_OK;
}

/* What is shown of a rule unless something else is asked for; a loss of a rule that has nothing of its own. */
static ds_trace_quantity usual(const ds_spec *spec) {
    if (ds_trace_has_coefficients(spec)) return ds_rule_keeps_history(spec->rule) ? DS_TRACE_SOURCES : DS_TRACE_MIXING;
    return ds_rule_has_gates(spec->rule) ? DS_TRACE_BETA : DS_TRACE_LOSS;
}

static const char *shown_word(const ds_run *run, const ds_trace_options *options) {
    return options->show != NULL ? options->show : shown_words[usual(&run->spec)];
}

/* The cases to force, NULL for none. */
static const char *forced_cases(const ds_run *run, const ds_trace_options *options) {
    if (options->force != NULL) return options->force;
    return ds_trace_find(shown_word(run, options)) == DS_TRACE_LOSS ? "closed:each" : NULL;
}

/* ---- cases ------------------------------------------------------------------------------------------------------- */

/* Whether `name` asks for this case: by its own name, or as one of "MODE:each". */
static bool is_asked_for(const ds_case *item, const char *name, size_t length) {
    size_t mode = strlen(item->mode);
    if (ds_is_word(item->name, name, length)) return true;
    bool each = length == mode + 5 && memcmp(name, item->mode, mode) == 0 && memcmp(name + mode, ":each", 5) == 0;
    return each && item->name[mode] == ':' && strchr("0123456789", item->name[mode + 1]) != NULL;
}

static ds_status choose_cases(ds_trace *trace, const char *names) {
    ds_status status = DS_OK;
    const char *word;
    size_t words = 1, length;
    for (const char *at = names; *at != '\0'; at++) words += *at == ',';
    DS_NEW(trace->cases, words * trace->list.count);
    while (ds_next_word(&names, &word, &length)) {
        size_t before = trace->count;
        for (size_t c = 0; c < trace->list.count; c++) {
            if (is_asked_for(&trace->list.cases[c], word, length)) trace->cases[trace->count++] = &trace->list.cases[c];
        }
        if (trace->count == before)
            return ds_fail(DS_ERR_USAGE,
                           "--force: no case \"%s\" in a model of %zu sublayers%s; cases are named as by ablate (closed:0.mlp, "
                           "open-from:2, ...), closed:each is each sublayer alone",
                           ds_escape(word, length).text, trace->sublayers, ds_case_list_hint(&trace->list, word, length).text);
    }
done:
    return status;
}

static ds_status choose_shown(ds_trace *out, const ds_run *run, const ds_trace_options *options) {
    const char *word = shown_word(run, options);
    out->shown = ds_trace_find(word);
    if (out->shown == DS_TRACE_SHOWN)
        return ds_fail(DS_ERR_USAGE, "trace can show beta, eigenvalue, edit, loss, sources and mixing, not \"%s\"",
                       DS_SHOW(word));
    bool of_gates = out->shown < DS_TRACE_QUANTITIES, gates = ds_rule_has_gates(run->spec.rule);
    const ds_trace_quantity own = usual(&run->spec);
    if (out->shown == own && own > DS_TRACE_LOSS && options->force != NULL)
        return ds_fail(DS_ERR_USAGE, "--force: %s are shown of the intact model; forced cases go with --show loss",
                       shown_words[own]);
    if (out->shown == DS_TRACE_LOSS || out->shown == own || (of_gates && gates)) return DS_OK;
    if (own == DS_TRACE_LOSS)
        return ds_fail(DS_ERR_USAGE, "--show %s: an additive checkpoint has %s; it has --show loss", word,
                       of_gates ? "no gates" : "neither sources to choose from nor streams to mix");
    return ds_fail(DS_ERR_USAGE, "--show %s: a checkpoint of the rule %s has no such thing; it has --show %s and --show loss",
                   word, ds_rule_name(run->spec.rule), shown_words[own]);
}

static ds_status find_cases(ds_trace *trace, const ds_run *run, const char *force) {
    ds_status status = DS_OK;
    if (force == NULL) return DS_OK;
    DS_TRY(ds_case_list_all(&trace->list, &run->spec, ds_rule_has_gates(run->spec.rule)));
    DS_TRY(choose_cases(trace, force));
    if (trace->shown != DS_TRACE_LOSS && trace->count > 1)
        status = ds_fail(DS_ERR_USAGE, "--force: a picture of gates has room for one case, \"%s\" are %zu", DS_SHOW(force),
                         trace->count);
done:
    return status;
}

static ds_status allocate(ds_trace *trace, const ds_run *run) {
    ds_status status = DS_OK;
    trace->tokens = run->length;
    DS_NEW(trace->ids, trace->tokens);
    DS_NEW(trace->loss, trace->tokens);
    DS_NEW(trace->forced, trace->count * trace->tokens);
    for (size_t q = 0; q < DS_TRACE_QUANTITIES && ds_rule_has_gates(run->spec.rule); q++)
        DS_NEW(trace->values[q], trace->sublayers * trace->tokens);
    if (ds_trace_has_coefficients(&run->spec))
        DS_TRY(ds_trace_coefficients_init(&trace->coefficients, &run->spec, trace->tokens));
done:
    return status;
}

void ds_trace_release(ds_trace *trace) {
    for (size_t q = 0; q < DS_TRACE_QUANTITIES; q++) free(trace->values[q]);
    free(trace->ids);
    free(trace->loss);
    free(trace->forced);
    free(trace->cases);
    ds_case_list_release(&trace->list);
    ds_trace_coefficients_release(&trace->coefficients);
    *trace = (ds_trace){0};
}

/* ---- passes ------------------------------------------------------------------------------------------------------ */

typedef struct watch {
    ds_trace *trace;
    double residual_mult;
} watch;

static ds_status observe(void *context, const ds_observation *seen) {
    const watch *w = context;
    if (seen->streams != NULL) ds_trace_coefficients_keep(&w->trace->coefficients, seen);
    if (seen->delta == NULL) return DS_OK;
    size_t row = seen->sublayer * w->trace->tokens;
    for (size_t t = 0; t < w->trace->tokens; t++) {
        double edit = seen->state_norm[t] > 0 ? seen->edit_norm[t] / seen->state_norm[t] : 0;
        w->trace->values[DS_TRACE_BETA][row + t] = seen->delta->beta[t];
        w->trace->values[DS_TRACE_EIGENVALUE][row + t] = 1 - w->residual_mult * seen->delta->beta[t] * seen->delta->k_norm2[t];
        w->trace->values[DS_TRACE_EDIT][row + t] = edit;
    }
    return DS_OK;
}

static ds_status set_means(ds_trace *trace) {
    ds_status status = DS_OK;
    double *means = NULL;
    DS_NEW(means, trace->sublayers);
    for (size_t s = 0; s < trace->sublayers; s++)
        means[s] = ds_mean(trace->values[DS_TRACE_BETA] + s * trace->tokens, trace->tokens);
    DS_TRY(ds_case_list_set_means(&trace->list, means, 1));
done:
    free(means);
    return status;
}

/* nll[t] is the loss of token t + 1. */
static void shift(double *loss, const double *nll, size_t tokens) {
    loss[0] = NAN;
    memcpy(loss + 1, nll, (tokens - 1) * sizeof *loss);
}

/* The intact pass, then one for each case. */
static ds_status run_passes(ds_trace *trace, const ds_model *model) {
    ds_status status = DS_OK;
    const ds_spec *spec = ds_model_spec(model);
    watch context = {trace, ds_spec_shortcut_mult(spec)};
    const ds_observer observer = {DS_OBSERVE_GATES, observe, &context},
                      *watching = trace->values[0] != NULL || trace->coefficients.streams > 0 ? &observer : NULL;
    ds_workspace *workspace = NULL;
    uint32_t *targets = NULL;
    double *nll = NULL;
    DS_NEW(targets, trace->tokens); /* nothing follows the last token: its loss, of target 0, is not looked at */
    DS_NEW(nll, trace->tokens);
    memcpy(targets, trace->ids + 1, (trace->tokens - 1) * sizeof *targets);
    const ds_batch batch = {trace->ids, targets, 1, trace->tokens};
    DS_TRY(ds_workspace_new(&workspace, model, 1, trace->tokens));
    DS_TRY(ds_forward(workspace, model, &batch, NULL, watching, nll));
    shift(trace->loss, nll, trace->tokens);
    if (ds_rule_keeps_history(spec->rule)) DS_TRY(ds_trace_coefficients_route(&trace->coefficients, workspace, model, &batch));
    if (trace->list.needs_means) DS_TRY(set_means(trace));
    for (size_t c = 0; c < trace->count; c++) {
        bool watched = c == 0 && trace->shown < DS_TRACE_LOSS;
        DS_TRY(ds_forward(workspace, model, &batch, trace->cases[c]->gates, watched ? watching : NULL, nll));
        shift(trace->forced + c * trace->tokens, nll, trace->tokens);
    }
done:
    ds_workspace_free(&workspace);
    free(targets);
    free(nll);
    return status;
}

ds_status ds_trace_measure(ds_trace *out, ds_run *run, const ds_trace_options *options) {
    ds_status status = DS_OK;
    *out = (ds_trace){.sublayers = ds_spec_sublayers(&run->spec)};
    DS_TRY(ds_trace_check(options));
    DS_TRY(choose_shown(out, run, options));
    DS_TRY(ds_run_open_window(run, &options->window));
    DS_TRY(find_cases(out, run, forced_cases(run, options)));
    DS_TRY(allocate(out, run));
    memcpy(out->ids, run->ids, out->tokens * sizeof *out->ids);
    DS_TRY(run_passes(out, run->model));
done:
    if (status != DS_OK) ds_trace_release(out);
    return status;
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

/* Of the tokens that have a loss: all but the first. NaN when there is a single token. */
static double mean_loss(const double *loss, size_t tokens) { return tokens < 2 ? NAN : ds_mean(loss + 1, tokens - 1); }

static ds_status put_tokens(ds_json_builder *b, const ds_trace *trace, const ds_tokenizer *tokenizer) {
    ds_status status = DS_OK;
    ds_text label = {0};
    ds_json_begin_array(b, "tokens");
    for (size_t t = 0; t < trace->tokens; t++) {
        size_t length = 0;
        const char *piece = tokenizer == NULL ? NULL : ds_tokenizer_piece(tokenizer, trace->ids[t], &length);
        label.length = 0;
        DS_TRY(ds_text_append(&label, "", 0)); /* a token of no bytes has an empty label */
        DS_TRY(ds_token_label(&label, tokenizer, trace->ids[t], true));
        ds_json_begin_object(b, NULL);
        ds_json_put_count(b, "position", t);
        ds_json_put_count(b, "id", trace->ids[t]);
        ds_json_put(b, "text", piece != NULL && ds_is_utf8(piece, length) ? json_stringn(piece, length) : json_null());
        ds_json_put_text(b, "label", label.bytes);
        ds_json_put_real(b, "loss", trace->loss[t]);
        ds_json_end(b);
    }
    ds_json_end(b);
done:
    ds_text_release(&label);
    return status;
}

static void put_sublayers(ds_json_builder *b, const ds_trace *trace) {
    char name[32];
    ds_json_begin_array(b, "sublayers");
    for (size_t s = 0; s < trace->sublayers && trace->values[0] != NULL; s++) {
        size_t row = s * trace->tokens;
        ds_json_begin_object(b, NULL);
        ds_json_put_count(b, "index", s);
        ds_json_put_text(b, "name", ds_sublayer_name(name, s));
        ds_json_put_reals(b, "beta", trace->values[DS_TRACE_BETA] + row, trace->tokens);
        ds_json_put_reals(b, "eigenvalue", trace->values[DS_TRACE_EIGENVALUE] + row, trace->tokens);
        ds_json_put_reals(b, "relative_edit", trace->values[DS_TRACE_EDIT] + row, trace->tokens);
        ds_json_end(b);
    }
    ds_trace_coefficients_put(b, &trace->coefficients);
    ds_json_end(b);
}

static void put_cases(ds_json_builder *b, const ds_trace *trace, double intact) {
    ds_json_begin_array(b, "cases");
    for (size_t c = 0; c < trace->count; c++) {
        const double *loss = trace->forced + c * trace->tokens;
        ds_json_begin_object(b, NULL);
        ds_json_put_text(b, "name", trace->cases[c]->name);
        ds_json_put_real(b, "loss", mean_loss(loss, trace->tokens));
        ds_json_put_real(b, "delta_loss", mean_loss(loss, trace->tokens) - intact);
        ds_json_put_reals(b, "token_loss", loss, trace->tokens);
        ds_json_end(b);
    }
    ds_json_end(b);
}

ds_status ds_trace_json(json_t **results, const ds_trace *trace, const ds_tokenizer *tokenizer) {
    ds_status status = DS_OK;
    ds_json_builder b = {0};
    double intact = mean_loss(trace->loss, trace->tokens);
    ds_json_begin_object(&b, NULL);
    ds_json_put_real(&b, "loss", intact);
    DS_TRY(put_tokens(&b, trace, tokenizer));
    ds_json_put_text(&b, "forced", trace->shown != DS_TRACE_LOSS && trace->count != 0 ? trace->cases[0]->name : NULL);
    put_sublayers(&b, trace);
    put_cases(&b, trace, intact);
    ds_json_end(&b);
    DS_TRY(ds_json_finish(results, &b));
done:
    if (status != DS_OK) ds_json_discard(&b);
    return status;
}

static ds_status tell_options(json_t **out, const ds_run *run, const ds_trace_options *options) {
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    ds_json_put_text(&b, "show", shown_word(run, options));
    ds_json_put_text(&b, "force", forced_cases(run, options));
    ds_json_end(&b);
    return ds_json_finish(out, &b);
}

ds_status ds_trace_results(json_t **options_json, json_t **results, ds_run *run, const ds_trace_options *options) {
    ds_status status = DS_OK;
    ds_trace trace = {.tokens = 0};
    *options_json = *results = NULL;
    DS_TRY(tell_options(options_json, run, options));
    DS_TRY(ds_trace_measure(&trace, run, options));
    DS_TRY(ds_trace_json(results, &trace, run->tokenizer));
done:
    ds_trace_release(&trace);
    return status;
}
