/* train: a model from a recipe. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/progress_line.h"
#include "deltascope/measure.h"
#include "deltascope/num.h"
#include "deltascope/train.h"
#include "model_command.h"
#include "report/run_page.h"
#include "stop_signals.h"
#include "training_line.h"

typedef struct train_options {
    const char *recipe, *from, *config, *variant, *init, *tokens, *val, *precision, *save, *log;
    ds_words set;
    ds_count keep, evaluate, audit;
    bool dry_run;
} train_options;

static ds_status variant_words(ds_text *text, const char *between, const char *before_last) {
    ds_status status = DS_OK;
    for (size_t i = 0; ds_variant_at(i) != NULL; i++)
        DS_TRY(ds_text_printf(text, "%s%s",
                              i == 0                         ? ""
                              : ds_variant_at(i + 1) == NULL ? before_last
                                                             : between,
                              ds_variant_at(i)));
done:
    return status;
}

#define OWN(field) offsetof(train_options, field)
static const ds_option options[] = {
    {"recipe", "FILE", "every number of the run as JSON", DS_OPTION_TEXT, OWN(recipe), 0, NULL},
    {"from", "PATH", "the checkpoint to start from: a model folder or a weight file", DS_OPTION_TEXT, OWN(from), 0, NULL},
    {"config", "FILE", "in place of --from: a configuration, for weights drawn by --seed", DS_OPTION_TEXT, OWN(config), 0,
     NULL},
    {"variant", "NAME", "what the configuration is to be of: *", DS_OPTION_TEXT, OWN(variant), 0, variant_words},
    {"init", "older|newer", "initial weights and names of which generation of the published code (older)", DS_OPTION_CHOICE,
     OWN(init), 0, NULL},
    {"tokens", "FILE", "token ids to train on", DS_OPTION_TEXT, OWN(tokens), 0, NULL},
    {"val", "FILE", "token ids to validate on", DS_OPTION_TEXT, OWN(val), 0, NULL},
    {"set", "KEY=VALUE", "takes the place of a key of the recipe; may be given several times", DS_OPTION_LIST, OWN(set), 0,
     NULL},
    {"precision", "float|double", "of weights, moments and arithmetic (float)", DS_OPTION_CHOICE, OWN(precision), 0, NULL},
    {"save", "N|log2",
     "a checkpoint every N updates, 0 at the end alone; log2: after 0, 1, 2, 4 ... 512, then every 1,000 updates (100)",
     DS_OPTION_TEXT, OWN(save), 0, NULL},
    {"keep", "N", "keep the newest N checkpoints (all)", DS_OPTION_COUNT, OWN(keep), 1, NULL},
    {"evaluate", "N", "validate every N updates too, into log.jsonl (before and after all of them)", DS_OPTION_COUNT,
     OWN(evaluate), 1, NULL},
    {"audit", "N",
     "measure the gates on the validation windows every N updates, before and after all of them, into log.jsonl (never)",
     DS_OPTION_COUNT, OWN(audit), 1, NULL},
    {"log", "llmc", "write main.log too, the lines of llm.c", DS_OPTION_CHOICE, OWN(log), 0, NULL},
    {"dry-run", NULL, "tell what the run will cost, and run nothing", DS_OPTION_FLAG, OWN(dry_run), 0, NULL},
};
static const train_options defaults = {.precision = "float", .save = "100"};

/* ---- options ----------------------------------------------------------------------------------------------------- */

static ds_status need(const char *value, const char *name, const char *argument) {
    if (value != NULL) return DS_OK;
    return ds_fail(DS_ERR_USAGE, "train needs --%s %s; see \"deltascope train --help\"", name, argument);
}

static ds_status check_options(const ds_invocation *invocation, const train_options *own) {
    ds_status status = DS_OK;
    DS_TRY(need(own->recipe, "recipe", "FILE"));
    if (own->from == NULL && own->config == NULL)
        DS_TRY(
            ds_fail(DS_ERR_USAGE, "train needs --from PATH, or --config FILE with --variant; see \"deltascope train --help\""));
    if (own->from != NULL && (own->config != NULL || own->variant != NULL || own->init != NULL))
        DS_TRY(ds_fail(DS_ERR_USAGE,
                       "--from starts from a checkpoint, --config, --variant and --init from drawn weights: give one"));
    if (own->from == NULL) DS_TRY(need(own->variant, "variant", "NAME"));
    DS_TRY(need(own->tokens, "tokens", "FILE"));
    DS_TRY(need(own->val, "val", "FILE"));
    DS_TRY(need(invocation->out_of_all, "out", "DIR"));
done:
    return status;
}

static ds_status parse_save(ds_training_options *out, const char *word) {
    char *end;
    out->save_log2 = strcmp(word, "log2") == 0;
    if (out->save_log2) return DS_OK;
    out->save = strtoull(word, &end, 10);
    if (word[strspn(word, "0123456789")] == '\0' && strlen(word) < 16 && *end == '\0') return DS_OK;
    return ds_fail(DS_ERR_USAGE, "--save takes N|log2, not \"%s\"", DS_SHOW(word));
}

/* What is said of a run that a signal ended. */
static ds_status end_by_signal(const ds_invocation *invocation, const ds_trainer *trainer) {
    (void)fprintf(stderr, "deltascope: stopped after %llu updates, which %s holds: go on with --resume\n",
                  (unsigned long long)ds_trainer_step(trainer), DS_SHOW(invocation->common.out));
    return ds_stop_end();
}

/* ---- the run ----------------------------------------------------------------------------------------------------- */

static const ds_result_column columns[] = {
    DS_CELL("step", NULL, NULL, DS_COLUMN_INTEGER, 0, "step"),
    DS_CELL("lr", "learning rate", NULL, DS_COLUMN_REAL, 3, "lr"),
    DS_CELL("loss", NULL, "nats", DS_COLUMN_FIXED, 4, "loss"),
    DS_CELL("gradient_norm", "gradient norm", NULL, DS_COLUMN_REAL, 3, "gradient_norm"),
    DS_CELL("clip_coefficient", "clip", NULL, DS_COLUMN_REAL, 3, "clip_coefficient"),
};
static const ds_result_table tables[] = {
    {.id = "updates",
     .title = "Updates",
     .rows = "steps",
     .columns = columns,
     .column_count = sizeof columns / sizeof columns[0]},
};

static const char *init_name(const train_options *own) { return own->init == NULL ? "older" : own->init; }

static ds_status make_options(json_t **out, const train_options *own, const ds_trainer *trainer, const ds_recipe *recipe,
                              uint64_t seed) {
    ds_status status = DS_OK;
    json_t *told = NULL;
    ds_json_builder b = {0};
    DS_TRY(ds_recipe_json(&told, recipe));
    ds_json_begin_object(&b, NULL);
    ds_json_put(&b, "recipe", told);
    ds_json_put_text(&b, "tokens", own->tokens);
    ds_json_put_text(&b, "tokens_sha256", ds_tokens_sha256(ds_trainer_tokens(trainer)));
    ds_json_put_text(&b, "config", own->config);
    ds_json_put_text(&b, "variant", own->variant);
    ds_json_put_text(&b, "init", own->from != NULL ? NULL : init_name(own));
    ds_json_put(&b, "seed", own->from != NULL ? json_null() : json_integer((json_int_t)seed));
    ds_json_put_text(&b, "save", own->save);
    ds_json_put_count(&b, "keep", own->keep.value);
    ds_json_put_count(&b, "evaluate", own->evaluate.value);
    ds_json_put_count(&b, "audit", own->audit.value);
    ds_json_put_text(&b, "log", own->log);
    ds_json_end(&b);
    DS_TRY(ds_json_finish(out, &b));
done:
    return status;
}

/* From what lies in the folder: it tells nothing else. */
static ds_status publish_page(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    ds_folder *folder;
    json_t *envelope = NULL;
    DS_TRY(ds_command_folder(&folder, invocation));
    DS_TRY(ds_envelope_load(&envelope, folder, "train.json"));
    DS_TRY(ds_run_page_write(folder, envelope, DS_RUN_FINISHED));
done:
    json_decref(envelope);
    return status;
}

/* The page of a run that a signal or its own loss ended, as far as it went; the next page takes its place. */
static ds_status publish_so_far(const ds_invocation *invocation, const ds_recipe *recipe, ds_trainer *trainer) {
    ds_status status = DS_OK;
    const bool diverged = ds_trainer_diverged(trainer);
    ds_folder *folder;
    json_t *envelope = NULL;
    ds_told told = {NULL, NULL};
    DS_TRY(ds_command_folder(&folder, invocation));
    DS_TRY(ds_training_so_far(&told.results, trainer, folder));
    if (told.results == NULL) goto done;
    DS_TRY(make_options(&told.options, invocation->own, trainer, recipe, invocation->common.seed.value));
    DS_TRY(ds_run_envelope(&envelope, ds_trainer_run(trainer), invocation->command->name, told.options, told.results));
    DS_TRY(ds_command_write_figures(invocation, folder, envelope));
    DS_TRY(ds_run_page_write(folder, envelope, diverged ? DS_RUN_DIVERGED : DS_RUN_STOPPED));
done:
    json_decref(envelope);
    ds_told_release(&told);
    return status;
}

/* What ended the run stays the sentence, whatever comes of its page. */
static ds_status end_diverged(const ds_invocation *invocation, const ds_recipe *recipe, ds_trainer *trainer, ds_status why) {
    char sentence[2048];
    (void)snprintf(sentence, sizeof sentence, "%s", ds_error_text());
    if (publish_so_far(invocation, recipe, trainer) != DS_OK) (void)fprintf(stderr, "deltascope: page: %s\n", ds_error_text());
    return ds_fail(why, "%s", sentence);
}

/* `memory`: bytes at most while training, and what was to be expected. */
static ds_status publish(const ds_invocation *invocation, const ds_run *run, const ds_told *told, const size_t memory[2]) {
    ds_status status = DS_OK;
    ds_table *table = NULL;
    size_t made, updates = json_array_size(json_object_get(told->results, "steps"));
    const size_t spikes = json_array_size(json_object_get(told->results, "spikes"));
    DS_TRY(ds_command_publish_results(&table, &made, invocation, run, told, tables, 1));
    DS_TRY(publish_page(invocation));
    if (!invocation->common.table) goto done;
    (void)printf("validation loss %.6f nats before, %.6f after %zu update%s", ds_json_real_at(told->results, "val_before"),
                 ds_json_real_at(told->results, "val_after"), updates, ds_plural(updates));
    (void)printf(
        "; best %.6f after %.0f; %zu spike%s; peak memory %.4g MB, %.4g MB predicted; %s/checkpoint-%zu holds the model\n",
        ds_json_real_at(told->results, "best/val_loss"), ds_json_real_at(told->results, "best/step"), spikes, ds_plural(spikes),
        1e-6 * (double)memory[0], 1e-6 * (double)memory[1], DS_SHOW(invocation->common.out), updates);
done:
    ds_table_free(&table);
    return status;
}

static ds_beginning beginning_of(const ds_invocation *invocation, const ds_trainer_options *run) {
    const train_options *own = invocation->own;
    return (ds_beginning){.config = own->config,
                          .variant = own->variant,
                          .which = strcmp(init_name(own), "newer") == 0 ? DS_INIT_NEWER : DS_INIT_OLDER,
                          .seed = invocation->common.seed.value,
                          .precision = run->precision,
                          .recipe = &run->recipe,
                          .train = run->train,
                          .val = run->val};
}

/* What will be trained, before anything is made. */
static ds_status find_spec(ds_spec *spec, const ds_invocation *invocation, const ds_trainer_options *run) {
    ds_status status = DS_OK;
    ds_run opened = {0};
    const ds_beginning beginning = beginning_of(invocation, run);
    const ds_run_options structure = {
        .checkpoint = run->checkpoint, .histories = true, .streams = true, .without_weights = true};
    if (run->checkpoint == NULL) return ds_beginning_spec(spec, &beginning);
    DS_TRY(ds_run_open(&opened, &structure));
    *spec = opened.spec;
    DS_TRY(ds_control_parse(spec->trained, spec->rule, run->recipe.rule, "recipe: rule"));
done:
    ds_run_close(&opened);
    return status;
}

static ds_status check_audit(const ds_invocation *invocation, const ds_trainer_options *run) {
    ds_status status = DS_OK;
    const train_options *own = invocation->own;
    ds_spec spec;
    if (own->audit.value == 0) return DS_OK;
    DS_TRY(find_spec(&spec, invocation, run));
    DS_TRY(ds_gate_audit_check(&spec, "--audit"));
done:
    return status;
}

/* *path <- checkpoint-0, where the run starts from a configuration alone: made by number 0 of several ranks. */
static ds_status begin(ds_text *path, json_t **start, const ds_invocation *invocation, const ds_trainer_options *run) {
    ds_status status = DS_OK;
    ds_folder *folder;
    const ds_beginning beginning = beginning_of(invocation, run);
    const bool first = ds_ranks_number(invocation->ranks) == 0;
    if (run->checkpoint != NULL) return DS_OK;
    if (first) DS_TRY(ds_command_folder(&folder, invocation));
    if (first) DS_TRY(ds_training_begin(path, start, folder, &beginning, invocation->common.resume));
    DS_TRY(ds_command_shared_folder(&folder, invocation));
    if (!first) DS_TRY(ds_folder_show(path, folder, "checkpoint-0"));
done:
    return status;
}

enum { PRODUCT = 1024 }; /* large enough for the machine's rate */

/* Seconds are those of the matrix products alone, at the machine's best rate. */
static ds_status tell_cost(const ds_invocation *invocation, const ds_trainer_options *run,
                           const ds_training_options *training) {
    ds_status status = DS_OK;
    ds_spec spec;
    ds_training_cost cost;
    double rate;
    DS_TRY(find_spec(&spec, invocation, run));
    DS_TRY(ds_training_estimate(&cost, &spec, &run->recipe, run->precision, training));
    DS_TRY(ds_gemm_rate(&rate, PRODUCT));
    (void)printf("%llu parameters; %llu updates, %llu tokens\n", (unsigned long long)cost.parameters,
                 (unsigned long long)cost.updates, (unsigned long long)cost.tokens);
    (void)printf(
        "%.3g floating-point operations: %.3g seconds or more, %.3g an update, at the %.3g a second of this machine's matrix "
        "product\n",
        cost.operations, cost.operations / rate, cost.operations / rate / (double)cost.updates, rate);
    (void)printf("disk: %llu checkpoint%s of %.4g MB\n", (unsigned long long)cost.checkpoints, ds_plural(cost.checkpoints),
                 1e-6 * (double)cost.checkpoint_bytes);
    (void)printf("memory: %.4g MB for weights, gradient and moments, %.4g MB for activations\n",
                 1e-6 * (double)cost.memory_bytes, 1e-6 * (double)cost.activation_bytes);
done:
    return status;
}

/* *bytes <- what the run will take beside what the program has taken already. */
static ds_status predict_memory(size_t *bytes, ds_trainer *trainer, const ds_trainer_options *run) {
    ds_status status = DS_OK;
    ds_training_cost cost;
    const ds_training_options at_the_end = {.save = 0};
    DS_TRY(ds_training_estimate(&cost, &ds_trainer_run(trainer)->spec, &run->recipe, run->precision, &at_the_end));
    *bytes = (size_t)(cost.memory_bytes + cost.activation_bytes);
done:
    return status;
}

/* The machine's matrix product is measured only where somebody sees what is compared with it. */
static ds_status prepare_line(ds_training_line *line, ds_training_options *training, bool quiet) {
    ds_status status = DS_OK;
    const char *term = getenv("TERM");
    *line = (ds_training_line){.terminal = ds_terminal_of(STDERR_FILENO)};
    if (quiet || !isatty(STDERR_FILENO)) return DS_OK;
    line->terminal.unicode = line->terminal.unicode && term != NULL && strcmp(term, "dumb") != 0;
    DS_TRY(ds_gemm_rate(&line->product_rate, PRODUCT));
    training->describe = ds_training_line_text;
    training->context = line;
done:
    return status;
}

/* The updates themselves, of weights that are there; of several ranks number 0 says how it went. `program`: bytes taken before
 * anything was begun. */
static ds_status run_updates(const ds_invocation *invocation, const ds_trainer_options *start, ds_training_options *training,
                             size_t program) {
    ds_status status = DS_OK;
    size_t memory[2] = {0, program};
    ds_training_line line;
    ds_trainer *trainer = NULL;
    ds_folder *folder;
    ds_told told = {NULL, NULL};
    size_t predicted;
    DS_TRY(ds_trainer_new(&trainer, start));
    DS_TRY(ds_command_shared_folder(&folder, invocation));
    training->folder = folder;
    DS_TRY(predict_memory(&predicted, trainer, start));
    memory[1] += predicted;
    DS_TRY(prepare_line(&line, training, invocation->common.quiet));
    ds_stop_watch();
    status = ds_training_run(&told.results, trainer, training);
    memory[0] = ds_peak_memory_bytes();
    if (ds_ranks_number(invocation->ranks) > 0) goto done;
    if (status == DS_ERR_INPUT && ds_trainer_diverged(trainer))
        status = end_diverged(invocation, &start->recipe, trainer, status);
    DS_TRY(status);
    if (told.results == NULL) {
        DS_TRY(publish_so_far(invocation, &start->recipe, trainer));
        status = end_by_signal(invocation, trainer);
        goto done;
    }
    DS_TRY(make_options(&told.options, invocation->own, trainer, &start->recipe, invocation->common.seed.value));
    DS_TRY(publish(invocation, ds_trainer_run(trainer), &told, memory));
done:
    ds_told_release(&told);
    ds_trainer_free(&trainer);
    return status;
}

static ds_status run_command(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    const train_options *own = invocation->own;
    const size_t program = ds_peak_memory_bytes();
    ds_text initial = {0};
    json_t *made_from = NULL;
    ds_trainer_options start = {.checkpoint = own->from,
                                .train = own->tokens,
                                .val = own->val,
                                .precision = strcmp(own->precision, "double") == 0 ? DS_F64 : DS_F32,
                                .listener = ds_progress_line(invocation->common.quiet),
                                .ranks = invocation->ranks};
    ds_training_options training = {.resume = invocation->common.resume,
                                    .keep = own->keep.value,
                                    .evaluate = own->evaluate.value,
                                    .audit = own->audit.value,
                                    .measure_gates = ds_gate_audit,
                                    .llmc = own->log != NULL,
                                    .stop = ds_stop_asked};
    DS_TRY(check_options(invocation, own));
    DS_TRY(parse_save(&training, own->save));
    DS_TRY(ds_recipe_read(&start.recipe, own->recipe, own->set.at, own->set.count));
    DS_TRY(check_audit(invocation, &start));
    if (own->dry_run) {
        if (ds_ranks_number(invocation->ranks) == 0) DS_TRY(tell_cost(invocation, &start, &training));
        goto done;
    }
    DS_TRY(begin(&initial, &made_from, invocation, &start));
    if (own->from == NULL) start.checkpoint = initial.bytes;
    training.start = made_from;
    DS_TRY(run_updates(invocation, &start, &training, program));
done:
    ds_text_release(&initial);
    json_decref(made_from);
    return status;
}

static const ds_column_set column_sets[] = {DS_COLUMN_SET(columns)};

const ds_command ds_command_train = {
    .name = "train",
    .operands = "",
    .least_operands = 0,
    .most_operands = 0,
    .summary = "A model trained from a recipe that names every number",
    .description =
        "AdamW with decoupled decay, warm-up and a cosine, clipping, accumulation; batches are functions of the recipe's data "
        "seed, the update, the micro-batch and the row, so that every model trained by one recipe sees the same tokens. The "
        "bits of the weights do not depend on threads, nor on interruptions.\n"
        "Weights to start from are a checkpoint's (--from), or drawn (--config): then element i of a tensor is a function of "
        "seed, "
        "name and i alone, equal for all variants that have it, and checkpoint-0 holds them. Rule and backbone are independent "
        "of one another: every variant goes on the backbones ddl, qwen3 and nanogpt, whose configuration says the sizes, and "
        "starts as its own code starts it. What no published code has gets a model_type of ours in config.json, with "
        "deltascope_rule and deltascope_backbone; every command reads it back.\n"
        "Rules: delta is the checkpoint's own; write-only, erase-only, fixed-gate:B, closed:attn, closed:mlp and closed:all "
        "are "
        "controls, whose checkpoints every command reads as what they are.\n"
        "--audit N measures the gates of every sublayer as they change, so that their way takes no second run: means of the "
        "gate, of |k|^2 and of the eigenvalue, shares of the regimes.\n"
        "DIR gets recipe.json, log.jsonl with a line for every update (keys as charts group them: train/loss, val/loss), "
        "log.csv with the same columns, checkpoint-N (N updates done) with configuration, weights and the optimiser's state, "
        "report.html and report.md (verdict, curves, recipe, digests, the command that runs it again), and "
        "train.json, which lists spikes too: losses above the median of the 100 before by 8 scaled median deviations. SIGINT "
        "and SIGTERM save and stop; --resume goes on where a run "
        "stopped, however it did, and ends with the bytes it would have had. A loss that diverges ends the run, the last good "
        "checkpoint kept.\n"
        "A terminal shows how it goes: loss and its curve, tokens a second and their share of this machine's matrix product "
        "(gemm), "
        "learning rate, update, time left.",
    .examples = "  deltascope train --recipe recipe.json --from start/ --tokens train.bin --val val.bin --out run/\n"
                "  deltascope train --recipe recipe.json --set rule=write-only --from start/ --tokens train.bin --val val.bin "
                "--out control/\n"
                "  deltascope train --recipe recipe.json --config config.json --variant ddl-cc-ec --seed 1 --tokens train.bin "
                "--val val.bin --out run/\n"
                "  deltascope train --recipe recipe.json --config qwen3.json --variant mhc --seed 1 --tokens train.bin --val "
                "val.bin --out streams/\n"
                "  deltascope gates --tokens val.bin run/checkpoint-600\n",
    .takes = DS_TAKES_RUN | DS_TAKES_RESUME | DS_TAKES_RANKS,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .defaults = &defaults,
    .own_size = sizeof defaults,
    .column_sets = column_sets,
    .column_set_count = sizeof column_sets / sizeof column_sets[0],
    .run = run_command,
};
