/*
 * llada.h - block-diffusion language models (LLaDA2.x) inside your program.
 *
 * The model denoises a canvas of masked tokens, block by block: a prompt goes in, tokens come out. Your program can
 * watch every denoising step and change what it does. From words to words, without looking:
 *
 *     #include <llada.h>
 *     #include <stdio.h>
 *
 *     int main(void) {
 *         llada_error error = LLADA_ERROR_INIT;
 *         llada_model *model = NULL;
 *         llada_decoder *decoder = NULL;
 *         llada_chat_message question = {"user", "What is 17 plus 25?"};
 *         int32_t prompt[512], answer[512];
 *         size_t prompt_count = 0, answer_count = 0, length = 0;
 *         char text[4096];
 *         if (llada_model_open("path/to/checkpoint", NULL, &model, &error) == LLADA_OK &&
 *             llada_chat_tokenize(model, &question, 1, NULL, prompt, 512, &prompt_count, &error) == LLADA_OK &&
 *             llada_decoder_create(model, prompt, prompt_count, NULL, &decoder, &error) == LLADA_OK &&
 *             llada_decoder_run(decoder, NULL, NULL, &error) == LLADA_OK &&
 *             llada_decoder_output(decoder, answer, 512, &answer_count, &error) == LLADA_OK &&
 *             llada_detokenize(model, answer, answer_count, LLADA_TEXT_SKIP_CONTROL, text, sizeof text, &length,
 *                              &error) == LLADA_OK)
 *             printf("%.*s\n", (int)length, text);
 *         else
 *             fprintf(stderr, "%s\n", error.message);
 *         llada_decoder_free(decoder);
 *         llada_model_free(model);
 *         return error.status != LLADA_OK;
 *     }
 *
 * What llada_decoder_run does, by hand:
 *
 *     llada_status denoise(llada_decoder *decoder, llada_error *error) {
 *         for (;;) {
 *             llada_decoder_state state = LLADA_DECODER_STATE_INIT;
 *             llada_status status = llada_decoder_get_state(decoder, &state, error);
 *             if (status != LLADA_OK || state.phase == LLADA_PHASE_FINISHED) return status;
 *             // The model runs over the active positions.
 *             if ((status = llada_decoder_forward(decoder, error)) != LLADA_OK) return status;
 *             // The policy proposes edits. Look at them, and change them if you like.
 *             if ((status = llada_decoder_propose(decoder, error)) != LLADA_OK) return status;
 *             // The edits are written to the canvas; events tell what has changed.
 *             if ((status = llada_decoder_apply(decoder, error)) != LLADA_OK) return status;
 *         }
 *     }
 *
 * THE RULES OF THIS INTERFACE
 *
 * Errors.    Every function that can fail returns a llada_status: LLADA_OK (0), or a negative code that never changes
 *            its meaning. Its last argument is an error of yours, or NULL: the library fills it when the call fails,
 *            and leaves it alone when the call succeeds. A call that fails changes nothing, unless its description says
 *            otherwise.
 * Arguments. The handle comes first. What is written comes after its place: set_token(position, token). What is taken
 *            away comes before its place: ban(token, position), disable_expert(expert, layer). A pointer that receives
 *            a result may not be NULL, unless the description says so.
 * Arrays.    An array that you pass is (const T *items, size_t item_count). A buffer that the library fills comes as (T
 *            *buffer, size_t capacity, size_t *count), where capacity and count are in elements of T, or in bytes where
 *            T is void. `*count` becomes the number of elements there are. If they are more than `capacity`, the call
 *            returns LLADA_ERROR_BUFFER_TOO_SMALL and writes nothing but `*count`. The buffer may be NULL if `capacity`
 *            is 0, so such a call asks for the count. Several buffers of one call share the two.
 * Types.     Tokens are int32_t. So are positions, and lengths counted in positions: of a block, a prompt, a canvas.
 *            Positions are those of the canvas, from 0, with the prompt first. The counts of arrays are size_t.
 *            Counters in structs, and amounts of memory, are uint64_t. Text is UTF-8, and its elements are bytes.
 * Memory.    What a function named _open, _create, _fork or _restore hands out is yours until you call its _free, which
 *            accepts NULL. You may free a model or a prefix cache before the decoders that use it; they keep it alive.
 *            A function marked VIEW hands out a pointer to memory of the library. You may read it until the next call
 *            on the same handle that does not take the handle as const.
 *            Where the system has no memory, a call returns LLADA_ERROR_OUT_OF_MEMORY, and the process goes on.
 *            Steps allocate nothing: once a decoder has taken its first step, its later steps (_forward, _propose,
 *            _apply, _step, _run_block, _run, with a rule or a callback), and those of a list that has been stepped
 *            together, make no heap allocation. Memory is taken again by the first step after _fork, _truncate or
 *            _restore, and by the first of more threads at once than before; for blocks that go into or come from a
 *            prefix cache; while the model is watched; by OpenBLAS; and for a list of more than 128 decoders.
 * Structs.   A struct that begins with struct_size may grow at its end in later versions. Initialise it with its _INIT
 *            macro, or with its _init function, to which you pass its sizeof. If yours is smaller, because your header
 *            is older, fields that it lacks have their defaults (in a policy, the defaults of its kind). If yours is
 *            larger, fields that the library does not know must be zero. The other structs never change.
 * Threads.   Any number of threads may use one llada_model at once, and one llada_prefix_cache. A llada_decoder belongs
 *            to one thread at a time; while a thread is at work on it, calls of others return LLADA_ERROR_BUSY.
 *            llada_decoder_cancel alone may be called by any thread at any time. Every function is content with a stack
 *            of 64 KB, or, for JSON that is nested a hundred levels deep, of 256 KB. If the system refuses threads, a
 *            model has fewer, and llada_model_notes says so.
 * Fork.      The process may be forked at any moment, whatever its threads are doing, and nothing in the child waits
 *            for a thread that it does not have. Models go on there, with threads of their own, and so do decoders that
 *            were at rest. A decoder or text stream that another thread was at work on returns LLADA_ERROR_STATE there,
 *            for ever, and its _free keeps its memory. A prefix cache that another thread was using is empty there.
 * Callbacks. The library calls you back on the thread that called it, and holds no lock meanwhile. The last argument is
 *            the `user` pointer that came with the callback; the library does nothing else with it. To go on, return 0.
 *            To stop the work, return anything else: the call at work then returns LLADA_ERROR_STOPPED, and a later
 *            call can take up what it left. Inside a callback, you may call for the decoder at work:
 *              - the functions that take it as const;
 *              - llada_decoder_cancel, and llada_decoder_free, which takes effect when the call at work returns;
 *              - in a llada_rule, also the functions of the section "Interfering" except llada_decoder_set_rule.
 *            All others return LLADA_ERROR_BUSY. Handles that are not at work may be used as ever. A VIEW taken inside
 *            a callback ends with it.
 * Manners.   The library does not print, exit, trap, install signal handlers or change the locale, and it holds no
 *            state outside its handles. Whatever the calling thread has set of rounding, flushing of denormals,
 *            floating-point traps, errno and pthread_setcancelstate makes no difference, and is so in callbacks and
 *            afterwards. Signals at any rate change nothing, with or without SA_RESTART. One caveat: weights that are
 *            used as stored are mapped where files are this machine's. If such a file is cut while the model is open,
 *            the next forward returns LLADA_ERROR_IO; but a forward that is running is killed by SIGBUS. With
 *            LLADA_MMAP_OFF nothing is mapped, and no file can do harm: see llada_mmap.
 * Long calls. Each of them can be stopped within half a second, on a computer that the model suits, and can be made
 *            again:
 *              - by a progress callback that returns non-zero (LLADA_ERROR_STOPPED): llada_model_open, _save, _logits
 *                and _score; llada_decoder_save, _save_file, _restore and _restore_file; llada_prefix_cache_save and
 *                _load;
 *              - by llada_decoder_cancel, from another thread or a signal handler (LLADA_ERROR_CANCELLED), or by the
 *                callback of llada_decoder_set_progress (LLADA_ERROR_STOPPED): the forward that a decoder is in, over a
 *                prompt of any length; so _forward, _step, _run_block, _run of one decoder or of many;
 *              - between steps, by the callback of llada_decoder_run, _run_block and llada_decoders_run, or by a rule.
 *            What takes the longest of the others is text, about half a second for 10 MB (llada_tokenize and its kin),
 *            and reading the small files of a checkpoint (llada_model_describe).
 * Results.   Equal inputs give bit-equal outputs, whatever the number of threads, with the cache on or off, alone or in
 *            a batch.
 * Stability. Until 1.0 the interface may change with the minor version. What stands behind LLADA_EXPERIMENTAL, which is
 *            snapshots, inside the model and scoring, may change with any version: define LLADA_EXPERIMENTAL before you
 *            include this header to see it.
 *
 * "2.0", "2.1" and "2.2" in the descriptions are the reports on LLaDA2.0, LLaDA2.1 and LLaDA2.2.
 */
#ifndef LLADA_H
#define LLADA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The one place that says the version: the library, and what is installed with it, take it from here. */
#define LLADA_VERSION_MAJOR 0
#define LLADA_VERSION_MINOR 2
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

/* LLADA_VERSION of the library that is loaded. It may differ from that of the header you compiled with. */
LLADA_API uint32_t llada_version(void);

/* The same as text, "0.2.0". VIEW, for ever. */
LLADA_API const char *llada_version_string(void);

/* One line with the version and the kernels in use: "llada 0.2.0 (kernels: avx512)". They are the best that this CPU
 * has of avx512, avxvnni, avx2, i8mm, neon and portable, or those that LLADA_KERNELS in the environment names, with the
 * same results. The variable is read once, by the first call that asks. If it names none that this CPU has, the line
 * says so, and llada_model_open returns LLADA_ERROR_INVALID_ARGUMENT with a list of those there are. VIEW, for ever. */
LLADA_API const char *llada_build_info(void);

/* ---- Errors ----------------------------------------------------------------------------------------------------- */

typedef int32_t llada_status;
enum {
    LLADA_OK = 0,
    LLADA_ERROR_INVALID_ARGUMENT = -1, /* an argument is NULL, out of range, or a struct of a size that cannot be */
    LLADA_ERROR_OUT_OF_MEMORY = -2,
    LLADA_ERROR_IO = -3,                /* a file is missing, unreadable, or ends early */
    LLADA_ERROR_JSON = -4,              /* a file, or a text that you pass, is not well-formed JSON */
    LLADA_ERROR_CONFIG = -5,            /* a value of config.json is missing, out of range, or contradicts another */
    LLADA_ERROR_SAFETENSORS = -6,       /* a file breaks the safetensors format */
    LLADA_ERROR_SHARD_INDEX = -7,       /* the shard index is inconsistent, or names a file outside its folder */
    LLADA_ERROR_TENSOR = -8,            /* a tensor is missing, or not of the shape or type the config asks for */
    LLADA_ERROR_TOKENIZER = -9,         /* tokenizer.json is inconsistent, or the model has none */
    LLADA_ERROR_UNSUPPORTED = -10,      /* the input is well-formed, but the library does not implement it */
    LLADA_ERROR_STATE = -11,            /* the call is out of order: propose before forward, or a step after the end */
    LLADA_ERROR_BUSY = -12,             /* the handle is at work, on another thread or in the caller of this callback */
    LLADA_ERROR_CANCELLED = -13,        /* llada_decoder_cancel was called */
    LLADA_ERROR_STOPPED = -14,          /* a callback returned non-zero */
    LLADA_ERROR_BUFFER_TOO_SMALL = -15, /* the count that is needed has been reported */
    LLADA_ERROR_SPECIAL_TOKEN = -16,    /* the mask id is unknown, or stands where it must not */
    LLADA_ERROR_SNAPSHOT = -17,         /* a snapshot is damaged, of another version, or of another model */
    LLADA_ERROR_NUMERIC = -18,          /* weights are NaN or infinite, or what the model computes from them is */
    LLADA_ERROR_GGUF = -19,             /* a file breaks the GGUF format */
    LLADA_ERROR_CLUSTER = -20           /* another rank of a cluster is dead, silent, or of another version or model */
};

/* What went wrong. The message is always NUL-terminated UTF-8; it names what was found and what was expected. */
typedef struct llada_error {
    uint32_t struct_size;
    llada_status status;
    char message[1016];
} llada_error;
#define LLADA_ERROR_INIT {sizeof(llada_error), LLADA_OK, {0}}

/* The name of a status, "LLADA_ERROR_IO"; "unknown status" for a number that is none. VIEW, for ever. */
LLADA_API const char *llada_status_name(llada_status status);

/* ---- Model ------------------------------------------------------------------------------------------------------ */

/* An opened checkpoint: its weights, its config and, where its folder has one, its tokenizer. It never changes. */
typedef struct llada_model llada_model;

/* How matrices are held and multiplied. Norms, biases and routers are always f32, and the embedding is held as stored.
 * f32 arithmetic is exact to its rounding; the packed formats are 2 to 5 times as fast, and hold copies of the weights
 * in memory. Checkpoints in FP8 (with scales of blocks or rows) open like any other. */
typedef int32_t llada_dtype;
enum {
    /* Each tensor as stored: F32, F16 or BF16, used in place, with activations in f32. A folder that llada_model_save
     * wrote opens in the format it was saved in, and in no other. */
    LLADA_DTYPE_AUTO = 0,
    LLADA_DTYPE_F32 = 1,  /* weights and activations in f32 */
    LLADA_DTYPE_BF16 = 2, /* packed; weights and activations rounded to bf16 (nearest even), sums in f32 */
    LLADA_DTYPE_INT8 = 3, /* packed; integers with a scale for every 64 inputs, activations likewise */
    LLADA_DTYPE_INT4 = 4, /* packed; routed experts: 4 bits with a scale for every 32 inputs; all else as INT8 */
    /* packed; GGUF's blocks of 32 inputs, each number as it is in the file; activations as for INT8. A model is in them
     * if its file is, and AUTO; nothing is converted to them. */
    LLADA_DTYPE_Q8_0 = 5,
    LLADA_DTYPE_Q4_0 = 6
};

/* Who multiplies f32 weights. The two differ in rounding: to compare results, choose one and stay with it. */
typedef int32_t llada_blas;
enum {
    LLADA_BLAS_AUTO = 0, /* the library's own kernels, unless this CPU has none and OpenBLAS is installed */
    LLADA_BLAS_OFF = 1,  /* the library's own kernels */
    /* OpenBLAS (libopenblas.so.0) for the dense products. The library loads it once, privately, and sets it to one
     * thread for the time of each product; a host that uses it as well finds its own number of threads before and
     * after, and in callbacks. LLADA_ERROR_UNSUPPORTED if it cannot be loaded. */
    LLADA_BLAS_ON = 2
};

/* Where weights are held that are used as stored: the embedding, with LLADA_DTYPE_AUTO matrices, and on request the
 * routed experts of a packed model. All others are in memory in any case; so are those that a GGUF file has in blocks,
 * which are laid out anew. */
typedef int32_t llada_mmap;
enum {
    /* Read into memory. Once the model is open, its files may be cut, overwritten or removed. */
    LLADA_MMAP_OFF = 0,
    /* Mapped: opening is quick, processes share the memory, and the system may take it back. But if someone cuts a
     * file, the next forward returns LLADA_ERROR_IO, or, if one is running, the process gets SIGBUS; and if someone
     * writes to it, results change. Replacing a file by another of its name, as downloads do, is harmless.
     *
     * The experts of a packed model (llada_model_save) stay in its file as well, so that a model opens that is larger
     * than the memory: the system keeps those that were used last, and a step reads from the disk what it lacks of
     * those that its routers choose. They are asked for as soon as they are known. */
    LLADA_MMAP_ON = 1,
    /* As ON for the files of this machine, except that the experts of a packed model are copied, which makes steps
     * faster where there is memory for them. OFF for the files of network file systems and FUSE, where a lost
     * connection would be SIGBUS as well. */
    LLADA_MMAP_AUTO = 2
};

/* A long call has come this far, 0 to 1. Non-zero stops it: see LONG CALLS. */
typedef int (*llada_progress_callback)(double fraction, void *user);

typedef struct llada_model_options {
    uint32_t struct_size;
    /* Of the matrices of the layers and of the head. Default: AUTO. */
    llada_dtype dtype;
    /* Of the cached keys and values, and of attention. F32. BF16: half the bytes and about half the time; queries and
     * softmax weights are rounded to bf16 as well, and sums are f32. INT8: about a quarter of the bytes; integers with
     * a scale for each position of a head, queries and softmax weights likewise; the fastest on CPUs with AVX-512 VNNI,
     * and slow on others. AUTO: BF16 where the matrices are packed, else F32. Others are refused. Default: AUTO. */
    llada_dtype kv_dtype;
    /* Default: AUTO. */
    llada_blas blas;
    /* The size of the model's team of threads, the caller's included. 0: as many as the process may use, which is the
     * CPUs of its affinity mask, or its quota where a container has one, rounded down. Default: 0. */
    int32_t threads;
    /* A block of 32 positions shares this many experts of a layer, those that some token of the block scores highest:
     * the block routing of LLaDA2.2 (2.2, section 2.2), for any model. Fewer bytes are read in a step, and results
     * differ. num_experts_per_tok to num_experts. 0: as the config says. Default: 0. */
    int32_t expert_capacity;
    /* -1: that of generation_config.json, config.json, <|mask|> of the tokenizer, or 156895. It may not be one of
     * eos_token_ids. Default: -1. */
    int32_t mask_token_id;
    /* Default: AUTO. */
    llada_mmap use_mmap;
    /* [eos_token_id_count], copied: each of them ends an answer. Count 0: those of generation_config.json, config.json,
     * <|endoftext|> of the tokenizer, or 156892; of a file's list, the mask is left out. Default: NULL, 0. */
    const int32_t *eos_token_ids;
    size_t eos_token_id_count;
    /* Default: NULL, none. */
    llada_progress_callback progress;
    void *progress_user;
    /* The ids by which LLaDA2.2 says that a token is to go, and that a mask is to come before one (2.2's DELETE and
     * INSERT). -1: those of generation_config.json or config.json. There are both or neither; neither is the other, the
     * mask or an end of sequence, or else LLADA_ERROR_CONFIG, and LLADA_ERROR_INVALID_ARGUMENT for yours. Default:
     * -1. */
    int32_t delete_token_id;
    int32_t split_token_id;
    /* The most bytes of memory that the model may take, with its decoders and prefix caches: weights as held, tables,
     * workspaces, keys and values. What would go beyond is LLADA_ERROR_OUT_OF_MEMORY before memory is taken, with what
     * was asked, what is in use and the limit; the call can be repeated once something was freed. Weights that are used
     * in place in a mapped file do not count, as they are the system's cache; nor do what a canvas takes beside its
     * keys and values (some dozen bytes for each position), and arrays of yours. While small files and headers are
     * read, 3 times their bytes count. llada_model_describe tells what opening takes. 0: no limit. Default: 0. */
    uint64_t memory_limit;
    /* Of rank 0: the cluster whose other ranks hold a part of the routed experts. It has one model at a time:
     * LLADA_ERROR_BUSY for a second one, until the first one is freed with its decoders. See llada_cluster. Default:
     * NULL, none. */
    struct llada_cluster *cluster;
    /* [expert_usage_count], with a cluster: how many positions each expert has had in prompts like yours, as
     * llada_decoder_expert_usage counts it, [num_hidden_layers, num_experts]. Each rank then gets experts of which a
     * step of 32 positions is expected to read equal parts, or parts in proportion to the cluster's shares, in place
     * of equal numbers of experts. It may be of another model, and results are the same. Count 0: all experts are
     * equally likely. Default: NULL, 0. */
    const uint64_t *expert_usage;
    size_t expert_usage_count;
} llada_model_options;

/* Sets the defaults. `size` is sizeof(llada_model_options). */
LLADA_API llada_status llada_model_options_init(llada_model_options *options, size_t size, llada_error *error);

/* Opens the Hugging Face folder `path` of a `llada2_moe` checkpoint: config.json, model.safetensors or its shards, and
 * tokenizer.json where there is one; or the GGUF file `path` of one (architecture llada2), which has all of that in its
 * metadata; of a model in several files, any of them. A folder whose only weights are one GGUF model stands for it. The
 * library checks every byte; an error names file, key, found and expected. A file that is cut or written to meanwhile
 * is LLADA_ERROR_IO, and never SIGBUS. `options` may be NULL: the defaults. */
LLADA_API llada_status llada_model_open(const char *path, const llada_model_options *options, llada_model **model,
                                        llada_error *error);

/* Writes a packed model (BF16, INT8 or INT4) to the folder `path`. llada_model_open then opens that folder like any
 * other, with the same results, and packs nothing. The function makes the folder, or takes one that is empty; if it
 * fails, it leaves nothing there. It writes the weights as they are held, and the config and tokenizer files as they
 * were when the model was opened; the options of that opening (ids, expert_capacity) are not part of it.
 * LLADA_ERROR_INVALID_ARGUMENT if the model is not packed. `progress` may be NULL. */
LLADA_API llada_status llada_model_save(const llada_model *model, const char *path, llada_progress_callback progress,
                                        void *progress_user, llada_error *error);

/* You may free a model before the decoders and prefix caches that use it; they keep it alive. */
LLADA_API void llada_model_free(llada_model *model);

/* What a checkpoint is, as a JSON object, without loading it: only its small files and the headers of its weights are
 * read. It works for a checkpoint that does not load, and says why: it is what belongs to a bug report, with
 * llada_build_info. `*count` bytes of UTF-8, not NUL-terminated. The keys, of which later versions may have more:
 *
 *   path              as given
 *   loads             whether llada_model_open would open it, as far as headers tell
 *   container         "safetensors", "packed" (written by llada_model_save) or "gguf"; null if that cannot be told
 *   family            {name, evidence}: "2.0", "2.0-CAP", "2.1", "2.2" or null, and what this guess rests on
 *   parameters        how many numbers the model consists of; null if it does not load
 *   stored            [{type, tensors, bytes}]: what the files hold, by types, the most bytes first
 *   config            vocab_size, hidden_size and so on, checked; null if config.json cannot be read
 *   mask_token        {id, source}: the id, and where it was found; null if it is unknown
 *   eos_tokens        [{id, source}]
 *   delete_token      {id, source}: LLaDA2.2's id for a token that is to go; null for other models
 *   split_token       {id, source}: LLaDA2.2's id for a mask before a token; null likewise
 *   tokenizer         {vocabulary_size, added_tokens, control_tokens}; null if there is none that can be read
 *   chat              {known_layout, evidence}: whether llada_chat_tokenize lays out conversations; null without a
 *                     tokenizer
 *   step_tokens       32: the tokens of the step that step_bytes is about
 *   expected_experts  how many experts of a layer such a step uses, if routers chose at random: an estimate from above
 *   memory_bytes      the memory that this process may have: the machine's, or what its control groups leave it of
 *                     that, as containers limit it; null if that cannot be told
 *   memory            [{dtype, weight_bytes, kv_dtype, kv_bytes_per_token, step_bytes, opening_bytes, open_bytes,
 *                     workspace_bytes, fits, mmap_opening_bytes, mmap_open_bytes, mmap_fits}]: for each llada_dtype the
 *                     bytes of the weights as held, of keys and values, and of the weights that a step reads, estimated
 *                     with expected_experts. A step takes at least step_bytes over the machine's bandwidth. As
 *                     memory_limit counts, with mapped files: opening_bytes at most while the model is opened,
 *                     open_bytes afterwards, and workspace_bytes for each forward that runs at a time, in blocks of 32
 *                     with the threads of this machine. fits: whether memory_bytes are enough for these, if nothing
 *                     else took any; null if they are unknown. mmap_*: the same with LLADA_MMAP_ON, where pages of the
 *                     file need no memory, but a step waits for the disk as far as they find none
 *   notes             [text]: what loading leaves out or overlooks
 *   problems          [{status, message}]: what keeps it from loading, from every part that could be tried */
LLADA_API llada_status llada_model_describe(const char *path, char *text, size_t capacity, size_t *count,
                                            llada_error *error);

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
    int32_t max_position_embeddings; /* the longest canvas; with YaRN, as extended */
    int32_t mask_token_id;           /* -1: unknown; then no decoder can be made */
    int32_t eos_token_id;            /* the first of llada_model_eos_token_ids; -1: there is none */
    llada_dtype dtype;               /* of the matrices, as held; AUTO: as stored in the checkpoint */
    llada_dtype kv_dtype;            /* of keys and values: F32, BF16 or INT8 */
    int32_t threads;
    bool has_tokenizer;
    bool has_chat_template; /* there is a tokenizer; knows_chat_layout tells whether llada_chat_tokenize refuses */
    bool knows_chat_layout; /* the checkpoint's chat template is known to be the layout of llada_chat_tokenize */
    uint64_t num_parameters;
    uint64_t weight_bytes;   /* as held */
    int32_t delete_token_id; /* of LLaDA2.2: a token is to go; -1: there is none */
    int32_t split_token_id;  /* of LLaDA2.2: a mask is to come before a token; -1: there is none */
    uint64_t memory_used;    /* of llada_model_options.memory_limit, at this moment; counted without a limit as well */
} llada_model_info;
#define LLADA_MODEL_INFO_INIT \
    {sizeof(llada_model_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, false, false, false, 0, 0, 0, 0, 0}

/* What a model is, by its config, and how it is held. */
LLADA_API llada_status llada_model_get_info(const llada_model *model, llada_model_info *info, llada_error *error);

/* The end-of-sequence ids: each of them ends an answer. There may be none. */
LLADA_API llada_status llada_model_eos_token_ids(const llada_model *model, int32_t *ids, size_t capacity, size_t *count,
                                                 llada_error *error);

/* What opening the model left out or assumed, as sentences in English, one in a line: tensors that have no part in the
 * model, entries of files that contradict others, ids that could not be. `*count` bytes of UTF-8, not NUL-terminated;
 * 0 where there is nothing to say. */
LLADA_API llada_status llada_model_notes(const llada_model *model, char *text, size_t capacity, size_t *count,
                                         llada_error *error);

/* The logits of a whole sequence, without a decoder: [token_count, vocab_size]. A position sees the blocks before its
 * own, and its own block in both directions (the strict block-causal mask); the logits at position i are about the
 * token AT position i. `progress` may be NULL. LLADA_ERROR_NUMERIC, as from every function that runs the model, if
 * weights make it compute NaN or infinities; the message names layer and position. */
LLADA_API llada_status llada_model_logits(const llada_model *model, const int32_t *tokens, size_t token_count,
                                          int32_t block_length, llada_progress_callback progress, void *progress_user,
                                          float *logits, size_t capacity, size_t *count, llada_error *error);

/* ---- Cluster ---------------------------------------------------------------------------------------------------- */

/* One model over several processes, of one or of many machines: the routed experts, which are most of its bytes, are
 * spread over the ranks of an MPI communicator, which also share the reading of the head. Rank 0 opens the model with
 * llada_model_options.cluster, and all functions are there as ever, with the same results, bit for bit, on any number
 * of ranks; the others are in llada_cluster_serve. Each rank opens the same checkpoint, by its own path, and reads its
 * own experts of it.
 *
 *     mpiexec -n 1 ./your-program : -n 3 llada-worker
 *
 * MPI is not linked: the library is found at run time. It has to have the standard ABI of MPI 5.0 (libmpi_abi.so.1 of
 * MPICH 5 or Open MPI 6): the one that your program has loaded, or `library`, or what the environment variable
 * LLADA_MPI_LIBRARY names, or what the loader finds. What the library says of stacks, of allocations and of signal
 * handlers is not true of MPI.
 *
 * Faults. No call waits for another rank longer than timeout_ms. A rank that has died, hangs, or ends is
 * LLADA_ERROR_CLUSTER in the call that needs it, with a message that names it, and every later call that needs the
 * cluster returns the same at once. Decoders can then be saved (llada_decoder_save), and go on with another cluster, or
 * without one. A rank that is in llada_cluster_serve and hears nothing of rank 0 for its timeout_ms ends, with the same
 * error: rank 0 has a thread that tells the others that it is there, where MPI was initialised with
 * MPI_THREAD_MULTIPLE; where not, they wait for rank 0 without end. mpiexec, as it is by default, ends all ranks when
 * one of them dies.
 *
 * Threads. Any thread may use a cluster, if MPI was initialised with MPI_THREAD_SERIALIZED or more; else the one that
 * initialised it. Forwards of several threads take turns, layer by layer. */
typedef struct llada_cluster llada_cluster;

typedef struct llada_cluster_options {
    uint32_t struct_size;
    /* After how many milliseconds a rank that does not answer, or rank 0 if it is not heard of, counts as dead: 1 to
     * 86400000. Default: 30000. */
    int32_t timeout_ms;
    /* Initialise MPI, where your program has not, with MPI_THREAD_MULTIPLE, and finalise it in llada_cluster_free.
     * Without it MPI has to be initialised, or else LLADA_ERROR_STATE. Default: false. */
    bool initialise;
    /* The MPI_Comm whose processes are the cluster; it is duplicated. NULL: MPI_COMM_WORLD. Default: NULL. */
    void *communicator;
    /* The file of the MPI library. Default: NULL, see above. */
    const char *library;
    /* [share_count], on rank 0: what part of the experts and of the head each rank has, in any unit. Count 0: equal
     * parts. For ranks of unequal memory or speed. Default: NULL, 0. */
    const double *shares;
    size_t share_count;
} llada_cluster_options;

/* Sets the defaults. `size` is sizeof(llada_cluster_options). */
LLADA_API llada_status llada_cluster_options_init(llada_cluster_options *options, size_t size, llada_error *error);

/* Joins the cluster. All processes of the communicator call it, within timeout_ms of each other.
 * LLADA_ERROR_UNSUPPORTED if there is no MPI library; LLADA_ERROR_CLUSTER if a rank does not answer, or has another
 * version of this library. `options` may be NULL: the defaults. */
LLADA_API llada_status llada_cluster_create(const llada_cluster_options *options, llada_cluster **cluster,
                                            llada_error *error);

/* Leaves the cluster, at once: models of the cluster that are still there return LLADA_ERROR_STATE from then on. On
 * rank 0 it ends llada_cluster_serve of the others. It waits for timeout_ms at most, beside MPI_Finalize, which is
 * called if MPI was initialised here and no rank has failed. */
LLADA_API void llada_cluster_free(llada_cluster *cluster);

/* On every rank but 0: computes the experts of this rank for rank 0, until that frees the cluster (LLADA_OK), or the
 * cluster fails (LLADA_ERROR_CLUSTER). Rank 0 decides which model: `path` is where it lies here, or NULL for the path
 * that rank 0 has. Of `options`, threads, use_mmap and memory_limit count; the rest is as on rank 0. It may be NULL. A
 * model that cannot be opened here is an error of llada_model_open on rank 0, and this call goes on. */
LLADA_API llada_status llada_cluster_serve(llada_cluster *cluster, const char *path, const llada_model_options *options,
                                           llada_error *error);

typedef struct llada_cluster_info {
    uint32_t struct_size;
    int32_t rank;
    int32_t size;
    /* What this rank has sent to and received from the others since it joined. */
    uint64_t bytes_sent;
    uint64_t bytes_received;
    uint64_t messages_sent;
    uint64_t messages_received;
} llada_cluster_info;
#define LLADA_CLUSTER_INFO_INIT {sizeof(llada_cluster_info), 0, 0, 0, 0, 0, 0}

LLADA_API llada_status llada_cluster_get_info(const llada_cluster *cluster, llada_cluster_info *info,
                                              llada_error *error);

/* ---- Text ------------------------------------------------------------------------------------------------------- */

typedef uint32_t llada_text_flags;
enum {
    /* llada_tokenize: take control tokens (<|endoftext|>, <role>, ...) in the text for what they stand for. Without
     * this flag they are plain characters, as befits text that a user typed. */
    LLADA_TEXT_CONTROL = 1,
    /* llada_detokenize, llada_text_stream_create: leave control tokens out. */
    LLADA_TEXT_SKIP_CONTROL = 2
};

/* Text to tokens. Broken UTF-8 becomes U+FFFD, and NUL is a character like any other. LLADA_ERROR_TOKENIZER if the
 * model has no tokenizer. */
LLADA_API llada_status llada_tokenize(const llada_model *model, const char *text, size_t byte_count,
                                      llada_text_flags flags, int32_t *tokens, size_t capacity, size_t *count,
                                      llada_error *error);

/* Tokens to text: `*count` bytes of valid UTF-8, not NUL-terminated. LLADA_ERROR_TOKENIZER if the model has no
 * tokenizer. */
LLADA_API llada_status llada_detokenize(const llada_model *model, const int32_t *tokens, size_t token_count,
                                        llada_text_flags flags, char *text, size_t capacity, size_t *count,
                                        llada_error *error);

/* A stretch of a text with markup. */
typedef struct llada_text_part {
    const char *text; /* [byte_count] */
    size_t byte_count;
    bool is_markup; /* control tokens in it are meant; else it is content, in which they are plain characters */
} llada_text_part;

/* A text in parts to tokens: those of the whole text, except that content never becomes a control token, nor another
 * added token that is written as a tag is (<...> or [...], as <think> may be). For chat templates that your program
 * renders itself. LLADA_ERROR_TOKENIZER if the model has no tokenizer. LLADA_ERROR_UNSUPPORTED if a control token in
 * the markup takes characters beside it (lstrip, rstrip, single_word). */
LLADA_API llada_status llada_tokenize_parts(const llada_model *model, const llada_text_part *parts, size_t part_count,
                                            int32_t *tokens, size_t capacity, size_t *count, llada_error *error);

/* ---- Chat ------------------------------------------------------------------------------------------------------- */

typedef int32_t llada_chat_layout;
enum {
    LLADA_CHAT_LAYOUT_KNOWN = 0, /* that of LLaDA2 and Ling 2.0, if the checkpoint's template is known to be that */
    LLADA_CHAT_LAYOUT_LLADA2 = 1 /* that of LLaDA2 and Ling 2.0, whatever the checkpoint's template is */
};

typedef struct llada_chat_options {
    uint32_t struct_size;
    bool add_generation_prompt; /* open the assistant's turn at the end. Default: true */
    bool thinking;              /* tell the model to think before it answers. Default: false */
    llada_chat_layout layout;   /* Default: KNOWN */
    const char *tools;          /* JSON, NUL-terminated: a list of the tools that the model may call. Default: NULL */
} llada_chat_options;
#define LLADA_CHAT_OPTIONS_INIT {sizeof(llada_chat_options), true, false, LLADA_CHAT_LAYOUT_KNOWN, NULL}

typedef struct llada_chat_message {
    const char *role;    /* "system", "user", "assistant" or "tool" */
    const char *content; /* NUL-terminated; control tokens in it are plain characters */
} llada_chat_message;

/* A conversation to tokens, in the layout that LLaDA2 and Ling 2.0 were trained on. `options` may be NULL: the
 * defaults. Whoever wrote a text, control tokens in it are plain characters: in contents, in tools, in calls of tools.
 * LLADA_ERROR_TOKENIZER if the model has no tokenizer. LLADA_ERROR_UNSUPPORTED if the checkpoint's chat template is not
 * known to be that layout: render it with a Jinja engine then (llada_chat_template, llada_tokenize_parts), or insist
 * with LLADA_CHAT_LAYOUT_LLADA2. LLADA_ERROR_JSON, with line and column, if `tools` is not JSON. */
LLADA_API llada_status llada_chat_tokenize(const llada_model *model, const llada_chat_message *messages,
                                           size_t message_count, const llada_chat_options *options, int32_t *tokens,
                                           size_t capacity, size_t *count, llada_error *error);

/* The same of a conversation in JSON, with all that a message may have, as servers and clients of OpenAI's interface
 * write it: a list of {"role", "content"}, where
 *   - "content" is text, a list of parts {"type": "text", "text": ...}, or null;
 *   - an assistant's message may have "reasoning_content", which is shown if no question of a user follows; else
 *     reasoning is looked for in the content, as <think>...</think>;
 *   - an assistant's message may have "tool_calls", a list of {"function": {"name", "arguments"}} or {"name",
 *     "arguments"}, with arguments as JSON, or as text that is JSON;
 *   - a message of role "tool" is the result of a call.
 * JSON is read as Python's json.loads reads it and laid out as json.dumps(..., ensure_ascii=False) writes it, which is
 * what chat templates do. LLADA_ERROR_JSON, with line and column, for what is not JSON; LLADA_ERROR_INVALID_ARGUMENT,
 * with the key, for what is no message. */
LLADA_API llada_status llada_chat_tokenize_json(const llada_model *model, const char *messages, size_t byte_count,
                                                const llada_chat_options *options, int32_t *tokens, size_t capacity,
                                                size_t *count, llada_error *error);

/* The checkpoint's own chat template, in Jinja, not NUL-terminated: the one named `name` (NULL: "default"; checkpoints
 * with several may have "tool_use"). `*count` becomes 0 if there is none. LLADA_ERROR_TOKENIZER if the model has no
 * tokenizer. */
LLADA_API llada_status llada_chat_template(const llada_model *model, const char *name, char *text, size_t capacity,
                                           size_t *count, llada_error *error);

/* What a chat template expects to be given besides `messages`, `tools` and `add_generation_prompt`: a JSON object,
 * {"bos_token": "...", "eos_token": "...", ...}, not NUL-terminated. LLADA_ERROR_TOKENIZER if the model has no
 * tokenizer. */
LLADA_API llada_status llada_chat_variables(const llada_model *model, char *text, size_t capacity, size_t *count,
                                            llada_error *error);

/* ---- Decoder: a canvas that is being denoised ------------------------------------------------------------------- */

typedef struct llada_decoder llada_decoder;
typedef struct llada_policy llada_policy;             /* section "Policy" */
typedef struct llada_prefix_cache llada_prefix_cache; /* section "Prefix cache" */

typedef struct llada_decoder_options {
    uint32_t struct_size;
    /* Positions of a block, which are denoised together. Default: 32. */
    int32_t block_length;
    /* Tokens to generate at most. Default: 256. */
    int32_t gen_length;
    /* Stop as soon as the answer is known to have ended: it has an end-of-sequence token, and no mask before that.
     * (With the low-confidence and Levenshtein policies, as in the references, decoding ends at the end of a block with
     * such a token in any case.) Default: true. */
    bool eos_early_stop;
    /* True: mask ids in the prompt are positions to fill. False: they are refused. Default: false. */
    bool infill;
    /* False: all K/V is computed anew at every step, for comparison; the bits are the same. Default: true. */
    bool use_cache;
    /* Copied. Default: NULL, which is LLADA_PRESET_LEVENSHTEIN for a model that has delete_token_id and split_token_id
     * (LLaDA2.2), and LLADA_PRESET_QUALITY for others. */
    const llada_policy *policy;
    /* Where the decoder shares K/V with other decoders of the model. Default: NULL, nowhere. */
    llada_prefix_cache *prefix_cache;
} llada_decoder_options;

/* Sets the defaults. `size` is sizeof(llada_decoder_options). */
LLADA_API llada_status llada_decoder_options_init(llada_decoder_options *options, size_t size, llada_error *error);

/* Makes a decoder. The prompt may end in the middle of a block: generated tokens go on from there. The canvas has
 * ceil((prompt_count + gen_length) / block_length) blocks. Nothing is computed yet. `options` may be NULL: the
 * defaults. LLADA_ERROR_SPECIAL_TOKEN if the model's mask id is unknown, or stands in the prompt without `infill`, or
 * if the policy is LLADA_POLICY_LEVENSHTEIN and the model lacks the ids for it. */
LLADA_API llada_status llada_decoder_create(const llada_model *model, const int32_t *prompt, size_t prompt_count,
                                            const llada_decoder_options *options, llada_decoder **decoder,
                                            llada_error *error);

LLADA_API void llada_decoder_free(llada_decoder *decoder);

/* ---- Stepping: a step is forward, propose, apply ---------------------------------------------------------------- */

/* Runs the model over the active positions (one block, or the window of blocks that multi-block editing revisits), and
 * first over what stands before them and has no valid K/V yet. Afterwards you can look at predictions, confidences,
 * candidates and logits. You may call forward again before apply, after llada_decoder_set_token say; that is one
 * forward more. If it fails, the predictions of the forward before are gone, and nothing else has changed.
 * LLADA_ERROR_CANCELLED after llada_decoder_cancel, LLADA_ERROR_OUT_OF_MEMORY if the prefix cache has no room,
 * LLADA_ERROR_STATE at the end. */
LLADA_API llada_status llada_decoder_forward(llada_decoder *decoder, llada_error *error);

/* Lets the policy turn predictions into a proposal; then calls the decoder's rule, if it has one. You may call propose
 * again, after llada_decoder_ban say. LLADA_ERROR_STATE before a forward. */
LLADA_API llada_status llada_decoder_propose(llada_decoder *decoder, llada_error *error);

/* Writes the proposal to the canvas and makes its events. A block that is done becomes settled, and the next one
 * active. LLADA_ERROR_STATE without a proposal. */
LLADA_API llada_status llada_decoder_apply(llada_decoder *decoder, llada_error *error);

/* Does the rest of the current step: those of forward, propose and apply that have not been done. LLADA_ERROR_STATE at
 * the end. */
LLADA_API llada_status llada_decoder_step(llada_decoder *decoder, llada_error *error);

/* Called after each step. Non-zero stops; a later call goes on from there. */
typedef int (*llada_step_callback)(const llada_decoder *decoder, void *user);

/* Steps until the active block is done, and has been revisited if the policy edits finished blocks. LLADA_ERROR_STATE
 * at the end. `callback` may be NULL. */
LLADA_API llada_status llada_decoder_run_block(llada_decoder *decoder, llada_step_callback callback, void *user,
                                               llada_error *error);

/* Steps to the end. At the end, it does nothing. `callback` may be NULL. */
LLADA_API llada_status llada_decoder_run(llada_decoder *decoder, llada_step_callback callback, void *user,
                                         llada_error *error);

/* Cancels the forward that the decoder is in, or else its next one: it returns LLADA_ERROR_CANCELLED within some tenths
 * of a second. The decoder stays usable, and the step can be done again. A call that works on several decoders ends as
 * a whole. Any thread may cancel at any time, and so may a signal handler: it is one atomic store. */
LLADA_API void llada_decoder_cancel(llada_decoder *decoder);

/* Gives the decoder a callback for forwards that take long, above all over a long prompt: from 0.05 s on it is called
 * up to twenty times a second with how much of the forward is done. Non-zero stops the forward, which can be done
 * again. NULL: none. Of several decoders in one forward, the first one that has a callback is asked, for all of them.
 * Forks have the same callback, with the same `progress_user`, which must live as long as a decoder has it. */
LLADA_API llada_status llada_decoder_set_progress(llada_decoder *decoder, llada_progress_callback progress,
                                                  void *progress_user, llada_error *error);

/* ---- Looking ---------------------------------------------------------------------------------------------------- */

typedef int32_t llada_phase;
enum {
    LLADA_PHASE_READY = 0,     /* forward is next */
    LLADA_PHASE_FORWARDED = 1, /* propose is next */
    LLADA_PHASE_PROPOSED = 2,  /* apply is next */
    LLADA_PHASE_FINISHED = 3   /* the end */
};

typedef int32_t llada_finish_reason;
enum {
    LLADA_FINISH_NONE = 0,  /* the decoder has not finished */
    LLADA_FINISH_EOS = 1,   /* the answer has ended */
    LLADA_FINISH_LENGTH = 2 /* gen_length tokens are there */
};

typedef struct llada_decoder_state {
    uint32_t struct_size;
    llada_phase phase;
    llada_finish_reason finish_reason;
    int32_t block_length;
    int32_t prompt_length;
    int32_t gen_length;     /* tokens to generate at most; prompt_length + gen_length may be below canvas_length */
    int32_t canvas_length;  /* a multiple of block_length */
    int32_t settled_length; /* positions before this one are final */
    int32_t active_first;   /* the active positions are active_first ... */
    int32_t active_count;   /* ... to active_first + active_count - 1 */
    int32_t block_step;     /* steps done in the active block */
    bool editing_blocks;    /* the step at hand revisits finished blocks (multi-block editing) */
    uint64_t forwards;      /* denoising forwards, as in the tokens per forward of 2.0; revisiting ones included */
    uint64_t commits;       /* forwards run only to compute K/V of finished blocks */
    uint64_t prefills;      /* forwards run only to compute K/V of the prompt, whose last piece rides with a step */
    uint64_t edits;         /* tokens that replaced another token */
    /* Positions that this decoder ran through the model, in all its forwards, and positions whose K/V the prefix cache
     * had. Both begin at 0 in a fork. */
    uint64_t computed_positions;
    uint64_t reused_positions;
    uint64_t insertions; /* tokens, and masks, that were put in before others */
    uint64_t deletions;  /* tokens, and masks, that were taken out */
    /* Denoising forwards that this decoder ran through the model: those of `forwards` that are missing ran along in the
     * one before them. And positions whose logits it judged. Both begin at 0 in a fork. */
    uint64_t computed_forwards;
    uint64_t judged_positions;
} llada_decoder_state;
#define LLADA_DECODER_STATE_INIT \
    {sizeof(llada_decoder_state), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, false, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

/* Where a decoder stands. */
LLADA_API llada_status llada_decoder_get_state(const llada_decoder *decoder, llada_decoder_state *state,
                                               llada_error *error);

/* What a position of the canvas is. The decoder stores it; it is never guessed from the token. */
typedef uint8_t llada_position_state;
enum {
    LLADA_POSITION_PROMPT = 0,
    LLADA_POSITION_MASKED = 1,
    LLADA_POSITION_DRAFT = 2,  /* written, and may still be edited */
    LLADA_POSITION_SETTLED = 3 /* final */
};

/* VIEW. The tokens of the canvas and the states of its positions, both [canvas_length]. Any out pointer may be NULL. */
LLADA_API llada_status llada_decoder_canvas(const llada_decoder *decoder, const int32_t **tokens,
                                            const llada_position_state **states, size_t *count, llada_error *error);

/* VIEW. Which positions are locked, [canvas_length]. */
LLADA_API llada_status llada_decoder_locked(const llada_decoder *decoder, const bool **locked, size_t *count,
                                            llada_error *error);

/* The generated tokens: up to and including the first end-of-sequence token, else gen_length of them. (As in the
 * reference, the low-confidence policy with eos_early_stop may find that token in the padding of the last block; the
 * output is then up to block_length - 1 tokens longer.) Before the end: those that are settled. Positions of the prompt
 * that were filled (infilling) are not among them: read the canvas. */
LLADA_API llada_status llada_decoder_output(const llada_decoder *decoder, int32_t *tokens, size_t capacity,
                                            size_t *count, llada_error *error);

/* What a decoding rule looks at: for each active position of the last forward, which are first to first + count - 1,
 * one element in each array, [count]. */
typedef struct llada_active {
    uint32_t struct_size;
    int32_t first;
    int32_t count;
    int32_t block_step;                 /* steps done in the active block */
    bool editing_blocks;                /* finished blocks are revisited (multi-block editing) */
    const int32_t *tokens;              /* of the canvas */
    const llada_position_state *states; /* of the canvas */
    const bool *locked;
    /* The most likely token, or the one that was drawn, biases, bans and penalty applied. It may be the mask. */
    const int32_t *predictions;
    /* The probability of the prediction, 0 to 1: softmax of the logits; of a drawn token, after temperature, top_k and
     * top_p. */
    const float *confidences;
    /* Whether each row ran through the model in that forward. The others, of a policy that refreshes a part of the
     * rows, have what their last forward gave. */
    const bool *computed;
} llada_active;
#define LLADA_ACTIVE_INIT {sizeof(llada_active), 0, 0, 0, false, NULL, NULL, NULL, NULL, NULL, NULL}

/* VIEW. Predictions stay until the next forward; LLADA_ERROR_STATE before the first one. */
LLADA_API llada_status llada_decoder_active(const llada_decoder *decoder, llada_active *active, llada_error *error);

typedef struct llada_candidate {
    int32_t token;
    float logit;
    float probability;
} llada_candidate;

/* The most likely tokens at an active position of the last forward: the best first, of equals the lower id first;
 * biases, bans and penalty applied, temperature not. The capacity says how many you want, so this function alone never
 * returns LLADA_ERROR_BUFFER_TOO_SMALL: `*count` becomes the smaller of capacity and the number of tokens that are not
 * banned. LLADA_ERROR_STATE before the first forward. */
LLADA_API llada_status llada_decoder_candidates(const llada_decoder *decoder, int32_t position,
                                                llada_candidate *candidates, size_t capacity, size_t *count,
                                                llada_error *error);

/* Says that the `count` most likely tokens at each active position are to be kept, from the next forward on: at most
 * 1024, 0 for none. Then llada_decoder_candidates of up to `count` is free, and a forward over 157,184 tokens takes
 * about half a ms longer. Otherwise llada_decoder_candidates runs the head of the model again: over the row of the
 * position, and, if you ask for more positions, each time over eight times as many of its neighbours; the next forward
 * then keeps as many as you asked for, up to 64. Nothing else changes. A rule that looks at candidates wants this said
 * once, before the first step. Forks keep as many; snapshots do not say. */
LLADA_API llada_status llada_decoder_keep_candidates(llada_decoder *decoder, size_t count, llada_error *error);

/* VIEW. The logits at an active position of the last forward, as the model gave them: [vocab_size]. The head of the
 * model runs again over the row of the position, and, if you ask for more positions, each time over eight times as many
 * of its neighbours; with a temperature, all logits are at hand. LLADA_ERROR_STATE before the first forward. */
LLADA_API llada_status llada_decoder_logits(const llada_decoder *decoder, int32_t position, const float **logits,
                                            size_t *count, llada_error *error);

typedef int32_t llada_reason;
enum {
    LLADA_REASON_THRESHOLD = 0,  /* mask to token: confidence > threshold */
    LLADA_REASON_FALLBACK = 1,   /* mask to token: too few were over the threshold, so the most confident */
    LLADA_REASON_EDIT = 2,       /* token to token, while the block has masks */
    LLADA_REASON_POST_EDIT = 3,  /* token to token, after the block's last mask */
    LLADA_REASON_BLOCK_EDIT = 4, /* token to token in a finished block (multi-block editing) */
    LLADA_REASON_HOST = 5        /* yours */
};

typedef int32_t llada_edit_kind;
enum {
    LLADA_EDIT_WRITE = 0, /* the token is written at the position */
    /* The token at the position is taken out. Those behind it, to the end of the block, move up by one, and a mask
     * comes in at the end. */
    LLADA_EDIT_DELETE = 1,
    /* The token is put in before the one at the position. That one and those behind it, to the end of the block, move
     * back by one, and the last one is lost; often it is a mask. */
    LLADA_EDIT_INSERT = 2
};

/* What becomes of a position. Positions are those before the step: edits of one proposal do not see each other. First
 * everything is written, then everything goes that is to go, then everything comes in that is to come in. A token that
 * moves takes its state with it, and its entry in the step map. Positions of the prompt, and locked ones, stay where
 * they are, and nothing moves across them: what is said of the end of the block is then true of the place before the
 * next one. */
typedef struct llada_edit {
    int32_t position;
    int32_t token;    /* WRITE, INSERT: the mask id leaves the position to the model. DELETE: the one that goes */
    float confidence; /* of the prediction; in an edit of yours it is passed on to the event, and need not be set */
    llada_reason reason;
    llada_edit_kind kind;
} llada_edit;

/* VIEW. What apply will do, by increasing position; what is put in before a token comes before what becomes of it.
 * LLADA_ERROR_STATE unless a proposal is at hand. */
LLADA_API llada_status llada_decoder_proposal(const llada_decoder *decoder, const llada_edit **edits, size_t *count,
                                              llada_error *error);

typedef int32_t llada_event_kind;
enum {
    LLADA_EVENT_UNMASK = 0,  /* mask to token */
    LLADA_EVENT_REPLACE = 1, /* token to token */
    LLADA_EVENT_REMASK = 2,  /* token to mask */
    /* new_token came in at `position`; what stood from there to last - 1 moved back by one; old_token, which stood at
     * `last`, is lost (often it is a mask) */
    LLADA_EVENT_INSERT = 3,
    /* old_token was taken out at `position`; what stood from position + 1 to `last` moved up by one; new_token, a mask,
     * came in at `last` */
    LLADA_EVENT_DELETE = 4
};

typedef struct llada_event {
    int32_t position;
    llada_event_kind kind;
    int32_t old_token;
    int32_t new_token;
    float confidence;
    llada_reason reason;
    int32_t last; /* of INSERT and DELETE: the last position that changed; of others the same as `position` */
} llada_event;

/* VIEW. What you had changed since the apply before the last one, then what the last apply changed: writes, deletions
 * from the last one on, insertions. Positions are those at the moment of each event, so that a copy of the canvas
 * follows by doing what the events say, one after the other. */
LLADA_API llada_status llada_decoder_events(const llada_decoder *decoder, const llada_event **events, size_t *count,
                                            llada_error *error);

/* VIEW. The step map, [canvas_length]: for each token, the number of forwards there had been when it was written last;
 * 0 where no token was written. Trainers by reinforcement want it of a rollout. `count` may be NULL. */
LLADA_API llada_status llada_decoder_step_map(const llada_decoder *decoder, const int32_t **forwards, size_t *count,
                                              llada_error *error);

/* ---- Interfering: between any two calls of "Stepping", and in a rule -------------------------------------------- */

/* Puts your edits in place of the proposal. That is possible after forward; propose need not have been called. The
 * positions must be active, not of the prompt and not locked, and each may be written or deleted once. Any number of
 * tokens may be put in before a position, in their order; a proposal has at most two edits for each active position.
 * While finished blocks are edited, nothing may be masked, deleted or put in. `reason` is taken as
 * LLADA_REASON_HOST. */
LLADA_API llada_status llada_decoder_set_proposal(llada_decoder *decoder, const llada_edit *edits, size_t count,
                                                  llada_error *error);

/* Writes a token anywhere on the canvas, until the end. Predictions and a proposal at hand stay as they are: apply
 * writes over your token if the proposal says so, unless you lock the position. In the prompt or a finished block, K/V
 * of that block and of all blocks behind it is computed anew at the next forward, and their tokens stay. In a block to
 * come, the token is a draft that waits. LLADA_ERROR_SPECIAL_TOKEN for the mask id: llada_decoder_mask writes that. */
LLADA_API llada_status llada_decoder_set_token(llada_decoder *decoder, int32_t position, int32_t token,
                                               llada_error *error);

/* Masks a position of the active block or of a block to come; not one of the prompt. */
LLADA_API llada_status llada_decoder_mask(llada_decoder *decoder, int32_t position, llada_error *error);

/* Locks a position, or unlocks it. The policy leaves a locked position as it is, and so does apply with a proposal at
 * hand. A mask that is locked stays one, and counts as none: the block is done without it. */
LLADA_API llada_status llada_decoder_lock(llada_decoder *decoder, int32_t position, bool locked, llada_error *error);

/* Bans a token, or lifts the ban: it is never predicted at `position` or, with -1, at any position. Predictions at hand
 * are made anew. A ban that would leave nothing but the mask is refused. */
LLADA_API llada_status llada_decoder_ban(llada_decoder *decoder, int32_t token, int32_t position, bool banned,
                                         llada_error *error);

/* Sets what is added to the logit of a token before the most likely one is found, probabilities are computed, or a
 * token is drawn: at `position` or, with -1, at all positions; the two add up. 0 adds nothing. -INFINITY is
 * llada_decoder_ban, and any other bias lifts that ban. Predictions at hand are made anew; llada_decoder_logits are as
 * the model gave them. LLADA_ERROR_INVALID_ARGUMENT for a bias that is NaN or beyond -1e30 to 1e30. */
LLADA_API llada_status llada_decoder_set_logit_bias(llada_decoder *decoder, int32_t token, int32_t position, float bias,
                                                    llada_error *error);

typedef int32_t llada_block_end;
enum {
    LLADA_BLOCK_END_AUTO = 0,   /* the policy decides */
    LLADA_BLOCK_END_NOW = 1,    /* the active block is done, and masks that are left stay; revisiting follows */
    LLADA_BLOCK_END_NOT_YET = 2 /* the active block is not done */
};

/* Says what becomes of the active block at the next apply, and at that one alone. */
LLADA_API llada_status llada_decoder_end_block(llada_decoder *decoder, llada_block_end end, llada_error *error);

/* A decoding rule of your own. Propose calls it when the policy has made its proposal, so the rule takes part in every
 * way to step. It looks (llada_decoder_active, _candidates, _logits, _proposal) and interferes: with set_proposal it
 * unmasks, replaces, masks, deletes and inserts tokens; it may lock, ban, and end the block. If it does nothing, the
 * policy's proposal stands. Non-zero stops the step, which can be done again. If the rule leaves masks in a block for
 * ever, the block is run for ever: block_step counts its steps, and LLADA_BLOCK_END_NOW ends it. */
typedef int (*llada_rule)(llada_decoder *decoder, void *user);

/* Gives the decoder a rule, in place of the one it has; NULL: none. Forks have the same rule, called with the fork and
 * the same `user`, which must live as long as a decoder has the rule. */
LLADA_API llada_status llada_decoder_set_rule(llada_decoder *decoder, llada_rule rule, void *user, llada_error *error);

/* ---- Text stream: text that may still change -------------------------------------------------------------------- */

/* Text while it comes, in two parts. Settled text is given once and never taken back. The draft is what decoding may
 * still change, and is given as a whole each time: what a program shows behind the settled text, until the next update.
 *
 *     int show(const llada_decoder *decoder, void *stream) { // the callback of llada_decoder_run
 *         llada_text text = LLADA_TEXT_INIT;
 *         if (llada_text_stream_update(stream, decoder, &text, NULL) != LLADA_OK) return 1;
 *         return fputs(text.settled, stdout) < 0;
 *     }
 *
 * A character is held back until all of its bytes have come, over however many tokens. A token that is U+FFFD is a
 * character like any other. All settled text, joined, is llada_detokenize of the tokens: of llada_decoder_output at the
 * decoder's end, or of those that were pushed.
 *
 * A stream belongs to one thread at a time (else LLADA_ERROR_BUSY), and keeps its model alive. It is bound to no
 * decoder: a fork may go on where its origin was. Decoders that go on side by side have a stream each. */
typedef struct llada_text_stream llada_text_stream;

/* What a stream gives: UTF-8, each with a NUL behind it that is not counted. */
typedef struct llada_text {
    uint32_t struct_size;
    const char *settled; /* what has become settled since the call before */
    size_t settled_count;
    const char *draft; /* all text behind it that may still change */
    size_t draft_count;
} llada_text;
#define LLADA_TEXT_INIT {sizeof(llada_text), NULL, 0, NULL, 0}

/* Makes a stream. `flags` is 0 or LLADA_TEXT_SKIP_CONTROL. `mask` is copied, and stands for each masked position of the
 * draft that has a token behind it; NULL: the draft ends before the first masked position. LLADA_ERROR_TOKENIZER if the
 * model has no tokenizer. */
LLADA_API llada_status llada_text_stream_create(const llada_model *model, llada_text_flags flags, const char *mask,
                                                llada_text_stream **stream, llada_error *error);

LLADA_API void llada_text_stream_free(llada_text_stream *stream);

/* VIEW. Takes what the decoder has settled since the update before. The text ends with the first end-of-sequence token,
 * as llada_decoder_output does. At the decoder's end all is settled: a character that is cut off becomes U+FFFD, and
 * the draft is empty. LLADA_ERROR_STATE if the decoder's output does not continue what the stream has taken: the
 * decoder was truncated, you wrote into a finished block, or it is another one. The stream then stays as it is;
 * llada_text_stream_finish makes it ready to begin anew. */
LLADA_API llada_status llada_text_stream_update(llada_text_stream *stream, const llada_decoder *decoder,
                                                llada_text *text, llada_error *error);

/* VIEW. Without a decoder: takes tokens as settled. The draft is empty. */
LLADA_API llada_status llada_text_stream_push(llada_text_stream *stream, const int32_t *tokens, size_t token_count,
                                              llada_text *text, llada_error *error);

/* VIEW. Gives what is held back, as settled: U+FFFD for a character that is cut off, or nothing. So ends what was
 * pushed, and a decoder that is left before its end. The stream then begins anew. */
LLADA_API llada_status llada_text_stream_finish(llada_text_stream *stream, llada_text *text, llada_error *error);

/* ---- Policy: which edits a step proposes ------------------------------------------------------------------------ */

typedef int32_t llada_policy_kind;
enum {
    LLADA_POLICY_LOW_CONFIDENCE = 0, /* LLaDA2.0: masks are filled where confidence > threshold, or by quota */
    LLADA_POLICY_JOINT_THRESHOLD =
        1, /* LLaDA2.1: masks are filled, and tokens already written are edited (2.1, eq. 2) */
    /* LLaDA2.2: masks are filled, tokens are edited, and where delete_token_id or split_token_id is predicted, the
     * token goes, or a mask comes before it. Only for a model that has the two. */
    LLADA_POLICY_LEVENSHTEIN = 2
};

/* Whose rule the Levenshtein policy follows. */
typedef int32_t llada_levenshtein_variant;
enum {
    LLADA_LEVENSHTEIN_REFERENCE = 0, /* that of 2.2's generate */
    /* SGLang's JointThresholdInDel: a mask of the block's beginning is filled in every step, without a schedule; steps
     * without one are counted for good; and a block whose last edits changed something gets one more forward */
    LLADA_LEVENSHTEIN_INDEL = 1
};

/* A kind uses its own fields and those of all. The fields of other kinds have no effect, but must be in range; low
 * confidence and Levenshtein want mbe_window 1. */
struct llada_policy {
    uint32_t struct_size;
    llada_policy_kind kind;
    /* All kinds: which masks are filled */
    float threshold; /* mask to token: write where confidence > threshold */
    /* LLADA_POLICY_LOW_CONFIDENCE */
    int32_t steps;        /* at most this many steps a block. LEVENSHTEIN: the masks of a block's beginning are to be
                           * filled in so many steps, as many in each */
    int32_t minimal_topk; /* steps are at most gen_length / minimal_topk */
    /* LLADA_POLICY_JOINT_THRESHOLD */
    float editing_threshold; /* token to token: write where confidence > editing_threshold; >= 1 switches editing off.
                              * Also of LEVENSHTEIN */
    int32_t max_post_steps;  /* at most this many steps after a block's last mask. LEVENSHTEIN: in a row without a mask
                              * of the block's beginning; the last of them may not delete or insert */
    int32_t num_to_transfer; /* write at least this many masks a step */
    float penalty_lambda;    /* taken off the logit of the token to the left in the block, as SGLang does; 0: off */
    int32_t mbe_window;      /* multi-block editing (2.1, table 4): revisit so many blocks at a block's end; 1: off */
    int32_t mbe_rounds;      /* multi-block editing: so many times, or until nothing changes */
    /* All kinds: how a prediction is made from logits. LEVENSHTEIN draws masks only, and its confidences are those of
     * temperature 1 */
    float temperature; /* 0: the most likely token; else draw one, after top_k and top_p */
    int32_t top_k;     /* 0: off */
    float top_p;       /* 1: off */
    uint64_t seed;     /* equal seeds draw equal tokens */
    /* LLADA_POLICY_LEVENSHTEIN */
    int32_t max_steps_per_block;       /* REFERENCE: at most this many steps a block; one more if masks are left */
    llada_levenshtein_variant variant; /* whose rule it is */
    /* All kinds: which rows a step runs through the model. The first step of a block runs all; the others run masks,
     * what the next three say, or all if that is none. A row that does not run keeps K/V, prediction and confidence of
     * its last forward. This is an approximation; equal inputs give equal bits all the same. It wants use_cache. */
    int32_t refresh_changed; /* rows whose token changed in so many steps before; 0: all rows, and the rest is idle */
    float refresh_below;     /* and drafts whose last confidence is below this; 0: none */
    int32_t refresh_every;   /* every so many steps of a block, all rows; 0: never */
    int32_t refresh_exact;   /* 1: a finished block gets the K/V of a forward over all its rows, in the first forward of
                              * the next one; 0: it keeps what it has. A prefix cache takes exact ones alone */
};

typedef int32_t llada_preset;
enum {
    LLADA_PRESET_LOW_CONFIDENCE = 0, /* 2.0 and 2.0-CAP: threshold 0.95, 32 steps */
    LLADA_PRESET_SPEEDY = 1,         /* 2.1, S mode: threshold 0.5, editing_threshold 0.0 */
    LLADA_PRESET_QUALITY = 2,        /* 2.1, Q mode: threshold 0.7, editing_threshold 0.5 */
    LLADA_PRESET_QUALITY_MBE = 3,    /* 2.1, Q mode, revisiting a window of 2 blocks */
    LLADA_PRESET_LEVENSHTEIN = 4,    /* 2.2: threshold 0.5, editing_threshold 0.0, 32 steps */
    /* The first three with fewer rows a step: refresh_changed 1, and refresh_exact 1 (low confidence) or refresh_below
     * 0.99 (speedy, quality) */
    LLADA_PRESET_LOW_CONFIDENCE_REFRESH = 5,
    LLADA_PRESET_SPEEDY_REFRESH = 6,
    LLADA_PRESET_QUALITY_REFRESH = 7
};

/* Fills `policy` with a preset; change what you like afterwards. `size` is sizeof(llada_policy). */
LLADA_API llada_status llada_policy_init(llada_policy *policy, size_t size, llada_preset preset, llada_error *error);

/* The policy of a decoder. Initialise `policy` with llada_policy_init first. */
LLADA_API llada_status llada_decoder_get_policy(const llada_decoder *decoder, llada_policy *policy, llada_error *error);

/* ---- Branching -------------------------------------------------------------------------------------------------- */

/* Makes a second decoder that is where the first one is, in the midst of a step or not: same canvas, bans, biases,
 * locks, predictions, proposal and rule. The two share K/V until one of them writes to it, so tree search and best-of-n
 * cost what differs. `policy` may be NULL: the same policy. A draw is a function of the policy's seed, the number of
 * the forward and the position: forks that are to draw differently need policies of different seeds. Predictions at
 * hand stay as they are. Not copied: what llada_decoder_watch keeps, and a llada_decoder_cancel that waits. */
LLADA_API llada_status llada_decoder_fork(const llada_decoder *decoder, const llada_policy *policy,
                                          llada_decoder **fork, llada_error *error);

/* Forgets all that was generated from `position` on, which must be the start of a block. Its positions are masked again
 * and free of locks, and its block is the next to be denoised, also after the end. `position` is at least the start of
 * the first block with something generated (0 when infilling), and at most that of the active block; after the end, at
 * most canvas_length. K/V of what stands before is kept, and counters go on. */
LLADA_API llada_status llada_decoder_truncate(llada_decoder *decoder, int32_t position, llada_error *error);

/* ---- Many decoders ---------------------------------------------------------------------------------------------- */

/* One forward for several decoders of one model: weights are read once, whoever needs them. Each decoder may have its
 * own prompt, length, block length, step and policy, and computes what it would compute alone, bit for bit. If the call
 * fails, some decoders may have done their part and others not; each stays usable and can go on from there. A decoder
 * may be in the list once. LLADA_ERROR_BUSY if one is at work. */
LLADA_API llada_status llada_decoders_forward(llada_decoder *const *decoders, size_t count, llada_error *error);

/* Does the rest of each decoder's current step, with one forward for those that need it. LLADA_ERROR_STATE if one is at
 * its end. */
LLADA_API llada_status llada_decoders_step(llada_decoder *const *decoders, size_t count, llada_error *error);

/* Steps all decoders to their ends, at most `most_in_flight` at a time (0: all). Where one has finished, the next one
 * joins, in their order. A decoder that finishes gives its K/V back, or leaves it to its prefix cache. `callback` is
 * called for each decoder after each of its steps and may look at that decoder; non-zero stops all, and a later run
 * goes on. It may be NULL. */
LLADA_API llada_status llada_decoders_run(llada_decoder *const *decoders, size_t count, size_t most_in_flight,
                                          llada_step_callback callback, void *user, llada_error *error);

/* ---- Prefix cache: K/V that decoders share ---------------------------------------------------------------------- */

/* A prefix cache (llada_prefix_cache) holds keys and values of whole blocks, under the tokens that they were computed
 * from. If the beginning of a prompt, or of a conversation, was computed before, it is not computed again. Nothing is
 * copied to share it, and results stay the same, bit for bit. */

/* Makes a cache for the decoders of one model. All K/V of the decoders that use the cache counts towards `max_bytes`;
 * one token takes 2 * num_hidden_layers * num_key_value_heads * head_dim numbers. When the budget is reached, blocks
 * that no decoder holds are dropped, the least recently used first. The budget is never exceeded: a decoder that finds
 * no room, because decoders and pins hold all there is, gets LLADA_ERROR_OUT_OF_MEMORY, and can go on when there is
 * some. */
LLADA_API llada_status llada_prefix_cache_create(const llada_model *model, uint64_t max_bytes,
                                                 llada_prefix_cache **cache, llada_error *error);

/* You may free a cache before the decoders that use it; they keep it alive. */
LLADA_API void llada_prefix_cache_free(llada_prefix_cache *cache);

typedef struct llada_prefix_cache_info {
    uint32_t struct_size;
    uint64_t max_bytes;      /* the budget */
    uint64_t bytes;          /* of the blocks that are cached, and of those that decoders hold */
    uint64_t blocks;         /* cached */
    uint64_t pinned_blocks;  /* cached and pinned */
    uint64_t lookups;        /* how often a decoder lacked whole blocks and looked for them */
    uint64_t hits;           /* how often it found some */
    uint64_t reused_tokens;  /* tokens that did not have to be computed */
    uint64_t evicted_blocks; /* dropped to make room */
} llada_prefix_cache_info;
#define LLADA_PREFIX_CACHE_INFO_INIT {sizeof(llada_prefix_cache_info), 0, 0, 0, 0, 0, 0, 0, 0}

/* What a cache holds, and what it has been good for. */
LLADA_API llada_status llada_prefix_cache_get_info(const llada_prefix_cache *cache, llada_prefix_cache_info *info,
                                                   llada_error *error);

/* Pins what is cached of the whole blocks of `tokens` (those of a system prompt that a decoder has run over, say): it
 * stays, whatever else needs room. With `pinned` false, unpins it: what was unpinned as often as it was pinned may be
 * dropped again. `*found` becomes the number of tokens that are cached; `found` may be NULL. */
LLADA_API llada_status llada_prefix_cache_pin(llada_prefix_cache *cache, const int32_t *tokens, size_t count,
                                              int32_t block_length, bool pinned, size_t *found, llada_error *error);

/* Forgets all that is not pinned. Decoders keep what they hold. */
LLADA_API llada_status llada_prefix_cache_clear(llada_prefix_cache *cache, llada_error *error);

#ifdef LLADA_EXPERIMENTAL

/* ---- Snapshots: going on later, in this process or another. Experimental. --------------------------------------- */

/* A snapshot holds all that decides how a decoder goes on, in the midst of a step or not: options and policy (and with
 * its seed all draws to come), canvas, locks, bans, biases, experts that are disabled, counters, the last forward and
 * the proposal. A decoder that is restored from it goes on bit for bit as the saved one would have. A rule, and what
 * llada_decoder_watch keeps, are not part of it.
 *
 * A snapshot may have the pages, which are the K/V of what was computed: for each position 2 * num_hidden_layers *
 * num_key_value_heads * head_dim numbers. With them nothing is computed again. Without them, K/V of what stands before
 * the active block is computed anew at the next forward, with the same bits. If the policy refreshes a part of the
 * rows, the pages are always included: no other forward would give the same.
 *
 * A snapshot belongs to what computes: the weights as they are held, expert_capacity, blas, and the ids of mask, end of
 * sequence, deletion and insertion. Threads, CPU, and whether a packed model was packed on opening or saved before, do
 * not matter. A snapshot of another model or version, and bytes that are damaged or cut off, get LLADA_ERROR_SNAPSHOT:
 * no byte of a snapshot is trusted. Numbers in it are little-endian. */

/* Writes a snapshot to `buffer`. `progress` may be NULL, as in all functions of this section; where it stops the work,
 * nothing is made, and what was written to a buffer is of no use. */
LLADA_API llada_status llada_decoder_save(const llada_decoder *decoder, bool with_pages,
                                          llada_progress_callback progress, void *progress_user, void *buffer,
                                          size_t capacity, size_t *count, llada_error *error);

/* Writes a snapshot to the file `path`. The file appears whole or not at all, in place of one that was there: it is
 * written beside its place first, and is on the disk when this function returns. */
LLADA_API llada_status llada_decoder_save_file(const llada_decoder *decoder, bool with_pages, const char *path,
                                               llada_progress_callback progress, void *progress_user,
                                               llada_error *error);

/* Makes a decoder that is where the saved one was. The bytes are not needed afterwards. `cache` may be NULL: no prefix
 * cache; what a cache has of the K/V is taken from there. computed_positions and reused_positions begin anew. */
LLADA_API llada_status llada_decoder_restore(const llada_model *model, llada_prefix_cache *cache, const void *snapshot,
                                             size_t count, llada_progress_callback progress, void *progress_user,
                                             llada_decoder **decoder, llada_error *error);

/* The same from a file that llada_decoder_save_file wrote. */
LLADA_API llada_status llada_decoder_restore_file(const llada_model *model, llada_prefix_cache *cache, const char *path,
                                                  llada_progress_callback progress, void *progress_user,
                                                  llada_decoder **decoder, llada_error *error);

/* Writes all that is cached, with its pins, to a file, as llada_decoder_save_file does. Other threads may use the cache
 * meanwhile. */
LLADA_API llada_status llada_prefix_cache_save(const llada_prefix_cache *cache, const char *path,
                                               llada_progress_callback progress, void *progress_user,
                                               llada_error *error);

/* Adds what such a file has to what is cached, as if it had just been used. Nothing that is cached is dropped for it,
 * and what finds no room is left out: pinned prefixes find it first, then those that were used last. `*added` becomes
 * the number of tokens that were added; `added` may be NULL. */
LLADA_API llada_status llada_prefix_cache_load(llada_prefix_cache *cache, const char *path,
                                               llada_progress_callback progress, void *progress_user, size_t *added,
                                               llada_error *error);

/* ---- Inside the model. Experimental. ---------------------------------------------------------------------------- */

typedef uint32_t llada_watch_flags;
enum {
    LLADA_WATCH_ROUTING = 1, /* which experts each position chooses, with what weights; expert usage */
    LLADA_WATCH_HIDDEN = 2   /* the hidden states after each layer */
};

/* Keeps what the flags say, of the active positions, from the next forward on; usage counts begin at 0. 0: keeps
 * nothing any more. */
LLADA_API llada_status llada_decoder_watch(llada_decoder *decoder, llada_watch_flags what, llada_error *error);

/* What the router of a layer chose in the last forward: for each active position its experts, by increasing number, and
 * their weights (normalised, times routed_scaling_factor), both [active_count, num_experts_per_tok]. Of a row that did
 * not run, those of its last forward; before that, -1 and 0. LLADA_ERROR_STATE before a watched forward,
 * LLADA_ERROR_INVALID_ARGUMENT for a dense layer. */
LLADA_API llada_status llada_decoder_routing(const llada_decoder *decoder, int32_t layer, int32_t *experts,
                                             float *weights, size_t capacity, size_t *count, llada_error *error);

/* The hidden states after a layer in the last forward: [active_count, hidden_size]. Of a row that did not run, those of
 * its last forward; before that, NaN. LLADA_ERROR_STATE before a watched forward. */
LLADA_API llada_status llada_decoder_hidden(const llada_decoder *decoder, int32_t layer, float *states, size_t capacity,
                                            size_t *count, llada_error *error);

/* How many positions each expert has had in all forwards since watch: [num_hidden_layers, num_experts]. */
LLADA_API llada_status llada_decoder_expert_usage(const llada_decoder *decoder, uint64_t *counts, size_t capacity,
                                                  size_t *count, llada_error *error);

/* Disables an expert for this decoder and its forks, or enables it again: no position chooses it, also not where K/V is
 * computed, which is done anew. Refused if a position might then find fewer than num_experts_per_tok experts, or with a
 * prefix cache (LLADA_ERROR_STATE). */
LLADA_API llada_status llada_decoder_disable_expert(llada_decoder *decoder, int32_t expert, int32_t layer,
                                                    bool disabled, llada_error *error);

/* ---- Scoring. Experimental. ------------------------------------------------------------------------------------- */

/* A sequence x_0 and noisy versions x_t of it. In one pass, as in training (2.0, eq. 3: the concatenation of x_t and
 * x_0), block b of a version sees the sequence's blocks before b, and itself in both directions: these are the
 * distributions that a decoder would see when it comes to that block, for all blocks at once. */
typedef struct llada_noised_sequence {
    const int32_t *tokens; /* [count], prompt first */
    size_t count;          /* need not be a multiple of block_length: the last block then ends there */
    const int32_t *noisy;  /* [versions, count]; in the prompt the same as `tokens` */
    size_t versions;
    int32_t prompt_length; /* 0 to count */
} llada_noised_sequence;

typedef struct llada_score_options {
    uint32_t struct_size;
    /* Default: 32. */
    int32_t block_length;
    /* False: positions are scored whose noisy token is not the sequence's own, masked or wrong. True: all positions
     * after the prompt. Default: false. */
    bool everywhere;
    /* Called after each layer of each forward, of about 512 positions, and as their logits are judged: often enough to
     * stop at once. Default: NULL, none. */
    llada_progress_callback progress;
    void *progress_user;
} llada_score_options;

/* Sets the defaults. `size` is sizeof(llada_score_options). */
LLADA_API llada_status llada_score_options_init(llada_score_options *options, size_t size, llada_error *error);

/* Judges noisy versions, of several sequences at once. For each scored position it gives
 *   - log_probs: the log-probability of the sequence's own token there, in nats;
 *   - predictions and confidences: the most likely token and its probability, which are a decoder's;
 *   - entropies: the entropy of the distribution over all tokens, in nats.
 * Positions that are not scored get NaN, and -1 as prediction. Each array has the versions of all sequences one after
 * another, each [versions, count]; one that is NULL is left out, whatever the capacity. Blocks without scored positions
 * cost nothing, and what sequences begin with in common is run once. `options` may be NULL: the defaults. A call that
 * fails on the way (stopped, out of memory) leaves part of the results. */
LLADA_API llada_status llada_model_score(const llada_model *model, const llada_noised_sequence *sequences,
                                         size_t sequence_count, const llada_score_options *options, float *log_probs,
                                         int32_t *predictions, float *confidences, float *entropies, size_t capacity,
                                         size_t *count, llada_error *error);

#endif /* LLADA_EXPERIMENTAL */

#ifdef __cplusplus
}
#endif
#endif /* LLADA_H */
