/*
 * Checkpoints that are broken, each in one way. Every one must be refused with the right code and a message that names
 * the file and what is wrong; none may crash, hang, or open.
 *
 * Each case is the checkpoint gqa_group with one thing done to it, in a folder of its own.
 */
#include "decoders.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    char *bytes;
    size_t length;
} blob;

/* Memory for as long as the test lasts; the list tells a leak detector that it is wanted. */
static void *keep(size_t size) {
    static struct kept {
        struct kept *next;
    } *all;
    struct kept *k = malloc(sizeof *k + size);
    if (!k) exit(printf("out of memory\n"));
    k->next = all;
    all = k;
    return k + 1;
}

static blob read_file(const char *path) {
    blob b = {0};
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) exit(printf("cannot read %s\n", path));
    b.length = (size_t)ftell(file);
    b.bytes = keep(b.length + 1);
    rewind(file);
    if (fread(b.bytes, 1, b.length, file) != b.length) exit(printf("cannot read %s\n", path));
    b.bytes[b.length] = 0;
    fclose(file);
    return b;
}

static void write_file(const char *name, const void *bytes, size_t length) {
    FILE *file = fopen(inside(name), "wb");
    if (!file || fwrite(bytes, 1, length, file) != length || fclose(file)) exit(printf("cannot write %s\n", name));
}

/* `text` with the first `from` become `to`; a `from` that is not there is a mistake in this file. */
static blob replaced(const char *text, size_t length, const char *from, const char *to) {
    const char *at = memmem(text, length, from, strlen(from));
    if (!at) {
        failed(__FILE__, __LINE__, "nothing to replace: %s", from);
        finish();
    }
    size_t head = (size_t)(at - text), tail = length - head - strlen(from);
    blob b = {keep(head + strlen(to) + tail + 1), head + strlen(to) + tail};
    memcpy(b.bytes, text, head);
    memcpy(b.bytes + head, to, strlen(to));
    memcpy(b.bytes + head + strlen(to), at + strlen(from), tail + 1);
    return b;
}

static void write_safetensors(const char *name, uint64_t said_length, const char *header, size_t length,
                              const char *data, size_t data_length) {
    char *all = keep(8 + length + data_length);
    for (int i = 0; i < 8; i++) all[i] = (char)(said_length >> 8 * i);
    memcpy(all + 8, header, length);
    if (data_length) memcpy(all + 8 + length, data, data_length);
    write_file(name, all, 8 + length + data_length);
}

/* The good checkpoint, in parts. */
static blob config, tensors;
static const char *header, *data;
static size_t header_length, data_length;

static void good_parts(void) {
    char path[4096];
    snprintf(path, sizeof path, "%s/config.json", checkpoint());
    config = read_file(path);
    snprintf(path, sizeof path, "%s/model.safetensors", checkpoint());
    tensors = read_file(path);
    uint64_t n = 0;
    memcpy(&n, tensors.bytes, 8);
    header = tensors.bytes + 8;
    header_length = (size_t)n;
    data = header + n;
    data_length = tensors.length - 8 - header_length;
}

static void good_checkpoint(void) {
    make_own_folder();
    good_parts();
    write_file("config.json", config.bytes, config.length);
    write_file("model.safetensors", tensors.bytes, tensors.length);
}

static void forget(void) {
    DIR *dir = opendir(own_folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) {
            chmod(inside(entry->d_name), 0700);
            if (unlink(inside(entry->d_name))) rmdir(inside(entry->d_name));
        }
    if (dir) closedir(dir);
    rmdir(own_folder);
}

/* Opens what is there; on a refusal the message must hold every one of `words`, which are separated by '|'. */
static void expect(llada_status expected, const char *words) {
    for (int map = 0; map < 2; map++) {
        llada_error error = LLADA_ERROR_INIT;
        llada_model_options options = usual_options();
        llada_model *model = NULL;
        options.threads = 1;
        options.use_mmap = map;
        llada_status status = llada_model_open(own_folder, &options, &model, &error);
        if (status != expected)
            failed(__FILE__, __LINE__, "%s, not %s: %s", llada_status_name(status), llada_status_name(expected),
                   error.message);
        CHECK((status == LLADA_OK) == (model != NULL));
        if (status != LLADA_OK) {
            char list[256], *state = NULL;
            snprintf(list, sizeof list, "%s", words);
            for (char *w = strtok_r(list, "|", &state); w; w = strtok_r(NULL, "|", &state))
                if (!strstr(error.message, w))
                    failed(__FILE__, __LINE__, "the message does not say \"%s\": %s", w, error.message);
            if (map && getenv("SHOW_MESSAGES")) failed(__FILE__, 0, "%s", error.message);
        }
        llada_model_free(model);
    }
}

/* ---- Cases that are one replacement in a text ------------------------------------------------------------------- */

typedef struct {
    const char *name;
    const char *from, *to;
    llada_status status;
    const char *words;
} replacement;

#define SAFE "model.safetensors"
#define LM_HEAD "\"lm_head.weight\":{\"dtype\":\"F32\",\"shape\":[128,64],\"data_offsets\":[0,32768]}"

static const replacement in_header[] = {
    {"no JSON", "{\"__metadata__\"", "(\"__metadata__\"", LLADA_ERROR_SAFETENSORS, SAFE},
    {"an array", "{\"__metadata__\":{\"format\":\"pt\"}", "[{\"__metadata__\":{\"format\":\"pt\"}",
     LLADA_ERROR_SAFETENSORS, SAFE},
    {"a tensor twice", LM_HEAD, LM_HEAD "," LM_HEAD, LLADA_ERROR_SAFETENSORS, SAFE "|lm_head.weight"},
    {"__metadata__ twice", "\"lm_head.weight\":", "\"__metadata__\":{},\"lm_head.weight\":", LLADA_ERROR_SAFETENSORS,
     SAFE "|__metadata__"},
    {"a key of a tensor twice", "\"shape\":[128,64]", "\"shape\":[128,64],\"shape\":[128,64]", LLADA_ERROR_SAFETENSORS,
     SAFE},
    {"a twin by escapes", LM_HEAD,
     LM_HEAD ",\"lm_head.weigh\\u0074\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}",
     LLADA_ERROR_SAFETENSORS, SAFE "|lm_head.weight"},
    {"overlapping offsets", "[32768,49152]", "[32764,49148]", LLADA_ERROR_SAFETENSORS,
     SAFE "|model.layers.0.attention.dense.weight"},
    {"a hole", "[0,32768]", "[4,32772]", LLADA_ERROR_SAFETENSORS, SAFE},
    {"offsets backwards", "[0,32768]", "[32768,0]", LLADA_ERROR_SAFETENSORS, SAFE "|lm_head.weight"},
    {"offsets past the end", "[1100032,1132800]", "[1100032,1132804]", LLADA_ERROR_SAFETENSORS, SAFE},
    {"offsets short of the end", "\"shape\":[128,64],\"data_offsets\":[1100032,1132800]",
     "\"shape\":[127,64],\"data_offsets\":[1100032,1132544]", LLADA_ERROR_SAFETENSORS, SAFE},
    {"offsets that overflow", "[0,32768]", "[18446744073709518848,32768]", LLADA_ERROR_SAFETENSORS,
     SAFE "|lm_head.weight"},
    {"an offset beyond 64 bits", "[0,32768]", "[0,99999999999999999999999]", LLADA_ERROR_SAFETENSORS, SAFE},
    {"a negative offset", "[0,32768]", "[-1,32767]", LLADA_ERROR_SAFETENSORS, SAFE "|lm_head.weight"},
    {"a broken offset", "[0,32768]", "[0.5,32768]", LLADA_ERROR_SAFETENSORS, SAFE "|lm_head.weight"},
    {"one offset", "[0,32768]", "[32768]", LLADA_ERROR_SAFETENSORS, SAFE "|lm_head.weight"},
    {"three offsets", "[0,32768]", "[0,32768,49152]", LLADA_ERROR_SAFETENSORS, SAFE "|lm_head.weight"},
    {"no offsets", ",\"data_offsets\":[0,32768]", "", LLADA_ERROR_SAFETENSORS, SAFE "|lm_head.weight|data_offsets"},
    {"no dtype", "\"dtype\":\"F32\",\"shape\":[128,64],\"data_offsets\":[0,", "\"shape\":[128,64],\"data_offsets\":[0,",
     LLADA_ERROR_SAFETENSORS, SAFE "|lm_head.weight|dtype"},
    {"no shape", "\"shape\":[128,64],\"data_offsets\":[0,", "\"data_offsets\":[0,", LLADA_ERROR_SAFETENSORS,
     SAFE "|lm_head.weight|shape"},
    {"a dtype that does not exist", "\"F32\"", "\"F33\"", LLADA_ERROR_UNSUPPORTED, SAFE "|lm_head.weight|F33"},
    {"a dtype that is a number", "\"F32\"", "32", LLADA_ERROR_SAFETENSORS, SAFE "|lm_head.weight"},
    {"a dtype of other size", "\"F32\"", "\"F16\"", LLADA_ERROR_SAFETENSORS, SAFE "|lm_head.weight"},
    {"a dtype no weight has", "\"F32\"", "\"I32\"", LLADA_ERROR_TENSOR, SAFE "|lm_head.weight|I32"},
    {"a shape that overflows", "[128,64]", "[4294967296,4294967296,64]", LLADA_ERROR_SAFETENSORS,
     SAFE "|lm_head.weight"},
    {"a shape that wraps to the size", "[128,64]", "[2305843009213693952,8,128,64]", LLADA_ERROR_SAFETENSORS,
     SAFE "|lm_head.weight"},
    {"a negative shape", "[128,64]", "[-128,-64]", LLADA_ERROR_SAFETENSORS, SAFE "|lm_head.weight"},
    {"a shape that does not fill the offsets", "[128,64]", "[128,63]", LLADA_ERROR_SAFETENSORS, SAFE "|lm_head.weight"},
    {"a shape transposed", "[128,64]", "[64,128]", LLADA_ERROR_TENSOR, SAFE "|lm_head.weight|64"},
    {"a shape flattened", "[128,64]", "[8192]", LLADA_ERROR_TENSOR, SAFE "|lm_head.weight|8192"},
    {"a tensor missing", "\"lm_head.weight\"", "\"lm_head.wait\"", LLADA_ERROR_TENSOR, "lm_head.weight"},
    {"a layer's tensor missing", "\"model.layers.1.mlp.experts.3.up_proj.weight\"",
     "\"model.layers.1.mlp.experts.3.up_proj.wait\"", LLADA_ERROR_TENSOR, "experts"},
    {"broken UTF-8 in a name", "\"lm_head.weight\"", "\"lm_head.\xFF\xFEight\"", LLADA_ERROR_SAFETENSORS, SAFE},
    {"text behind the header", "}   ", "} x ", LLADA_ERROR_SAFETENSORS, SAFE},
    {"a tensor that is a string", LM_HEAD, "\"lm_head.weight\":\"F32\"", LLADA_ERROR_SAFETENSORS,
     SAFE "|lm_head.weight"},
    {"metadata that is no string", "{\"format\":\"pt\"}", "{\"format\":1}", LLADA_ERROR_SAFETENSORS,
     SAFE "|__metadata__"},
};

#define CONFIG "config.json"

static const replacement in_config[] = {
    {"no JSON", "{", "", LLADA_ERROR_JSON, CONFIG},
    {"cut in the middle", " \"vocab_size\": 128\n}", " \"vocab_s", LLADA_ERROR_JSON, CONFIG},
    {"a comma too many", " \"vocab_size\": 128", " \"vocab_size\": 128,", LLADA_ERROR_JSON, CONFIG},
    {"a key twice", "\"vocab_size\": 128", "\"vocab_size\": 128, \"vocab_size\": 128", LLADA_ERROR_JSON,
     CONFIG "|vocab_size"},
    {"text behind it", "128\n}", "128\n} {}", LLADA_ERROR_JSON, CONFIG},
    {"NaN", "1e-06", "NaN", LLADA_ERROR_JSON, CONFIG},
    {"no vocab_size", "\"vocab_size\"", "\"vocab_sighs\"", LLADA_ERROR_CONFIG, CONFIG "|vocab_size"},
    {"vocab_size 0", "\"vocab_size\": 128", "\"vocab_size\": 0", LLADA_ERROR_CONFIG, CONFIG "|vocab_size"},
    {"vocab_size -128", "\"vocab_size\": 128", "\"vocab_size\": -128", LLADA_ERROR_CONFIG, CONFIG "|vocab_size|-128"},
    {"vocab_size 128.5", "\"vocab_size\": 128", "\"vocab_size\": 128.5", LLADA_ERROR_CONFIG, CONFIG "|vocab_size"},
    {"vocab_size a string", "\"vocab_size\": 128", "\"vocab_size\": \"128\"", LLADA_ERROR_CONFIG, CONFIG "|vocab_size"},
    {"vocab_size beyond 32 bits", "\"vocab_size\": 128", "\"vocab_size\": 4294967424", LLADA_ERROR_CONFIG,
     CONFIG "|vocab_size"},
    {"vocab_size beyond 64 bits", "\"vocab_size\": 128", "\"vocab_size\": 1e300", LLADA_ERROR_CONFIG,
     CONFIG "|vocab_size"},
    {"vocab_size not the tensors'", "\"vocab_size\": 128", "\"vocab_size\": 129", LLADA_ERROR_TENSOR, "128|129"},
    {"hidden_size 0", "\"hidden_size\": 64", "\"hidden_size\": 0", LLADA_ERROR_CONFIG, CONFIG "|hidden_size"},
    {"hidden_size huge", "\"hidden_size\": 64", "\"hidden_size\": 2147483647", LLADA_ERROR_CONFIG,
     CONFIG "|hidden_size"},
    {"no layers", "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 0", LLADA_ERROR_CONFIG,
     CONFIG "|num_hidden_layers"},
    {"a layer too many", "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4", LLADA_ERROR_TENSOR, "model.layers.3"},
    {"a billion layers", "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 1000000000", LLADA_ERROR_CONFIG,
     CONFIG "|num_hidden_layers"},
    {"num_attention_heads 0", "\"num_attention_heads\": 4", "\"num_attention_heads\": 0", LLADA_ERROR_CONFIG,
     CONFIG "|num_attention_heads"},
    {"heads that do not divide", "\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3", LLADA_ERROR_CONFIG,
     CONFIG "|num_key_value_heads"},
    {"key heads 0", "\"num_key_value_heads\": 2", "\"num_key_value_heads\": 0", LLADA_ERROR_CONFIG,
     CONFIG "|num_key_value_heads"},
    {"head_dim odd", "\"head_dim\": 16", "\"head_dim\": 15", LLADA_ERROR_CONFIG, CONFIG "|head_dim"},
    {"experts per token beyond the experts", "\"num_experts_per_tok\": 4", "\"num_experts_per_tok\": 17",
     LLADA_ERROR_CONFIG, CONFIG "|num_experts_per_tok"},
    {"experts per token 0", "\"num_experts_per_tok\": 4", "\"num_experts_per_tok\": 0", LLADA_ERROR_CONFIG,
     CONFIG "|num_experts_per_tok"},
    {"groups that do not divide", "\"n_group\": 4", "\"n_group\": 3", LLADA_ERROR_CONFIG, CONFIG "|n_group"},
    {"n_group 0", "\"n_group\": 4", "\"n_group\": 0", LLADA_ERROR_CONFIG, CONFIG "|n_group"},
    {"topk_group beyond n_group", "\"topk_group\": 2", "\"topk_group\": 5", LLADA_ERROR_CONFIG, CONFIG "|topk_group"},
    {"topk_group 0", "\"topk_group\": 2", "\"topk_group\": 0", LLADA_ERROR_CONFIG, CONFIG "|topk_group"},
    {"partial_rotary_factor 0", "\"partial_rotary_factor\": 0.5", "\"partial_rotary_factor\": 0", LLADA_ERROR_CONFIG,
     CONFIG "|partial_rotary_factor"},
    {"partial_rotary_factor 1.5", "\"partial_rotary_factor\": 0.5", "\"partial_rotary_factor\": 1.5",
     LLADA_ERROR_CONFIG, CONFIG "|partial_rotary_factor"},
    {"rms_norm_eps -1", "1e-06", "-1", LLADA_ERROR_CONFIG, CONFIG "|rms_norm_eps"},
    {"rope_theta 0", "\"rope_theta\": 600000", "\"rope_theta\": 0", LLADA_ERROR_CONFIG, CONFIG "|rope_theta"},
    {"rope_theta 1e400", "\"rope_theta\": 600000", "\"rope_theta\": 1e400", LLADA_ERROR_JSON, CONFIG},
    {"rope scaling", "\"rope_scaling\": null", "\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 4}",
     LLADA_ERROR_UNSUPPORTED, CONFIG "|rope_scaling"},
    {"yarn without factor", "\"rope_scaling\": null", "\"rope_scaling\": {\"rope_type\": \"yarn\"}", LLADA_ERROR_CONFIG,
     CONFIG "|rope_scaling.factor"},
    {"yarn factor 0.5", "\"rope_scaling\": null", "\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 0.5}",
     LLADA_ERROR_CONFIG, CONFIG "|rope_scaling.factor"},
    {"another activation", "\"silu\"", "\"gelu\"", LLADA_ERROR_UNSUPPORTED, CONFIG "|hidden_act|gelu"},
    {"another score function", "\"sigmoid\"", "\"softmax\"", LLADA_ERROR_UNSUPPORTED, CONFIG "|score_function|softmax"},
    {"a bias no tensor has", "\"use_qkv_bias\": false", "\"use_qkv_bias\": true", LLADA_ERROR_UNSUPPORTED,
     CONFIG "|use_qkv_bias"},
    {"a flag that is a number", "\"norm_topk_prob\": true", "\"norm_topk_prob\": 1", LLADA_ERROR_CONFIG,
     CONFIG "|norm_topk_prob"},
};

static void run_header(void) {
    const replacement *current = test_argument;
    good_checkpoint();
    blob h = replaced(header, header_length, current->from, current->to);
    write_safetensors("model.safetensors", h.length, h.bytes, h.length, data, data_length);
    expect(current->status, current->words);
    forget();
}

static void run_config(void) {
    const replacement *current = test_argument;
    good_checkpoint();
    blob c = replaced(config.bytes, config.length, current->from, current->to);
    write_file("config.json", c.bytes, c.length);
    expect(current->status, current->words);
    forget();
}

/* ---- Cases of their own ----------------------------------------------------------------------------------------- */

static void untouched(void) {
    good_checkpoint();
    expect(LLADA_OK, "");
    forget();
}

/* Cut anywhere: in the length, in the header, in the data. */
static void cut_short(void) {
    good_checkpoint();
    static const size_t lengths[] = {0, 1, 7, 8, 9, 100, 14000, 14255, 14256, 14257, 500000};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        write_file("model.safetensors", tensors.bytes, lengths[i]);
        llada_error error = LLADA_ERROR_INIT;
        llada_model *model = NULL;
        llada_status status = llada_model_open(own_folder, NULL, &model, &error);
        CHECK(status == LLADA_ERROR_SAFETENSORS || status == LLADA_ERROR_IO);
        CHECK(!model && strstr(error.message, "model.safetensors"));
        llada_model_free(model);
    }
    write_file("model.safetensors", tensors.bytes, tensors.length - 1);
    expect(LLADA_ERROR_SAFETENSORS, SAFE);
    forget();
}

static void too_long(void) {
    good_checkpoint();
    write_safetensors("model.safetensors", header_length, header, header_length, data,
                      data_length + 1); /* the NUL behind */
    expect(LLADA_ERROR_SAFETENSORS, SAFE);
    forget();
}

static void header_lengths(void) {
    good_checkpoint();
    static const uint64_t lengths[] = {0,
                                       1,
                                       2,
                                       14247,
                                       14249,
                                       1147056,
                                       100000001,
                                       (uint64_t)1 << 32,
                                       (uint64_t)1 << 63,
                                       UINT64_MAX,
                                       UINT64_MAX - 7,
                                       UINT64_MAX - 8};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        write_safetensors("model.safetensors", lengths[i], header, header_length, data, data_length);
        llada_error error = LLADA_ERROR_INIT;
        llada_model *model = NULL;
        llada_status status = llada_model_open(own_folder, NULL, &model, &error);
        if (status != LLADA_ERROR_SAFETENSORS && status != LLADA_ERROR_IO)
            failed(__FILE__, __LINE__, "header length %llu: %s", (unsigned long long)lengths[i],
                   llada_status_name(status));
        CHECK(!model && strstr(error.message, "model.safetensors"));
        llada_model_free(model);
    }
    forget();
}

/* JSON as deep as the header allows: refused, not followed down the stack. */
static void deep_json(void) {
    enum { DEPTH = 4000000 };
    char *deep = keep(DEPTH);
    for (int braces = 0; braces < 2; braces++) {
        good_checkpoint();
        if (braces)
            for (size_t i = 0; i < DEPTH; i++) deep[i] = "{\"a\":"[i % 5];
        else
            memset(deep, '[', DEPTH);
        write_file("config.json", deep, DEPTH);
        expect(LLADA_ERROR_JSON, CONFIG);
        write_file("config.json", config.bytes, config.length);
        write_safetensors("model.safetensors", DEPTH, deep, DEPTH, data, data_length);
        expect(LLADA_ERROR_SAFETENSORS, SAFE);
        forget();
    }
}

static void no_files(void) {
    good_checkpoint();
    unlink(inside("model.safetensors"));
    expect(LLADA_ERROR_IO, "model.safetensors");
    mkdir(inside("model.safetensors"), 0700);
    expect(LLADA_ERROR_IO, "model.safetensors");
    unlink(inside("config.json"));
    expect(LLADA_ERROR_IO, CONFIG);
    forget();
    expect(LLADA_ERROR_IO, own_folder);  /* now there is no folder */
    FILE *file = fopen(own_folder, "w"); /* and now a file in its place */
    NEED(file);
    fclose(file);
    expect(LLADA_ERROR_IO, own_folder);
    unlink(own_folder);
}

/* A pipe in place of a file would be waited on for ever. */
static void not_regular(void) {
    static const char *const names[] = {"config.json", "model.safetensors", "tokenizer.json", "generation_config.json"};
    for (size_t i = 0; i < 4; i++) {
        good_checkpoint();
        unlink(inside(names[i]));
        NEED(!mkfifo(inside(names[i]), 0600));
        expect(LLADA_ERROR_IO, names[i]);
        unlink(inside(names[i]));
        NEED(!symlink("/dev/zero", inside(names[i])));
        expect(LLADA_ERROR_IO, names[i]);
        forget();
    }
}

/* Models of other kinds have tensors of the same names, and would answer nonsense. */
static void another_architecture(void) {
    static const char *const types[] = {"llama", "bailing_moe_v2", "bailing_hybrid", "llada"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char quoted[64];
        snprintf(quoted, sizeof quoted, "\"%s\"", types[i]);
        good_checkpoint();
        blob c = replaced(config.bytes, config.length, "\"llada2_moe\"", quoted);
        write_file("config.json", c.bytes, c.length);
        snprintf(quoted, sizeof quoted, CONFIG "|model_type|%s", types[i]);
        expect(LLADA_ERROR_UNSUPPORTED, quoted);
        forget();
    }
    good_checkpoint();
    blob c = replaced(config.bytes, config.length, "\"LLaDA2MoeModelLM\"", "\"BailingMoeV2ForCausalLM\"");
    write_file("config.json", c.bytes, c.length);
    expect(LLADA_ERROR_UNSUPPORTED, CONFIG "|architectures|BailingMoeV2ForCausalLM|autoregressive");
    c = replaced(config.bytes, config.length, "\"llada2_moe\"", "\"llada2_moe_veomni\"");
    write_file("config.json", c.bytes, c.length);
    expect(LLADA_OK, "");
    c = replaced(config.bytes, config.length, "\"llada2_moe\"", "null");
    write_file("config.json", c.bytes, c.length);
    expect(LLADA_OK, ""); /* by its architecture */
    forget();
}

static void empty_config(void) {
    good_checkpoint();
    write_file("config.json", "", 0);
    expect(LLADA_ERROR_JSON, CONFIG);
    write_file("config.json", "{}", 2);
    expect(LLADA_ERROR_CONFIG, CONFIG);
    write_file("config.json", "null", 4);
    expect(LLADA_ERROR_CONFIG, CONFIG);
    write_file("config.json", "\x00\x00", 2);
    expect(LLADA_ERROR_JSON, CONFIG);
    forget();
}

/* ---- Shards ----------------------------------------------------------------------------------------------------- */

/* The checkpoint in one shard, under an index that `entry` may spoil. */
static void shard(const char *index) {
    good_checkpoint();
    unlink(inside("model.safetensors"));
    write_file("model-00001-of-00001.safetensors", tensors.bytes, tensors.length);
    write_file("model.safetensors.index.json", index, strlen(index));
}

#define INDEX "model.safetensors.index.json"

/* An index as it should be: every tensor of the header in the one shard. `skip` is left out, `extra` put before. */
static char *make_index(const char *skip, const char *extra) {
    char *index = keep(2 * header_length + 200 * 64);
    char *out = index + sprintf(index, "{\"metadata\":{\"total_size\":1132800},\"weight_map\":{%s", extra);
    const char *comma = *extra ? "," : "";
    for (const char *at = header; (at = memmem(at, (size_t)(data - at), "\":{\"dtype\"", 10)); at++) {
        const char *begin = at;
        while (begin[-1] != '"') begin--;
        if (skip && (size_t)(at - begin) == strlen(skip) && !memcmp(begin, skip, strlen(skip))) continue;
        out += sprintf(out, "%s\"%.*s\":\"model-00001-of-00001.safetensors\"", comma, (int)(at - begin), begin);
        comma = ",";
    }
    strcpy(out, "}}");
    return index;
}

static void shards(void) {
    good_parts();
    shard(make_index(NULL, ""));
    expect(LLADA_OK, "");
    forget();
    /* A tensor that nobody has, and nobody needs. */
    shard(make_index(NULL, "\"model.extra.weight\":\"model-00001-of-00001.safetensors\""));
    expect(LLADA_OK, "");
    forget();
    static const struct {
        const char *skip, *extra;
        llada_status status;
        const char *words;
    } bad[] = {
        {"lm_head.weight", "\"lm_head.weight\":\"../model-00001-of-00001.safetensors\"", LLADA_ERROR_SHARD_INDEX,
         INDEX "|.."},
        {"lm_head.weight", "\"lm_head.weight\":\"/etc/passwd\"", LLADA_ERROR_SHARD_INDEX, INDEX "|/etc/passwd"},
        {"lm_head.weight", "\"lm_head.weight\":\"a/../../b.safetensors\"", LLADA_ERROR_SHARD_INDEX, INDEX},
        {"lm_head.weight", "\"lm_head.weight\":\"\"", LLADA_ERROR_SHARD_INDEX, INDEX},
        {"lm_head.weight", "\"lm_head.weight\":\".\"", LLADA_ERROR_SHARD_INDEX, INDEX},
        {"lm_head.weight", "\"lm_head.weight\":\"model\\u0000.safetensors\"", LLADA_ERROR_SHARD_INDEX, INDEX},
        {"lm_head.weight", "\"lm_head.weight\":7", LLADA_ERROR_SHARD_INDEX, INDEX "|lm_head.weight"},
        {"lm_head.weight", "\"lm_head.weight\":\"model-00002-of-00002.safetensors\"", LLADA_ERROR_IO,
         "model-00002-of-00002.safetensors"},
        {"lm_head.weight", "", LLADA_ERROR_SHARD_INDEX, "lm_head.weight"}, /* in the shard, not in the index */
        {NULL, "\"lm_head.weight\":\"model-00001-of-00001.safetensors\"", LLADA_ERROR_JSON,
         INDEX "|lm_head.weight"}, /* twice */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        shard(make_index(bad[i].skip, bad[i].extra));
        llada_error error = LLADA_ERROR_INIT;
        llada_model *model = NULL;
        llada_status status = llada_model_open(own_folder, NULL, &model, &error);
        /* A key twice is bad JSON or a bad index; a tensor missing from the index is missing, or the index is wrong. */
        bool also = (status == LLADA_ERROR_SHARD_INDEX && bad[i].status == LLADA_ERROR_JSON) ||
                    (status == LLADA_ERROR_TENSOR && !*bad[i].extra);
        if (status != bad[i].status && !also)
            failed(__FILE__, __LINE__, "case %zu: %s, not %s: %s", i, llada_status_name(status),
                   llada_status_name(bad[i].status), error.message);
        char list[256], *state = NULL;
        snprintf(list, sizeof list, "%s", bad[i].words);
        for (char *w = strtok_r(list, "|", &state); w; w = strtok_r(NULL, "|", &state))
            if (status != LLADA_OK && !strstr(error.message, w))
                failed(__FILE__, __LINE__, "case %zu: the message does not say \"%s\": %s", i, w, error.message);
        CHECK(!model);
        llada_model_free(model);
        forget();
    }
    static const char *const broken[] = {
        "", "[]", "{}", "{\"weight_map\":[]}", "{\"weight_map\":{}}", "{\"weight_map\":"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        shard(broken[i]);
        llada_error error = LLADA_ERROR_INIT;
        llada_model *model = NULL;
        llada_status status = llada_model_open(own_folder, NULL, &model, &error);
        bool json = i == 0 || i == 5;
        if (status != (json ? LLADA_ERROR_JSON : LLADA_ERROR_SHARD_INDEX))
            failed(__FILE__, __LINE__, "index %s: %s: %s", broken[i], llada_status_name(status), error.message);
        CHECK(!model && strstr(error.message, INDEX));
        llada_model_free(model);
        forget();
    }
}

/* ---- The other files -------------------------------------------------------------------------------------------- */

static void bad_tokenizer(void) {
    static const struct {
        const char *text;
        llada_status status;
    } bad[] = {
        {"", LLADA_ERROR_JSON},
        {"{", LLADA_ERROR_JSON},
        {"[]", LLADA_ERROR_TOKENIZER},
        {"{}", LLADA_ERROR_TOKENIZER},
        {"{\"model\":{\"type\":\"BPE\"}}", LLADA_ERROR_TOKENIZER},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}", LLADA_ERROR_UNSUPPORTED},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]}}", LLADA_ERROR_TOKENIZER},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}}", LLADA_ERROR_TOKENIZER},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":99999999999},\"merges\":[]}}", LLADA_ERROR_TOKENIZER},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}}", LLADA_ERROR_TOKENIZER},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        good_checkpoint();
        write_file("tokenizer.json", bad[i].text, strlen(bad[i].text));
        llada_error error = LLADA_ERROR_INIT;
        llada_model *model = NULL;
        llada_status status = llada_model_open(own_folder, NULL, &model, &error);
        /* Which of the two an incomplete one is, is a matter of taste; that it is refused, and named, is not. */
        bool also = bad[i].status == LLADA_ERROR_TOKENIZER && status == LLADA_ERROR_UNSUPPORTED;
        if (status != bad[i].status && !also)
            failed(__FILE__, __LINE__, "%s: %s: %s", bad[i].text, llada_status_name(status), error.message);
        CHECK(!model && strstr(error.message, "tokenizer.json"));
        llada_model_free(model);
        forget();
    }
}

static void bad_generation_config(void) {
    static const char *const bad[] = {"{",
                                      "[]",
                                      "{\"mask_token_id\":\"x\"}",
                                      "{\"mask_token_id\":-7}",
                                      "{\"mask_token_id\":128}",
                                      "{\"eos_token_id\":[126,\"x\"]}",
                                      "{\"eos_token_id\":1e30}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        good_checkpoint();
        write_file("generation_config.json", bad[i], strlen(bad[i]));
        llada_error error = LLADA_ERROR_INIT;
        llada_model *model = NULL;
        llada_status status = llada_model_open(own_folder, NULL, &model, &error);
        if (status != LLADA_ERROR_JSON && status != LLADA_ERROR_CONFIG && status != LLADA_ERROR_SPECIAL_TOKEN)
            failed(__FILE__, __LINE__, "%s: %s: %s", bad[i], llada_status_name(status), error.message);
        CHECK(!model && strstr(error.message, "generation_config.json"));
        llada_model_free(model);
        forget();
    }
    /* And a good one is heeded. */
    good_checkpoint();
    static const char good[] = "{\"mask_token_id\":127,\"eos_token_id\":[126,125]}";
    write_file("generation_config.json", good, strlen(good));
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = NULL;
    llada_model_info info = LLADA_MODEL_INFO_INIT;
    CHECK_OK(llada_model_open(own_folder, NULL, &model, &error));
    NEED(model);
    CHECK_OK(llada_model_get_info(model, &info, &error));
    CHECK_EQUAL(info.mask_token_id, 127);
    CHECK_EQUAL(info.eos_token_id, 126);
    int32_t ids[3];
    size_t count = 0;
    CHECK_OK(llada_model_eos_token_ids(model, ids, 3, &count, &error));
    CHECK(count == 2 && ids[0] == 126 && ids[1] == 125);
    llada_model_free(model);
    forget();
}

/* Weights that are no numbers are an error, at the latest at the first step; whatever else they are is a model. */
static void not_a_number(void) {
    good_checkpoint();
    static const uint32_t patterns[] = {0x7FC00000, 0x7F800000, 0xFF800000, 0x7F7FFFFF, 0x00000001};
    for (size_t p = 0; p < sizeof patterns / sizeof *patterns; p++) {
        char *bytes = keep(tensors.length);
        memcpy(bytes, tensors.bytes, tensors.length);
        for (size_t i = 0; i < data_length / 4; i += p < 3 ? 97 : 1)
            memcpy(bytes + 8 + header_length + 4 * i, &patterns[p], 4);
        write_file("model.safetensors", bytes, tensors.length);
        llada_error error = LLADA_ERROR_INIT;
        llada_model_options options = usual_options();
        llada_model *model = NULL;
        llada_status status = llada_model_open(own_folder, &options, &model, &error);
        if (p < 3) CHECK_STATUS(status, LLADA_ERROR_NUMERIC);
        if (status != LLADA_OK) continue;
        for (llada_preset preset = LLADA_PRESET_LOW_CONFIDENCE; preset <= LLADA_PRESET_QUALITY_MBE; preset++) {
            llada_decoder *decoder = make_decoder(model, preset, 12);
            int32_t tokens[12];
            size_t count = 0;
            status = llada_decoder_run(decoder, NULL, NULL, &error);
            CHECK(status == LLADA_OK || status == LLADA_ERROR_NUMERIC);
            if (status == LLADA_OK) {
                CHECK_STATUS(llada_decoder_output(decoder, tokens, 12, &count, NULL), LLADA_OK);
                for (size_t i = 0; i < count; i++) CHECK(tokens[i] >= 0 && tokens[i] < VOCAB);
            }
            llada_decoder_free(decoder);
        }
        llada_model_free(model);
    }
    forget();
}

/* A byte of the header changed at random, many times: refused or opened, never worse. The same bytes every time. */
static void random_bytes(void) {
    good_checkpoint();
    uint64_t seed = 42;
    int opened = 0;
    char *bytes = keep(tensors.length);
    for (int round = 0; round < 400; round++) {
        memcpy(bytes, tensors.bytes, tensors.length);
        for (int change = 0; change < 1 + round % 3; change++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            bytes[(seed >> 33) % (header_length + 8)] =
                round % 2 ? (char)(seed >> 25) : "0123456789[]{},:\"F-e."[(seed >> 20) % 21];
        }
        write_file("model.safetensors", bytes, tensors.length);
        llada_error error = LLADA_ERROR_INIT;
        llada_model_options options = usual_options();
        options.threads = 1;
        llada_model *model = NULL;
        llada_status status = llada_model_open(own_folder, &options, &model, &error);
        CHECK((status == LLADA_OK) == (model != NULL));
        if (status != LLADA_OK) CHECK(*error.message);
        opened += status == LLADA_OK;
        llada_model_free(model);
    }
    remark("%d of 400 opened", opened);
    forget();
}

enum { HEADERS = sizeof in_header / sizeof *in_header, CONFIGS = sizeof in_config / sizeof *in_config };

int main(void) {
    static const test own[] = {
        {"the checkpoint itself", untouched},
        {"safetensors: cut short", cut_short},
        {"safetensors: a byte too long", too_long},
        {"safetensors: header lengths", header_lengths},
        {"safetensors and config: JSON as deep as a well", deep_json},
        {"safetensors: random bytes", random_bytes},
        {"weights that are no numbers", not_a_number},
        {"files that are not there", no_files},
        {"files that are none", not_regular},
        {"config: empty", empty_config},
        {"config: another architecture", another_architecture},
        {"shards and their index", shards},
        {"tokenizer.json", bad_tokenizer},
        {"generation_config.json", bad_generation_config},
    };
    enum { OWN = sizeof own / sizeof *own };
    static test tests[OWN + HEADERS + CONFIGS];
    static char names[HEADERS + CONFIGS][64];
    memcpy(tests, own, sizeof own);
    for (size_t i = 0; i < HEADERS + CONFIGS; i++) {
        const replacement *r = i < HEADERS ? &in_header[i] : &in_config[i - HEADERS];
        snprintf(names[i], sizeof names[i], "%s: %s", i < HEADERS ? "safetensors" : "config", r->name);
        tests[OWN + i] = (test){names[i], i < HEADERS ? run_header : run_config, r};
    }
    return run_tests(tests, sizeof tests / sizeof *tests);
}
