/* y = c + W x where most weights are zero: only the others are stored, in one of two layouts.
 *
 *   columns  by input: input i adds its entries start[i] … start[i + 1] - 1 to the outputs from row[e] on, `per` (1 or 4)
 *            neighbouring outputs an entry. Inputs that are 0 cost no more than the look that finds them so, 32 at a
 *            time; the others add in ascending order. `wide`: starts are 32 bits, else 16.
 *   runs     by output: output o is the dot product of count[o] runs of neighbouring inputs; run = {first input,
 *            weights}, a multiple of 16 of them. For weights that lie in blocks: no input is looked for.
 *
 * Everything about a layout is a literal of the call, so that one body serves all. y must not overlap x; c may be null
 * (zero) and may be y itself. `exact` and `first` are those of linear.h.
 */
#ifndef EK_SPARSE_H
#define EK_SPARSE_H

#include "copy.h"
#include "linear.h"
#include "simd.h"

EK_INLINE uint32_t ek_start(const void *start, uint32_t i, uint32_t wide) {
    return wide ? ((const uint32_t *)start)[i] : ((const uint16_t *)start)[i];
}

/* One bit for each of the n <= 32 inputs from `from` on that is not zero. */
EK_INLINE uint32_t ek_word_real(const float *x, uint32_t from, uint32_t n, int exact) {
    uint32_t word = 0, i;
    if (n == 32u) return ek_nonzero(x + from);
    if (!exact) return ek_nonzero(x + from) & ((1u << n) - 1u);
    for (i = 0; i < n; ++i) word |= (uint32_t)(x[from + i] != 0.0f) << i;
    return word;
}
EK_INLINE uint32_t ek_word_spike(const uint32_t *x, uint32_t from, uint32_t n, int exact) {
    (void)exact;
    return ek_bits(x, from, n);
}
#define EK_VALUE_real(x, i) x[i]
#define EK_VALUE_spike(x, i) 1.0f

/* Entries e … end - 1 of the input whose value is v: few, so that unrolling costs more than it saves. */
EK_INLINE void ek_column_f32(float *y, const uint16_t *row, const float *w, const float *scale, uint32_t e,
                             uint32_t end, uint32_t per, float v) {
    (void)scale;
    if (per == 4u) {
        EK_UNROLL1 for (; e < end; ++e) ek_add4(y + row[e], w + 4u * e, v);
    } else {
        EK_UNROLL1 for (; e < end; ++e) y[row[e]] = ek_fma_one(w[e], v, y[row[e]]);
    }
}
EK_INLINE void ek_column_i8(float *y, const uint16_t *row, const int8_t *w, const float *scale, uint32_t e,
                            uint32_t end, uint32_t per, float v) {
    (void)per;
    EK_UNROLL1 for (; e < end; ++e) y[row[e]] = ek_fma_one((float)w[e] * scale[row[e]], v, y[row[e]]);
}

#define EK_COLUMNS(KIND, X, ELEMENT, W) \
    EK_INLINE void ek_word_columns_##KIND##_##ELEMENT(float *y, const void *start, const uint16_t *row, const W *w, \
                                                      const float *scale, const X *x, uint32_t first, uint32_t at, \
                                                      uint32_t n, uint32_t wide, uint32_t per, int exact) { \
        uint32_t word = ek_word_##KIND(x, first + at, n, exact); \
        for (; word; word &= word - 1u) { \
            const uint32_t i = at + ek_lowest_bit(word); \
            ek_column_##ELEMENT(y, row, w, scale, ek_start(start, i, wide), ek_start(start, i + 1u, wide), per, \
                                EK_VALUE_##KIND(x, first + i)); \
        } \
    } \
    EK_INLINE void ek_columns_##KIND##_##ELEMENT(float *y, const float *c, const void *start, const uint16_t *row, \
                                                 const W *w, const float *scale, const X *x, uint32_t first, \
                                                 uint32_t n_in, uint32_t n_out, uint32_t wide, uint32_t per, \
                                                 int exact) { \
        uint32_t at, o = 0; \
        for (; o + (exact ? EK_W : 1) <= n_out; o += EK_W) \
            ek_store(y + o, c ? ek_add(ek_load(c + o), ek_set(0.0f)) : ek_set(0.0f)); \
        for (; o < n_out; ++o) y[o] = c ? c[o] + 0.0f : 0.0f; \
        for (at = 0; at + 32u <= n_in; at += 32u) \
            ek_word_columns_##KIND##_##ELEMENT(y, start, row, w, scale, x, first, at, 32u, wide, per, exact); \
        if (at < n_in) \
            ek_word_columns_##KIND##_##ELEMENT(y, start, row, w, scale, x, first, at, n_in - at, wide, per, exact); \
    } \
    EK_INLINE void ek_rows_columns_##KIND##_##ELEMENT(float *y, const float *c, uint32_t c_step, const void *start, \
                                                      const uint16_t *row, const W *w, const float *scale, \
                                                      const X *x, uint32_t rows, uint32_t n_in, uint32_t n_out, \
                                                      uint32_t wide, uint32_t per) { \
        uint32_t r; \
        for (r = 0; r < rows; ++r) \
            ek_columns_##KIND##_##ELEMENT(y + r * n_out, c ? c + r * c_step : 0, start, row, w, scale, x, r * n_in, \
                                          n_in, n_out, wide, per, 1); \
    }
EK_COLUMNS(real, float, f32, float)
EK_COLUMNS(real, float, i8, int8_t)
EK_COLUMNS(spike, uint32_t, f32, float)
EK_COLUMNS(spike, uint32_t, i8, int8_t)

/* One step of a run is 16 weights, in as many sums as that makes vectors. */
#if EK_W == 16
#define EK_RUN_VECTORS(F) EK_REP1(F)
#elif EK_W == 8
#define EK_RUN_VECTORS(F) EK_REP2(F)
#else
#define EK_RUN_VECTORS(F) EK_REP4(F)
#endif

#define EK_RUN_START(k) ekf a##k = ek_set(0.0f);
#define EK_RUN_STEP_f32(k) a##k = ek_fma(ek_load(next + k * EK_W), ek_load(from + k * EK_W), a##k);
#define EK_RUN_STEP_i8(k) a##k = ek_fma(ek_load_i8(next, k), ek_load(from + k * EK_W), a##k);
#define EK_RUN_TOTAL(k) total = ek_add(total, a##k);
#define EK_RUN_SUM_f32(o) sum
#define EK_RUN_SUM_i8(o) scale[o] * sum

#define EK_RUNS(ELEMENT, W) \
    EK_INLINE void ek_runs_##ELEMENT(float *y, const float *c, uint32_t c_step, const uint16_t *count, \
                                     const uint16_t *run, const W *w, const float *scale, const float *x, \
                                     uint32_t rows, uint32_t n_in, uint32_t n_out) { \
        uint32_t r, o, j, k; \
        (void)scale; \
        for (r = 0; r < rows; ++r, x += n_in, y += n_out) { \
            const uint16_t *at = run; \
            const W *next = w; \
            for (o = 0; o < n_out; ++o) { \
                ekf total = ek_set(0.0f); \
                float sum; \
                EK_RUN_VECTORS(EK_RUN_START) \
                for (j = count[o]; j > 0; --j, at += 2) { \
                    const float *from = x + at[0]; \
                    for (k = at[1]; k > 0; k -= 16u, next += 16, from += 16) { \
                        EK_RUN_VECTORS(EK_RUN_STEP_##ELEMENT) \
                    } \
                } \
                EK_RUN_VECTORS(EK_RUN_TOTAL) \
                sum = ek_sum(total); \
                y[o] = c ? c[r * c_step + o] + EK_RUN_SUM_##ELEMENT(o) : EK_RUN_SUM_##ELEMENT(o); \
            } \
        } \
    }
EK_RUNS(f32, float)
EK_RUNS(i8, int8_t)

#endif
