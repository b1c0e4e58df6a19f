/* Messages over MPI. The only file that includes mpi.h; built as a plug-in of its own, which calls nothing of the library. */
#include <limits.h>
#include <stdio.h>

#include <mpi.h>

#include "transport_mpi.h"

static char sentence[MPI_MAX_ERROR_STRING + 64];

static int failed(int code, const char *what) {
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    if (code == MPI_SUCCESS) return 0;
    (void)MPI_Error_string(code, text, &length);
    (void)snprintf(sentence, sizeof sentence, "%s: %s", what, text);
    return 1;
}

static int send_bytes(void *context, size_t to, int kind, const void *bytes, size_t length) {
    (void)context;
    if (length > INT_MAX) {
        (void)snprintf(sentence, sizeof sentence, "a message of %zu bytes is longer than MPI carries, %d", length, INT_MAX);
        return 1;
    }
    return failed(MPI_Send(bytes, (int)length, MPI_BYTE, (int)to, kind, MPI_COMM_WORLD), "MPI_Send");
}

static int probe(void *context, int *there, size_t *from, int *kind, size_t *length) {
    MPI_Status found;
    int count = 0;
    (void)context;
    if (failed(MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, there, &found), "MPI_Iprobe") != 0) return 1;
    if (!*there) return 0;
    if (failed(MPI_Get_count(&found, MPI_BYTE, &count), "MPI_Get_count") != 0) return 1;
    *from = (size_t)found.MPI_SOURCE;
    *kind = found.MPI_TAG;
    *length = (size_t)count;
    return 0;
}

static int receive(void *context, size_t from, int kind, void *bytes, size_t length) {
    (void)context;
    return failed(MPI_Recv(bytes, (int)length, MPI_BYTE, (int)from, kind, MPI_COMM_WORLD, MPI_STATUS_IGNORE), "MPI_Recv");
}

static const char *problem(void *context) {
    (void)context;
    return sentence;
}

static void end(void *context) {
    (void)context;
    (void)MPI_Finalize();
}

/* Several threads may call, one at a time: number 0 hands work out on a thread of its own. */
__attribute__((visibility("default"))) ds_transport_begin ds_transport_mpi;
const char *ds_transport_mpi(ds_transport *out) {
    int given = 0, number = 0, count = 0;
    if (failed(MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &given), "MPI_Init_thread") != 0) return sentence;
    if (given < MPI_THREAD_SERIALIZED) return "this MPI was built without threads";
    if (failed(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler") != 0 ||
        failed(MPI_Comm_rank(MPI_COMM_WORLD, &number), "MPI_Comm_rank") != 0 ||
        failed(MPI_Comm_size(MPI_COMM_WORLD, &count), "MPI_Comm_size") != 0)
        return sentence;
    *out = (ds_transport){.number = (size_t)number,
                          .count = (size_t)count,
                          .send = send_bytes,
                          .probe = probe,
                          .receive = receive,
                          .problem = problem,
                          .close = end};
    return NULL;
}
