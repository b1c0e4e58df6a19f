/* Messages between ranks: sending, waiting without a busy processor, failures told and remembered; and the end. */
#include "messages.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

ds_status ds_ranks_over(ds_ranks **out, const ds_transport *transport) {
    ds_status status = DS_OK;
    DS_NEW(*out, 1);
    (*out)->transport = *transport;
done:
    return status;
}

size_t ds_ranks_number(const ds_ranks *ranks) { return ranks == NULL ? 0 : ranks->transport.number; }
size_t ds_ranks_count(const ds_ranks *ranks) { return ranks == NULL ? 1 : ranks->transport.count; }

void ds_nap(unsigned *naps) {
    enum { SHORTEST = 20000, MOST_DOUBLED = 10 };
    const struct timespec time = {.tv_nsec = SHORTEST * (1 + (long)*naps)};
    if (*naps < MOST_DOUBLED) ++*naps;
    (void)nanosleep(&time, NULL);
}

ds_status ds_ranks_failure(const ds_ranks *ranks) {
    return ranks->failed == DS_OK ? DS_OK : ds_fail(ranks->failed, "%s", ranks->sentence);
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static ds_status transport_failure(const ds_ranks *ranks, const char *what, size_t other) {
    return ds_fail(DS_ERR_SYSTEM, "rank %zu: %s rank %zu: %s", ranks->transport.number, what, other,
                   ranks->transport.problem(ranks->transport.context));
}

ds_status ds_say(ds_ranks *ranks, size_t to, int kind, const void *bytes, size_t length) {
    if (ranks->transport.send(ranks->transport.context, to, kind, bytes, length) == 0) return DS_OK;
    return transport_failure(ranks, "nothing can be sent to", to);
}

ds_status ds_say_failure(ds_ranks *ranks, size_t to, ds_status failure) {
    ds_status status = DS_OK;
    ds_text text = {0};
    DS_TRY(ds_text_printf(&text, "%c%s", (char)failure, ds_error_text()));
    DS_TRY(ds_say(ranks, to, DS_SAY_FAILED, text.bytes, text.length));
done:
    ds_text_release(&text);
    return status;
}

/* Takes over the message's bytes. */
static ds_status remember_failure(ds_ranks *ranks, ds_message *message) {
    bool sound = message->length > 1 && message->bytes[0] > DS_OK && message->bytes[0] <= DS_ERR_SYSTEM;
    if (ranks->failed == DS_OK) {
        ranks->failed = sound ? (ds_status)message->bytes[0] : DS_ERR_SYSTEM;
        free(ranks->sentence);
        ranks->sentence = ds_strdup(sound ? message->bytes + 1 : "a rank failed and could not say why");
        if (ranks->sentence == NULL) ranks->failed = DS_OK;
    }
    free(message->bytes);
    *message = (ds_message){0};
    return ranks->failed == DS_OK ? DS_ERR_SYSTEM : ds_ranks_failure(ranks);
}

ds_status ds_hear(ds_ranks *ranks, bool *there, ds_message *message) {
    ds_status status = DS_OK;
    const ds_transport *by = &ranks->transport;
    int found = 0;
    *there = ranks->held.bytes != NULL;
    *message = ranks->held;
    ranks->held = (ds_message){0};
    if (*there) return DS_OK;
    if (by->probe(by->context, &found, &message->from, &message->kind, &message->length) != 0)
        return transport_failure(ranks, "nothing can be heard by", by->number);
    if (found == 0) return DS_OK;
    DS_NEW(message->bytes, message->length + 1);
    if (by->receive(by->context, message->from, message->kind, message->bytes, message->length) != 0) {
        free(message->bytes);
        return transport_failure(ranks, "a message was lost that came from", message->from);
    }
    *there = true;
    if (message->kind == DS_SAY_FAILED) status = remember_failure(ranks, message);
done:
    return status;
}

void ds_hear_again(ds_ranks *ranks, ds_message *message) {
    ranks->held = *message;
    *message = (ds_message){0};
}

ds_status ds_hear_next(ds_ranks *ranks, ds_message *message) {
    ds_status status = DS_OK;
    bool there = false;
    for (unsigned naps = 0;;) {
        DS_TRY(ds_hear(ranks, &there, message));
        if (there) break;
        ds_nap(&naps);
    }
done:
    return status;
}

/* ---- to all ------------------------------------------------------------------------------------------------------ */

/* A tree of doubling: rank r hears from r without its lowest bit, and hands on to r + 1, r + 2, r + 4 ... below that bit. */
ds_status ds_ranks_share(ds_ranks *ranks, void **bytes, size_t *length) {
    ds_status status = DS_OK;
    size_t number = ds_ranks_number(ranks), count = ds_ranks_count(ranks), step = 1;
    if (count == 1) return DS_OK;
    if (number != 0) {
        ds_message message;
        *bytes = NULL;
        do {
            DS_TRY(ds_hear_next(ranks, &message));
            if (message.kind != DS_SAY_SHARED) free(message.bytes);
        } while (message.kind != DS_SAY_SHARED);
        *bytes = message.bytes;
        *length = message.length;
    }
    DS_TRY(ds_ranks_failure(ranks));
    while ((number & step) == 0 && number + step < count) step *= 2;
    for (; step > 0; step /= 2) {
        if ((number & step) == 0 && number + step < count) DS_TRY(ds_say(ranks, number + step, DS_SAY_SHARED, *bytes, *length));
    }
done:
    return status;
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

/* What still comes is of no use any more; a failure among it has been told by who failed. */
static ds_status wait_for(ds_ranks *ranks, int kind, size_t times) {
    ds_status status = DS_OK;
    ds_message message;
    bool there;
    unsigned naps = 0;
    while (times > 0) {
        status = ds_hear(ranks, &there, &message);
        if (status != DS_OK && !there) return status; /* nothing can be heard at all */
        if (there && message.kind == kind) times--;
        if (there)
            naps = 0;
        else
            ds_nap(&naps);
        free(message.bytes);
    }
    return DS_OK;
}

static ds_status meet(ds_ranks *ranks, ds_status outcome) {
    ds_status status = DS_OK;
    size_t others = ranks->transport.count - 1;
    if (ranks->transport.number != 0) {
        if (outcome > DS_CHECK_FAILED) DS_TRY(ds_say_failure(ranks, 0, outcome));
        DS_TRY(ds_say(ranks, 0, DS_SAY_FINISHED, NULL, 0));
        DS_TRY(wait_for(ranks, DS_SAY_LEAVE, 1));
    } else {
        for (size_t r = 1; outcome > DS_CHECK_FAILED && r <= others; r++) DS_TRY(ds_say_failure(ranks, r, outcome));
        DS_TRY(wait_for(ranks, DS_SAY_FINISHED, others));
        for (size_t r = 1; r <= others; r++) DS_TRY(ds_say(ranks, r, DS_SAY_LEAVE, NULL, 0));
    }
done:
    return status;
}

ds_status ds_ranks_close(ds_ranks **pointer, ds_status outcome) {
    ds_status status = outcome;
    ds_ranks *ranks = *pointer;
    char *sentence = NULL;
    if (ranks == NULL) return outcome;
    if (outcome > DS_CHECK_FAILED) sentence = ds_strdup(ds_error_text());
    ds_status met = meet(ranks, outcome);
    if (met != DS_OK && outcome <= DS_CHECK_FAILED)
        status = met;
    else if (sentence != NULL)
        (void)ds_fail(outcome, "%s", sentence);
    if (met == DS_OK && ranks->transport.close != NULL) ranks->transport.close(ranks->transport.context);
    *pointer = NULL; /* a signal's handler may look */
    free(sentence);
    free(ranks->held.bytes);
    free(ranks->places);
    free(ranks->sentence);
    free(ranks);
    return status;
}
