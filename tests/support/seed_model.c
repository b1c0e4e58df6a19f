#include "seed_model.h"

#include <stdio.h>
#include <unistd.h>

#include "child.h"
#include "scratch.h"
#include "support.h"

const char *seed_model(const char *rule, unsigned seed) {
    static child trained;
    char name[64], folder[512], set_rule[64], set_seed[64];
    (void)snprintf(name, sizeof name, "%s-%u", rule, seed);
    (void)snprintf(folder, sizeof folder, "%s", scratch_path(name));
    (void)snprintf(name, sizeof name, "%s-%u/checkpoint-2", rule, seed);
    const char *path = scratch_path(name);
    if (access(path, F_OK) == 0) return path;
    (void)snprintf(set_rule, sizeof set_rule, "rule=%s", rule);
    (void)snprintf(set_seed, sizeof set_seed, "data_seed=%u", seed);
    CHILD_RUN(&trained, (child_limits){0}, "train", "--quiet", "--recipe", "fixtures/recipes/shakespeare.json", "--from",
              "fixtures/training/ddl-cc-ec/initial", "--tokens", "fixtures/training/train-tokens.bin", "--val",
              "fixtures/training/val-tokens.bin", "--set", set_rule, "--set", set_seed, "--set", "steps=2", "--set",
              "seq_len=16", "--set", "val_windows=2", "--set", "batch=2", "--out", folder);
    if (trained.status != 0) fail_msg("training %s: %s", path, trained.err);
    return path;
}
