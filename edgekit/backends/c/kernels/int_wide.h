/* Integer programs on A-class cores and x86, in whole registers: y = c + W x, and the verbs that fused ops are written
 * in, eight values at a time. Every ISA header under simd/ has the same verbs; plain C has them too, to test against.
 *
 *   ek_v8 ek_v16 ek_v32   eight values of int8, int16, int32; ek_vm, which of them a spike chooses; ek_bits, 32 of these
 *   ek_bb ek_hb ek_hh     sums of eight outputs over x of int8 (b) or int16 (h) and weights of int8 or int16
 *   ek_e16 ek_e32         sums of sixteen outputs that rows of weights are added to
 *
 * Dense weights lie in blocks of 32 outputs (the last one 8, 16, 24 or 32, padded with zeros), each [groups][outputs]
 * with four bytes of an output in a group: four int8 weights or two of int16. `mild` says that no weight is -128.
 * `lift` is 128 times the sum of each output's int8 weights, for cores whose products want a moved x.
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

/* --- dense ---------------------------------------------------------------------------------------------------------- */

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

/* `u` units of eight outputs of a block whose groups take `row` weights. K: the sums, L: how x is read, PER: inputs of
 * a group. */
#define EK_WIDE_PART(NAME, K, L, B, TX, TW, PER) \
    EK_INLINE void NAME##_part(ek_i##B *y, const ek_i##B *c, const ek_i32 *lift, const TW *w, const TX *x, \
                               uint32_t groups, uint32_t row, uint32_t u, uint32_t n_out, int mild, int exact) { \
        const uint32_t unit = 8u * PER; \
        ek_##K##_sum a0 = ek_##K##_zero(), a1 = a0, a2 = a0, a3 = a0; \
        uint32_t i; \
        for (i = 0; i + 4u <= groups; i += 4u, x += 4u * PER, w += 4u * row) { \
            const ek_##K##_x v = ek_##L##_load(x); \
            a0 = ek_##K##_two_01(a0, w, w + row, v, mild); \
            if (u > 1u) a1 = ek_##K##_two_01(a1, w + unit, w + row + unit, v, mild); \
            if (u > 2u) a2 = ek_##K##_two_01(a2, w + 2u * unit, w + row + 2u * unit, v, mild); \
            if (u > 3u) a3 = ek_##K##_two_01(a3, w + 3u * unit, w + row + 3u * unit, v, mild); \
            a0 = ek_##K##_two_23(a0, w + 2u * row, w + 3u * row, v, mild); \
            if (u > 1u) a1 = ek_##K##_two_23(a1, w + 2u * row + unit, w + 3u * row + unit, v, mild); \
            if (u > 2u) a2 = ek_##K##_two_23(a2, w + 2u * row + 2u * unit, w + 3u * row + 2u * unit, v, mild); \
            if (u > 3u) a3 = ek_##K##_two_23(a3, w + 2u * row + 3u * unit, w + 3u * row + 3u * unit, v, mild); \
        } \
        for (; i < groups; ++i, x += PER, w += row) { \
            const ek_##K##_x v = ek_##L##_tail(x); \
            a0 = ek_##K##_one(a0, w, v); \
            if (u > 1u) a1 = ek_##K##_one(a1, w + unit, v); \
            if (u > 2u) a2 = ek_##K##_one(a2, w + 2u * unit, v); \
            if (u > 3u) a3 = ek_##K##_one(a3, w + 3u * unit, v); \
        } \
        ek_give_sum_##B(y, c, ek_##K##_result(a0, lift), n_out, exact); \
        if (u > 1u) ek_give_sum_##B(y + 8, EK_AFTER(c, 8), ek_##K##_result(a1, EK_AFTER(lift, 8)), n_out - 8u, exact); \
        if (u > 2u) ek_give_sum_##B(y + 16, EK_AFTER(c, 16), ek_##K##_result(a2, EK_AFTER(lift, 16)), n_out - 16u, exact); \
        if (u > 3u) ek_give_sum_##B(y + 24, EK_AFTER(c, 24), ek_##K##_result(a3, EK_AFTER(lift, 24)), n_out - 24u, exact); \
    }

/* c may be null, and may be y; it moves by `step` from row to row. U units at a time, then what is left. */
#define EK_WIDE_DENSE(NAME, K, L, B, TX, TW, PER, U) \
    EK_WIDE_PART(NAME, K, L, B, TX, TW, PER) \
    EK_INLINE void NAME##_at(ek_i##B *y, const ek_i##B *c, const ek_i32 *lift, const TW *w, const TX *x, \
                             uint32_t n_in, uint32_t n_out, uint32_t o, uint32_t u, int mild, int exact) { \
        const uint32_t groups = (n_in + PER - 1u) / PER, units = (n_out + 7u) / 8u, first = o / 4u * 4u; \
        const uint32_t row = 8u * PER * (units - first < 4u ? units - first : 4u), at = 8u * o; \
        NAME##_part(y + at, EK_AFTER(c, at), EK_AFTER(lift, at), w + 8u * PER * (first * groups + o - first), x, \
                    groups, row, u, n_out - at, mild, exact); \
    } \
    EK_INLINE void NAME(ek_i##B *y, const ek_i##B *c, uint32_t step, const TW *w, const int32_t *lifts, const TX *x, \
                        uint32_t rows, uint32_t n_in, uint32_t n_out, int mild) { \
        const uint32_t units = (n_out + 7u) / 8u, whole = units / U * U, left = units - whole; \
        const ek_i32 *lift = (const ek_i32 *)lifts; \
        const int exact = rows > 1u; \
        uint32_t r, o; \
        for (r = 0; r < rows; ++r, x += n_in, y += n_out, c = EK_AFTER(c, step)) { \
            for (o = 0; o < whole; o += U) NAME##_at(y, c, lift, w, x, n_in, n_out, o, U, mild, exact); \
            if (left == 1u) NAME##_at(y, c, lift, w, x, n_in, n_out, whole, 1u, mild, exact); \
            if (left == 2u) NAME##_at(y, c, lift, w, x, n_in, n_out, whole, 2u, mild, exact); \
            if (left == 3u) NAME##_at(y, c, lift, w, x, n_in, n_out, whole, 3u, mild, exact); \
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

/* --- events ---------------------------------------------------------------------------------------------------------- */

/* y += the rows of w in the list, `stride` weights apart; up to 64 outputs in registers. c as above, for one row. */
#define EK_WIDE_EVENT(NAME, B, W) \
    EK_INLINE void NAME##_part(ek_i##B *y, const ek_i##B *c, const int##W##_t *w, const uint16_t *list, \
                               uint32_t count, uint32_t stride, uint32_t u) { \
        ek_e##B a0 = ek_e##B##_zero(), a1 = a0, a2 = a0, a3 = a0; \
        uint32_t k; \
        if (c) { \
            a0 = ek_e##B##_load(c); \
            if (u > 1u) a1 = ek_e##B##_load(c + 16); \
            if (u > 2u) a2 = ek_e##B##_load(c + 32); \
            if (u > 3u) a3 = ek_e##B##_load(c + 48); \
        } \
        for (k = 0; k < count; ++k) { \
            const int##W##_t *row = w + list[k] * stride; \
            a0 = ek_e##B##_add##W(a0, row); \
            if (u > 1u) a1 = ek_e##B##_add##W(a1, row + 16); \
            if (u > 2u) a2 = ek_e##B##_add##W(a2, row + 32); \
            if (u > 3u) a3 = ek_e##B##_add##W(a3, row + 48); \
        } \
        ek_e##B##_store(y, a0); \
        if (u > 1u) ek_e##B##_store(y + 16, a1); \
        if (u > 2u) ek_e##B##_store(y + 32, a2); \
        if (u > 3u) ek_e##B##_store(y + 48, a3); \
    } \
    EK_INLINE void NAME(ek_i##B *y, const ek_i##B *c, const int##W##_t *w, const uint16_t *list, uint32_t count, \
                        uint32_t stride, uint32_t n_out) { \
        const uint32_t units = (n_out + 15u) / 16u, whole = units / 4u * 64u, left = units % 4u; \
        uint32_t o; \
        for (o = 0; o < whole; o += 64u) NAME##_part(y + o, EK_AFTER(c, o), w + o, list, count, stride, 4u); \
        c = EK_AFTER(c, whole); \
        if (left == 1u) NAME##_part(y + whole, c, w + whole, list, count, stride, 1u); \
        if (left == 2u) NAME##_part(y + whole, c, w + whole, list, count, stride, 2u); \
        if (left == 3u) NAME##_part(y + whole, c, w + whole, list, count, stride, 3u); \
    }
EK_WIDE_EVENT(ek_wide_event_w8_a16, 16, 8)
EK_WIDE_EVENT(ek_wide_event_w8_a32, 32, 8)
EK_WIDE_EVENT(ek_wide_event_w16_a16, 16, 16)
EK_WIDE_EVENT(ek_wide_event_w16_a32, 32, 16)

#endif
