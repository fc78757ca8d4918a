/*
 * llada.h - block-diffusion language models (LLaDA2.x) inside your program.
 *
 * A prompt goes in, a canvas of masked tokens is denoised block by block, tokens come out; every denoising step
 * can be watched and steered. From words to words, without looking:
 *
 *     llada_error err = LLADA_ERROR_INIT;
 *     llada_model *model = NULL;
 *     if (llada_model_open("path/to/checkpoint", NULL, &model, &err) != LLADA_OK) {
 *         fprintf(stderr, "%s\n", err.message);
 *         return 1;
 *     }
 *     llada_chat_message ask = {"user", "What is 17 plus 25?"};
 *     int32_t prompt[512], answer[512];
 *     size_t prompt_count = 0, answer_count = 0, length = 0;
 *     char text[4096];
 *     llada_decoder *decoder = NULL;
 *     if (llada_chat_tokenize(model, &ask, 1, true, prompt, 512, &prompt_count, &err) == LLADA_OK &&
 *         llada_decoder_create(model, prompt, prompt_count, NULL, &decoder, &err) == LLADA_OK &&
 *         llada_decoder_run(decoder, NULL, NULL, &err) == LLADA_OK &&
 *         llada_decoder_output(decoder, answer, 512, &answer_count, &err) == LLADA_OK &&
 *         llada_detokenize(model, answer, answer_count, LLADA_TEXT_SKIP_CONTROL, text, sizeof text, &length, &err) == LLADA_OK)
 *         printf("%.*s\n", (int)length, text);
 *     else
 *         fprintf(stderr, "%s\n", err.message);
 *     llada_decoder_free(decoder);
 *     llada_model_free(model);
 *
 * And by hand, one step at a time:
 *
 *     llada_decoder_state state = LLADA_DECODER_STATE_INIT;
 *     while (llada_decoder_get_state(decoder, &state) == LLADA_OK && !state.finished) {
 *         llada_decoder_forward(decoder, &err);      // run the model over the active positions
 *         llada_decoder_propose(decoder, &err);      // the policy picks edits; look at them, change them
 *         llada_decoder_apply(decoder, &err);        // write them, emit events
 *     }
 *
 * THE RULES OF THIS INTERFACE
 *
 * Errors.   Every function that can fail returns a llada_status: LLADA_OK (0) or a negative code that never changes
 *           its meaning. `error` is optional, owned by the caller and filled only on failure. A failed call changes
 *           nothing, unless its description says otherwise.
 * Memory.   What a _create or _open hands out is yours until you _free it; _free(NULL) is fine. A pointer handed out
 *           by a function marked VIEW is the library's: valid until the next call on that handle that is not const.
 *           A function that fills a buffer of yours reports the count needed in `*count`, also when it returns
 *           LLADA_ERROR_BUFFER_TOO_SMALL; then it has written nothing. Buffers may be NULL if their capacity is 0.
 * Structs.  One that begins with struct_size may grow at its end in later versions. Fill it through its _INIT macro or
 *           _init function. A smaller struct, of an older header, gets defaults for what it lacks (a policy, those of
 *           its kind); a larger one is refused if its unknown tail is not zero. The others (candidate, edit, event,
 *           chat message) never change. Out pointers may not be NULL unless it says so.
 * Threads.  A llada_model never changes and may be used by many threads at once; it must outlive nothing: decoders
 *           keep it alive. So may a llada_prefix_cache. Any other handle belongs to one thread at a time.
 *           llada_decoder_cancel alone may be called from anywhere at any time.
 * Callbacks run on the calling thread, under no lock. Their non-zero return stops the work with LLADA_ERROR_STOPPED.
 *           In a callback the const functions of the handle at work may be called; any other answers LLADA_ERROR_BUSY
 *           (llada_decoder_cancel works, and a _free takes effect afterwards). A VIEW taken in a callback ends with it.
 * Manners.  The library does not print, exit, trap, install signal handlers or change the locale. It holds no state
 *           outside its handles. One caveat: checkpoints are memory-mapped by default, and a file that is truncated
 *           while it is open ends in SIGBUS, as with any mapped file; see llada_model_options.use_mmap.
 * Results.  Equal inputs give bit-equal outputs, whatever the number of threads, with the cache on or off, alone or
 *           beside others.
 *
 * Tokens are int32_t; positions are absolute on the canvas (prompt first), from 0. Text is UTF-8 with its length in
 * bytes. Sections and equations cited are those of the LLaDA2.0 and LLaDA2.1 reports.
 */
#ifndef LLADA_H
#define LLADA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LLADA_VERSION_MAJOR 0
#define LLADA_VERSION_MINOR 1
#define LLADA_VERSION_PATCH 0
#define LLADA_VERSION (LLADA_VERSION_MAJOR * 10000 + LLADA_VERSION_MINOR * 100 + LLADA_VERSION_PATCH)

#if defined(__GNUC__)
#define LLADA_API __attribute__((visibility("default")))
#else
#define LLADA_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Version ---------------------------------------------------------------------------------------------------- */

/* LLADA_VERSION of the library that is loaded, which need not be that of the header you compiled with. */
LLADA_API uint32_t llada_version(void);

/* "0.1.0". VIEW, for ever. */
LLADA_API const char *llada_version_string(void);

/* One line: version, and the kernels this CPU gets ("llada 0.1.0 (kernels: avx512)"). VIEW, for ever. */
LLADA_API const char *llada_build_info(void);

/* ---- Errors ----------------------------------------------------------------------------------------------------- */

typedef int32_t llada_status;
enum {
    LLADA_OK = 0,
    LLADA_ERROR_INVALID_ARGUMENT = -1, /* NULL, out of range, or a struct_size this library does not know */
    LLADA_ERROR_OUT_OF_MEMORY = -2,
    LLADA_ERROR_IO = -3,               /* a file is missing, unreadable, or ends early */
    LLADA_ERROR_JSON = -4,             /* a file is not well-formed JSON */
    LLADA_ERROR_CONFIG = -5,           /* a value of config.json is missing, out of range, or contradicts another */
    LLADA_ERROR_SAFETENSORS = -6,      /* a file breaks the safetensors format */
    LLADA_ERROR_SHARD_INDEX = -7,      /* the shard index is inconsistent, or names a file outside its folder */
    LLADA_ERROR_TENSOR = -8,           /* a tensor is missing, or not of the shape or type the config asks for */
    LLADA_ERROR_TOKENIZER = -9,        /* tokenizer.json is inconsistent, or there is none */
    LLADA_ERROR_UNSUPPORTED = -10,     /* well-formed, but nothing this library implements */
    LLADA_ERROR_STATE = -11,           /* out of order: propose before forward, say, or a step after the end */
    LLADA_ERROR_BUSY = -12,            /* the handle is at work, on another thread or in the caller of this callback */
    LLADA_ERROR_CANCELLED = -13,       /* llada_decoder_cancel was called */
    LLADA_ERROR_STOPPED = -14,         /* a callback returned non-zero */
    LLADA_ERROR_BUFFER_TOO_SMALL = -15,
    LLADA_ERROR_SPECIAL_TOKEN = -16,   /* the mask id is unknown, or stands where it must not */
    LLADA_ERROR_SNAPSHOT = -17         /* a snapshot is damaged, of another version, or of another model */
};

/* What went wrong, in words. Owned by the caller; message is always NUL-terminated UTF-8. */
typedef struct llada_error {
    uint32_t struct_size;
    llada_status status;
    char message[1016];
} llada_error;
#define LLADA_ERROR_INIT {sizeof(llada_error), LLADA_OK, {0}}

/* The name of a status ("LLADA_ERROR_IO"); "unknown status" for anything else. VIEW, for ever. */
LLADA_API const char *llada_status_name(llada_status status);

/* ---- Model ------------------------------------------------------------------------------------------------------ */

/* An opened checkpoint: weights, config and, where the folder has one, the tokenizer. Immutable. */
typedef struct llada_model llada_model;

/* How the matrices of the layers and of the head are held, and multiplied. Norms, biases and routers are always f32, the
 * embedding as stored. F32 arithmetic is exact to its rounding; the packed formats are 2 to 5 times as fast, and copies of
 * the weights in memory. README, "Precision", has what each costs. FP8 checkpoints (blocks with scales) load as any. */
typedef int32_t llada_dtype;
enum {
    LLADA_DTYPE_AUTO = 0, /* each tensor as stored: F32, F16 or BF16, used in place; activations f32. A model that
                             llada_model_save wrote: as it was packed, and then no other is possible. */
    LLADA_DTYPE_F32 = 1,  /* weights and activations f32 */
    LLADA_DTYPE_BF16 = 2, /* packed; weights and activations rounded to bf16 (nearest even), sums f32 */
    LLADA_DTYPE_INT8 = 3, /* packed; integers with a scale for every 64 inputs, activations likewise */
    LLADA_DTYPE_INT4 = 4  /* packed; 4 bits with a scale for every 32 inputs, activations int8; the head int8 */
};

/* Who multiplies f32 weights. The two differ in rounding, so choose one and stay with it to compare results. */
typedef int32_t llada_blas;
enum {
    LLADA_BLAS_AUTO = 0, /* our own kernels, unless this CPU has none (no AVX2) and OpenBLAS is installed */
    LLADA_BLAS_OFF = 1,
    LLADA_BLAS_ON = 2    /* OpenBLAS (libopenblas.so.0) for the dense products; LLADA_ERROR_UNSUPPORTED if it cannot
                            be loaded. It is loaded once, privately, and set to one thread: see README. */
};

/* Loading, or saving, has come this far (0 to 1). Non-zero stops it. */
typedef int (*llada_progress_callback)(double fraction, void *user);

typedef struct llada_model_options {
    uint32_t struct_size;
    llada_dtype dtype;
    int32_t threads;       /* of the model's own team, the caller's included; 0: as many as the process may use */
    int32_t mask_token_id; /* -1: generation_config.json, config.json, <|mask|> of the tokenizer, or 156895 */
    int32_t eos_token_id;  /* -1: generation_config.json, config.json, <|endoftext|> of the tokenizer, or 156892 */
    llada_blas blas;
    bool use_mmap;         /* true: weights used in place are mapped; false: read into memory */
    int32_t expert_capacity; /* 0: as the config says. Else the tokens of a block of 32 positions share so many experts of
                                a layer, those that some token of the block scores highest: LLaDA2.2's block routing, for
                                any model. Fewer bytes a step, other results. num_experts_per_tok to num_experts. */
    llada_progress_callback progress; /* may be NULL */
    void *progress_user;
    llada_dtype kv_dtype; /* how the keys and values of the cache are held and attention is computed: F32; BF16, half the
                             bytes and about half the time, queries and softmax weights rounded to bf16 as well, sums f32;
                             AUTO: BF16 where the matrices are packed (BF16, INT8, INT4), else F32 */
} llada_model_options;

/* The defaults: AUTO, 0 threads, ids -1, mapped, no callback. `size` is sizeof(llada_model_options) as you know it. */
LLADA_API llada_status llada_model_options_init(llada_model_options *options, size_t size);

/* Opens the Hugging Face folder `path` of a `llada2_moe` checkpoint: config.json, model.safetensors or its shards,
 * and tokenizer.json where there is one. Every byte is checked; a refusal names file, key, found and expected.
 * `options` may be NULL. */
LLADA_API llada_status llada_model_open(const char *path, const llada_model_options *options, llada_model **model,
                                        llada_error *error);

/* Writes a packed model (BF16, INT8, INT4) to the folder `path`, once: llada_model_open opens it as any other, with the
 * same results, and without packing anything. The folder is made, or is there and empty; on a failure nothing is left in
 * it. It gets the weights as they are held and the config and tokenizer files as they were when the model was opened; the
 * options of that opening (ids, expert_capacity) are not part of it. LLADA_ERROR_INVALID_ARGUMENT for a model that is not
 * packed. `progress` may be NULL. */
LLADA_API llada_status llada_model_save(const llada_model *model, const char *path, llada_progress_callback progress,
                                        void *progress_user, llada_error *error);

/* Gives back the caller's hold; decoders that use the model keep it alive. */
LLADA_API void llada_model_free(llada_model *model);

typedef struct llada_model_info {
    uint32_t struct_size;
    int32_t vocab_size;
    int32_t hidden_size;
    int32_t num_hidden_layers;
    int32_t first_k_dense_replace;
    int32_t num_attention_heads;
    int32_t num_key_value_heads;
    int32_t head_dim;
    int32_t intermediate_size;
    int32_t moe_intermediate_size;
    int32_t num_experts;
    int32_t num_experts_per_tok;
    int32_t max_position_embeddings; /* the longest canvas; with YaRN as extended */
    int32_t mask_token_id; /* -1: unknown; then a decoder cannot be made */
    int32_t eos_token_id;  /* the first, where there are several; -1: none */
    int32_t threads;
    bool has_tokenizer;
    bool has_chat_template; /* there is a tokenizer; llada_chat_tokenize may still refuse a layout it does not know */
    uint64_t num_parameters;
    uint64_t weight_bytes; /* as held */
    llada_dtype dtype;     /* of the matrices, as held; AUTO: as stored in the checkpoint */
    llada_dtype kv_dtype;  /* of keys and values: F32 or BF16 */
} llada_model_info;
#define LLADA_MODEL_INFO_INIT \
    {sizeof(llada_model_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, false, false, 0, 0, 0, 0}

LLADA_API llada_status llada_model_get_info(const llada_model *model, llada_model_info *info);

/* The logits of a whole sequence under the strict block-causal mask, without a decoder: the one at position i is about
 * the token AT position i.  out: [count, vocab_size], capacity in floats. */
LLADA_API llada_status llada_model_logits(const llada_model *model, const int32_t *tokens, size_t count,
                                          int32_t block_length, float *out, size_t capacity, llada_error *error);

/* ---- Scoring ---------------------------------------------------------------------------------------------------- */

/* A sequence x_0 and noisy versions x_t of it. In one pass, as in training (2.0, eq. 3: the concatenation of x_t and x_0), block
 * b of a version sees the sequence's blocks before b, and itself in both directions: the distributions that a decoder would see
 * that has come to that block, for all blocks at once. The struct never changes. */
typedef struct llada_noised_sequence {
    const int32_t *tokens; /* [count], prompt first */
    size_t count;          /* need not be a multiple of block_length: the last block then ends there */
    const int32_t *noisy;  /* [versions, count]; in the prompt the same as `tokens` */
    size_t versions;
    size_t prompt_length;  /* 0 to count */
} llada_noised_sequence;

typedef struct llada_score_options {
    uint32_t struct_size;
    int32_t block_length;
    bool everywhere;                  /* false: positions whose noisy token is not the sequence's own, masked or wrong, are
                                         scored; true: all positions after the prompt */
    llada_progress_callback progress; /* after each forward, of about 512 positions; may be NULL */
    void *progress_user;
} llada_score_options;

/* The defaults: blocks of 32, not everywhere, no callback. */
LLADA_API llada_status llada_score_options_init(llada_score_options *options, size_t size);

/* Judges noisy versions, of several sequences at once. For each scored position: log_probs, of the sequence's own token there,
 * in nats; predictions, the most likely token, and confidences, its probability, which are a decoder's; entropies of the
 * distribution over all tokens, in nats. Positions that are not scored get NaN, predictions -1. Each array may be NULL; it has the
 * versions of all sequences one after another, [versions, count] each, and `capacity` is in elements, for all four. Blocks
 * without scored positions cost nothing; what sequences begin with in common is run once; `options` may be NULL. A call that
 * fails on the way (stopped, out of memory) leaves part of the results. */
LLADA_API llada_status llada_model_score(const llada_model *model, const llada_noised_sequence *sequences, size_t count,
                                         const llada_score_options *options, float *log_probs, int32_t *predictions,
                                         float *confidences, float *entropies, size_t capacity, llada_error *error);

/* ---- Text ------------------------------------------------------------------------------------------------------- */

enum {
    /* llada_tokenize: take control tokens (<|endoftext|>, <role>, ...) in the text for what they stand for. Without it
     * they are plain characters, as befits text that a user typed. */
    LLADA_TEXT_CONTROL = 1,
    /* llada_detokenize: leave control tokens out. */
    LLADA_TEXT_SKIP_CONTROL = 2,
    /* llada_detokenize: leave out a character at the end that is not complete yet, instead of writing U+FFFD. What
     * comes out for a growing list of tokens then only grows: for streaming. */
    LLADA_TEXT_HOLD_BACK = 4
};

/* Text to tokens. Broken UTF-8 becomes U+FFFD. LLADA_ERROR_TOKENIZER if the model has no tokenizer. */
LLADA_API llada_status llada_tokenize(const llada_model *model, const char *text, size_t length, uint32_t flags,
                                      int32_t *tokens, size_t capacity, size_t *count, llada_error *error);

/* Tokens to text, always valid UTF-8, not NUL-terminated: `*length` bytes. */
LLADA_API llada_status llada_detokenize(const llada_model *model, const int32_t *tokens, size_t count, uint32_t flags,
                                        char *text, size_t capacity, size_t *length, llada_error *error);

typedef struct llada_chat_message {
    const char *role;    /* "system", "user", "assistant" or "tool" */
    const char *content; /* NUL-terminated; control tokens in it are plain characters */
} llada_chat_message;

/* A conversation in the layout LLaDA2 was trained on. `add_generation_prompt` opens the assistant's turn. */
LLADA_API llada_status llada_chat_tokenize(const llada_model *model, const llada_chat_message *messages,
                                           size_t message_count, bool add_generation_prompt, int32_t *tokens,
                                           size_t capacity, size_t *count, llada_error *error);

/* ---- Policy: which edits a step proposes ------------------------------------------------------------------------ */

typedef int32_t llada_policy_kind;
enum {
    LLADA_POLICY_LOW_CONFIDENCE = 0, /* LLaDA2.0: masks are filled where confidence > threshold, or by quota */
    LLADA_POLICY_JOINT_THRESHOLD = 1 /* LLaDA2.1: masks are filled, and tokens already written are edited */
};

typedef struct llada_policy {
    uint32_t struct_size;
    llada_policy_kind kind;
    float threshold;          /* mask-to-token: write where confidence > threshold */
    int32_t steps;            /* low confidence: at most this many steps a block */
    int32_t minimal_topk;     /* low confidence: steps <= gen_length / minimal_topk */
    float editing_threshold;  /* joint: token-to-token where confidence > editing_threshold; >= 1 switches it off */
    int32_t max_post_steps;   /* joint: at most this many steps without a mask */
    int32_t num_to_transfer;  /* joint: write at least this many masks a step */
    float penalty_lambda;     /* joint: taken off the logit of the token that stands to the left (SGLang) */
    int32_t mbe_window;       /* multiple block editing: revisit this many blocks at a block's end; 1: off */
    int32_t mbe_rounds;       /* ... this many times, or until nothing changes */
    float temperature;        /* 0: the most likely token; else sample, after top_k and top_p */
    int32_t top_k;            /* 0: off */
    float top_p;              /* 1: off */
    uint64_t seed;            /* equal seeds draw equal tokens */
} llada_policy;

typedef int32_t llada_preset;
enum {
    LLADA_PRESET_LOW_CONFIDENCE = 0, /* 2.0 and 2.0-CAP: threshold 0.95, 32 steps */
    LLADA_PRESET_SPEEDY = 1,         /* 2.1 S mode: threshold 0.5, editing 0.0 */
    LLADA_PRESET_QUALITY = 2,        /* 2.1 Q mode: threshold 0.7, editing 0.5 */
    LLADA_PRESET_QUALITY_MBE = 3     /* Q mode, revisiting a window of 2 blocks */
};

/* Fills `policy` with a preset; change what you like afterwards. `size` is sizeof(llada_policy) as you know it. */
LLADA_API llada_status llada_policy_init(llada_policy *policy, size_t size, llada_preset preset);

/* ---- Prefix cache: K/V that decoders share ---------------------------------------------------------------------- */

/* Keys and values of whole blocks, under the tokens they were computed from: a prompt, or a conversation, whose beginning
 * was computed before is not computed again. Nothing is copied to share, and results stay the same, bit for bit. All K/V
 * of the decoders that use a cache counts towards its budget; where that is reached, blocks that no decoder holds go, those
 * least recently used first. Any thread may use a cache at any time. */
typedef struct llada_prefix_cache llada_prefix_cache;

/* A cache for the decoders of one model. `max_bytes` of K/V: what one token takes is 2 * num_hidden_layers *
 * num_key_value_heads * head_dim numbers. It is never exceeded: a decoder that finds no room, because decoders and pins
 * hold all there is, gets LLADA_ERROR_OUT_OF_MEMORY, and can go on when there is some. */
LLADA_API llada_status llada_prefix_cache_create(const llada_model *model, uint64_t max_bytes,
                                                 llada_prefix_cache **cache, llada_error *error);

/* Gives back the caller's hold; decoders that use the cache keep it alive. */
LLADA_API void llada_prefix_cache_free(llada_prefix_cache *cache);

typedef struct llada_prefix_cache_info {
    uint32_t struct_size;
    uint64_t max_bytes;
    uint64_t bytes;          /* of the blocks that are cached, and of those that decoders hold */
    uint64_t blocks;         /* cached */
    uint64_t pinned_blocks;
    uint64_t lookups;        /* how often a decoder lacked whole blocks and looked for them, ... */
    uint64_t hits;           /* ... and how often it found some */
    uint64_t reused_tokens;  /* that did not have to be computed */
    uint64_t evicted_blocks;
} llada_prefix_cache_info;
#define LLADA_PREFIX_CACHE_INFO_INIT {sizeof(llada_prefix_cache_info), 0, 0, 0, 0, 0, 0, 0, 0}

LLADA_API llada_status llada_prefix_cache_get_info(const llada_prefix_cache *cache, llada_prefix_cache_info *info);

/* Keeps what is cached of the whole blocks of `tokens` (a system prompt that a decoder has run over, say), whatever else
 * needs room; with pinned = false no longer, as often as it was pinned. `*found`, which may be NULL, is how many tokens. */
LLADA_API llada_status llada_prefix_cache_pin(llada_prefix_cache *cache, const int32_t *tokens, size_t count,
                                              int32_t block_length, bool pinned, size_t *found, llada_error *error);

/* Forgets all that is not pinned. Decoders keep what they hold. */
LLADA_API llada_status llada_prefix_cache_clear(llada_prefix_cache *cache);

/* ---- Decoder: a canvas that is being denoised ------------------------------------------------------------------- */

typedef struct llada_decoder llada_decoder;

typedef struct llada_decoder_options {
    uint32_t struct_size;
    int32_t block_length;       /* 32 */
    int32_t gen_length;         /* tokens to generate at most; 256 */
    bool eos_early_stop;        /* stop as soon as the answer is known to have ended; true */
    bool infill;                /* mask ids in the prompt are positions to fill; else they are refused; false */
    bool use_cache;             /* false recomputes everything at every step, for comparison: same bits; true */
    const llada_policy *policy; /* copied; NULL: LLADA_PRESET_QUALITY */
    llada_prefix_cache *prefix_cache; /* where K/V is shared with other decoders of the model; NULL: nowhere */
} llada_decoder_options;

/* The defaults, as noted above. `size` is sizeof(llada_decoder_options) as you know it. */
LLADA_API llada_status llada_decoder_options_init(llada_decoder_options *options, size_t size);

/* A decoder on a prompt, which may end in the middle of a block: generated tokens go on from there. The canvas has
 * ceil((prompt_length + gen_length) / block_length) blocks. Nothing is computed yet. `options` may be NULL. */
LLADA_API llada_status llada_decoder_create(const llada_model *model, const int32_t *prompt, size_t prompt_length,
                                            const llada_decoder_options *options, llada_decoder **decoder,
                                            llada_error *error);
LLADA_API void llada_decoder_free(llada_decoder *decoder);

/* ---- Stepping. A step is forward + propose + apply. ------------------------------------------------------------- */

/* Runs the model over the active positions (one block; a window of blocks when revisiting), and first over whatever
 * stands before them and has no valid K/V yet. Afterwards predictions, confidences, candidates and logits can be
 * looked at. May be called again before apply, after a llada_decoder_set_token, say: that is one forward more.
 * Where it fails, the predictions of the one before are gone, and nothing else. */
LLADA_API llada_status llada_decoder_forward(llada_decoder *decoder, llada_error *error);

/* Lets the policy turn confidences into a proposal. May be called again, after a ban, say. */
LLADA_API llada_status llada_decoder_propose(llada_decoder *decoder, llada_error *error);

/* Writes the proposal to the canvas and emits its events. A block that is done becomes settled and the next one
 * active. */
LLADA_API llada_status llada_decoder_apply(llada_decoder *decoder, llada_error *error);

/* The rest of the current step: what of forward, propose, apply has not been done. LLADA_ERROR_STATE at the end. */
LLADA_API llada_status llada_decoder_step(llada_decoder *decoder, llada_error *error);

/* Called after each step. Non-zero stops; a later run goes on from there. */
typedef int (*llada_step_callback)(const llada_decoder *decoder, void *user);

/* Steps until the active block is done (its revisiting included), or until the end; run, after the end, does nothing,
 * run_block answers LLADA_ERROR_STATE. `callback` may be NULL. */
LLADA_API llada_status llada_decoder_run_block(llada_decoder *decoder, llada_step_callback callback, void *user,
                                               llada_error *error);
LLADA_API llada_status llada_decoder_run(llada_decoder *decoder, llada_step_callback callback, void *user,
                                         llada_error *error);

/* From any thread, or a signal handler (it is one atomic store): the forward at work on the decoder, or else the next
 * one, returns LLADA_ERROR_CANCELLED within the time of one layer. The decoder stays usable: the step can be done
 * again. A call that works on several decoders ends as a whole. */
LLADA_API void llada_decoder_cancel(llada_decoder *decoder);

/* ---- Many decoders ---------------------------------------------------------------------------------------------- */

/* One forward for several decoders of one model: weights are read once, whoever needs them. Each may have its own prompt,
 * length, block length, step and policy; what each computes is what it would have alone, bit for bit. Where a call fails,
 * some decoders may have done their part and others not; each stays usable and can go on from there. Every decoder must be
 * there once; LLADA_ERROR_BUSY if one is at work. */
LLADA_API llada_status llada_decoders_forward(llada_decoder *const *decoders, size_t count, llada_error *error);

/* The rest of each one's current step, with one forward for those that need it. LLADA_ERROR_STATE if one has finished. */
LLADA_API llada_status llada_decoders_step(llada_decoder *const *decoders, size_t count, llada_error *error);

/* Steps all to their ends, no more than `most_in_flight` at a time (0: all): where one has finished, the next one joins,
 * in their order. A decoder that finishes gives its K/V back, or leaves it to its prefix cache. `callback` is called for
 * each decoder after each of its steps and may look at that one; non-zero stops all, a later run goes on. It may be NULL. */
LLADA_API llada_status llada_decoders_run(llada_decoder *const *decoders, size_t count, size_t most_in_flight,
                                          llada_step_callback callback, void *user, llada_error *error);

/* ---- Branching -------------------------------------------------------------------------------------------------- */

/* A second decoder that is where the first one is, in the midst of a step or not: same canvas, bans, locks, predictions and
 * proposal. K/V is shared until one of the two writes to it: tree search and best-of-n cost what differs. `policy` NULL:
 * the same. Draws are a function of the policy's seed, the number of the forward and the position: forks that are to draw
 * differently need policies of different seeds. Predictions at hand stay as they are. The fork has no rule and is not
 * watched. */
LLADA_API llada_status llada_decoder_fork(const llada_decoder *decoder, const llada_policy *policy,
                                          llada_decoder **fork, llada_error *error);

/* Forgets all that was generated from `position` on, the start of a block: its positions are masked again and free of
 * locks, and the block is the next to be denoised, also after the end. From the first block with something generated (0
 * when infilling) to the active one; after the end, to canvas_length. K/V of what stands before is kept; counters go on. */
LLADA_API llada_status llada_decoder_truncate(llada_decoder *decoder, int32_t position, llada_error *error);

/* ---- Looking ---------------------------------------------------------------------------------------------------- */

typedef int32_t llada_phase;
enum {
    LLADA_PHASE_READY = 0,     /* forward is next */
    LLADA_PHASE_FORWARDED = 1, /* propose is next */
    LLADA_PHASE_PROPOSED = 2,  /* apply is next */
    LLADA_PHASE_FINISHED = 3
};

typedef int32_t llada_finish_reason;
enum { LLADA_FINISH_NONE = 0, LLADA_FINISH_EOS = 1, LLADA_FINISH_LENGTH = 2 };

typedef struct llada_decoder_state {
    uint32_t struct_size;
    llada_phase phase;
    llada_finish_reason finish_reason;
    bool finished;
    bool editing_blocks;    /* the step at hand revisits finished blocks (MBE) */
    int32_t block_length;
    int32_t prompt_length;
    int32_t canvas_length;  /* a multiple of block_length */
    int32_t settled_length; /* positions before this are final */
    int32_t active_first;   /* the active positions: active_first ... */
    int32_t active_count;   /* ... + active_count - 1 */
    int32_t block_step;     /* steps done in this block */
    int64_t forwards;       /* denoising forwards, as the papers count them for TPF; MBE's included */
    int64_t commits;        /* forwards run only to compute K/V of finished blocks */
    int64_t prefills;       /* forwards run only to compute K/V of the prompt (its last piece rides with a step) */
    int64_t edits;          /* tokens that replaced another token */
    int32_t gen_length;     /* the answer ends at prompt_length + gen_length, which may be before canvas_length */
    int64_t computed_positions; /* run through the model by all forwards of this decoder; a fork begins at 0 */
    int64_t reused_positions;   /* whose K/V the prefix cache had; likewise */
} llada_decoder_state;
#define LLADA_DECODER_STATE_INIT \
    {sizeof(llada_decoder_state), 0, 0, false, false, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

LLADA_API llada_status llada_decoder_get_state(const llada_decoder *decoder, llada_decoder_state *state);

/* What a position of the canvas is. Stored, never guessed from the token. */
enum {
    LLADA_POSITION_PROMPT = 0,
    LLADA_POSITION_MASKED = 1,
    LLADA_POSITION_DRAFT = 2,  /* written, may still be edited */
    LLADA_POSITION_SETTLED = 3 /* final */
};

/* VIEW. The canvas: tokens and position states, [canvas_length]. Any out pointer may be NULL. */
LLADA_API llada_status llada_decoder_canvas(const llada_decoder *decoder, const int32_t **tokens,
                                            const uint8_t **states, size_t *count);

/* The generated tokens: up to and including the first end-of-sequence token, else gen_length of them. (As in the
 * reference, the low-confidence policy with eos_early_stop may find that token in the padding of the last block: then
 * these are up to block_length - 1 more.) Before the end: the settled ones. Positions of the prompt that were filled (infilling) are not among them: read the canvas. */
LLADA_API llada_status llada_decoder_output(const llada_decoder *decoder, int32_t *tokens, size_t capacity,
                                            size_t *count, llada_error *error);

/* VIEW. Of the last forward, for each of its active positions: the predicted token and its confidence (softmax
 * probability), bans and penalty applied. LLADA_ERROR_STATE before the first forward. They stay until the next one;
 * `*first` is the position they begin at. */
LLADA_API llada_status llada_decoder_predictions(const llada_decoder *decoder, int32_t *first, const int32_t **tokens,
                                                 const float **confidences, size_t *count);

/* VIEW. All of that in one: what a decoding rule looks at. The arrays have `count` elements, one for each active position
 * of the last forward, which are first ... first + count - 1. */
typedef struct llada_active {
    uint32_t struct_size;
    int32_t first;
    int32_t count;
    int32_t block_step;         /* steps done in this block */
    bool editing_blocks;        /* finished blocks are revisited (MBE) */
    const int32_t *tokens;      /* of the canvas */
    const uint8_t *states;      /* LLADA_POSITION */
    const bool *locked;
    const int32_t *predictions; /* the most likely token, or the one drawn, bans and penalty applied; may be the mask */
    const float *confidences;   /* its probability, at a draft too: that of the token there is in the logits */
} llada_active;
#define LLADA_ACTIVE_INIT {sizeof(llada_active), 0, 0, 0, false, NULL, NULL, NULL, NULL, NULL}

/* LLADA_ERROR_STATE before the first forward. */
LLADA_API llada_status llada_decoder_active(const llada_decoder *decoder, llada_active *active);

/* VIEW. The step map, [canvas_length]: for each token, how many forwards there had been when it was written last; 0 where
 * none was. `count` may be NULL. What trainers by reinforcement want of a rollout. */
LLADA_API llada_status llada_decoder_step_map(const llada_decoder *decoder, const int32_t **forwards, size_t *count);

typedef struct llada_candidate {
    int32_t token;
    float logit;
    float probability;
} llada_candidate;

/* The k most likely tokens at an active position of the last forward, best first, ties by lower id; bans and penalty
 * applied, temperature not. */
LLADA_API llada_status llada_decoder_candidates(const llada_decoder *decoder, int32_t position, size_t k,
                                                llada_candidate *candidates, size_t *count, llada_error *error);

/* VIEW. The logits at an active position of the last forward, as the model gave them: [vocab_size]. */
LLADA_API llada_status llada_decoder_logits(const llada_decoder *decoder, int32_t position, const float **logits,
                                            size_t *count, llada_error *error);

typedef int32_t llada_reason;
enum {
    LLADA_REASON_THRESHOLD = 0, /* mask-to-token: confidence > threshold */
    LLADA_REASON_FALLBACK = 1,  /* mask-to-token: too few were, so the most confident */
    LLADA_REASON_EDIT = 2,      /* token-to-token, while the block has masks */
    LLADA_REASON_POST_EDIT = 3, /* token-to-token, after its last mask */
    LLADA_REASON_BLOCK_EDIT = 4,/* token-to-token in a finished block (MBE) */
    LLADA_REASON_HOST = 5       /* yours */
};

typedef struct llada_edit {
    int32_t position;
    int32_t token; /* the mask id masks the position again */
    float confidence;    /* of the prediction; yours is passed on to the event as it is, and need not be set */
    llada_reason reason;
} llada_edit;

/* VIEW. What apply will write. LLADA_ERROR_STATE unless a proposal is at hand. */
LLADA_API llada_status llada_decoder_proposal(const llada_decoder *decoder, const llada_edit **edits, size_t *count);

typedef int32_t llada_event_kind;
enum {
    LLADA_EVENT_UNMASK = 0,  /* mask to token */
    LLADA_EVENT_REPLACE = 1, /* token to token */
    LLADA_EVENT_REMASK = 2   /* token to mask */
};

typedef struct llada_event {
    int32_t position;
    llada_event_kind kind;
    int32_t old_token;
    int32_t new_token;
    float confidence;
    llada_reason reason;
} llada_event;

/* VIEW. What the last apply changed, and what the host had changed since the apply before it. */
LLADA_API llada_status llada_decoder_events(const llada_decoder *decoder, const llada_event **events, size_t *count);

/* ---- Interfering. Between any two calls above. ------------------------------------------------------------------ */

/* Puts your edits in place of the proposal (after forward; propose need not have been called). Positions must be
 * active, not of the prompt, not locked, each at most once; not to be masked while finished blocks are edited (MBE).
 * `reason` is taken as LLADA_REASON_HOST. */
LLADA_API llada_status llada_decoder_set_proposal(llada_decoder *decoder, const llada_edit *edits, size_t count,
                                                  llada_error *error);

/* Writes a token anywhere on the canvas, until the end. Predictions and a proposal at hand stay as they are: apply
 * writes over yours if the proposal says so; lock the position to keep it. In a finished block or the prompt, its K/V
 * and that of all blocks behind it is computed anew at the next forward; their tokens stay. In a block to come it is a
 * draft that waits. */
LLADA_API llada_status llada_decoder_set_token(llada_decoder *decoder, int32_t position, int32_t token,
                                               llada_error *error);

/* Masks a position of the active block or of one to come; not of the prompt. */
LLADA_API llada_status llada_decoder_mask(llada_decoder *decoder, int32_t position, llada_error *error);

/* A locked position is left as it is by the policy, and by a proposal at hand; a mask that is locked stays one, and
 * counts as none: the block is done without it. */
LLADA_API llada_status llada_decoder_lock(llada_decoder *decoder, int32_t position, bool locked, llada_error *error);

/* A banned token is never predicted at `position`, or, with -1, at any. Predictions at hand are made anew. A ban that
 * would leave nothing but the mask is refused. */
LLADA_API llada_status llada_decoder_ban(llada_decoder *decoder, int32_t position, int32_t token, bool banned,
                                         llada_error *error);

typedef int32_t llada_block_end;
enum {
    LLADA_BLOCK_END_AUTO = 0,   /* the policy decides */
    LLADA_BLOCK_END_NOW = 1,    /* the active block is done (masks that are left stay); with MBE, its revisiting follows */
    LLADA_BLOCK_END_NOT_YET = 2 /* it is not */
};

/* Says what becomes of the active block at the next apply, and at that one alone. */
LLADA_API llada_status llada_decoder_end_block(llada_decoder *decoder, llada_block_end end, llada_error *error);

/* A decoding rule of your own. Propose calls it when the policy has made its proposal, so it takes part in every step,
 * run_block, run, and llada_decoders_step. It may call all const functions of the decoder (llada_decoder_active,
 * _candidates, _logits, _proposal ...) and all of this section: set_proposal with unmasked, replaced and masked tokens, lock,
 * ban, end_block. If it does nothing, the policy's proposal stands. Non-zero stops the step, which can be done again. A block
 * that it leaves masks in without end is run without end: block_step counts, and LLADA_BLOCK_END_NOW ends it. */
typedef int (*llada_rule)(llada_decoder *decoder, void *user);

/* `rule` NULL: none any more. Forks have none. `user` must live as long as the decoder has the rule. */
LLADA_API llada_status llada_decoder_set_rule(llada_decoder *decoder, llada_rule rule, void *user, llada_error *error);

/* ---- Inside the model ------------------------------------------------------------------------------------------- */

enum {
    LLADA_WATCH_ROUTING = 1, /* which experts, and with what weights; expert usage */
    LLADA_WATCH_HIDDEN = 2   /* what each layer gives */
};

/* Keeps that of the active positions, from the next forward on; usage counts begin at 0. 0: no longer. */
LLADA_API llada_status llada_decoder_watch(llada_decoder *decoder, uint32_t what, llada_error *error);

/* Of the last forward, what a layer's router chose: experts, increasing for each position, and their weights (normalised,
 * times routed_scaling_factor). Both [active_count, num_experts_per_tok], `capacity` in elements. LLADA_ERROR_STATE before
 * a watched forward; LLADA_ERROR_INVALID_ARGUMENT for a dense layer. */
LLADA_API llada_status llada_decoder_routing(const llada_decoder *decoder, int32_t layer, int32_t *experts,
                                             float *weights, size_t capacity, size_t *count, llada_error *error);

/* Of the last forward, the hidden states after a layer: [active_count, hidden_size]. */
LLADA_API llada_status llada_decoder_hidden(const llada_decoder *decoder, int32_t layer, float *states,
                                            size_t capacity, size_t *count, llada_error *error);

/* How many positions each expert has had, over all forwards since watch: [num_hidden_layers, num_experts]. */
LLADA_API llada_status llada_decoder_expert_usage(const llada_decoder *decoder, uint64_t *counts, size_t capacity,
                                                  size_t *count, llada_error *error);

/* Switches an expert off for this decoder and its forks: no position chooses it, also not when K/V is computed, which is done
 * anew. Refused if a position might then find fewer than num_experts_per_tok, or with a prefix cache (LLADA_ERROR_STATE). */
LLADA_API llada_status llada_decoder_disable_expert(llada_decoder *decoder, int32_t layer, int32_t expert,
                                                    bool disabled, llada_error *error);

/* ---- Snapshots: to go on later, in this process or another. ----------------------------------------------------- */

/* A snapshot holds all that decides how a decoder goes on, in the midst of a step or not: options and policy (and with its
 * seed all draws to come), canvas, locks, bans, experts switched off, counters, the last forward and the proposal. Restored,
 * it goes on bit for bit as the saved one would have. A rule and what llada_decoder_watch keeps are not part of it.
 *
 * With its pages (K/V of what was computed) nothing is computed again, and the snapshot is as large as they are: for each
 * position 2 * num_hidden_layers * num_key_value_heads * head_dim numbers. Without them, K/V of what stands before the
 * active block is computed anew at the next forward: the same bits.
 *
 * A snapshot belongs to what computes: the weights as they are held, expert_capacity, blas, the ids of mask and end. Threads,
 * CPU, and whether a packed model was packed on opening or saved before, do not matter. LLADA_ERROR_SNAPSHOT for one of another
 * model or version, and for bytes that are damaged, cut off or none: none of them is trusted. Numbers are little-endian. */

/* Writes a snapshot to `buffer`; `*size` is what it takes, in bytes, also with LLADA_ERROR_BUFFER_TOO_SMALL. */
LLADA_API llada_status llada_decoder_save(const llada_decoder *decoder, bool with_pages, void *buffer, size_t capacity,
                                          size_t *size, llada_error *error);

/* Writes it to the file `path`, which appears whole or not at all, in place of one that was there. It is written beside its
 * place first, and is there on the disk when this returns. */
LLADA_API llada_status llada_decoder_save_file(const llada_decoder *decoder, bool with_pages, const char *path,
                                               llada_error *error);

/* A decoder where the saved one was; `bytes` are not needed afterwards. With a prefix cache of the model (NULL: none), what that
 * has of the K/V is taken from there. computed_positions and reused_positions begin anew. */
LLADA_API llada_status llada_decoder_restore(const llada_model *model, llada_prefix_cache *cache, const void *bytes,
                                             size_t size, llada_decoder **decoder, llada_error *error);
LLADA_API llada_status llada_decoder_restore_file(const llada_model *model, llada_prefix_cache *cache, const char *path,
                                                  llada_decoder **decoder, llada_error *error);

/* Writes all that is cached, with its pins, to a file, as llada_decoder_save_file does. Other threads may use the cache. */
LLADA_API llada_status llada_prefix_cache_save(const llada_prefix_cache *cache, const char *path, llada_error *error);

/* Adds what such a file has to what is cached, as if it had just been used. Nothing that is cached goes for it: what has no
 * room is left out, pinned prefixes last, then those used last. `*tokens` (may be NULL): how many tokens were added. */
LLADA_API llada_status llada_prefix_cache_load(llada_prefix_cache *cache, const char *path, uint64_t *tokens,
                                               llada_error *error);

/* What a host that did not make the decoder may want to know: its policy, and (VIEW, [canvas_length]) what is locked. */
LLADA_API llada_status llada_decoder_get_policy(const llada_decoder *decoder, llada_policy *policy);
LLADA_API llada_status llada_decoder_locked(const llada_decoder *decoder, const bool **locked, size_t *count);

#ifdef __cplusplus
}
#endif
#endif
