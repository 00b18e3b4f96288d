/* y[o, place] = bias[o] + sum over r of w[o, r] · x[base(place) + taps[r]], r over the channels of a group and its taps.
 *
 * No copy of x is made: `taps` holds where the inputs of a place lie, from the first one on. Three forms:
 *   dense  x is float32: EK_TILE vectors of outputs times four places are summed in registers, so that a weight loaded
 *          once serves four places. Weights are packed in panels as those of a linear are (linear.h), group by group.
 *   wide   the same for groups of few outputs, down to one (depthwise): a vector holds neighbouring places. Weights are
 *          row-major [o][r].
 *   event  x is spikes: for each place a list of the inputs that fired, whose rows of the panels are added
 * Sums over more than EK_LONG inputs are cut into runs, as those of a linear are. bias and scale may be null.
 */
#ifndef EK_CONV_H
#define EK_CONV_H

#include "linear.h"

#define EK_TOGETHER 4u /* places of a tile */

/* n_in and n_out of one group; where the next group begins in x; how many places there are along three axes, and how far
 * x moves from one to the next; how many taps in a row are neighbours in x (at most 32).
 */
typedef struct {
    uint32_t groups, n_in, n_out, group_step, places[3], step[3], run;
} ek_conv;

typedef struct { uint32_t at[3], base; } ek_spot;

EK_INLINE uint32_t ek_all_places(const ek_conv *s) { return s->places[0] * s->places[1] * s->places[2]; }

EK_INLINE void ek_first_place(ek_spot *p) { p->at[0] = p->at[1] = p->at[2] = p->base = 0; }
EK_INLINE void ek_next_place(const ek_conv *s, ek_spot *p) {
    p->base += s->step[2];
    if (++p->at[2] < s->places[2]) return;
    p->at[2] = 0;
    p->base += s->step[1] - s->places[2] * s->step[2];
    if (++p->at[1] < s->places[1]) return;
    p->at[1] = 0;
    p->base += s->step[0] - s->places[1] * s->step[1];
}

/* --- dense: V vectors of outputs, four places a, b, d, e ----------------------------------------------------------- */

#define EK_TILE_START(k) ekf a##k = ek_set(0.0f), b##k = a##k, d##k = a##k, e##k = a##k;
#define EK_TILE_FMA(k, weights) \
    { \
        const ekf v = weights; \
        a##k = ek_fma(v, x0, a##k); \
        b##k = ek_fma(v, x1, b##k); \
        d##k = ek_fma(v, x2, d##k); \
        e##k = ek_fma(v, x3, e##k); \
    }
#define EK_TILE_F32(k) EK_TILE_FMA(k, ek_load(w + k * EK_W))
#define EK_TILE_I8(k) EK_TILE_FMA(k, EK_I8_VECTOR(w, k))
#define EK_TILE_PUT(at, v) ek_store(sum + (at) * EK_W, join ? ek_add(ek_load(sum + (at) * EK_W), v) : v);
#define EK_TILE_JOIN(k) \
    EK_TILE_PUT(4 * k, a##k) EK_TILE_PUT(4 * k + 1, b##k) EK_TILE_PUT(4 * k + 2, d##k) EK_TILE_PUT(4 * k + 3, e##k)
#define EK_TILE_RUN(NAME, V, W, TAP, MULTIPLY) \
    EK_INLINE void ek_tile_##NAME##_##V(float *sum, const W *w, const float *const *x, const TAP *taps, uint32_t n, \
                                        uint32_t width, int join) { \
        const float *const p0 = x[0], *const p1 = x[1], *const p2 = x[2], *const p3 = x[3]; \
        uint32_t i; \
        EK_REP##V(EK_TILE_START) \
        for (i = 0; i < n; ++i, w += width) { \
            const uint32_t t = taps[i]; \
            const ekf x0 = ek_set(p0[t]), x1 = ek_set(p1[t]), x2 = ek_set(p2[t]), x3 = ek_set(p3[t]); \
            EK_REP##V(MULTIPLY) \
        } \
        EK_REP##V(EK_TILE_JOIN) \
    }

/* one block of EK_TILE vectors of outputs, or the last one of fewer */
#define EK_TILE_CASE(NAME, V) \
    case V: ek_tile_##NAME##_##V(sum, w + at * width, x, taps + at, take, width, at != 0u); break;
#if EK_TILE == 4
#define EK_TILE_RUNS(NAME, W, TAP, MULTIPLY) \
    EK_TILE_RUN(NAME, 1, W, TAP, MULTIPLY) EK_TILE_RUN(NAME, 2, W, TAP, MULTIPLY) \
    EK_TILE_RUN(NAME, 3, W, TAP, MULTIPLY) EK_TILE_RUN(NAME, 4, W, TAP, MULTIPLY)
#define EK_TILE_CASES(NAME) EK_TILE_CASE(NAME, 1) EK_TILE_CASE(NAME, 2) EK_TILE_CASE(NAME, 3) EK_TILE_CASE(NAME, 4)
#elif EK_TILE == 2
#define EK_TILE_RUNS(NAME, W, TAP, MULTIPLY) EK_TILE_RUN(NAME, 1, W, TAP, MULTIPLY) EK_TILE_RUN(NAME, 2, W, TAP, MULTIPLY)
#define EK_TILE_CASES(NAME) EK_TILE_CASE(NAME, 1) EK_TILE_CASE(NAME, 2)
#else
#define EK_TILE_RUNS(NAME, W, TAP, MULTIPLY) EK_TILE_RUN(NAME, 1, W, TAP, MULTIPLY)
#define EK_TILE_CASES(NAME) EK_TILE_CASE(NAME, 1)
#endif

/* y = bias + scale · sum for `count` outputs at `places` neighbouring places; outputs are `step` apart in y */
EK_INLINE void ek_tile_finish(float *y, uint32_t step, const float *sum, const float *bias, const float *scale,
                              uint32_t count, uint32_t places) {
    uint32_t o, p;
    for (o = 0; places == EK_TOGETHER && o + EK_W <= count; o += EK_W, sum += EK_TOGETHER * EK_W) {
        const ekf factor = scale ? ek_load(scale + o) : ek_set(1.0f), c = bias ? ek_load(bias + o) : ek_set(0.0f);
        ekf v[EK_TOGETHER];
        for (p = 0; p < EK_TOGETHER; ++p) {
            v[p] = ek_load(sum + p * EK_W);
            if (scale) v[p] = ek_mul(v[p], factor);
            if (bias) v[p] = ek_add(v[p], c);
        }
        ek_store_across(y + o * step, step, v[0], v[1], v[2], v[3]);
    }
    for (; o < count; ++o) {
        const float factor = scale ? scale[o] : 1.0f, c = bias ? bias[o] : 0.0f;
        for (p = 0; p < places; ++p) y[o * step + p] = sum[p * EK_W + o % EK_W] * factor + c;
        if (o % EK_W == EK_W - 1u) sum += EK_TOGETHER * EK_W;
    }
}

#define EK_CONV_DENSE(NAME, W, PAD, TAP, MULTIPLY) \
    EK_TILE_RUNS(NAME, W, TAP, MULTIPLY) \
    EK_INLINE void ek_conv_dense_##NAME(float *y, const float *bias, const W *weights, const float *scale, \
                                        const float *from, const TAP *taps, const ek_conv *s) { \
        const uint32_t all = ek_all_places(s), block = EK_TILE * EK_W; \
        const uint32_t run = s->n_in <= EK_LONG ? s->n_in : EK_RUN_INPUTS; \
        uint32_t g, o; \
        for (g = 0; g < s->groups; ++g) { \
            for (o = 0; o < s->n_out; o += block) { \
                const uint32_t left = s->n_out - o, count = left < block ? left : block, panel = o % EK_PANEL; \
                const uint32_t of_panel = s->n_out - (o - panel) < EK_PANEL ? s->n_out - (o - panel) : EK_PANEL; \
                const uint32_t width = (of_panel + PAD - 1u) / PAD * PAD, first = g * s->n_out + o; \
                const W *w = weights + (o - panel) * s->n_in + panel; \
                ek_spot place; \
                uint32_t p, at; \
                ek_first_place(&place); \
                for (p = 0; p < all; p += EK_TOGETHER) { \
                    const uint32_t places = all - p < EK_TOGETHER ? all - p : EK_TOGETHER; \
                    const float *x[EK_TOGETHER]; \
                    float sum[EK_TOGETHER * EK_TILE * EK_W]; \
                    for (at = 0; at < EK_TOGETHER; ++at) { \
                        x[at] = from + place.base; /* of the last place again where there are no four */ \
                        if (p + at + 1u < all) ek_next_place(s, &place); \
                    } \
                    for (at = 0; at < s->n_in; at += run) { \
                        const uint32_t take = s->n_in - at < run ? s->n_in - at : run; \
                        switch ((count + EK_W - 1u) / EK_W) { EK_TILE_CASES(NAME) } \
                    } \
                    ek_tile_finish(y + o * all + p, all, sum, bias ? bias + first : 0, scale ? scale + first : 0, \
                                   count, places); \
                } \
            } \
            weights += (s->n_out / EK_PANEL * EK_PANEL + (s->n_out % EK_PANEL + PAD - 1u) / PAD * PAD) * s->n_in; \
            from += s->group_step; \
            y += s->n_out * all; \
        } \
    }
EK_CONV_DENSE(f32, float, EK_PAD, uint16_t, EK_TILE_F32)
EK_CONV_DENSE(f32_far, float, EK_PAD, uint32_t, EK_TILE_F32)
EK_CONV_DENSE(i8, int8_t, 16u, uint16_t, EK_TILE_I8)
EK_CONV_DENSE(i8_far, int8_t, 16u, uint32_t, EK_TILE_I8)

/* --- wide: one output, V vectors of neighbouring places, or one place ---------------------------------------------- */

#define EK_WIDE_START(k) ekf total##k = ek_set(0.0f);
#define EK_WIDE_BEGIN(k) ekf a##k = ek_set(0.0f);
#define EK_WIDE_MULTIPLY(k) a##k = ek_fma(v, ek_load(p + k * EK_W), a##k);
#define EK_WIDE_JOIN(k) total##k = ek_add(total##k, a##k);
#define EK_WIDE_FINISH(k) ek_store(y + k * EK_W, ek_add(ek_mul(total##k, ek_set(scale)), ek_set(bias)));
#define EK_WIDE_BLOCK(NAME, V, W, TAP) \
    EK_INLINE void ek_wide_##NAME##_##V(float *y, float bias, const W *w, float scale, const float *x, \
                                        const TAP *taps, uint32_t n, uint32_t run) { \
        uint32_t i = 0, end; \
        EK_REP##V(EK_WIDE_START) \
        while (i < n) { \
            EK_REP##V(EK_WIDE_BEGIN) \
            for (end = n - i < run ? n : i + run; i < end; ++i) { \
                const float *p = x + taps[i]; \
                const ekf v = ek_set((float)w[i]); \
                EK_REP##V(EK_WIDE_MULTIPLY) \
            } \
            EK_REP##V(EK_WIDE_JOIN) \
        } \
        EK_REP##V(EK_WIDE_FINISH) \
    }
#define EK_CONV_WIDE(NAME, W, TAP) \
    EK_WIDE_BLOCK(NAME, 1, W, TAP) \
    EK_WIDE_BLOCK(NAME, 4, W, TAP) \
    EK_INLINE void ek_conv_wide_##NAME(float *y, const float *bias, const W *w, const float *scale, const float *from, \
                                       const TAP *taps, const ek_conv *s) { \
        const uint32_t rows = s->places[0] * s->places[1], n = s->places[2], outputs = s->groups * s->n_out; \
        const uint32_t run = s->n_in <= EK_LONG ? s->n_in : EK_RUN_INPUTS; \
        uint32_t o, r, i; \
        for (o = 0; o < outputs; ++o, w += s->n_in) { \
            const float c = bias ? bias[o] : 0.0f, factor = scale ? scale[o] : 1.0f; \
            const float *group = from + o / s->n_out * s->group_step; \
            for (r = 0; r < rows; ++r, y += n) { \
                const float *x = group + r / s->places[1] * s->step[0] + r % s->places[1] * s->step[1]; \
                uint32_t p = 0; \
                if (s->step[2] == 1u) { \
                    for (; p + 4u * EK_W <= n; p += 4u * EK_W) \
                        ek_wide_##NAME##_4(y + p, c, w, factor, x + p, taps, s->n_in, run); \
                    for (; p + EK_W <= n; p += EK_W) \
                        ek_wide_##NAME##_1(y + p, c, w, factor, x + p, taps, s->n_in, run); \
                } \
                for (; p < n; ++p) { \
                    const float *one = x + p * s->step[2]; \
                    float total = 0.0f; \
                    for (i = 0; i < s->n_in;) { \
                        const uint32_t end = s->n_in - i < run ? s->n_in : i + run; \
                        float sum = 0.0f; \
                        for (; i < end; ++i) sum = ek_fma_one((float)w[i], one[taps[i]], sum); \
                        total += sum; \
                    } \
                    y[p] = total * factor + c; \
                } \
            } \
        } \
    }
EK_CONV_WIDE(f32, float, uint16_t)
EK_CONV_WIDE(f32_far, float, uint32_t)
EK_CONV_WIDE(i8, int8_t, uint16_t)
EK_CONV_WIDE(i8_far, int8_t, uint32_t)

/* --- event ----------------------------------------------------------------------------------------------------------- */

/* The inputs of one place that fired, numbered as the rows of the weights are; `first` is the bit of the place. */
#define EK_CONV_LIST(NAME, TAP) \
    EK_INLINE uint32_t ek_conv_list_##NAME(uint16_t *list, const uint32_t *bits, uint32_t first, const TAP *taps, \
                                           const ek_conv *s) { \
        uint32_t count = 0, r; \
        for (r = 0; r < s->n_in; r += s->run) { \
            uint32_t word = ek_bits(bits, first + taps[r], s->run); \
            while (word) { \
                list[count++] = (uint16_t)(r + ek_lowest_bit(word)); \
                word &= word - 1u; \
            } \
        } \
        return count; \
    }
EK_CONV_LIST(near, uint16_t)
EK_CONV_LIST(far, uint32_t)

#define EK_CONV_EVENT(NAME, W, PAD, TAP, DISTANCE, PANEL) \
    EK_INLINE void ek_conv_event_##NAME(float *y, const float *bias, const W *weights, const float *scale, \
                                        const uint32_t *bits, const TAP *taps, uint16_t *list, const ek_conv *s) { \
        const uint32_t all = ek_all_places(s); \
        uint32_t g, p, o, j; \
        for (g = 0; g < s->groups; ++g) { \
            const uint32_t first = g * s->n_out; \
            ek_spot place; \
            ek_first_place(&place); \
            for (p = 0; p < all; ++p) { \
                const uint32_t at = g * s->group_step + place.base; \
                const uint32_t n = ek_conv_list_##DISTANCE(list, bits, at, taps, s); \
                for (o = 0; o < s->n_out; o += EK_PANEL) { \
                    const uint32_t left = s->n_out - o, count = left < EK_PANEL ? left : EK_PANEL; \
                    const uint32_t width = (count + PAD - 1u) / PAD * PAD; \
                    float *to = y + (first + o) * all + p, room[EK_PANEL]; \
                    PANEL(room, weights + o * s->n_in, list, n, width); \
                    for (j = 0; j < count; ++j) \
                        to[j * all] = room[j] * (scale ? scale[first + o + j] : 1.0f) + (bias ? bias[first + o + j] : 0.0f); \
                } \
                ek_next_place(s, &place); \
            } \
            weights += (s->n_out / EK_PANEL * EK_PANEL + (s->n_out % EK_PANEL + PAD - 1u) / PAD * PAD) * s->n_in; \
        } \
    }
#define EK_CONV_EVENTS_F32(room, w, list, n, width) ek_event_f32(room, 0, w, list, 0, n, width)
#define EK_CONV_EVENTS_I8(room, w, list, n, width) ek_event_i8(room, w, list, 0, n, width)
EK_CONV_EVENT(f32, float, EK_PAD, uint16_t, near, EK_CONV_EVENTS_F32)
EK_CONV_EVENT(f32_far, float, EK_PAD, uint32_t, far, EK_CONV_EVENTS_F32)
EK_CONV_EVENT(i8, int8_t, 16u, uint16_t, near, EK_CONV_EVENTS_I8)
EK_CONV_EVENT(i8_far, int8_t, 16u, uint32_t, far, EK_CONV_EVENTS_I8)

#endif
