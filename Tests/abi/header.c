/* Compiled as C99, C11, C++11 and C++20, strictly: the header must not warn in anybody's program. */
#include <llada.h>

int main(void);
int main(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model_info info = LLADA_MODEL_INFO_INIT;
    llada_decoder_state state = LLADA_DECODER_STATE_INIT;
    return error.status != LLADA_OK || info.struct_size != sizeof info || state.struct_size != sizeof state ||
           llada_version() != LLADA_VERSION;
}
