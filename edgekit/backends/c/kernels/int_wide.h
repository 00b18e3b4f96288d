/* Integer programs on A-class cores and x86, in whole registers: y = c + W x, and the verbs that fused ops are written
 * in, eight values at a time. Every ISA header under simd/ has the same verbs; plain C has them too, to test against.
 *
 *   ek_v8 ek_v16 ek_v32   eight values of int8, int16, int32; ek_vm, which of them are chosen; ek_bits, 32 of these
 *   ek_bb ek_hb ek_hh     sums of eight outputs over x of int8 (b) or int16 (h) and weights of int8 or int16
 *   ek_span               partial sums of one output over sixteen inputs at a time
 *   ek_e16 ek_e32         sums of sixteen outputs that rows of weights are added to
 *
 * Dense weights lie in blocks of 32 outputs (the last one 8, 16, 24 or 32, padded with zeros), each [groups][outputs]
 * with four bytes of an output in a group: four int8 weights or two of int16. `mild` says that no weight is -128.
 * `lift` is 128 times the sum of each output's int8 weights, for cores whose products want a `moved` x. Where x is
 * `rare`, mostly zero, four groups that are all zero are passed over, unless they are moved.
 * Event weights are rows [in][out] of whole sixteens.
 *
 * Buffers are padded to 32 elements: whole registers are read and written, except where x has several rows.
 */
#ifndef EK_INT_WIDE_H
#define EK_INT_WIDE_H

#include "int_core.h"

#if defined(__ARM_NEON) && !defined(EK_FORCE_PORTABLE)
#include "simd/int_neon.h"
#elif defined(__AVX2__) && !defined(EK_FORCE_PORTABLE)
#include "simd/int_avx2.h"
#else
#include "simd/int_portable.h"
#endif

EK_INLINE ek_vm ek_v8_ne(ek_v8 a, ek_v8 b) { return ek_vm_not(ek_v8_eq(a, b)); }
EK_INLINE ek_vm ek_v16_ne(ek_v16 a, ek_v16 b) { return ek_vm_not(ek_v16_eq(a, b)); }
EK_INLINE ek_vm ek_v32_ne(ek_v32 a, ek_v32 b) { return ek_vm_not(ek_v32_eq(a, b)); }
EK_INLINE ek_v32 ek_v32_of_8(ek_v8 x) { return ek_v32_of_16(ek_v16_of_8(x)); }
EK_INLINE ek_v8 ek_v8_of_32(ek_v32 x) { return ek_v8_of_16(ek_v16_of_32(x)); }
EK_INLINE ek_v8 ek_v8_of_spikes(ek_vm m) { return ek_v8_of_16(ek_v16_of_spikes(m)); }
EK_INLINE ek_v32 ek_v32_of_spikes(ek_vm m) { return ek_v32_of_16(ek_v16_of_spikes(m)); }

/* Bits of the elements that are there, when `left` of a group of 32 are. */
EK_INLINE uint32_t ek_there(uint32_t left) { return left >= 32u ? 0xffffffffu : (1u << left) - 1u; }

#define EK_AFTER(p, n) ((p) ? (p) + (n) : 0)

/* Who knows the numbers behind a pointer fetches each register of them from a place of its own, which costs more. */
#if defined(__GNUC__)
#define EK_UNKNOWN(p) __asm__("" : "+r"(p))
#else
#define EK_UNKNOWN(p) (void)0
#endif

/* --- dense -------------------------------------------------------------------------------------------------------- */

EK_INLINE ek_v32 ek_total_32(ek_v32 sum, const ek_i32 *c) { return c ? ek_v32_add(sum, ek_v32_load(c)) : sum; }
EK_INLINE ek_v16 ek_total_16(ek_v32 sum, const ek_i16 *c) {
    return c ? ek_v16_add(ek_v16_wrapped(sum), ek_v16_load(c)) : ek_v16_wrapped(sum);
}

/* Eight outputs, of which `there` are there; whole registers, unless `exact`. */
#define EK_WIDE_GIVE(B) \
    EK_INLINE void ek_give_sum_##B(ek_i##B *y, const ek_i##B *c, ek_v32 sum, uint32_t there, int exact) { \
        if (!exact || there >= 8u) { \
            ek_v##B##_store(y, ek_total_##B(sum, c)); \
        } else { \
            ek_i##B all[8]; \
            uint32_t i; \
            for (i = 0; i < 8u; ++i) all[i] = c && i < there ? c[i] : 0; \
            ek_v##B##_store(all, ek_total_##B(sum, all)); \
            for (i = 0; i < there; ++i) y[i] = all[i]; \
        } \
    }
EK_WIDE_GIVE(16)
EK_WIDE_GIVE(32)

/* whether 8, 16 or 32 bytes are all zero */
EK_INLINE int ek_nothing(const void *p, uint32_t bytes) {
    const char *at = (const char *)p;
    uint64_t all = 0, part;
    uint32_t i;
    for (i = 0; i < bytes; i += 8u) {
        __builtin_memcpy(&part, at + i, 8);
        all |= part;
    }
    return all == 0u;
}

#define EK_WIDE_TWO(K, groups, unit, on) \
    a0 = ek_##K##_two_##groups(a0, w + on, w + on + row, v, mild); \
    if (u > 1u) a1 = ek_##K##_two_##groups(a1, w + on + unit, w + on + row + unit, v, mild); \
    if (u > 2u) a2 = ek_##K##_two_##groups(a2, w + on + 2u * unit, w + on + row + 2u * unit, v, mild); \
    if (u > 3u) a3 = ek_##K##_two_##groups(a3, w + on + 3u * unit, w + on + row + 3u * unit, v, mild);
#define EK_WIDE_ONE(K, group, unit) \
    a0 = ek_##K##_one_##group(a0, w, v); \
    if (u > 1u) a1 = ek_##K##_one_##group(a1, w + unit, v); \
    if (u > 2u) a2 = ek_##K##_one_##group(a2, w + 2u * unit, v); \
    if (u > 3u) a3 = ek_##K##_one_##group(a3, w + 3u * unit, v);

#define EK_WIDE_RESULT(K, B, k) \
    if (u > k##u) { \
        const ek_v32 sum = ek_##K##_result(a##k, EK_AFTER(lift, 8u * k)); \
        ek_give_sum_##B(y + 8u * k, EK_AFTER(c, 8u * k), sum, n_out - 8u * k, exact); \
    }

/* `u` units of eight outputs of a block whose groups take `row` weights. K: the sums, L: how x is read, PER: inputs of
 * a group. */
#define EK_WIDE_PART(NAME, K, L, B, TX, TW, PER) \
    EK_INLINE void NAME##_part(ek_i##B *y, const ek_i##B *c, const ek_i32 *lift, const TW *w, const TX *x, \
                               uint32_t groups, uint32_t row, uint32_t u, uint32_t n_out, int mild, int rare, \
                               int exact) { \
        const uint32_t unit = 8u * PER; \
        ek_##K##_sum a0 = ek_##K##_zero(), a1 = a0, a2 = a0, a3 = a0; \
        uint32_t i; \
        for (i = 0; i + 4u <= groups; i += 4u, x += 4u * PER, w += 4u * row) { \
            const ek_##K##_x v = ek_##L##_load(x); \
            if (rare && !ek_##K##_moved && ek_nothing(x, 4u * PER * sizeof *x)) continue; \
            EK_WIDE_TWO(K, 01, unit, 0u) \
            EK_WIDE_TWO(K, 23, unit, 2u * row) \
        } \
        if (exact) { \
            for (; i < groups; ++i, x += PER, w += row) { \
                const ek_##K##_x v = ek_##L##_tail(x); \
                EK_WIDE_ONE(K, 0, unit) \
            } \
        } else if (groups % 4u) { \
            const ek_##K##_x v = ek_##L##_load(x); \
            if (groups % 4u == 1u) { \
                EK_WIDE_ONE(K, 0, unit) \
            } else { \
                EK_WIDE_TWO(K, 01, unit, 0u) \
                w += 2u * row; \
                if (groups % 4u == 3u) { EK_WIDE_ONE(K, 2, unit) } \
            } \
        } \
        EK_WIDE_RESULT(K, B, 0) \
        EK_WIDE_RESULT(K, B, 1) \
        EK_WIDE_RESULT(K, B, 2) \
        EK_WIDE_RESULT(K, B, 3) \
    }

/* c may be null, and may be y; it moves by `step` from row to row. U units at a time, then what is left. */
#define EK_WIDE_DENSE(NAME, K, L, B, TX, TW, PER, U) \
    EK_WIDE_PART(NAME, K, L, B, TX, TW, PER) \
    EK_INLINE void NAME##_at(ek_i##B *y, const ek_i##B *c, const ek_i32 *lift, const TW *w, const TX *x, \
                             uint32_t n_in, uint32_t n_out, uint32_t o, uint32_t u, int mild, int rare, int exact) { \
        const uint32_t groups = (n_in + PER - 1u) / PER, units = (n_out + 7u) / 8u, first = o / 4u * 4u; \
        const uint32_t row = 8u * PER * (units - first < 4u ? units - first : 4u), at = 8u * o; \
        NAME##_part(y + at, EK_AFTER(c, at), EK_AFTER(lift, at), w + 8u * PER * (first * groups + o - first), x, \
                    groups, row, u, n_out - at, mild, rare, exact); \
    } \
    EK_INLINE void NAME(ek_i##B *y, const ek_i##B *c, uint32_t step, const TW *w, const int32_t *lifts, const TX *x, \
                        uint32_t rows, uint32_t n_in, uint32_t n_out, int mild, int rare) { \
        const uint32_t units = (n_out + 7u) / 8u, whole = units / U * U, left = units - whole; \
        const ek_i32 *lift = (const ek_i32 *)lifts; \
        const int exact = rows > 1u; \
        uint32_t r, o; \
        EK_UNKNOWN(w); \
        for (r = 0; r < rows; ++r, x += n_in, y += n_out, c = EK_AFTER(c, step)) { \
            for (o = 0; o < whole; o += U) NAME##_at(y, c, lift, w, x, n_in, n_out, o, U, mild, rare, exact); \
            if (left == 1u) NAME##_at(y, c, lift, w, x, n_in, n_out, whole, 1u, mild, rare, exact); \
            if (left == 2u) NAME##_at(y, c, lift, w, x, n_in, n_out, whole, 2u, mild, rare, exact); \
            if (left == 3u) NAME##_at(y, c, lift, w, x, n_in, n_out, whole, 3u, mild, rare, exact); \
        } \
    }
EK_WIDE_DENSE(ek_wide_x8_w8_a16, bb, bb, 16, ek_i8, int8_t, 4u, EK_BB_UNITS)
EK_WIDE_DENSE(ek_wide_x8_w8_a32, bb, bb, 32, ek_i8, int8_t, 4u, EK_BB_UNITS)
EK_WIDE_DENSE(ek_wide_x16_w8_a16, hb, hb, 16, ek_i16, int8_t, 4u, EK_HB_UNITS)
EK_WIDE_DENSE(ek_wide_x16_w8_a32, hb, hb, 32, ek_i16, int8_t, 4u, EK_HB_UNITS)
EK_WIDE_DENSE(ek_wide_x8_w16_a16, hh, bh, 16, ek_i8, int16_t, 2u, EK_HH_UNITS)
EK_WIDE_DENSE(ek_wide_x8_w16_a32, hh, bh, 32, ek_i8, int16_t, 2u, EK_HH_UNITS)
EK_WIDE_DENSE(ek_wide_x16_w16_a16, hh, hh, 16, ek_i16, int16_t, 2u, EK_HH_UNITS)
EK_WIDE_DENSE(ek_wide_x16_w16_a32, hh, hh, 32, ek_i16, int16_t, 2u, EK_HH_UNITS)

/* --- spans -------------------------------------------------------------------------------------------------------- */

/* Outputs that read few neighbouring inputs each: from first[o] on, 16 · steps of them; weights [out][16 · steps]. */
#define EK_SPAN_SUM(K, k) \
    if (u > k) s##k = ek_##K##_span(s##k, w + 16u * (steps * k + i), x + at##k + 16u * i, mild);
#define EK_SPAN_FIRST(k) (first && u > k ? first[k] : 0u)
#define EK_WIDE_SPANS(NAME, K, B, TX, TW) \
    EK_INLINE void NAME##_part(ek_i##B *y, const ek_i##B *c, const TW *w, const uint16_t *first, const TX *x, \
                               uint32_t steps, uint32_t u, int mild) { \
        const uint32_t at0 = EK_SPAN_FIRST(0), at1 = EK_SPAN_FIRST(1), at2 = EK_SPAN_FIRST(2), at3 = EK_SPAN_FIRST(3); \
        const uint32_t at4 = EK_SPAN_FIRST(4), at5 = EK_SPAN_FIRST(5), at6 = EK_SPAN_FIRST(6), at7 = EK_SPAN_FIRST(7); \
        ek_span s0 = ek_span_zero(), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0; \
        uint32_t i; \
        for (i = 0; i < steps; ++i) { \
            EK_SPAN_SUM(K, 0) \
            EK_SPAN_SUM(K, 1) \
            EK_SPAN_SUM(K, 2) \
            EK_SPAN_SUM(K, 3) \
            EK_SPAN_SUM(K, 4) \
            EK_SPAN_SUM(K, 5) \
            EK_SPAN_SUM(K, 6) \
            EK_SPAN_SUM(K, 7) \
        } \
        ek_give_sum_##B(y, c, ek_spans_eight(s0, s1, s2, s3, s4, s5, s6, s7), 8u, 0); \
    } \
    EK_INLINE void NAME(ek_i##B *y, const ek_i##B *c, const TW *w, const uint16_t *first, const TX *x, uint32_t steps, \
                        uint32_t n_out, int mild) { \
        const uint32_t whole = n_out / 8u * 8u; \
        uint32_t o; \
        EK_UNKNOWN(w); \
        for (o = 0; o < whole; o += 8u, w += 128u * steps) \
            NAME##_part(y + o, EK_AFTER(c, o), w, EK_AFTER(first, o), x, steps, 8u, mild); \
        if (n_out > whole) \
            NAME##_part(y + whole, EK_AFTER(c, whole), w, EK_AFTER(first, whole), x, steps, n_out - whole, mild); \
    }
EK_WIDE_SPANS(ek_wide_spans_x8_w8_a16, bb, 16, ek_i8, int8_t)
EK_WIDE_SPANS(ek_wide_spans_x8_w8_a32, bb, 32, ek_i8, int8_t)
EK_WIDE_SPANS(ek_wide_spans_x16_w8_a16, hb, 16, ek_i16, int8_t)
EK_WIDE_SPANS(ek_wide_spans_x16_w8_a32, hb, 32, ek_i16, int8_t)
EK_WIDE_SPANS(ek_wide_spans_x8_w16_a16, bh, 16, ek_i8, int16_t)
EK_WIDE_SPANS(ek_wide_spans_x8_w16_a32, bh, 32, ek_i8, int16_t)
EK_WIDE_SPANS(ek_wide_spans_x16_w16_a16, hh, 16, ek_i16, int16_t)
EK_WIDE_SPANS(ek_wide_spans_x16_w16_a32, hh, 32, ek_i16, int16_t)

/* --- events ------------------------------------------------------------------------------------------------------- */

/* y = c + the rows of w in the list, `stride` weights apart; up to U sixteens of outputs in registers. */
#define EK_EVENT_LOAD(k, B, W) a##k = ek_e##B##_load(c + 16u * k);
#define EK_EVENT_ADD(k, B, W) a##k = ek_e##B##_add##W(a##k, row + 16u * k);
#define EK_EVENT_STORE(k, B, W) ek_e##B##_store(y + 16u * k, a##k);
#define EK_EVENT_UNITS(F, B, W) \
    F(0, B, W) \
    if (u > 1u) { F(1, B, W) } \
    if (u > 2u) { F(2, B, W) } \
    if (u > 3u) { F(3, B, W) } \
    if (u > 4u) { F(4, B, W) } \
    if (u > 5u) { F(5, B, W) } \
    if (u > 6u) { F(6, B, W) } \
    if (u > 7u) { F(7, B, W) }
#define EK_WIDE_EVENT(NAME, B, W, U) \
    EK_INLINE void NAME##_part(ek_i##B *y, const ek_i##B *c, const int##W##_t *w, const uint16_t *list, \
                               uint32_t count, uint32_t stride, uint32_t u) { \
        ek_e##B a0 = ek_e##B##_zero(), a1 = a0, a2 = a0, a3 = a0, a4 = a0, a5 = a0, a6 = a0, a7 = a0; \
        uint32_t k; \
        if (c) { EK_EVENT_UNITS(EK_EVENT_LOAD, B, W) } \
        for (k = 0; k < count; ++k) { \
            const int##W##_t *row = w + list[k] * stride; \
            EK_EVENT_UNITS(EK_EVENT_ADD, B, W) \
        } \
        EK_EVENT_UNITS(EK_EVENT_STORE, B, W) \
    } \
    EK_INLINE void NAME(ek_i##B *y, const ek_i##B *c, const int##W##_t *w, const uint16_t *list, uint32_t count, \
                        uint32_t stride, uint32_t n_out) { \
        const uint32_t whole = n_out / (16u * U) * (16u * U), left = (n_out - whole + 15u) / 16u; \
        uint32_t o; \
        for (o = 0; o < whole; o += 16u * U) NAME##_part(y + o, EK_AFTER(c, o), w + o, list, count, stride, U); \
        if (left) NAME##_part(y + whole, EK_AFTER(c, whole), w + whole, list, count, stride, left); \
    }
EK_WIDE_EVENT(ek_wide_event_w8_a16, 16, 8, EK_E16_UNITS)
EK_WIDE_EVENT(ek_wide_event_w8_a32, 32, 8, EK_E32_UNITS)
EK_WIDE_EVENT(ek_wide_event_w16_a16, 16, 16, EK_E16_UNITS)
EK_WIDE_EVENT(ek_wide_event_w16_a32, 32, 16, EK_E32_UNITS)

/* --- memory ------------------------------------------------------------------------------------------------------- */

/* y = A m + B u of spikes, eight outputs at a time: row `their bits of m` of one table, and row `their bits of u`, of
 * which there are `bits`, of another. */
#define EK_WIDE_MEMORY(B) \
    EK_INLINE void ek_wide_memory_a##B(ek_i##B *y, const int##B##_t *a, const int##B##_t *b, const ek_word *m, \
                                       const ek_word *u, uint32_t eights, uint32_t bits) { \
        const uint32_t each = 32u / bits, words = (eights + each - 1u) / each; \
        uint32_t w, k; \
        for (w = 0; w < words; ++w, m += each / 4u, y += 8u * each) { \
            const uint32_t driven = u[w], left = eights - w * each; \
            EK_UNROLL16 for (k = 0; k < (left < each ? left : each); ++k) { \
                const uint32_t row = m[k / 4u] >> 8u * (k % 4u) & 255u; \
                const uint32_t column = driven >> k * bits & ((1u << bits) - 1u); \
                const ek_v##B kept = ek_v##B##_load((const ek_i##B *)a + 8u * row); \
                ek_v##B##_store(y + 8u * k, ek_v##B##_add(kept, ek_v##B##_load((const ek_i##B *)b + 8u * column))); \
            } \
        } \
    }
EK_WIDE_MEMORY(16)
EK_WIDE_MEMORY(32)

/* --- functions by table ------------------------------------------------------------------------------------------- */

/* as ek_lookup_16_16, eight values at a time */
EK_INLINE void ek_wide_lookup(ek_i16 *y, const ek_i16 *x, const ek_i16 *table, uint32_t n, uint32_t fraction) {
    uint32_t i;
    for (i = 0; i < n; i += 8u) ek_v16_store(y + i, ek_v16_between(table, ek_v16_load(x + i), fraction));
}

#endif
