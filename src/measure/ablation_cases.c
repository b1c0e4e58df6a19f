/* Cases of an ablation: modes x scopes -> which gate does what. */
#include <stdlib.h>
#include <string.h>

#include "deltascope/measure/ablation.h"
#include "deltascope/base.h"

static const struct {
    const char *name;
    ds_gate gate;
} modes[] = {
    {"closed", {DS_GATE_FIXED, 0.0}},        {"open", {DS_GATE_FIXED, 1.0}},
    {"reflect", {DS_GATE_FIXED, 2.0}},       {"mean-gate", {DS_GATE_FIXED, 1.0}}, /* 1 until ds_case_list_set_means */
    {"write-only", {DS_GATE_WRITE_ONLY, 0}}, {"erase-only", {DS_GATE_ERASE_ONLY, 0}},
};
enum { MODES = sizeof modes / sizeof modes[0] };

typedef enum scope { SCOPE_EACH, SCOPE_ATTN, SCOPE_MLP, SCOPE_ALL, SCOPE_FROM, SCOPE_UPTO, SCOPES } scope;
static const char *const scope_names[SCOPES] = {"each", "attn", "mlp", "all", "from", "upto"};

static bool in_scope(scope kind, size_t at, size_t sublayer) {
    switch (kind) {
    case SCOPE_EACH:
        return sublayer == at;
    case SCOPE_ATTN:
        return sublayer % 2 == 0;
    case SCOPE_MLP:
        return sublayer % 2 == 1;
    case SCOPE_ALL:
        return true;
    case SCOPE_FROM:
        return sublayer >= at;
    case SCOPE_UPTO:
        return sublayer <= at;
    case SCOPES:
        break;
    }
    return false;
}

static bool same_gates(const ds_case *a, const ds_case *b, size_t sublayers) {
    for (size_t s = 0; s < sublayers; s++) {
        if (a->forced[s] != b->forced[s]) return false;
        if (a->forced[s] && strcmp(a->mode, b->mode) != 0) return false;
    }
    return true;
}

static void name_case(ds_case *item, scope kind, size_t at) {
    char sublayer[32];
    switch (kind) {
    case SCOPE_EACH:
        (void)snprintf(item->name, sizeof item->name, "%s:%s", item->mode, ds_sublayer_name(sublayer, at));
        break;
    case SCOPE_FROM:
    case SCOPE_UPTO:
        (void)snprintf(item->name, sizeof item->name, "%s-%s:%zu", item->mode, scope_names[kind], at);
        break;
    default:
        (void)snprintf(item->name, sizeof item->name, "%s:%s", item->mode, scope_names[kind]);
        break;
    }
}

static ds_status add_case(ds_case_list *list, size_t mode, scope kind, size_t at) {
    ds_status status = DS_OK;
    void *storage = list->cases;
    DS_TRY(ds_grow(&storage, &list->capacity, list->count + 1, sizeof *list->cases));
    list->cases = storage;
    ds_case *item = &list->cases[list->count];
    *item = (ds_case){.mode = modes[mode].name, .same_as = list->count};
    list->count++;
    DS_NEW(item->gates, list->sublayers);
    DS_NEW(item->forced, list->sublayers);
    name_case(item, kind, at);
    for (size_t s = 0; s < list->sublayers; s++) {
        item->forced[s] = in_scope(kind, at, s);
        item->gates[s] = item->forced[s] ? modes[mode].gate : (ds_gate){DS_GATE_LEARNED, 0};
    }
    for (size_t i = list->count - 1; i-- > 0;) {
        if (same_gates(&list->cases[i], item, list->sublayers)) item->same_as = i;
    }
done:
    return status;
}

static ds_status add_scope(ds_case_list *list, size_t mode, scope kind) {
    ds_status status = DS_OK;
    bool one = kind == SCOPE_ATTN || kind == SCOPE_MLP || kind == SCOPE_ALL;
    for (size_t at = 0; at < (one ? 1 : list->sublayers); at++) DS_TRY(add_case(list, mode, kind, at));
done:
    return status;
}

static ds_status add_mode(ds_case_list *list, size_t mode, const char *scopes) {
    ds_status status = DS_OK;
    const char *word;
    size_t length;
    while (ds_next_word(&scopes, &word, &length)) {
        size_t kind = 0;
        while (kind < SCOPES && !ds_is_word(scope_names[kind], word, length)) kind++;
        if (kind == SCOPES)
            return ds_fail(DS_ERR_USAGE, "--scopes knows each, attn, mlp, all, from and upto, not \"%s\"",
                           ds_escape(word, length).text);
        DS_TRY(add_scope(list, mode, (scope)kind));
    }
done:
    return status;
}

ds_status ds_case_list_parse(ds_case_list *list, const ds_spec *spec, const char *mode_words, const char *scopes) {
    ds_status status = DS_OK;
    *list = (ds_case_list){.sublayers = ds_spec_sublayers(spec)};
    const char *word;
    size_t length;
    while (ds_next_word(&mode_words, &word, &length)) {
        size_t mode = 0;
        while (mode < MODES && !ds_is_word(modes[mode].name, word, length)) mode++;
        if (mode == MODES) {
            status =
                ds_fail(DS_ERR_USAGE, "--modes knows closed, open, reflect, mean-gate, write-only and erase-only, not \"%s\"",
                        ds_escape(word, length).text);
            goto done;
        }
        if (!spec->delta && mode != 0) {
            status = ds_fail(DS_ERR_USAGE, "an additive checkpoint has no gate: only mode closed exists, not \"%s\"",
                             modes[mode].name);
            goto done;
        }
        list->needs_means = list->needs_means || strcmp(modes[mode].name, "mean-gate") == 0;
        DS_TRY(add_mode(list, mode, scopes));
    }
done:
    if (status != DS_OK) ds_case_list_release(list);
    return status;
}

void ds_case_list_set_means(ds_case_list *list, const double *means) {
    for (size_t c = 0; c < list->count; c++) {
        if (strcmp(list->cases[c].mode, "mean-gate") != 0) continue;
        for (size_t s = 0; s < list->sublayers; s++) {
            if (list->cases[c].forced[s]) list->cases[c].gates[s].beta = means[s];
        }
    }
}

void ds_case_list_release(ds_case_list *list) {
    for (size_t c = 0; c < list->count; c++) {
        free(list->cases[c].gates);
        free(list->cases[c].forced);
    }
    free(list->cases);
    *list = (ds_case_list){0};
}

ds_status ds_gates_parse(ds_gate *gates, const ds_spec *spec, const char *words, const char *option) {
    ds_status status = DS_OK;
    ds_case_list list = {0};
    const char *word;
    size_t length;
    for (size_t s = 0; s < ds_spec_sublayers(spec); s++) gates[s] = (ds_gate){DS_GATE_LEARNED, 0};
    DS_TRY(ds_case_list_parse(&list, spec, spec->delta ? "closed,open,reflect,write-only,erase-only" : "closed",
                              "each,attn,mlp,all,from,upto"));
    while (ds_next_word(&words, &word, &length)) {
        size_t c = 0;
        while (c < list.count && !ds_is_word(list.cases[c].name, word, length)) c++;
        if (c == list.count) {
            status = ds_fail(DS_ERR_USAGE,
                             "--%s: there is no forced gate \"%s\"; they are named like closed:3.mlp, open:attn, "
                             "closed-from:4",
                             option, ds_escape(word, length).text);
            goto done;
        }
        for (size_t s = 0; s < list.sublayers; s++) {
            if (list.cases[c].forced[s]) gates[s] = list.cases[c].gates[s];
        }
    }
done:
    ds_case_list_release(&list);
    return status;
}
