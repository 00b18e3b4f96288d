/* y = c + W x of weights that are zero but for blocks of four, on any core.
 *
 *   dense   blocks of four inputs of one output: of output o the next counts[o] of them, each with where it begins in x
 *   event   blocks of four outputs of one neuron: those of neuron i are number begin[i] to begin[i + 1] - 1, each with
 *           where it begins in y
 * c may be null (zero), and may be y itself. `step` is how far c moves from row to row of x.
 */
#ifndef EK_INT_BLOCKS_H
#define EK_INT_BLOCKS_H

#include "int_core.h"

#define EK_BLOCKS(NAME, TX, TW, TY) \
    EK_INLINE void NAME(TY *y, const TY *c, uint32_t step, const TW *weights, const uint16_t *places, \
                        const uint16_t *counts, const TX *x, uint32_t rows, uint32_t n_in, uint32_t n_out) { \
        uint32_t r, o, n, i; \
        for (r = 0; r < rows; ++r, x += n_in, y += n_out, c = c ? c + step : c) { \
            const TW *w = weights; \
            const uint16_t *at = places; \
            for (o = 0; o < n_out; ++o) { \
                uint32_t sum = c ? (uint32_t)c[o] : 0u; \
                for (n = counts[o]; n; --n, w += 4) { \
                    const TX *from = x + *at++; \
                    for (i = 0; i < 4u; ++i) sum += (uint32_t)(w[i] * from[i]); \
                } \
                y[o] = (TY)sum; \
            } \
        } \
    }
EK_BLOCKS(ek_blocks_x8_w8_a16, ek_i8, int8_t, ek_i16)
EK_BLOCKS(ek_blocks_x8_w8_a32, ek_i8, int8_t, ek_i32)
EK_BLOCKS(ek_blocks_x16_w8_a16, ek_i16, int8_t, ek_i16)
EK_BLOCKS(ek_blocks_x16_w8_a32, ek_i16, int8_t, ek_i32)
EK_BLOCKS(ek_blocks_x8_w16_a16, ek_i8, int16_t, ek_i16)
EK_BLOCKS(ek_blocks_x8_w16_a32, ek_i8, int16_t, ek_i32)
EK_BLOCKS(ek_blocks_x16_w16_a16, ek_i16, int16_t, ek_i16)
EK_BLOCKS(ek_blocks_x16_w16_a32, ek_i16, int16_t, ek_i32)

#define EK_BLOCK_ROWS(NAME, TW, TY) \
    EK_INLINE void NAME(TY *y, const TY *c, const TW *weights, const uint16_t *places, const uint16_t *begin, \
                        const uint16_t *list, uint32_t count, uint32_t n_out) { \
        uint32_t o, k, n, i; \
        if (c != y) \
            for (o = 0; o < n_out; ++o) y[o] = c ? c[o] : (TY)0; \
        for (k = 0; k < count; ++k) { \
            const uint16_t *const row = begin + list[k], *at = places + row[0]; \
            const TW *w = weights + 4u * row[0]; \
            for (n = (uint32_t)row[1] - row[0]; n; --n, w += 4) { \
                TY *to = y + *at++; \
                for (i = 0; i < 4u; ++i) to[i] = (TY)((uint32_t)to[i] + (uint32_t)w[i]); \
            } \
        } \
    }
EK_BLOCK_ROWS(ek_block_rows_w8_a16, int8_t, ek_i16)
EK_BLOCK_ROWS(ek_block_rows_w8_a32, int8_t, ek_i32)
EK_BLOCK_ROWS(ek_block_rows_w16_a16, int16_t, ek_i16)
EK_BLOCK_ROWS(ek_block_rows_w16_a32, int16_t, ek_i32)

#endif
