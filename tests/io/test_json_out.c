/* JSON that reads back as what was built, number for number. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "deltascope/io.h"
#include "measure/result_json.h"
#include "scratch.h"
#include "support.h"

enum { SEED = 4242 };

static double random_bits(ds_random *random) {
    double value;
    do {
        uint64_t bits = ds_random_u64(random);
        memcpy(&value, &bits, sizeof value);
    } while (!isfinite(value));
    return value;
}

static void test_numbers(void **state) {
    (void)state;
    char text[32];
    const struct {
        double value;
        const char *expected;
    } cases[] = {{0.1, "0.1"},
                 {1e300, "1e+300"},
                 {5e-324, "5e-324"},
                 {-0.0, "-0"},
                 {1.0 / 3, "0.3333333333333333"},
                 {NAN, "nan"},
                 {-INFINITY, "-inf"},
                 {123456, "123456"},
                 {1e15, "1000000000000000"},
                 {1e16, "1e+16"},
                 {-12345678901234568.0, "-1.2345678901234568e+16"},
                 {1e-4, "0.0001"},
                 {1e-5, "1e-05"},
                 {-1234.5, "-1234.5"},
                 {0.00012345, "0.00012345"},
                 {0x1p-44, "5.684341886080802e-14"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(ds_format_real(text, cases[i].value), cases[i].expected);
    ds_random random = ds_random_init(SEED);
    for (size_t i = 0; i < 20000; i++) {
        double value = i % 2 == 0 ? random_bits(&random) : ds_random_normal(&random);
        double back = strtod(ds_format_real(text, value), NULL);
        assert_memory_equal(&back, &value, sizeof value);
        char shorter[40]; /* one digit less reads back as another number */
        const char *exponent = strchr(text, 'e');
        int digits = 0;
        for (const char *at = text; at != exponent && *at != '\0'; at++)
            digits += *at >= '0' && *at <= '9' && (digits > 0 || *at != '0');
        if (digits > 1) {
            (void)snprintf(shorter, sizeof shorter, "%.*e", digits - 2, value);
            if (text[strlen(text) - 1] != '0') assert_true(strtod(shorter, NULL) != value);
        }
    }
}

static json_t *build_sample(void) {
    ds_json_builder b = {0};
    json_t *out = NULL;
    ds_statistics s = {.count = 3, .mean = 0.1, .std = NAN, .min = -1e-7, .max = 2, .quantiles = {1, 2, 3, 4, 5, 6, 7.5}};
    ds_json_begin_object(&b, NULL);
    ds_json_put_text(&b, "z", "tab\there, quote\", back\\slash, bell\a, umlaut ü");
    ds_json_put_text(&b, "broken",
                     "a\xff"
                     "b");
    ds_json_put_text(&b, "nothing", NULL);
    ds_json_put_real(&b, "one", 1);
    ds_json_put_real(&b, "infinite", INFINITY);
    ds_json_put_count(&b, "count", UINT64_C(9007199254740993));
    ds_json_put_bool(&b, "yes", true);
    ds_json_put_stats(&b, "beta", &s);
    ds_json_begin_array(&b, "list");
    for (int i = 0; i < 300; i++) ds_json_put_real(&b, NULL, sqrt(i));
    ds_json_end(&b);
    ds_json_begin_array(&b, "empty");
    ds_json_end(&b);
    ds_json_end(&b);
    expect_ok(ds_json_finish(&out, &b));
    return out;
}

static void test_round_trip(void **state) {
    (void)state;
    json_t *value = build_sample(), *back = NULL;
    for (int style = DS_JSON_READABLE; style <= DS_JSON_CANONICAL; style++) {
        ds_text text = {0};
        expect_ok(ds_json_print(&text, value, (ds_json_style)style));
        expect_ok(ds_json_parse(&back, text.bytes, text.length, "what was printed"));
        assert_true(json_equal(value, back));
        if (style == DS_JSON_CANONICAL) {
            assert_null(strpbrk(text.bytes, "\n"));
            assert_non_null(strstr(text.bytes, "{\"beta\":{\"count\":3,\"max\":2.0,\"mean\":0.1,\"min\":-1e-07,"));
        } else {
            size_t widest = 0, width = 0;
            for (size_t i = 0; i < text.length; i++) {
                width = text.bytes[i] == '\n' ? 0 : width + 1;
                widest = ds_max_size(widest, width);
            }
            assert_true(widest <= 101 && strstr(text.bytes, "\n  \"one\": 1.0,\n") != NULL);
            assert_non_null(strstr(text.bytes, "\"infinite\": null"));
            assert_non_null(strstr(text.bytes, "\"count\": 9007199254740993"));
            assert_non_null(strstr(text.bytes, "a\\\\xFFb"));
        }
        json_decref(back);
        ds_text_release(&text);
    }
    json_decref(value);
}

/* Sorted keys: the order of insertion does not show. */
/* What a terminal would obey or not show is escaped in the readable style, and reads back as it was; the canonical form is what
 * others compute too, without escapes that it does not need. */
static void test_hidden_characters(void **state) {
    (void)state;
    static const char *const hidden[] = {"\x7f", "\xC2\x85", "\xC2\x9Bm", "\u00ad", "\u202e", "\u2066", "\ufeff", "\U000e0041"};
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++) {
        ds_text text = {0};
        json_t *value = json_pack("{s:s, s:[s]}", hidden[i], "key", "value", hidden[i]), *back;
        assert_non_null(value);
        expect_ok(ds_json_print(&text, value, DS_JSON_READABLE));
        for (size_t at = 0; at < text.length; at++) assert_true((unsigned char)text.bytes[at] < 0x7F);
        expect_ok(ds_json_parse(&back, text.bytes, text.length, "what was printed"));
        assert_true(json_equal(value, back));
        text.length = 0;
        expect_ok(ds_json_print(&text, value, DS_JSON_CANONICAL));
        assert_non_null(strstr(text.bytes, hidden[i]));
        json_decref(back);
        json_decref(value);
        ds_text_release(&text);
    }
}

static void test_canonical(void **state) {
    (void)state;
    json_t *a = json_pack("{s:i, s:[f, n], s:{}}", "b", 1, "a", 2.5, "c"),
           *b = json_pack("{s:{}, s:[f, n], s:i}", "c", "a", 2.5, "b", 1);
    ds_text first = {0}, second = {0};
    expect_ok(ds_json_print(&first, a, DS_JSON_CANONICAL));
    expect_ok(ds_json_print(&second, b, DS_JSON_CANONICAL));
    assert_string_equal(first.bytes, "{\"a\":[2.5,null],\"b\":1,\"c\":{}}");
    assert_string_equal(first.bytes, second.bytes);
    ds_text_release(&first);
    ds_text_release(&second);
    json_decref(a);
    json_decref(b);
}

/* ---- the canonical form is the one that Python writes ------------------------------------------------------------- */

static void put_numbers(ds_json_builder *b) {
    ds_random random = ds_random_init(SEED);
    ds_json_begin_array(b, "numbers");
    for (int exponent = -1074; exponent < 1024; exponent++) ds_json_put_real(b, NULL, ldexp(1, exponent));
    for (int exponent = -30; exponent < 30; exponent++) ds_json_put_real(b, NULL, pow(10, exponent));
    for (size_t i = 0; i < 20000; i++) ds_json_put_real(b, NULL, random_bits(&random));
    for (size_t i = 0; i < 20000; i++) ds_json_put_real(b, NULL, ds_random_normal(&random) * pow(10, (double)(i % 24) - 4));
    for (size_t i = 0; i < 200; i++) ds_json_put_real(b, NULL, (double)(ds_random_u64(&random) >> (i % 40)));
    ds_json_put_real(b, NULL, -0.0);
    ds_json_put(b, NULL, json_integer(INT64_MIN));
    ds_json_put(b, NULL, json_integer(INT64_MAX));
    ds_json_end(b);
}

/* Keys in the order of code points, every control character, what only a browser takes for a line end, the last plane. */
static void put_texts(ds_json_builder *b) {
    static const char *const texts[] = {"",       "\"\\/",  "\x7f",       "\u00e9",     "e\u0301",
                                        "\u2028", "\uffff", "\U0001F600", "\U0010FFFF", "a b"};
    ds_json_begin_object(b, "texts");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) ds_json_put_text(b, texts[i], texts[i]);
    for (char c = 1; c < 0x20; c++) ds_json_put_text(b, (const char[]){c, '\0'}, (const char[]){'<', c, '>', '\0'});
    ds_json_put_bool(b, "yes", true);
    ds_json_put_text(b, "none", NULL);
    ds_json_end(b);
}

static void test_canonical_form_is_pythons(void **state) {
    (void)state;
    static const char script[] =
        "import json, sys\n"
        "given = open(sys.argv[1], 'rb').read().decode()\n"
        "made = json.dumps(json.loads(given), sort_keys=True, separators=(',', ':'), ensure_ascii=False)\n"
        "for i, (a, b) in enumerate(zip(given, made)):\n"
        "    if a != b: sys.exit('byte %d: %r, Python writes %r' % (i, given[i - 30:i + 30], made[i - 30:i + 30]))\n"
        "sys.exit(given != made and 'of different lengths')\n";
    ds_json_builder b = {0};
    json_t *value = NULL;
    ds_text text = {0}, line = {0};
    if (system("python3 -c pass >/dev/null 2>&1") != 0) {
        print_message("no python3 to compare the canonical form with\n");
        skip();
    }
    ds_json_begin_object(&b, NULL);
    put_numbers(&b);
    put_texts(&b);
    ds_json_end(&b);
    expect_ok(ds_json_finish(&value, &b));
    expect_ok(ds_json_print(&text, value, DS_JSON_CANONICAL));
    (void)scratch_write("canonical.py", script, sizeof script - 1);
    (void)scratch_write("canonical.json", text.bytes, text.length);
    expect_ok(ds_text_printf(&line, "python3 %s", scratch_path("canonical.py")));
    expect_ok(ds_text_printf(&line, " %s", scratch_path("canonical.json")));
    assert_int_equal(system(line.bytes), 0);
    ds_text_release(&line);
    ds_text_release(&text);
    json_decref(value);
}

static void test_misuse(void **state) {
    (void)state;
    json_t *out = NULL;
    ds_json_builder b = {0};
    expect_failure(ds_json_finish(&out, &b), DS_ERR_USAGE, "before it was begun");
    ds_json_begin_object(&b, NULL);
    ds_json_put_real(&b, NULL, 1);
    ds_json_put_real(&b, "later", 1);
    expect_failure(ds_json_finish(&out, &b), DS_ERR_USAGE, "lacks its key");
    ds_json_begin_array(&b, NULL);
    ds_json_put_real(&b, "x", 1);
    expect_failure(ds_json_finish(&out, &b), DS_ERR_USAGE, "array has a key");
    ds_json_begin_array(&b, NULL);
    expect_failure(ds_json_finish(&out, &b), DS_ERR_USAGE, "1 levels open");
    ds_json_begin_array(&b, NULL);
    ds_json_end(&b);
    ds_json_end(&b);
    expect_failure(ds_json_finish(&out, &b), DS_ERR_USAGE, "not begun");
    ds_json_begin_array(&b, NULL);
    ds_json_end(&b);
    ds_json_begin_array(&b, NULL);
    expect_failure(ds_json_finish(&out, &b), DS_ERR_USAGE, "outside");
    for (int i = 0; i < 20; i++) ds_json_begin_array(&b, NULL);
    expect_failure(ds_json_finish(&out, &b), DS_ERR_USAGE, "deeper");
    ds_json_begin_array(&b, NULL);
    ds_json_put(&b, NULL, NULL);
    expect_failure(ds_json_finish(&out, &b), DS_ERR_SYSTEM, "out of memory");
    assert_null(out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_hidden_characters),
        cmocka_unit_test(test_canonical),
        cmocka_unit_test(test_canonical_form_is_pythons),
        cmocka_unit_test(test_misuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
