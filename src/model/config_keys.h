/* Keys of other programs' configurations that say what is computed. The published configuration classes take any key and use
 * their own, so a fork may have put such a key there and computed accordingly. One table: what it asks for must be what is
 * computed here. Private to model. */
#ifndef DELTASCOPE_MODEL_CONFIG_KEYS_H
#define DELTASCOPE_MODEL_CONFIG_KEYS_H

#include "config.h"

/* A row of the table: keys with one meaning. */
typedef struct ds_foreign_keys {
    const char *names;     /* "a|b|c" */
    const char *supported; /* what they may say, for sentences and for README.md; null is always fine */
} ds_foreign_keys;
size_t ds_foreign_count(void);
ds_foreign_keys ds_foreign_at(size_t index);

/* DS_ERR_INPUT for the first key whose value asks for other arithmetic than that of `spec`. */
ds_status ds_foreign_check(const json_t *object, const ds_config *config, const ds_spec *spec, const char *where) DS_MUST_CHECK;
/* Tells of keys that mean nothing anywhere but are spelled nearly like one that does, the first 8 of them. */
ds_status ds_config_misspellings(const json_t *object, ds_tell tell, void *context) DS_MUST_CHECK;

#endif
