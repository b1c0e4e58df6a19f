/* The options that a result records, through the parser of the command line: what that refuses is refused here. */
#include <string.h>

#include "cli/option_value.h"
#include "deltascope/io.h"

typedef struct recalling {
    void *own;
    ds_common *common;
    const json_t *recorded;
    const ds_given_file *given;
} recalling;

/* "regime-tol" is recorded as "regime_tol". */
static const json_t *find(const json_t *recorded, const char *name) {
    char key[64];
    (void)snprintf(key, sizeof key, "%s", name);
    for (char *at = key; *at != '\0'; at++) *at = *at == '-' ? '_' : *at;
    return json_object_get(recorded, key);
}

static bool names_a_file(const ds_option *option) {
    return option->kind == DS_OPTION_TEXT &&
           (strncmp(option->argument, "FILE", 4) == 0 || strcmp(option->argument, "PATH") == 0);
}

/* The path is the caller's; where there is none, the sentence asks for it by the digest that is recorded beside the option. */
static ds_status recall_file(const recalling *all, void *structure, const ds_option *option, const json_t *value) {
    char key[64];
    (void)snprintf(key, sizeof key, "%s_sha256", option->name);
    const char *digest = json_string_value(json_object_get(all->recorded, key));
    const bool known = all->given != NULL && strcmp(all->given->option, option->name) == 0;
    if (known && digest != NULL && all->given->path != NULL) return ds_option_store(structure, option, all->given->path);
    if (known && digest != NULL)
        return ds_fail(DS_ERR_USAGE, "it was made with --%s, a file of SHA-256 %.16s...: give that file with --%s",
                       option->name, DS_SHOW(digest), option->name);
    return ds_fail(DS_ERR_USAGE, "it was made with --%s %s, a file that this one may not open and whose digest it does not say",
                   option->name, DS_SHOW(json_is_string(value) ? json_string_value(value) : ""));
}

static ds_status recall(void *context, const ds_option *option, bool common) {
    const recalling *all = context;
    const json_t *value = find(all->recorded, option->name);
    void *structure = common ? (void *)all->common : all->own;
    char number[32];
    if (value == NULL || json_is_null(value) || (common && strcmp(option->name, "shadow") != 0)) return DS_OK;
    if (names_a_file(option)) return recall_file(all, structure, option, value);
    if (option->kind == DS_OPTION_FLAG && json_is_boolean(value))
        return json_is_true(value) ? ds_option_store(structure, option, NULL) : DS_OK;
    if (json_is_string(value) && (option->kind == DS_OPTION_TEXT || option->kind == DS_OPTION_CHOICE))
        return ds_option_store(structure, option, json_string_value(value));
    if (json_is_integer(value) && option->kind == DS_OPTION_COUNT) {
        if (json_integer_value(value) == 0) return DS_OK; /* not asked for */
        (void)snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
        return ds_option_store(structure, option, number);
    }
    if (json_is_number(value) && (option->kind == DS_OPTION_TOLERANCE || option->kind == DS_OPTION_REAL))
        return ds_option_store(structure, option, ds_format_real(number, json_number_value(value)));
    return ds_fail(DS_ERR_USAGE, "its recorded option %s is not of the kind that --%s takes", option->name, option->name);
}

ds_status ds_command_recall(void *own, ds_common *common, const ds_command *command, const json_t *recorded,
                            const ds_given_file *given) {
    recalling all = {own, common, recorded, given};
    *common = (ds_common){.precision = "float"};
    if (command->own_size != 0) memcpy(own, command->defaults, command->own_size);
    return ds_command_each_option(command, recall, &all);
}
