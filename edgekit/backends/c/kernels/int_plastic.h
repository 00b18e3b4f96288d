/* Integer weights that are values of the program, W[height, width] of int16, row-major: products and updates.
 *
 *   matvec      y = (W x + c) / 2^shift for each row of x, of int16 or of spikes
 *   matvec_t    y = Wᵀ x / 2^shift for each row of x
 *   outer_add   W += Σ a bᵀ / 2^shift over the rows of a and b
 *
 * Sums of products are exact in 64 bits; each is rounded half up once and saturates. Rows of a or x that are zero, such
 * as those that a mask keeps from learning, cost next to nothing.
 */
#ifndef EK_INT_PLASTIC_H
#define EK_INT_PLASTIC_H

#include "int_core.h"

EK_INLINE int64_t ek_rounded(int64_t sum, uint32_t shift) { return (sum + (((int64_t)1 << shift) >> 1)) >> shift; }

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
    for (; i + 4u <= n; i += 4u) {
        sum = ek_add_two(sum, ek_pair16_of(w + i), ek_pair16_of(x + i));
        sum = ek_add_two(sum, ek_pair16_of(w + i + 2u), ek_pair16_of(x + i + 2u));
    }
#endif
    for (; i < n; ++i) sum += (int32_t)w[i] * x[i];
    return sum;
}

#define EK_MATVEC(B, T) \
    EK_INLINE void ek_matvec_16_##B(T *y, const ek_i32 *c, const ek_i16 *w, const ek_i16 *x, uint32_t rows, \
                                    uint32_t height, uint32_t width, uint32_t shift) { \
        uint32_t r, o; \
        for (r = 0; r < rows; ++r, x += width, y += height) \
            for (o = 0; o < height; ++o) \
                y[o] = ek_clip_wide_##B(ek_rounded(ek_dot_16(w + o * width, x, width) + (c ? c[o] : 0), shift)); \
    } \
    EK_INLINE void ek_matvec_spike_##B(T *y, const ek_i32 *c, const ek_i16 *w, const ek_word *x, uint16_t *list, \
                                       uint32_t rows, uint32_t height, uint32_t width, uint32_t shift) { \
        uint32_t r, o, e; \
        for (r = 0; r < rows; ++r, y += height) { \
            const uint32_t n = ek_fired(list, x, r * width, width, 1u); \
            for (o = 0; o < height; ++o) { \
                const ek_i16 *row = w + o * width; \
                int64_t sum = c ? c[o] : 0; \
                for (e = 0; e < n; ++e) sum += row[list[e]]; \
                y[o] = ek_clip_wide_##B(ek_rounded(sum, shift)); \
            } \
        } \
    }
EK_MATVEC(16, ek_i16)
EK_MATVEC(32, ek_i32)

#define EK_ACROSS 4u /* columns whose sums run side by side */
/* sum[k] = Σ x[i] w[i][k] for EK_ACROSS columns */
EK_INLINE void ek_columns_16(int64_t *sum, const ek_i16 *w, const ek_i16 *x, uint32_t height, uint32_t width) {
    int64_t a = 0, b = 0, c = 0, d = 0;
    uint32_t i;
    for (i = 0; i < height; ++i, w += width) {
        const int32_t v = x[i];
        if (v == 0) continue;
#if EK_DSP
        {
            const uint32_t ab = ek_pair16_of(w), cd = ek_pair16_of(w + 2);
            a = ek_add_low(a, ab, v), b = ek_add_high(b, ab, v), c = ek_add_low(c, cd, v), d = ek_add_high(d, cd, v);
        }
#else
        a += w[0] * v, b += w[1] * v, c += w[2] * v, d += w[3] * v;
#endif
    }
    sum[0] = a, sum[1] = b, sum[2] = c, sum[3] = d;
}

#define EK_MATVEC_T(B, T) \
    EK_INLINE void ek_matvec_t_##B(T *y, const ek_i16 *w, const ek_i16 *x, uint32_t rows, uint32_t height, \
                                   uint32_t width, uint32_t shift) { \
        uint32_t r, i, k; \
        for (r = 0; r < rows; ++r, x += height, y += width) { \
            uint32_t at = 0; \
            for (; at + EK_ACROSS <= width; at += EK_ACROSS) { \
                int64_t sum[EK_ACROSS]; \
                ek_columns_16(sum, w + at, x, height, width); \
                for (k = 0; k < EK_ACROSS; ++k) y[at + k] = ek_clip_wide_##B(ek_rounded(sum[k], shift)); \
            } \
            for (; at < width; ++at) { \
                int64_t sum = 0; \
                for (i = 0; i < height; ++i) sum += (int32_t)w[i * width + at] * x[i]; \
                y[at] = ek_clip_wide_##B(ek_rounded(sum, shift)); \
            } \
        } \
    }
EK_MATVEC_T(16, ek_i16)
EK_MATVEC_T(32, ek_i32)

/* W += a b / 2^shift of one row, and of several; shift is at most 30, so that a product and a half fit 32 bits */
EK_INLINE void ek_outer_row_16(ek_i16 *y, const ek_i16 *w, int32_t a, const ek_i16 *b, uint32_t width, uint32_t shift) {
    const int32_t half = (int32_t)((1u << shift) >> 1);
    uint32_t at = 0;
#if EK_DSP
    for (; at + 2u <= width; at += 2u) {
        const uint32_t two = ek_pair16_of(b + at);
        int32_t low, high;
        uint32_t moved;
        __asm__("smlabb %0, %1, %2, %3" : "=r"(low) : "r"(two), "r"(a), "r"(half));
        __asm__("smlatb %0, %1, %2, %3" : "=r"(high) : "r"(two), "r"(a), "r"(half));
        low >>= shift, high >>= shift;
        __asm__("ssat %0, #16, %0" : "+r"(low));
        __asm__("ssat %0, #16, %0" : "+r"(high));
        __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(moved) : "r"(low), "r"(high));
        __asm__("qadd16 %0, %0, %1" : "+r"(moved) : "r"(ek_pair16_of(w + at)));
        ((ek_pair16 *)(y + at))->word = moved;
    }
#endif
    for (; at < width; ++at) y[at] = ek_adds_16(w[at], ek_clip_16((a * b[at] + half) >> shift));
}

EK_INLINE void ek_outer_add_16(ek_i16 *y, const ek_i16 *w, const ek_i16 *a, const ek_i16 *b, uint32_t rows,
                               uint32_t height, uint32_t width, uint32_t shift) {
    uint32_t r, i, at;
    for (i = 0; i < height; ++i, y += width, w += width) {
        if (rows == 1u) {
            if (y != w || a[i] != 0) ek_outer_row_16(y, w, a[i], b, width, shift);
            continue;
        }
        for (at = 0; at < width; ++at) {
            int64_t sum = 0;
            for (r = 0; r < rows; ++r) sum += (int32_t)a[r * height + i] * b[r * width + at];
            y[at] = ek_adds_16(w[at], ek_clip_wide_16(ek_rounded(sum, shift)));
        }
    }
}

#endif
