#include "name_likeness.h"

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum {
    ATTENTION = 1 << 0,
    MLP = 1 << 1,
    QUERY = 1 << 2,
    KEY = 1 << 3,
    VALUE = 1 << 4,
    OUT = 1 << 5,
    GATE = 1 << 6,
    UP = 1 << 7,
    FIRST = 1 << 8,
    SECOND = 1 << 9,
    FINAL = 1 << 10,
    BIAS = 1 << 11,
    NORM = 1 << 12,
    TOKEN = 1 << 13,
    HEAD = 1 << 14,
    BETA = 1 << 15,
    COMPRESS = 1 << 16,
    READ = 1 << 17,
    CONVOLUTION = 1 << 18,
    INPUT = 1 << 19,
    READOUT = 1 << 20,
    FUSED = 1 << 21,
    SHIFT = 1 << 22,
    PROJECTION = 1 << 23, /* of what, other words say; alone, the output */
};

/* Of each of these a parameter is one at most. */
static const ds_notions families[] = {ATTENTION | MLP, QUERY | KEY | VALUE | OUT | GATE | UP, FIRST | SECOND | FINAL, BIAS};

typedef struct meaning {
    const char *word;
    ds_notions notions;
} meaning;

static const meaning meanings[] = {
    {"attn", ATTENTION},
    {"attention", ATTENTION},
    {"att", ATTENTION},
    {"sa", ATTENTION},
    {"selfattn", ATTENTION},
    {"selfattention", ATTENTION},
    {"mha", ATTENTION},
    {"mixer", ATTENTION},
    {"mlp", MLP},
    {"ff", MLP},
    {"ffn", MLP},
    {"feedforward", MLP},
    {"feed", MLP},
    {"ffwd", MLP},
    {"q", QUERY},
    {"wq", QUERY},
    {"cq", QUERY},
    {"query", QUERY},
    {"queries", QUERY},
    {"toq", QUERY},
    {"k", KEY},
    {"wk", KEY},
    {"ck", KEY},
    {"key", KEY},
    {"keys", KEY},
    {"tok", TOKEN},
    {"v", VALUE},
    {"wv", VALUE},
    {"cv", VALUE},
    {"value", VALUE},
    {"values", VALUE},
    {"tov", VALUE},
    {"o", OUT},
    {"wo", OUT},
    {"out", OUT},
    {"output", OUT},
    {"toout", OUT},
    {"outproj", OUT},
    {"down", OUT},
    {"w2", OUT},
    {"cproj", OUT},
    {"proj", PROJECTION},
    {"projection", PROJECTION},
    {"gate", GATE},
    {"w1", GATE},
    {"fc1", GATE},
    {"cfc1", GATE},
    {"g", GATE},
    {"up", UP},
    {"w3", UP},
    {"fc2", UP},
    {"cfc2", UP},
    {"1", FIRST},
    {"first", FIRST},
    {"pre", FIRST},
    {"input", FIRST | INPUT},
    {"2", SECOND},
    {"second", SECOND},
    {"post", SECOND},
    {"f", FINAL},
    {"final", FINAL},
    {"last", FINAL},
    {"lnf", FINAL | NORM},
    {"bias", BIAS},
    {"b", BIAS},
    {"norm", NORM},
    {"ln", NORM},
    {"rms", NORM},
    {"rmsnorm", NORM},
    {"layernorm", NORM},
    {"subln", NORM},
    {"gamma", NORM},
    {"wte", TOKEN},
    {"token", TOKEN},
    {"tokens", TOKEN},
    {"emb", TOKEN},
    {"embd", TOKEN},
    {"embed", TOKEN},
    {"embedding", TOKEN},
    {"embeddings", TOKEN},
    {"embedder", TOKEN},
    {"word", TOKEN},
    {"lmhead", HEAD},
    {"head", HEAD},
    {"unembed", HEAD},
    {"unembedding", HEAD},
    {"beta", BETA},
    {"erase", BETA},
    {"compress", COMPRESS},
    {"compressor", COMPRESS},
    {"read", READ},
    {"shortconv", CONVOLUTION},
    {"conv", CONVOLUTION},
    {"readout", READOUT},
    {"qkv", FUSED},
    {"wqkv", FUSED},
    {"cattn", FUSED},
    {"inproj", FUSED},
    {"qkvproj", FUSED},
    {"querykeyvalue", FUSED},
    {"kv", FUSED},
    {"wkv", FUSED},
    {"gateup", FUSED},
    {"gateupproj", FUSED},
    {"w12", FUSED},
    {"w13", FUSED},
    {"shift", SHIFT},
};

static bool look_up(ds_notions *notions, const char *word, size_t length) {
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (strlen(meanings[i].word) != length || memcmp(meanings[i].word, word, length) != 0) continue;
        *notions |= meanings[i].notions;
        return true;
    }
    return false;
}

/* A word, or letters and digits apart: "norm1". */
static void add_word(ds_notions *notions, const char *word, size_t length) {
    if (look_up(notions, word, length)) return;
    size_t letters = length;
    while (letters > 0 && isdigit((unsigned char)word[letters - 1])) letters--;
    if (letters == length || letters == 0) return;
    (void)look_up(notions, word, letters);
    (void)look_up(notions, word + letters, length - letters);
}

/* What lies between two points. A number alone counts layers or modules and says nothing. */
static void add_part(ds_notions *notions, const char *part, size_t length) {
    enum { LONGEST = 64 };
    char whole[LONGEST], word[LONGEST];
    size_t used = 0, in_word = 0;
    if (length >= LONGEST || strspn(part, "0123456789") >= length) return;
    for (size_t i = 0; i < length; i++) {
        if (part[i] != '_' && part[i] != '-') whole[used++] = (char)tolower((unsigned char)part[i]);
    }
    if (look_up(notions, whole, used)) return;
    for (size_t i = 0; i <= length; i++) {
        bool apart = i == length || part[i] == '_' || part[i] == '-' ||
                     (i > 0 && isupper((unsigned char)part[i]) && islower((unsigned char)part[i - 1]));
        if (apart && in_word > 0) add_word(notions, word, in_word);
        if (apart) in_word = 0;
        if (i < length && part[i] != '_' && part[i] != '-') word[in_word++] = (char)tolower((unsigned char)part[i]);
    }
}

ds_notions ds_notions_of(const char *name) {
    ds_notions notions = 0;
    for (const char *at = name; *at != '\0';) {
        size_t length = strcspn(at, ".");
        add_part(&notions, at, length);
        at += length + (at[length] == '.');
    }
    if ((notions & PROJECTION) && !(notions & families[1])) notions |= OUT;
    return notions & ~(ds_notions)PROJECTION;
}

int ds_notions_fused(ds_notions notions) { return (notions & FUSED) != 0; }

int ds_notions_head(ds_notions notions) { return (notions & HEAD) != 0; }

int ds_likeness(ds_notions ours, ds_notions theirs) {
    int likeness = 0;
    ds_notions exclusive = 0;
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        ds_notions a = ours & families[i], b = theirs & families[i];
        bool bias = families[i] == BIAS;
        exclusive |= families[i];
        if (bias ? a != b : a != 0 && b != 0 && (a & b) == 0) likeness -= 3;
        if ((a & b) != 0) likeness += 3;
    }
    for (ds_notions common = ours & theirs & ~exclusive; common != 0; common &= common - 1) likeness++;
    return likeness;
}
