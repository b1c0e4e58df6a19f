/* JSON from strangers: what must be refused is refused with its own sentence, what is legal is parsed to the same value. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "deltascope/io.h"

static void refuse(const char *bytes, size_t length, const char *sentence) {
    json_t *value = NULL;
    expect_failure(ds_json_parse(&value, bytes, length, "some.json"), DS_ERR_INPUT, sentence);
    assert_null(value);
    assert_memory_equal(ds_error_text(), "some.json: ", 11);
}

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *sentence;
    } cases[] = {
        {"", "invalid JSON"},
        {"  \n", "invalid JSON"},
        {"{\"a\":1} x", "trailing characters"},
        {"{\"a\":1}{\"a\":1}", "trailing characters"},
        {"{\"a\":1,}", "invalid JSON"},
        {"[1,2,]", "invalid JSON"},
        {"{'a':1}", "invalid JSON"},
        {"// a\n{}", "invalid JSON"},
        {"[01]", "invalid JSON"},
        {"[+1]", "invalid JSON"},
        {"[NaN]", "invalid JSON"},
        {"[-Infinity]", "invalid JSON"},
        {"[1e999]", "number out of range"},
        {"[9223372036854775808]", "number out of range"},
        {"{\"a\":1,\"size\":[3,1e400]}", "after key size"},
        {"{\"a\\\":\":NaN}", "after key a\\\":"},
        {"{\"a\":1,\"b\":2,\"a\":1}", "duplicate key"},
        {"{\"ab\":1,\"\\u0061b\":2}", "duplicate key"},
        {"{\"x\":[{\"k\":0,\"k\":0}]}", "duplicate key"},
        {"[\"\\u0000\"]", "NUL"},
        {"{\"a\\u0000b\":1}", "NUL"},
        {"[\"\\ud800\"]", "invalid JSON"},
        {"[\"\\x\"]", "invalid JSON"},
        {"[\"a\nb\"]", "newline near"},
        {"[\"a\x01\"]", "control character"},
        {"[\"\xFF\"]", "invalid UTF-8"},
        {"[\"\xC0\xAF\"]", "invalid UTF-8"},
        {"[\"\xED\xA0\x80\"]", "invalid UTF-8"},
        {"\xEF\xBB\xBF{}", "invalid JSON"},
        {"{\"a\":1", "invalid JSON"},
        {"\"abc", "invalid JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) refuse(cases[i].text, strlen(cases[i].text), cases[i].sentence);
    refuse("{}\0", 3, "invalid JSON");
}

static void test_accepted(void **state) {
    (void)state;
    const char *text = " \t\r\n{\"name\\u0041\":[1,-2,3.5e3,true,false,null],\"[{\\\"\":\"]}\"}\n ";
    json_t *value = NULL;
    expect_ok(ds_json_parse(&value, text, strlen(text), "x"));
    json_t *list = json_object_get(value, "nameA");
    assert_int_equal(json_array_size(list), 6);
    assert_int_equal(json_integer_value(json_array_get(list, 1)), -2);
    assert_true(json_real_value(json_array_get(list, 2)) == 3500.0);
    assert_string_equal(json_string_value(json_object_get(value, "[{\"")), "]}");
    json_decref(value);
    expect_ok(ds_json_parse(&value, "7", 1, "x"));
    assert_int_equal(json_integer_value(value), 7);
    json_decref(value);
}

/* Depth 100 passes, 101 does not, and neither does a flood of brackets that would overrun a recursive parser. */
static void test_depth(void **state) {
    (void)state;
    enum { FLOOD = 200000 };
    char *text = ds_calloc(FLOOD, 1);
    assert_non_null(text);
    memset(text, '[', FLOOD);
    refuse(text, FLOOD, "nesting too deep");
    memset(text + 100, ']', 100);
    json_t *value = NULL;
    expect_ok(ds_json_parse(&value, text, 200, "x"));
    json_decref(value);
    memset(text, '[', 101);
    memset(text + 101, ']', 101);
    refuse(text, 202, "nesting too deep");
    free(text);
}

/* A few bytes of input must not become a hundred times as much memory: [{},{},{},...] */
static void test_memory(void **state) {
    (void)state;
    enum { OBJECTS = 4 << 20 };
    char *text = ds_calloc(3 * OBJECTS, 1);
    assert_non_null(text);
    for (size_t i = 0; i < OBJECTS; i++) memcpy(text + 3 * i, "{},", 3);
    text[0] = '[';
    text[1] = '7';
    text[2] = ',';
    text[3 * OBJECTS - 1] = ']';
    size_t before = ds_peak_memory_bytes();
    refuse(text, 3 * OBJECTS, "JSON too large");
    assert_true(ds_peak_memory_bytes() - before < (size_t)64 << 20);
    free(text);
}

static size_t allocations_left = SIZE_MAX;

/* SIZE_MAX: never fails; otherwise fails once, when the count has run down. */
static void *failing_malloc(size_t size) {
    if (allocations_left == SIZE_MAX) return malloc(size);
    if (allocations_left-- > 0) return malloc(size);
    return NULL; /* and the count is SIZE_MAX again */
}

/* One allocation failed in turn, the first, the second, ... until none fails: never a value that is not the text's, and never
 * the text blamed. (jansson alone reads "key" as "ky" at some of them.) */
static void test_allocation_failures(void **state) {
    (void)state;
    ds_io_hooks(); /* as the program does */
    const char *text = "{\"a key of more than sixteen bytes\":[1,2.5,\"text\"],\"nested\":{\"k\":null,\"l\":[[],{}]}}";
    json_t *expected = NULL, *value = NULL;
    size_t failures = 0;
    expect_ok(ds_json_parse(&expected, text, strlen(text), "x"));
    for (;; failures++) {
        allocations_left = failures;
        ds_status status = ds_json_parse(&value, text, strlen(text), "x");
        bool failed = allocations_left == SIZE_MAX;
        allocations_left = SIZE_MAX;
        if (!failed) break;
        assert_int_equal(status, DS_ERR_SYSTEM);
        assert_null(value);
    }
    assert_true(failures > 20);
    assert_true(json_equal(value, expected));
    json_decref(value);
    json_decref(expected);
}

int main(void) {
    json_set_alloc_funcs(failing_malloc, free);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_allocation_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
