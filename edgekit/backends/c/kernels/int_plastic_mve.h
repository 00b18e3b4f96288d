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

/* --- y = Wᵀ x / 2^shift, sixteen columns at a time ------------------------------------------------------------------ */

#define EK_QC 0x8000000u /* of FPSCR: something saturated */
typedef struct {
    int32x4_t even, odd, even2, odd2;
} ek_sixteen;
/* Sums of 32 bits, those of even and of odd columns apart; 0 if one of them did not fit. */
EK_INLINE int ek_sixteen_columns(ek_sixteen *sums, const ek_i16 *w, const ek_i16 *x, uint32_t height, uint32_t width) {
    int32x4_t a = vdupq_n_s32(0), b = a, c = a, d = a;
    const int16_t *p = (const int16_t *)w;
    uint32_t i, status;
    __asm__ volatile("vmrs %0, fpscr\n\tbic %0, %0, #0x8000000\n\tvmsr fpscr, %0"
                     : "=r"(status), "+w"(a), "+w"(b), "+w"(c), "+w"(d));
    EK_UNROLL1 for (i = height; i; --i, ++x, p += width) {
        if (*x) {
            const ek_eight v = vdupq_n_s16(*x), first = vldrhq_s16(p), second = vldrhq_s16(p + 8);
            a = vqaddq_s32(a, vmullbq_int_s16(first, v)), b = vqaddq_s32(b, vmulltq_int_s16(first, v));
            c = vqaddq_s32(c, vmullbq_int_s16(second, v)), d = vqaddq_s32(d, vmulltq_int_s16(second, v));
        }
    }
    __asm__ volatile("vmrs %0, fpscr" : "=r"(status), "+w"(a), "+w"(b), "+w"(c), "+w"(d));
    sums->even = a, sums->odd = b, sums->even2 = c, sums->odd2 = d;
    return !(status & EK_QC);
}
EK_INLINE void ek_put_eight_16(ek_i16 *y, int32x4_t even, int32x4_t odd, int32_t right) {
    const ek_eight low = vqmovnbq_s32(vdupq_n_s16(0), vrshlq_n_s32(even, right));
    ek_eight_store16(y, vqmovntq_s32(low, vrshlq_n_s32(odd, right)));
}
EK_INLINE void ek_put_eight_32(ek_i32 *y, int32x4_t even, int32x4_t odd, int32_t right) {
    ek_wide_store(y, ek_wide_of(vrshlq_n_s32(even, right), vrshlq_n_s32(odd, right)));
}

#define EK_PLASTIC_FAST(B, T) \
    EK_MATVEC_BY_TWO(B, T) \
    EK_INLINE uint32_t ek_matvec_t_fast_##B(T *y, const ek_i16 *w, const ek_i16 *x, uint32_t height, uint32_t width, \
                                            uint32_t shift) { \
        const int32_t right = -(int32_t)shift; \
        uint32_t at = 0; \
        if (width < 16u || shift > 31u) return 0; \
        while (at < width) { \
            ek_sixteen sums; \
            if (at + 16u > width) at = width - 16u; /* some of those before once more */ \
            if (ek_sixteen_columns(&sums, w + at, x, height, width)) { \
                ek_put_eight_##B(y + at, sums.even, sums.odd, right); \
                ek_put_eight_##B(y + at + 8u, sums.even2, sums.odd2, right); \
            } else { \
                ek_columns_exact_##B(y + at, w + at, x, height, width, 16u, shift); \
            } \
            at += 16u; \
        } \
        return width; \
    }
EK_PLASTIC_FAST(16, ek_i16)
EK_PLASTIC_FAST(32, ek_i32)

/* --- y = W + a bᵀ / 2^shift by running sums --------------------------------------------------------------------------- */

typedef struct { /* those of even number, and those of odd number with the one before them */
    int32_t even[EK_SUMS_OF_B / 2u], odd[EK_SUMS_OF_B / 2u + 1u];
} ek_row_sums;
#define EK_CHANGE_EIGHT(LOAD, STORE) \
    const int32x4_t even = vqrdmulhq_n_s32(vldrwq_s32(e), a), odd = vqrdmulhq_n_s32(vldrwq_s32(o + 1), a); \
    const int32x4_t before = vqrdmulhq_n_s32(vldrwq_s32(o), a); \
    const ek_eight change = vqmovnbq_s32(vdupq_n_s16(0), vsubq_s32(even, before)); \
    const ek_eight moved = vqaddq_s16(vqmovntq_s32(change, vsubq_s32(odd, even)), LOAD); \
    STORE;
EK_INLINE void ek_change_row(ek_i16 *y, const ek_i16 *w, int32_t a, const ek_row_sums *sums, uint32_t n) {
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
    const uint32_t left = ek_left_of_a(ek_bits_of_all(a, height), shift), more = EK_PRODUCT_BITS - shift - left;
    int32_t sum = 0;
    uint32_t at, i, k, n;
    ek_row_sums sums;
    if (!ek_sums_fit(b, width, more)) return 0;
    for (at = 0; at < width; at += EK_SUMS_OF_B) {
        n = width - at < EK_SUMS_OF_B ? width - at : EK_SUMS_OF_B;
        sums.odd[0] = ek_moved_left(sum, more);
        EK_UNROLL1 for (k = 0; k < n / 2u; ++k) {
            sum += b[at + 2u * k];
            sums.even[k] = ek_moved_left(sum, more);
            sum += b[at + 2u * k + 1u];
            sums.odd[k + 1u] = ek_moved_left(sum, more);
        }
        if (n % 2u) sum += b[at + n - 1u];
        EK_UNROLL1 for (; k < (n + 7u) / 8u * 4u; ++k) /* to whole vectors */
            sums.even[k] = sums.odd[k + 1u] = ek_moved_left(sum, more);
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
