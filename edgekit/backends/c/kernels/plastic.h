/* Weights that are values of the program, W[height, width] row-major: products with Wᵀ, and updates.
 *
 *   matvec_t    y = Wᵀ x for each row of x
 *   outer_add   y = W + Σ a bᵀ over the rows of a and b; y may be W itself, of which rows where a is zero then stay
 *
 * Rows are as long as they are: what is left of one behind its whole vectors is done one by one.
 */
#ifndef EK_PLASTIC_H
#define EK_PLASTIC_H

#include "simd.h"

#define EK_COLUMN(k) ekf s##k = ek_set(0.0f);
#define EK_COLUMN_ADD(k) s##k = ek_fma(ek_load(row + k * EK_W), v, s##k);
#define EK_COLUMN_LANE(k, lane) s##k = EK_FMA_LANE(ek_load(row + k * EK_W), four, lane, s##k);
#define EK_COLUMN_LANE0(k) EK_COLUMN_LANE(k, 0)
#define EK_COLUMN_LANE1(k) EK_COLUMN_LANE(k, 1)
#define EK_COLUMN_LANE2(k) EK_COLUMN_LANE(k, 2)
#define EK_COLUMN_LANE3(k) EK_COLUMN_LANE(k, 3)
#define EK_COLUMN_STORE(k) ek_store(y + at + k * EK_W, s##k);
#define EK_COLUMN_BLOCKS(V) \
    for (; at + V * EK_W <= width; at += V * EK_W) { \
        const float *row = w + at; \
        EK_REP##V(EK_COLUMN) \
        for (i = 0; i + 4u <= height; i += 4u) { \
            const ek4 four = ek_load4(x + i); \
            EK_REP##V(EK_COLUMN_LANE0) row += width; \
            EK_REP##V(EK_COLUMN_LANE1) row += width; \
            EK_REP##V(EK_COLUMN_LANE2) row += width; \
            EK_REP##V(EK_COLUMN_LANE3) row += width; \
        } \
        for (; i < height; ++i, row += width) { \
            const ekf v = ek_set(x[i]); \
            EK_REP##V(EK_COLUMN_ADD) \
        } \
        EK_REP##V(EK_COLUMN_STORE) \
    }

EK_INLINE void ek_matvec_t_f32(float *y, const float *x, const float *w, uint32_t rows, uint32_t height,
                               uint32_t width) {
    uint32_t r, i;
    for (r = 0; r < rows; ++r, x += height, y += width) {
        uint32_t at = 0;
        EK_COLUMN_BLOCKS(4)
        EK_COLUMN_BLOCKS(1)
        for (; at < width; ++at) {
            float sum = 0.0f;
            for (i = 0; i < height; ++i) sum = ek_fma_one(w[i * width + at], x[i], sum);
            y[at] = sum;
        }
    }
}

/* y = w + a b of two rows; where flash is short, one copy for all sizes */
#if defined(__thumb2__) && !defined(__ARM_NEON)
#define EK_OUTER_TWO static EK_RARE
#else
#define EK_OUTER_TWO EK_INLINE
#endif
EK_OUTER_TWO void ek_outer_two_f32(float *y, const float *w, float *z, const float *v, float first, float second,
                                   const float *b, uint32_t width) {
    const ekf one = ek_set(first), two = ek_set(second);
    uint32_t at = 0;
    for (; at + EK_W <= width; at += EK_W) {
        const ekf x = ek_load(b + at);
        ek_store(y + at, ek_fma(x, one, ek_load(w + at)));
        ek_store(z + at, ek_fma(x, two, ek_load(v + at)));
    }
    EK_UNROLL1 for (; at < width; ++at) {
        y[at] = ek_fma_one(b[at], first, w[at]);
        z[at] = ek_fma_one(b[at], second, v[at]);
    }
}

/* Of one row of b, rows of W that do not learn are left alone, unless b holds what zero times is not zero. */
EK_INLINE void ek_outer_one_f32(float *y, const float *w, const float *a, const float *b, uint32_t height,
                                uint32_t width) {
    uint32_t i, at, quiet = y == w;
    const float *waits = 0; /* for another row */
    EK_UNROLL1 for (i = 0; quiet && i < width; ++i) quiet = (uint32_t)ek_is_finite(b[i]);
    EK_UNROLL1 for (i = 0; i < height; ++i) {
        if (quiet && a[i] == 0.0f) continue;
        if (waits) {
            const uint32_t before = (uint32_t)(waits - a) * width, here = i * width;
            ek_outer_two_f32(y + before, w + before, y + here, w + here, *waits, a[i], b, width);
        }
        waits = waits ? 0 : a + i;
    }
    if (waits) {
        const uint32_t here = (uint32_t)(waits - a) * width;
        EK_UNROLL1 for (at = 0; at < width; ++at) y[here + at] = ek_fma_one(b[at], *waits, w[here + at]);
    }
}

EK_INLINE void ek_outer_add_f32(float *y, const float *w, const float *a, const float *b, uint32_t rows,
                                uint32_t height, uint32_t width) {
    uint32_t r, i;
    if (rows == 1u) {
        ek_outer_one_f32(y, w, a, b, height, width);
        return;
    }
    for (i = 0; i < height; ++i, y += width, w += width) {
        uint32_t at = 0;
        for (; at + EK_W <= width; at += EK_W) {
            ekf sum = ek_load(w + at);
            for (r = 0; r < rows; ++r) sum = ek_fma(ek_load(b + r * width + at), ek_set(a[r * height + i]), sum);
            ek_store(y + at, sum);
        }
        for (; at < width; ++at) {
            float sum = w[at];
            for (r = 0; r < rows; ++r) sum = ek_fma_one(b[r * width + at], a[r * height + i], sum);
            y[at] = sum;
        }
    }
}

#endif
