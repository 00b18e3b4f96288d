/* Integer weights that are values of the program, W[height, width] of int16, row-major: products and updates.
 *
 *   matvec      y = (W x + c) / 2^shift for each row of x, of int16 or of spikes
 *   matvec_t    y = Wᵀ x / 2^shift for each row of x
 *   outer_add   y = W + Σ a bᵀ / 2^shift over the rows of a and b; y may be W itself
 *
 * Sums of products are exact; each is rounded half up once and saturates. Of an update it is the running sum along a row
 * of W that is rounded: what is left of one element is carried to the next, so that small changes are not lost.
 * Rows of W that meet a zero in x or a, such as those that a mask keeps from learning, cost next to nothing. What an
 * instruction set is fast at is done first: the `fast` functions say how many rows of W, or columns, that was.
 */
#ifndef EK_INT_PLASTIC_H
#define EK_INT_PLASTIC_H

#include "int_plastic_dsp.h"
#include "int_plastic_exact.h"
#include "int_plastic_mve.h"
#include "int_plastic_neon.h"

#if !EK_DSP && !EK_MVE && !EK_NEON
#define EK_NOTHING_FAST(B, T) \
    EK_INLINE uint32_t ek_matvec_fast_##B(T *y, const ek_i32 *c, const ek_i16 *w, const ek_i16 *x, uint32_t height, \
                                          uint32_t width, uint32_t shift) { \
        return (void)y, (void)c, (void)w, (void)x, (void)height, (void)width, (void)shift, 0; \
    } \
    EK_INLINE uint32_t ek_matvec_t_fast_##B(T *y, const ek_i16 *w, const ek_i16 *x, uint32_t height, uint32_t width, \
                                            uint32_t shift) { \
        return (void)y, (void)w, (void)x, (void)height, (void)width, (void)shift, 0; \
    }
EK_NOTHING_FAST(16, ek_i16)
EK_NOTHING_FAST(32, ek_i32)
#endif

/* fewer than 2^16 spikes are listed: sums of their weights fit 32 bits */
#define EK_PLASTIC(B, T) \
    EK_ONE_COPY void ek_matvec_16_##B(T *y, const ek_i32 *c, const ek_i16 *w, const ek_i16 *x, uint32_t rows, \
                                      uint32_t height, uint32_t width, uint32_t shift) { \
        const int64_t half = ek_half_unit(shift); \
        uint32_t r, o; \
        for (r = 0; r < rows; ++r, x += width, y += height) { \
            o = ek_matvec_fast_##B(y, c, w, x, height, width, shift); \
            EK_UNROLL_COLD for (; o < height; ++o) \
                y[o] = ek_narrow_##B((ek_dot_16(w + o * width, x, width) + half + (c ? c[o] : 0)) >> shift); \
        } \
    } \
    EK_ONE_COPY void ek_matvec_spike_##B(T *y, const ek_i32 *c, const ek_i16 *w, const ek_word *x, uint16_t *list, \
                                         uint32_t rows, uint32_t height, uint32_t width, uint32_t shift) { \
        const int64_t half = ek_half_unit(shift); \
        uint32_t r, o, e; \
        for (r = 0; r < rows; ++r, y += height) { \
            const uint32_t n = ek_fired(list, x, r * width, width, 1u); \
            EK_UNROLL_COLD for (o = 0; o < height; ++o) { \
                const ek_i16 *row = w + o * width; \
                int32_t sum = 0; \
                EK_UNROLL4 for (e = 0; e < n; ++e) sum += row[list[e]]; \
                y[o] = ek_narrow_##B((sum + half + (c ? c[o] : 0)) >> shift); \
            } \
        } \
    } \
    EK_ONE_COPY void ek_matvec_t_##B(T *y, const ek_i16 *w, const ek_i16 *x, uint32_t rows, uint32_t height, \
                                     uint32_t width, uint32_t shift) { \
        uint32_t r; \
        for (r = 0; r < rows; ++r, x += height, y += width) { \
            uint32_t first, last, done; /* rows that are zero at either end; x stays at whole words */ \
            EK_UNROLL_COLD for (first = 0; first + 2u < height; first += 2u) \
                if (x[first] || x[first + 1u]) break; \
            EK_UNROLL_COLD for (last = height; last > first + 1u; --last) \
                if (x[last - 1u]) break; \
            done = ek_matvec_t_fast_##B(y, w + first * width, x + first, last - first, width, shift); \
            ek_columns_exact_##B(y + done, w + first * width + done, x + first, last - first, width, width - done, shift); \
        } \
    }
EK_PLASTIC(16, ek_i16)
EK_PLASTIC(32, ek_i32)

EK_ONE_COPY void ek_outer_add_16(ek_i16 *y, const ek_i16 *w, const ek_i16 *a, const ek_i16 *b, uint32_t rows,
                                 uint32_t height, uint32_t width, uint32_t shift) {
    const int64_t below = ((int64_t)1 << shift) - 1;
    uint32_t r, i, at;
    if (rows == 1u) {
        EK_UNROLL_COLD for (i = ek_outer_add_fast(y, w, a, b, height, width, shift); i < height; ++i)
            if (y != w || a[i] != 0) ek_outer_row_16(y + i * width, w + i * width, a[i], b, width, shift);
        return;
    }
    EK_UNROLL_COLD for (i = 0; i < height; ++i, y += width, w += width) {
        int64_t rest = ek_half_unit(shift);
        EK_UNROLL_COLD for (at = 0; at < width; ++at) {
            EK_UNROLL_COLD for (r = 0; r < rows; ++r) rest += (int32_t)a[r * height + i] * b[r * width + at];
            y[at] = ek_adds_16(w[at], ek_narrow_16(rest >> shift));
            rest &= below;
        }
    }
}

#endif
