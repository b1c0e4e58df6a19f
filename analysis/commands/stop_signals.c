#include "stop_signals.h"

#include <signal.h>

static volatile sig_atomic_t asked_to_stop; /* the signal */

static void note_signal(int number) { asked_to_stop = number; }

bool ds_stop_asked(void *context) {
    (void)context;
    return asked_to_stop != 0;
}

void ds_stop_watch(void) {
    static const int signals[] = {SIGINT, SIGTERM};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        const struct sigaction action = {.sa_handler = note_signal};
        struct sigaction before;
        if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler == SIG_IGN) continue;
        (void)sigaction(signals[i], &action, NULL);
    }
}

ds_status ds_stop_end(void) {
    (void)signal(asked_to_stop, SIG_DFL);
    (void)raise(asked_to_stop);
    return DS_ERR_SYSTEM;
}
