#!/bin/sh
# Does verify notice? One error at a time is planted in a copy of the sources, the copy is built, and verify has to end with exit
# status 1 on a model that uses the code; errors in training have to be noticed by the test that follows known runs. A planted error
# that is missed fails the test, and so does one whose place the sources no longer have: then it has to be planted anew.
#
# usage: tests/mutation.sh [FOLDER]   (default build-mutation; an argument after it picks the errors whose line matches)
set -u
cd "$(dirname "$0")/.." || exit 1
folder=${1:-build-mutation}
only=${2:-}
tree=$folder/tree
program=$tree/build/deltascope
failed=0 planted=0

# The copy: files that differ are written anew, so that make sees them; files that are gone go.
parts='src include analysis plots tests/train tests/support Makefile'
mkdir -p "$tree/tests" || exit 1
for file in $(find $parts -type f); do
    cmp -s "$file" "$tree/$file" && continue
    mkdir -p "$tree/$(dirname "$file")" && cp "$file" "$tree/$file" || exit 1
done
for file in $(cd "$tree" && find $parts -type f); do
    [ -f "$file" ] || rm "$tree/$file"
done

# A planted error may leave a variable unused: no warnings.
build() { make -s -j2 -C "$tree" OPT=-O1 WARNINGS=-w build/deltascope build/tests/train/test_trainer >"$folder/build.log" 2>&1; }

# Prints the ids of the checks that failed; the exit status is verify's.
verify() {
    if [ "$1" = training ]; then
        "$tree/build/tests/train/test_trainer" >"$folder/verify.log" 2>&1
        [ $? -eq 0 ] && return 0
        sed -n 's/^\[  FAILED  \] \([a-z_]*\)$/\1/p' "$folder/verify.log" | sort -u | tr '\n' ' '
        return 1
    fi
    length=24
    for kind in models depth streams backbones; do
        [ -d "fixtures/$kind/$1" ] && at=fixtures/$kind/$1
    done
    [ "$1" = mhc ] && length=4 # Sinkhorn's rounds, for every token
    [ -f "$at/ckpt.pt" ] && at=$at/ckpt.pt
    "$program" verify --tokens fixtures/data/val.bin --seq-len $length --sequences 2 "$at" >"$folder/verify.log" 2>&1
    status=$?
    sed -n 's/^fail  \([^ ]*\).*/\1/p' "$folder/verify.log" | tr '\n' ' '
    return $status
}

complain() {
    echo "FAILED  $*"
    failed=$((failed + 1))
}

# plant MODEL FILE FUNCTION OLD NEW: in FILE, the first line that has OLD at or after the one that defines FUNCTION. A
# definition's line has "(FUNCTION)(" or "FUNCTION(" and does not end in a semicolon.
plant() {
    model=$1 file=$2 function=$3
    case "$file $function $model" in *"$only"*) ;; *) return ;; esac
    planted=$((planted + 1))
    cp "$tree/$file" "$folder/original" || exit 1
    if ! FUNCTION=$function OLD=$4 NEW=$5 awk '
        BEGIN { f = ENVIRON["FUNCTION"]; old = ENVIRON["OLD"]; new = ENVIRON["NEW"] }
        !inside && (index($0, "(" f ")(") || index($0, " " f "(")) && $0 !~ /^ / && $0 !~ /;$/ { inside = 1 }
        inside && !done && (at = index($0, old)) {
            $0 = substr($0, 1, at - 1) new substr($0, at + length(old))
            done = 1
        }
        inside && /^}/ { inside = 0; if (!done) exit 1 }
        { print }
        END { exit !done }' "$folder/original" >"$folder/mutant"; then
        complain "$file: $function no longer has \"$4\": plant this error anew"
        return
    fi
    cat "$folder/mutant" >"$tree/$file"
    if ! build; then
        complain "$file: $function with \"$5\" does not compile: $(tail -1 "$folder/build.log")"
    else
        found=$(verify "$model")
        status=$?
        if [ $status -eq 1 ]; then
            printf 'caught  %-28s %-24s %s\n' "$function" "$model" "$found"
        else
            complain "$file: $function: \"$4\" -> \"$5\": verify ended with $status on $model"
        fi
    fi
    cat "$folder/original" >"$tree/$file"
}

if ! build; then
    tail -5 "$folder/build.log"
    exit 1
fi
for model in additive-small cc-bf16 cc-ec-activations cc-ec-vlinear scalar-kvshift scalar-two-layer-gate tc-ec-sharded tc-output-gate \
    attnres-full attnres-block attnres-cumulative-block delta-attnres delta-block hc mhc mhc-lite mhc-static-mixed qwen3-additive \
    nanogpt-additive hf-gpt2 training; do
    found=$(verify $model) || complain "$model: verify ended with $? on sound sources: $found"
done

sound=$failed
# The test itself: a place that is gone, and a change that changes nothing, are complaints.
plant additive-small src/num/state.real.c ds_direction_forward 'no such text' '' >/dev/null
plant additive-small src/num/state.real.c ds_direction_forward 'norm2 + eps * eps' 'norm2 + eps * eps' >/dev/null
if [ -z "$only" ]; then
    [ $failed -eq $((2 + sound)) ] || complain "the test does not notice its own failures"
    failed=$sound planted=0
fi

# The model: k's normalisation, rotary positions, the causal mask, and what else makes a forward pass.
num=src/num
plant scalar-two-layer-gate $num/state.real.c ds_direction_forward 'norm2 + eps * eps' 'norm2 + eps'
plant cc-bf16 $num/state.real.c ds_direction_forward '1 / sqrt(padded)' '1 / sqrt(padded) + 0x1p-20'
plant additive-small $num/attention.real.c ds_rope_forward 'a * sine[i] + b' 'a * sine[i] - b'
plant tc-ec-sharded $num/attention.real.c ds_rope_forward 'REAL a = x[i], b = x[i + half]' 'REAL a = x[i + half], b = x[i]'
plant additive-small $num/attention.real.c ds_softmax_causal_forward 'first + r + 1' 'ds_min_size(first + r + 2, columns)'
plant scalar-kvshift $num/attention.real.c ds_softmax_causal_forward 'first + r + 1' 'first + r + (r == 0)'
plant scalar-kvshift $num/attention.real.c ds_shift_forward 'a * then[i] + (1 - a)' '(1 - a) * then[i] + a'
plant cc-ec-vlinear $num/attention.real.c ds_rmsnorm_forward '/ (double)width + eps' '/ (double)width + 2 * eps'
plant tc-output-gate $num/state.real.c ds_compress_tc_forward 'kernel - 1 - s' 's'
plant cc-bf16 $num/state.real.c ds_rank_one_update 'k[i + l] * factor' 'k[i + l] * factor * (REAL)(1 + 0x1p-18)'
plant cc-ec-activations $num/elementary.real.c ds_elu1_forward 'x[i] + 1 : e' 'x[i] : e'

# The backward pass of every kernel.
plant cc-ec-activations $num/elementary.real.c ds_silu_backward '(1 + x[i]' '(1 - x[i]'
plant cc-ec-activations $num/elementary.real.c ds_relu_backward 'dy[i] : 0' 'dy[i] : dy[i]'
plant cc-ec-activations $num/elementary.real.c ds_elu1_backward 'dy[i] * slope' 'dy[i] * (slope + REAL_C(0.01))'
plant additive-small $num/elementary.real.c ds_swiglu_backward '(1 + a[i]' '(1 - a[i]'
plant additive-small $num/elementary.real.c ds_swiglu_backward '(a[i] * sigma)' 'sigma'
plant additive-small $num/elementary.real.c ds_swiglu_tangent '(a[i] * sigma)' 'sigma'
plant additive-small $num/attention.real.c ds_rmsnorm_backward 'factor * (dx[i] - back * x[i])' 'factor * dx[i]'
plant additive-small $num/attention.real.c ds_rmsnorm_backward '(x[i] * factor)' 'x[i]'
plant additive-small $num/attention.real.c ds_rmsnorm_backward 'dweight[i] += ' 'dweight[i] += (i > 0 ? 1 : 1 + 0x1p-17) * '
plant additive-small $num/attention.real.c ds_rmsnorm_tangent '- back * x[i]' '+ back * x[i]'
plant additive-small $num/attention.real.c ds_rope_backward '- a * sine[i]' '+ a * sine[i]'
plant scalar-kvshift $num/attention.real.c ds_shift_backward 'next * dy' 'now * dy'
plant scalar-kvshift $num/attention.real.c ds_shift_backward 'slope = -' 'slope = '
plant scalar-kvshift $num/attention.real.c ds_shift_tangent '- *dmix * x[i]' '+ *dmix * x[i]'
plant additive-small $num/attention.real.c ds_softmax_causal_backward 'dp[i] - mean' 'dp[i]'
plant additive-small $num/attention.real.c ds_cross_entropy_backward 'logits[i] - shift' 'logits[i] - shift + REAL_C(0.001)'
plant cc-bf16 $num/attention.real.c ds_affine_backward 'factor * row[i]' 'row[i]'
plant cc-bf16 $num/attention.real.c ds_affine_backward 'slope * (double)x[i]' '(double)x[i]'
plant cc-bf16 $num/attention.real.c ds_affine_backward 'dbias[o] += slope' 'dbias[o] -= slope'
plant tc-output-gate $num/state.real.c ds_embed_backward 'dstate[j * hidden + i]' 'dstate[i]'
plant tc-ec-sharded $num/state.real.c ds_embed_backward 'kernel - 1 - s' 's'
plant tc-ec-sharded $num/state.real.c ds_embed_taps_backward 'kernel - 1 - s' 's'
plant cc-bf16 $num/state.real.c ds_compress_cc_backward 'taps + v * hidden' 'taps'
plant cc-bf16 $num/state.real.c ds_compress_cc_taps_backward 'dtaps + v * hidden' 'dtaps'
plant tc-ec-sharded $num/state.real.c ds_compress_tc_backward 'kernel - 1 - s' 's'
plant tc-ec-sharded $num/state.real.c ds_compress_tc_taps_backward 'kernel - 1 - s' 's'
plant scalar-two-layer-gate $num/state.real.c ds_direction_backward 'dk[i] - along * h[i]' 'dk[i]'
plant cc-bf16 $num/state.real.c ds_rank_one_backward '+ read * state[i]' '- read * state[i]'
plant additive-small $num/gemm.real.c ds_gemm_tn_add 'ds_min_size(k - p, PANEL_DEPTH)' 'ds_min_size(k - p, PANEL_DEPTH) - (k - p > 1)'

# What joins the kernels.
room=src/model
plant cc-bf16 $room/rule_delta.real.c update_backward '(1 - beta / 2)' '(1 - beta)'
plant cc-bf16 $room/rule_delta.real.c update_backward 'v * (1 - v / spec->value_scale)' 'v * (1 - v)'
plant scalar-two-layer-gate $room/rule_delta.real.c gate_backward '1 - hidden[i] * hidden[i]' '1 - hidden[i]'
plant cc-bf16 $room/fold.real.c ds_fold_channels_backward '(double)read[a] * dtaps' 'dtaps'
plant tc-output-gate $room/attention_scores.real.c heads_backward 'dheads, dheads, ROWS(b->tape->gate' \
    'dheads, dheads, ROWS(b->tape->heads'
# The rules, in each direction.
plant cc-bf16 $room/rule_delta.real.c update_forward 'strength * (wanted - held)' 'strength * (wanted - held) * (1 + 0x1p-18)'
plant cc-bf16 $room/rule_delta.real.c update_tangent 'dbeta * (wanted - held)' 'dbeta * wanted'
plant cc-bf16 $room/rule_delta.real.c value_tangent '(1 - target[j] / spec->value_scale)' '(1 - target[j])'
plant additive-small $room/rule_additive.real.c write_backward 'mult * dnext[i]' 'mult * dnext[i] * (i == 0 ? 2 : 1)'
plant additive-small $room/rule_additive.real.c write_tangent 'dstate, dh, &spec->residual_mult' 'dstate, dstate, &spec->residual_mult'
# Attention over depth: what a read chooses from, its softmax, how it mixes, and the way back.
plant delta-block $room/depth_sources.c delta_block 'count - 2' 'count - 1'
plant attnres-block $room/depth_sources.c block 'first += block_of(spec)' 'first += 2'
plant attnres-cumulative-block $room/depth_sources.c cumulative 'end - step + 1' 'end - step + 2'
plant delta-attnres $room/depth_sources.c delta 'full(list, spec, sublayer)' 'full(list, spec, sublayer) - 1'
plant attnres-full $room/rule_depth.c ds_depth_weigh '/= sum' '/= sum * (1 + 0x1p-30)'
plant attnres-full $room/rule_depth.real.c weigh 'r->along[j] * r->inverse[j]' 'r->along[j] * r->inverse[0]'
plant attnres-cumulative-block $room/rule_depth.real.c weigh 'r->alpha[r->count - 1]' 'r->alpha[0]'
plant attnres-block $room/rule_depth.real.c read_token '+= alpha * source[i]' '+= alpha * source[i] * (REAL)0.999999'
plant attnres-cumulative-block $room/rule_depth.real.c sum_parts 'i = first' 'i = first + (base != NULL)'
plant delta-attnres $room/rule_depth.real.c mix_token 'a[i] += weight[j]' 'a[i] = weight[j]'
plant attnres-full $room/rule_depth.real.c logits_backward 'r->slope[j] - mean' 'r->slope[j]'
plant attnres-full $room/rule_depth.real.c sources_backward '- own * source[i]' '+ own * source[i]'
plant delta-attnres $room/rule_depth.real.c sources_backward 'alpha * drouted[i] + key' 'key'
plant delta-block $room/rule_depth.real.c scatter 'base != DS_NO_SOURCE) add' 'base == DS_NO_SOURCE && j > r->count) add'
plant delta-attnres $room/rule_depth.real.c read_backward 'r->additive && i < r->parts' 'r->additive && i + 1 < r->parts'
plant attnres-full $room/rule_depth.real.c add_sums 'r->slope[j] * r->inverse[j]' 'r->slope[j]'
plant attnres-cumulative-block $room/rule_depth.real.c add_sums 'r->slope[r->count - 1]' 'r->slope[0]'
plant attnres-block $room/rule_depth.real.c query_parameters '* (double)VALUES(weights->norm)[i]' '* (double)VALUES(weights->query)[i]'
plant attnres-full $room/rule_depth.real.c alpha_tangent 'r->slope[j] - mean' 'r->slope[j]'

# Parallel streams: how R is made, what is read of streams and written to them, and the way back.
plant mhc-static-mixed $num/square.c ds_sinkhorn_forward 'half < 2 * rounds' 'half + 1 < 2 * rounds'
plant mhc-static-mixed $num/square.c over_rows '(half % 2 == 1)' '(half % 2 == 0)'
plant mhc-static-mixed $num/square.c normalise 'highest + log(sum)' 'highest + log(sum) + 0x1p-30'
plant mhc-static-mixed $num/square.c normalise_backward '* sum;' '* sum * 0.99;'
plant mhc-static-mixed $num/square.c ds_sinkhorn_backward 'd[i] *= last[i]' 'd[i] *= last[0]'
plant mhc $num/square.c normalise_tangent 'k * at.element] -= sum' 'k * at.element] -= sum * 0.99'
plant mhc-lite $num/streams.real.c ds_mix_planes_forward 'weights[t * channels + s]' 'weights[s * outputs + t]'
plant mhc-static-mixed $num/streams.real.c ds_mix_planes_backward 'weights[t * channels + s]' 'weights[s * outputs + t]'
plant mhc-lite $num/streams.real.c ds_mix_planes_weights_backward 'planes, channels, hidden' 'planes, channels - 1, hidden'
plant mhc-static-mixed $room/stream_maps.c res_at '1 + k % n' '1 + k / n'
plant mhc-lite $room/stream_maps.c ds_stream_permutations 'low = pivot + 1' 'low = pivot + 2'
plant hc $room/stream_maps.c add_up 'm->scale[scale_of(m, k)]' 'm->scale[0]'
plant mhc-lite $room/stream_maps.c softmax_derivative 'd[i] - mean' 'd[i]'
plant mhc-lite $room/stream_maps.c squash_derivative 'open * (1 - open)' 'open'
plant mhc-static-mixed $room/stream_maps.c res_backward 'dres[k % n * n + k / n]' 'dres[k]'
plant mhc-lite $room/stream_maps.c ds_stream_maps_backward 'dx[k] * own' 'dx[k]'
plant mhc-lite $room/stream_maps.c ds_stream_maps_tangent 'm->scale[1] * dv[at]' 'm->scale[0] * dv[at]'
plant mhc-lite $room/rule_streams.real.c normalise '(1 + gamma[i])' 'gamma[i]'
plant mhc-lite $room/rule_streams.real.c normalise_backward 'dx[i] -= along' 'dx[i] += along'
plant hc $room/rule_streams.real.c normalise_tangent 'dx[i] - along * x[i]' 'dx[i]'
plant hc $room/rule_streams.real.c read_out 's = 1; s < n' 's = 1; s + 1 < n'
plant mhc-lite $room/rule_streams.real.c write_forward 'write_weights(weights, mixing, spec)' 'mixing'
plant mhc-lite $room/rule_streams.real.c write_backward '(dmixing + n, h' '(dmixing, h'
plant hc $room/rule_streams.real.c write_tangent 'dmixing[(2 + to) * n + s]' 'dmixing[(2 + s) * n + to]'
plant mhc-lite $room/rule_streams.real.c read_parameters 'scales + 2' 'scales + 1'
# The other backbones: heads that share keys and values, LayerNorm, GELU in both forms, learned positions.
plant qwen3-additive $room/attention_scores.real.c scores_forward 'head / group * h' 'head % group * h'
plant qwen3-additive $room/attention_scores.real.c head_backward 'head / group_of(spec) * h' 'head % group_of(spec) * h'
plant qwen3-additive $room/attention_scores.real.c scores_tangent 'head / group_of(spec) * h' 'head % group_of(spec) * h'
plant nanogpt-additive $num/layernorm.real.c moments_of 'squares / (double)width' 'squares / (double)(width - 1)'
plant nanogpt-additive $num/layernorm.real.c ds_layernorm_forward 'z + (double)bias[i] : z' 'z + (double)bias[i] : z * (1 + 0x1p-30)'
plant nanogpt-additive $num/layernorm.real.c ds_layernorm_backward 'g - sum - z * along' 'g - z * along'
plant hf-gpt2 $num/layernorm.real.c ds_layernorm_backward 'dbias[i] += ' 'dbias[i] -= '
plant nanogpt-additive $num/layernorm.real.c ds_layernorm_tangent '- sum - z * along' '- z * along'
plant nanogpt-additive $num/gelu.real.c ds_gelu_forward 'normal_distribution((double)x[i])' 'normal_distribution((1 + 0x1p-20) * (double)x[i])'
plant nanogpt-additive $num/gelu.real.c ds_gelu_backward 'z * density' 'density'
plant hf-gpt2 $num/gelu.real.c ds_gelu_tanh_forward 'cubic * z * z * z' 'cubic * z * z'
plant hf-gpt2 $num/gelu.real.c ds_gelu_tanh_backward '3 * cubic' 'cubic'
plant nanogpt-additive $room/embed.real.c ds_embed_tile_forward '+= position[i]' '+= position[0]'
plant nanogpt-additive $room/embed.real.c ds_embed_parameters 'positions[t % length * d + i]' 'positions[i]'

# Training: what an optimiser can get wrong, most of it seen in the weights alone.
room=src/train
plant training $room/optimiser.real.c ds_adamw 'sqrt(v) / t.root + t.eps' 'sqrt(v / (t.root * t.root) + t.eps)'
plant training $room/optimiser.real.c ds_adamw 'sqrt(v) / t.root + t.eps' '(sqrt(v) + t.eps) / t.root'
plant training $room/optimiser.real.c ds_adamw '+ t.eps' '+ 1e-6'
plant training $room/optimiser.real.c ds_adamw 't.clip * (double)gradient[i]' '(double)gradient[i]'
plant training $room/optimiser.real.c ds_adamw '(double)gradient[i];' '(double)gradient[i] + 0.1 * (double)weight[i];'
plant training $room/optimiser.real.c ds_adamw 't.keep - t.rate' 't.keep - t.keep * t.rate'
plant training $room/optimiser.c set_terms 'eta / (1 - pow(recipe->beta1, s))' 'eta'
plant training $room/optimiser.c set_terms 'sqrt(1 - pow(recipe->beta2, s))' '1'
plant training $room/optimiser.c set_terms 'learning_rate(recipe, step)' 'learning_rate(recipe, step + 1)'
plant training $room/optimiser.c set_terms 'eta * recipe->weight_decay' '0'
plant training $room/optimiser.c decays 'parameter->rank >= 2' 'true'
plant training $room/optimiser.c decays 'parameter->rank >= 2' 'parameter->group != DS_GROUP_NORMS'
plant training $room/optimiser.c decays 'parameter->rank >= 2' 'parameter->rank >= 2 && parameter->shape[0] > 1'
plant training $room/optimiser.c decays 'parameter->rank >= 2' 'parameter->rank >= 2 && parameter->group != DS_GROUP_EMBEDDING'
plant training $room/optimiser.c norm_of 'tensor * tensor' 'tensor'
plant training $room/trainer.c pass_windows '(double)recipe->accumulation' '1'
plant training src/model/control.c close_half 'layer->ln_2.weight, ' ''
# The same kinds, seen by verify on whichever model is given.
plant cc-bf16 $room/optimiser.real.c ds_adamw '(sqrt(v) / t.root + t.eps)' '(sqrt(v) + t.eps) * t.root'
plant additive-small $room/optimiser.real.c ds_adamw 'sqrt(v) / t.root + t.eps' '(sqrt(v) + t.eps) / t.root'
plant scalar-kvshift $room/optimiser.real.c ds_adamw '+ t.eps' '+ 1e-6'
plant cc-ec-vlinear $room/optimiser.real.c ds_adamw 't.keep - t.rate' 't.keep - t.keep * t.rate'
plant tc-ec-sharded $room/optimiser.real.c ds_adamw '(double)gradient[i];' '(double)gradient[i] + 0.1 * (double)weight[i];'
plant tc-output-gate $room/optimiser.c set_terms 'eta / (1 - pow(recipe->beta1, s))' 'eta'
plant cc-bf16 $room/optimiser.c set_terms 'learning_rate(recipe, step)' 'learning_rate(recipe, step + 1)'
plant scalar-two-layer-gate $room/optimiser.c decays 'parameter->rank >= 2' 'parameter->rank >= 2 && parameter->shape[0] > 1'
plant cc-ec-activations $room/optimiser.c decays 'parameter->rank >= 2' 'parameter->group != DS_GROUP_NORMS'
plant additive-small $room/optimiser.c norm_of 'tensor * tensor' 'tensor'
plant cc-bf16 $room/optimiser.c allocate_moments 'memset(o->moments, 0, bytes)' 'memset(o->moments, 1, bytes)'

if [ $failed -gt 0 ]; then
    echo "$failed of $planted planted errors: see above"
    exit 1
fi
echo "caught all $planted planted errors"
