/* Where MemorySanitizer's knowledge ends: libraries built without it. `make check-msan` runs with poison_in_malloc=0 and
 * poison_in_free=0, so that what a library allocates counts as written, and links these wrappers around the calls of our own
 * objects: memory we allocate starts out poisoned, a library finds a clean stack, and what it writes into our memory is marked
 * as written. */
#include <jansson.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <sanitizer/allocator_interface.h>
#include <sanitizer/msan_interface.h>
#include <stdlib.h>
#include <string.h>
#include <uninorm.h>

/* The stack a library is about to use still bears the marks of functions that have returned. */
static void __attribute__((noinline)) clean_stack(void) {
    enum { DEPTH = 1 << 16 };
    volatile char here[DEPTH];
    __msan_unpoison(here, DEPTH);
}

static void *poisoned(void *memory, size_t from, size_t size) {
    if (memory != NULL && size > from) __msan_poison((char *)memory + from, size - from);
    return memory;
}

/* Declares the function behind a wrapper, and the wrapper. */
#define WRAP(type, name, ...)                                                                                                  \
    type __real_##name(__VA_ARGS__);                                                                                           \
    type __wrap_##name(__VA_ARGS__);                                                                                           \
    type __wrap_##name(__VA_ARGS__)

WRAP(void *, malloc, size_t size) { return poisoned(__real_malloc(size), 0, size); }

WRAP(void *, aligned_alloc, size_t alignment, size_t size) { return poisoned(__real_aligned_alloc(alignment, size), 0, size); }

/* Memory goes back clean: a library may get it next. */
WRAP(void, free, void *old) {
    if (old != NULL) __msan_unpoison(old, __sanitizer_get_allocated_size(old));
    __real_free(old);
}

WRAP(void *, realloc, void *old, size_t size) {
    size_t before = old == NULL ? 0 : __sanitizer_get_allocated_size(old);
    void *grown = __real_malloc(size);
    if (grown == NULL) return NULL;
    if (old != NULL) memcpy(grown, old, before < size ? before : size);
    __wrap_free(old);
    return poisoned(grown, before, size);
}

WRAP(json_t *, json_loadb, const char *bytes, size_t length, size_t flags, json_error_t *error) {
    __msan_check_mem_is_initialized(bytes, length);
    clean_stack();
    json_t *value = __real_json_loadb(bytes, length, flags, error);
    __msan_unpoison(error, sizeof *error);
    return value;
}

WRAP(char *, json_dumps, const json_t *value, size_t flags) {
    clean_stack();
    return __real_json_dumps(value, flags);
}

WRAP(int, json_object_set_new, json_t *object, const char *key, json_t *value) {
    clean_stack();
    return __real_json_object_set_new(object, key, value);
}

WRAP(int, SHA256_Final, unsigned char *digest, void *state) {
    enum { DIGEST = 32 };
    clean_stack();
    int done = __real_SHA256_Final(digest, state);
    __msan_unpoison(digest, DIGEST);
    return done;
}

WRAP(pcre2_code *, pcre2_compile_8, PCRE2_SPTR pattern, PCRE2_SIZE length, uint32_t options, int *code, PCRE2_SIZE *offset,
     pcre2_compile_context *context) {
    clean_stack();
    pcre2_code *compiled = __real_pcre2_compile_8(pattern, length, options, code, offset, context);
    __msan_unpoison(code, sizeof *code);
    __msan_unpoison(offset, sizeof *offset);
    return compiled;
}

WRAP(uint8_t *, u8_normalize, uninorm_t form, const uint8_t *text, size_t length, uint8_t *buffer, size_t *out_length) {
    __msan_check_mem_is_initialized(text, length);
    clean_stack();
    uint8_t *made = __real_u8_normalize(form, text, length, buffer, out_length);
    __msan_unpoison(out_length, sizeof *out_length);
    return made;
}

WRAP(int, pcre2_match_8, const pcre2_code *code, PCRE2_SPTR text, PCRE2_SIZE length, PCRE2_SIZE start, uint32_t options,
     pcre2_match_data *match, pcre2_match_context *context) {
    __msan_check_mem_is_initialized(text, length);
    clean_stack();
    return __real_pcre2_match_8(code, text, length, start, options, match, context);
}
