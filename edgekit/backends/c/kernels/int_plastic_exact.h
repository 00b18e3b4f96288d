/* Integer weights that are values of the program, as any compiler takes them, and what the faster forms share. */
#ifndef EK_INT_PLASTIC_EXACT_H
#define EK_INT_PLASTIC_EXACT_H

#include "int_core.h"
#if EK_VECTORS_OF_8
#include "int_vectors.h"
#elif defined(__ARM_NEON) && !defined(EK_FORCE_PORTABLE)
#define EK_NEON 1
#include <arm_neon.h>
#endif

/* where flash is short, one copy for all sizes */
#if EK_PAIRS || EK_VECTORS_OF_8
#define EK_ONE_COPY static EK_RARE
#else
#define EK_ONE_COPY EK_INLINE
#endif

/* half of what a shift makes a unit */
EK_INLINE int64_t ek_half_unit(uint32_t shift) { return ((int64_t)1 << shift) >> 1; }
/* of 64 bits what fits 32, or 16 */
EK_INLINE int32_t ek_narrow_32(int64_t a) {
    const int32_t low = (int32_t)(uint32_t)(uint64_t)a, high = (int32_t)(a >> 32);
    return high == low >> 31 ? low : (int32_t)(0x7fffffffu ^ (uint32_t)(high >> 31));
}
EK_INLINE int16_t ek_narrow_16(int64_t a) { return ek_clip_16(ek_narrow_32(a)); }

/* the rows of W x two at a time, where a core has ek_two_dots: sum[k] += Σ w[k][i] x[i] of two rows; how many are done */
#define EK_MATVEC_BY_TWO(B, T) \
    EK_INLINE uint32_t ek_matvec_fast_##B(T *y, const ek_i32 *c, const ek_i16 *w, const ek_i16 *x, uint32_t height, \
                                          uint32_t width, uint32_t shift) { \
        const int64_t half = ek_half_unit(shift); \
        uint32_t o; \
        EK_UNROLL1 for (o = 0; o + 2u <= height; o += 2u, w += 2u * width) { \
            int64_t sum[2]; \
            sum[0] = c ? half + c[o] : half, sum[1] = c ? half + c[o + 1u] : half; \
            ek_two_dots(sum, w, x, width); \
            y[o] = ek_narrow_##B(sum[0] >> shift), y[o + 1u] = ek_narrow_##B(sum[1] >> shift); \
        } \
        return o; \
    }

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
    EK_ONE_COPY void ek_columns_exact_##B(T *y, const ek_i16 *w, const ek_i16 *x, uint32_t height, uint32_t width, \
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

/* --- y = W + a bᵀ / 2^shift by running sums --------------------------------------------------------------------------
 *
 * What a row has moved by up to a column is round(a B / 2^shift), B the sum of b so far: of a and B, moved left by 32 -
 * shift in all, the upper half of the product, rounded. An element moves by the difference of two such, so that a row
 * may be done at once. Vectors double the product: there it is one bit less.
 */
#define EK_SUMS_OF_B 64u /* of b, at once */
#if EK_MVE || EK_NEON
#define EK_PRODUCT_BITS 31u
#else
#define EK_PRODUCT_BITS 32u
#endif

/* of how many bits the elements of a are at most, without the sign: the highest one that differs from its neighbour */
EK_INLINE uint32_t ek_bits_of_all(const ek_i16 *a, uint32_t height) {
    uint32_t i = 0, all = 1;
#if EK_DSP && !EK_MVE
    EK_UNROLL1 for (; i + 2u <= height; i += 2u) {
        const uint32_t two = ek_pair16_of(a + i);
        all |= two ^ two << 1; /* what goes from one to the other is their lowest bit */
    }
    all = (all | all >> 16) & 0xffffu;
    EK_UNROLL1
#endif
    for (; i < height; ++i) all |= (uint32_t)a[i] ^ (uint32_t)a[i] << 1;
    return 31u - ek_leading_zeros(all);
}
/* how far a of so many bits is moved left; B is by the rest */
EK_INLINE uint32_t ek_left_of_a(uint32_t bits, uint32_t shift) {
    return shift + 31u - bits < EK_PRODUCT_BITS ? 31u - bits : EK_PRODUCT_BITS - shift;
}
EK_INLINE int32_t ek_moved_left(int32_t a, uint32_t bits) { return (int32_t)((uint32_t)a << bits); }

/* whether all sums of b, moved left by so much, fit 32 bits with one to spare */
EK_INLINE int ek_sums_fit(const ek_i16 *b, uint32_t width, uint32_t more) {
    int32_t sum = 0;
    uint32_t k;
    if (width < 1u << (16u - more)) return 1;
    EK_UNROLL_COLD for (k = 0; k < width; ++k) {
        sum += b[k];
        if ((sum < 0 ? -sum : sum) >> (31u - more)) return 0;
    }
    return 1;
}

#if !EK_MVE && !EK_DSP
EK_INLINE int32_t ek_add_up(int32_t *sums, int32_t sum, const ek_i16 *b, uint32_t n, uint32_t more) {
    uint32_t k;
    for (k = 0; k < n; ++k) {
        sum += b[k];
        sums[k] = ek_moved_left(sum, more);
    }
    return sum;
}

/* sums[0] is the one in front of the row's n. w is read before y, which may lie on it, is written. */
EK_INLINE void ek_change_row(ek_i16 *y, const ek_i16 *w, int32_t a, const int32_t *sums, uint32_t n) {
    int32_t to[EK_SUMS_OF_B + 1u];
    int16_t old[EK_SUMS_OF_B];
    uint32_t k = 0;
#if EK_NEON
    int32x4_t before = vqrdmulhq_n_s32(vdupq_n_s32(sums[0]), a);
    for (; k + 8u <= n; k += 8u) {
        const int32x4_t first = vqrdmulhq_n_s32(vld1q_s32(sums + k + 1u), a);
        const int32x4_t second = vqrdmulhq_n_s32(vld1q_s32(sums + k + 5u), a);
        const int16x4_t low = vqmovn_s32(vsubq_s32(first, vextq_s32(before, first, 3)));
        const int16x4_t high = vqmovn_s32(vsubq_s32(second, vextq_s32(first, second, 3)));
        vst1q_s16((int16_t *)(y + k), vqaddq_s16(vld1q_s16((const int16_t *)(w + k)), vcombine_s16(low, high)));
        before = second;
    }
    y += k, w += k, sums += k, n -= k;
#endif
    for (k = 0; k <= n; ++k) to[k] = (int32_t)(((int64_t)a * sums[k] + (INT64_C(1) << (EK_PRODUCT_BITS - 1u))) >> EK_PRODUCT_BITS);
    for (k = 0; k < n; ++k) old[k] = w[k];
    for (k = 0; k < n; ++k) y[k] = ek_adds_16(old[k], ek_clip_16(to[k + 1u] - to[k]));
}

EK_INLINE uint32_t ek_outer_add_fast(ek_i16 *y, const ek_i16 *w, const ek_i16 *a, const ek_i16 *b, uint32_t height,
                                     uint32_t width, uint32_t shift) {
    const uint32_t left = ek_left_of_a(ek_bits_of_all(a, height), shift), more = EK_PRODUCT_BITS - shift - left;
    int32_t sums[EK_SUMS_OF_B + 1u], sum = 0;
    uint32_t at, i;
    if (!ek_sums_fit(b, width, more)) return 0;
    for (at = 0; at < width; at += EK_SUMS_OF_B) {
        const uint32_t n = width - at < EK_SUMS_OF_B ? width - at : EK_SUMS_OF_B;
        sums[0] = ek_moved_left(sum, more);
        sum = ek_add_up(sums + 1, sum, b + at, n, more);
        for (i = 0; i < height; ++i) {
            const uint32_t from = i * width + at;
            if (y != w || a[i] != 0) ek_change_row(y + from, w + from, ek_moved_left(a[i], left), sums, n);
        }
    }
    return height;
}
#endif

#endif
