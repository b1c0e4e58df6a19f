#include "deltascope/measure/checkpoint_groups.h"

#include <stdlib.h>
#include <string.h>

static ds_status refuse_twice(const ds_checkpoint_groups *all, const ds_checkpoint_group *group) {
    for (const ds_checkpoint_group *other = all->groups; other < group; other++) {
        if (strcmp(other->name, group->name) == 0)
            return ds_fail(DS_ERR_USAGE, "two groups are called \"%s\": give each variant's checkpoints once, in one group",
                           DS_SHOW(group->name));
    }
    for (size_t i = group->first; i < all->path_count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(all->paths[i], all->paths[j]) == 0)
                return ds_fail(DS_ERR_USAGE,
                               "group \"%s\": %s is named twice, and one training is one seed of one group: leave out one",
                               DS_SHOW(group->name), DS_SHOW(all->paths[i]));
        }
    }
    return DS_OK;
}

/* `word` is cut into its parts. */
static ds_status parse_group(ds_checkpoint_groups *all, ds_checkpoint_group *group, char *word) {
    char *equals = strchr(word, '=');
    if (equals == NULL || equals == word)
        return ds_fail(DS_ERR_USAGE, "group \"%s\": expected NAME=CHECKPOINT,CHECKPOINT,..., one checkpoint a seed",
                       DS_SHOW(word));
    *equals = '\0';
    group->name = word;
    group->first = all->path_count;
    for (char *path = equals + 1, *next; path != NULL; path = next) {
        next = strchr(path, ',');
        if (next != NULL) *next++ = '\0';
        if (path[0] == '\0')
            return ds_fail(DS_ERR_USAGE, "group \"%s\": checkpoint %zu has no name; commas stand between paths alone",
                           DS_SHOW(word), all->path_count - group->first + 1);
        all->paths[all->path_count++] = path;
    }
    group->count = all->path_count - group->first;
    if (group->count == 1)
        return ds_fail(DS_ERR_USAGE,
                       "group \"%s\" has one checkpoint: two seeds would give a mean and its 95%% interval of 9.0 standard "
                       "deviations either way, three one of 2.5, six one of 1.05; name the other seeds",
                       DS_SHOW(word));
    return refuse_twice(all, group);
}

ds_status ds_checkpoint_groups_parse(ds_checkpoint_groups *out, const char *const *words, size_t count) {
    ds_status status = DS_OK;
    size_t paths = count;
    *out = (ds_checkpoint_groups){.count = 0};
    for (size_t i = 0; i < count; i++) {
        for (const char *at = words[i]; (at = strchr(at, ',')) != NULL; at++) paths++;
    }
    DS_NEW(out->groups, count);
    DS_NEW(out->paths, paths);
    DS_NEW(out->words, count);
    for (; out->count < count; out->count++) {
        char *word = out->words[out->count] = ds_strdup(words[out->count]);
        if (word == NULL) {
            status = DS_ERR_SYSTEM;
            goto done;
        }
        DS_TRY(parse_group(out, &out->groups[out->count], word));
    }
done:
    if (status != DS_OK) {
        out->count += out->count < count; /* the one at work too */
        ds_checkpoint_groups_release(out);
    }
    return status;
}

void ds_checkpoint_groups_release(ds_checkpoint_groups *groups) {
    for (size_t i = 0; groups->words != NULL && i < groups->count; i++) free(groups->words[i]);
    free(groups->words);
    free(groups->paths);
    free(groups->groups);
    *groups = (ds_checkpoint_groups){.count = 0};
}
