/* Integer weights that are values of the program, one row or a few columns at a time, in sums of 64 bits. */
#ifndef EK_INT_PLASTIC_EXACT_H
#define EK_INT_PLASTIC_EXACT_H

#include "int_core.h"

/* half of what a shift makes a unit */
EK_INLINE int64_t ek_half_unit(uint32_t shift) { return ((int64_t)1 << shift) >> 1; }
/* of 64 bits what fits 32, or 16 */
EK_INLINE int32_t ek_narrow_32(int64_t a) {
    const int32_t low = (int32_t)(uint32_t)(uint64_t)a, high = (int32_t)(a >> 32);
    return high == low >> 31 ? low : (int32_t)(0x7fffffffu ^ (uint32_t)(high >> 31));
}
EK_INLINE int16_t ek_narrow_16(int64_t a) { return ek_clip_16(ek_narrow_32(a)); }

#if EK_DSP
/* two elements, wherever they lie */
typedef struct {
    uint32_t word;
} __attribute__((packed, may_alias)) ek_pair16;
EK_INLINE uint32_t ek_pair16_of(const ek_i16 *p) { return ((const ek_pair16 *)p)->word; }
EK_INLINE int64_t ek_add_two(int64_t sum, uint32_t a, uint32_t b) {
    __asm__("smlald %Q0, %R0, %1, %2" : "+r"(sum) : "r"(a), "r"(b));
    return sum;
}
EK_INLINE int64_t ek_add_low(int64_t sum, uint32_t a, int32_t b) {
    __asm__("smlalbb %Q0, %R0, %1, %2" : "+r"(sum) : "r"(a), "r"(b));
    return sum;
}
EK_INLINE int64_t ek_add_high(int64_t sum, uint32_t a, int32_t b) {
    __asm__("smlaltb %Q0, %R0, %1, %2" : "+r"(sum) : "r"(a), "r"(b));
    return sum;
}
#endif

EK_INLINE int64_t ek_dot_16(const ek_i16 *w, const ek_i16 *x, uint32_t n) {
    int64_t sum = 0;
    uint32_t i = 0;
#if EK_DSP
    EK_UNROLL1 for (; i + 4u <= n; i += 4u) {
        sum = ek_add_two(sum, ek_pair16_of(w + i), ek_pair16_of(x + i));
        sum = ek_add_two(sum, ek_pair16_of(w + i + 2u), ek_pair16_of(x + i + 2u));
    }
    EK_UNROLL1
#endif
    for (; i < n; ++i) sum += (int32_t)w[i] * x[i];
    return sum;
}

/* sum[k] = Σ x[i] w[i][k] for EK_ACROSS columns, side by side */
#if EK_DSP
#define EK_ACROSS 4u
EK_INLINE void ek_columns_16(int64_t *sum, const ek_i16 *w, const ek_i16 *x, uint32_t height, uint32_t width) {
    int64_t a = 0, b = 0, c = 0, d = 0;
    uint32_t i;
    EK_UNROLL1 for (i = 0; i < height; ++i, w += width) {
        const int32_t v = x[i];
        if (v) {
            const uint32_t ab = ek_pair16_of(w), cd = ek_pair16_of(w + 2);
            a = ek_add_low(a, ab, v), b = ek_add_high(b, ab, v), c = ek_add_low(c, cd, v), d = ek_add_high(d, cd, v);
        }
    }
    sum[0] = a, sum[1] = b, sum[2] = c, sum[3] = d;
}
#else
#define EK_ACROSS 16u
EK_INLINE void ek_columns_16(int64_t *sum, const ek_i16 *w, const ek_i16 *x, uint32_t height, uint32_t width) {
    uint32_t i, k;
    for (k = 0; k < EK_ACROSS; ++k) sum[k] = 0;
    for (i = 0; i < height; ++i, w += width) {
        const int32_t v = x[i];
        if (v)
            for (k = 0; k < EK_ACROSS; ++k) sum[k] += w[k] * v;
    }
}
#endif

/* y = Wᵀ x / 2^shift of n columns of W */
#define EK_COLUMNS_EXACT(B, T) \
    EK_INLINE void ek_columns_exact_##B(T *y, const ek_i16 *w, const ek_i16 *x, uint32_t height, uint32_t width, \
                                        uint32_t n, uint32_t shift) { \
        const int64_t half = ek_half_unit(shift); \
        uint32_t at = 0, i, k; \
        EK_UNROLL_COLD for (; at + EK_ACROSS <= n; at += EK_ACROSS) { \
            int64_t sum[EK_ACROSS]; \
            ek_columns_16(sum, w + at, x, height, width); \
            EK_UNROLL_COLD for (k = 0; k < EK_ACROSS; ++k) y[at + k] = ek_narrow_##B((sum[k] + half) >> shift); \
        } \
        EK_UNROLL_COLD for (; at < n; ++at) { \
            int64_t sum = half; \
            EK_UNROLL_COLD for (i = 0; i < height; ++i) sum += (int32_t)w[i * width + at] * x[i]; \
            y[at] = ek_narrow_##B(sum >> shift); \
        } \
    }
EK_COLUMNS_EXACT(16, ek_i16)
EK_COLUMNS_EXACT(32, ek_i32)

/* y = W + a b / 2^shift of one row; shift is at most 30, so that a product and what was left of the last fit 32 bits */
EK_INLINE void ek_outer_row_16(ek_i16 *y, const ek_i16 *w, int32_t a, const ek_i16 *b, uint32_t width, uint32_t shift) {
    const int32_t below = (int32_t)((1u << shift) - 1u);
    int32_t rest = (int32_t)((1u << shift) >> 1);
    uint32_t at;
    EK_UNROLL_COLD for (at = 0; at < width; ++at) {
        const int32_t sum = a * b[at] + rest;
        rest = sum & below;
        y[at] = ek_adds_16(w[at], ek_clip_16(sum >> shift));
    }
}

#endif
