/* Inputs are known by device and inode, so that no spelling and no link hides one from an output. */
#include "cli/outputs.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "deltascope/measure/checkpoint_groups.h"

enum { MAX_VALUES = 96 };

/* One path on the command line: an option's value, or an operand (option NULL). */
typedef struct value {
    const ds_option *option;
    const char *path;
} value;

typedef struct files {
    const ds_invocation *invocation;
    value outputs[MAX_VALUES], inputs[MAX_VALUES];
    size_t output_count, input_count;
    const char *folder;          /* of --out, or NULL */
    ds_checkpoint_groups groups; /* of --group: their paths are inputs */
} files;

static ds_status too_many(void) { return ds_fail(DS_ERR_USAGE, "more than %d files on one command line", MAX_VALUES); }

static bool is_named(const ds_option *option, const char *name) { return strcmp(option->name, name) == 0; }

static ds_status take_groups(files *all, const ds_option *option) {
    ds_status status = DS_OK;
    const ds_words *words = (const void *)((const char *)all->invocation->own + option->offset);
    DS_TRY(ds_checkpoint_groups_parse(&all->groups, words->at, words->count));
    for (size_t i = 0; i < all->groups.path_count; i++) {
        if (all->input_count == MAX_VALUES) return too_many();
        all->inputs[all->input_count++] = (value){option, all->groups.paths[i]};
    }
done:
    return status;
}

/* Paths are the values of options that say so. */
static ds_status sort_option(void *context, const ds_option *option, bool common) {
    files *all = context;
    if (option->kind == DS_OPTION_LIST && strncmp(option->argument, "NAME=CHECKPOINT", 15) == 0)
        return take_groups(all, option);
    if (option->kind != DS_OPTION_TEXT || (strncmp(option->argument, "FILE", 4) != 0 && strcmp(option->argument, "PATH") != 0 &&
                                           strcmp(option->argument, "DIR") != 0))
        return DS_OK;
    const char *base = common ? (const char *)&all->invocation->common : all->invocation->own, *path;
    memcpy(&path, base + option->offset, sizeof path);
    bool output = is_named(option, "json") || is_named(option, "per-token") || is_named(option, "output") ||
                  is_named(option, "draft-map");
    if (path == NULL || (output && strcmp(path, "-") == 0)) return DS_OK;
    if (is_named(option, "out")) {
        all->folder = path;
        return DS_OK;
    }
    size_t *count = output ? &all->output_count : &all->input_count;
    if (*count == MAX_VALUES) return too_many();
    (output ? all->outputs : all->inputs)[(*count)++] = (value){option, path};
    return DS_OK;
}

static bool same(const struct stat *a, const struct stat *b) { return a->st_dev == b->st_dev && a->st_ino == b->st_ino; }

static bool ends_with(const char *name, const char *ending) {
    size_t length = strlen(name), most = strlen(ending);
    return length >= most && strcmp(name + length - most, ending) == 0;
}

static bool is_listed(const char *const *names, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) return true;
    }
    return false;
}

/* What is read of a folder: weights, their index, configuration, vocabulary. Results that lie beside them are not. */
static bool is_read_of_folder(const char *name) {
    static const char *const endings[] = {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".index.json"};
    static const char *const whole[] = {"config.json",  "vocab.json", "merges.txt",
                                        "encoder.json", "vocab.bpe",  "tokenizer.json"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        if (ends_with(name, endings[i])) return true;
    }
    return is_listed(whole, sizeof whole / sizeof *whole, name);
}

/* Whether `output` is the file `path`, the configuration beside it, or what is read of the folder `path`. */
static ds_status is_input(bool *found, const struct stat *output, const char *path) {
    ds_status status = DS_OK;
    struct stat info;
    ds_text inside = {0};
    const char *slash = strrchr(path, '/');
    *found = false;
    if (stat(path, &info) != 0) return DS_OK;
    if (!S_ISDIR(info.st_mode)) {
        *found = same(&info, output);
        DS_TRY(ds_text_printf(&inside, "%.*sconfig.json", slash == NULL ? 0 : (int)(slash + 1 - path), path));
        if (stat(inside.bytes, &info) == 0) *found |= same(&info, output);
        goto done;
    }
    DIR *folder = opendir(path);
    for (struct dirent *entry = NULL; folder != NULL && !*found && (entry = readdir(folder)) != NULL;) {
        if (!is_read_of_folder(entry->d_name)) continue;
        inside.length = 0;
        status = ds_text_printf(&inside, "%s/%s", path, entry->d_name);
        if (status != DS_OK) break;
        *found = stat(inside.bytes, &info) == 0 && same(&info, output);
    }
    if (folder != NULL) (void)closedir(folder);
done:
    ds_text_release(&inside);
    return status;
}

/* An output at `path`, if there is a file now: with `follow`, what a link leads to. */
static ds_status check_output(const files *all, const char *path, bool follow) {
    ds_status status = DS_OK;
    struct stat output;
    bool found = false;
    if ((follow ? stat(path, &output) : lstat(path, &output)) != 0 || !S_ISREG(output.st_mode)) return DS_OK;
    for (size_t i = 0; i < all->input_count; i++) {
        DS_TRY(is_input(&found, &output, all->inputs[i].path));
        if (!found) continue;
        const ds_option *option = all->inputs[i].option;
        status = ds_fail(DS_ERR_USAGE, "%s: would be written over, and is an input of this run (%s%s): choose another place",
                         DS_SHOW(path), option == NULL ? "" : "--",
                         option == NULL ? all->invocation->command->operands : option->name);
        goto done;
    }
done:
    return status;
}

/* Whether the command writes a file of that name into the folder, `place` being "" or one of its own sub-folders. */
static bool writes(const ds_invocation *invocation, const char *place, const char *name) {
    const char *command = invocation->command->name;
    static const char *const pictures[] = {".tsv", ".gp", ".svg", ".pdf", ".png", ".tex"};
    static const char *const logs[] = {"log.jsonl", "log.csv", "gates.csv", "main.log", "report.html", "report.md"};
    size_t length = strlen(command);
    if (strcmp(command, "train") == 0 && is_listed(logs, sizeof logs / sizeof *logs, name)) return true;
    if (strcmp(command, "train") == 0 && strcmp(name, "recipe.json") == 0) return !invocation->common.resume;
    /* study looks itself: a study.json that it is given is read alone, a plan of that name must not be written over */
    if (strcmp(command, "study") == 0 && place[0] == '\0') return false;
    if (strcmp(command, "plot") != 0) return place[0] != '\0' || (strncmp(name, command, length) == 0 && name[length] == '.');
    for (size_t i = 0; place[0] == '\0' && i < sizeof pictures / sizeof *pictures; i++) {
        if (ends_with(name, pictures[i])) return true;
    }
    return false;
}

static ds_status check_place(const files *all, const char *place) {
    ds_status status = DS_OK;
    ds_text path = {0};
    DS_TRY(ds_text_printf(&path, "%s/%s", all->folder, place));
    DIR *entries = opendir(path.bytes);
    for (struct dirent *entry = NULL; entries != NULL && status == DS_OK && (entry = readdir(entries)) != NULL;) {
        if (!writes(all->invocation, place, entry->d_name)) continue;
        path.length = 0;
        status = ds_text_printf(&path, "%s%s%s/%s", all->folder, place[0] == '\0' ? "" : "/", place, entry->d_name);
        if (status == DS_OK) status = check_output(all, path.bytes, false);
    }
    if (entries != NULL) (void)closedir(entries);
done:
    ds_text_release(&path);
    return status;
}

/* A finished report's sums hold until the next report: no other command writes among its files. */
static ds_status check_report(const files *all) {
    static const char *const lists[] = {"report.sha256", "../report.sha256"};
    const char *command = all->invocation->command->name;
    ds_status status = DS_OK;
    ds_text path = {0};
    char *real = realpath(all->folder, NULL);
    bool inner = real != NULL && (ends_with(real, "/figures") || ends_with(real, "/tables") || ends_with(real, "/results"));
    for (size_t i = 0; i < 2 && strcmp(command, "report") != 0; i++) {
        struct stat info;
        if (i == 0 ? strcmp(command, "plot") == 0 : !inner) continue; /* plot writes beside the listed files */
        path.length = 0;
        DS_TRY(ds_text_printf(&path, "%s/%s", all->folder, lists[i]));
        if (lstat(path.bytes, &info) != 0) continue;
        status = ds_fail(
            DS_ERR_USAGE,
            "%s: a finished report lies there, and %s would change files its report.sha256 lists: choose another folder",
            DS_SHOW(all->folder), command);
        break;
    }
done:
    free(real);
    ds_text_release(&path);
    return status;
}

ds_status ds_outputs_check(const ds_invocation *invocation) {
    static const char *const places[] = {"", "tables", "figures", "results"};
    ds_status status = DS_OK;
    files all = {.invocation = invocation};
    DS_TRY(ds_command_each_option(invocation->command, sort_option, &all));
    for (size_t i = 0; i < invocation->operand_count; i++) {
        if (all.input_count == MAX_VALUES) break; /* of so many, the last are results that plot reads */
        all.inputs[all.input_count++] = (value){NULL, invocation->operands[i]};
    }
    for (size_t i = 0; i < all.output_count; i++) {
        DS_TRY(ds_outfile_check(all.outputs[i].path));
        DS_TRY(check_output(&all, all.outputs[i].path, true));
    }
    if (all.folder == NULL) goto done;
    DS_TRY(ds_folder_check(all.folder));
    DS_TRY(check_report(&all));
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) DS_TRY(check_place(&all, places[i]));
done:
    ds_checkpoint_groups_release(&all.groups);
    return status;
}
