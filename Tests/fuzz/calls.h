/* What the two parts of the target `calls` share. */
#ifndef CALLS_H
#define CALLS_H

#include "fuzz.h"

enum { SLOTS = 6 };

typedef struct {
    llada_decoder *decoder; /* NULL: none */
    int model;
} slot;

typedef struct {
    llada_model *models[2]; /* the second has a tokenizer */
    llada_prefix_cache *caches[2];
    llada_text_stream *stream;
    slot slots[SLOTS];
    llada_error error;
    span *input;    /* for rules and callbacks; NULL at the end */
    int at_work;    /* the model of the call at work */
    int steps_left; /* until a callback stops the run */
} world;

int32_t edge(span *input);
bool answered(llada_status status);

/* Calls that take a decoder as const. */
void look(span *input, const llada_decoder *decoder, int model);
void watch(span *input, llada_decoder *decoder);
/* A call of the header's section "Interfering". */
void interfere(span *input, llada_decoder *decoder);
/* Calls that are refused in a callback. */
void try_forbidden(span *input, llada_decoder *decoder);
/* Calls on a model: text, logits, scores. */
void use_model(span *input);
/* NULL where it is not allowed. */
void pass_nothing(span *input);

#endif
