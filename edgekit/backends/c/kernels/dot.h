/* y = c + scale * (W x) for int8 weights and float32 x by integer dot products of four: for cores that have them.
 *
 * Inputs are taken in chunks. A chunk becomes fixed-point numbers of 24 bits, relative to its largest magnitude, each
 * three signed bytes x = (d2 * 65536 + d1 * 256 + d0) * step; the sums over each of the three are exact. What is lost is
 * the rounding of x, 2^-24 of the largest, which is what a float32 sum loses too. No weight is converted to float.
 * Weights are packed [outputs / 32][inputs / 4][32][4], outputs padded to 16 (the last block may be 16 wide), inputs to
 * 4. A chunk with NaN or Inf gives NaN.
 */
#ifndef EK_DOT_H
#define EK_DOT_H

#include "linear.h"
#include "reduce.h"
#include "simd.h"

#define EK_CHUNK 512u               /* inputs: 2 kB of bytes, and sums of one byte below 2^24 */
#define EK_LARGEST_FIXED 8355704.0f /* three bytes of 127 are 8355711; the rest is for rounding */

/* The largest magnitude; NaN if there is one. */
EK_INLINE float ek_largest(const float *x, uint32_t n) {
    ekf most = ek_set(0.0f);
    float lanes[EK_W], largest = 0.0f;
    const uint32_t whole = n / EK_W * EK_W;
    uint32_t i, j;
    for (i = 0; i < whole; i += EK_W) most = ek_max(most, ek_abs(ek_load(x + i)));
    ek_store(lanes, most);
    for (j = 0; j < EK_W; ++j) largest = ek_larger(largest, lanes[j]);
    for (i = whole; i < n; ++i) largest = ek_larger(largest, x[i] < 0.0f ? -x[i] : x[i]);
    return largest;
}

/* n inputs as bytes, 16 for every four of them; returns the step. Below 1e-30 all count as 0. */
EK_INLINE float ek_fixed(int8_t *bytes, const float *x, uint32_t n) {
    const float largest = ek_largest(x, n), per_step = largest > 1e-30f ? EK_LARGEST_FIXED / largest : 0.0f;
    uint32_t i = 0, j;
    for (; i + 4u <= n; i += 4u) ek_bytes(bytes + 4u * i, x + i, per_step);
    if (i < n) {
        float rest[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        for (j = 0; i + j < n; ++j) rest[j] = x[i + j];
        ek_bytes(bytes + 4u * i, rest, per_step);
    }
    return largest / EK_LARGEST_FIXED;
}

/* sum[BLOCK] = step * W x over one chunk, V vectors of four outputs */
#define EK_DOT_START(k) ekd a##k = ek_dot_zero(), b##k = ek_dot_zero(), c##k = ek_dot_zero();
#define EK_DOT_ADD(k) \
    { \
        const ekq four = ek_dot_load(w + 16 * k); \
        a##k = EK_DOT(a##k, four, v, 0); \
        b##k = EK_DOT(b##k, four, v, 1); \
        c##k = EK_DOT(c##k, four, v, 2); \
    }
#define EK_DOT_FINISH(k) ek_dot_store(sum + 4 * k, a##k, b##k, c##k, step);
#define EK_DOT_BLOCK(BLOCK, V) \
    EK_INLINE void ek_dot_block##BLOCK(float *sum, const int8_t *w, const int8_t *bytes, uint32_t fours, float step) { \
        uint32_t i; \
        EK_REP##V(EK_DOT_START) \
        for (i = 0; i < fours; ++i, w += 4 * BLOCK) { \
            const ekq v = ek_dot_load(bytes + 16u * i); \
            EK_REP##V(EK_DOT_ADD) \
        } \
        EK_REP##V(EK_DOT_FINISH) \
    }
EK_DOT_BLOCK(16, 4)
EK_DOT_BLOCK(32, 8)

EK_INLINE void ek_linear_dot_i8(float *y, const float *c, const int8_t *w, const float *scale, const float *x,
                                uint32_t first, uint32_t n_in, uint32_t n_out, int exact) {
    const uint32_t padded = (n_in + 3u) / 4u * 4u;
    int8_t EK_ALIGNED(16) bytes[4 * EK_CHUNK];
    float EK_ALIGNED(16) sum[32];
    uint32_t at, o;
    for (at = 0; at < n_in; at += EK_CHUNK, c = y) {
        const uint32_t n = n_in - at < EK_CHUNK ? n_in - at : EK_CHUNK, fours = (n + 3u) / 4u;
        const float step = ek_fixed(bytes, x + first + at, n);
        for (o = 0; o < n_out; o += 32u) {
            const uint32_t left = n_out - o;
            const int8_t *block = w + o * padded + at * (left > 16u ? 32u : 16u);
            if (left > 16u) ek_dot_block32(sum, block, bytes, fours, step);
            else ek_dot_block16(sum, block, bytes, fours, step);
            ek_scale_sums(y + o, c ? c + o : 0, scale + o, sum, left < 32u ? left : 32u, exact);
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
