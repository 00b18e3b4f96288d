/* What crosses the border of a program: float32 arrays of the caller, of exactly n elements and any alignment. */
#ifndef EK_IO_H
#define EK_IO_H

#include "copy.h"
#include "simd.h"

/* x * 0 is 0, but NaN where x is NaN or Inf: once a sum of them is NaN it stays so. */
#define EK_FINITE_START(k) ekf zero##k = ek_set(0.0f);
#define EK_FINITE_ADD(k) zero##k = ek_fma(ek_load(x + i + k * EK_W), ek_set(0.0f), zero##k);
#define EK_FINITE_JOIN(k) zero0 = ek_add(zero0, zero##k);

EK_INLINE int ek_all_finite(const float *x, uintptr_t n) {
    EK_REP4(EK_FINITE_START)
    const uintptr_t whole = n / EK_W * EK_W;
    float rest = 0.0f;
    uintptr_t i = 0;
    EK_UNROLL4 for (; i + 4 * EK_W <= whole; i += 4 * EK_W) { EK_REP4(EK_FINITE_ADD) }
    for (; i < whole; i += EK_W) { EK_REP1(EK_FINITE_ADD) }
    for (i = whole; i < n; ++i) rest += x[i] * 0.0f;
    EK_REP4(EK_FINITE_JOIN)
    return ek_is_finite(ek_sum(zero0) + rest);
}

/* Copy an input into padded memory. */
#define EK_TAKE_LOAD(k) const ekf v##k = ek_load(x + i + k * EK_W);
#define EK_TAKE_STORE(k) ek_store(y + i + k * EK_W, v##k);
EK_INLINE void ek_take_f32(float *y, const float *x, uint32_t n) {
    const uint32_t whole = n / EK_W * EK_W;
    uint32_t i = 0;
    EK_UNROLL4 for (; i + 4u * EK_W <= whole; i += 4u * EK_W) { EK_REP4(EK_TAKE_LOAD) EK_REP4(EK_TAKE_STORE) }
    for (; i < whole; i += EK_W) ek_store(y + i, ek_load(x + i));
    for (i = whole; i < n; ++i) y[i] = x[i];
}

/* A spike input fires where x is not 0. */
EK_INLINE void ek_take_spike(uint32_t *y, const float *x, uint32_t n) {
    uint32_t i, at = 0;
    for (; at + 32u <= n; at += 32u) y[at / 32u] = ek_nonzero(x + at);
    if (at < n) {
        uint32_t word = 0;
        for (i = at; i < n; ++i) word |= (uint32_t)(x[i] != 0.0f) << (i % 32u);
        y[at / 32u] = word;
    }
}

EK_INLINE void ek_give_f32(float *y, const float *x, uint32_t n) { ek_copy_f32(y, x, n); }
EK_INLINE void ek_give_spike(float *y, const uint32_t *x, uint32_t n) {
    uint32_t i;
    for (i = 0; i < n; ++i) y[i] = (float)ek_bit(x, i);
}

#endif
