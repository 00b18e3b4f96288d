/* y = c + W x: dense and event-driven, float32 and int8 weights.
 *
 * Weights are packed at conversion. Outputs are padded to EK_PAD (int8: to 16) and cut into panels of 64, the last one
 * narrower; a panel of width p is stored [in][p], so that its p sums stay in registers over all inputs and the weights
 * stream once, in order. Four forms:
 *   dense   x is float32: every weight is multiplied
 *   compensated  the same over float32 weights, and what rounding takes from a sum is given back to it
 *   event   x is the list of neurons that fired (ek_events): their rows are added, in ascending order
 *   masked  x is a spike tensor: every row is multiplied by 0.0 or 1.0, for layers where most neurons fire
 * Event and masked give the same bits: the sum starts at c + 0.0f, never at -0.0, and weights are finite. They add in
 * one chain: to cut it into runs, a list would have to be searched for where they begin.
 *
 * c may be null (zero), and may be y itself; y must not overlap x. `first` is where x begins inside a larger value.
 * `exact` = 1: y and c have no room for padded outputs (a row inside a larger value): the last panel makes a detour.
 */
#ifndef EK_LINEAR_H
#define EK_LINEAR_H

#include "copy.h"
#include "simd.h"

#define EK_PANEL 64u
#define EK_LONG 64u /* inputs: rounding adds up along a sum, so that a dense one over more of them is cut into runs */
#define EK_RUN_INPUTS 32u /* that are summed from zero before they join the total */

EK_INLINE uint32_t ek_lowest_bit(uint32_t word) {
#if defined(__GNUC__)
    return (uint32_t)__builtin_ctz(word);
#else
    uint32_t at = 0;
    while (!(word >> at & 1u)) ++at;
    return at;
#endif
}

/* Bits first … first + n - 1 of a spike tensor as ascending indices from 0; returns how many. n <= 65536. */
EK_INLINE uint32_t ek_events(uint16_t *list, const uint32_t *bits, uint32_t first, uint32_t n) {
    uint32_t count = 0, at = 0;
    while (at < n) {
        const uint32_t shift = (first + at) % 32u, room = 32u - shift, take = n - at < room ? n - at : room;
        uint32_t word = bits[(first + at) / 32u] >> shift;
        if (take < 32u) word &= (1u << take) - 1u;
        while (word) {
            list[count++] = (uint16_t)(at + ek_lowest_bit(word));
            word &= word - 1u;
        }
        at += take;
    }
    return count;
}

/* --- a float32 panel, in blocks of V vectors whose sums fit the registers ------------------------------------------ */

#define EK_F32_BEGIN(k) ek_store(y + k * EK_W, c ? ek_load(c + k * EK_W) : ek_set(0.0f));
#define EK_F32_SUM(k) ekf a##k = c ? ek_load(c + k * EK_W) : ek_set(0.0f);
#define EK_F32_START(k) ekf a##k = c ? ek_add(ek_load(c + k * EK_W), ek_set(0.0f)) : ek_set(0.0f);
#define EK_F32_ROW0(k) a##k = EK_FMA_LANE(ek_load(w + k * EK_W), four, 0, a##k);
#define EK_F32_ROW1(k) a##k = EK_FMA_LANE(ek_load(w + width + k * EK_W), four, 1, a##k);
#define EK_F32_ROW2(k) a##k = EK_FMA_LANE(ek_load(w + 2u * width + k * EK_W), four, 2, a##k);
#define EK_F32_ROW3(k) a##k = EK_FMA_LANE(ek_load(w + 3u * width + k * EK_W), four, 3, a##k);
#define EK_F32_MULTIPLY(k) a##k = ek_fma(ek_load(w + k * EK_W), v, a##k);
#define EK_F32_ADD(k) a##k = ek_add(a##k, ek_load(row + k * EK_W));
#define EK_F32_FINISH(k) ek_store(y + k * EK_W, a##k);
#define EK_F32_JOIN(k) ek_store(y + k * EK_W, join ? ek_add(ek_load(y + k * EK_W), a##k) : a##k);

/* Runs of RUN inputs each, or all inputs as one. A run starts at c, or at null (zero) to `join` the total in y. */
#define EK_F32_RUNS(NAME, V, RUN) \
    EK_INLINE void ek_dense_##NAME(float *y, const float *c, const float *w, const float *x, uint32_t first, \
                                   uint32_t n, uint32_t width) { \
        uint32_t at = 0; \
        x += first; \
        if (n <= EK_LONG) { \
            ek_run_##NAME(y, c, w, x, n, width, 0); \
            return; \
        } \
        EK_REP##V(EK_F32_BEGIN) \
        for (; at + RUN <= n; at += RUN) ek_run_##NAME(y, 0, w + at * width, x + at, RUN, width, 1); \
        if (at < n) ek_run_##NAME(y, 0, w + at * width, x + at, n - at, width, 1); \
    }

/* BLOCK of the `width` outputs of a panel */
#define EK_F32_BLOCK(BLOCK, V) \
    EK_INLINE void ek_run_f32_##BLOCK(float *y, const float *c, const float *w, const float *x, uint32_t n, \
                                      uint32_t width, int join) { \
        uint32_t i = 0; \
        EK_REP##V(EK_F32_SUM) \
        for (; i + 4u <= n; i += 4u, w += 4u * width) { \
            const ek4 four = ek_load4(x + i); \
            EK_REP##V(EK_F32_ROW0) EK_REP##V(EK_F32_ROW1) EK_REP##V(EK_F32_ROW2) EK_REP##V(EK_F32_ROW3) \
        } \
        for (; i < n; ++i, w += width) { \
            const ekf v = ek_set(x[i]); \
            EK_REP##V(EK_F32_MULTIPLY) \
        } \
        EK_REP##V(EK_F32_JOIN) \
    } \
    EK_F32_RUNS(f32_##BLOCK, V, EK_RUN_INPUTS) \
    EK_INLINE void ek_masked_f32_##BLOCK(float *y, const float *c, const float *w, const uint32_t *x, \
                                         uint32_t first, uint32_t n, uint32_t width) { \
        uint32_t i; \
        EK_REP##V(EK_F32_START) \
        EK_UNROLL4 for (i = 0; i < n; ++i, w += width) { \
            const ekf v = ek_set((float)ek_bit(x, first + i)); \
            EK_REP##V(EK_F32_MULTIPLY) \
        } \
        EK_REP##V(EK_F32_FINISH) \
    } \
    EK_INLINE void ek_event_f32_##BLOCK(float *y, const float *c, const float *w, const uint16_t *x, uint32_t first, \
                                        uint32_t n, uint32_t width) { \
        uint32_t e; \
        EK_REP##V(EK_F32_START) \
        for (e = first; e < first + n; ++e) { \
            const float *row = w + (uint32_t)x[e] * width; \
            EK_REP##V(EK_F32_ADD) \
        } \
        EK_REP##V(EK_F32_FINISH) \
    }

#define EK_BLOCK (EK_SUMS * EK_W) /* outputs of the largest block: 64 or 32 */
#if EK_W == 16
#define EK_F32_HALVES(DO) DO(16, 1) DO(32, 2)
#define EK_F32_BLOCKS(DO) EK_F32_HALVES(DO) DO(48, 3) DO(64, 4)
#elif EK_W == 8
#define EK_F32_HALVES(DO) DO(8, 1) DO(16, 2) DO(24, 3) DO(32, 4)
#define EK_F32_BLOCKS(DO) EK_F32_HALVES(DO) DO(40, 5) DO(48, 6) DO(56, 7) DO(64, 8)
#else
#define EK_F32_HALVES(DO) DO(8, 2) DO(16, 4) DO(24, 6) DO(32, 8)
#if EK_SUMS == 8
#define EK_F32_BLOCKS(DO) EK_F32_HALVES(DO)
#else
#define EK_F32_BLOCKS(DO) EK_F32_HALVES(DO) DO(40, 10) DO(48, 12) DO(56, 14) DO(64, 16)
#endif
#endif
EK_F32_BLOCKS(EK_F32_BLOCK)

/* A dense panel of one or two vectors would wait for each sum: four sums per output run side by side. */
#define EK_NARROW_START(k) \
    EK_F32_SUM(k) \
    ekf b##k = ek_set(0.0f), d##k = b##k, e##k = b##k;
#define EK_NARROW_MULTIPLY(k) \
    a##k = ek_fma(ek_load(w + k * EK_W), ek_set(x[i]), a##k); \
    b##k = ek_fma(ek_load(w + width + k * EK_W), ek_set(x[i + 1u]), b##k); \
    d##k = ek_fma(ek_load(w + 2u * width + k * EK_W), ek_set(x[i + 2u]), d##k); \
    e##k = ek_fma(ek_load(w + 3u * width + k * EK_W), ek_set(x[i + 3u]), e##k);
#define EK_NARROW_REST(k) a##k = ek_fma(ek_load(w + k * EK_W), ek_set(x[i]), a##k);
#define EK_NARROW_JOIN(k) \
    a##k = ek_add(ek_add(a##k, b##k), ek_add(d##k, e##k)); \
    EK_F32_JOIN(k)
#define EK_NARROW(V) \
    EK_INLINE void ek_run_narrow_f32_##V(float *y, const float *c, const float *w, const float *x, uint32_t n, \
                                         uint32_t width, int join) { \
        uint32_t i = 0; \
        EK_REP##V(EK_NARROW_START) \
        for (; i + 4u <= n; i += 4u, w += 4u * width) { EK_REP##V(EK_NARROW_MULTIPLY) } \
        for (; i < n; ++i, w += width) { EK_REP##V(EK_NARROW_REST) } \
        EK_REP##V(EK_NARROW_JOIN) \
    } \
    EK_F32_RUNS(narrow_f32_##V, V, 4u * EK_RUN_INPUTS)
EK_NARROW(1)
EK_NARROW(2)

/* `width` is a literal of the call: no loop and no switch is left. */
#if EK_BLOCK == 32
#define EK_F32_WHOLE(FORM) \
    for (; width - o > 32u; o += 32u) ek_##FORM##_f32_32(y + o, c ? c + o : 0, w + o, x, first, n, width);
#else
#define EK_F32_WHOLE(FORM)
#endif
#define EK_F32_PANEL(FORM, X) \
    EK_INLINE void ek_##FORM##_f32(float *y, const float *c, const float *w, const X *x, uint32_t first, uint32_t n, \
                                   uint32_t width) { \
        uint32_t o = 0; \
        EK_F32_WHOLE(FORM) \
        switch (width - o) { EK_F32_BLOCKS(EK_F32_CASE_##FORM) } \
    }
#define EK_F32_CASE(FUNCTION) FUNCTION(y + o, c ? c + o : 0, w + o, x, first, n, width)
#define EK_F32_CASE_dense(BLOCK, V) \
    case BLOCK: \
        if (V == 1) EK_F32_CASE(ek_dense_narrow_f32_1); \
        else if (V == 2) EK_F32_CASE(ek_dense_narrow_f32_2); \
        else EK_F32_CASE(ek_dense_f32_##BLOCK); \
        break;
#define EK_F32_CASE_masked(BLOCK, V) case BLOCK: EK_F32_CASE(ek_masked_f32_##BLOCK); break;
#define EK_F32_CASE_event(BLOCK, V) case BLOCK: EK_F32_CASE(ek_event_f32_##BLOCK); break;
EK_F32_PANEL(dense, float)
EK_F32_PANEL(masked, uint32_t)
EK_F32_PANEL(event, uint16_t)

/* A linear recurrence s' = W s + c never forgets what rounding did to it: its sums are compensated (Kahan), in halves
 * of a panel. What is lost when four inputs join the total a is the r that the next four start from.
 */
#define EK_F32_REST(k) ekf r##k = ek_set(0.0f);
#define EK_F32_REST_ROW0(k) r##k = EK_FMA_LANE(ek_load(w + k * EK_W), four, 0, r##k);
#define EK_F32_REST_ROW1(k) r##k = EK_FMA_LANE(ek_load(w + width + k * EK_W), four, 1, r##k);
#define EK_F32_REST_ROW2(k) r##k = EK_FMA_LANE(ek_load(w + 2u * width + k * EK_W), four, 2, r##k);
#define EK_F32_REST_ROW3(k) r##k = EK_FMA_LANE(ek_load(w + 3u * width + k * EK_W), four, 3, r##k);
#define EK_F32_REST_MULTIPLY(k) r##k = ek_fma(ek_load(w + k * EK_W), v, r##k);
#define EK_F32_REST_JOIN(k) \
    { \
        const ekf total = ek_add(a##k, r##k); \
        r##k = ek_sub(r##k, ek_sub(total, a##k)); \
        a##k = total; \
    }
#define EK_F32_REST_FINISH(k) ek_store(y + k * EK_W, ek_add(a##k, r##k));
#define EK_F32_COMPENSATED(BLOCK, V) \
    EK_INLINE void ek_compensated_f32_##BLOCK(float *y, const float *c, const float *w, const float *x, uint32_t n, \
                                              uint32_t width) { \
        uint32_t i = 0; \
        EK_REP##V(EK_F32_SUM) EK_REP##V(EK_F32_REST) \
        for (; i + 4u <= n; i += 4u, w += 4u * width) { \
            const ek4 four = ek_load4(x + i); \
            EK_REP##V(EK_F32_REST_ROW0) EK_REP##V(EK_F32_REST_ROW1) \
            EK_REP##V(EK_F32_REST_ROW2) EK_REP##V(EK_F32_REST_ROW3) \
            EK_REP##V(EK_F32_REST_JOIN) \
        } \
        for (; i < n; ++i, w += width) { \
            const ekf v = ek_set(x[i]); \
            EK_REP##V(EK_F32_REST_MULTIPLY) \
        } \
        EK_REP##V(EK_F32_REST_FINISH) \
    }
EK_F32_HALVES(EK_F32_COMPENSATED)

#define EK_F32_CASE_compensated(BLOCK, V) \
    case BLOCK: ek_compensated_f32_##BLOCK(y + o, c ? c + o : 0, w + o, x, n, width); break;
EK_INLINE void ek_compensated_f32(float *y, const float *c, const float *w, const float *x, uint32_t first, uint32_t n,
                                  uint32_t width) {
    uint32_t o = 0;
    for (x += first; width - o > 32u; o += 32u) ek_compensated_f32_32(y + o, c ? c + o : 0, w + o, x, n, width);
    switch (width - o) { EK_F32_HALVES(EK_F32_CASE_compensated) }
}

/* --- one int8 panel: bare sums, scaled once afterwards ------------------------------------------------------------ */

#define EK_I16_ROWS 256u /* rows summed in int16: 256 * -128 just fits; across such blocks in float32, still exact */

#define EK_I8_START(k) ekf a##k = ek_set(0.0f);
#define EK_I8_VECTOR(row, k) ek_load_i8(row + 16 * (k / (16 / EK_W)), k % (16 / EK_W))
#define EK_I8_ROW0(k) a##k = EK_FMA_LANE(EK_I8_VECTOR(w, k), four, 0, a##k);
#define EK_I8_ROW1(k) a##k = EK_FMA_LANE(EK_I8_VECTOR(w + width, k), four, 1, a##k);
#define EK_I8_ROW2(k) a##k = EK_FMA_LANE(EK_I8_VECTOR(w + 2u * width, k), four, 2, a##k);
#define EK_I8_ROW3(k) a##k = EK_FMA_LANE(EK_I8_VECTOR(w + 3u * width, k), four, 3, a##k);
#define EK_I8_MULTIPLY(k) a##k = ek_fma(EK_I8_VECTOR(w, k), v, a##k);
#define EK_I8_FINISH(k) ek_store(sum + k * EK_W, a##k);
#define EK_I8_JOIN(k) ek_store(sum + k * EK_W, join ? ek_add(ek_load(sum + k * EK_W), a##k) : a##k);
#define EK_I16_START(k) eki a##k = ek_i16_zero();
#define EK_I16_ADD(k) a##k = ek_i16_add_i8(a##k, row + k * EK_WI);
#define EK_I16_FINISH(k) ek_i16_carry(sum + k * EK_WI, a##k, carry);

/* sum = (sum +) int16 accumulators */
EK_INLINE void ek_i16_carry(float *sum, eki a, int carry) {
    const ekf low = ek_i16_float(a, 0);
    ek_store(sum, carry ? ek_add(ek_load(sum), low) : low);
    if (EK_WI > EK_W) {
        const ekf high = ek_i16_float(a, EK_WI / EK_W - 1);
        sum += EK_WI - EK_W;
        ek_store(sum, carry ? ek_add(ek_load(sum), high) : high);
    }
}

/* BLOCK of the `width` outputs of a panel, in V vectors */
#define EK_I8_BLOCK(BLOCK, V) \
    EK_INLINE void ek_run_i8_block##BLOCK(float *sum, const int8_t *w, const float *x, uint32_t n, uint32_t width, \
                                          int join) { \
        uint32_t i = 0; \
        EK_REP##V(EK_I8_START) \
        for (; i + 4u <= n; i += 4u, w += 4u * width) { \
            const ek4 four = ek_load4(x + i); \
            EK_REP##V(EK_I8_ROW0) EK_REP##V(EK_I8_ROW1) EK_REP##V(EK_I8_ROW2) EK_REP##V(EK_I8_ROW3) \
        } \
        for (; i < n; ++i, w += width) { \
            const ekf v = ek_set(x[i]); \
            EK_REP##V(EK_I8_MULTIPLY) \
        } \
        EK_REP##V(EK_I8_JOIN) \
    } \
    EK_INLINE void ek_dense_i8_block##BLOCK(float *sum, const int8_t *w, const float *x, uint32_t first, \
                                            uint32_t n, uint32_t width) { \
        const uint32_t run = n <= EK_LONG ? n : EK_RUN_INPUTS; \
        uint32_t at = run; \
        x += first; \
        ek_run_i8_block##BLOCK(sum, w, x, run, width, 0); \
        for (; at + run <= n; at += run) ek_run_i8_block##BLOCK(sum, w + at * width, x + at, run, width, 1); \
        if (at < n) ek_run_i8_block##BLOCK(sum, w + at * width, x + at, n - at, width, 1); \
    } \
    EK_INLINE void ek_masked_i8_block##BLOCK(float *sum, const int8_t *w, const uint32_t *x, uint32_t first, \
                                             uint32_t n, uint32_t width) { \
        uint32_t i; \
        EK_REP##V(EK_I8_START) \
        for (i = 0; i < n; ++i, w += width) { \
            const ekf v = ek_set((float)ek_bit(x, first + i)); \
            EK_REP##V(EK_I8_MULTIPLY) \
        } \
        EK_REP##V(EK_I8_FINISH) \
    }
#if EK_W == 16
EK_I8_BLOCK(16, 1) EK_I8_BLOCK(32, 2) EK_I8_BLOCK(64, 4)
#elif EK_W == 8
EK_I8_BLOCK(16, 2) EK_I8_BLOCK(32, 4) EK_I8_BLOCK(64, 8)
#else
EK_I8_BLOCK(16, 4) EK_I8_BLOCK(32, 8) /* 16 sums leave too few registers to widen weights in */
#endif

#define EK_I8_BLOCKS(FORM, X) \
    EK_INLINE void ek_##FORM##_i8(float *sum, const int8_t *w, const X *x, uint32_t first, uint32_t n, \
                                  uint32_t width) { \
        uint32_t o = 0; \
        EK_I8_WHOLE(FORM) \
        for (; o + 32u <= width; o += 32u) ek_##FORM##_i8_block32(sum + o, w + o, x, first, n, width); \
        if (o < width) ek_##FORM##_i8_block16(sum + o, w + o, x, first, n, width); \
    }
#if EK_W > 4
#define EK_I8_WHOLE(FORM) if (width == 64u) { ek_##FORM##_i8_block64(sum, w, x, first, n, width); return; }
#else
#define EK_I8_WHOLE(FORM)
#endif
EK_I8_BLOCKS(dense, float)
EK_I8_BLOCKS(masked, uint32_t)

#if EK_WI == 16
#define EK_I8_WIDTHS(DO) DO(16, 1) DO(32, 2) DO(48, 3) DO(64, 4)
#else
#define EK_I8_WIDTHS(DO) DO(16, 2) DO(32, 4) DO(48, 6) DO(64, 8)
#endif
#define EK_I8_EVENTS(WIDTH, VI) \
    EK_INLINE void ek_rows_i8_##WIDTH(float *sum, const int8_t *w, const uint16_t *x, uint32_t n, int carry) { \
        uint32_t e; \
        EK_REP##VI(EK_I16_START) \
        for (e = 0; e < n; ++e) { \
            const int8_t *row = w + (uint32_t)x[e] * WIDTH; \
            EK_REP##VI(EK_I16_ADD) \
        } \
        EK_REP##VI(EK_I16_FINISH) \
    } \
    EK_INLINE void ek_event_i8_##WIDTH(float *sum, const int8_t *w, const uint16_t *x, uint32_t first, uint32_t n) { \
        uint32_t at = n < EK_I16_ROWS ? n : EK_I16_ROWS; \
        ek_rows_i8_##WIDTH(sum, w, x + first, at, 0); \
        for (; at < n; at += EK_I16_ROWS) \
            ek_rows_i8_##WIDTH(sum, w, x + first + at, n - at < EK_I16_ROWS ? n - at : EK_I16_ROWS, 1); \
    }

EK_I8_WIDTHS(EK_I8_EVENTS)

#define EK_I8_CASE(WIDTH, VI) case WIDTH: ek_event_i8_##WIDTH(sum, w, x, first, n); break;
EK_INLINE void ek_event_i8(float *sum, const int8_t *w, const uint16_t *x, uint32_t first, uint32_t n,
                           uint32_t width) {
    switch (width) { EK_I8_WIDTHS(EK_I8_CASE) }
}

/* y = c + scale * sum, to the end of the last vector, or of `width` exactly */
EK_INLINE void ek_scale_sums(float *y, const float *c, const float *scale, const float *sum, uint32_t width, int exact) {
    uint32_t k = 0;
    for (; k + (exact ? EK_W : 1) <= width; k += EK_W) {
        const ekf t = ek_mul(ek_load(sum + k), ek_load(scale + k));
        ek_store(y + k, c ? ek_add(ek_load(c + k), t) : t);
    }
    for (; k < width; ++k) y[k] = c ? c[k] + scale[k] * sum[k] : scale[k] * sum[k];
}

/* --- all panels --------------------------------------------------------------------------------------------------- */

/* `n` inputs, or n list entries; every panel of the packed weights has n_in rows. */
#define EK_LINEAR_F32(FORM, X) \
    EK_INLINE void ek_linear_##FORM##_f32(float *y, const float *c, const float *w, const X *x, uint32_t first, \
                                          uint32_t n, uint32_t n_in, uint32_t n_out, int exact) { \
        uint32_t o; \
        for (o = 0; o + EK_PANEL <= n_out; o += EK_PANEL) \
            ek_##FORM##_f32(y + o, c ? c + o : 0, w + o * n_in, x, first, n, EK_PANEL); \
        if (o < n_out) { \
            const uint32_t left = n_out - o, width = (left + EK_PAD - 1u) / EK_PAD * EK_PAD; \
            const int detour = exact && width != left; \
            float room[EK_PANEL], *to = detour ? room : y + o; \
            const float *from = !c ? 0 : detour ? room : c + o; \
            if (c && detour) ek_copy_f32(room, c + o, left); \
            ek_##FORM##_f32(to, from, w + o * n_in, x, first, n, width); \
            if (detour) ek_copy_f32(y + o, room, left); \
        } \
    }
#define EK_LINEAR_I8(FORM, X) \
    EK_INLINE void ek_linear_##FORM##_i8(float *y, const float *c, const int8_t *w, const float *scale, const X *x, \
                                         uint32_t first, uint32_t n, uint32_t n_in, uint32_t n_out, int exact) { \
        float sum[EK_PANEL]; \
        uint32_t o; \
        for (o = 0; o + EK_PANEL <= n_out; o += EK_PANEL) { \
            ek_##FORM##_i8(sum, w + o * n_in, x, first, n, EK_PANEL); \
            ek_scale_sums(y + o, c ? c + o : 0, scale + o, sum, EK_PANEL, 0); \
        } \
        if (o < n_out) { \
            w += o * n_in; \
            ek_##FORM##_i8(sum, w, x, first, n, (n_out - o + 15u) / 16u * 16u); \
            ek_scale_sums(y + o, c ? c + o : 0, scale + o, sum, n_out - o, exact); \
        } \
    }
EK_LINEAR_F32(dense, float)
EK_LINEAR_F32(compensated, float)
EK_LINEAR_F32(masked, uint32_t)
EK_LINEAR_F32(event, uint16_t)
EK_LINEAR_I8(dense, float)
EK_LINEAR_I8(masked, uint32_t)
EK_LINEAR_I8(event, uint16_t)

/* --- x[rows, n_in] through one W: y[rows, n_out] = c[rows or 1, n_out] + x W^T; c_step is 0 for one row of c -------- */

#define EK_ROWS_F32(FORM, X) \
    EK_INLINE void ek_rows_##FORM##_f32(float *y, const float *c, uint32_t c_step, const float *w, const X *x, \
                                        uint32_t rows, uint32_t n_in, uint32_t n_out) { \
        uint32_t r; \
        for (r = 0; r < rows; ++r) \
            ek_linear_##FORM##_f32(y + r * n_out, c ? c + r * c_step : 0, w, x, r * n_in, n_in, n_in, n_out, 1); \
    }
#define EK_ROWS_I8(FORM, X) \
    EK_INLINE void ek_rows_##FORM##_i8(float *y, const float *c, uint32_t c_step, const int8_t *w, \
                                       const float *scale, const X *x, uint32_t rows, uint32_t n_in, \
                                       uint32_t n_out) { \
        uint32_t r; \
        for (r = 0; r < rows; ++r) \
            ek_linear_##FORM##_i8(y + r * n_out, c ? c + r * c_step : 0, w, scale, x, r * n_in, n_in, n_in, n_out, 1); \
    }
EK_ROWS_F32(dense, float)
EK_ROWS_F32(compensated, float)
EK_ROWS_F32(masked, uint32_t)
EK_ROWS_I8(dense, float)
EK_ROWS_I8(masked, uint32_t)

EK_INLINE void ek_rows_event_f32(float *y, const float *c, uint32_t c_step, const float *w, const uint32_t *bits,
                                 uint16_t *list, uint32_t rows, uint32_t n_in, uint32_t n_out) {
    uint32_t r;
    for (r = 0; r < rows; ++r) {
        const uint32_t n = ek_events(list, bits, r * n_in, n_in);
        ek_linear_event_f32(y + r * n_out, c ? c + r * c_step : 0, w, list, 0, n, n_in, n_out, 1);
    }
}
EK_INLINE void ek_rows_event_i8(float *y, const float *c, uint32_t c_step, const int8_t *w, const float *scale,
                                const uint32_t *bits, uint16_t *list, uint32_t rows, uint32_t n_in, uint32_t n_out) {
    uint32_t r;
    for (r = 0; r < rows; ++r) {
        const uint32_t n = ek_events(list, bits, r * n_in, n_in);
        ek_linear_event_i8(y + r * n_out, c ? c + r * c_step : 0, w, scale, list, 0, n, n_in, n_out, 1);
    }
}

/* --- plastic weights: W[out, in] is a value of the program, row-major; one dot product per output ------------------- */

EK_INLINE void ek_plastic_dense_f32(float *y, const float *c, uint32_t c_step, const float *w, const float *x,
                                    uint32_t rows, uint32_t n_in, uint32_t n_out) {
    const uint32_t whole = n_in / EK_W * EK_W, run = EK_RUN_INPUTS * EK_W;
    uint32_t r, o, i, end;
    for (r = 0; r < rows; ++r, x += n_in, y += n_out)
        for (o = 0; o < n_out; ++o) {
            const float *row = w + o * n_in;
            ekf total = ek_set(0.0f);
            float sum;
            for (i = 0; i < whole;) {
                ekf sums = ek_set(0.0f);
                for (end = whole - i < run ? whole : i + run; i < end; i += EK_W)
                    sums = ek_fma(ek_load(row + i), ek_load(x + i), sums);
                total = ek_add(total, sums);
            }
            sum = ek_sum(total);
            for (; i < n_in; ++i) sum += row[i] * x[i];
            y[o] = c ? sum + c[r * c_step + o] : sum;
        }
}
EK_INLINE void ek_plastic_event_f32(float *y, const float *c, uint32_t c_step, const float *w, const uint32_t *bits,
                                    uint16_t *list, uint32_t rows, uint32_t n_in, uint32_t n_out) {
    uint32_t r, o, e;
    for (r = 0; r < rows; ++r, y += n_out) {
        const uint32_t n = ek_events(list, bits, r * n_in, n_in);
        for (o = 0; o < n_out; ++o) {
            float sum = 0.0f;
            for (e = 0; e < n; ++e) sum += w[o * n_in + list[e]];
            y[o] = c ? sum + c[r * c_step + o] : sum;
        }
    }
}

#endif
