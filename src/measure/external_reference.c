#include "deltascope/measure/external_reference.h"

#include <stdlib.h>

/* Hooks see the residual state in the published layout (B,T,d,dv). */
const char ds_reference_recipe[] =
    "# Dumps what `deltascope verify --reference ref.safetensors` compares: the first B windows of T tokens.\n"
    "import numpy, torch\n"
    "from safetensors.torch import save_file\n"
    "def dump(model, bin_path, B, T, path, states=(), dtype=numpy.uint16):  # dtype: of --token-type\n"
    "    # states: modules, in order, whose output (or its first item) is the residual state X_1, X_2, ...\n"
    "    ids = torch.from_numpy(numpy.fromfile(bin_path, dtype, B * T + 1).astype(numpy.int64))\n"
    "    x, y = ids[:-1].view(B, T), ids[1:].view(B, T)\n"
    "    out, model = {}, model.double().eval()\n"
    "    for n, module in enumerate(states, 1):\n"
    "        module.register_forward_hook(lambda m, i, o, n=n: out.__setitem__(\n"
    "            f'states.{n}', (o[0] if isinstance(o, tuple) else o).detach().clone()))\n"
    "    logits = model(x, y)[0]  # called with targets, nanoGPT-style models return all positions\n"
    "    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())\n"
    "    loss.backward()\n"
    "    out.update(logits=logits.detach(), loss=loss.detach())\n"
    "    out.update({f'grad.{n}': p.grad for n, p in model.named_parameters() if p.grad is not None})\n"
    "    save_file({n: t.contiguous() for n, t in out.items()}, path)\n";

ds_status ds_reference_run(ds_reference **reference, ds_check_result **results, ds_run *run, const ds_model *exact,
                           const char *path) {
    ds_status status = DS_OK;
    ds_model *moved = NULL;
    uint32_t *inputs = NULL, *targets = NULL;
    size_t sequences, length;
    DS_TRY(ds_reference_open(reference, path, exact));
    ds_reference_windows(*reference, &sequences, &length);
    if (length != 0 && (length != run->length || sequences > run->sequences)) {
        status = ds_fail(DS_ERR_INPUT,
                         "%s: found %zu windows of %zu tokens, expected at most %zu of %zu: see --sequences, --seq-len", path,
                         sequences, length, run->sequences, run->length);
        goto done;
    }
    if (length == 0) sequences = run->sequences;
    DS_NEW(inputs, sequences * run->length);
    DS_NEW(targets, sequences * run->length);
    DS_TRY(ds_run_read_windows(run, inputs, targets, 0, sequences));
    DS_TRY(ds_model_load(&moved, run->checkpoint, DS_F64));
    DS_NEW(*results, ds_reference_count(*reference));
    const ds_batch batch = {inputs, targets, sequences, run->length};
    DS_TRY(ds_reference_compare(*results, *reference, exact, moved, &batch, run->options.seed));
done:
    ds_model_free(&moved);
    free(inputs);
    free(targets);
    return status;
}
