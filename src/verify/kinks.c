#include "kinks.h"

#include <stdlib.h>

static bool has_kink(ds_activation activation) { return activation == DS_ACT_RELU || activation == DS_ACT_ELU1; }

static void look(ds_kinks *kinks, ds_bounded y, size_t heads, ds_activation activation) {
    size_t count = kinks->plain.length * heads * kinks->plain.spec->head_dim;
    for (size_t i = 0; i < count && has_kink(activation); i++, kinks->at++) {
        signed char side = (signed char)((y.x[i] > 0) - (y.x[i] < 0));
        if (kinks->recording)
            kinks->sides[kinks->at] = side;
        else
            kinks->crossed = kinks->crossed || kinks->sides[kinks->at] != side;
    }
}

static ds_status watch_sublayer(void *context, const ds_observation *seen) {
    ds_status status = DS_OK;
    ds_kinks *kinks = context;
    const ds_spec *spec = kinks->plain.spec;
    for (size_t w = 0; w < kinks->windows && seen->sublayer % 2 == 0; w++) {
        DS_TRY(ds_plain_read_window(&kinks->plain, w, seen->before, seen->sublayer));
        DS_TRY(ds_plain_projections(&kinks->plain, seen->sublayer / 2));
        look(kinks, kinks->plain.query, spec->heads, spec->q_activation);
        look(kinks, kinks->plain.key, ds_spec_kv_heads(spec), spec->k_activation);
        look(kinks, kinks->plain.value, ds_spec_kv_heads(spec), spec->v_activation);
    }
done:
    return status;
}

ds_status ds_kinks_init(ds_kinks *kinks, const ds_model *model, const ds_batch *batch) {
    ds_status status = DS_OK;
    const ds_spec *spec = ds_model_spec(model);
    *kinks = (ds_kinks){.windows = batch->sequences, .observer = {DS_OBSERVE_STATES, watch_sublayer, kinks}};
    kinks->any = has_kink(spec->q_activation) || has_kink(spec->k_activation) || has_kink(spec->v_activation);
    if (!kinks->any) return DS_OK;
    DS_TRY(ds_plain_init(&kinks->plain, model, batch->length));
    DS_NEW_ARRAY(kinks->sides, spec->layers * batch->sequences * 3 * batch->length * spec->heads * spec->head_dim);
done:
    return status;
}

void ds_kinks_release(ds_kinks *kinks) {
    ds_plain_release(&kinks->plain);
    free(kinks->sides);
}

void ds_kinks_record(ds_kinks *kinks) { kinks->recording = true; }

void ds_kinks_compare(ds_kinks *kinks) { kinks->recording = kinks->crossed = false; }

const ds_observer *ds_kinks_watch(ds_kinks *kinks) {
    kinks->at = 0;
    return kinks->any ? &kinks->observer : NULL;
}
