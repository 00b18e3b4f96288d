/* Reductions over the middle axis of x[outer, n, inner]: y[outer, inner]. */
#ifndef EK_REDUCE_H
#define EK_REDUCE_H

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

#endif
