/* Values moved without computing: transpose, expand, slice, concat and gather are one strided walk each. */
#ifndef EK_COPY_H
#define EK_COPY_H

#include "simd.h"

#define EK_MAX_RANK 6

/* Element [i0, i1, …] goes from x_first + sum(i * x_step) to y_first + sum(i * y_step). */
typedef struct {
    uint32_t rank, x_first, y_first;
    uint32_t shape[EK_MAX_RANK], x_step[EK_MAX_RANK], y_step[EK_MAX_RANK];
} ek_walk;

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

/* Counts through all axes but the last, which MOVE does. */
#define EK_WALK(name, type, MOVE) \
    EK_INLINE void name(type *y, const type *x, const ek_walk *walk) { \
        uint32_t at[EK_MAX_RANK] = {0}, from = walk->x_first, to = walk->y_first, last = walk->rank - 1u; \
        const uint32_t n = walk->shape[last], x_step = walk->x_step[last], y_step = walk->y_step[last]; \
        for (;;) { \
            uint32_t i, axis = last; \
            for (i = 0; i < n; ++i) MOVE(y, to + i * y_step, x, from + i * x_step); \
            for (;;) { \
                if (axis == 0u) return; \
                --axis; \
                from += walk->x_step[axis]; \
                to += walk->y_step[axis]; \
                if (++at[axis] < walk->shape[axis]) break; \
                at[axis] = 0; \
                from -= walk->shape[axis] * walk->x_step[axis]; \
                to -= walk->shape[axis] * walk->y_step[axis]; \
            } \
        } \
    }
#define EK_MOVE_F32(y, to, x, from) (y)[to] = (x)[from]
#define EK_MOVE_SPIKE(y, to, x, from) ek_put_bit(y, to, ek_bit(x, from))
EK_WALK(ek_walk_f32, float, EK_MOVE_F32)
EK_WALK(ek_walk_spike, uint32_t, EK_MOVE_SPIKE)

/* y[outer, n, inner] = x[outer, axis, inner] at constant indices of the middle axis */
#define EK_GATHER(name, type, MOVE) \
    EK_INLINE void name(type *y, const type *x, const uint32_t *index, uint32_t outer, uint32_t axis, uint32_t n, \
                        uint32_t inner) { \
        uint32_t o, i, j; \
        for (o = 0; o < outer; ++o) \
            for (i = 0; i < n; ++i) \
                for (j = 0; j < inner; ++j) \
                    MOVE(y, (o * n + i) * inner + j, x, (o * axis + index[i]) * inner + j); \
    }
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
#define EK_ZERO(type) \
    EK_INLINE void ek_zero_##type(type *y, uint32_t n) { \
        uint32_t i; \
        for (i = 0; i < n; ++i) y[i] = 0; \
    }
EK_ZERO(float)
EK_ZERO(uint32_t)
EK_ZERO(uint16_t)
EK_INLINE void ek_zero_f32(float *y, uint32_t n) { ek_zero_float(y, n); }
EK_INLINE void ek_zero_spike(uint32_t *y, uint32_t n) { ek_zero_uint32_t(y, (n + 31u) / 32u); }

#endif
