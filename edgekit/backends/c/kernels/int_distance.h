/* y[o] = Σ |x[k] - w[o][k]| of each row of x and each row of w[height, width], of int16: exact for a width of 2^15. */
#ifndef EK_INT_DISTANCE_H
#define EK_INT_DISTANCE_H

#include "int_plastic_exact.h"

#if EK_DSP
/* |a - b| of two elements, of 16 bits without a sign each, is added: ssub16 leaves its signs for sel. */
EK_INLINE uint32_t ek_add_apart(uint32_t sum, uint32_t a, uint32_t b) {
    uint32_t over, under;
    __asm__("ssub16 %0, %4, %3\n\tssub16 %1, %3, %4\n\tsel %0, %1, %0\n\tuxtah %2, %2, %0\n\tuxtah %2, %2, %0, ror #16"
            : "=&r"(under), "=&r"(over), "+r"(sum)
            : "r"(a), "r"(b));
    return sum;
}
#endif

EK_INLINE int32_t ek_distance_row_16(const ek_i16 *x, const ek_i16 *w, uint32_t width) {
    uint32_t sum = 0, k = 0;
#if EK_DSP
    EK_UNROLL1 for (; k + 4u <= width; k += 4u) {
        sum = ek_add_apart(sum, ek_pair16_of(x + k), ek_pair16_of(w + k));
        sum = ek_add_apart(sum, ek_pair16_of(x + k + 2u), ek_pair16_of(w + k + 2u));
    }
    EK_UNROLL1
#endif
    for (; k < width; ++k) {
        const int32_t apart = (int32_t)x[k] - w[k];
        sum += (uint32_t)(apart < 0 ? -apart : apart);
    }
    return (int32_t)sum;
}

EK_INLINE void ek_distance_16(ek_i32 *y, const ek_i16 *x, const ek_i16 *w, uint32_t rows, uint32_t height,
                              uint32_t width) {
    uint32_t r, o;
    for (r = 0; r < rows; ++r, x += width, y += height)
        EK_UNROLL_COLD for (o = 0; o < height; ++o) y[o] = ek_distance_row_16(x, w + o * width, width);
}

#endif
