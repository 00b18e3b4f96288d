/* Weights that are values of the program on Armv8.1-M with MVE: rows as long as they are, the last vector cut short. */
#ifndef EK_INT_PLASTIC_MVE_H
#define EK_INT_PLASTIC_MVE_H

#include "int_plastic_exact.h"

#if EK_MVE
/* --- y = (W x + c) / 2^shift, two rows of W at a time --------------------------------------------------------------- */

EK_INLINE void ek_two_dots(int64_t *sum, const ek_i16 *w, const ek_i16 *x, uint32_t width) {
    const int16_t *p = (const int16_t *)w, *q = p + width, *u = (const int16_t *)x;
    int64_t a = sum[0], b = sum[1];
    uint32_t n;
    EK_UNROLL1 for (n = width / 8u; n; --n, p += 8, q += 8, u += 8) {
        const ek_eight v = vldrhq_s16(u);
        a = vmlaldavaq_s16(a, vldrhq_s16(p), v), b = vmlaldavaq_s16(b, vldrhq_s16(q), v);
    }
    if (width % 8u) {
        const mve_pred16_t some = vctp16q(width % 8u);
        const ek_eight v = vldrhq_z_s16(u, some);
        a = vmlaldavaq_s16(a, vldrhq_z_s16(p, some), v), b = vmlaldavaq_s16(b, vldrhq_z_s16(q, some), v);
    }
    sum[0] = a, sum[1] = b;
}

/* --- y = Wᵀ x / 2^shift, four columns at a time: eight rows of each are gathered ------------------------------------- */

EK_INLINE void ek_four_columns(int64_t *sum, const ek_i16 *w, const ek_i16 *x, uint32_t height, uint32_t width) {
    const uint16x8_t first = vmulq_n_u16(vidupq_n_u16(0, 1), (uint16_t)width), second = vaddq_n_u16(first, 1);
    const uint16x8_t third = vaddq_n_u16(first, 2), fourth = vaddq_n_u16(first, 3);
    const int16_t *p = (const int16_t *)w, *u = (const int16_t *)x;
    int64_t a = 0, b = 0, c = 0, d = 0;
    uint32_t n;
    EK_UNROLL1 for (n = height / 8u; n; --n, p += 8u * width, u += 8) {
        const ek_eight v = vldrhq_s16(u);
        if (vcmpneq_n_s16(v, 0)) {
            a = vmlaldavaq_s16(a, vldrhq_gather_shifted_offset_s16(p, first), v);
            b = vmlaldavaq_s16(b, vldrhq_gather_shifted_offset_s16(p, second), v);
            c = vmlaldavaq_s16(c, vldrhq_gather_shifted_offset_s16(p, third), v);
            d = vmlaldavaq_s16(d, vldrhq_gather_shifted_offset_s16(p, fourth), v);
        }
    }
    if (height % 8u) {
        const mve_pred16_t some = vctp16q(height % 8u);
        const ek_eight v = vldrhq_z_s16(u, some);
        a = vmlaldavaq_s16(a, vldrhq_gather_shifted_offset_z_s16(p, first, some), v);
        b = vmlaldavaq_s16(b, vldrhq_gather_shifted_offset_z_s16(p, second, some), v);
        c = vmlaldavaq_s16(c, vldrhq_gather_shifted_offset_z_s16(p, third, some), v);
        d = vmlaldavaq_s16(d, vldrhq_gather_shifted_offset_z_s16(p, fourth, some), v);
    }
    sum[0] = a, sum[1] = b, sum[2] = c, sum[3] = d;
}

#define EK_PLASTIC_FAST(B, T) \
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
    } \
    EK_INLINE uint32_t ek_matvec_t_fast_##B(T *y, const ek_i16 *w, const ek_i16 *x, uint32_t height, uint32_t width, \
                                            uint32_t shift) { \
        const int64_t half = ek_half_unit(shift); \
        uint32_t at, k; \
        if (width > 9000u) return 0; /* offsets of 16 bits */ \
        EK_UNROLL1 for (at = 0; at + 4u <= width; at += 4u) { \
            int64_t sum[4]; \
            ek_four_columns(sum, w + at, x, height, width); \
            EK_UNROLL1 for (k = 0; k < 4u; ++k) y[at + k] = ek_narrow_##B((sum[k] + half) >> shift); \
        } \
        return at; \
    }
EK_PLASTIC_FAST(16, ek_i16)
EK_PLASTIC_FAST(32, ek_i32)

/* --- y = W + a bᵀ / 2^shift by running sums --------------------------------------------------------------------------- */

typedef struct { /* those of even number, and those of odd number with the one before them */
    int32_t even[EK_SUMS_OF_B / 2u], odd[EK_SUMS_OF_B / 2u + 1u];
} ek_sums;
#define EK_CHANGE_EIGHT(LOAD, STORE) \
    const int32x4_t even = vqrdmulhq_n_s32(vldrwq_s32(e), a), odd = vqrdmulhq_n_s32(vldrwq_s32(o + 1), a); \
    const int32x4_t before = vqrdmulhq_n_s32(vldrwq_s32(o), a); \
    const ek_eight change = vqmovnbq_s32(vdupq_n_s16(0), vsubq_s32(even, before)); \
    const ek_eight moved = vqaddq_s16(vqmovntq_s32(change, vsubq_s32(odd, even)), LOAD); \
    STORE;
EK_INLINE void ek_change_row(ek_i16 *y, const ek_i16 *w, int32_t a, const ek_sums *sums, uint32_t n) {
    const int32_t *e = sums->even, *o = sums->odd;
    uint32_t k;
    EK_UNROLL1 for (k = n / 8u; k; --k, y += 8, w += 8, e += 4, o += 4) {
        EK_CHANGE_EIGHT(ek_eight_load16(w), ek_eight_store16(y, moved))
    }
    if (n % 8u) {
        const mve_pred16_t some = vctp16q(n % 8u);
        EK_CHANGE_EIGHT(vldrhq_z_s16((const int16_t *)w, some), vstrhq_p_s16((int16_t *)y, moved, some))
    }
}

EK_INLINE uint32_t ek_outer_add_fast(ek_i16 *y, const ek_i16 *w, const ek_i16 *a, const ek_i16 *b, uint32_t height,
                                     uint32_t width, uint32_t shift) {
    const uint32_t left = ek_left_of_a(shift), more = EK_PRODUCT_BITS - shift - left;
    int32_t sum = 0;
    uint32_t at, i, k, n;
    ek_sums sums;
    if (!ek_sums_fit(b, width, more)) return 0;
    for (at = 0; at < width; at += EK_SUMS_OF_B) {
        n = width - at < EK_SUMS_OF_B ? width - at : EK_SUMS_OF_B;
        sums.odd[0] = ek_moved_left(sum, more);
        EK_UNROLL1 for (k = 0; k < (n + 7u) / 8u * 4u; ++k) { /* whole vectors of them */
            sum += at + 2u * k < width ? b[at + 2u * k] : 0;
            sums.even[k] = ek_moved_left(sum, more);
            sum += at + 2u * k + 1u < width ? b[at + 2u * k + 1u] : 0;
            sums.odd[k + 1u] = ek_moved_left(sum, more);
        }
        EK_UNROLL1 for (i = 0; i < height; ++i) {
            const uint32_t from = i * width + at;
            if (y != w || a[i] != 0)
                ek_change_row(y + from, w + from, ek_moved_left(a[i], left), &sums, n);
        }
    }
    return height;
}
#endif

#endif
