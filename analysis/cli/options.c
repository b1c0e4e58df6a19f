/* The option parser, driven by the tables of the commands. getopt_long does the splitting; types and ranges are checked here.
 */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/option_value.h"

/* What getopt_long returns for option i is FIRST_OPTION + i, which no letter is. */
enum { MAX_OPTIONS = 64, FIRST_OPTION = 256, HELP = FIRST_OPTION + MAX_OPTIONS };

#define COMMON(field) offsetof(ds_common, field)
#define LENGTH_OF(array) (sizeof(array) / sizeof(array)[0])

static const ds_option checkpoint_options[] = {
    {"config", "FILE", "configuration of a single weight file (config.json beside it, or what a training checkpoint holds)",
     DS_OPTION_TEXT, COMMON(config), 0, NULL},
    {"map", "FILE", "names in the checkpoint to ours, as inspect --draft-map drafts it", DS_OPTION_TEXT, COMMON(map), 0, NULL},
    {"precision", "float|double", "arithmetic of the model itself (float)", DS_OPTION_CHOICE, COMMON(precision), 0, NULL},
};
static const ds_option data_options[] = {
    {"tokens", "FILE", "token ids: raw little-endian uint16, a headered shard, or .npy", DS_OPTION_TEXT, COMMON(tokens), 0,
     NULL},
    {"token-type", "u16|u32|i32|i64", "how a raw file of token ids stores them, where its bytes do not tell (u16)",
     DS_OPTION_CHOICE, COMMON(token_type), 0, NULL},
    {"text", "FILE", "text instead of token ids, - is standard input; needs --tokenizer", DS_OPTION_TEXT, COMMON(text), 0,
     NULL},
    {"tokenizer", "PATH", "a nanoGPT meta.pkl, a tokenizer.json, or a folder with one or with vocab.json and merges.txt",
     DS_OPTION_TEXT, COMMON(tokenizer), 0, NULL},
    {"sequences", "N", "how many windows (all that fit, at most 64)", DS_OPTION_COUNT, COMMON(sequences), 1, NULL},
    {"spread", "even|random|consecutive",
     "how they lie in the file: evenly over all of it, drawn by --seed, or one after another (even)", DS_OPTION_CHOICE,
     COMMON(spread), 0, NULL},
    {"offset", "O", "windows one after another from this token on", DS_OPTION_COUNT, COMMON(offset), 0, NULL},
};
static const ds_option length_options[] = {
    {"seq-len", "T", "window length; windows do not overlap (block_size)", DS_OPTION_COUNT, COMMON(seq_len), 1, NULL},
};
static const ds_option thread_options[] = {
    {"threads", "N", "worker threads; results do not depend on it (all cores)", DS_OPTION_COUNT, COMMON(threads), 1, NULL},
};
static const ds_option seed_options[] = {
    {"seed", "N", "seed of everything random: windows, samples, bootstrap (0)", DS_OPTION_COUNT, COMMON(seed), 0, NULL},
};
static const ds_option output_options[] = {
    {"json", "FILE", "write the machine-readable result; - is standard output, in place of the table", DS_OPTION_TEXT,
     COMMON(json), 0, NULL},
    {"out", "DIR", "a folder for result, tables and figures", DS_OPTION_TEXT, COMMON(out), 0, NULL},
    {"columns", "LIST", "columns of the tables and their order, by the names in the CSV files: beta_mean,loss (all)",
     DS_OPTION_TEXT, COMMON(columns), 0, NULL},
    {"sign", "FILE", "sign the result with this private Ed25519 key in PEM, - is standard input", DS_OPTION_TEXT, COMMON(sign),
     0, NULL},
    {"quiet", NULL, "no progress and no table", DS_OPTION_FLAG, COMMON(quiet), 0, NULL},
};
static const ds_option resume_options[] = {
    {"resume", NULL, "go on where an interrupted run with the same --out stopped", DS_OPTION_FLAG, COMMON(resume), 0, NULL},
};
static const ds_option rehearsal_options[] = {
    {"dry-run", NULL, "tell from a short rehearsal how long it would take, what it would read and hold, and run nothing",
     DS_OPTION_FLAG, COMMON(dry_run), 0, NULL},
};

static const ds_option shadow_options[] = {
    {"shadow", "N", "repeat N windows in double and report the float run's errors", DS_OPTION_COUNT, COMMON(shadow), 1, NULL},
};

ds_status ds_option_help(ds_text *text, const ds_option *option) {
    ds_status status = DS_OK;
    const char *mark = option->words == NULL ? NULL : strchr(option->help, '*');
    if (mark == NULL) return ds_text_append(text, option->help, strlen(option->help));
    DS_TRY(ds_text_append(text, option->help, (size_t)(mark - option->help)));
    DS_TRY(option->words(text, ", ", ", "));
    DS_TRY(ds_text_append(text, mark + 1, strlen(mark + 1)));
done:
    return status;
}

static const struct {
    unsigned group;
    const ds_option *options;
    size_t count;
} groups[] = {
    {DS_TAKES_CHECKPOINT, checkpoint_options, LENGTH_OF(checkpoint_options)},
    {DS_TAKES_DATA, data_options, LENGTH_OF(data_options)},
    {DS_TAKES_LENGTH, length_options, LENGTH_OF(length_options)},
    {DS_TAKES_OUTPUT, thread_options, LENGTH_OF(thread_options)},
    {DS_TAKES_SEED, seed_options, LENGTH_OF(seed_options)},
    {DS_TAKES_OUTPUT, output_options, LENGTH_OF(output_options)},
    {DS_TAKES_SHADOW, shadow_options, LENGTH_OF(shadow_options)},
    {DS_TAKES_RESUME, resume_options, LENGTH_OF(resume_options)},
    {DS_TAKES_REHEARSAL, rehearsal_options, LENGTH_OF(rehearsal_options)},
};

ds_status ds_command_each_option(const ds_command *command, ds_option_visit visit, void *context) {
    ds_status status = DS_OK;
    for (size_t g = 0; g < LENGTH_OF(groups); g++) {
        if (!(command->takes & groups[g].group)) continue;
        for (size_t i = 0; i < groups[g].count; i++) DS_TRY(visit(context, &groups[g].options[i], true));
    }
    for (size_t i = 0; i < command->option_count; i++) DS_TRY(visit(context, &command->options[i], false));
done:
    return status;
}

typedef struct option_list {
    struct {
        const ds_option *option;
        bool common;
    } entries[MAX_OPTIONS];
    struct option getopt_table[MAX_OPTIONS + 2]; /* with --help; ends with a zeroed entry */
    size_t count;
} option_list;

static ds_status collect(void *context, const ds_option *option, bool common) {
    option_list *list = context;
    if (list->count == MAX_OPTIONS) return ds_fail(DS_ERR_SYSTEM, "more than %d options", MAX_OPTIONS);
    list->entries[list->count].option = option;
    list->entries[list->count].common = common;
    list->getopt_table[list->count] = (struct option){option->name, option->argument == NULL ? no_argument : required_argument,
                                                      NULL, FIRST_OPTION + (int)list->count};
    list->count++;
    return DS_OK;
}

static ds_status parse_count(ds_count *count, const ds_option *option, const char *value) {
    char *end;
    errno = 0;
    unsigned long long number = strtoull(value, &end, 10);
    bool digits = value[0] >= '0' && value[0] <= '9'; /* strtoull would take a sign or white space */
    if (!digits || *end != '\0' || errno != 0 || number < option->minimum)
        return ds_fail(DS_ERR_USAGE, "--%s takes a whole number of at least %llu, not \"%s\"", option->name,
                       (unsigned long long)option->minimum, DS_SHOW(value));
    *count = (ds_count){number, true};
    return DS_OK;
}

static ds_status parse_choice(const char **choice, const ds_option *option, const char *value) {
    size_t length = strlen(value);
    ds_guess guess = {.word = value, .length = length};
    for (const char *at = option->argument; at != NULL; at = strchr(at, '|')) {
        at += *at == '|';
        if (strcspn(at, "|") == length && memcmp(at, value, length) == 0) {
            *choice = value;
            return DS_OK;
        }
        ds_guess_offer(&guess, at, strcspn(at, "|"));
    }
    return ds_fail(DS_ERR_USAGE, "--%s takes %s, not \"%s\"%s", option->name, option->argument, DS_SHOW(value),
                   ds_guess_hint(&guess, "").text);
}

static ds_status parse_real(double *real, const ds_option *option, const char *value) {
    char *end;
    double number = strtod(value, &end);
    if (end == value || *end != '\0' || !isfinite(number))
        return ds_fail(DS_ERR_USAGE, "--%s takes a finite number, not \"%s\"", option->name, DS_SHOW(value));
    *real = number;
    return DS_OK;
}

static ds_status parse_tolerance(double *tolerance, const ds_option *option, const char *value) {
    char *end;
    double number = strtod(value, &end);
    if (end == value || *end != '\0' || !(number >= 0 && number < 0.5))
        return ds_fail(DS_ERR_USAGE, "--%s takes a number from 0 to below 0.5, not \"%s\"", option->name, DS_SHOW(value));
    *tolerance = number;
    return DS_OK;
}

static ds_status parse_time(double *seconds, const ds_option *option, const char *value) {
    char *end;
    double number = strtod(value, &end);
    const char unit = *end == '\0' ? 's' : *end;
    const bool alone = *end == '\0' || end[1] == '\0';
    if (end == value || !alone || strchr("smh", unit) == NULL || !(number > 0 && number < 1e12))
        return ds_fail(DS_ERR_USAGE, "--%s takes seconds, or a number with s, m or h, such as 45m, not \"%s\"", option->name,
                       DS_SHOW(value));
    *seconds = number * (unit == 'h' ? 3600 : unit == 'm' ? 60 : 1);
    return DS_OK;
}

static ds_status add_word(ds_words *words, const ds_option *option, const char *value) {
    if (words->count == DS_MOST_WORDS)
        return ds_fail(DS_ERR_USAGE, "--%s is given more than %d times", option->name, DS_MOST_WORDS);
    words->at[words->count++] = value;
    return DS_OK;
}

ds_status ds_option_store(void *structure, const ds_option *option, const char *value) {
    void *target = (char *)structure + option->offset;
    switch (option->kind) {
    case DS_OPTION_FLAG:
        *(bool *)target = true;
        return DS_OK;
    case DS_OPTION_TEXT:
        if (value[0] == '\0') return ds_fail(DS_ERR_USAGE, "--%s takes %s, not an empty word", option->name, option->argument);
        *(const char **)target = value;
        return DS_OK;
    case DS_OPTION_LIST:
        return add_word(target, option, value);
    case DS_OPTION_COUNT:
        return parse_count(target, option, value);
    case DS_OPTION_REAL:
        return parse_real(target, option, value);
    case DS_OPTION_TIME:
        return parse_time(target, option, value);
    case DS_OPTION_TOLERANCE:
        return parse_tolerance(target, option, value);
    case DS_OPTION_CHOICE:
        return parse_choice(target, option, value);
    }
    return ds_fail(DS_ERR_USAGE, "--%s has no known kind", option->name);
}

/* Whether one of the flags that stand alone was given. */
static bool stands_alone(const ds_command *command, const void *own) {
    for (size_t i = 0; command->alone != NULL && i < command->option_count; i++) {
        const ds_option *option = &command->options[i];
        if (option->kind != DS_OPTION_FLAG || !*(const bool *)((const char *)own + option->offset)) continue;
        for (const char *word = command->alone; word != NULL; word = strchr(word, '|')) {
            word += *word == '|';
            if (strcspn(word, "|") == strlen(option->name) && strncmp(word, option->name, strlen(option->name)) == 0)
                return true;
        }
    }
    return false;
}

/* Whether an option names what operands would. */
static bool replaces_operands(const ds_command *command, const void *own) {
    for (size_t i = 0; command->operands_option != NULL && i < command->option_count; i++) {
        const ds_option *option = &command->options[i];
        if (strcmp(option->name, command->operands_option) == 0)
            return ((const ds_words *)(const void *)((const char *)own + option->offset))->count != 0;
    }
    return false;
}

static ds_status check_operands(const ds_command *command, const ds_invocation *invocation) {
    if (replaces_operands(command, invocation->own)) {
        if (invocation->operand_count == 0) return DS_OK;
        return ds_fail(DS_ERR_USAGE, "\"%s\" is one argument too many: --%s names everything %s works on",
                       DS_SHOW(invocation->operands[0]), command->operands_option, command->name);
    }
    if (invocation->operand_count < command->least_operands)
        return ds_fail(DS_ERR_USAGE, "%s needs %s; see \"deltascope %s --help\"", command->name, command->operands,
                       command->name);
    if (invocation->operand_count > command->most_operands)
        return ds_fail(DS_ERR_USAGE, "\"%s\" is one argument too many for %s",
                       DS_SHOW(invocation->operands[command->most_operands]), command->name);
    return DS_OK;
}

static ds_status check_invocation(const ds_command *command, const ds_invocation *invocation) {
    ds_status status = DS_OK;
    if (stands_alone(command, invocation->own)) return DS_OK;
    DS_TRY(check_operands(command, invocation));
    const ds_common *common = &invocation->common;
    if (common->shadow.given && strcmp(common->precision, "double") == 0)
        return ds_fail(DS_ERR_USAGE, "--shadow estimates the errors of a float run: leave out --precision double");
    if (common->sign != NULL && common->json == NULL && common->out == NULL)
        return ds_fail(DS_ERR_USAGE, "--sign signs the result that --json or --out writes: give one of them too");
    if (common->resume && common->out == NULL)
        return ds_fail(DS_ERR_USAGE, "--resume needs --out DIR, the folder of the run to go on with");
    if (!(command->takes & DS_TAKES_DATA)) return DS_OK;
    bool none = common->tokens == NULL && common->text == NULL && common->tokenizer == NULL;
    if (none && (command->takes & DS_DATA_OPTIONAL) && !common->shadow.given) return DS_OK;
    if ((common->tokens == NULL) == (common->text == NULL))
        return ds_fail(DS_ERR_USAGE, "%s needs either --tokens FILE or --text FILE with --tokenizer PATH", command->name);
    if (common->token_type != NULL && common->tokens == NULL)
        return ds_fail(DS_ERR_USAGE, "--token-type says what --tokens FILE holds: it goes with no other");
    if ((common->text == NULL) != (common->tokenizer == NULL))
        return ds_fail(DS_ERR_USAGE, "--text and --tokenizer go together");
    if (common->offset.given && common->spread != NULL && strcmp(common->spread, "consecutive") != 0)
        return ds_fail(DS_ERR_USAGE, "--offset asks for consecutive windows: leave out --spread %s", common->spread);
done:
    return status;
}

/* ---- words that are no option ------------------------------------------------------------------------------------ */

/* What getopt_long stopped at: a long option, or letters behind one dash, which it leaves when it has taken the last. */
static const char *word_refused(int argc, char **argv) {
    const char *word = argv[optind - 1];
    bool letter = optopt > 0 && optopt < FIRST_OPTION, whole = word[0] == '-' && word[1] == (char)optopt && word[2] == '\0';
    return letter && !whole && optind < argc ? argv[optind] : word;
}

/* The start of several names. */
static ds_status refuse_start(const option_list *list, const char *start, size_t length) {
    ds_status status = DS_OK;
    ds_text names = {0};
    for (size_t i = 0; list->getopt_table[i].name != NULL; i++) {
        if (strncmp(list->getopt_table[i].name, start, length) == 0)
            DS_TRY(ds_text_printf(&names, "%s--%s", names.length == 0 ? "" : ", ", list->getopt_table[i].name));
    }
    status = ds_fail(DS_ERR_USAGE, "\"--%s\" is the start of several options: %s", ds_escape(start, length).text, names.bytes);
done:
    ds_text_release(&names);
    return status;
}

static ds_status refuse_option(const option_list *list, const ds_command *command, const char *word) {
    const char *name = word + strspn(word, "-");
    ds_guess guess = {.word = name, .length = strcspn(name, "=")};
    size_t starts = 0;
    for (size_t i = 0; list->getopt_table[i].name != NULL; i++) {
        ds_guess_offer(&guess, list->getopt_table[i].name, strlen(list->getopt_table[i].name));
        starts += strncmp(list->getopt_table[i].name, name, guess.length) == 0;
    }
    if (optopt >= FIRST_OPTION) return ds_fail(DS_ERR_USAGE, "\"%s\": the option takes no value", DS_SHOW(word));
    if (optopt == 0 && starts > 1) return refuse_start(list, name, guess.length);
    return ds_fail(DS_ERR_USAGE, "%s does not know the option \"%s\"%s; \"deltascope %s --help\" lists them", command->name,
                   ds_escape(word, (size_t)(name - word) + guess.length).text, ds_guess_hint(&guess, "--").text, command->name);
}

ds_status ds_command_parse(ds_invocation *invocation, void *own, const ds_command *command, int argc, char **argv) {
    ds_status status = DS_OK;
    option_list list = {.count = 0};
    *invocation = (ds_invocation){.command = command, .common = {.precision = "float"}, .own = own};
    if (command->own_size != 0) memcpy(own, command->defaults, command->own_size);
    DS_TRY(ds_command_each_option(command, collect, &list));
    list.getopt_table[list.count] = (struct option){"help", no_argument, NULL, HELP};
    optind = 0; /* glibc: start afresh, also when tests parse several command lines */
    opterr = 0;
    int found;
    while ((found = getopt_long(argc, argv, ":h", list.getopt_table, NULL)) != -1) {
        if (found == HELP || found == 'h') {
            invocation->help = true;
            return DS_OK;
        }
        const char *word = word_refused(argc, argv);
        if (found == '?') return refuse_option(&list, command, word);
        if (found == ':') return ds_fail(DS_ERR_USAGE, "\"%s\" needs a value", DS_SHOW(word));
        found -= FIRST_OPTION;
        DS_TRY(ds_option_store(list.entries[found].common ? (void *)&invocation->common : own, list.entries[found].option,
                               optarg));
    }
    invocation->operands = (const char *const *)&argv[optind];
    invocation->operand_count = (size_t)(argc - optind);
    ds_common *common = &invocation->common;
    common->table = !common->quiet && (common->json == NULL || strcmp(common->json, "-") != 0);
    DS_TRY(check_invocation(command, invocation));
done:
    return status;
}
