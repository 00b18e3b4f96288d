/* Reductions, running sums, functions by table, and values moved without computing. */
#ifndef EK_INT_OPS_H
#define EK_INT_OPS_H

#include "int_core.h"
#include "walk.h"

#define EK_INT_REDUCE(B, T) \
    EK_INLINE void ek_sum_##B(ek_i32 *y, const T *x, uint32_t outer, uint32_t n, uint32_t inner) { \
        uint32_t o, i, j; \
        for (o = 0; o < outer; ++o) \
            for (j = 0; j < inner; ++j) { \
                uint32_t sum = 0; \
                for (i = 0; i < n; ++i) sum += (uint32_t)x[(o * n + i) * inner + j]; \
                y[o * inner + j] = (int32_t)sum; \
            } \
    } \
    EK_INLINE void ek_amax_##B(T *y, const T *x, uint32_t outer, uint32_t n, uint32_t inner) { \
        uint32_t o, i, j; \
        for (o = 0; o < outer; ++o) \
            for (j = 0; j < inner; ++j) { \
                T most = x[o * n * inner + j]; \
                for (i = 1; i < n; ++i) most = ek_maximum_##B(most, x[(o * n + i) * inner + j]); \
                y[o * inner + j] = most; \
            } \
    }
EK_INT_REDUCE(8, ek_i8)
EK_INT_REDUCE(16, ek_i16)
EK_INT_REDUCE(32, ek_i32)

/* y is zero before; whether any of the n fired */
EK_INLINE void ek_amax_spike(ek_word *y, const ek_word *x, uint32_t outer, uint32_t n, uint32_t inner) {
    uint32_t o, i, j;
    for (o = 0; o < outer; ++o)
        for (j = 0; j < inner; ++j) {
            uint32_t any = 0;
            for (i = 0; i < n; ++i) any |= ek_spike(x, (o * n + i) * inner + j);
            if (any) ek_put_spike(y, o * inner + j, 1u);
        }
}

EK_INLINE void ek_cumsum_32(ek_i32 *y, const ek_i32 *x, uint32_t outer, uint32_t n, uint32_t inner, uint32_t reverse,
                            uint32_t exclusive) {
    uint32_t o, i, j;
    for (o = 0; o < outer; ++o)
        for (j = 0; j < inner; ++j) {
            uint32_t sum = 0;
            for (i = 0; i < n; ++i) {
                const uint32_t at = (o * n + (reverse ? n - 1u - i : i)) * inner + j;
                const uint32_t before = sum;
                sum += (uint32_t)x[at];
                y[at] = (int32_t)(exclusive ? before : sum);
            }
        }
}

/* an entry for each int8 */
#define EK_INT_TABLE(B, T) \
    EK_INLINE void ek_lookup_8_##B(T *y, const ek_i8 *x, const T *table, uint32_t n) { \
        uint32_t i; \
        for (i = 0; i < n; ++i) y[i] = table[x[i] + 128]; \
    }
EK_INT_TABLE(8, ek_i8)
EK_INT_TABLE(16, ek_i16)

/* 2^(16 - fraction) segments over int16, on each a straight line, rounded half up */
EK_INLINE void ek_lookup_16_16(ek_i16 *y, const ek_i16 *x, const ek_i16 *table, uint32_t n, uint32_t fraction) {
    uint32_t i;
    for (i = 0; i < n; ++i) {
        const uint32_t position = (uint32_t)(x[i] + 32768), at = position >> fraction;
        const int32_t rest = (int32_t)(position & ((1u << fraction) - 1u));
        const int32_t rise = (table[at + 1u] - table[at]) * rest;
        y[i] = (int16_t)(table[at] + ((rise + (1 << (fraction - 1u))) >> fraction));
    }
}

#define EK_INT_FILL(B, T) \
    EK_INLINE void ek_fill_i##B(T *y, int32_t value, uint32_t n) { \
        uint32_t i; \
        for (i = 0; i < n; ++i) y[i] = (T)value; \
    }
EK_INT_FILL(8, ek_i8)
EK_INT_FILL(16, ek_i16)
EK_INT_FILL(32, ek_i32)

#define EK_MOVE_INT(y, to, x, from) (y)[to] = (x)[from]
#define EK_MOVE_BIT(y, to, x, from) ek_put_spike(y, to, ek_spike(x, from))
EK_WALK(ek_walk_i8, ek_i8, EK_MOVE_INT, EK_MOVE_SOME)
EK_WALK(ek_walk_i16, ek_i16, EK_MOVE_INT, EK_MOVE_SOME)
EK_WALK(ek_walk_i32, ek_i32, EK_MOVE_INT, EK_MOVE_SOME)
#define EK_MOVE_BITS(n, y, to, x, from) \
    { \
        uint32_t k; \
        for (k = 0; k < (n); ++k) ek_put_spike(y, (to) + k, ek_spike(x, (from) + k)); \
    }
EK_WALK(ek_walk_spike, ek_word, EK_MOVE_BIT, EK_MOVE_BITS)
EK_GATHER(ek_gather_i8, ek_i8, EK_MOVE_INT)
EK_GATHER(ek_gather_i16, ek_i16, EK_MOVE_INT)
EK_GATHER(ek_gather_i32, ek_i32, EK_MOVE_INT)
EK_GATHER(ek_gather_spike, ek_word, EK_MOVE_BIT)

#endif
