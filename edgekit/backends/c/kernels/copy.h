/* Values moved without computing: transpose, expand, slice, concat and gather are one strided walk each. */
#ifndef EK_COPY_H
#define EK_COPY_H

#include "simd.h"
#include "walk.h"

EK_INLINE uint32_t ek_bit(const uint32_t *bits, uint32_t i) { return bits[i / 32u] >> (i % 32u) & 1u; }
EK_INLINE void ek_put_bit(uint32_t *bits, uint32_t i, uint32_t bit) {
    bits[i / 32u] = (bits[i / 32u] & ~(1u << (i % 32u))) | bit << (i % 32u);
}

/* The n <= 32 bits of a spike tensor from bit `first` on. */
EK_INLINE uint32_t ek_bits(const uint32_t *bits, uint32_t first, uint32_t n) {
    const uint32_t shift = first % 32u;
    uint32_t word = bits[first / 32u] >> shift;
    if (shift + n > 32u) word |= bits[first / 32u + 1u] << (32u - shift);
    return n < 32u ? word & ((1u << n) - 1u) : word;
}

#define EK_MOVE_F32(y, to, x, from) (y)[to] = (x)[from]
#define EK_MOVE_SPIKE(y, to, x, from) ek_put_bit(y, to, ek_bit(x, from))
#define EK_MOVE_SPIKES(n, y, to, x, from) \
    { \
        uint32_t k; \
        for (k = 0; k < (n); ++k) ek_put_bit(y, (to) + k, ek_bit(x, (from) + k)); \
    }
EK_WALK(ek_walk_f32, float, EK_MOVE_F32, EK_MOVE_SOME)
EK_WALK(ek_walk_spike, uint32_t, EK_MOVE_SPIKE, EK_MOVE_SPIKES)

EK_GATHER(ek_gather_f32, float, EK_MOVE_F32)
EK_GATHER(ek_gather_spike, uint32_t, EK_MOVE_SPIKE)

/* whole values: a state takes over its new value, or its first one */
EK_INLINE void ek_copy_f32(float *y, const float *x, uint32_t n) {
    uint32_t i;
    for (i = 0; i < n; ++i) y[i] = x[i];
}
EK_INLINE void ek_copy_spike(uint32_t *y, const uint32_t *x, uint32_t n) {
    uint32_t w;
    for (w = 0; w < (n + 31u) / 32u; ++w) y[w] = x[w];
}
EK_ZERO(float)
EK_ZERO(uint32_t)
EK_ZERO(uint16_t)
EK_INLINE void ek_fill_f32(float *y, float value, uint32_t n) {
    uint32_t i;
    for (i = 0; i < n; ++i) y[i] = value;
}
EK_INLINE void ek_zero_f32(float *y, uint32_t n) { ek_zero_float(y, n); }
EK_INLINE void ek_zero_spike(uint32_t *y, uint32_t n) { ek_zero_uint32_t(y, (n + 31u) / 32u); }

#endif
