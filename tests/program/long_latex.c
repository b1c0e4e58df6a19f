/* Every table the program writes, under pdflatex: of every command and every part of a report, for models of each variant with
 * one layer and with many, for a checkpoint whose path and tensors have the worst names, and for tables of every symbol there
 * is. A document of article's own width takes them all with the packages their first line names: no error, no box too wide,
 * nothing undefined, no float too large for its page. Figures go into the same document, and no font of theirs is of Type 3,
 * which journals refuse. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "child.h"
#include "deltascope/model.h"
#include "deltascope/report.h"
#include "scratch.h"
#include "support.h"
#include "tiny_model.h"

static child ran;
static const child_limits minutes = {.seconds = 600, .preset = {"max_print_line", "10000"}};

/* ---- models ------------------------------------------------------------------------------------------------------ */

enum { EXTRA = 3, WINDOWS = 3, LENGTH = 16 };

/* `strange`: with tensors that no model uses, under names that LaTeX would act upon. */
static const char *write_model(const char *folder, const char *variant, size_t layers, bool strange) {
    static const char *const names[EXTRA] = {"a_b#c$d%e&f{g}h~i^j\\k|l<m>n\"o`p'q--r[s]*t",
                                             "\\input{/etc/passwd}\\\\[9cm]\\end{tabular}漢字Ж…β≤‖ÿé",
                                             "transformer.h.0.WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW"};
    static char made[512];
    char file[512], config[512];
    const size_t shape[1] = {1};
    const float one = 1;
    ds_model *model = NULL;
    ds_spec spec = tiny_spec(variant);
    spec.layers = layers;
    expect_ok(ds_model_random(&model, &spec, DS_F32, 7));
    const size_t count = ds_model_parameters(model);
    ds_tensor_write *writes = calloc(count + EXTRA, sizeof *writes);
    assert_non_null(writes);
    for (size_t i = 0; i < count; i++) {
        const ds_parameter *p = ds_model_parameter(model, i);
        writes[i] = (ds_tensor_write){p->name, DS_F32, p->rank, p->shape, p->values};
    }
    for (size_t i = 0; i < EXTRA; i++) writes[count + i] = (ds_tensor_write){names[i], DS_F32, 1, shape, &one};
    (void)snprintf(file, sizeof file, "%s/config.json", folder);
    const int length = snprintf(config, sizeof config,
                                "{\"vocab_size\":16,\"num_hidden_layers\":%zu,\"num_attention_heads\":2,\"hidden_size\":8,"
                                "\"head_dim\":4,\"block_size\":16,\"ddl_value_channels\":%zu,"
                                "\"ddl_state_shortconv_kernel_size\":2,\"input_embed_shortconv_kernel_size\":2}",
                                layers, spec.value_channels);
    (void)scratch_write(file, config, (size_t)length);
    (void)snprintf(file, sizeof file, "%s/model.safetensors", folder);
    expect_ok(ds_safetensors_write(scratch_path(file), writes, count + (strange ? EXTRA : 0)));
    (void)snprintf(made, sizeof made, "%s", scratch_path(folder));
    free(writes);
    ds_model_free(&model);
    return made;
}

static const char *write_tokens(void) {
    uint16_t ids[WINDOWS * LENGTH + 1];
    ds_random random = ds_random_init(20261128);
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) ids[i] = (uint16_t)ds_random_below(&random, TINY_VOCAB);
    return scratch_write("tokens.bin", ids, sizeof ids);
}

/* ---- the program ------------------------------------------------------------------------------------------------- */

/* What writes tables; M is the checkpoint. The data are added. */
static const char *const commands[][8] = {
    {"report", "M"},
    {"inspect", "M"},
    {"gates", "M"},
    {"spectrum", "--positions", "all", "--null", "shuffled-gates", "--weights", "M"},
    {"spectrum", "--certify", "--end-to-end", "0", "--by-depth", "M"},
    {"ablate", "M"},
    {"gradflow", "--measure", "--jacobian", "last", "M"},
    {"verify", "M"},
    {"trace", "--show", "loss", "M"},
    {"compare", "--labels", "a_b & c,{d}", "M", "M"},
};
static const char *const of_additive[][8] = {
    {"report", "M"}, {"inspect", "M"}, {"spectrum", "--weights", "--end-to-end", "0", "M"}, {"ablate", "M"}, {"gradflow", "M"}};

static void run_one(const char *const *words, const char *model, const char *tokens, const char *out) {
    const char *arguments[20];
    size_t count = 0;
    for (size_t i = 0; i < 8 && words[i] != NULL; i++) arguments[count++] = strcmp(words[i], "M") == 0 ? model : words[i];
    for (size_t i = 0; i < 5; i++) arguments[count++] = (const char *const[]){"--quiet", "--tokens", tokens, "--out", out}[i];
    arguments[count] = NULL;
    child_run(&ran, arguments, minutes);
    if (ran.status != 0) fail_msg("%s of %s: status %d: %s", words[0], model, ran.status, ran.err);
}

/* ---- the document ------------------------------------------------------------------------------------------------ */

static void begin_document(ds_text *document) {
    expect_ok(ds_text_printf(document, "\\documentclass{article}\n\\usepackage{array,booktabs,graphicx}\n"
                                       "\\pdfcompresslevel=0\\pdfobjcompresslevel=0\n\\begin{document}\n"));
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Files of FOLDER/PLACE that end so, in order, each within `before` and `after`. How many. */
static size_t add_files(ds_text *document, const char *folder, const char *place, const char *ending, const char *before,
                        const char *after) {
    char path[1024], *names[256];
    size_t count = 0;
    (void)snprintf(path, sizeof path, "%s/%s", folder, place);
    DIR *all = opendir(path);
    for (struct dirent *entry = NULL; all != NULL && (entry = readdir(all)) != NULL;) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot != NULL && strcmp(dot, ending) == 0 && count < 256) names[count++] = ds_strdup(entry->d_name);
    }
    if (all != NULL) (void)closedir(all);
    qsort((void *)names, count, sizeof *names, by_name);
    for (size_t i = 0; i < count; i++) {
        expect_ok(ds_text_printf(document, "%s%s/%s%s\n", before, path, names[i], after));
        free(names[i]);
    }
    return count;
}

/* What the log of a document may not say. */
static void expect_clean(const char *log, const char *of) {
    static const char *const faults[] = {"\n!",       "Overfull",          "undefined", "multiply defined",
                                         "too large", "Missing character", "No file ",  "Too many"};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        const char *found = strstr(log, faults[i]);
        if (found != NULL) fail_msg("%s: pdflatex: %.400s", of, found);
    }
}

static void compile(ds_text *document, const char *of) {
    char *log;
    size_t length;
    char folder[512];
    expect_ok(ds_text_printf(document, "\\end{document}\n"));
    const char *source = scratch_write("latex/all.tex", document->bytes, document->length);
    (void)snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(source, '/') - source), source);
    for (int pass = 0; pass < 2; pass++) /* labels are known to the second */
        child_run_program(&ran, "/bin/sh",
                          (const char *const[]){"-c", "exec pdflatex -interaction=nonstopmode -output-directory \"$0\" \"$1\"",
                                                folder, source, NULL},
                          minutes);
    expect_ok(ds_read_file(&log, &length, scratch_path("latex/all.log"), 1 << 26));
    expect_clean(log, of);
    if (ran.status != 0) fail_msg("%s: pdflatex ended with %d: %.2000s", of, ran.status, log);
    free(log);
}

/* Whether the finished document holds these bytes. */
static bool document_holds(const char *bytes) {
    char *pdf;
    size_t length;
    expect_ok(ds_read_file(&pdf, &length, scratch_path("latex/all.pdf"), 1 << 28));
    const bool holds = memmem(pdf, length, bytes, strlen(bytes)) != NULL;
    free(pdf);
    return holds;
}

static bool has_latex(void) {
    child_run_program(&ran, "/bin/sh", (const char *const[]){"-c", "command -v pdflatex && kpsewhich booktabs.sty", NULL},
                      (child_limits){0});
    if (ran.status != 0) print_message("pdflatex with booktabs is not installed (make deps-long): no table is compiled\n");
    return ran.status == 0;
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void compile_all_of(const char *name, const char *model, const char *tokens, bool gates) {
    ds_text document = {0};
    begin_document(&document);
    const size_t count = gates ? sizeof commands / sizeof *commands : sizeof of_additive / sizeof *of_additive;
    size_t figures = 0;
    for (size_t c = 0; c < count; c++) {
        char out[128], kept[512];
        (void)snprintf(out, sizeof out, "out-%s-%zu", name, c);
        (void)snprintf(kept, sizeof kept, "%s", scratch_path(out));
        run_one(gates ? commands[c] : of_additive[c], model, tokens, kept);
        const bool again = c > 0 && strcmp(commands[c][0], commands[c - 1][0]) ==
                                        0; /* the labels are there already: as src/report/README.md says */
        const char *before = again ? "{\\let\\plain\\label\\renewcommand{\\label}[1]{\\plain{again-#1}}\\input{" : "\\input{";
        assert_true(add_files(&document, kept, "tables", ".tex", before, again ? "}}" : "}") > 0);
        expect_ok(ds_text_printf(&document, "\\clearpage\n"));
        figures +=
            add_files(&document, kept, "figures", ".pdf", "\\noindent\\includegraphics[width=\\linewidth]{", "}\\clearpage");
    }
    compile(&document, name);
    if (figures > 0) assert_true(document_holds("/TrueType"));
    if (document_holds("/Type3")) fail_msg("%s: a font of Type 3", name);
    ds_text_release(&document);
}

static void test_commands(void **state) {
    (void)state;
    if (!has_latex()) skip();
    char tokens[512], name[64];
    (void)snprintf(tokens, sizeof tokens, "%s", write_tokens());
    for (size_t v = 0; v < TINY_VARIANTS; v++) {
        const size_t layers = v % 2 == 0 ? 1 : 13;
        (void)snprintf(name, sizeof name, "%s-%zu", tiny_variants[v], layers);
        compile_all_of(name, write_model(name, tiny_variants[v], layers, false), tokens, v > 0);
    }
}

static void test_strange_names(void **state) {
    (void)state;
    if (!has_latex()) skip();
    char tokens[512];
    (void)snprintf(tokens, sizeof tokens, "%s", write_tokens());
    compile_all_of("strange", write_model("a_b #1 100% {x} $y$ & ~z^ 漢β", "ddl-cc-ec", 1, true), tokens, true);
}

/* A random text: what LaTeX acts upon, every symbol that has a spelling in ASCII, letters of no font, words without end. */
static void append_nasty(ds_text *text, ds_random *random) {
    static const char *const atoms[] = {
        "\\",   "{", "}",    "$", "&", "#",  "_",    "%",          "~",          "^",    "<",
        ">",    "|", "\"",   "`", "'", "--", "---",  "[",          "]",          "*",    "?`",
        "^^41", " ", " ",    " ", "/", ":",  "W",    "WWWWWWWWWW", "\\input{x}", "\\\\", "\\end{table}",
        "é",    "Ö", "ÿ",    "Ð", "þ", "Ж",  "漢字", "😀",          "\n",         "\t",   "\x1b[1m",
        "\xff", "β", "‖k‖²", "≥"};
    for (size_t i = 1 + ds_random_below(random, ds_random_below(random, 2) == 0 ? 6 : 120); i > 0; i--)
        expect_ok(ds_text_printf(text, "%s", atoms[ds_random_below(random, sizeof atoms / sizeof *atoms)]));
}

/* The n-th symbol of the program's own, in UTF-8; false beyond the last. */
static bool symbol(char bytes[8], uint32_t *point) {
    for (; *point < 0x3000; ++*point) {
        char spelling[DS_ASCII_SPELLING];
        const uint32_t p = *point;
        const size_t length = p < 0x800 ? 2 : 3;
        if (length == 2)
            (void)snprintf(bytes, 8, "%c%c", (char)(0xC0 | p >> 6), (char)(0x80 | (p & 63)));
        else
            (void)snprintf(bytes, 8, "%c%c%c", (char)(0xE0 | p >> 12), (char)(0x80 | (p >> 6 & 63)), (char)(0x80 | (p & 63)));
        (void)ds_ascii_spelling(spelling, bytes, length);
        if (spelling[0] == '\\' && spelling[1] == 'x') continue;
        ++*point;
        return true;
    }
    return false;
}

static void add_random_table(ds_text *document, ds_random *random, size_t number) {
    ds_column columns[9];
    ds_text title = {0}, cell = {0}, label = {0};
    ds_table *table;
    const size_t count = 1 + ds_random_below(random, 9), rows = ds_random_below(random, 90);
    append_nasty(&title, random);
    for (size_t c = 0; c < count; c++)
        columns[c] = (ds_column){"some_long_key", c % 3 == 0 ? "‖k‖² of the other" : NULL, c % 2 == 0 ? "nats" : NULL,
                                 (ds_column_kind)ds_random_below(random, 6), 3};
    expect_ok(ds_table_new(&table, "Strange strings", columns, count));
    expect_ok(ds_text_printf(&label, "random-%zu", number));
    ds_table_describe(table, label.bytes, title.bytes);
    for (size_t i = 0; i < rows * count; i++) {
        cell.length = 0;
        append_nasty(&cell, random);
        if (columns[i % count].kind == DS_COLUMN_TEXT)
            ds_table_text(table, cell.bytes);
        else if (columns[i % count].kind == DS_COLUMN_INTEGER)
            ds_table_integer(table, (int64_t)ds_random_below(random, 1u << 30));
        else
            ds_table_real(table, ds_random_below(random, 9) == 0 ? NAN : exp(40 * (ds_random_uniform(random) - 0.5)));
    }
    expect_ok(ds_table_format_text(document, table, DS_TABLE_LATEX, NULL));
    expect_ok(ds_text_printf(document, "Table~\\ref{tab:random-%zu}.\\clearpage\n", number));
    ds_table_free(&table);
    ds_text_release(&title);
    ds_text_release(&cell);
    ds_text_release(&label);
}

static void test_strings(void **state) {
    (void)state;
    if (!has_latex()) skip();
    static const ds_column columns[] = {{"symbol", NULL, NULL, DS_COLUMN_TEXT, 0}};
    ds_random random = ds_random_init(20261129);
    ds_text document = {0};
    ds_table *table;
    char bytes[8];
    uint32_t point = 0x80;
    begin_document(&document);
    expect_ok(ds_table_new(&table, "Symbols", columns, 1));
    while (symbol(bytes, &point)) ds_table_text(table, bytes);
    assert_true(ds_table_rows(table) > 20);
    const size_t before = document.length;
    expect_ok(ds_table_format_text(&document, table, DS_TABLE_LATEX, NULL));
    assert_null(strstr(document.bytes + before, "\\textbackslash{}x")); /* what a terminal can say, a paper can */
    ds_table_free(&table);
    for (size_t i = 0; i < 40; i++) add_random_table(&document, &random, i);
    compile(&document, "strings");
    ds_text_release(&document);
}

/* Commands whose operands are no checkpoint and data alone. */
static void test_other_commands(void **state) {
    (void)state;
    if (!has_latex()) skip();
    char model[512], report[600], out[5][512];
    ds_text document = {0};
    (void)snprintf(model, sizeof model, "%s", write_model("model", "ddl-tc", 1, false));
    const char *tokens = write_tokens();
    for (size_t i = 0; i < 5; i++)
        (void)snprintf(out[i], sizeof out[i], "%s",
                       scratch_path((const char *[]){"report", "check", "diff", "bench", "train"}[i]));
    (void)snprintf(report, sizeof report, "%s/report.json", out[0]);
    run_one(commands[0], model, tokens, out[0]);
    begin_document(&document);
    CHILD_RUN(&ran, minutes, "check", "--quiet", "--tokens", tokens, "--out", out[1], report, model);
    assert_int_equal(ran.status, 0);
    CHILD_RUN(&ran, minutes, "diff", "--quiet", "--out", out[2], report, report);
    assert_int_equal(ran.status, 0);
    CHILD_RUN(&ran, minutes, "bench", "--quiet", "--size", "tiny", "--out", out[3]);
    assert_int_equal(ran.status, 0);
    for (size_t i = 1; i < 4; i++) assert_int_equal(add_files(&document, out[i], "tables", ".tex", "\\input{", "}"), 1);
    compile(&document, "other commands");
    ds_text_release(&document);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_strings), cmocka_unit_test(test_other_commands),
                                       cmocka_unit_test(test_strange_names), cmocka_unit_test(test_commands)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
