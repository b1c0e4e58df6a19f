/* The page of a training run: what it says is what train.json and the folder say, and its command runs the same run again. */
#include <ftw.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"
#include "training_run.h"

static char *text_of(const char *path) {
    static char *bytes; /* gcc takes what is found in a local one's text for a pointer to it */
    size_t length;
    expect_ok(ds_read_file(&bytes, &length, path, 1 << 24));
    return bytes;
}

static void expect_words(const char *text, const char *words) {
    if (strstr(text, words) == NULL) fail_msg("the page has no \"%s\": %.2000s", words, text);
}

/* Every key of the recipe with its value, as a table's cells. */
static void expect_recipe(const char *rows, const training_trace *t) {
    json_t *recipe = NULL, *value;
    const char *key;
    char row[160], number[32];
    expect_ok(ds_recipe_json(&recipe, &t->recipe));
    json_object_foreach(recipe, key, value) {
        (void)snprintf(row, sizeof row, "\n%s,%s\r\n", key,
                       json_is_string(value) ? json_string_value(value) : ds_format_real(number, json_number_value(value)));
        expect_words(rows, row);
    }
    json_decref(recipe);
}

static void expect_digest(const char *rows, const char *folder, const char *name) {
    char digest[65], row[256];
    expect_ok(ds_sha256_file(digest, NULL, inside(folder, name), 1 << 26));
    (void)snprintf(row, sizeof row, ",%s,%s\r\n", name, digest);
    expect_words(rows, row);
}

static void expect_verdict(const char *page, const json_t *results) {
    char words[160];
    const double before = ds_json_real_at(results, "val_before"), after = ds_json_real_at(results, "val_after");
    size_t clipped = 0, updates = json_array_size(json_object_get(results, "steps"));
    (void)snprintf(words, sizeof words, "%s from %.4f to %.4f nats (perplexity %.4g to %.4g)", after < before ? "fell" : "rose",
                   before, after, exp(before), exp(after));
    expect_words(page, words);
    expect_words(page, "and did not diverge");
    for (size_t i = 0; i < updates; i++)
        clipped += ds_json_real_at(json_array_get(json_object_get(results, "steps"), i), "clip_coefficient") < 1;
    (void)snprintf(words, sizeof words, "clipped in %zu of %zu updates.", clipped, updates);
    expect_words(page, words);
}

static void a_page_tells_the_run(void **state) {
    (void)state;
    training_trace t;
    trace_open(&t, "ddl-cc-ec");
    train(&t, "paged", (const char *const[]){"--audit", "10", "--evaluate", "4", "--save", "8", "--quiet", NULL}, usual);
    if (found.status != 0) fail_msg("%s", found.err);
    json_t *envelope = read_json(inside("paged", "train.json"));
    char *page = text_of(inside("paged", "report.html")), *words = text_of(inside("paged", "report.md"));
    char *recipe = text_of(inside("paged", "tables/recipe.csv")), *digests = text_of(inside("paged", "tables/digests.csv"));
    char *checkpoints = text_of(inside("paged", "tables/checkpoints.csv"));
    expect_verdict(page, json_object_get(envelope, "results"));
    expect_verdict(words, json_object_get(envelope, "results"));
    expect_recipe(recipe, &t);
    expect_digest(digests, "paged", "recipe.json");
    expect_digest(digests, "paged", "log.jsonl");
    expect_digest(digests, "paged", "train.json");
    expect_digest(digests, "paged", "checkpoint-20/model.safetensors");
    assert_ptr_equal(strstr(checkpoints, "folder,updates,tokens,val_loss\r\ncheckpoint-8,8,"), checkpoints);
    expect_words(checkpoints, "\ncheckpoint-16,16,");
    expect_words(checkpoints, "\ncheckpoint-20,20,");
    expect_words(words, "gates-over-training");
    expect_words(page, "id=\"table-gates\"");
    free(page);
    free(words);
    free(recipe);
    free(digests);
    free(checkpoints);
    json_decref(envelope);
    trace_close(&t);
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

static const char *first, *second;

/* But for what tells paths, which differ here. */
static int expect_twin(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    char other[512], ours[65], theirs[65];
    (void)info, (void)walk;
    if (kind != FTW_F || strstr(path, "/checkpoint-") == NULL) return 0;
    (void)snprintf(other, sizeof other, "%s%s", second, path + strlen(first));
    expect_ok(ds_sha256_file(ours, NULL, path, 1 << 26));
    expect_ok(ds_sha256_file(theirs, NULL, other, 1 << 26));
    if (strcmp(ours, theirs) != 0) fail_msg("%s and %s differ", path, other);
    return 0;
}

static char *replace(char *text, const char *what, const char *with) {
    ds_text out = {0};
    for (const char *mark; (mark = strstr(text, what)) != NULL; text = (char *)(uintptr_t)mark + strlen(what)) {
        expect_ok(ds_text_append(&out, text, (size_t)(mark - text)));
        expect_ok(ds_text_printf(&out, "%s", with));
    }
    expect_ok(ds_text_printf(&out, "%s", text));
    return out.bytes;
}

/* What stands between two marks. */
static char *cut_out(const char *text, const char *before, const char *after) {
    ds_text out = {0};
    const char *from = strstr(text, before);
    assert_non_null(from);
    from += strlen(before);
    expect_ok(ds_text_append(&out, from, (size_t)(strstr(from, after) - from)));
    return out.bytes;
}

/* The command of a page, as its reader sees it, given to a shell. */
static void run_again(const char *folder, const char *out) {
    const char *const marks[][2] = {{"RUN", scratch_path(folder)},
                                    {"NEW", scratch_path(out)},
                                    {"&lt;", "<"},
                                    {"&gt;", ">"},
                                    {"&quot;", "\""},
                                    {"&#39;", "'"},
                                    {"&amp;", "&"}};
    char *page = text_of(inside(folder, "report.html")), command[4096];
    const char *program = getenv("DELTASCOPE");
    char *line = cut_out(page, ": deltascope ", "</p>");
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        char *next = replace(line, marks[i][0], marks[i][1]);
        free(line);
        line = next;
    }
    (void)snprintf(command, sizeof command, "%s %s --quiet", program == NULL ? "build/deltascope" : program, line);
    child_run_program(&found, "/bin/sh", (const char *const[]){"-c", command, NULL}, usual);
    if (found.status != 0) fail_msg("%s: exit status %d: %s", command, found.status, found.err);
    free(line);
    free(page);
}

/* Files of any name, characters of shells and of HTML among them. */
static void its_command_runs_it_again(void **state) {
    (void)state;
    static const char letters[] = "ab '\"<>&;$`\\*#!(){}|?~%";
    ds_random random = ds_random_init(0xa9a1);
    for (int trial = 0; trial < 3; trial++) {
        training_trace t;
        char name[24] = "names/", run[16], again[16], config[320];
        trace_open(&t, "ddl-cc-ec");
        for (size_t i = 6; i < sizeof name - 1; i++) name[i] = letters[ds_random_below(&random, sizeof letters - 1)];
        char *bytes = NULL;
        size_t length;
        expect_ok(ds_read_file(&bytes, &length, t.train, 1 << 20));
        (void)snprintf(t.train, sizeof t.train, "%s", scratch_write(name, bytes, length));
        free(bytes);
        (void)snprintf(run, sizeof run, "run-%d", trial);
        (void)snprintf(again, sizeof again, "again-%d", trial);
        (void)snprintf(config, sizeof config, "%s/config.json", t.initial);
        if (trial == 0)
            train(&t, run, (const char *const[]){"--set", "steps=3", "--audit", "2", "--save", "log2", "--quiet", NULL}, usual);
        else
            CHILD_RUN(&found, usual, "train", "--recipe", recipe_of(&t), "--set", "steps=3", "--config", config, "--variant",
                      "ddl-cc-ec", "--seed", trial == 1 ? "0" : "7", "--keep", "1", "--precision", "double", "--tokens",
                      t.train, "--val", t.val, "--quiet", "--out", scratch_path(run));
        if (found.status != 0) fail_msg("%s: %s", name, found.err);
        run_again(run, again);
        first = scratch_path(run);
        second = scratch_path(again);
        assert_int_equal(nftw(first, expect_twin, 8, FTW_PHYS), 0);
        trace_close(&t);
    }
}

/* ---- what is not there ------------------------------------------------------------------------------------------- */

/* Without gnuplot and without audits: the page says so, and has no chapter of gates. Pictures that lay there are not ours. */
static void a_page_without_pictures(void **state) {
    (void)state;
    static const char foreign[] = "<svg xmlns=\"http://www.w3.org/2000/svg\"><script>foreign()</script></svg>";
    training_trace t;
    child_limits bare = usual;
    bare.preset[0] = "PATH";
    bare.preset[1] = "/nowhere";
    trace_open(&t, "additive-accumulate");
    expect_ok(ds_make_folder(scratch_path("bare/figures")));
    (void)scratch_write("bare/figures/training-curves.svg", foreign, sizeof foreign - 1);
    (void)scratch_write("bare/figures/gates-over-training.svg", foreign, sizeof foreign - 1);
    (void)scratch_write("bare/figures/gates-over-training.gp", "", 0);
    train(&t, "bare", (const char *const[]){"--set", "steps=1", "--quiet", NULL}, bare);
    if (found.status != 0) fail_msg("%s", found.err);
    char *page = text_of(inside("bare", "report.html"));
    expect_words(page, "The picture could not be drawn here; its script lies in figures/.");
    expect_words(page, "went through 1 of 1 update, ");
    assert_null(strstr(page, "id=\"gates\""));
    assert_null(strstr(page, "gate moved"));
    assert_null(strstr(page, "foreign()"));
    assert_int_equal(access(inside("bare", "figures/training-curves.svg"), F_OK), -1);
    free(page);
    trace_close(&t);
}

/* A run whose loss diverges, or that a signal stops, has a page as far as it went; the finished one takes its place. */
static void a_run_that_ends_early_has_a_page(void **state) {
    (void)state;
    training_trace t;
    child_limits struck = usual;
    trace_open(&t, "scalar-closed-mlp");
    train(&t, "burst", (const char *const[]){"--set", "warmup_steps=20", "--set", "learning_rate=30000", "--save", "1", NULL},
          usual);
    expect_refusal(3, "; the last good checkpoint is "); /* the sentence stays what it was */
    char *page = text_of(inside("burst", "report.html"));
    expect_words(page, "by the rule &quot;closed:mlp&quot;, and diverged. ");
    expect_words(page, "<tr class=\"alarm\"><th scope=\"row\">diverged</th>");
    expect_words(page, "training-curves log.jsonl");
    assert_true(access(inside("burst", "train.json"), F_OK) != 0);
    free(page);
    struck.kill_with = SIGTERM;
    for (struck.kill_after = 400000; access(inside("struck", "report.html"), F_OK) != 0; struck.kill_after += 400000) {
        train(&t, "struck", (const char *const[]){"--set", "steps=4000", "--evaluate", "5", "--resume", "--quiet", NULL},
              struck);
        assert_int_equal(found.signal, SIGTERM);
    }
    page = text_of(inside("struck", "report.html"));
    expect_words(page, " of 4000 updates, ");
    expect_words(page, ", and was stopped; --resume goes on. ");
    expect_words(page, ", where it was measured last");
    free(page);
    trace_close(&t);
}

/* A report says which run its checkpoint comes from. */
static void a_report_names_the_run(void **state) {
    (void)state;
    training_trace t;
    trace_open(&t, "ddl-cc-ec");
    CHILD_RUN(&found, usual, "report", "--tokens", t.val, "--seq-len", "8", "--sequences", "1", "--quiet", "--skip",
              "gates,spectrum,weights,ablate,controls,gradflow,jacobians,verify", "--out", scratch_path("told"),
              inside("paged", "checkpoint-8"));
    if (found.status != 0) fail_msg("%s", found.err);
    char *page = text_of(inside("told", "report.html"));
    expect_words(page, "lies with it: 8 of 20 updates done, ");
    expect_words(page, " recipe.json in the folder above is the same recipe.");
    free(page);
    trace_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_tells_the_run),    cmocka_unit_test(its_command_runs_it_again),
        cmocka_unit_test(a_page_without_pictures), cmocka_unit_test(a_run_that_ends_early_has_a_page),
        cmocka_unit_test(a_report_names_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
