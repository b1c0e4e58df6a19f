/* What a report says first: findings, each with the threshold from which it counts, and a verdict in plain words made of
 * them. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "deltascope/run.h"
#include "deltascope/stats.h"
#include "table.h"

/* Stated wherever it is used. */
static const double majority = 0.5;

static double number_at(const json_t *value, const char *path) {
    const json_t *found = ds_json_at(value, path);
    return json_is_number(found) ? json_number_value(found) : NAN;
}

static size_t count_at(const json_t *value, const char *path) {
    json_int_t count = json_integer_value(ds_json_at(value, path));
    return count > 0 ? (size_t)count : 0;
}

static const char *text_at(const json_t *value, const char *path) {
    const char *found = json_string_value(ds_json_at(value, path));
    return found == NULL ? "" : found;
}

/* ---- collecting -------------------------------------------------------------------------------------------------- */

static ds_status begin(ds_findings *all, const char *kind, const char *threshold, const char *evidence) {
    if (all->count == DS_REPORT_FINDINGS)
        return ds_fail(DS_ERR_SYSTEM, "report: more than %d kinds of findings", DS_REPORT_FINDINGS);
    all->rows[all->count++] = (ds_finding){.kind = kind, .threshold = threshold, .evidence = evidence};
    return DS_OK;
}

/* Sets the last finding off from the others. */
static void alarm_at_last(ds_findings *all) { all->rows[all->count - 1].alarm = true; }

/* Adds "name (value)" to where the last finding was made. */
static ds_status add(ds_findings *all, const char *name, const char *value) {
    ds_status status = DS_OK;
    ds_text *where = &all->where[all->count - 1];
    all->rows[all->count - 1].count++;
    DS_TRY(ds_text_printf(where, "%s%s", where->length > 0 ? ", " : "", DS_SHOW(name)));
    if (value[0] != '\0') DS_TRY(ds_text_printf(where, " (%s)", value));
done:
    return status;
}

static ds_status find_regime(ds_findings *all, const json_t *results, const char *kind, const char *threshold,
                             const char *path) {
    ds_status status = DS_OK;
    const json_t *sublayers = ds_json_at(results, "gates/sublayers");
    DS_TRY(begin(all, kind, threshold, "regime-shares"));
    for (size_t i = 0; i < json_array_size(sublayers); i++) {
        const json_t *sublayer = json_array_get(sublayers, i);
        char value[32];
        double share = number_at(sublayer, path);
        (void)snprintf(value, sizeof value, "%.0f%%", 100 * share);
        if (share > majority) DS_TRY(add(all, text_at(sublayer, "name"), value));
    }
done:
    return status;
}

static bool is_single(const json_t *item) {
    return strcmp(text_at(item, "mode"), "closed") == 0 && json_array_size(json_object_get(item, "sublayers")) == 1 &&
           strchr(text_at(item, "name"), '.') != NULL;
}

/* `sign` of the change that counts: +1 the loss rises, -1 it falls. */
static ds_status find_change(ds_findings *all, const json_t *envelope, const char *kind, const char *threshold, int sign) {
    ds_status status = DS_OK;
    const json_t *ablate = ds_json_at(envelope, "results/ablate"), *cases = json_object_get(ablate, "cases");
    DS_TRY(begin(all, kind, threshold, "closed-gate-loss"));
    size_t needed = ds_windows_needed(ablate, count_at(envelope, "data/sequences"));
    if (needed > 0) return ds_text_printf(&all->where[all->count - 1], "not decided: that takes at least %zu windows", needed);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *item = json_array_get(cases, i);
        double nearer = sign * number_at(item, sign > 0 ? "delta_loss_ci95/0" : "delta_loss_ci95/1");
        char value[48];
        if (!is_single(item) || !(nearer > 0) || !(number_at(item, "p_value_holm") < DS_SIGNIFICANCE)) continue;
        (void)snprintf(value, sizeof value, "%+.3g nats", number_at(item, "delta_loss"));
        DS_TRY(add(all, text_at(item, "sublayers/0"), value));
    }
done:
    return status;
}

static ds_status find_failures(ds_findings *all, const json_t *results) {
    ds_status status = DS_OK;
    const json_t *checks = ds_json_at(results, "verify/checks");
    DS_TRY(begin(all, "check failed", "measured > tolerance", "table-checks"));
    for (size_t i = 0; i < json_array_size(checks); i++) {
        const json_t *check = json_array_get(checks, i);
        char value[64];
        if (strcmp(text_at(check, "status"), "fail") != 0) continue;
        (void)snprintf(value, sizeof value, "%.2g > %.2g", number_at(check, "measured"), number_at(check, "tolerance"));
        DS_TRY(add(all, text_at(check, "id"), value));
        alarm_at_last(all);
    }
done:
    return status;
}

static ds_status find_damage(ds_findings *all, const json_t *results) {
    ds_status status = DS_OK;
    const json_t *health = ds_json_at(results, "inspect/health"), *unused = ds_json_at(results, "inspect/unused");
    DS_TRY(begin(all, "weights not finite", "any NaN or infinity", "table-parameters"));
    for (size_t i = 0; i < json_array_size(health); i++) {
        const json_t *tensor = json_array_get(health, i);
        char value[64];
        double bad = number_at(tensor, "nan") + number_at(tensor, "inf");
        if (!(bad > 0)) continue;
        (void)snprintf(value, sizeof value, "%.0f values", bad);
        DS_TRY(add(all, text_at(tensor, "tensor"), value));
        alarm_at_last(all);
    }
    DS_TRY(begin(all, "tensor unused", "in the file, not in the model", "table-parameters"));
    for (size_t i = 0; i < json_array_size(unused); i++)
        DS_TRY(add(all, json_is_string(json_array_get(unused, i)) ? json_string_value(json_array_get(unused, i)) : "", ""));
done:
    return status;
}

/* ---- the verdict ------------------------------------------------------------------------------------------------- */

/* A rule has a name of its own: what is none of those is a control's. */
static bool is_control(const char *name) {
    for (size_t i = 0; i < ds_rule_count(); i++)
        if (strcmp(ds_rule_name(ds_rule_at(i)), name) == 0) return false;
    return name[0] != '\0';
}

static ds_status say_model(ds_text *text, const json_t *envelope) {
    ds_status status = DS_OK;
    const json_t *data = json_object_get(envelope, "data");
    double loss = number_at(envelope, "results/gates/loss");
    if (isnan(loss)) loss = number_at(envelope, "results/ablate/baseline/loss");
    size_t layers = count_at(envelope, "checkpoint/layers"), sequences = count_at(data, "sequences");
    const char *rule = text_at(envelope, "checkpoint/rule");
    DS_TRY(ds_text_printf(text, "This %s checkpoint", text_at(envelope, "checkpoint/variant")));
    if (is_control(rule)) DS_TRY(ds_text_printf(text, ", trained as the control %s,", rule));
    DS_TRY(ds_text_printf(text, " of %zu layer%s and %zu parameters", layers, ds_plural(layers),
                          count_at(envelope, "checkpoint/parameters")));
    if (isnan(loss)) {
        status = ds_text_printf(text, " was not run on data. ");
        goto done;
    }
    DS_TRY(ds_text_printf(text, " has a loss of %.4f nats per token over %zu window%s of %zu tokens. ", loss, sequences,
                          ds_plural(sequences), count_at(data, "seq_len")));
done:
    return status;
}

static ds_status say_gates(ds_text *text, const json_t *results) {
    static const struct {
        const char *path, *one, *many;
    } regimes[] = {{"regimes/reflection", "reflects", "reflect"},
                   {"regimes/over_relaxed", "overshoots", "overshoot"},
                   {"regimes/projection", "overwrites", "overwrite"},
                   {"regimes/damped", "erases in part", "erase in part"},
                   {"regimes/identity", "is skipped", "are skipped"}};
    enum { REGIMES = sizeof regimes / sizeof *regimes };
    ds_status status = DS_OK;
    const json_t *sublayers = ds_json_at(results, "gates/sublayers");
    size_t total = json_array_size(sublayers), placed = 0;
    if (total == 0) return DS_OK;
    DS_TRY(ds_text_printf(text, "By what most tokens do in each of its %zu sublayers, ", total));
    for (size_t r = 0; r < REGIMES; r++) {
        size_t count = 0;
        for (size_t i = 0; i < total; i++) count += number_at(json_array_get(sublayers, i), regimes[r].path) > majority;
        if (count == 0) continue;
        DS_TRY(ds_text_printf(text, "%s%zu %s", placed > 0 ? ", " : "", count, count == 1 ? regimes[r].one : regimes[r].many));
        placed += count;
    }
    if (placed < total)
        DS_TRY(ds_text_printf(text, "%s%zu %s no majority", placed > 0 ? ", and " : "", total - placed,
                              total - placed == 1 ? "has" : "have"));
    status = ds_text_printf(text, ". ");
done:
    return status;
}

static const json_t *named_case(const json_t *results, const char *name) {
    const json_t *cases = ds_json_at(results, "ablate/cases");
    for (size_t i = 0; i < json_array_size(cases); i++) {
        if (strcmp(text_at(json_array_get(cases, i), "name"), name) == 0) return json_array_get(cases, i);
    }
    return NULL;
}

static ds_status say_change(ds_text *text, const json_t *item) {
    double low = number_at(item, "delta_loss_ci95/0"), high = number_at(item, "delta_loss_ci95/1");
    if (isnan(low) || isnan(high)) return ds_text_printf(text, "%+.3f nats", number_at(item, "delta_loss"));
    return ds_text_printf(text, "%+.3f nats (95%% interval %+.3f to %+.3f)", number_at(item, "delta_loss"), low, high);
}

static ds_status say_ablation(ds_text *text, const json_t *envelope, bool gates, size_t mattering) {
    ds_status status = DS_OK;
    const json_t *results = json_object_get(envelope, "results");
    size_t windows = count_at(envelope, "data/sequences");
    const json_t *cases = ds_json_at(results, "ablate/cases"), *largest = NULL, *all = named_case(results, "closed:all");
    size_t singles = 0;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *item = json_array_get(cases, i);
        if (!is_single(item)) continue;
        singles++;
        if (largest == NULL || number_at(item, "delta_loss") > number_at(largest, "delta_loss")) largest = item;
    }
    if (largest == NULL) return DS_OK;
    DS_TRY(ds_text_printf(text, "%s matters most is %s: %s it changes the loss by ",
                          gates ? "The gate that" : "The sublayer that", DS_SHOW(text_at(largest, "sublayers/0")),
                          gates ? "closing" : "dropping"));
    DS_TRY(say_change(text, largest));
    if (all != NULL) {
        DS_TRY(ds_text_printf(text, "; %s all of them, by ", gates ? "closing" : "dropping"));
        DS_TRY(say_change(text, all));
    }
    DS_TRY(ds_text_printf(text, ". "));
    if (ds_windows_needed(json_object_get(results, "ablate"), windows) > 0)
        DS_TRY(ds_windows_note(text, json_object_get(results, "ablate"), windows));
    else
        DS_TRY(ds_text_printf(text, "%zu of %zu matter by themselves beyond chance.", mattering, singles));
    DS_TRY(ds_text_printf(text, " "));
done:
    return status;
}

/* Whatever the run warned of concerns every number above. */
static ds_status say_warnings(ds_text *text, const json_t *envelope) {
    ds_status status = DS_OK;
    const json_t *warnings = json_object_get(envelope, "warnings");
    for (size_t i = 0; i < json_array_size(warnings); i++) {
        const char *sentence = json_string_value(json_array_get(warnings, i));
        if (sentence == NULL || sentence[0] == '\0') continue;
        DS_TRY(ds_text_printf(text, "Mind: "));
        DS_TRY(ds_text_append_visible(text, sentence));
        DS_TRY(ds_text_printf(text, "%s ", strchr(".?!", sentence[strlen(sentence) - 1]) != NULL ? "" : "."));
    }
done:
    return status;
}

/* What the intervals of the sentences before speak of. */
static ds_status say_inference(ds_text *text, const json_t *envelope) {
    ds_status status = DS_OK;
    const ds_inference inference = ds_inference_of(json_object_get(envelope, "data"));
    const size_t before = text->length;
    if (json_array_size(ds_json_at(envelope, "results/ablate/cases")) == 0) return DS_OK;
    DS_TRY(ds_inference_note(text, &inference));
    if (text->length > before) DS_TRY(ds_text_printf(text, " "));
done:
    return status;
}

static ds_status say_checks(ds_text *text, const json_t *results) {
    const json_t *checks = ds_json_at(results, "verify/checks");
    size_t passed = 0, failed = 0, skipped = 0;
    for (size_t i = 0; i < json_array_size(checks); i++) {
        const char *outcome = text_at(json_array_get(checks, i), "status");
        passed += strcmp(outcome, "pass") == 0;
        failed += strcmp(outcome, "fail") == 0;
        skipped += strcmp(outcome, "skip") == 0;
    }
    if (passed + failed == 0) return ds_text_printf(text, "No check was made.");
    if (failed > 0) return ds_text_printf(text, "%zu of %zu checks FAILED.", failed, passed + failed);
    if (skipped > 0) return ds_text_printf(text, "All %zu checks that apply passed.", passed);
    return ds_text_printf(text, "All %zu checks passed.", passed);
}

/* What a reader of the verdict has to know was not looked at. */
static ds_status say_skipped(ds_text *text, const json_t *envelope) {
    ds_status status = DS_OK;
    const char *list = json_string_value(ds_json_at(envelope, "options/skip")), *word;
    size_t length;
    for (bool first = true; list != NULL && ds_next_word(&list, &word, &length); first = false)
        DS_TRY(ds_text_printf(text, "%s%s", first ? " Left out on request: " : ", ", ds_escape(word, length).text));
    if (json_is_string(ds_json_at(envelope, "options/skip"))) DS_TRY(ds_text_printf(text, "."));
done:
    return status;
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

ds_status ds_findings_find(ds_findings *findings, const json_t *envelope) {
    ds_status status = DS_OK;
    const json_t *results = json_object_get(envelope, "results");
    bool gates = json_array_size(ds_json_at(results, "gates/sublayers")) > 0;
    size_t mattering = 0;
    if (gates) {
        DS_TRY(find_regime(findings, results, "reflects", "> 50% of tokens with b > 1.9", "regimes/reflection"));
        DS_TRY(find_regime(findings, results, "overwrites", "> 50% of tokens with 0.9 ≤ b ≤ 1.1", "regimes/projection"));
        DS_TRY(find_regime(findings, results, "skipped", "> 50% of tokens with b < 0.1", "regimes/identity"));
    }
    if (json_array_size(ds_json_at(results, "ablate/cases")) > 0) {
        DS_TRY(find_change(findings, envelope, "matters", "shut alone: 95% interval of Δ loss above 0 and Holm's p < 0.05", 1));
        mattering = findings->rows[findings->count - 1].count;
        DS_TRY(find_change(findings, envelope, "better without",
                           "shut alone: 95% interval of Δ loss below 0 and Holm's p < 0.05", -1));
    }
    if (json_array_size(ds_json_at(results, "verify/checks")) > 0) DS_TRY(find_failures(findings, results));
    if (json_object_get(results, "inspect") != NULL) DS_TRY(find_damage(findings, results));
    for (size_t i = 0; i < findings->count; i++) {
        if (findings->where[i].length == 0) DS_TRY(ds_text_printf(&findings->where[i], "none"));
        findings->rows[i].where = findings->where[i].bytes;
    }
    DS_TRY(say_model(&findings->verdict, envelope));
    DS_TRY(say_gates(&findings->verdict, results));
    DS_TRY(say_ablation(&findings->verdict, envelope, gates, mattering));
    DS_TRY(say_inference(&findings->verdict, envelope));
    DS_TRY(say_warnings(&findings->verdict, envelope));
    DS_TRY(say_checks(&findings->verdict, results));
    DS_TRY(say_skipped(&findings->verdict, envelope));
done:
    return status;
}

ds_status ds_findings_json(json_t **out, const ds_findings *findings) {
    ds_json_builder b = {0};
    ds_json_begin_array(&b, NULL);
    for (size_t i = 0; i < findings->count; i++) {
        ds_json_begin_object(&b, NULL);
        ds_json_put_text(&b, "finding", findings->rows[i].kind);
        ds_json_put_text(&b, "threshold", findings->rows[i].threshold);
        ds_json_put_count(&b, "count", findings->rows[i].count);
        ds_json_put_text(&b, "where", findings->rows[i].where);
        ds_json_put_text(&b, "evidence", findings->rows[i].evidence);
        ds_json_end(&b);
    }
    ds_json_end(&b);
    return ds_json_finish(out, &b);
}

const ds_column ds_findings_columns[DS_FINDINGS_COLUMNS] = {
    {"finding", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"threshold", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"count", NULL, NULL, DS_COLUMN_INTEGER, 0},
    {"where", NULL, NULL, DS_COLUMN_TEXT, 0},
};

ds_status ds_findings_table(ds_table **table, const ds_findings *findings) {
    ds_status status = DS_OK;
    DS_TRY(ds_table_new(table, "Findings", ds_findings_columns, DS_FINDINGS_COLUMNS));
    for (size_t i = 0; i < findings->count; i++) {
        ds_table_text(*table, findings->rows[i].kind);
        ds_table_text(*table, findings->rows[i].threshold);
        ds_table_integer(*table, (int64_t)findings->rows[i].count);
        ds_table_text(*table, findings->rows[i].where);
    }
done:
    return status;
}

void ds_findings_release(ds_findings *findings) {
    for (size_t i = 0; i < DS_REPORT_FINDINGS; i++) ds_text_release(&findings->where[i]);
    ds_text_release(&findings->verdict);
}
