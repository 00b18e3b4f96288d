/* Over the middle axis of x[outer, n, inner]: reductions y[outer, inner], and running sums y[outer, n, inner]. */
#ifndef EK_REDUCE_H
#define EK_REDUCE_H

#include "copy.h"
#include "simd.h"

EK_INLINE float ek_larger(float a, float b) { return (a > b || a != a) ? a : b; } /* NaN wins */

#define EK_REDUCE(name, combine) \
    EK_INLINE void name(float *y, const float *x, uint32_t outer, uint32_t n, uint32_t inner) { \
        uint32_t o, i, j; \
        for (o = 0; o < outer; ++o, x += n * inner, y += inner) { \
            for (j = 0; j < inner; ++j) y[j] = x[j]; \
            for (i = 1; i < n; ++i) \
                for (j = 0; j < inner; ++j) y[j] = combine(y[j], x[i * inner + j]); \
        } \
    }
#define EK_PLUS(a, b) ((a) + (b))
EK_REDUCE(ek_sum_f32, EK_PLUS)
EK_REDUCE(ek_amax_f32, ek_larger)

/* y is zero before; whether any of the n fired */
EK_INLINE void ek_amax_spike(uint32_t *y, const uint32_t *x, uint32_t outer, uint32_t n, uint32_t inner) {
    uint32_t o, i, j;
    for (o = 0; o < outer; ++o)
        for (j = 0; j < inner; ++j) {
            uint32_t any = 0;
            if (inner == 1u && n <= 32u) any = ek_bits(x, o * n, n);
            else for (i = 0; i < n; ++i) any |= ek_bit(x, (o * n + i) * inner + j);
            if (any) y[(o * inner + j) / 32u] |= 1u << (o * inner + j) % 32u;
        }
}

/* From the first element on, or from the last if `reverse`; without the element itself if `exclusive`. */
EK_INLINE void ek_cumsum_f32(float *y, const float *x, uint32_t outer, uint32_t n, uint32_t inner, int reverse,
                             int exclusive) {
    uint32_t o, i, j;
    for (o = 0; o < outer; ++o, x += n * inner, y += n * inner)
        for (j = 0; j < inner; ++j) {
            float sum = 0.0f;
            for (i = 0; i < n; ++i) {
                const uint32_t at = (reverse ? n - 1u - i : i) * inner + j;
                const float next = sum + x[at];
                y[at] = exclusive ? sum : next;
                sum = next;
            }
        }
}

#endif
