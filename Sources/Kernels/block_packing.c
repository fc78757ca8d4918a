/* block_packing.c - blocks of GGUF files to the packed formats that hold them. Numbers are moved four at a time and
 * never computed with, so this is plain C on every CPU. */
#include "packed_layout.h"

/* The bytes of the scale, and of a block. */
enum { SCALE = 2, Q8_0_BYTES = SCALE + HALF, Q4_0_BYTES = SCALE + HALF / 2 };

/* Packs half a block of a tile.  from: the stored block of each output;  flip: the bits in which a stored quad and a
 * packed one differ */
static inline void pack_half(const char *const from[TILE], const size_t steps, const uint32_t flip, char *to) {
    for (size_t o = 0; o < TILE; o++) {
        for (size_t i = 0; i < steps; i++) {
            const uint32_t quad = (uint32_t)llk_load_int(from[o] + SCALE + 4 * i) ^ flip;
            llk_copy(to + STEP * i + 4 * o, &quad, sizeof quad);
        }
        llk_copy(to + STEP * steps + SCALE * o, from[o], SCALE);
    }
}

void llk_pack_blocks(llk_format format, const void *blocks, size_t outputs, size_t inputs, size_t first, size_t last,
                     void *packed) {
    const bool is_q8_0 = format == LLK_PACKED_Q8_0;
    const size_t size = is_q8_0 ? Q8_0_BYTES : Q4_0_BYTES, present = inputs / HALF, halves = 2 * blocks_of(inputs);
    char missing[Q8_0_BYTES] = {0}; /* a block of zeros */
    if (!is_q8_0) __builtin_memset(missing + SCALE, 0x88, HALF / 2);
    for (size_t t = first; t < last; t++)
        for (size_t h = 0; h < halves; h++) {
            const char *from[TILE];
            for (size_t o = 0; o < TILE; o++) {
                const size_t row = TILE * t + o;
                from[o] = row < outputs && h < present ? (const char *)blocks + (row * present + h) * size : missing;
            }
            char *to = (char *)packed + (t * halves + h) * (block_size(format) / 2);
            if (is_q8_0) {
                pack_half(from, QUADS / 2, 0x80808080, to);
            } else {
                pack_half(from, QUADS / 4, 0, to);
            }
        }
}
