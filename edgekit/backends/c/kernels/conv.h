/* y[o, place] = bias[o] + sum over r of w[o, r] · x[base(place) + taps[r]], r over the channels of a group and its taps.
 *
 * No copy of x is made: `taps` holds where the inputs of a place lie, from the first one on. Three forms:
 *   dense  x is float32: EK_TILE vectors of outputs times four places are summed in registers, so that a weight loaded
 *          once serves four places. Weights are packed in panels as those of a linear are (linear.h), group by group.
 *   wide   the same for groups of few outputs, down to one (depthwise): a vector holds neighbouring places. Weights are
 *          row-major [o][r].
 *   event  x is spikes: for each place a list of the inputs that fired, whose rows of the panels are added; `list` has
 *          room for those of four places
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

/* y = bias + scale · sum for `count` outputs at `places` neighbouring places. Outputs are `step` apart in y; the sum of
 * output o at place p is sum[o / EK_W * by_vector + p * by_place + o % EK_W].
 */
EK_INLINE void ek_tile_finish(float *y, uint32_t step, const float *sum, uint32_t by_vector, uint32_t by_place,
                              const float *bias, const float *scale, uint32_t count, uint32_t places) {
    uint32_t o, p;
    for (o = 0; places == EK_TOGETHER && o + EK_W <= count; o += EK_W, sum += by_vector) {
        const ekf factor = scale ? ek_load(scale + o) : ek_set(1.0f), c = bias ? ek_load(bias + o) : ek_set(0.0f);
        ekf v[EK_TOGETHER];
        for (p = 0; p < EK_TOGETHER; ++p) {
            v[p] = ek_load(sum + p * by_place);
            if (scale) v[p] = ek_mul(v[p], factor);
            if (bias) v[p] = ek_add(v[p], c);
        }
        ek_store_across(y + o * step, step, v[0], v[1], v[2], v[3]);
    }
    for (; o < count; ++o) {
        const float factor = scale ? scale[o] : 1.0f, c = bias ? bias[o] : 0.0f;
        for (p = 0; p < places; ++p) y[o * step + p] = sum[p * by_place + o % EK_W] * factor + c;
        if (o % EK_W == EK_W - 1u) sum += by_vector;
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
                    ek_tile_finish(y + o * all + p, all, sum, EK_TOGETHER * EK_W, EK_W, bias ? bias + first : 0, \
                                   scale ? scale + first : 0, count, places); \
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

/* Neighbouring places of one row share their look at x: `seen` gets the bits that all of them see of each run of taps,
 * from which each place then takes its own. `list` gets the inputs of a place that fired, by the rows of the weights.
 */
#define EK_CONV_LISTS(NAME, TAP) \
    EK_INLINE uint32_t ek_conv_look_##NAME(uint32_t *seen, const uint32_t *bits, uint32_t first, uint32_t n, \
                                           const TAP *taps, const ek_conv *s) { \
        uint32_t r, any = 0; \
        for (r = 0; r < s->n_in; r += s->run, ++seen) { \
            *seen = ek_bits(bits, first + taps[r], n); \
            any |= *seen; \
        } \
        return any; \
    }
EK_CONV_LISTS(near, uint16_t)
EK_CONV_LISTS(far, uint32_t)

EK_INLINE uint32_t ek_conv_list(uint16_t *list, const uint32_t *seen, uint32_t shift, const ek_conv *s) {
    const uint32_t mask = s->run < 32u ? (1u << s->run) - 1u : 0xffffffffu;
    uint32_t count = 0, r;
    for (r = 0; r < s->n_in; r += s->run) {
        uint32_t word = *seen++ >> shift & mask;
        while (word) {
            list[count++] = (uint16_t)(r + ek_lowest_bit(word));
            word &= word - 1u;
        }
    }
    return count;
}

#define EK_CONV_EVENT(NAME, W, PAD, TAP, DISTANCE, PANEL) \
    EK_INLINE void ek_conv_event_##NAME(float *y, const float *bias, const W *weights, const float *scale, \
                                        const uint32_t *bits, const TAP *taps, uint32_t *seen, uint16_t *list, \
                                        const ek_conv *s) { \
        const uint32_t all = ek_all_places(s), step = s->step[2], rows = s->places[0] * s->places[1]; \
        const uint32_t most = step ? (32u - s->run) / step + 1u : 1u; /* places that see 32 bits together */ \
        const uint32_t at_once = most < EK_TOGETHER ? most : EK_TOGETHER; \
        uint32_t g, r, p, q, o; \
        for (g = 0; g < s->groups; ++g) { \
            const uint32_t outputs = g * s->n_out; \
            for (r = 0; r < rows; ++r) { \
                const uint32_t row = g * s->group_step + r / s->places[1] * s->step[0] + r % s->places[1] * s->step[1]; \
                for (p = 0; p < s->places[2]; p += at_once) { \
                    const uint32_t left = s->places[2] - p, places = left < at_once ? left : at_once; \
                    const uint32_t span = (places - 1u) * step + s->run, first = row + p * step; \
                    const uint32_t any = ek_conv_look_##DISTANCE(seen, bits, first, span, taps, s); \
                    float room[EK_TOGETHER * EK_PANEL]; \
                    uint32_t count[EK_TOGETHER], total = 0; \
                    for (q = 0; q < places; ++q) { \
                        count[q] = any ? ek_conv_list(list + total, seen, q * step, s) : 0u; \
                        total += count[q]; \
                    } \
                    for (o = 0; o < s->n_out; o += EK_PANEL) { \
                        const uint32_t rest = s->n_out - o, width_of = rest < EK_PANEL ? rest : EK_PANEL; \
                        const uint32_t width = (width_of + PAD - 1u) / PAD * PAD, at = outputs + o; \
                        const uint16_t *fired = list; \
                        for (q = 0; q < places; ++q) { \
                            PANEL(room + q * EK_PANEL, weights + o * s->n_in, fired, count[q], width); \
                            fired += count[q]; \
                        } \
                        ek_tile_finish(y + at * all + r * s->places[2] + p, all, room, EK_W, EK_PANEL, \
                                       bias ? bias + at : 0, scale ? scale + at : 0, width_of, places); \
                    } \
                } \
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
