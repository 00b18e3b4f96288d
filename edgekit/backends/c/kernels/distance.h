/* y[o] = Σ |x[k] - w[o][k]| of each row of x and each row of w[height, width]. */
#ifndef EK_DISTANCE_H
#define EK_DISTANCE_H

#include "simd.h"

EK_INLINE float ek_distance_row_f32(const float *x, const float *w, uint32_t width) {
    float lane[EK_W], sum = 0.0f;
    uint32_t k = 0, i;
    if (width >= EK_W) {
        ekf sums = ek_set(0.0f);
        for (; k + EK_W <= width; k += EK_W) sums = ek_add(sums, ek_abs(ek_sub(ek_load(x + k), ek_load(w + k))));
        ek_store(lane, sums);
        for (i = 0; i < EK_W; ++i) sum += lane[i];
    }
    for (; k < width; ++k) sum += x[k] < w[k] ? w[k] - x[k] : x[k] - w[k];
    return sum;
}

EK_INLINE void ek_distance_f32(float *y, const float *x, const float *w, uint32_t rows, uint32_t height,
                               uint32_t width) {
    uint32_t r, o;
    for (r = 0; r < rows; ++r, x += width, y += height)
        for (o = 0; o < height; ++o) y[o] = ek_distance_row_f32(x, w + o * width, width);
}

#endif
