/* Products with weights that are values of the program on Advanced SIMD, of Armv8 and Armv7. */
#ifndef EK_INT_PLASTIC_NEON_H
#define EK_INT_PLASTIC_NEON_H

#include "int_plastic_exact.h"

#if EK_NEON
/* two rows of W */
EK_INLINE void ek_two_dots(int64_t *sum, const ek_i16 *w, const ek_i16 *x, uint32_t width) {
    const int16_t *p = (const int16_t *)w, *q = p + width, *u = (const int16_t *)x;
    int64x2_t a = vdupq_n_s64(0), b = vdupq_n_s64(0);
    uint32_t i = 0;
    for (; i + 8u <= width; i += 8u) {
        const int16x8_t v = vld1q_s16(u + i), first = vld1q_s16(p + i), second = vld1q_s16(q + i);
        a = vpadalq_s32(a, vmull_s16(vget_low_s16(first), vget_low_s16(v)));
        b = vpadalq_s32(b, vmull_s16(vget_low_s16(second), vget_low_s16(v)));
        a = vpadalq_s32(a, vmull_s16(vget_high_s16(first), vget_high_s16(v)));
        b = vpadalq_s32(b, vmull_s16(vget_high_s16(second), vget_high_s16(v)));
    }
    sum[0] += vgetq_lane_s64(a, 0) + vgetq_lane_s64(a, 1), sum[1] += vgetq_lane_s64(b, 0) + vgetq_lane_s64(b, 1);
    for (; i < width; ++i) sum[0] += (int32_t)p[i] * u[i], sum[1] += (int32_t)q[i] * u[i];
}

/* Eight columns, two rows at a time: their products fit 32 bits together, unless all four factors are -2^15. */
EK_INLINE void ek_eight_columns(int64x2_t *sum, const ek_i16 *w, const ek_i16 *x, uint32_t height, uint32_t width) {
    const int16_t *p = (const int16_t *)w;
    int64x2_t s0 = vdupq_n_s64(0), s1 = s0, s2 = s0, s3 = s0;
    int32x4_t low, high;
    uint32_t i = 0;
    while (i < height) {
        const uint32_t rows = i + 1u < height && !(x[i] == -32768 && x[i + 1u] == -32768) ? 2u : 1u;
        if (x[i] || (rows == 2u && x[i + 1u])) {
            const int16x8_t first = vld1q_s16(p);
            low = vmull_n_s16(vget_low_s16(first), x[i]), high = vmull_n_s16(vget_high_s16(first), x[i]);
            if (rows == 2u) {
                const int16x8_t second = vld1q_s16(p + width);
                low = vmlal_n_s16(low, vget_low_s16(second), x[i + 1u]);
                high = vmlal_n_s16(high, vget_high_s16(second), x[i + 1u]);
            }
            s0 = vaddw_s32(s0, vget_low_s32(low)), s1 = vaddw_s32(s1, vget_high_s32(low));
            s2 = vaddw_s32(s2, vget_low_s32(high)), s3 = vaddw_s32(s3, vget_high_s32(high));
        }
        i += rows, p += rows * width;
    }
    sum[0] = s0, sum[1] = s1, sum[2] = s2, sum[3] = s3;
}
EK_INLINE int32x4_t ek_four_narrowed(int64x2_t a, int64x2_t b, int64x2_t right) {
    return vcombine_s32(vqmovn_s64(vrshlq_s64(a, right)), vqmovn_s64(vrshlq_s64(b, right)));
}
EK_INLINE void ek_put_four_16(ek_i16 *y, int32x4_t a) { vst1_s16((int16_t *)y, vqmovn_s32(a)); }
EK_INLINE void ek_put_four_32(ek_i32 *y, int32x4_t a) { vst1q_s32((int32_t *)y, a); }

#define EK_PLASTIC_FAST(B, T) \
    EK_MATVEC_BY_TWO(B, T) \
    EK_INLINE uint32_t ek_matvec_t_fast_##B(T *y, const ek_i16 *w, const ek_i16 *x, uint32_t height, uint32_t width, \
                                            uint32_t shift) { \
        const int64x2_t right = vdupq_n_s64(-(int64_t)shift); \
        uint32_t at; \
        for (at = 0; at + 8u <= width; at += 8u) { \
            int64x2_t sum[4]; \
            ek_eight_columns(sum, w + at, x, height, width); \
            ek_put_four_##B(y + at, ek_four_narrowed(sum[0], sum[1], right)); \
            ek_put_four_##B(y + at + 4u, ek_four_narrowed(sum[2], sum[3], right)); \
        } \
        return at; \
    }
EK_PLASTIC_FAST(16, ek_i16)
EK_PLASTIC_FAST(32, ek_i32)
#endif

#endif
