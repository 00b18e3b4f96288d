/* y = c + scale * (W x) for int8 weights and float32 x in integers: for cores that multiply int8 by fours, or int16 by
 * pairs, where that costs less than to convert every weight to float.
 *
 * Inputs are taken in chunks. A chunk becomes fixed-point numbers of 24 bits, relative to its largest magnitude, each
 * cut into two or three signed digits whose products are summed apart, exactly. What is lost is the rounding of x, 2^-24
 * of the largest, and of a sum when it becomes a float, which is what a float32 sum loses too.
 * Weights are packed [outputs / 32][inputs / 4][32][4], outputs padded to 16 (the last block may be 16 wide), inputs to
 * 4. A chunk with NaN or Inf gives NaN.
 */
#ifndef EK_DOT_H
#define EK_DOT_H

#include "linear.h"
#include "simd.h"

#define EK_CHUNK 512u               /* inputs: 2 kB of digits, and no sum of one digit reaches 2^31 */
#define EK_LARGEST_FIXED 8355704.0f /* three bytes of 127 are 8355711; the rest is for rounding */

/* n inputs as digits, 16 bytes for every four of them; returns the step. Below 1e-30 all count as 0. */
EK_INLINE float ek_fixed(int8_t *digits, const float *x, uint32_t n) {
    const uint32_t whole = n / 16u * 16u;
    float rest[16] = {0.0f}, largest, per_step;
    ekf most = ek_set(0.0f);
    uint32_t i;
    for (i = 0; i < whole; i += EK_W) most = ek_most(most, ek_load(x + i));
    if (whole < n) {
        for (i = whole; i < n; ++i) rest[i - whole] = x[i];
        for (i = 0; i < 16u; i += EK_W) most = ek_most(most, ek_load(rest + i));
    }
    largest = ek_most_lane(most);
    per_step = largest > 1e-30f ? EK_LARGEST_FIXED / largest : 0.0f;
    for (i = 0; i < whole; i += 8u) ek_digits(digits + 4u * i, x + i, per_step);
    for (; i < n; i += 8u) ek_digits(digits + 4u * i, rest + (i - whole), per_step);
    return largest / EK_LARGEST_FIXED + (largest - largest); /* Inf is no number either */
}

/* sum[OUTPUTS] = step * W x over one chunk, V sums for the outputs of a block `width` wide */
#define EK_DOT_START(k) ekd a##k = ek_dot_zero();
#define EK_DOT_ADD(k) a##k = ek_dot(a##k, w + 4 * EK_DOT_EACH * k, v);
#if EK_DOT_EACH == 16
#define EK_DOT_FINISH1 ek_dot_store(sum, a0, step);
#define EK_DOT_FINISH2 EK_DOT_FINISH1 ek_dot_store(sum + 16, a1, step);
#else
#define EK_DOT_FINISH(k, next) ek_dot_store(sum + 4 * k, a##k, a##next, step);
#define EK_DOT_FINISH4 EK_DOT_FINISH(0, 1) EK_DOT_FINISH(2, 3)
#define EK_DOT_FINISH8 EK_DOT_FINISH4 EK_DOT_FINISH(4, 5) EK_DOT_FINISH(6, 7)
#endif
#define EK_DOT_SUMS(OUTPUTS, V) \
    EK_INLINE void ek_dot_sums##OUTPUTS(float *sum, const int8_t *w, const int8_t *digits, uint32_t fours, \
                                        uint32_t width, float step) { \
        uint32_t i; \
        EK_REP##V(EK_DOT_START) \
        for (i = 0; i < fours; ++i, w += 4u * width) { \
            const ekx v = ek_digits_load(digits + 16u * i); \
            EK_REP##V(EK_DOT_ADD) \
        } \
        EK_DOT_FINISH##V \
    }
#if EK_DOT_EACH == 16
EK_DOT_SUMS(16, 1)
EK_DOT_SUMS(32, 2)
#else
EK_DOT_SUMS(16, 4)
EK_DOT_SUMS(32, 8)
#endif

EK_INLINE void ek_linear_dot_i8(float *y, const float *c, const int8_t *w, const float *scale, const float *x,
                                uint32_t first, uint32_t n_in, uint32_t n_out, int exact) {
    const uint32_t padded = (n_in + 3u) / 4u * 4u;
    int8_t EK_ALIGNED(16) digits[4 * EK_CHUNK];
    float EK_ALIGNED(16) sum[EK_DOT_OUTPUTS];
    uint32_t at, o;
    for (at = 0; at < n_in; at += EK_CHUNK, c = y) {
        const uint32_t n = n_in - at < EK_CHUNK ? n_in - at : EK_CHUNK, fours = (n + 3u) / 4u;
        const float step = ek_fixed(digits, x + first + at, n);
        for (o = 0; o < n_out; o += EK_DOT_OUTPUTS) {
            const uint32_t head = o / 32u * 32u, width = n_out - head > 16u ? 32u : 16u, left = n_out - o;
            const int8_t *block = w + head * padded + at * width + 4u * (o - head);
            if (EK_DOT_OUTPUTS == 32u && width == 32u) ek_dot_sums32(sum, block, digits, fours, width, step);
            else ek_dot_sums16(sum, block, digits, fours, width, step);
            ek_scale_sums(y + o, c ? c + o : 0, scale + o, sum, left < EK_DOT_OUTPUTS ? left : EK_DOT_OUTPUTS, exact);
        }
    }
}

EK_INLINE void ek_rows_dot_i8(float *y, const float *c, uint32_t c_step, const int8_t *w, const float *scale,
                              const float *x, uint32_t rows, uint32_t n_in, uint32_t n_out) {
    uint32_t r;
    for (r = 0; r < rows; ++r)
        ek_linear_dot_i8(y + r * n_out, c ? c + r * c_step : 0, w, scale, x, r * n_in, n_in, n_out, 1);
}

#endif
