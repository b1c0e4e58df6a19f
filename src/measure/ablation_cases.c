/* Cases of an ablation: interventions of the residual rule x scopes -> what is forced on which sublayer. */
#include <stdlib.h>
#include <string.h>

#include "deltascope/base.h"
#include "deltascope/measure/ablation.h"

typedef enum naming {
    NAMED_BY_SCOPE,    /* one case: "closed:all" */
    NAMED_BY_SUBLAYER, /* a case for every sublayer: "closed:3.mlp" */
    NAMED_BY_NUMBER,   /* the same: "closed-from:4" */
} naming;

static bool is_each(size_t at, size_t sublayer) { return sublayer == at; }
static bool is_attention(size_t at, size_t sublayer) { return (void)at, sublayer % 2 == 0; }
static bool is_mlp(size_t at, size_t sublayer) { return (void)at, sublayer % 2 == 1; }
static bool is_any(size_t at, size_t sublayer) { return (void)at, (void)sublayer, true; }
static bool is_from(size_t at, size_t sublayer) { return sublayer >= at; }
static bool is_upto(size_t at, size_t sublayer) { return sublayer <= at; }

/* The sublayers a case forces; `at` counts the cases of a scope that has one for every sublayer. */
typedef struct scope {
    const char *name;
    unsigned bit;
    naming naming;
    bool (*contains)(size_t at, size_t sublayer);
} scope;
static const scope scopes_table[] = {
    {"each", DS_SCOPE_EACH, NAMED_BY_SUBLAYER, is_each}, {"attn", DS_SCOPE_ATTN, NAMED_BY_SCOPE, is_attention},
    {"mlp", DS_SCOPE_MLP, NAMED_BY_SCOPE, is_mlp},       {"all", DS_SCOPE_ALL, NAMED_BY_SCOPE, is_any},
    {"from", DS_SCOPE_FROM, NAMED_BY_NUMBER, is_from},   {"upto", DS_SCOPE_UPTO, NAMED_BY_NUMBER, is_upto},
};
enum { SCOPES = sizeof scopes_table / sizeof scopes_table[0] };

static bool same_gates(const ds_case *a, const ds_case *b, size_t forces) {
    for (size_t s = 0; s < forces; s++) {
        if (a->forced[s] != b->forced[s]) return false;
        if (a->forced[s] && strcmp(a->mode, b->mode) != 0) return false;
    }
    return true;
}

static void name_case(ds_case *item, const ds_spec *spec, const scope *where, size_t at) {
    char sublayer[32];
    switch (where->naming) {
    case NAMED_BY_SCOPE:
        (void)snprintf(item->name, sizeof item->name, "%s:%s", item->mode, where->name);
        break;
    case NAMED_BY_SUBLAYER:
        (void)snprintf(item->name, sizeof item->name, "%s:%s", item->mode, ds_read_name(sublayer, spec, at));
        break;
    case NAMED_BY_NUMBER:
        (void)snprintf(item->name, sizeof item->name, "%s-%s:%zu", item->mode, where->name, at);
        break;
    }
}

/* How many sublayers a mode can force: the readout, the last of a list's forces, is a read and nothing else. */
static size_t reach_of(const ds_case_list *list, const ds_intervention *mode) {
    return mode->of_reads ? list->forces : list->sublayers;
}

static ds_status add_case(ds_case_list *list, const ds_spec *spec, const ds_intervention *mode, const scope *where, size_t at) {
    ds_status status = DS_OK;
    void *storage = list->cases;
    DS_TRY(ds_grow(&storage, &list->capacity, list->count + 1, sizeof *list->cases));
    list->cases = storage;
    ds_case *item = &list->cases[list->count];
    *item = (ds_case){.mode = mode->name, .needs_mean = mode->needs_mean, .same_as = list->count};
    list->needs_means = list->needs_means || mode->needs_mean;
    list->count++;
    DS_NEW(item->gates, list->forces);
    DS_NEW(item->forced, list->forces);
    name_case(item, spec, where, at);
    for (size_t s = 0; s < list->forces; s++) {
        item->forced[s] = s < reach_of(list, mode) && where->contains(at, s);
        item->gates[s] = item->forced[s] ? mode->force : (ds_force){DS_FORCE_NONE, 0};
    }
    for (size_t i = list->count - 1; i-- > 0;) {
        if (same_gates(&list->cases[i], item, list->forces)) item->same_as = i;
    }
done:
    return status;
}

static ds_status add_scope(ds_case_list *list, const ds_spec *spec, const ds_intervention *mode, const scope *where) {
    ds_status status = DS_OK;
    size_t cases = where->naming == NAMED_BY_SCOPE ? 1 : reach_of(list, mode);
    for (size_t at = 0; at < cases; at++) DS_TRY(add_case(list, spec, mode, where, at));
done:
    return status;
}

static ds_status add_all_scopes(ds_case_list *list, const ds_spec *spec, const ds_intervention *mode) {
    ds_status status = DS_OK;
    for (size_t i = 0; i < SCOPES; i++) {
        if ((mode->scopes & scopes_table[i].bit) != 0) DS_TRY(add_scope(list, spec, mode, &scopes_table[i]));
    }
done:
    return status;
}

/* A list of words, one at a time: the last is held back until it is known to be the last. */
typedef struct word_list {
    ds_text *text;
    const char *between, *before_last, *held; /* held NULL: none yet */
    bool any;                                 /* words stand in the text */
} word_list;

static ds_status add_word(word_list *list, const char *word) {
    ds_status status = DS_OK;
    if (list->held != NULL) {
        DS_TRY(ds_text_printf(list->text, "%s%s", list->any ? list->between : "", list->held));
        list->any = true;
    }
    list->held = word;
done:
    return status;
}

static ds_status end_words(word_list *list) {
    return ds_text_printf(list->text, "%s%s", list->any ? list->before_last : "", list->held);
}

ds_status ds_scope_words(ds_text *text, const char *between, const char *before_last) {
    ds_status status = DS_OK;
    word_list list = {text, between, before_last, NULL, false};
    for (size_t i = 0; i < SCOPES; i++) DS_TRY(add_word(&list, scopes_table[i].name));
    DS_TRY(end_words(&list));
done:
    return status;
}

static ds_status unknown_scope(const char *word, size_t length) {
    ds_status status = DS_OK;
    ds_text known = {0};
    ds_guess guess = {.word = word, .length = length};
    for (size_t i = 0; i < SCOPES; i++) ds_guess_offer(&guess, scopes_table[i].name, strlen(scopes_table[i].name));
    DS_TRY(ds_scope_words(&known, ", ", " and "));
    status = ds_fail(DS_ERR_USAGE, "--scopes knows %s, not \"%s\"%s", known.bytes, ds_escape(word, length).text,
                     ds_guess_hint(&guess, "").text);
done:
    ds_text_release(&known);
    return status;
}

static ds_status meaningless_scope(const ds_intervention *mode, const scope *asked) {
    ds_status status = DS_OK;
    ds_text fitting = {0};
    word_list list = {&fitting, ", ", " and ", NULL, false};
    for (size_t i = 0; i < SCOPES; i++) {
        if ((mode->scopes & scopes_table[i].bit) != 0) DS_TRY(add_word(&list, scopes_table[i].name));
    }
    DS_TRY(end_words(&list));
    status = ds_fail(DS_ERR_USAGE, "--scopes: mode %s goes with %s, not with %s", mode->name, fitting.bytes, asked->name);
done:
    ds_text_release(&fitting);
    return status;
}

/* Of several scopes a mode takes those it has a meaning in, and one at least. */
static ds_status add_mode(ds_case_list *list, const ds_spec *spec, const ds_intervention *mode, const char *scopes) {
    ds_status status = DS_OK;
    const char *word;
    size_t length, before = list->count;
    const scope *unfit = NULL;
    if (scopes == NULL) return add_all_scopes(list, spec, mode);
    while (ds_next_word(&scopes, &word, &length)) {
        size_t i = 0;
        while (i < SCOPES && !ds_is_word(scopes_table[i].name, word, length)) i++;
        if (i == SCOPES) DS_TRY(unknown_scope(word, length));
        if ((mode->scopes & scopes_table[i].bit) != 0)
            DS_TRY(add_scope(list, spec, mode, &scopes_table[i]));
        else
            unfit = &scopes_table[i];
    }
    if (unfit != NULL && list->count == before) status = meaningless_scope(mode, unfit);
done:
    return status;
}

static const ds_intervention *find_mode(const ds_rule *rule, const char *word, size_t length) {
    size_t count;
    const ds_intervention *modes = ds_rule_interventions(rule, &count);
    for (size_t m = 0; m < count; m++) {
        if (ds_is_word(modes[m].name, word, length)) return &modes[m];
    }
    return NULL;
}

/* Whether a rule before this one has a mode of this name. */
static bool seen_before(size_t rule, const char *name) {
    while (rule-- > 0) {
        if (find_mode(ds_rule_at(rule), name, strlen(name)) != NULL) return true;
    }
    return false;
}

ds_status ds_mode_words(ds_text *text, const char *between, const char *before_last) {
    ds_status status = DS_OK;
    word_list list = {text, between, before_last, NULL, false};
    for (size_t r = 0; r < ds_rule_count(); r++) {
        size_t count;
        const ds_intervention *modes = ds_rule_interventions(ds_rule_at(r), &count);
        for (size_t m = 0; m < count; m++) {
            if (!seen_before(r, modes[m].name)) DS_TRY(add_word(&list, modes[m].name));
        }
    }
    DS_TRY(end_words(&list));
done:
    return status;
}

/* Of the modes of all rules. */
static ds_guess guess_mode(const char *word, size_t length) {
    ds_guess guess = {.word = word, .length = length};
    for (size_t r = 0; r < ds_rule_count(); r++) {
        size_t count;
        const ds_intervention *modes = ds_rule_interventions(ds_rule_at(r), &count);
        for (size_t m = 0; m < count; m++) ds_guess_offer(&guess, modes[m].name, strlen(modes[m].name));
    }
    return guess;
}

static ds_status unknown_mode(const ds_rule *rule, const char *word, size_t length) {
    ds_status status = DS_OK;
    ds_text known = {0};
    const ds_guess guess = guess_mode(word, length);
    for (size_t r = 0; r < ds_rule_count(); r++) {
        const ds_intervention *other = find_mode(ds_rule_at(r), word, length);
        if (other != NULL) return ds_fail(DS_ERR_USAGE, "%s, not \"%s\"", ds_rule_limits(rule), other->name);
    }
    DS_TRY(ds_mode_words(&known, ", ", " and "));
    status = ds_fail(DS_ERR_USAGE, "--modes knows %s, not \"%s\"%s", known.bytes, ds_escape(word, length).text,
                     ds_guess_hint(&guess, "").text);
done:
    ds_text_release(&known);
    return status;
}

ds_status ds_case_list_parse(ds_case_list *list, const ds_spec *spec, const char *mode_words, const char *scopes) {
    ds_status status = DS_OK;
    *list = (ds_case_list){.sublayers = ds_spec_sublayers(spec), .forces = ds_spec_forces(spec)};
    const char *word;
    size_t length;
    while (ds_next_word(&mode_words, &word, &length)) {
        const ds_intervention *mode = find_mode(spec->rule, word, length);
        if (mode == NULL) DS_TRY(unknown_mode(spec->rule, word, length));
        DS_TRY(add_mode(list, spec, mode, scopes));
    }
done:
    if (status != DS_OK) ds_case_list_release(list);
    return status;
}

ds_status ds_case_list_all(ds_case_list *list, const ds_spec *spec, bool means) {
    ds_status status = DS_OK;
    size_t count;
    const ds_intervention *modes = ds_rule_interventions(spec->rule, &count);
    *list = (ds_case_list){.sublayers = ds_spec_sublayers(spec), .forces = ds_spec_forces(spec)};
    for (size_t m = 0; m < count; m++) {
        if (modes[m].needs_mean && !means) continue;
        DS_TRY(add_all_scopes(list, spec, &modes[m]));
    }
done:
    if (status != DS_OK) ds_case_list_release(list);
    return status;
}

ds_name ds_case_list_hint(const ds_case_list *list, const char *word, size_t length) {
    ds_guess guess = {.word = word, .length = length};
    for (size_t c = 0; c < list->count; c++) ds_guess_offer(&guess, list->cases[c].name, strlen(list->cases[c].name));
    return ds_guess_hint(&guess, "");
}

ds_status ds_case_list_set_means(ds_case_list *list, const double *means, size_t length) {
    ds_status status = DS_OK;
    if (length > 1) { /* what streams mix by is no number of a force: the workspace holds it */
        DS_NEW(list->mixing, list->sublayers * length);
        memcpy(list->mixing, means, list->sublayers * length * sizeof *means);
        return DS_OK;
    }
    for (size_t c = 0; c < list->count; c++) {
        if (!list->cases[c].needs_mean) continue;
        for (size_t s = 0; s < list->sublayers; s++) {
            if (list->cases[c].forced[s]) list->cases[c].gates[s].value = means[s];
        }
    }
done:
    return status;
}

void ds_case_list_keep(ds_case_list *list, const char *names) {
    const char *word;
    size_t length;
    for (size_t c = 0; c < list->count; c++) list->cases[c].left_out = true;
    while (ds_next_word(&names, &word, &length)) {
        for (size_t c = 0; c < list->count; c++) {
            if (!ds_is_word(list->cases[c].name, word, length)) continue;
            list->cases[c].left_out = list->cases[list->cases[c].same_as].left_out = false;
        }
    }
}

void ds_case_list_release(ds_case_list *list) {
    for (size_t c = 0; c < list->count; c++) {
        free(list->cases[c].gates);
        free(list->cases[c].forced);
    }
    free(list->cases);
    free(list->mixing);
    *list = (ds_case_list){0};
}

ds_status ds_gates_parse(ds_force *gates, const ds_spec *spec, const char *words, const char *option) {
    ds_status status = DS_OK;
    ds_case_list list = {0};
    const char *word;
    size_t length;
    for (size_t s = 0; s < ds_spec_forces(spec); s++) gates[s] = (ds_force){DS_FORCE_NONE, 0};
    DS_TRY(ds_case_list_all(&list, spec, false));
    while (ds_next_word(&words, &word, &length)) {
        size_t c = 0;
        while (c < list.count && !ds_is_word(list.cases[c].name, word, length)) c++;
        if (c == list.count) {
            status = ds_fail(DS_ERR_USAGE,
                             "--%s: there is no forced gate \"%s\"%s; they are named like closed:3.mlp, open:attn, "
                             "closed-from:4",
                             option, ds_escape(word, length).text, ds_case_list_hint(&list, word, length).text);
            goto done;
        }
        for (size_t s = 0; s < list.forces; s++) {
            if (list.cases[c].forced[s]) gates[s] = list.cases[c].gates[s];
        }
    }
done:
    ds_case_list_release(&list);
    return status;
}
