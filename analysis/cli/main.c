/* The program: finds the command, parses its options, runs it, and turns failures into one sentence and an exit status. */
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/columns.h"
#include "cli/command.h"
#include "cli/outputs.h"
#include "cli/standard_streams.h"
#include "cli/version.h"
#include "deltascope/run.h"

static ds_ranks *among; /* the ranks of this process */

/* A launcher that lost a rank ends the others with SIGTERM: number 0 names the lost one, number 1 a lost number 0. The others
 * give it the time to look, since whoever is gone by then looks lost. */
static void name_lost_rank(void) {
    static const char before[] = "deltascope: rank ";
    static const char after[] = " has died; what was finished is in the journal, if --out kept one\n";
    char digits[20], text[sizeof before + sizeof digits + sizeof after];
    size_t number = ds_ranks_number(among), lost = ds_ranks_gone(among), count = 0, used = sizeof before - 1;
    const struct timespec moment = {.tv_nsec = 200000000};
    if (number > 1 || (number == 1 && lost != 0)) (void)nanosleep(&moment, NULL);
    if (number > 1 || lost >= ds_ranks_count(among) || (number == 1 && lost != 0)) return;
    memcpy(text, before, used);
    do digits[count++] = (char)('0' + lost % 10);
    while ((lost /= 10) > 0);
    while (count > 0) text[used++] = digits[--count];
    memcpy(text + used, after, sizeof after - 1);
    ds_last_words(text, used + sizeof after - 1);
}

/* Unfinished files are removed; then the signal does what it always does, so that the caller sees why the program ended. */
static void clean_up_and_die(int signal_number) {
    ds_outfile_discard_all();
    ds_helper_discard_all();
    if (signal_number == SIGTERM) name_lost_rank();
    (void)signal(signal_number, SIG_DFL);
    (void)raise(signal_number);
}

/* "| head" has seen enough: the end that every other program has there. Another pipe's failure is told by who writes to it. */
static void end_if_nobody_reads(int signal_number) {
    if (ds_standard_output_is_unread()) clean_up_and_die(signal_number);
}

/* The same for a library that cannot go on and cannot return. Two threads may come here: the first one speaks. */
static void say_and_end(void) {
    static atomic_flag said = ATOMIC_FLAG_INIT;
    while (atomic_flag_test_and_set(&said)) (void)pause();
    ds_outfile_discard_all();
    ds_helper_discard_all();
    (void)fprintf(stderr, "deltascope: %s\n", ds_error_text());
    _exit(DS_ERR_SYSTEM);
}

static void install_handlers(void) {
    const int fatal[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++) {
        struct sigaction action = {.sa_handler = fatal[i] == SIGPIPE ? end_if_nobody_reads : clean_up_and_die};
        struct sigaction before;
        /* what the caller chose to ignore (nohup) stays ignored */
        if (sigaction(fatal[i], NULL, &before) == 0 && before.sa_handler == SIG_IGN) continue;
        (void)sigaction(fatal[i], &action, NULL);
    }
    ds_give_up_handler(say_and_end);
    (void)signal(SIGXFSZ, SIG_IGN); /* a file that may not grow (ulimit -f) is a write error like any other: exit status 4 */
}

static ds_status print_text(ds_status status, ds_text *text) {
    if (status == DS_OK) (void)fwrite(text->bytes, 1, text->length, stdout);
    ds_text_release(text);
    return status;
}

static ds_status print_program_help(void) {
    ds_text text = {0};
    return print_text(ds_help_program(&text), &text);
}

static ds_status print_command_help(const ds_command *command) {
    ds_text text = {0};
    return print_text(ds_help_command(&text, command), &text);
}

static ds_status print_version(void) {
    ds_text text = {0};
    return print_text(ds_version_text(&text), &text);
}

/* A key that cannot be used is better found before the hours than after them. */
static ds_status open_signer(ds_signer **signer, ds_invocation *invocation) {
    ds_status status = DS_OK;
    const ds_common *common = &invocation->common;
    if (common->sign == NULL) return DS_OK;
    if (strcmp(common->sign, "-") == 0 && common->text != NULL && strcmp(common->text, "-") == 0)
        return ds_fail(DS_ERR_USAGE, "--sign and --text cannot both be read from standard input");
    DS_TRY(ds_signer_open(signer, common->sign));
    invocation->signer = *signer;
    if (ds_signer_is_exposed(*signer))
        (void)fprintf(stderr, "deltascope: warning: %s: others than its owner have rights to this key: chmod 600 it\n",
                      DS_SHOW(common->sign));
done:
    return status;
}

/* Number 0 speaks and writes; the others compute, in silence. */
static ds_status join_ranks(ds_invocation *invocation, ds_ranks *ranks) {
    ds_common *common = &invocation->common;
    invocation->ranks = ranks;
    invocation->out_of_all = common->out;
    if (ranks == NULL) return DS_OK;
    if ((invocation->command->takes & DS_TAKES_RANKS) == 0)
        return ds_fail(DS_ERR_USAGE, "%s runs in one process, and %zu were started together", invocation->command->name,
                       ds_ranks_count(ranks));
    if (common->text != NULL && strcmp(common->text, "-") == 0)
        return ds_fail(DS_ERR_USAGE, "--text -: %zu processes cannot read one standard input; give the text as a file",
                       ds_ranks_count(ranks));
    if (ds_ranks_number(ranks) == 0) return DS_OK;
    common->json = common->out = common->sign = NULL;
    common->table = common->resume = false;
    common->quiet = true;
    return DS_OK;
}

/* A rehearsal is number 0's alone. */
static ds_status begin(const ds_invocation *invocation) {
    const ds_command *command = invocation->command;
    if (!invocation->common.dry_run) return command->run(invocation);
    return ds_ranks_number(invocation->ranks) > 0 ? DS_OK : command->dry_run(invocation);
}

static ds_status run_command(const ds_command *command, int argc, char **argv, ds_ranks *ranks) {
    void *own = ds_calloc(command->own_size, 1);
    if (own == NULL) return DS_ERR_SYSTEM;
    ds_invocation invocation;
    ds_folder *folder = NULL;
    ds_signer *signer = NULL;
    ds_status outcome = ds_command_parse(&invocation, own, command, argc, argv);
    invocation.folder = &folder;
    if (outcome == DS_OK && invocation.help) {
        free(own);
        return print_command_help(command);
    }
    if (outcome == DS_OK) outcome = join_ranks(&invocation, ranks);
    if (outcome == DS_OK && invocation.common.threads.given) outcome = ds_threads_set(invocation.common.threads.value);
    if (outcome == DS_OK) outcome = ds_columns_check(&invocation);
    if (outcome == DS_OK) outcome = ds_outputs_check(&invocation); /* better found before the hours than after them */
    if (outcome == DS_OK) outcome = open_signer(&signer, &invocation);
    if (outcome == DS_OK) outcome = ds_standard_input_keep(&invocation, own);
    if (outcome == DS_OK) outcome = begin(&invocation);
    ds_signer_close(&signer);
    ds_folder_close(&folder);
    free(own);
    ds_threads_stop();
    return outcome;
}

static ds_status dispatch(int argc, char **argv, ds_ranks *ranks) {
    if (argc < 2) return ds_fail(DS_ERR_USAGE, "a command is missing; \"deltascope --help\" lists them");
    const char *word = argv[1];
    if (strcmp(word, "--version") == 0) return print_version();
    bool help = strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0;
    if (help && argc == 2) return print_program_help();
    if (help) word = argv[2];
    const ds_command *command = ds_command_find(word);
    if (command == NULL) return ds_command_unknown(word);
    return help ? print_command_help(command) : run_command(command, argc - 1, argv + 1, ranks);
}

/* Among several processes only number 0 is heard. */
static ds_status begin_ranks(ds_ranks **ranks) {
    ds_status status = DS_OK;
    DS_TRY(ds_ranks_open(ranks));
    if (*ranks != NULL) ds_standard_output_is_passed_on();
    if (ds_ranks_number(*ranks) > 0) DS_TRY(ds_standard_output_silence());
done:
    return status;
}

int main(int argc, char **argv) {
    ds_status outcome = ds_standard_streams_begin();
    install_handlers();
    ds_process_hooks();
    if (outcome == DS_OK) outcome = begin_ranks(&among);
    bool heard = ds_ranks_number(among) == 0;
    if (outcome == DS_OK) outcome = dispatch(argc, argv, among);
    if (outcome <= DS_CHECK_FAILED && (fflush(stdout) != 0 || ferror(stdout)))
        outcome = ds_fail(DS_ERR_SYSTEM, "standard output could not be written in full");
    outcome = ds_ranks_close(&among, outcome);
    if (outcome > DS_CHECK_FAILED) (void)fprintf(stderr, "deltascope: %s\n", ds_error_text());
    return heard ? (int)outcome : 0; /* the launcher tells number 0's */
}
