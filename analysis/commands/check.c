/* check: what a result file claims, measured again. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "claim_view.h"
#include "cli/progress_line.h"
#include "cli/text_wrapping.h"
#include "deltascope/claims.h"
#include "remeasure.h"
#include "study_claims.h"

typedef struct check_options {
    const char *config, *tokens, *text, *tokenizer, *sections, *signer, *reference;
    double sample;
} check_options;

#define OWN(field) offsetof(check_options, field)
static const ds_option options[] = {
    {"tokens", "FILE", "the token ids it was measured on", DS_OPTION_TEXT, OWN(tokens), 0, NULL},
    {"text", "FILE", "the text it was measured on; needs --tokenizer", DS_OPTION_TEXT, OWN(text), 0, NULL},
    {"tokenizer", "PATH", "a nanoGPT meta.pkl, or a folder with GPT-2's vocab.json and merges.txt", DS_OPTION_TEXT,
     OWN(tokenizer), 0, NULL},
    {"config", "FILE", "configuration of a single weight file (config.json beside it)", DS_OPTION_TEXT, OWN(config), 0, NULL},
    {"reference", "FILE.safetensors", "what another framework computed, of a result of verify --reference", DS_OPTION_TEXT,
     OWN(reference), 0, NULL},
    {"signer", "FILE", "the public Ed25519 key in PEM that must have signed it", DS_OPTION_TEXT, OWN(signer), 0, NULL},
    {"sections", "LIST", "only these commands' results: inspect, gates, spectrum, ablate, gradflow, verify (all it has)",
     DS_OPTION_TEXT, OWN(sections), 0, NULL},
    {"sample", "SHARE", "measure each claim with this probability, drawn from the system's entropy or by --seed (1)",
     DS_OPTION_REAL, OWN(sample), 0, NULL},
};
static const check_options defaults = {.sample = 1};

/* Everything of one check. */
typedef struct checking {
    const check_options *own;
    json_t *envelope, *digests, *signature;
    ds_claimed claimed;
    ds_run run;
    ds_claim_view view;
    bool seals_hold, sampled; /* digests and signature */
    ds_text reason;           /* why nothing could be measured, or what needs data */
} checking;

static void release(checking *all) {
    json_decref(all->envelope);
    json_decref(all->digests);
    json_decref(all->signature);
    ds_claimed_release(&all->claimed);
    ds_claim_view_release(&all->view);
    ds_run_close(&all->run);
    ds_text_release(&all->reason);
}

/* ---- what the file says of itself -------------------------------------------------------------------------------- */

static ds_status compare_seals(checking *all) {
    ds_status status = DS_OK;
    ds_public_key signer;
    bool digests_hold, signature_holds;
    if (all->own->signer != NULL) DS_TRY(ds_public_key_read(&signer, all->own->signer));
    DS_TRY(ds_digests_check(&all->digests, &digests_hold, all->envelope));
    DS_TRY(ds_signature_check(&all->signature, &signature_holds, all->envelope, all->own->signer == NULL ? NULL : &signer));
    all->seals_hold = digests_hold && signature_holds;
done:
    return status;
}

/* ---- what is measured -------------------------------------------------------------------------------------------- */

static ds_status choose(checking *all, const ds_common *common) {
    ds_status status = DS_OK;
    const double share = all->own->sample;
    uint32_t drawn;
    if (!(share > 0 && share <= 1)) return ds_fail(DS_ERR_USAGE, "--sample takes a share above 0 and at most 1, not %g", share);
    if (all->own->sections != NULL) DS_TRY(ds_claimed_choose(&all->claimed, all->own->sections));
    all->sampled = share < 1;
    if (!all->sampled) return DS_OK;
    if (getentropy(&drawn, sizeof drawn) != 0) return ds_fail(DS_ERR_SYSTEM, "the system gives no random numbers to sample by");
    all->claimed.sample = (ds_sample){share, common->seed.given ? common->seed.value : drawn};
done:
    return status;
}

/* Where the run is not of what the file names, all->reason says so; *same: the checkpoint at least is. */
static ds_status compare_identity(checking *all, bool *same) {
    const char *claimed = json_string_value(ds_json_at(all->envelope, "checkpoint/sha256"));
    const char *measured = ds_checkpoint_sha256(all->run.checkpoint);
    *same = claimed != NULL && strcmp(claimed, measured) == 0;
    if (!*same)
        return ds_text_printf(&all->reason, "the file speaks of another checkpoint: SHA-256 %.16s..., this one's is %.16s...",
                              claimed == NULL ? "none" : DS_SHOW(claimed), measured);
    const json_t *data = json_object_get(all->envelope, "data");
    claimed = json_string_value(json_object_get(data, "sha256"));
    if (!json_is_object(data)) return DS_OK;
    if (all->run.tokens == NULL)
        return ds_text_printf(&all->reason,
                              "it needs the data, SHA-256 %.16s...: give --tokens FILE, or --text and --tokenizer",
                              claimed == NULL ? "none" : DS_SHOW(claimed));
    measured = ds_tokens_sha256(all->run.tokens);
    if (claimed == NULL || strcmp(claimed, measured) != 0)
        return ds_text_printf(&all->reason, "the file speaks of other data: SHA-256 %.16s..., these have %.16s...",
                              claimed == NULL ? "none" : DS_SHOW(claimed), measured);
    return DS_OK;
}

/* What an envelope says of the losses of its windows, where these were not measured. */
static void forget_losses(json_t *data) {
    (void)json_object_del(data, "lag1_correlation");
    (void)json_object_del(data, "n_eff");
}

static ds_status compare_inputs(checking *all, const json_t *measured, double other) {
    ds_status status = DS_OK;
    json_t *a = NULL, *b = NULL;
    DS_TRY(ds_claim_inputs(&a, all->envelope));
    DS_TRY(ds_claim_inputs(&b, measured));
    if (!ds_claimed_is_report(all->envelope) && all->claimed.parts[0].results == NULL) {
        forget_losses(json_object_get(a, "data"));
        forget_losses(json_object_get(b, "data"));
    }
    DS_TRY(ds_claim_view_compare(&all->view, "inputs", "envelope", "", a, b, other));
done:
    json_decref(a);
    json_decref(b);
    return status;
}

static ds_status out_of_memory(void) { return ds_fail(DS_ERR_SYSTEM, "check: out of memory"); }

static ds_status compare_part(checking *all, const ds_claimed_part *part, double other) {
    ds_status status = DS_OK;
    const bool report = ds_claimed_is_report(all->envelope);
    const json_t *results = json_object_get(all->envelope, "results");
    const json_t *claimed = report ? json_object_get(results, part->command) : results;
    json_t *a = NULL, *b = NULL;
    ds_text place = {0};
    DS_TRY(ds_text_printf(&place, report ? "results/%s" : "results", part->command));
    if (part->cut) DS_TRY(ds_sample_cut(&a, &b, &all->claimed.sample, ds_command_find(part->command), claimed, part->results));
    DS_TRY(ds_claim_view_compare(&all->view, part->command, part->command, place.bytes, part->cut ? a : claimed,
                                 part->cut ? b : part->results, other));
done:
    json_decref(a);
    json_decref(b);
    ds_text_release(&place);
    return status;
}

/* What the measured steps were asked for, beside what the file says they were. */
static ds_status compare_options(checking *all) {
    ds_status status = DS_OK;
    const bool report = ds_claimed_is_report(all->envelope);
    json_t *claimed = json_object(), *measured = json_object(), *told;
    const char *step, *place = report ? "options/steps" : "options";
    int code = claimed == NULL || measured == NULL;
    for (size_t i = 0; i < all->claimed.count && code == 0; i++) {
        json_object_foreach(all->claimed.parts[i].options, step, told) {
            const json_t *recorded = ds_json_at(all->envelope, place);
            json_t *said = report ? json_object_get(recorded, step) : (json_t *)(uintptr_t)recorded;
            code |= json_object_set_new(claimed, report ? step : "", said == NULL ? json_null() : json_incref(said));
            code |= json_object_set(measured, report ? step : "", told);
        }
    }
    if (code != 0)
        status = out_of_memory();
    else
        status = ds_claim_view_compare(&all->view, "options", "envelope/options", place,
                                       report ? claimed : json_object_get(claimed, ""),
                                       report ? measured : json_object_get(measured, ""), 0);
    json_decref(claimed);
    json_decref(measured);
    return status;
}

/* Verdict and findings follow from the file's own results. */
static ds_status compare_findings(checking *all) {
    ds_status status = DS_OK;
    ds_findings findings = {.count = 0};
    json_t *rows = NULL, *claimed = NULL, *derived = NULL;
    if (json_object_get(all->envelope, "verdict") == NULL && json_object_get(all->envelope, "findings") == NULL) return DS_OK;
    DS_TRY(ds_findings_find(&findings, all->envelope));
    DS_TRY(ds_findings_json(&rows, &findings));
    claimed = json_pack("{s:O?, s:O?}", "verdict", json_object_get(all->envelope, "verdict"), "findings",
                        json_object_get(all->envelope, "findings"));
    derived = json_pack("{s:s, s:O}", "verdict", findings.verdict.bytes, "findings", rows);
    if (claimed == NULL || derived == NULL)
        status = out_of_memory();
    else
        status = ds_claim_view_compare(&all->view, "verdict", "envelope", "", claimed, derived, 0);
done:
    ds_findings_release(&findings);
    json_decref(rows);
    json_decref(claimed);
    json_decref(derived);
    return status;
}

static ds_status tell_parts(checking *all, double other) {
    ds_status status = DS_OK;
    for (size_t i = 0; i < all->claimed.count; i++) {
        const ds_claimed_part *part = &all->claimed.parts[i];
        if (part->measured)
            DS_TRY(compare_part(all, part, other));
        else if (part->obstacle == NULL && (!part->chosen || part->claims > 0))
            DS_TRY(ds_claim_view_obstacle(&all->view, part->command, "not looked at: not among those chosen or drawn", false));
        else
            DS_TRY(ds_claim_view_obstacle(&all->view, part->command,
                                          part->obstacle != NULL ? part->obstacle : all->reason.bytes, true));
    }
done:
    return status;
}

static ds_status measure(checking *all, const ds_invocation *invocation) {
    ds_status status = DS_OK;
    const check_options *own = all->own;
    json_t *measured = NULL;
    size_t compared = 0;
    double other = 0;
    bool same;
    const ds_run_options given = {.checkpoint = invocation->operands[1],
                                  .config = own->config,
                                  .tokens = own->tokens,
                                  .text = own->text,
                                  .tokenizer = own->tokenizer,
                                  .listener = ds_progress_line(invocation->common.quiet)};
    DS_TRY(ds_claimed_open(&all->run, &all->claimed, &given));
    DS_TRY(compare_identity(all, &same));
    if (same) DS_TRY(ds_claimed_measure(&all->claimed, &all->run, all->reason.bytes));
    /* what an envelope says of its windows' losses comes from a command's results */
    DS_TRY(ds_run_envelope(&measured, &all->run, "check", NULL,
                           ds_claimed_is_report(all->envelope) ? NULL : all->claimed.parts[0].results));
    other = ds_claims_arithmetic(all->envelope, measured);
    for (size_t i = 0; i < all->claimed.count; i++) compared += all->claimed.parts[i].measured;
    if (all->reason.length == 0) DS_TRY(compare_inputs(all, measured, other));
    if (compared > 0) DS_TRY(compare_options(all));
    DS_TRY(tell_parts(all, other));
    all->view.incomplete = all->view.incomplete || compared == 0;
done:
    json_decref(measured);
    return status;
}

/* ---- what is told ------------------------------------------------------------------------------------------------ */

/* Of the commands that were chosen and could be measured. */
static void tell_claims(ds_json_builder *b, const ds_claimed *claimed) {
    ds_json_begin_array(b, "claims");
    for (size_t i = 0; i < claimed->count; i++) {
        const ds_claimed_part *part = &claimed->parts[i];
        if (part->claims == 0 || part->obstacle != NULL) continue;
        ds_json_begin_object(b, NULL);
        ds_json_put_text(b, "name", part->command);
        ds_json_put_count(b, "claims", part->claims);
        ds_json_put_count(b, "drawn", part->drawn);
        ds_json_end(b);
    }
    ds_json_end(b);
}

static ds_status tell(ds_told *told, const checking *all, const ds_invocation *invocation) {
    const check_options *own = all->own;
    ds_json_builder b = {0}, o = {0};
    ds_status status = DS_OK;
    ds_json_begin_object(&o, NULL);
    ds_json_put_text(&o, "result", invocation->operands[0]);
    ds_json_put_text(&o, "sections", own->sections);
    ds_json_put_real(&o, "sample", own->sample);
    if (all->sampled)
        ds_json_put_count(&o, "seed", all->claimed.sample.seed);
    else
        ds_json_put_text(&o, "seed", NULL);
    ds_json_end(&o);
    DS_TRY(ds_json_finish(&told->options, &o));
    ds_json_begin_object(&b, NULL);
    ds_json_put_text(&b, "verdict", ds_claim_view_verdict(&all->view, all->seals_hold));
    ds_json_put(&b, "digests", json_incref(all->digests));
    ds_json_put(&b, "signature", json_incref(all->signature));
    ds_json_put_real(&b, "caught_with_probability", all->run.checkpoint == NULL ? 0 : own->sample);
    tell_claims(&b, &all->claimed);
    ds_json_put(&b, "sections", json_incref(all->view.sections));
    ds_json_end(&b);
    DS_TRY(ds_json_finish(&told->results, &b));
done:
    return status;
}

/* " Of 122 claims 13 were drawn, each with probability 0.1 ..." */
static ds_status append_sample(ds_text *text, const ds_claimed *claimed) {
    ds_status status = DS_OK;
    ds_text whole = {0};
    size_t claims = 0, drawn = 0;
    for (size_t i = 0; i < claimed->count; i++) {
        const ds_claimed_part *part = &claimed->parts[i];
        claims += part->claims;
        drawn += part->drawn;
        if (part->claims > 0 && !part->cut)
            DS_TRY(ds_text_printf(&whole, "%s%s", whole.length == 0 ? "" : ", ", part->command));
    }
    DS_TRY(ds_text_printf(
        text,
        " Of %zu claims %zu were drawn, each with probability %g (seed %llu): a single forged number, beyond what "
        "it may differ by, is caught with that probability.",
        claims, drawn, claimed->sample.share, (unsigned long long)claimed->sample.seed));
    if (whole.length > 0)
        DS_TRY(ds_text_printf(text, " Whole or not at all, since they cannot be measured in part: %s.", whole.bytes));
done:
    ds_text_release(&whole);
    return status;
}

static ds_status print_verdict(const checking *all, const char *verdict) {
    ds_text text = {0};
    ds_status status = DS_OK;
    if (strcmp(verdict, "disagrees") == 0)
        DS_TRY(ds_text_printf(&text, "DISAGREES: the file says what does not hold, as told above."));
    else if (strcmp(verdict, "incomplete") == 0)
        DS_TRY(ds_text_printf(&text, "incomplete: nothing disagrees, and not everything could be checked."));
    else
        DS_TRY(ds_text_printf(&text, "agrees: every number that was measured again is within what it may differ by."));
    if (all->sampled && all->run.checkpoint != NULL) DS_TRY(append_sample(&text, &all->claimed));
    ds_print_wrapped(text.bytes, 0, 0);
done:
    ds_text_release(&text);
    return status;
}

static ds_status publish(const checking *all, const ds_invocation *invocation) {
    ds_status status = DS_OK;
    ds_told told = {NULL, NULL};
    ds_table *table = NULL;
    size_t made = 0;
    DS_TRY(tell(&told, all, invocation));
    DS_TRY(ds_command_publish_results(&table, &made, invocation, &all->run, &told, &ds_claim_table, 1));
    const char *verdict = json_string_value(json_object_get(told.results, "verdict"));
    if (invocation->common.table) {
        ds_claim_print_digests(all->digests, "");
        ds_claim_print_signature(all->signature, "");
        DS_TRY(ds_claim_view_print(&all->view, table));
        DS_TRY(print_verdict(all, verdict));
    }
    if (strcmp(verdict, "disagrees") == 0) status = DS_CHECK_FAILED;
done:
    ds_table_free(&table);
    ds_told_release(&told);
    return status;
}

/* What the file claims. A study's is looked at whole, and needs no data. */
static ds_status find_claims(checking *all, const char *path) {
    ds_status status = DS_OK;
    const check_options *own = all->own;
    if (ds_is_study(all->envelope)) {
        const bool asks = own->tokens != NULL || own->text != NULL || own->config != NULL || own->reference != NULL;
        all->claimed.sample.share = 1;
        if (asks || own->sections != NULL || own->sample != 1)
            return ds_fail(DS_ERR_USAGE,
                           "%s is a study: check takes the folder of its runs, --signer, and no other of its options",
                           DS_SHOW(path));
        return DS_OK;
    }
    DS_TRY(ds_claimed_find(&all->claimed, all->envelope, path));
    if (all->claimed.unmeasured != NULL && (own->sections != NULL || own->sample != 1))
        return ds_fail(DS_ERR_USAGE,
                       "%s: results of %s cannot be measured again, so there is nothing that --sections and "
                       "--sample could choose from",
                       DS_SHOW(path), all->claimed.unmeasured);
    all->claimed.reference.path = own->reference;
    if (own->reference != NULL && !ds_claimed_has_reference(&all->claimed))
        status = ds_fail(DS_ERR_USAGE, "--reference: %s was not made with verify --reference", DS_SHOW(path));
done:
    return status;
}

/* `given`: a checkpoint, or the folder of a study; NULL: none. */
static ds_status look_again(checking *all, const ds_invocation *invocation, const char *given) {
    ds_status status = DS_OK;
    const char *unmeasured = all->claimed.unmeasured;
    if (given != NULL && !ds_is_study(all->envelope) && unmeasured == NULL) return measure(all, invocation);
    all->run.started = ds_seconds();
    if (unmeasured != NULL) return ds_claim_view_obstacle(&all->view, unmeasured, ds_claimed_why_unmeasured(unmeasured), true);
    if (ds_is_study(all->envelope)) return ds_study_claims(&all->view, all->envelope, invocation->operands[0], given);
    DS_TRY(ds_text_printf(&all->reason, "not measured: no checkpoint was given"));
    DS_TRY(tell_parts(all, 0));
done:
    return status;
}

static ds_status run_command(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    checking all = {.own = invocation->own, .view = {.side_a = "claimed", .side_b = "measured"}};
    if ((all.own->text == NULL) != (all.own->tokenizer == NULL))
        return ds_fail(DS_ERR_USAGE, "--text and --tokenizer go together");
    if (all.own->text != NULL && all.own->tokens != NULL)
        return ds_fail(DS_ERR_USAGE, "--tokens and --text both name the data: give one of them");
    DS_TRY(ds_envelope_load(&all.envelope, NULL, invocation->operands[0]));
    DS_TRY(find_claims(&all, invocation->operands[0]));
    DS_TRY(choose(&all, &invocation->common));
    DS_TRY(compare_seals(&all));
    DS_TRY(compare_findings(&all));
    DS_TRY(look_again(&all, invocation, invocation->operand_count > 1 ? invocation->operands[1] : NULL));
    DS_TRY(publish(&all, invocation));
done:
    release(&all);
    return status;
}

static const ds_column_set column_sets[] = {DS_COLUMN_SET(ds_claim_columns)};

const ds_command ds_command_check = {
    .name = "check",
    .operands = "RESULT.json [CHECKPOINT|FOLDER]",
    .least_operands = 1,
    .most_operands = 2,
    .summary = "Measure again what a result file claims",
    .description =
        "Computes the digests of report.json anew, derives its verdict and findings anew from its numbers, and with a "
        "CHECKPOINT "
        "measures everything again from the options the file records: every number has to agree within the sum of the bounds "
        "that both runs state, what our own kernels make to the bit. What differs is told number by number: claimed, measured, "
        "and by how much the two may differ. A result of inspect, gates, spectrum, ablate, gradflow or verify is checked the "
        "same way, without digests.\n"
        "Of a study.json every statistic is computed anew from the runs that the file records; with the FOLDER it ran in, "
        "losses "
        "are read again from the logs there and digests taken of the weights. Nothing is trained again.\n"
        "A file that was written with --sign is held against the public key given with --signer, or else against the key it "
        "names itself, which proves only that whoever has that key signed it.\n"
        "With --sample each claim is measured with probability SHARE, and so a single forged number is caught with that "
        "probability, for about that share of the time; the seed is printed and --seed repeats it. Every check of verify, case "
        "of ablate and Jacobian's sublayer is a claim by itself; the rest of what a command says is one. What cannot be "
        "checked, for want of data or because "
        "checkpoint or data are others, makes the verdict \"incomplete\", not \"agrees\". Exit status 1 when something "
        "disagrees; an incomplete check that found nothing ends with 0, and a script that asks for more reads the verdict.",
    .examples = "  deltascope check report/report.json\n"
                "  deltascope check study/study.json study/\n"
                "  deltascope check --signer pub.pem report/report.json\n"
                "  deltascope check --tokens val.bin report/report.json checkpoint/\n"
                "  deltascope check --tokens val.bin --sample 0.25 --json - report/report.json checkpoint/\n",
    .takes = DS_TAKES_RUN,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .defaults = &defaults,
    .own_size = sizeof defaults,
    .column_sets = column_sets,
    .column_set_count = sizeof column_sets / sizeof column_sets[0],
    .run = run_command,
};
