#include "run_page.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/version.h"
#include "deltascope/report.h"
#include "run_findings.h"

static const char *const drawn[] = {"training-curves", "gates-over-training"};
enum { FIGURES = sizeof drawn / sizeof *drawn, CURVES = 0, GATES = 1 };
enum { RECIPE, DIGESTS, CHECKPOINTS, AUDIT, FINDINGS, TABLES };
static const char *const table_names[TABLES] = {"recipe", "digests", "checkpoints", "gates", "findings"};

/* Numbers of the checkpoints that lie in the folder. */
typedef struct numbers {
    uint64_t *at;
    size_t count, capacity;
} numbers;

typedef struct document {
    const ds_folder *folder;
    const json_t *envelope, *results, *options;
    ds_run_ending ending;
    ds_table *tables[TABLES]; /* NULL: there is none */
    ds_text caption[FIGURES], command[FIGURES];
    char *svg[FIGURES];
    bool there[FIGURES]; /* the figure has something to show */
    ds_findings findings;
    numbers found;
    ds_text title, again, footer;
} document;

static void release(document *all) {
    for (size_t i = 0; i < TABLES; i++) ds_table_free(&all->tables[i]);
    for (size_t i = 0; i < FIGURES; i++) {
        ds_text_release(&all->caption[i]);
        ds_text_release(&all->command[i]);
        free(all->svg[i]);
    }
    ds_findings_release(&all->findings);
    free(all->found.at);
    ds_text_release(&all->title);
    ds_text_release(&all->again);
    ds_text_release(&all->footer);
}

static const char *text_at(const json_t *value, const char *path) {
    const char *found = json_string_value(ds_json_at(value, path));
    return found == NULL ? "" : found;
}

static uint64_t count_at(const json_t *value, const char *path) {
    const json_int_t count = json_integer_value(ds_json_at(value, path));
    return count > 0 ? (uint64_t)count : 0;
}

/* Whether the weights to start from were drawn; they are a checkpoint's otherwise. */
static bool is_drawn(const document *all) { return json_is_string(json_object_get(all->options, "config")); }

/* ---- words ------------------------------------------------------------------------------------------------------- */

static ds_status say_loss(document *all) {
    ds_status status = DS_OK;
    ds_text *text = &all->findings.verdict;
    const json_t *r = all->results, *evaluations = json_object_get(r, "evaluations");
    const size_t last = json_array_size(evaluations) - 1;
    const double before = ds_json_real_at(r, "val_before"), after = ds_json_real_at(r, "val_after");
    const double best = ds_json_real_at(r, "best/val_loss");
    DS_TRY(ds_text_printf(text, "The validation loss over %llu windows of %llu tokens ",
                          (unsigned long long)count_at(all->envelope, "data/sequences"),
                          (unsigned long long)count_at(all->envelope, "data/seq_len")));
    if (last == 0) return ds_text_printf(text, "was %.4f nats before the first update. ", before);
    DS_TRY(ds_text_printf(text, "%s from %.4f to %.4f nats (perplexity %.4g to %.4g)", after <= before ? "fell" : "rose",
                          before, after, exp(before), exp(after)));
    if (all->ending != DS_RUN_FINISHED)
        DS_TRY(ds_text_printf(text, " after update %llu, where it was measured last",
                              (unsigned long long)count_at(json_array_get(evaluations, last), "step")));
    if (best < after)
        DS_TRY(ds_text_printf(text, "; its least was %.4f after update %llu. ", best,
                              (unsigned long long)count_at(r, "best/step")));
    else
        DS_TRY(ds_text_printf(text, ", its least. "));
done:
    return status;
}

static ds_status say_run(document *all) {
    ds_status status = DS_OK;
    ds_text *text = &all->findings.verdict;
    const json_t *r = all->results;
    const size_t updates = json_array_size(json_object_get(r, "steps")), spikes = json_array_size(json_object_get(r, "spikes"));
    const uint64_t planned = count_at(all->options, "recipe/steps");
    const uint64_t tokens = count_at(r, "tokens_per_update"), layers = count_at(all->envelope, "checkpoint/layers");
    DS_TRY(ds_text_printf(text, "A %s model of %llu layer%s and %llu parameters went through %zu of %llu update%s, ",
                          DS_SHOW(text_at(all->envelope, "checkpoint/variant")), (unsigned long long)layers, ds_plural(layers),
                          (unsigned long long)count_at(all->envelope, "checkpoint/parameters"), updates,
                          (unsigned long long)planned, ds_plural(planned)));
    DS_TRY(ds_text_printf(text, "%llu tokens each and %llu in all, by the rule \"%s\"%s. ", (unsigned long long)tokens,
                          (unsigned long long)(tokens * updates), DS_SHOW(text_at(all->options, "recipe/rule")),
                          all->ending == DS_RUN_DIVERGED  ? ", and diverged"
                          : all->ending == DS_RUN_STOPPED ? ", and was stopped; --resume goes on"
                                                          : ", and did not diverge"));
    DS_TRY(say_loss(all));
    if (spikes == 0) DS_TRY(ds_text_printf(text, "No loss was a spike; the"));
    if (spikes > 0)
        DS_TRY(ds_text_printf(text, "%zu loss%s spike%s; the", spikes, spikes == 1 ? " was a" : "es were", ds_plural(spikes)));
    status = ds_text_printf(text, " gradient was clipped in %zu of %zu updates.", ds_run_clipped(r), updates);
done:
    return status;
}

/* A word as a shell takes it. */
static ds_status append_word(ds_text *text, const char *word) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,+@%";
    ds_status status = DS_OK;
    if (word[0] != '\0' && word[strspn(word, plain)] == '\0') return ds_text_printf(text, " %s", word);
    DS_TRY(ds_text_append(text, " '", 2));
    for (; *word != '\0'; word++) DS_TRY(ds_text_printf(text, *word == '\'' ? "'\\''" : "%c", *word));
    status = ds_text_append(text, "'", 1);
done:
    return status;
}

/* An option that the run was given, by its key among the recorded ones. */
static ds_status append_option(document *all, const char *name, const char *path, const json_t *within) {
    ds_status status = DS_OK;
    const json_t *value = ds_json_at(within, path);
    const bool count = json_is_integer(value) && json_integer_value(value) > 0;
    if (!count && !json_is_string(value)) return DS_OK;
    DS_TRY(ds_text_printf(&all->again, " --%s", name));
    if (json_is_string(value)) DS_TRY(append_word(&all->again, json_string_value(value)));
    if (count) DS_TRY(ds_text_printf(&all->again, " %lld", (long long)json_integer_value(value)));
done:
    return status;
}

/* The command that runs it again, from where it was run. */
static ds_status make_command(document *all) {
    ds_status status = DS_OK;
    static const char *const recorded[] = {"config", "variant", "init", "seed", "save", "keep", "evaluate", "audit", "log"};
    DS_TRY(
        ds_text_printf(&all->again, "Where RUN is this folder and NEW another one: deltascope train --recipe RUN/recipe.json"));
    if (!is_drawn(all)) DS_TRY(append_option(all, "from", "checkpoint/path", all->envelope));
    for (size_t i = 0; i < sizeof recorded / sizeof *recorded; i++)
        DS_TRY(append_option(all, recorded[i], recorded[i], all->options));
    DS_TRY(append_option(all, "precision", "precision", all->envelope));
    DS_TRY(append_option(all, "tokens", "tokens", all->options));
    DS_TRY(append_option(all, "val", "data/path", all->envelope));
    status = ds_text_printf(&all->again, " --out NEW");
done:
    return status;
}

static ds_status make_words(document *all) {
    ds_status status = DS_OK;
    DS_TRY(ds_run_findings(&all->findings, all->results, all->ending == DS_RUN_DIVERGED));
    DS_TRY(say_run(all));
    DS_TRY(make_command(all));
    DS_TRY(ds_text_printf(&all->title, "Training run: %s, rule %s", DS_SHOW(text_at(all->envelope, "checkpoint/variant")),
                          DS_SHOW(text_at(all->options, "recipe/rule"))));
    status =
        ds_text_printf(&all->footer,
                       "deltascope %s train, arithmetic in %s precision. The bytes of this folder depend on recipe, start, "
                       "tokens and precision alone, not on threads, time or interruptions; so no time stands here.",
                       DS_VERSION, text_at(all->envelope, "precision"));
done:
    return status;
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

static ds_status note_checkpoint(void *context, const char *name) {
    static const char prefix[] = "checkpoint-";
    ds_status status = DS_OK;
    numbers *all = context;
    const char *digits = name + strlen(prefix);
    void *storage = all->at;
    if (strncmp(name, prefix, strlen(prefix)) != 0 || digits[0] == '\0') return DS_OK;
    if (digits[strspn(digits, "0123456789")] != '\0' || strlen(digits) > 16) return DS_OK;
    DS_TRY(ds_grow(&storage, &all->capacity, all->count + 1, sizeof *all->at));
    all->at = storage;
    all->at[all->count++] = strtoull(digits, NULL, 10);
done:
    return status;
}

static int by_number(const void *a, const void *b) {
    const uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

/* Those that are complete, in order. */
static ds_status find_checkpoints(document *all) {
    ds_status status = DS_OK;
    numbers *found = &all->found;
    size_t complete = 0;
    DS_TRY(ds_folder_each(all->folder, note_checkpoint, found));
    for (size_t i = 0; i < found->count; i++) {
        char state[64];
        (void)snprintf(state, sizeof state, "checkpoint-%llu/trainer_state.json", (unsigned long long)found->at[i]);
        if (ds_folder_holds(all->folder, state)) found->at[complete++] = found->at[i];
    }
    found->count = complete;
    if (complete > 0) qsort(found->at, complete, sizeof *found->at, by_number);
done:
    return status;
}

static ds_status make_recipe(document *all) {
    static const ds_column columns[] = {{"key", NULL, NULL, DS_COLUMN_TEXT, 0}, {"value", NULL, NULL, DS_COLUMN_TEXT, 0}};
    ds_status status = DS_OK;
    const char *key;
    json_t *value;
    DS_TRY(ds_table_new(&all->tables[RECIPE], "Recipe", columns, 2));
    json_object_foreach(json_object_get(all->options, "recipe"), key, value) {
        char number[32];
        ds_table_text(all->tables[RECIPE], key);
        ds_table_text(all->tables[RECIPE],
                      json_is_string(value) ? json_string_value(value) : ds_format_real(number, json_number_value(value)));
    }
done:
    return status;
}

static void put_digest(ds_table *table, const char *of, const char *path, const char *digest) {
    ds_table_text(table, of);
    ds_table_text(table, DS_SHOW(path));
    ds_table_text(table, digest);
}

static ds_status put_file(ds_table *table, const ds_folder *folder, const char *of, const char *path) {
    ds_status status = DS_OK;
    char digest[65];
    DS_TRY(ds_sha256_file(digest, folder, path, DS_RESULTS_MOST_BYTES));
    put_digest(table, of, path, digest);
done:
    return status;
}

/* Of the newest checkpoint's model, read in pieces. */
static ds_status put_weights(ds_table *table, const document *all) {
    ds_status status = DS_OK;
    ds_text name = {0}, path = {0};
    ds_checkpoint *weights = NULL;
    if (all->found.count == 0) return DS_OK;
    DS_TRY(ds_text_printf(&name, "checkpoint-%llu/model.safetensors", (unsigned long long)all->found.at[all->found.count - 1]));
    DS_TRY(ds_folder_show(&path, all->folder, name.bytes));
    DS_TRY(ds_tensors_open(&weights, path.bytes));
    DS_TRY(ds_checkpoint_read(weights, NULL, 0));
    put_digest(table, "weights", name.bytes, ds_checkpoint_sha256(weights));
done:
    ds_checkpoint_close(&weights);
    ds_text_release(&name);
    ds_text_release(&path);
    return status;
}

static ds_status make_digests(document *all) {
    static const ds_column columns[] = {{"of", NULL, NULL, DS_COLUMN_TEXT, 0},
                                        {"path", NULL, NULL, DS_COLUMN_TEXT, 0},
                                        {"sha256", "SHA-256", NULL, DS_COLUMN_TEXT, 0}};
    ds_status status = DS_OK;
    const json_t *e = all->envelope;
    DS_TRY(ds_table_new(&all->tables[DIGESTS], "Digests", columns, 3));
    ds_table *table = all->tables[DIGESTS];
    put_digest(table, "start", is_drawn(all) ? "checkpoint-0" : text_at(e, "checkpoint/path"), text_at(e, "checkpoint/sha256"));
    put_digest(table, "tokens to train on", text_at(all->options, "tokens"), text_at(all->options, "tokens_sha256"));
    put_digest(table, "tokens to validate on", text_at(e, "data/path"), text_at(e, "data/sha256"));
    DS_TRY(put_file(table, all->folder, "recipe", "recipe.json"));
    DS_TRY(put_file(table, all->folder, "log", "log.jsonl"));
    if (all->ending == DS_RUN_FINISHED) DS_TRY(put_file(table, all->folder, "results", "train.json"));
    DS_TRY(put_weights(table, all));
done:
    return status;
}

/* The validation loss after so many updates, NaN where it was not measured. */
static double loss_after(const json_t *results, uint64_t updates) {
    const json_t *evaluations = json_object_get(results, "evaluations");
    for (size_t i = 0; i < json_array_size(evaluations); i++) {
        const json_t *evaluation = json_array_get(evaluations, i);
        if (count_at(evaluation, "step") == updates) return ds_json_real_at(evaluation, "val_loss");
    }
    return NAN;
}

static ds_status make_checkpoints(document *all) {
    static const ds_column columns[] = {{"folder", NULL, NULL, DS_COLUMN_TEXT, 0},
                                        {"updates", NULL, NULL, DS_COLUMN_INTEGER, 0},
                                        {"tokens", NULL, NULL, DS_COLUMN_INTEGER, 0},
                                        {"val_loss", "validation loss", "nats", DS_COLUMN_FIXED, 4}};
    ds_status status = DS_OK;
    DS_TRY(ds_table_new(&all->tables[CHECKPOINTS], "Checkpoints", columns, 4));
    for (size_t i = 0; i < all->found.count; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "checkpoint-%llu", (unsigned long long)all->found.at[i]);
        ds_table_text(all->tables[CHECKPOINTS], name);
        ds_table_integer(all->tables[CHECKPOINTS], (int64_t)all->found.at[i]);
        ds_table_integer(all->tables[CHECKPOINTS], (int64_t)(all->found.at[i] * count_at(all->results, "tokens_per_update")));
        ds_table_real(all->tables[CHECKPOINTS], loss_after(all->results, all->found.at[i]));
    }
done:
    return status;
}

static const ds_result_column gate_columns[] = {
    DS_CELL("sublayer", NULL, NULL, DS_COLUMN_TEXT, 0, "name"),
    DS_CELL("beta_first", "β at first", NULL, DS_COLUMN_FIXED, 3, "/audits/0/gates/@/beta_mean"),
    DS_CELL("beta_mean", "β at the end", NULL, DS_COLUMN_FIXED, 3, "beta_mean"),
    DS_CELL("k_norm2", "‖k‖²", NULL, DS_COLUMN_FIXED, 3, "k_norm2_mean"),
    DS_CELL("eigenvalue", "λ mean", NULL, DS_COLUMN_FIXED, 3, "eigenvalue_mean"),
    DS_CELL("identity", "ident.", NULL, DS_COLUMN_PERCENT, 1, "regimes/identity"),
    DS_CELL("damped", NULL, NULL, DS_COLUMN_PERCENT, 1, "regimes/damped"),
    DS_CELL("projection", "proj.", NULL, DS_COLUMN_PERCENT, 1, "regimes/projection"),
    DS_CELL("over_relaxed", "over", NULL, DS_COLUMN_PERCENT, 1, "regimes/over_relaxed"),
    DS_CELL("reflection", "refl.", NULL, DS_COLUMN_PERCENT, 1, "regimes/reflection"),
    DS_CELL("relative_edit", "edit/‖X‖", NULL, DS_COLUMN_FIXED, 3, "relative_edit"),
};

static ds_status make_gates(document *all) {
    ds_status status = DS_OK;
    ds_text rows = {0};
    const size_t count = json_array_size(json_object_get(all->results, "audits"));
    if (count == 0) return DS_OK;
    DS_TRY(ds_text_printf(&rows, "audits/%zu/gates", count - 1));
    const ds_result_table kind = {.title = "Gates by sublayer at the end",
                                  .rows = rows.bytes,
                                  .columns = gate_columns,
                                  .column_count = sizeof gate_columns / sizeof *gate_columns};
    DS_TRY(ds_result_table_new(&all->tables[AUDIT], &kind, all->results));
done:
    ds_text_release(&rows);
    return status;
}

static ds_status make_tables(document *all) {
    ds_status status = DS_OK;
    ds_text path = {0};
    DS_TRY(make_recipe(all));
    DS_TRY(make_digests(all));
    DS_TRY(make_checkpoints(all));
    DS_TRY(make_gates(all));
    DS_TRY(ds_findings_table(&all->tables[FINDINGS], &all->findings));
    for (size_t i = 0; i < TABLES; i++) {
        if (all->tables[i] == NULL) continue;
        path.length = 0;
        DS_TRY(ds_text_printf(&path, "tables/%s.csv", table_names[i]));
        DS_TRY(ds_table_write(all->folder, path.bytes, all->tables[i], DS_TABLE_CSV));
        path.length = 0;
        DS_TRY(ds_text_printf(&path, "tables/%s.tex", table_names[i]));
        DS_TRY(ds_table_write(all->folder, path.bytes, all->tables[i], DS_TABLE_LATEX));
    }
done:
    ds_text_release(&path);
    return status;
}

/* ---- figures, as they lie in the folder -------------------------------------------------------------------------- */

static ds_status take_figures(document *all) {
    enum { MOST_BYTES = 1 << 26 };
    ds_status status = DS_OK;
    json_t *results = NULL;
    char path[64];
    size_t length;
    DS_TRY(ds_figure_results(&results, all->envelope));
    for (size_t i = 0; i < FIGURES; i++) {
        const ds_figure *figure = ds_figure_find(drawn[i]);
        (void)snprintf(path, sizeof path, "figures/%s.gp", drawn[i]);
        all->there[i] = ds_figure_applies(figure, results) && ds_folder_holds(all->folder, path);
        if (!all->there[i]) continue;
        (void)snprintf(path, sizeof path, "figures/%s.svg", drawn[i]);
        if (ds_folder_holds(all->folder, path)) DS_TRY(ds_read_file_in(&all->svg[i], &length, all->folder, path, MOST_BYTES));
        DS_TRY(ds_figure_caption(&all->caption[i], figure, results, NULL));
        DS_TRY(ds_text_printf(&all->command[i], "deltascope plot --figure %s %s", drawn[i],
                              all->ending == DS_RUN_FINISHED ? "train.json" : "log.jsonl"));
    }
done:
    json_decref(results);
    return status;
}

static void add_figure(ds_page_section *section, const document *all, size_t i) {
    if (!all->there[i]) return;
    section->figures[section->figure_count++] = (ds_page_figure){
        .id = drawn[i],
        .title = ds_figure_title(ds_figure_find(drawn[i])),
        .caption = all->caption[i].bytes,
        .command = all->command[i].bytes,
        .svg = all->svg[i],
        .missing = all->svg[i] == NULL ? "The picture could not be drawn here; its script lies in figures/." : NULL};
}

/* ---- the page ---------------------------------------------------------------------------------------------------- */

static void add_table(ds_page_section *section, const document *all, size_t table, const char *id, const char *title,
                      const char *note) {
    if (all->tables[table] == NULL) return;
    section->tables[section->table_count++] = (ds_page_table){id, title, note, all->tables[table]};
}

static ds_status write_page(const document *all, const ds_page *page, const char *name,
                            ds_status (*format)(ds_text *, const ds_page *)) {
    ds_status status = DS_OK;
    ds_text text = {0};
    DS_TRY(format(&text, page));
    DS_TRY(ds_write_file_in(all->folder, name, text.bytes, text.length));
done:
    ds_text_release(&text);
    return status;
}

static ds_status write_pages(const document *all) {
    enum { OF_CURVES, OF_GATES, OF_RECIPE, OF_FILES, AGAIN, SECTIONS };
    ds_status status = DS_OK;
    ds_page_section sections[SECTIONS] = {
        {.id = "curves", .title = "Curves", .lead = "How loss, gradient and learning rate went."},
        {.id = "gates", .title = "Gates over training", .lead = "The gates on the validation windows, measured on the way."},
        {.id = "recipe", .title = "Recipe", .lead = "Every number of the run, as recipe.json has it."},
        {.id = "files", .title = "Files", .lead = "What went in and what came out."},
        {.id = "again", .title = "The same run again", .lead = all->again.bytes}};
    ds_page_section shown[SECTIONS];
    ds_page page = {.title = all->title.bytes,
                    .verdict = all->findings.verdict.bytes,
                    .findings = all->findings.rows,
                    .finding_count = all->findings.count,
                    .sections = shown,
                    .footer = all->footer.bytes};
    add_figure(&sections[OF_CURVES], all, CURVES);
    add_figure(&sections[OF_GATES], all, GATES);
    add_table(&sections[OF_GATES], all, AUDIT, "table-gates", "Gates by sublayer at the end",
              "Means over the tokens of the validation windows; shares are of tokens, by how far b = mβ‖k‖² moves them.");
    add_table(&sections[OF_RECIPE], all, RECIPE, "table-recipe", "Recipe", NULL);
    add_table(&sections[OF_FILES], all, CHECKPOINTS, "table-checkpoints", "Checkpoints",
              "Each can be given to every command; validation losses are those measured on the way.");
    add_table(&sections[OF_FILES], all, DIGESTS, "table-digests", "Digests", NULL);
    for (size_t i = 0; i < SECTIONS; i++) {
        if (i == OF_GATES && sections[i].figure_count + sections[i].table_count == 0) continue;
        shown[page.section_count++] = sections[i];
    }
    DS_TRY(write_page(all, &page, "report.md", ds_page_markdown));
    DS_TRY(write_page(all, &page, "report.html", ds_page_html));
done:
    return status;
}

ds_status ds_run_page_write(const ds_folder *folder, const json_t *envelope, ds_run_ending ending) {
    ds_status status = DS_OK;
    document all = {.folder = folder,
                    .envelope = envelope,
                    .ending = ending,
                    .results = json_object_get(envelope, "results"),
                    .options = json_object_get(envelope, "options")};
    DS_TRY(make_words(&all));
    DS_TRY(find_checkpoints(&all));
    DS_TRY(make_tables(&all));
    DS_TRY(take_figures(&all));
    DS_TRY(write_pages(&all));
done:
    release(&all);
    return status;
}
