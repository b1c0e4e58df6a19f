#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ablation.h"
#include "deltascope/delta.h"
#include "deltascope/gradient.h"

enum { FORWARD_RUNS = 5, BACKWARD_RUNS = 3, SPECTRUM_TOKENS = 256 };

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Random token ids: (windows, length) inputs and targets, freed by the caller. */
static ds_status random_batch(ds_batch *batch, uint32_t **ids, const ds_model *model, size_t windows, size_t length) {
    ds_status status = DS_OK;
    ds_random random = ds_random_init(7);
    *ids = NULL;
    DS_NEW(*ids, 2 * windows * length);
    for (size_t i = 0; i < 2 * windows * length; i++)
        (*ids)[i] = (uint32_t)ds_random_below(&random, ds_model_spec(model)->vocab);
    *batch = (ds_batch){*ids, *ids + windows * length, windows, length};
done:
    return status;
}

ds_status ds_bench_forward_run(ds_bench_forward *out, const ds_model *model, size_t length) {
    ds_status status = DS_OK;
    ds_workspace *workspace = NULL;
    double *nll = NULL, seconds[FORWARD_RUNS];
    uint32_t *ids = NULL;
    ds_batch batch;
    size_t windows = ds_batch_sequences(model, length);
    DS_TRY(random_batch(&batch, &ids, model, windows, length));
    DS_TRY(ds_workspace_new(&workspace, model, windows, length));
    DS_NEW(nll, windows * length);
    DS_TRY(ds_forward(workspace, model, &batch, NULL, NULL, nll)); /* touches every page once */
    for (size_t run = 0; run < FORWARD_RUNS; run++) {
        double start = ds_seconds();
        DS_TRY(ds_forward(workspace, model, &batch, NULL, NULL, nll));
        seconds[run] = ds_seconds() - start;
    }
    qsort(seconds, FORWARD_RUNS, sizeof *seconds, ascending);
    double tokens = (double)(windows * length);
    *out = (ds_bench_forward){seconds[FORWARD_RUNS / 2], windows * length,
                              tokens * ds_spec_forward_flops_per_token(ds_model_spec(model), length)};
done:
    ds_workspace_free(&workspace);
    free(nll);
    free(ids);
    return status;
}

ds_status ds_bench_backward_run(ds_bench_forward *out, const ds_model *model, size_t length) {
    ds_status status = DS_OK;
    ds_gradient *gradient = NULL;
    double *nll = NULL, seconds[BACKWARD_RUNS];
    uint32_t *ids = NULL;
    ds_batch batch;
    const ds_gradient_options options = {.parameters = true};
    size_t windows =
        ds_min_size(2, ds_batch_sequences(model, length)); /* what they leave for the backward pass fits in memory */
    double tokens = (double)(windows * length);
    DS_TRY(random_batch(&batch, &ids, model, windows, length));
    DS_TRY(ds_gradient_new(&gradient, model, windows, length, &options));
    DS_NEW(nll, windows * length);
    DS_TRY(ds_backward(gradient, &batch, NULL, 1 / tokens, NULL, nll));
    for (size_t run = 0; run < BACKWARD_RUNS; run++) {
        double start = ds_seconds();
        DS_TRY(ds_backward(gradient, &batch, NULL, 1 / tokens, NULL, nll));
        seconds[run] = ds_seconds() - start;
    }
    qsort(seconds, BACKWARD_RUNS, sizeof *seconds, ascending);
    *out = (ds_bench_forward){seconds[BACKWARD_RUNS / 2], windows * length,
                              3 * tokens * ds_spec_forward_flops_per_token(ds_model_spec(model), length)};
done:
    ds_gradient_free(&gradient);
    free(nll);
    free(ids);
    return status;
}

/* Operations of the output head's product per token: 2 d V. */
static double head_operations(const ds_spec *spec) { return 2.0 * (double)spec->hidden * (double)spec->vocab; }

ds_status ds_bench_sweep_run(ds_bench_sweep *out, const ds_model *model, size_t length, double forward_seconds_per_token) {
    ds_status status = DS_OK;
    ds_case_list list = {0};
    ds_ablation *ablation = NULL;
    ds_workspace *workspace = NULL;
    uint32_t *ids = NULL;
    double *baseline = NULL, *loss = NULL, *kl = NULL;
    const ds_spec *spec = ds_model_spec(model);
    ds_batch batch;
    DS_TRY(ds_case_list_parse(&list, spec, "closed", "each"));
    size_t windows = ds_ablation_sequences(model, &list, length);
    DS_TRY(random_batch(&batch, &ids, model, windows, length));
    DS_NEW(baseline, windows);
    DS_NEW(loss, windows * list.count);
    DS_NEW(kl, windows * list.count);
    DS_TRY(ds_workspace_new(&workspace, model, windows, length));
    DS_TRY(ds_ablation_new(&ablation, model, &list, windows, length));
    double start = ds_seconds();
    DS_TRY(ds_ablation_run(ablation, workspace, &batch, baseline, loss, kl, NULL, NULL));
    double seconds = ds_seconds() - start, forward = forward_seconds_per_token * (double)(windows * length);
    double head_share = head_operations(spec) / ds_spec_forward_flops_per_token(spec, length);
    *out = (ds_bench_sweep){list.count, seconds / forward, (double)list.count * (1 + head_share)};
done:
    ds_ablation_free(&ablation);
    ds_workspace_free(&workspace);
    ds_case_list_release(&list);
    free(baseline);
    free(loss);
    free(kl);
    free(ids);
    return status;
}

/* ---- accumulated spectra ---- */

typedef struct spectra {
    size_t hidden, sublayers, order;
    const double *k, *c; /* (S,d), (S): the same directions, rotated through the sublayers from token to token */
    ds_product **products;
    ds_product_solver **solvers;
    ds_complex *eigenvalues; /* (threads, S) */
    double *singular_values; /* (threads, S) */
} spectra;

static ds_status solve_token(void *context, size_t index, size_t worker) {
    spectra *task = context;
    ds_status status = DS_OK;
    ds_product *product = task->products[worker];
    ds_product_summary summary;
    ds_product_restart(product);
    for (size_t s = 0; s < task->sublayers; s++) {
        size_t from = (s + index) % task->sublayers;
        DS_TRY(ds_product_push(product, task->k + from * task->hidden, task->c[from]));
    }
    DS_TRY(ds_product_spectrum_estimate(task->eigenvalues + worker * task->sublayers, NULL,
                                        task->singular_values + worker * task->sublayers, NULL, &summary, product,
                                        task->solvers[worker]));
done:
    return status;
}

/* The d x d way: P built, then dgees and dgesdd. values get the S farthest from 1, in the order of the small problem. */
static ds_status solve_dense(double *seconds, double *difference, const spectra *task) {
    ds_status status = DS_OK;
    size_t d = task->hidden;
    double *matrix = NULL, *sigma = NULL;
    ds_complex *lambda = NULL;
    ds_eigen *eigen = NULL;
    ds_svd *svd = NULL;
    DS_NEW_ARRAY(matrix, d * d);
    DS_NEW(sigma, d);
    DS_NEW(lambda, d);
    DS_TRY(ds_eigen_new(&eigen, d));
    DS_TRY(ds_svd_new(&svd, d, d));
    double start = ds_seconds();
    ds_product_matrix(matrix, task->products[0]);
    DS_TRY(ds_eigenvalues_approx(lambda, NULL, matrix, d, eigen));
    DS_TRY(ds_singular_values_approx(sigma, matrix, d, d, svd));
    *seconds = ds_seconds() - start;
    *difference = 0;
    for (size_t i = 0; i < task->order; i++) { /* each small value is found among the d */
        double nearest_sigma = INFINITY, nearest_lambda = INFINITY;
        for (size_t j = 0; j < d; j++) {
            nearest_sigma = fmin(nearest_sigma, fabs(sigma[j] - task->singular_values[i]));
            nearest_lambda =
                fmin(nearest_lambda, hypot(lambda[j].re - task->eigenvalues[i].re, lambda[j].im - task->eigenvalues[i].im));
        }
        *difference = fmax(*difference, fmax(nearest_sigma, nearest_lambda));
    }
done:
    ds_eigen_free(&eigen);
    ds_svd_free(&svd);
    free(matrix);
    free(sigma);
    free(lambda);
    return status;
}

static ds_status random_directions(double **k, double **c, const ds_spec *spec, uint64_t seed) {
    ds_status status = DS_OK;
    size_t sublayers = ds_spec_sublayers(spec), d = spec->hidden;
    ds_random random = ds_random_init(seed);
    DS_NEW_ARRAY(*k, sublayers * d);
    DS_NEW(*c, sublayers);
    for (size_t s = 0; s < sublayers; s++) {
        double norm2 = 0;
        for (size_t i = 0; i < d; i++) {
            double x = ds_random_normal(&random);
            (*k)[s * d + i] = x;
            norm2 += x * x;
        }
        for (size_t i = 0; i < d; i++) (*k)[s * d + i] /= sqrt(norm2);
        (*c)[s] = 2 * ds_random_uniform(&random);
    }
done:
    return status;
}

ds_status ds_bench_spectrum_run(ds_bench_spectrum *out, const ds_spec *spec, uint64_t seed) {
    ds_status status = DS_OK;
    size_t threads = ds_threads(), sublayers = ds_spec_sublayers(spec);
    double *k = NULL, *c = NULL;
    spectra task = {.hidden = spec->hidden, .sublayers = sublayers, .order = ds_min_size(sublayers, spec->hidden)};
    DS_TRY(random_directions(&k, &c, spec, seed));
    task.k = k;
    task.c = c;
    DS_NEW(task.products, threads);
    DS_NEW(task.solvers, threads);
    DS_NEW(task.eigenvalues, threads * sublayers);
    DS_NEW(task.singular_values, threads * sublayers);
    for (size_t i = 0; i < threads; i++) {
        DS_TRY(ds_product_new(&task.products[i], spec->hidden, sublayers));
        DS_TRY(ds_product_solver_new(&task.solvers[i], spec->hidden, sublayers));
    }
    double start = ds_seconds();
    DS_TRY(ds_parallel_for(SPECTRUM_TOKENS, solve_token, &task));
    double seconds = ds_seconds() - start, dense = 0, difference = 0, one = ds_seconds();
    for (size_t i = 0; i <= SPECTRUM_TOKENS / threads; i++) DS_TRY(solve_token(&task, i % sublayers, 0));
    one = (ds_seconds() - one) / (double)(SPECTRUM_TOKENS / threads + 1);
    DS_TRY(solve_token(&task, 0, 0));
    DS_TRY(solve_dense(&dense, &difference, &task));
    *out = (ds_bench_spectrum){SPECTRUM_TOKENS / seconds, dense / one, difference};
done:
    for (size_t i = 0; i < threads; i++) {
        if (task.products != NULL) ds_product_free(&task.products[i]);
        if (task.solvers != NULL) ds_product_solver_free(&task.solvers[i]);
    }
    free(task.products);
    free(task.solvers);
    free(task.eigenvalues);
    free(task.singular_values);
    free(k);
    free(c);
    return status;
}

/* ---- loading ---- */

/* config.json of a bench model: what ds_spec_reported says, spelt as a checkpoint would. */
static ds_status write_config(const char *path, const ds_spec *spec) {
    ds_text text = {0};
    ds_status status = ds_text_printf(&text,
                                      "{\"vocab_size\": %zu, \"num_hidden_layers\": %zu, \"num_attention_heads\": %zu, "
                                      "\"hidden_size\": %zu, \"head_dim\": %zu, "
                                      "\"block_size\": %zu, \"ddl_value_channels\": %zu}\n",
                                      spec->vocab, spec->layers, spec->heads, spec->hidden, spec->head_dim, spec->block_size,
                                      spec->value_channels);
    if (status == DS_OK) status = ds_write_file(path, text.bytes, text.length);
    ds_text_release(&text);
    return status;
}

static ds_status write_weights(const char *path, const ds_model *model) {
    ds_status status = DS_OK;
    size_t count = ds_model_parameters(model);
    ds_tensor_write *tensors = NULL;
    DS_NEW(tensors, count);
    for (size_t i = 0; i < count; i++) {
        const ds_parameter *parameter = ds_model_parameter(model, i);
        tensors[i] =
            (ds_tensor_write){parameter->name, ds_model_precision(model), parameter->rank, parameter->shape, parameter->values};
    }
    DS_TRY(ds_safetensors_write(path, tensors, count));
done:
    free(tensors);
    return status;
}

static ds_status time_load(ds_bench_load *out, const char *folder, const ds_model *model) {
    ds_status status = DS_OK;
    ds_checkpoint *checkpoint = NULL;
    ds_model *loaded = NULL;
    double start = ds_seconds();
    DS_TRY(ds_checkpoint_open(&checkpoint, folder, NULL));
    DS_TRY(ds_model_load(&loaded, checkpoint, ds_model_precision(model)));
    out->seconds = ds_seconds() - start;
    out->bytes = (double)ds_model_parameter_count(model) * (double)ds_precision_size(ds_model_precision(model));
done:
    ds_model_free(&loaded);
    ds_checkpoint_close(&checkpoint);
    return status;
}

ds_status ds_bench_load_run(ds_bench_load *out, const ds_model *model) {
    ds_status status = DS_OK;
    const char *base = getenv("TMPDIR");
    ds_text folder = {0}, weights = {0}, config = {0};
    bool made = false;
    DS_TRY(ds_text_printf(&folder, "%s/deltascope-bench-XXXXXX", base == NULL ? "/tmp" : base));
    if (mkdtemp(folder.bytes) == NULL) {
        status = ds_fail(DS_ERR_SYSTEM, "%s: a temporary folder cannot be made", DS_SHOW(folder.bytes));
        goto done;
    }
    made = true;
    DS_TRY(ds_text_printf(&weights, "%s/model.safetensors", folder.bytes));
    DS_TRY(ds_text_printf(&config, "%s/config.json", folder.bytes));
    DS_TRY(write_config(config.bytes, ds_model_spec(model)));
    DS_TRY(write_weights(weights.bytes, model));
    DS_TRY(time_load(out, folder.bytes, model));
done:
    if (weights.bytes != NULL) (void)unlink(weights.bytes);
    if (config.bytes != NULL) (void)unlink(config.bytes);
    if (made) (void)rmdir(folder.bytes);
    ds_text_release(&folder);
    ds_text_release(&weights);
    ds_text_release(&config);
    return status;
}
