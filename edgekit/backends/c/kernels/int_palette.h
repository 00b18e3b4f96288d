/* y = c + W x over weights of few distinct values: as int_linear.h has it, of weights that are numbers of 2, 3 or 4 bits
 * in a table. Rows are of whole bytes, the first number in the lowest bits; of three bits a byte past the end is read.
 */
#ifndef EK_INT_PALETTE_H
#define EK_INT_PALETTE_H

#include "int_core.h"

EK_INLINE uint32_t ek_number2(const uint8_t *w, uint32_t i) { return (uint32_t)w[i / 4u] >> 2u * (i % 4u) & 3u; }
EK_INLINE uint32_t ek_number3(const uint8_t *w, uint32_t i) {
    const uint8_t *const at = w + 3u * i / 8u;
    return ((uint32_t)at[0] | (uint32_t)at[1] << 8) >> 3u * i % 8u & 7u;
}
EK_INLINE uint32_t ek_number4(const uint8_t *w, uint32_t i) { return (uint32_t)w[i / 2u] >> 4u * (i % 2u) & 15u; }

#define EK_PALETTE_DENSE(X, N, A) \
    EK_INLINE void ek_dense_x##X##_n##N##_a##A(ek_i##A *y, const ek_i##A *c, uint32_t step, const uint8_t *weights, \
                                               const int8_t *table, const ek_i##X *x, uint32_t rows, uint32_t n_in, \
                                               uint32_t n_out) { \
        const uint32_t bytes = (N * n_in + 7u) / 8u; \
        uint32_t r, o, i; \
        for (r = 0; r < rows; ++r, x += n_in, y += n_out, c = c ? c + step : c) { \
            const uint8_t *w = weights; \
            for (o = 0; o < n_out; ++o, w += bytes) { \
                uint32_t sum = c ? (uint32_t)c[o] : 0u; \
                for (i = 0; i < n_in; ++i) sum += (uint32_t)(table[ek_number##N(w, i)] * x[i]); \
                y[o] = (ek_i##A)sum; \
            } \
        } \
    }
#define EK_PALETTE_EVENT(N, A) \
    EK_INLINE void ek_event_n##N##_a##A(ek_i##A *y, const ek_i##A *c, const uint8_t *w, const int8_t *table, \
                                        const uint16_t *list, uint32_t count, uint32_t n_out) { \
        const uint32_t bytes = (N * n_out + 7u) / 8u; \
        uint32_t k, o; \
        if (c != y) \
            for (o = 0; o < n_out; ++o) y[o] = c ? c[o] : (ek_i##A)0; \
        for (k = 0; k < count; ++k) { \
            const uint8_t *const row = w + bytes * list[k]; \
            for (o = 0; o < n_out; ++o) y[o] = (ek_i##A)((uint32_t)y[o] + (uint32_t)table[ek_number##N(row, o)]); \
        } \
    }
#define EK_PALETTE(N, A) \
    EK_PALETTE_DENSE(8, N, A) \
    EK_PALETTE_DENSE(16, N, A) \
    EK_PALETTE_EVENT(N, A)
EK_PALETTE(2, 16)
EK_PALETTE(3, 16)
EK_PALETTE(4, 16)
EK_PALETTE(2, 32)
EK_PALETTE(3, 32)
EK_PALETTE(4, 32)

#endif
