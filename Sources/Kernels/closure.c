/* closure.c - how Swift passes a closure: its code, and its context in a register of its own. */
#include "closure.h"

#define SWIFT __attribute__((swiftcall))
#define CONTEXT __attribute__((swift_context))

typedef SWIFT void closure_body(intptr_t chunk, intptr_t worker, CONTEXT const void *context);
typedef SWIFT void closure_use(closure_body *code, const void *context, CONTEXT const void *own_context);

SWIFT void llk_lend(closure_body *code, const void *context, closure_use *use, const void *use_context);

SWIFT void llk_lend(closure_body *code, const void *context, closure_use *use, const void *use_context) {
    use(code, context, use_context);
}

void llk_call_closure(const void *code, const void *context, intptr_t chunk, intptr_t worker) {
    ((closure_body *)(uintptr_t)code)(chunk, worker, context);
}
