/* What crosses the border of a program: float32 arrays of the caller, of exactly n elements and any alignment. */
#ifndef EK_IO_H
#define EK_IO_H

#include "copy.h"
#include "simd.h"

#define EK_OK 0
#define EK_NOT_FINITE 1 /* an input holds NaN or Inf */
#define EK_BAD_BLOB 2   /* a state blob of another program or version, or damaged */

EK_INLINE int ek_is_finite(float x) { return x - x == 0.0f; }

EK_INLINE int ek_all_finite(const float *x, uintptr_t n) {
    ekm finite = ek_le(ek_set(0.0f), ek_set(0.0f));
    uint32_t good = 1;
    uintptr_t i;
    for (i = 0; i + EK_W <= n; i += EK_W) finite = ek_and(finite, ek_le(ek_abs(ek_load(x + i)), ek_set(EK_FLT_MAX)));
    for (; i < n; ++i) good &= (uint32_t)ek_is_finite(x[i]);
    return ek_all(finite) && good;
}

/* T steps; `call` is one step at time t, and cannot fail once all inputs are known to be finite. */
#define EK_RUN(steps, call) \
    { \
        uintptr_t t; \
        for (t = 0; t < (steps); ++t) (void)(call); \
    }

/* Copy an input into padded memory; returns whether all of it is finite. */
EK_INLINE int ek_take_f32(float *y, const float *x, uint32_t n) {
    ekm finite = ek_le(ek_set(0.0f), ek_set(0.0f));
    uint32_t i, good = 1;
    EK_UNROLL4 for (i = 0; i + EK_W <= n; i += EK_W) {
        const ekf v = ek_load(x + i);
        finite = ek_and(finite, ek_le(ek_abs(v), ek_set(EK_FLT_MAX)));
        ek_store(y + i, v);
    }
    for (; i < n; ++i) {
        good &= (uint32_t)ek_is_finite(x[i]);
        y[i] = x[i];
    }
    return ek_all(finite) && good;
}

/* A spike input fires where x is not 0. */
EK_INLINE int ek_take_spike(uint32_t *y, const float *x, uint32_t n) {
    uint32_t i, good = 1, word = 0;
    for (i = 0; i < n; ++i) {
        good &= (uint32_t)ek_is_finite(x[i]);
        word |= (uint32_t)(x[i] != 0.0f) << (i % 32u);
        if (i % 32u == 31u || i + 1u == n) {
            y[i / 32u] = word;
            word = 0;
        }
    }
    return (int)good;
}

EK_INLINE void ek_give_f32(float *y, const float *x, uint32_t n) { ek_copy_f32(y, x, n); }
EK_INLINE void ek_give_spike(float *y, const uint32_t *x, uint32_t n) {
    uint32_t i;
    for (i = 0; i < n; ++i) y[i] = (float)ek_bit(x, i);
}

#endif
