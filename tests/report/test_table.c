/* One table, four formats, each compared with what it should look like. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/report.h"
#include "support.h"

static ds_table *sample(void) {
    static const ds_column columns[] = {
        {"name", "case", NULL, DS_COLUMN_TEXT, 0},
        {"tokens", NULL, NULL, DS_COLUMN_INTEGER, 0},
        {"delta_loss", "Δ loss", "nats", DS_COLUMN_REAL, 4},
        {"share", "share", NULL, DS_COLUMN_PERCENT, 1},
        {"bar", "", NULL, DS_COLUMN_BAR, 0},
        {"loss", "loss", NULL, DS_COLUMN_FIXED, 2},
    };
    ds_table *table = NULL;
    expect_ok(ds_table_new(&table, "Forced gates", columns, sizeof columns / sizeof *columns));
    const struct {
        const char *name;
        int64_t tokens;
        double delta, share, loss;
    } rows[] = {{"closed:0.attn", 65536, 2.3915252736181563, 0.671875, 4.1417589},
                {"a, \"b\" | c_d", -3, -3e-6, 1, 12},
                {"missing", 7, NAN, 0, -INFINITY}};
    for (size_t i = 0; i < 3; i++) {
        ds_table_text(table, rows[i].name);
        ds_table_integer(table, rows[i].tokens);
        ds_table_real(table, rows[i].delta);
        ds_table_real(table, rows[i].share);
        ds_table_real(table, rows[i].delta);
        ds_table_real(table, rows[i].loss);
    }
    assert_int_equal(ds_table_rows(table), 3);
    return table;
}

static void expect_text(ds_table_format format, const ds_terminal *terminal, const char *expected) {
    ds_table *table = sample();
    ds_text text = {0};
    expect_ok(ds_table_format_text(&text, table, format, terminal));
    assert_string_equal(text.bytes, expected);
    ds_text_release(&text);
    ds_table_free(&table);
}

static void test_terminal(void **state) {
    (void)state;
    expect_text(DS_TABLE_TERMINAL, NULL,
                "Forced gates\n\n"
                "case           tokens  delta loss  share                 loss\n"
                "                             nats      %\n"
                "-------------------------------------------------------------\n"
                "closed:0.attn   65536       2.392   67.2  ############   4.14\n"
                "a, \"b\" | c_d       -3      -3e-06  100.0                12.00\n"
                "missing             7           -    0.0                 -inf\n");
    const ds_terminal fancy = {30, false, true};
    expect_text(DS_TABLE_TERMINAL, &fancy,
                "Forced gates\n\n"
                "case          tokens  Δ loss\n"
                "                        nats\n"
                "────────────────────────────\n"
                "closed:0.at…   65536   2.392\n"
                "a, \"b\" | c_d      -3  -3e-06\n"
                "missing            7       -\n\n"
                "case          share   loss\n"
                "                  %\n"
                "──────────────────────────\n"
                "closed:0.at…   67.2   4.14\n"
                "a, \"b\" | c_d  100.0  12.00\n"
                "missing         0.0   -inf\n");
    const ds_terminal wide = {80, false, true};
    ds_table *table = NULL;
    ds_text text = {0};
    static const ds_column bars[] = {{"n", NULL, NULL, DS_COLUMN_INTEGER, 0}, {"b", "", NULL, DS_COLUMN_BAR, 0}};
    expect_ok(ds_table_new(&table, NULL, bars, 2));
    const double lengths[] = {1, 0.5, -0.125, 0.01, NAN};
    for (int i = 0; i < 5; i++) {
        ds_table_integer(table, i);
        ds_table_real(table, lengths[i]);
    }
    expect_ok(ds_table_format_text(&text, table, DS_TABLE_TERMINAL, &wide));
    assert_string_equal(text.bytes, "n\n───────────────\n0  ████████████\n1  ██████\n2  ░░\n3  ▏\n4\n");
    /* bars shrink to six columns, then go */
    const ds_terminal narrow = {9, false, false}, narrowest = {8, false, false};
    text.length = 0;
    expect_ok(ds_table_format_text(&text, table, DS_TABLE_TERMINAL, &narrow));
    assert_string_equal(text.bytes, "n\n---------\n0  ######\n1  ###\n2  -\n3\n4\n");
    text.length = 0;
    expect_ok(ds_table_format_text(&text, table, DS_TABLE_TERMINAL, &narrowest));
    assert_string_equal(text.bytes, "n\n-\n0\n1\n2\n3\n4\n");
    ds_text_release(&text);
    ds_table_free(&table);
}

static void test_csv(void **state) {
    (void)state;
    expect_text(DS_TABLE_CSV, NULL,
                "name,tokens,delta_loss,share,loss\r\n"
                "closed:0.attn,65536,2.3915252736181563,0.671875,4.1417589\r\n"
                "\"a, \"\"b\"\" | c_d\",-3,-3e-06,1,12\r\n"
                "missing,7,,0,-inf\r\n");
}

/* Texts that a spreadsheet would run, and hidden characters, in every format: drawn at random from parts. */
static void test_texts_of_strangers(void **state) {
    (void)state;
    static const char *const starts[] = {"=", "+", "-", "@", "\t", "\r"};
    static const char *const hidden[] = {"\x1b[31m", "\x7f",   "\xC2\x85",   "\xC2\x9B", "\u00ad",
                                         "\u061c",   "\u200b", "\u200e",     "\u202e",   "\u2066",
                                         "\u2028",   "\ufeff", "\U000e0041", "\xff",     "\xc0\xaf"};
    static const ds_column columns[] = {{"name", NULL, NULL, DS_COLUMN_TEXT, 0}, {"x", NULL, NULL, DS_COLUMN_REAL, 0}};
    ds_random random = ds_random_init(20261201);
    for (size_t round = 0; round < 500; round++) {
        ds_table *table;
        ds_text csv = {0}, name = {0};
        bool formula = ds_random_below(&random, 2) == 0;
        if (formula) expect_ok(ds_text_printf(&name, "%s", starts[ds_random_below(&random, sizeof starts / sizeof *starts)]));
        expect_ok(ds_text_printf(&name, "SUM%s1%s", hidden[ds_random_below(&random, sizeof hidden / sizeof *hidden)],
                                 hidden[ds_random_below(&random, sizeof hidden / sizeof *hidden)]));
        expect_ok(ds_table_new(&table, "t", columns, 2));
        ds_table_text(table, name.bytes);
        ds_table_real(table, -1.5);
        for (int format = DS_TABLE_TERMINAL; format <= DS_TABLE_LATEX; format++) {
            csv.length = 0;
            expect_ok(ds_table_format_text(&csv, table, (ds_table_format)format, NULL));
            for (size_t at = 0, step; at < csv.length; at += step) {
                uint32_t point;
                step = ds_utf8_decode(&point, csv.bytes + at, csv.length - at);
                assert_true(step > 0);
                if (ds_is_hidden(point) && strchr("\t\r\n", (int)point) == NULL) fail_msg("format %d: U+%04X", format, point);
            }
            if (format != DS_TABLE_CSV) continue;
            const char *cell = strchr(csv.bytes, '\n') + 1;
            assert_int_equal(cell[*cell == '"'], formula ? '\'' : 'S');
            assert_non_null(strstr(cell, ",-1.5\r\n")); /* a number stays one */
        }
        ds_text_release(&csv);
        ds_text_release(&name);
        ds_table_free(&table);
    }
}

static void test_markdown(void **state) {
    (void)state;
    expect_text(DS_TABLE_MARKDOWN, NULL,
                "| case | tokens | Δ loss (nats) | share (%) | loss |\n"
                "|:---|---:|---:|---:|---:|\n"
                "| closed:0.attn | 65536 | 2.392 | 67.2 | 4.14 |\n"
                "| a, \"b\" \\| c\\_d | -3 | -3e-06 | 100.0 | 12.00 |\n"
                "| missing | 7 | - | 0.0 | -inf |\n");
}

static void test_latex(void **state) {
    (void)state;
    expect_text(DS_TABLE_LATEX, NULL,
                "% \\usepackage{array,booktabs,graphicx}\n"
                "\\begin{table}[htbp]\n\\centering\n\\caption{Forced gates}\n"
                "\\setbox0\\hbox{%\n\\begin{tabular}{@{}lrrrr@{}}\n\\toprule\n"
                "case & tokens & \\begin{tabular}[b]{@{}r@{}}$\\Delta$ loss\\\\(nats)\\end{tabular} & "
                "\\begin{tabular}[b]{@{}r@{}}share\\\\(\\%)\\end{tabular} & loss \\\\\n\\midrule\n"
                "closed:0.attn & $65536$ & $2.392$ & $67.2$ & $4.14$ \\\\\n"
                "a, ''b'' $|$ c\\_d & $-3$ & $-3 \\times 10^{-6}$ & $100.0$ & $12.00$ \\\\\n"
                "missing & $7$ & -- & $0.0$ & $-\\infty$ \\\\\n"
                "\\bottomrule\n\\end{tabular}}%\n"
                "\\ifdim\\wd0>\\linewidth\\resizebox{\\linewidth}{!}{\\box0}\\else\\box0\\fi\n\\end{table}\n");
}

static size_t count_of(const char *text, const char *part) {
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at += strlen(part)) count++;
    return count;
}

/* Caption and label, a column of texts that break, and as many floats as pages are needed. */
static void test_latex_layout(void **state) {
    (void)state;
    static const ds_column columns[] = {{"n", NULL, NULL, DS_COLUMN_INTEGER, 0},
                                        {"text", NULL, NULL, DS_COLUMN_TEXT, 0},
                                        {"departure", "departure from it", NULL, DS_COLUMN_REAL, 3}};
    for (size_t rows = 0; rows <= 120; rows += 40) {
        ds_table *table = NULL;
        ds_text text = {0};
        expect_ok(ds_table_new(&table, "Paths", columns, 3));
        ds_table_describe(table, "a-subject", "Of ‖k‖² ≥ 1, 5%");
        ds_table_attribute(table, rows == 40 ? "runs/seed_1" : NULL);
        for (size_t i = 0; i < rows; i++) {
            ds_table_integer(table, (int64_t)i);
            ds_table_text(table, "/a/folder/whose_name/goes/on/beyond/any/line");
            ds_table_real(table, 0.5);
        }
        expect_ok(ds_table_format_text(&text, table, DS_TABLE_LATEX, NULL));
        assert_int_equal(count_of(text.bytes, rows == 40 ? "\\caption{Paths. Of $\\|$k$\\|$$^2$ $\\ge$ 1, 5\\%. Checkpoint: "
                                                           "runs/seed\\_1}\n\\label{tab:a-subject}\n"
                                                         : "\\caption{Paths. Of $\\|$k$\\|$$^2$ $\\ge$ 1, 5\\%}\n"
                                                           "\\label{tab:a-subject}\n"),
                         1);
        assert_int_equal(count_of(text.bytes, "\\caption"), 1);
        assert_int_equal(count_of(text.bytes, "$0.500$"), rows);
        assert_int_equal(count_of(text.bytes, "departure\\\\from\\\\it"), count_of(text.bytes, "\\begin{table}"));
        const size_t floats = count_of(text.bytes, "\\begin{table}"), lines = 2 * rows; /* of two lines each */
        assert_int_equal(count_of(text.bytes, "\\end{table}"), floats);
        assert_true(floats >= lines / 44 + (lines == 0) && floats <= 1 + lines / 20);
        assert_int_equal(count_of(text.bytes, "(continued)"), floats - 1);
        assert_int_equal(count_of(text.bytes, "\\raggedright\\arraybackslash}p{15em}"), rows == 0 ? 0 : floats);
        assert_int_equal(count_of(text.bytes, "/\\penalty100 folder"), rows);
        ds_text_release(&text);
        ds_table_free(&table);
    }
}

/* Strings at random: every sign that LaTeX acts upon is spelled, braces close, formulas end, no word is too long to break. */
static void test_latex_strings(void **state) {
    (void)state;
    static const char *const atoms[] = {"\\", "{", "}", "$",    "&",    "#",  "_", "%",  "~",  "^",   "<",
                                        ">",  "|", "[", "*",    "\\\\", "--", "β", "漢", "Ж",  "é",   "Ð",
                                        " ",  "/", "W", "word", "‖",    "≥",  "`", "\"", "\n", "\x1b"};
    static const ds_column columns[] = {{"text", NULL, NULL, DS_COLUMN_TEXT, 0}};
    ds_random random = ds_random_init(20261203);
    for (size_t round = 0; round < 300; round++) {
        ds_table *table = NULL;
        ds_text cell = {0}, text = {0};
        for (size_t i = ds_random_below(&random, 60); i > 0; i--)
            expect_ok(ds_text_printf(&cell, "%s", atoms[ds_random_below(&random, sizeof atoms / sizeof *atoms)]));
        expect_ok(ds_text_append(&cell, "", 0));
        expect_ok(ds_table_new(&table, "t", columns, 1));
        ds_table_text(table, cell.bytes);
        expect_ok(ds_table_format_text(&text, table, DS_TABLE_LATEX, NULL));
        char *at = strstr(text.bytes, "\\midrule\n") + strlen("\\midrule\n"), *end = strstr(at, " \\\\\n\\bottomrule");
        assert_non_null(end);
        assert_true(*at != '[' && *at != '*');
        long depth = 0;
        size_t dollars = 0, run = 0;
        for (; at < end; at++) {
            run = strncmp(at, "\\penalty", 8) == 0 || *at == ' ' ? 0 : run + 1;
            assert_true(run < 160); /* 14 letters, each spelled at most \textasciitilde{} or the like */
            if (*at == '\\' && !(at[1] >= 'a' && at[1] <= 'z')) {
                assert_non_null(strchr("{}&#_%|", at[1])); /* no command of one sign but these */
                at++;
                continue;
            }
            assert_null(*at == '\0' ? "" : strchr("&#%~\n\x1b", *at));
            assert_true(strchr("^_<>|", *at) == NULL || dollars % 2 == 1); /* in formulas alone */
            dollars += *at == '$';
            depth += (*at == '{') - (*at == '}');
            assert_true(depth >= 0);
        }
        assert_true(depth == 0 && dollars % 2 == 0);
        ds_text_release(&cell);
        ds_text_release(&text);
        ds_table_free(&table);
    }
}

/* No line is wider than the terminal, whatever its width; colour only paints. */
static void test_widths(void **state) {
    (void)state;
    ds_table *table = sample();
    for (size_t width = 24; width <= 120; width++) {
        const ds_terminal plain = {width, false, true}, painted = {width, true, true};
        ds_text text = {0}, coloured = {0};
        expect_ok(ds_table_format_text(&text, table, DS_TABLE_TERMINAL, &plain));
        expect_ok(ds_table_format_text(&coloured, table, DS_TABLE_TERMINAL, &painted));
        size_t column = 0;
        for (size_t i = 0; i < text.length; i++) {
            column = text.bytes[i] == '\n' ? 0 : column + (((unsigned char)text.bytes[i] & 0xC0) != 0x80);
            if (column > width) fail_msg("a line of width %zu > %zu", column, width);
        }
        assert_null(strchr(text.bytes, '\033'));
        assert_non_null(strstr(coloured.bytes, "\033[1m"));
        ds_text_release(&text);
        ds_text_release(&coloured);
    }
    ds_table_free(&table);
}

/* Digits follow the column's largest value. */
static void test_digits(void **state) {
    (void)state;
    static const ds_column column[] = {{"x", NULL, NULL, DS_COLUMN_REAL, 3}};
    const struct {
        double values[2];
        const char *expected;
    } cases[] = {{{123.456, 0.5}, "| 123 |\n| 0 |\n"},         {{123.456, 0.4}, "| 123 |\n| 4e-01 |\n"},
                 {{1, -0.0}, "| 1.00 |\n| 0.00 |\n"},          {{-2.5e-7, 0}, "| -2.50e-07 |\n| 0.00 |\n"},
                 {{1.5e9, 3}, "| 1.50e+09 |\n| 3.00e+00 |\n"}, {{123456.7, 3}, "| 123457 |\n| 3 |\n"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ds_table *table = NULL;
        ds_text text = {0};
        expect_ok(ds_table_new(&table, NULL, column, 1));
        for (size_t j = 0; j < 2; j++) ds_table_real(table, cases[i].values[j]);
        expect_ok(ds_table_format_text(&text, table, DS_TABLE_MARKDOWN, NULL));
        assert_non_null(strstr(text.bytes, cases[i].expected));
        ds_text_release(&text);
        ds_table_free(&table);
    }
}

/* Columns chosen at random from the sample: the CSV has those, in that order, with the cells they had. */
static void test_choice(void **state) {
    (void)state;
    static const char *const keys[] = {"name", "tokens", "delta_loss", "share", "loss"};
    static const char *const cells[] = {"closed:0.attn", "65536", "2.3915252736181563", "0.671875", "4.1417589"};
    ds_random random = ds_random_init(20261205);
    for (size_t round = 0; round < 200; round++) {
        ds_table *table = sample();
        ds_text list = {0}, expected = {0}, row = {0}, csv = {0};
        bool used[5] = {false};
        for (size_t i = ds_random_below(&random, 5) + 1; i > 0; i--) {
            const size_t k = ds_random_below(&random, 5);
            expect_ok(ds_text_printf(&list, "%s%s", list.length == 0 ? "" : ",", keys[k]));
            if (!used[k]) expect_ok(ds_text_printf(&expected, "%s%s", expected.length == 0 ? "" : ",", keys[k]));
            if (!used[k]) expect_ok(ds_text_printf(&row, "%s%s", row.length == 0 ? "" : ",", cells[k]));
            used[k] = true;
        }
        expect_ok(ds_table_choose(table, "nothing,of,these"));
        expect_ok(ds_table_choose(table, list.bytes));
        expect_ok(ds_table_format_text(&csv, table, DS_TABLE_CSV, NULL));
        expect_ok(ds_text_printf(&expected, "\r\n%s\r\n", row.bytes));
        if (strncmp(csv.bytes, expected.bytes, expected.length) != 0) fail_msg("%s: %s", list.bytes, csv.bytes);
        assert_int_equal(ds_table_rows(table), 3);
        ds_table_free(&table);
        ds_text_release(&list);
        ds_text_release(&expected);
        ds_text_release(&row);
        ds_text_release(&csv);
    }
}

static void test_misuse(void **state) {
    (void)state;
    static const ds_column columns[] = {{"a", NULL, NULL, DS_COLUMN_TEXT, 0}, {"b", NULL, NULL, DS_COLUMN_REAL, 3}};
    ds_table *table = NULL;
    ds_text text = {0};
    expect_failure(ds_table_new(&table, "t", columns, 0), DS_ERR_USAGE, "without columns");
    expect_ok(ds_table_new(&table, "t", columns, 2));
    ds_table_text(table, "x");
    expect_failure(ds_table_format_text(&text, table, DS_TABLE_CSV, NULL), DS_ERR_USAGE,
                   "the last row has 1 cells, expected 2");
    ds_table_integer(table, 3);
    ds_table_real(table, 3);
    expect_failure(ds_table_format_text(&text, table, DS_TABLE_CSV, NULL), DS_ERR_USAGE, "column \"b\" was given an integer");
    ds_table_free(&table);
    ds_table_free(&table);
    ds_text_release(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_terminal),      cmocka_unit_test(test_csv),    cmocka_unit_test(test_texts_of_strangers),
        cmocka_unit_test(test_markdown),      cmocka_unit_test(test_latex),  cmocka_unit_test(test_latex_layout),
        cmocka_unit_test(test_latex_strings), cmocka_unit_test(test_widths), cmocka_unit_test(test_digits),
        cmocka_unit_test(test_choice),        cmocka_unit_test(test_misuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
