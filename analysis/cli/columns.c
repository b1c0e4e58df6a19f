#include "cli/columns.h"

#include <string.h>

/* Calls visit with the key of each column the command's tables have, until it says true: then that is the answer. */
typedef bool (*key_visit)(void *context, const char *key);
static bool each_key(const ds_command *command, key_visit visit, void *context) {
    for (size_t s = 0; s < command->column_set_count; s++) {
        const ds_column_set *set = &command->column_sets[s];
        for (size_t c = 0; c < set->count; c++) {
            if (visit(context, ds_column_set_at(set, c)->key)) return true;
        }
    }
    return false;
}

static bool offer(void *context, const char *key) {
    ds_guess *guess = context;
    ds_guess_offer(guess, key, strlen(key));
    return ds_is_word(key, guess->word, guess->length);
}

/* Every name once. */
static bool append_name(void *context, const char *key) {
    ds_text *names = context;
    ds_text quoted = {0};
    if (ds_text_printf(&quoted, " %s,", key) == DS_OK && (names->length == 0 || strstr(names->bytes, quoted.bytes) == NULL))
        (void)!ds_text_append(names, quoted.bytes, quoted.length); /* without memory the list in the sentence is shorter */
    ds_text_release(&quoted);
    return false;
}

static ds_status refuse(const ds_command *command, const ds_guess *guess) {
    ds_text names = {0};
    if (command->column_set_count == 0)
        return ds_fail(DS_ERR_USAGE, "--columns: the tables of %s are written whole", command->name);
    (void)each_key(command, append_name, &names);
    const ds_status status = ds_fail(DS_ERR_USAGE, "--columns: no table of %s has a column \"%s\"%s; there are%.*s",
                                     command->name, ds_escape(guess->word, guess->length).text, ds_guess_hint(guess, "").text,
                                     names.length == 0 ? 0 : (int)names.length - 1, names.length == 0 ? "" : names.bytes);
    ds_text_release(&names);
    return status;
}

ds_status ds_columns_check(const ds_invocation *invocation) {
    const char *list = invocation->common.columns, *word;
    for (size_t length; ds_next_word(&list, &word, &length);) {
        ds_guess guess = {.word = word, .length = length};
        if (!each_key(invocation->command, offer, &guess)) return refuse(invocation->command, &guess);
        const char *rest = list, *other;
        for (size_t other_length; ds_next_word(&rest, &other, &other_length);) {
            if (other_length == length && memcmp(other, word, length) == 0)
                return ds_fail(DS_ERR_USAGE, "--columns names \"%.*s\" twice", (int)length, word);
        }
    }
    return DS_OK;
}

ds_status ds_columns_choose(const ds_invocation *invocation, ds_table *table) {
    return invocation->common.columns == NULL || table == NULL ? DS_OK : ds_table_choose(table, invocation->common.columns);
}
