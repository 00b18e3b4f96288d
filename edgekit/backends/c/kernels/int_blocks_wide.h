/* y = c + W x of weights that are zero but for blocks, in whole registers; see int_blocks.h.
 *
 *   blocks  sixteen inputs of one output; of counts there are whole eights
 *   tiles   a group of inputs (four int8 weights or two int16) of eight outputs; a count for every eight outputs
 *   rows    sixteen outputs of one neuron
 * Where x has one row, y and c hold whole registers.
 */
#ifndef EK_INT_BLOCKS_WIDE_H
#define EK_INT_BLOCKS_WIDE_H

#include "int_wide.h"

#define EK_BLOCK_SUM(K, k) \
    for (n = counts[o + k##u]; n; --n, w += 16, ++at) s##k = ek_##K##_span(s##k, w, x + *at, mild);
#define EK_WIDE_BLOCKS(NAME, K, B, TX, TW) \
    EK_INLINE void NAME(ek_i##B *y, const ek_i##B *c, uint32_t step, const TW *weights, const uint16_t *places, \
                        const uint16_t *counts, const TX *x, uint32_t rows, uint32_t n_in, uint32_t n_out, int mild) { \
        uint32_t r, o, n; \
        EK_UNKNOWN(weights); \
        EK_UNKNOWN(places); \
        EK_UNKNOWN(counts); \
        for (r = 0; r < rows; ++r, x += n_in, y += n_out, c = EK_AFTER(c, step)) { \
            const TW *w = weights; \
            const uint16_t *at = places; \
            for (o = 0; o < n_out; o += 8u) { \
                ek_span s0 = ek_span_zero(), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0; \
                EK_BLOCK_SUM(K, 0) \
                EK_BLOCK_SUM(K, 1) \
                EK_BLOCK_SUM(K, 2) \
                EK_BLOCK_SUM(K, 3) \
                EK_BLOCK_SUM(K, 4) \
                EK_BLOCK_SUM(K, 5) \
                EK_BLOCK_SUM(K, 6) \
                EK_BLOCK_SUM(K, 7) \
                ek_give_sum_##B(y + o, EK_AFTER(c, o), ek_spans_eight(s0, s1, s2, s3, s4, s5, s6, s7), n_out - o, \
                                rows > 1u); \
            } \
        } \
    }
EK_WIDE_BLOCKS(ek_wide_blocks_x8_w8_a16, bb, 16, ek_i8, int8_t)
EK_WIDE_BLOCKS(ek_wide_blocks_x8_w8_a32, bb, 32, ek_i8, int8_t)
EK_WIDE_BLOCKS(ek_wide_blocks_x16_w8_a16, hb, 16, ek_i16, int8_t)
EK_WIDE_BLOCKS(ek_wide_blocks_x16_w8_a32, hb, 32, ek_i16, int8_t)
EK_WIDE_BLOCKS(ek_wide_blocks_x8_w16_a16, bh, 16, ek_i8, int16_t)
EK_WIDE_BLOCKS(ek_wide_blocks_x8_w16_a32, bh, 32, ek_i8, int16_t)
EK_WIDE_BLOCKS(ek_wide_blocks_x16_w16_a16, hh, 16, ek_i16, int16_t)
EK_WIDE_BLOCKS(ek_wide_blocks_x16_w16_a32, hh, 32, ek_i16, int16_t)

/* `lift` as for dense weights */
#define EK_WIDE_TILES(NAME, K, L, B, TX, TW, PER) \
    EK_INLINE void NAME(ek_i##B *y, const ek_i##B *c, uint32_t step, const TW *weights, const uint16_t *places, \
                        const uint16_t *counts, const int32_t *lifts, const TX *x, uint32_t rows, uint32_t n_in, \
                        uint32_t n_out) { \
        const ek_i32 *const lift = (const ek_i32 *)lifts; \
        uint32_t r, o, n; \
        EK_UNKNOWN(weights); \
        EK_UNKNOWN(places); \
        EK_UNKNOWN(counts); \
        for (r = 0; r < rows; ++r, x += n_in, y += n_out, c = EK_AFTER(c, step)) { \
            const TW *w = weights; \
            const uint16_t *at = places; \
            for (o = 0; o < n_out; o += 8u) { \
                ek_##K##_sum a = ek_##K##_zero(); \
                for (n = counts[o / 8u]; n; --n, w += 8u * PER, ++at) a = ek_##K##_one_0(a, w, ek_##L##_tail(x + *at)); \
                ek_give_sum_##B(y + o, EK_AFTER(c, o), ek_##K##_result(a, EK_AFTER(lift, o)), n_out - o, rows > 1u); \
            } \
        } \
    }
EK_WIDE_TILES(ek_wide_tiles_x8_w8_a16, bb, bb, 16, ek_i8, int8_t, 4u)
EK_WIDE_TILES(ek_wide_tiles_x8_w8_a32, bb, bb, 32, ek_i8, int8_t, 4u)
EK_WIDE_TILES(ek_wide_tiles_x16_w8_a16, hb, hb, 16, ek_i16, int8_t, 4u)
EK_WIDE_TILES(ek_wide_tiles_x16_w8_a32, hb, hb, 32, ek_i16, int8_t, 4u)
EK_WIDE_TILES(ek_wide_tiles_x8_w16_a16, hh, bh, 16, ek_i8, int16_t, 2u)
EK_WIDE_TILES(ek_wide_tiles_x8_w16_a32, hh, bh, 32, ek_i8, int16_t, 2u)
EK_WIDE_TILES(ek_wide_tiles_x16_w16_a16, hh, hh, 16, ek_i16, int16_t, 2u)
EK_WIDE_TILES(ek_wide_tiles_x16_w16_a32, hh, hh, 32, ek_i16, int16_t, 2u)

#define EK_WIDE_BLOCK_ROWS(W, B) \
    EK_INLINE void ek_wide_block_rows_w##W##_a##B(ek_i##B *y, const ek_i##B *c, const int##W##_t *weights, \
                                                  const uint16_t *places, const uint16_t *begin, const uint16_t *list, \
                                                  uint32_t count, uint32_t n_out) { \
        uint32_t o, k, n; \
        EK_UNKNOWN(weights); \
        EK_UNKNOWN(places); \
        EK_UNKNOWN(begin); \
        if (c != y) \
            for (o = 0; o < n_out; o += 16u) ek_e##B##_store(y + o, c ? ek_e##B##_load(c + o) : ek_e##B##_zero()); \
        for (k = 0; k < count; ++k) { \
            const uint16_t *const row = begin + list[k], *at = places + row[0]; \
            const int##W##_t *w = weights + 16u * row[0]; \
            for (n = (uint32_t)row[1] - row[0]; n; --n, w += 16) { \
                ek_i##B *const to = y + *at++; \
                ek_e##B##_store(to, ek_e##B##_add##W(ek_e##B##_load(to), w)); \
            } \
        } \
    }
EK_WIDE_BLOCK_ROWS(8, 16)
EK_WIDE_BLOCK_ROWS(8, 32)
EK_WIDE_BLOCK_ROWS(16, 16)
EK_WIDE_BLOCK_ROWS(16, 32)

#endif
