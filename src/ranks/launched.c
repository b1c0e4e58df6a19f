/* Whether a launcher started this process among several, and then the plug-in that carries their messages. */
#include <dlfcn.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "messages.h"
#include "transport_mpi.h"

/* How many processes were started together: what Open MPI, MPICH's Hydra and Slurm tell each of them. */
static unsigned long launched_together(void) {
    static const char *const sizes[][2] = {{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},
                                           {"PMI_RANK", "PMI_SIZE"},
                                           {"PMI_RANK", "SLURM_NTASKS"},
                                           {"PMIX_RANK", "SLURM_NTASKS"}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const char *size = getenv(sizes[i][1]);
        if (getenv(sizes[i][0]) != NULL && size != NULL) return strtoul(size, NULL, 10);
    }
    return 1;
}

/* Beside the program, where the build leaves it; in lib/ beside the program's bin/; where the system looks for libraries. MPI's
 * own plug-ins need to see it: its symbols are everybody's. */
static void *load_plugin(void) {
    static const char *const places[] = {"", "../lib/"};
    char program[PATH_MAX], path[PATH_MAX + sizeof DS_MPI_PLUGIN + 16];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    void *plugin = NULL;
    if (length > 0) {
        program[length] = '\0';
        const char *folder = dirname(program);
        for (size_t i = 0; plugin == NULL && i < sizeof places / sizeof *places; i++) {
            (void)snprintf(path, sizeof path, "%s/%s%s", folder, places[i], DS_MPI_PLUGIN);
            if (access(path, F_OK) == 0) plugin = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
        }
    }
    return plugin != NULL ? plugin : dlopen(DS_MPI_PLUGIN, RTLD_NOW | RTLD_GLOBAL);
}

/* Everybody learns where everybody runs. */
static ds_status meet(ds_ranks *ranks) {
    ds_status status = DS_OK;
    size_t count = ranks->transport.count, length = count * sizeof(ds_place);
    ds_place here = {.process = getpid()}, *places = NULL;
    void *all = NULL;
    (void)gethostname(here.machine, sizeof here.machine - 1);
    if (ranks->transport.number == 0) {
        DS_NEW(places, count);
        places[0] = here;
        for (size_t heard = 1; heard < count; heard++) {
            ds_message message;
            DS_TRY(ds_hear_next(ranks, &message));
            if (message.kind == DS_SAY_HERE && message.length == sizeof here)
                memcpy(&places[message.from], message.bytes, sizeof here);
            free(message.bytes);
        }
        all = places;
    } else {
        DS_TRY(ds_say(ranks, 0, DS_SAY_HERE, &here, sizeof here));
    }
    DS_TRY(ds_ranks_share(ranks, &all, &length));
    if (length == count * sizeof(ds_place)) ranks->places = all;
    places = NULL;
done:
    free(places);
    return status;
}

size_t ds_ranks_gone(const ds_ranks *ranks) {
    size_t count = ds_ranks_count(ranks), r = 0;
    if (ranks == NULL || ranks->places == NULL) return count;
    const ds_place *places = ranks->places, *here = &places[ranks->transport.number];
    for (; r < count; r++) {
        bool near = strncmp(places[r].machine, here->machine, sizeof here->machine) == 0;
        if (near && kill((pid_t)places[r].process, 0) != 0 && errno == ESRCH) break;
    }
    return r;
}

ds_status ds_ranks_open(ds_ranks **out) {
    ds_transport transport;
    ds_transport_begin *begin = NULL;
    unsigned long together = launched_together();
    *out = NULL;
    if (together < 2) return DS_OK;
    void *plugin = load_plugin(), *entry = plugin == NULL ? NULL : dlsym(plugin, DS_MPI_ENTRY);
    if (entry == NULL)
        return ds_fail(DS_ERR_SYSTEM,
                       "started as one of %lu processes, but this deltascope has no MPI to join them: %s; build it where "
                       "libopenmpi-dev is installed, or start one process",
                       together, dlerror());
    memcpy(&begin, &entry, sizeof begin);
    const char *problem = begin(&transport);
    if (problem != NULL)
        return ds_fail(DS_ERR_SYSTEM, "started as one of %lu processes, but MPI cannot join them: %s", together, problem);
    ds_status status = ds_ranks_over(out, &transport);
    return status == DS_OK ? meet(*out) : status;
}
