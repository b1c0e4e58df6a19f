#include "cli/standard_streams.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static bool write_fully(int descriptor, const char *bytes, size_t length) {
    while (length > 0) {
        ssize_t written = write(descriptor, bytes, length);
        if (written < 0 && errno != EINTR) return false;
        bytes += written < 0 ? 0 : written;
        length -= written < 0 ? 0 : (size_t)written;
    }
    return true;
}

/* ---- ASCII ------------------------------------------------------------------------------------------------------- */

/* What stands in front of a descriptor: a character may arrive in two pieces. */
typedef struct filter {
    int descriptor;
    char begun[4]; /* of a character whose end has not come yet */
    size_t count;
} filter;

/* How many bytes at the end begin a character and do not end it. */
static size_t unfinished(const char *bytes, size_t length) {
    for (size_t back = 1; back <= 3 && back <= length; back++) {
        unsigned char lead = (unsigned char)bytes[length - back];
        size_t needed = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
        if ((lead & 0xC0) != 0x80) return needed > back ? back : 0;
    }
    return 0;
}

/* Nothing is allocated: the sentence that says there is no memory comes this way. */
static bool write_ascii(int descriptor, const char *bytes, size_t length) {
    char out[4096], spelling[DS_ASCII_SPELLING];
    size_t used = 0;
    for (size_t at = 0; at < length;) {
        if (used + DS_ASCII_SPELLING > sizeof out) {
            if (!write_fully(descriptor, out, used)) return false;
            used = 0;
        }
        if ((unsigned char)bytes[at] < 0x80) {
            out[used++] = bytes[at++];
            continue;
        }
        at += ds_ascii_spelling(spelling, bytes + at, length - at);
        memcpy(out + used, spelling, strlen(spelling));
        used += strlen(spelling);
    }
    return write_fully(descriptor, out, used);
}

static ssize_t write_filtered(void *cookie, const char *bytes, size_t length) {
    filter *f = cookie;
    size_t taken = 0;
    while (f->count > 0 && taken < length && ((unsigned char)bytes[taken] & 0xC0) == 0x80 && f->count < sizeof f->begun)
        f->begun[f->count++] = bytes[taken++];
    if (f->count > 0 && unfinished(f->begun, f->count) == f->count && taken == length) return (ssize_t)length;
    size_t rest = unfinished(bytes + taken, length - taken);
    bool written =
        write_ascii(f->descriptor, f->begun, f->count) && write_ascii(f->descriptor, bytes + taken, length - taken - rest);
    f->count = rest;
    memcpy(f->begun, bytes + length - rest, rest);
    return written ? (ssize_t)length : 0;
}

static FILE *filtered(filter *f) { return fopencookie(f, "w", (cookie_io_functions_t){.write = write_filtered}); }

ds_status ds_standard_streams_begin(void) {
    static filter filters[] = {{.descriptor = STDOUT_FILENO}, {.descriptor = STDERR_FILENO}};
    if (ds_output_terminal().unicode) return DS_OK;
    FILE *output = filtered(&filters[0]), *error = filtered(&filters[1]);
    if (output == NULL || error == NULL) return ds_fail(DS_ERR_SYSTEM, "out of memory for the standard streams");
    (void)setvbuf(output, NULL, isatty(STDOUT_FILENO) ? _IOLBF : _IOFBF, BUFSIZ);
    (void)setvbuf(error, NULL, _IONBF, 0);
    stdout = output;
    stderr = error;
    return DS_OK;
}

/* ---- output ------------------------------------------------------------------------------------------------------ */

static int looked_at = STDOUT_FILENO;

void ds_standard_output_is_passed_on(void) { looked_at = -1; }
ds_terminal ds_output_terminal(void) { return ds_terminal_of(looked_at); }

ds_status ds_print_table(const ds_table *table) {
    ds_status status = DS_OK;
    ds_text text = {0};
    const ds_terminal terminal = ds_output_terminal();
    DS_TRY(ds_table_format_text(&text, table, DS_TABLE_TERMINAL, &terminal));
    if (fwrite(text.bytes, 1, text.length, stdout) != text.length || fflush(stdout) != 0)
        status = ds_fail(DS_ERR_SYSTEM, "standard output could not be written in full: %s", strerror(errno));
done:
    ds_text_release(&text);
    return status;
}

ds_status ds_standard_output_write(const char *bytes, size_t length) {
    if (fflush(stdout) == 0 && write_fully(STDOUT_FILENO, bytes, length)) return DS_OK;
    return ds_fail(DS_ERR_SYSTEM, "standard output could not be written in full: %s", strerror(errno));
}

static int first_error = STDERR_FILENO;

ds_status ds_standard_output_silence(void) {
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC), kept = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    bool silent = nowhere >= 0 && dup2(nowhere, STDOUT_FILENO) >= 0 && dup2(nowhere, STDERR_FILENO) >= 0;
    int error = errno;
    if (nowhere >= 0) (void)close(nowhere);
    if (kept >= 0) first_error = kept;
    return silent ? DS_OK : ds_fail(DS_ERR_SYSTEM, "standard output cannot be silenced: %s", strerror(error));
}

void ds_last_words(const char *bytes, size_t length) { (void)write_fully(first_error, bytes, length); }

bool ds_standard_output_is_unread(void) {
    struct pollfd output = {.fd = STDOUT_FILENO, .events = POLLOUT};
    int error = errno;
    bool unread = poll(&output, 1, 0) == 1 && (output.revents & POLLERR) != 0;
    errno = error;
    return unread;
}

/* ---- input ------------------------------------------------------------------------------------------------------- */

/* Into a file in memory that takes its place. */
static ds_status keep(void) {
    ds_status status = DS_OK;
    char chunk[1 << 16];
    ssize_t got;
    int copy = memfd_create("standard input", MFD_CLOEXEC);
    bool kept = copy >= 0;
    while (kept && (got = read(STDIN_FILENO, chunk, sizeof chunk)) != 0) {
        if (got < 0 && errno == EINTR) continue;
        kept = got > 0 && write_fully(copy, chunk, (size_t)got);
    }
    kept = kept && dup2(copy, STDIN_FILENO) == STDIN_FILENO;
    if (!kept) status = ds_fail(DS_ERR_SYSTEM, "standard input could not be read: %s", strerror(errno));
    if (copy >= 0) (void)close(copy);
    return status;
}

typedef struct texts {
    ds_common *common;
    void *own;
} texts;

static ds_status keep_if_asked(void *context, const ds_option *option, bool common) {
    const texts *all = context;
    static const char *const kept = "/dev/stdin";
    char *place = (char *)(common ? (void *)all->common : all->own) + option->offset;
    const char *value;
    ds_status status = DS_OK;
    if (option->kind != DS_OPTION_TEXT || strncmp(option->name, "text", 4) != 0) return DS_OK;
    memcpy(&value, place, sizeof value);
    if (value == NULL || strcmp(value, "-") != 0) return DS_OK;
    DS_TRY(keep());
    memcpy(place, &kept, sizeof kept);
done:
    return status;
}

ds_status ds_standard_input_keep(ds_invocation *invocation, void *own) {
    texts all = {&invocation->common, own};
    return ds_command_each_option(invocation->command, keep_if_asked, &all);
}
