/* y = c + W x in exact integers, modulo 2^bits of the accumulator.
 *
 *   dense   every weight is multiplied; weights [out][in] as they are, in packed to whole vectors with zeros
 *   event   x is a list of the neurons that fired: their rows are added; weights [in][out], rows of `stride` bytes or
 *           more, in which several linears that read the same spikes lie side by side
 * c may be null (zero), and may be y itself. `step` is how far c moves from row to row of x, 0 for the same c.
 * int4 weights lie two to a byte, the first in the lower half.
 */
#ifndef EK_INT_LINEAR_H
#define EK_INT_LINEAR_H

#include "int_core.h"

EK_INLINE int32_t ek_nibble(const uint8_t *w, uint32_t i) {
    return (int32_t)((((uint32_t)w[i / 2u] >> 4u * (i % 2u)) & 15u) ^ 8u) - 8;
}
#define EK_WEIGHT(w, i) ((int32_t)(w)[i])

#define EK_INT_DENSE(NAME, TX, TW, TY, WEIGHT) \
    EK_INLINE void NAME(TY *y, const TY *c, uint32_t step, const TW *w, const TX *x, uint32_t rows, uint32_t n_in, \
                        uint32_t width, uint32_t n_out) { \
        uint32_t r, o, i; \
        for (r = 0; r < rows; ++r, x += n_in, y += n_out, c = c ? c + step : c) \
            for (o = 0; o < n_out; ++o) { \
                uint32_t sum = c ? (uint32_t)c[o] : 0u; \
                for (i = 0; i < n_in; ++i) sum += (uint32_t)(WEIGHT(w, o * width + i) * x[i]); \
                y[o] = (TY)sum; \
            } \
    }
EK_INT_DENSE(ek_dense_x8_w4_a16, ek_i8, uint8_t, ek_i16, ek_nibble)
EK_INT_DENSE(ek_dense_x8_w4_a32, ek_i8, uint8_t, ek_i32, ek_nibble)
EK_INT_DENSE(ek_dense_x16_w4_a16, ek_i16, uint8_t, ek_i16, ek_nibble)
EK_INT_DENSE(ek_dense_x16_w4_a32, ek_i16, uint8_t, ek_i32, ek_nibble)
EK_INT_DENSE(ek_dense_x8_w8_a16, ek_i8, int8_t, ek_i16, EK_WEIGHT)
EK_INT_DENSE(ek_dense_x8_w8_a32, ek_i8, int8_t, ek_i32, EK_WEIGHT)
EK_INT_DENSE(ek_dense_x16_w8_a16, ek_i16, int8_t, ek_i16, EK_WEIGHT)
EK_INT_DENSE(ek_dense_x16_w8_a32, ek_i16, int8_t, ek_i32, EK_WEIGHT)
EK_INT_DENSE(ek_dense_x8_w16_a16, ek_i8, int16_t, ek_i16, EK_WEIGHT)
EK_INT_DENSE(ek_dense_x8_w16_a32, ek_i8, int16_t, ek_i32, EK_WEIGHT)
EK_INT_DENSE(ek_dense_x16_w16_a16, ek_i16, int16_t, ek_i16, EK_WEIGHT)
EK_INT_DENSE(ek_dense_x16_w16_a32, ek_i16, int16_t, ek_i32, EK_WEIGHT)

#define EK_INT_EVENT(NAME, TW, TY, WEIGHT) \
    EK_INLINE void NAME(TY *y, const TY *c, const TW *w, const uint16_t *list, uint32_t count, uint32_t stride, \
                        uint32_t n_out) { \
        uint32_t k, o; \
        if (c != y) \
            for (o = 0; o < n_out; ++o) y[o] = c ? c[o] : (TY)0; \
        for (k = 0; k < count; ++k) { \
            const uint32_t row = list[k] * stride; \
            for (o = 0; o < n_out; ++o) y[o] = (TY)((uint32_t)y[o] + (uint32_t)WEIGHT(w, row + o)); \
        } \
    }
EK_INT_EVENT(ek_event_w4_a16, uint8_t, ek_i16, ek_nibble)
EK_INT_EVENT(ek_event_w4_a32, uint8_t, ek_i32, ek_nibble)
EK_INT_EVENT(ek_event_w8_a16, int8_t, ek_i16, EK_WEIGHT)
EK_INT_EVENT(ek_event_w8_a32, int8_t, ek_i32, EK_WEIGHT)
EK_INT_EVENT(ek_event_w16_a16, int16_t, ek_i16, EK_WEIGHT)
EK_INT_EVENT(ek_event_w16_a32, int16_t, ek_i32, EK_WEIGHT)

/* y[channel][d] = A m + B u of spikes: row `bits of m, then of u` of a table of all sums; d + k <= 8 */
#define EK_INT_MEMORY_TABLE(NAME, TY) \
    EK_INLINE void NAME(TY *y, const TY *table, const ek_word *m, const ek_word *u, uint32_t channels, uint32_t d, \
                        uint32_t k) { \
        uint32_t at, i; \
        for (at = 0; at < channels; ++at, y += d) { \
            uint32_t row = 0; \
            for (i = 0; i < d; ++i) row |= ek_spike(m, at * d + i) << i; \
            for (i = 0; i < k; ++i) row |= ek_spike(u, at * k + i) << (d + i); \
            for (i = 0; i < d; ++i) y[i] = table[row * d + i]; \
        } \
    }
EK_INT_MEMORY_TABLE(ek_memory_table_a16, ek_i16)
EK_INT_MEMORY_TABLE(ek_memory_table_a32, ek_i32)

/* the same of order 2 and 3 with one input: bits as a stream in the order of elements */
EK_INLINE void ek_memory_2_a16(ek_i16 *y, const ek_i16 *table, const ek_word *m, const ek_word *u, uint32_t channels) {
    uint32_t at, word = 0, driven = 0;
    EK_UNROLL2 for (at = 0; at < channels; ++at, word >>= 2, driven >>= 1, y += 2) {
        const ek_i16 *row;
        if (at % 16u == 0u) word = ek_in_order(*m++);
        if (at % 32u == 0u) driven = ek_in_order(*u++);
        row = table + 2u * ((word & 3u) | (driven & 1u) << 2);
        y[0] = row[0];
        y[1] = row[1];
    }
}
EK_INLINE void ek_memory_3_a16(ek_i16 *y, const ek_i16 *table, const ek_word *m, const ek_word *u, uint32_t channels) {
    uint32_t at, word = 0, left = 0, driven = 0;
    EK_UNROLL1 for (at = 0; at < channels; ++at, driven >>= 1, y += 3) {
        const ek_i16 *row;
        uint32_t bits = word;
        if (at % 32u == 0u) driven = ek_in_order(*u++);
        if (left < 3u) {
            const uint32_t next = ek_in_order(*m++);
            bits |= next << left;
            word = next >> (3u - left);
            left += 29u;
        } else {
            word >>= 3;
            left -= 3u;
        }
        row = table + 3u * ((bits & 7u) | (driven & 1u) << 3);
        y[0] = row[0];
        y[1] = row[1];
        y[2] = row[2];
    }
}

#endif
