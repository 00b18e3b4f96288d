/* Weights that are values of the program, W[height, width] row-major: products with Wᵀ, and updates.
 *
 *   matvec_t    y = Wᵀ x for each row of x
 *   outer_add   y = W + Σ a bᵀ over the rows of a and b; y may be W itself
 *
 * Rows are as long as they are: what is left of one behind its whole vectors is done one by one.
 */
#ifndef EK_PLASTIC_H
#define EK_PLASTIC_H

#include "simd.h"

#define EK_COLUMN(k) ekf s##k = ek_set(0.0f);
#define EK_COLUMN_ADD(k) s##k = ek_fma(ek_load(row + k * EK_W), v, s##k);
#define EK_COLUMN_STORE(k) ek_store(y + at + k * EK_W, s##k);
#define EK_COLUMN_TILE(V) \
    for (; at + V * EK_W <= width; at += V * EK_W) { \
        const float *row = w + at; \
        EK_REP##V(EK_COLUMN) \
        for (i = 0; i < height; ++i, row += width) { \
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
        EK_COLUMN_TILE(4)
        EK_COLUMN_TILE(1)
        for (; at < width; ++at) {
            float sum = 0.0f;
            for (i = 0; i < height; ++i) sum = ek_fma_one(w[i * width + at], x[i], sum);
            y[at] = sum;
        }
    }
}

EK_INLINE void ek_outer_add_f32(float *y, const float *w, const float *a, const float *b, uint32_t rows,
                                uint32_t height, uint32_t width) {
    uint32_t r, i;
    for (i = 0; i < height; ++i, y += width, w += width) {
        uint32_t at = 0;
        if (rows == 1u && y == w && a[i] == 0.0f) continue; /* a row that does not learn */
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
