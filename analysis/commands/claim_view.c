#include "claim_view.h"

#include <stdlib.h>
#include <string.h>

#include "cli/standard_streams.h"
#include "cli/text_wrapping.h"
#include "deltascope/claims.h"

static ds_status out_of_memory(void) { return ds_fail(DS_ERR_SYSTEM, "out of memory while results are compared"); }

/* ---- putting together -------------------------------------------------------------------------------------------- */

void ds_claim_view_release(ds_claim_view *view) {
    json_decref(view->sections);
    view->sections = NULL;
}

static ds_status add(ds_claim_view *view, json_t *section) {
    if (view->sections == NULL) view->sections = json_array();
    return json_array_append_new(view->sections, section) == 0 ? DS_OK : out_of_memory();
}

ds_status ds_claim_view_compare(ds_claim_view *view, const char *name, const char *leaf, const char *where, const json_t *a,
                                const json_t *b, double other) {
    ds_status status = DS_OK;
    json_t *section = NULL;
    DS_TRY(ds_claims_compare(&section, name, leaf, where, a, b, other));
    if (json_object_set_new(section, "obstacle", json_null()) != 0) {
        json_decref(section);
        return out_of_memory();
    }
    status = add(view, section);
done:
    return status;
}

ds_status ds_claim_view_obstacle(ds_claim_view *view, const char *name, const char *reason, bool incomplete) {
    view->incomplete = view->incomplete || incomplete;
    return add(view, json_pack("{s:s, s:i, s:i, s:n, s:[], s:s}", "name", name, "compared", 0, "disagreed", 0, "worst",
                               "differences", "obstacle", reason));
}

const char *ds_claim_view_verdict(const ds_claim_view *view, bool seals_hold) {
    if (!seals_hold || ds_claims_disagree(view->sections)) return "disagrees";
    return view->incomplete ? "incomplete" : "agrees";
}

ds_status ds_claim_inputs(json_t **inputs, const json_t *envelope) {
    static const char *const keys[] = {"checkpoint", "data", "precision"};
    int code = 0;
    *inputs = json_object();
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        json_t *value = json_object_get(envelope, keys[i]);
        code |= json_object_set_new(*inputs, keys[i], value == NULL ? json_null() : json_incref(value));
    }
    return code == 0 ? DS_OK : out_of_memory();
}

/* ---- in words ---------------------------------------------------------------------------------------------------- */

const ds_result_column ds_claim_columns[DS_CLAIM_COLUMNS] = {
    DS_CELL("section", NULL, NULL, DS_COLUMN_TEXT, 0, "name"),
    DS_CELL("compared", NULL, NULL, DS_COLUMN_INTEGER, 0, "compared"),
    DS_CELL("disagreed", "disagree", NULL, DS_COLUMN_INTEGER, 0, "disagreed"),
    DS_CELL("worst", "nearest to what is allowed", NULL, DS_COLUMN_TEXT, 0, "worst/path"),
};
const ds_result_table ds_claim_table = {
    .id = "sections", .title = "Sections", .rows = "sections", .columns = ds_claim_columns, .column_count = DS_CLAIM_COLUMNS};

/* A value of a result; lists and objects, and what one side lacks, in a word. */
static void print_value(const char *side, const json_t *value) {
    char number[32];
    if (json_is_real(value))
        (void)printf("%s %s", side, ds_format_real(number, json_real_value(value)));
    else if (json_is_integer(value))
        (void)printf("%s %lld", side, (long long)json_integer_value(value));
    else if (json_is_string(value))
        (void)printf("%s \"%.60s\"", side, DS_SHOW(json_string_value(value)));
    else if (json_is_array(value) && json_array_size(value) == 2 && json_is_real(json_array_get(value, 0)))
        (void)printf("%s %.17g%+.17gi", side, json_number_value(json_array_get(value, 0)),
                     json_number_value(json_array_get(value, 1)));
    else if (json_is_array(value))
        (void)printf("%s a list of %zu", side, json_array_size(value));
    else
        (void)printf("%s %s", side,
                     json_is_object(value)  ? "an object"
                     : json_is_true(value)  ? "true"
                     : json_is_false(value) ? "false"
                                            : "null");
}

static void print_difference(const ds_claim_view *view, const json_t *difference) {
    char number[32];
    const char *path = json_string_value(json_object_get(difference, "path"));
    (void)printf("%s\n    ", DS_SHOW(path == NULL ? "" : path));
    print_value(view->side_a, json_object_get(difference, "a"));
    (void)printf(", ");
    print_value(view->side_b, json_object_get(difference, "b"));
    (void)printf(", may differ by %s\n", ds_format_real(number, ds_json_real_at(difference, "allowed")));
}

/* "gates, ablate: why not", for sections that follow each other with one reason; returns the last of them. */
static size_t print_obstacle(const ds_claim_view *view, size_t first, const char *obstacle) {
    size_t s = first, column = 0;
    for (;; s++) {
        const json_t *section = json_array_get(view->sections, s);
        const char *other = json_string_value(json_object_get(section, "obstacle"));
        if (other == NULL || strcmp(other, obstacle) != 0) break;
        column += (size_t)printf("%s%s", s == first ? "" : ", ", json_string_value(json_object_get(section, "name")));
    }
    (void)printf(": ");
    ds_print_wrapped(obstacle, 4, column + 2);
    return s - 1;
}

ds_status ds_claim_view_print(const ds_claim_view *view, const ds_table *table) {
    (void)printf("\n");
    ds_status status = ds_print_table(table);
    (void)printf("\n");
    for (size_t s = 0; s < json_array_size(view->sections); s++) {
        const json_t *section = json_array_get(view->sections, s), *list = json_object_get(section, "differences");
        const char *obstacle = json_string_value(json_object_get(section, "obstacle"));
        for (size_t i = 0; i < json_array_size(list); i++) print_difference(view, json_array_get(list, i));
        const json_int_t more = json_integer_value(json_object_get(section, "disagreed")) - (json_int_t)json_array_size(list);
        if (more > 0)
            (void)printf("    and %lld more in %s\n", (long long)more, json_string_value(json_object_get(section, "name")));
        if (obstacle != NULL) s = print_obstacle(view, s, obstacle);
    }
    return status;
}

void ds_claim_print_digests(const json_t *told, const char *whose) {
    static const char *const names[] = {"all", "own"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const json_t *digest = json_object_get(told, names[i]);
        const char *stated = json_string_value(json_object_get(digest, "stated"));
        const char *computed = json_string_value(json_object_get(digest, "computed"));
        if (json_is_null(json_object_get(digest, "holds")))
            (void)printf("%sdigest of %s: none is stated\n", whose, names[i]);
        else if (json_is_true(json_object_get(digest, "holds")))
            (void)printf("%sdigest of %s holds: %s\n", whose, names[i], computed);
        else
            (void)printf("%sdigest of %s does NOT hold\n    stated   %s\n    computed %s\n", whose, names[i],
                         stated == NULL ? "none" : DS_SHOW(stated), computed);
    }
}

void ds_claim_print_signature(const json_t *told, const char *whose) {
    const char *signer = json_string_value(json_object_get(told, "signer"));
    const char *key = json_string_value(json_object_get(told, "key_sha256"));
    const json_t *holds = json_object_get(told, "holds");
    if (json_is_null(holds)) return;
    if (json_is_false(holds))
        (void)printf("%ssignature does NOT hold: %s\n", whose, json_string_value(json_object_get(told, "reason")));
    else if (strcmp(signer, "given") == 0)
        (void)printf("%ssignature holds, by the key given: %s\n", whose, key);
    else {
        (void)printf("%ssignature holds, by the key that the file names: %s\n    ", whose, key);
        ds_print_wrapped("This proves only that whoever has that key signed the file; check --signer PUB.pem says whose it has "
                         "to be.",
                         4, 4);
    }
}
