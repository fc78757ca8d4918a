/* Compiled as C99, C11, C++11 and C++20, strictly, with and without LLADA_EXPERIMENTAL: the header must not warn in
 * anybody's program, and what is experimental is there for those alone who ask for it. */
#include <llada.h>

#ifdef LLADA_EXPERIMENTAL
static int experimental(void) {
    llada_score_options options = {sizeof(llada_score_options), 32, false, NULL, NULL};
    llada_noised_sequence sequence = {NULL, 0, NULL, 0, 0};
    llada_watch_flags flags = LLADA_WATCH_ROUTING | LLADA_WATCH_HIDDEN;
    return options.block_length == 32 && sequence.count == 0 && flags == 3;
}
#else
/* These names are free. */
enum { llada_decoder_save, llada_decoder_restore, llada_prefix_cache_load, LLADA_WATCH_ROUTING, llada_model_score };
static int experimental(void) { return llada_model_score == 4; }
#endif

int main(void);
int main(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model_info info = LLADA_MODEL_INFO_INIT;
    llada_decoder_state state = LLADA_DECODER_STATE_INIT;
    llada_active active = LLADA_ACTIVE_INIT;
    llada_text text = LLADA_TEXT_INIT;
    llada_prefix_cache_info cache = LLADA_PREFIX_CACHE_INFO_INIT;
    return error.status != LLADA_OK || info.struct_size != sizeof info || state.struct_size != sizeof state ||
           active.struct_size != sizeof active || text.struct_size != sizeof text ||
           cache.struct_size != sizeof cache || !experimental() || llada_version() != LLADA_VERSION;
}
