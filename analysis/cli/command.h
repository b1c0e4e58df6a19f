/* analysis: one binary, many commands. A command is a row of the table in command_table.c: what it is called, what it accepts,
 * what it does. Help, shell completion and the manual page are made from these rows, so that they cannot disagree with the
 * parser. */
#ifndef DELTASCOPE_CLI_COMMAND_H
#define DELTASCOPE_CLI_COMMAND_H

#include "deltascope/claims.h"
#include "deltascope/report.h"
#include "deltascope/run.h"

typedef enum ds_option_kind {
    DS_OPTION_FLAG,      /* bool */
    DS_OPTION_TEXT,      /* const char * */
    DS_OPTION_COUNT,     /* ds_count: a whole number >= `minimum` */
    DS_OPTION_TOLERANCE, /* double: at least 0, below 1/2 */
    DS_OPTION_REAL,      /* double: finite */
    DS_OPTION_TIME,      /* double: seconds, above 0; given as "90", "90s", "45m" or "1.5h" */
    DS_OPTION_LIST,      /* ds_words: may be given several times */
    DS_OPTION_CHOICE,    /* const char *: one of the words of `argument`, separated by | */
} ds_option_kind;

/* A whole number that may not have been given. */
typedef struct ds_count {
    uint64_t value;
    bool given;
} ds_count;

/* The values of an option that may be given several times, in order. */
enum { DS_MOST_WORDS = 64 };
typedef struct ds_words {
    const char *at[DS_MOST_WORDS];
    size_t count;
} ds_words;

typedef struct ds_option {
    const char *name;     /* without the dashes */
    const char *argument; /* "FILE", "N", "float|double"; NULL for a flag */
    const char *help;     /* no full stop; ends with the default in parentheses where there is one; "*" stands for `words` */
    ds_option_kind kind;
    size_t offset; /* of the value in the structure it is stored into */
    uint64_t minimum;
    /* Appends the words a list takes, `between` them, from the table that the parser of the list reads; NULL: no such list. */
    ds_status (*words)(ds_text *text, const char *between, const char *before_last);
} ds_option;
/* Appends the help as people read it. */
ds_status ds_option_help(ds_text *text, const ds_option *option) DS_MUST_CHECK;

/* Options every model command takes (CONTRACT). */
typedef struct ds_common {
    const char *config, *map, *tokens, *token_type, *text, *tokenizer, *spread, *precision, *json, *out, *columns, *sign;
    ds_count seq_len, sequences, offset, threads, seed, shadow;
    bool quiet, resume, dry_run;
    bool table; /* whether standard output takes a table: neither with --quiet nor when the result goes there */
} ds_common;

/* Which groups of common options a command takes. */
enum {
    DS_TAKES_CHECKPOINT = 1,   /* --config, --map, --precision */
    DS_TAKES_DATA = 2,         /* --tokens, --token-type, --text, --tokenizer, --sequences, --spread, --offset: required */
    DS_TAKES_LENGTH = 4,       /* --seq-len */
    DS_TAKES_OUTPUT = 8,       /* --threads, --json, --out, --columns, --sign, --quiet */
    DS_TAKES_RESUME = 16,      /* --resume: the command keeps a journal under --out */
    DS_DATA_OPTIONAL = 32,     /* beside DS_TAKES_DATA: some of the command's work needs no data */
    DS_TAKES_SHADOW = 64,      /* --shadow */
    DS_TAKES_HISTORIES = 128,  /* checkpoints of rules whose state is all that was written */
    DS_TAKES_STREAMS = 512,    /* and of those whose state is parallel streams */
    DS_TAKES_SEED = 256,       /* --seed */
    DS_TAKES_RANKS = 1024,     /* several processes that a launcher started */
    DS_TAKES_REHEARSAL = 2048, /* --dry-run */
    DS_TAKES_RUN = DS_TAKES_OUTPUT | DS_TAKES_SEED,
    DS_TAKES_MODEL = DS_TAKES_CHECKPOINT | DS_TAKES_DATA | DS_TAKES_LENGTH | DS_TAKES_RUN,
};

typedef struct ds_command ds_command;

/* A parsed command line. */
typedef struct ds_invocation {
    const ds_command *command;
    ds_common common;
    const void *own; /* the command's own options: the structure its table describes, defaults filled in */
    const char *const *operands;
    size_t operand_count;
    bool help;               /* only that was asked for: nothing else is checked, operands are not set */
    ds_ranks *ranks;         /* that work together; NULL: this process alone */
    const char *out_of_all;  /* what --out names, on every rank; common.out is NULL on all but number 0 */
    const ds_signer *signer; /* of --sign, opened before the work; or NULL */
    ds_folder **folder;      /* what --out names once ds_command_folder has opened it, until the program ends */
} ds_invocation;

/* Rows of a command's results that can be measured without the others: LIST, a list of objects, each with its name at KEY. */
typedef struct ds_command_rows {
    const char *list, *key;
    bool all_there_is;      /* the results are this list and nothing else */
    const char *options[2]; /* what `narrow` changes, as it is recorded; NULL: nothing */
    /* *names <- those that a measurement by these options has: a list of words, a new reference. NULL: it cannot be cut. */
    ds_status (*names)(json_t **names, const ds_run *run, const ds_invocation *invocation);
    /* Limits the measurement to the rows of these names (comma separated), maybe none; `claimed` is all that is claimed.
     * Both are borrowed. */
    void (*narrow)(void *own, const char *names, const json_t *claimed);
} ds_command_rows;

struct ds_command {
    const char *name;
    const char *operands; /* for the usage line, e.g. "CHECKPOINT" */
    size_t least_operands, most_operands;
    const char *summary;     /* one line, no full stop */
    const char *description; /* paragraphs for --help, separated by newlines; wrapped when printed */
    const char *examples;    /* command lines, one a line, each ending with a newline; or NULL */
    unsigned takes;          /* DS_TAKES_* */
    const ds_option *options;
    size_t option_count;
    const void *defaults; /* `own_size` bytes: the command's own options when none is given */
    size_t own_size;
    /* NULL, or flags of the command's own with which neither operand nor data are needed, separated by | ("list|recipe"). */
    const char *alone;
    /* Of every table it makes: what --columns chooses from. */
    const ds_column_set *column_sets;
    size_t column_set_count;
    /* NULL, or an option of the command's own (a list) that names what is worked on in place of operands. */
    const char *operands_option;
    /* The exit status; the sentence of a failure is stored. */
    ds_status (*run)(const ds_invocation *invocation);
    /* The same for --dry-run: with DS_TAKES_REHEARSAL, and then never NULL. */
    ds_status (*dry_run)(const ds_invocation *invocation);
    /* What it measures on an open run, by the invocation's options, as a report and a check measure it too; *options, *results:
     * new references. NULL: nothing that could be measured again. */
    ds_status (*measure)(json_t **options, json_t **results, ds_run *run, const ds_invocation *invocation,
                         const ds_journal_plan *journal);
    const ds_command_rows *rows; /* with `measure`: what of it can be measured by itself; NULL: it is whole or nothing */
};

extern const ds_command *const ds_commands[];
extern const size_t ds_command_count;

extern const ds_command ds_command_ablate;
extern const ds_command ds_command_bench;
extern const ds_command ds_command_check;
extern const ds_command ds_command_compare;
extern const ds_command ds_command_completion;
extern const ds_command ds_command_depth;
extern const ds_command ds_command_diff;
extern const ds_command ds_command_gates;
extern const ds_command ds_command_gradflow;
extern const ds_command ds_command_inspect;
extern const ds_command ds_command_man;
extern const ds_command ds_command_plot;
extern const ds_command ds_command_report;
extern const ds_command ds_command_spectrum;
extern const ds_command ds_command_study;
extern const ds_command ds_command_tokenize;
extern const ds_command ds_command_trace;
extern const ds_command ds_command_train;
extern const ds_command ds_command_verify;

const ds_command *ds_command_find(const char *name); /* NULL when there is none */
/* DS_ERR_USAGE: there is none of that name. */
ds_status ds_command_unknown(const char *name) DS_MUST_CHECK;

/* Calls visit for the command's common options, then its own; stops at and returns the first answer that is not DS_OK. */
typedef ds_status (*ds_option_visit)(void *context, const ds_option *option, bool common);
ds_status ds_command_each_option(const ds_command *command, ds_option_visit visit, void *context) DS_MUST_CHECK;

/* Parses argv[1..]; argv[0] is the command's name. `own` has command->own_size bytes. operands point into argv. */
ds_status ds_command_parse(ds_invocation *invocation, void *own, const ds_command *command, int argc,
                           char **argv) DS_MUST_CHECK;

/* What the caller gives for an option of a recorded command line that names a file. */
typedef struct ds_given_file {
    const char *option, *path; /* path NULL: nothing */
} ds_given_file;
/* Fills `own` (command->own_size bytes) and common->shadow with the options that a result of the command records, defaults
 * elsewhere. Strings are borrowed from `recorded`. A value that the command line would refuse is DS_ERR_USAGE. No file opens
 * another: for an option that names one, the path is the one given (NULL: none is), or else DS_ERR_USAGE. */
ds_status ds_command_recall(void *own, ds_common *common, const ds_command *command, const json_t *recorded,
                            const ds_given_file *given) DS_MUST_CHECK;

/* Help of one command, and of the program, as plain text of at most 79 columns. */
ds_status ds_help_command(ds_text *text, const ds_command *command) DS_MUST_CHECK;
ds_status ds_help_program(ds_text *text) DS_MUST_CHECK;
/* The manual page, in roff (man macros). */
ds_status ds_manual_page(ds_text *page) DS_MUST_CHECK;
/* What both say of the program: paragraphs separated by newlines; the meaning of each exit status. */
extern const char ds_help_description[];
extern const char ds_help_ranks[]; /* of every command that several processes can share */
extern const char *const ds_exit_statuses[];
extern const size_t ds_exit_status_count;

#endif
