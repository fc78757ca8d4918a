/* A model to try things on, gqa_group of the conformance data, and decoders of it. */
#ifndef DECODERS_H
#define DECODERS_H

#include "harness.h"

enum { VOCAB = 128, MASK = 127, EOS = 126, BLOCK = 4 };
extern const int32_t prompt[5];
enum { PROMPT = sizeof prompt / sizeof *prompt };
enum { GEN = 27 }; /* behind the prompt: 8 blocks, the first of which holds a token of the prompt */

const char *checkpoint(void);
llada_model_options usual_options(void);
llada_model *open_model(int32_t threads);
/* Blocks of BLOCK, no early stop: as many steps as there can be. */
llada_decoder *make_decoder(const llada_model *model, llada_preset preset, int32_t gen_length);
/* Runs to the end; returns the number of tokens, which must fit. */
size_t run_out(llada_decoder *decoder, int32_t *tokens, size_t capacity);
llada_decoder_state state_of(const llada_decoder *decoder);
bool has_finished(const llada_decoder *decoder);
/* After a forward. */
llada_active active_of(const llada_decoder *decoder);

/* A run of GEN tokens without a detour, which every detour must come to. */
size_t straight(const llada_model *model, llada_preset preset, int32_t *tokens);
void same_as_straight(llada_decoder *decoder, const llada_model *model, llada_preset preset);

/* ---- Several ---------------------------------------------------------------------------------------------------- */

enum { MANY = 6, MANY_GEN = 20, MANY_PROMPT = 16 };

llada_prefix_cache *make_cache(const llada_model *model, uint64_t bytes);
llada_prefix_cache_info info_of(const llada_prefix_cache *cache);
/* The n-th of several: prompts of one beginning, and of several lengths. */
llada_decoder *make_nth(const llada_model *model, llada_prefix_cache *cache, int n);
void make_all(const llada_model *model, llada_prefix_cache *cache, llada_decoder **all);
void free_all(llada_decoder **all);
/* Each has ended, as it does alone. */
void check_all(const llada_model *model, llada_decoder **all);

#endif
