/* Sums over weights of few distinct values with eight int16 in a vector.
 *
 *   w2      two bits: how far a weight is above `low`, the least of four neighbouring values. A byte of weights a, b, c, d
 *           of four outputs is 64 (d - 2) + 16 c + 4 b + a: a signed number, and so are its upper parts, so that four
 *           multiply-adds of it, shifted by 0, 2, 4 and 6, give all four sums without a mask
 *   n2, n4  numbers of two or four bits, of four or two outputs in a byte, that weights are gathered by from a table
 *   n3      the lower two bits of a number as n2 has them; the third ones of eight outputs are in a byte that follows
 *
 * Dense weights lie in blocks of four outputs (n3: eight), for each vector of inputs one of bytes (n4: two, n3: three).
 * Rows of events are of 32 outputs, in eight bytes or, of n4, sixteen; outputs that are eight apart are in one byte.
 */
#ifndef EK_INT_VECTORS_PALETTE_H
#define EK_INT_VECTORS_PALETTE_H

#include "int_vectors_dense.h"
#include "int_vectors_events.h"

/* --- dense -------------------------------------------------------------------------------------------------------- */

#if EK_MVE
#define EK_QUARTER_MACS(form, T, LOAD_X, LOAD_W, S) \
    EK_INLINE void ek_quarter_macs_##form(uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d, const ek_i##T *x, \
                                          const int8_t *w) { \
        const int##T##x##S##_t inputs = LOAD_X((const int##T##_t *)x), bytes = LOAD_W(w); \
        *a = (uint32_t)vmladavaq_s##T((int32_t)*a, inputs, bytes); \
        *b = (uint32_t)vmladavaq_s##T((int32_t)*b, inputs, vshrq_n_s##T(bytes, 2)); \
        *c = (uint32_t)vmladavaq_s##T((int32_t)*c, inputs, vshrq_n_s##T(bytes, 4)); \
        *d = (uint32_t)vmladavaq_s##T((int32_t)*d, inputs, vshrq_n_s##T(bytes, 6)); \
    }
EK_QUARTER_MACS(x8, 8, vldrbq_s8, vldrbq_s8, 16)
EK_QUARTER_MACS(x16, 16, vldrhq_s16, vldrbq_s16, 8)
/* one vector of x, of which `left` elements count */
#define EK_LOOKED_MACS(form, T, LOAD_X, CTP, LOAD_W, S) \
    EK_INLINE void ek_n2_macs_##form(uint32_t *sums, const ek_i##T *x, uint32_t left, const int8_t *table, \
                                     const uint8_t *w) { \
        const int##T##x##S##_t inputs = LOAD_X((const int##T##_t *)x, CTP(left)); \
        const uint##T##x##S##_t bytes = LOAD_W(w), mask = vdupq_n_u##T(3); \
        sums[0] = (uint32_t)vmladavaq_s##T( \
            (int32_t)sums[0], inputs, vldrbq_gather_offset_s##T(table, vandq_u##T(bytes, mask))); \
        sums[1] = (uint32_t)vmladavaq_s##T( \
            (int32_t)sums[1], inputs, vldrbq_gather_offset_s##T(table, vandq_u##T(vshrq_n_u##T(bytes, 2), mask))); \
        sums[2] = (uint32_t)vmladavaq_s##T( \
            (int32_t)sums[2], inputs, vldrbq_gather_offset_s##T(table, vandq_u##T(vshrq_n_u##T(bytes, 4), mask))); \
        sums[3] = (uint32_t)vmladavaq_s##T( \
            (int32_t)sums[3], inputs, vldrbq_gather_offset_s##T(table, vshrq_n_u##T(bytes, 6))); \
    } \
    EK_INLINE void ek_n4_macs_##form(uint32_t *sums, const ek_i##T *x, uint32_t left, const int8_t *table, \
                                     const uint8_t *w) { \
        const int##T##x##S##_t inputs = LOAD_X((const int##T##_t *)x, CTP(left)); \
        const uint##T##x##S##_t first = LOAD_W(w), second = LOAD_W(w + S), mask = vdupq_n_u##T(15); \
        sums[0] = (uint32_t)vmladavaq_s##T( \
            (int32_t)sums[0], inputs, vldrbq_gather_offset_s##T(table, vandq_u##T(first, mask))); \
        sums[1] = (uint32_t)vmladavaq_s##T( \
            (int32_t)sums[1], inputs, vldrbq_gather_offset_s##T(table, vshrq_n_u##T(first, 4))); \
        sums[2] = (uint32_t)vmladavaq_s##T( \
            (int32_t)sums[2], inputs, vldrbq_gather_offset_s##T(table, vandq_u##T(second, mask))); \
        sums[3] = (uint32_t)vmladavaq_s##T( \
            (int32_t)sums[3], inputs, vldrbq_gather_offset_s##T(table, vshrq_n_u##T(second, 4))); \
    }
#define EK_THIRD_MAC(T, k, low, third) \
    sums[k] = (uint32_t)vmladavaq_s##T( \
        (int32_t)sums[k], inputs, vldrbq_gather_offset_s##T(table, vorrq_u##T(low, vandq_u##T(third, one))))
#define EK_N3_MACS(form, T, LOAD_X, CTP, LOAD_W, S) \
    EK_INLINE void ek_n3_macs_##form(uint32_t *sums, const ek_i##T *x, uint32_t left, const int8_t *table, \
                                     const uint8_t *w, const uint8_t *third, int second) { \
        const int##T##x##S##_t inputs = LOAD_X((const int##T##_t *)x, CTP(left)); \
        const uint##T##x##S##_t low = LOAD_W(w), two = vdupq_n_u##T(3), one = vdupq_n_u##T(4); \
        const uint##T##x##S##_t all = LOAD_W(third), high = second ? vshrq_n_u##T(all, 4) : all; \
        EK_THIRD_MAC(T, 0, vandq_u##T(low, two), vshlq_n_u##T(high, 2)); \
        EK_THIRD_MAC(T, 1, vandq_u##T(vshrq_n_u##T(low, 2), two), vshlq_n_u##T(high, 1)); \
        EK_THIRD_MAC(T, 2, vandq_u##T(vshrq_n_u##T(low, 4), two), high); \
        EK_THIRD_MAC(T, 3, vshrq_n_u##T(low, 6), vshrq_n_u##T(high, 1)); \
    }
EK_N3_MACS(x8, 8, vldrbq_z_s8, vctp8q, vldrbq_u8, 16)
EK_N3_MACS(x16, 16, vldrhq_z_s16, vctp16q, vldrbq_u16, 8)
EK_LOOKED_MACS(x8, 8, vldrbq_z_s8, vctp8q, vldrbq_u8, 16)
EK_LOOKED_MACS(x16, 16, vldrhq_z_s16, vctp16q, vldrbq_u16, 8)
#else
EK_INLINE int32_t ek_shifted(int8_t byte, uint32_t s) { return (byte - (byte & ((1 << s) - 1))) / (1 << s); }
#define EK_LOOKED_MACS(form, TX, PER) \
    EK_INLINE void ek_quarter_macs_##form(uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d, const TX *x, \
                                          const int8_t *w) { \
        uint32_t i; \
        for (i = 0; i < PER; ++i) { \
            *a += (uint32_t)(x[i] * w[i]); \
            *b += (uint32_t)(x[i] * ek_shifted(w[i], 2u)); \
            *c += (uint32_t)(x[i] * ek_shifted(w[i], 4u)); \
            *d += (uint32_t)(x[i] * ek_shifted(w[i], 6u)); \
        } \
    } \
    EK_INLINE void ek_n2_macs_##form(uint32_t *sums, const TX *x, uint32_t left, const int8_t *table, const uint8_t *w) { \
        uint32_t i, o; \
        for (i = 0; i < PER && i < left; ++i) \
            for (o = 0; o < 4u; ++o) sums[o] += (uint32_t)(x[i] * table[w[i] >> 2u * o & 3u]); \
    } \
    EK_INLINE void ek_n4_macs_##form(uint32_t *sums, const TX *x, uint32_t left, const int8_t *table, const uint8_t *w) { \
        uint32_t i, o; \
        for (i = 0; i < PER && i < left; ++i) \
            for (o = 0; o < 4u; ++o) \
                sums[o] += (uint32_t)(x[i] * table[w[PER * (o / 2u) + i] >> 4u * (o % 2u) & 15u]); \
    }
#define EK_N3_MACS(form, TX, PER) \
    EK_INLINE void ek_n3_macs_##form(uint32_t *sums, const TX *x, uint32_t left, const int8_t *table, const uint8_t *w, \
                                     const uint8_t *third, int second) { \
        uint32_t i, o; \
        for (i = 0; i < PER && i < left; ++i) \
            for (o = 0; o < 4u; ++o) { \
                const uint32_t high = (uint32_t)third[i] >> (o + (second ? 4u : 0u)) & 1u; \
                sums[o] += (uint32_t)(x[i] * table[((uint32_t)w[i] >> 2u * o & 3u) | high << 2]); \
            } \
    }
EK_LOOKED_MACS(x8, ek_i8, 16u)
EK_LOOKED_MACS(x16, ek_i16, 8u)
EK_N3_MACS(x8, ek_i8, 16u)
EK_N3_MACS(x16, ek_i16, 8u)
#endif

/* c may be null, and may be y itself; y and c hold whole fours. */
#define EK_EIGHT_W2(FORM, TX, PER, A, TY) \
    EK_INLINE void ek_eights_##FORM##_w2_a##A(TY *y, const TY *c, const int8_t *w, int32_t low, const TX *x, uint32_t n_in, \
                                              uint32_t n_out) { \
        const uint32_t vectors = (n_in + PER - 1u) / PER; \
        uint32_t o, k, all = 0, lows; \
        EK_UNROLL1 for (k = 0; k < vectors; ++k) all = ek_sum_##FORM(all, x + PER * k); \
        lows = (uint32_t)low * all; \
        EK_UNROLL1 for (o = 0; o < n_out; o += 4u) { \
            uint32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0; \
            EK_UNROLL1 for (k = 0; k < vectors; ++k, w += PER) ek_quarter_macs_##FORM(&a0, &a1, &a2, &a3, x + PER * k, w); \
            y[o] = (TY)((c ? (uint32_t)c[o] : 0u) + lows + a0 - 4u * a1); \
            y[o + 1u] = (TY)((c ? (uint32_t)c[o + 1u] : 0u) + lows + a1 - 4u * a2); \
            y[o + 2u] = (TY)((c ? (uint32_t)c[o + 2u] : 0u) + lows + a2 - 4u * a3); \
            y[o + 3u] = (TY)((c ? (uint32_t)c[o + 3u] : 0u) + lows + a3 + 2u * all); \
        } \
    }
#define EK_EIGHT_LOOKED(FORM, TX, PER, N, BYTES, A, TY) \
    EK_INLINE void ek_eights_##FORM##_##N##_a##A(TY *y, const TY *c, const uint8_t *w, const int8_t *table, const TX *x, \
                                                 uint32_t n_in, uint32_t n_out) { \
        uint32_t o, k; \
        EK_UNROLL1 for (o = 0; o < n_out; o += 4u) { \
            uint32_t sums[4] = {0, 0, 0, 0}; \
            EK_UNROLL1 for (k = 0; k < n_in; k += PER, w += BYTES) \
                ek_##N##_macs_##FORM(sums, x + k, n_in - k, table, w); \
            y[o] = (TY)((c ? (uint32_t)c[o] : 0u) + sums[0]); \
            y[o + 1u] = (TY)((c ? (uint32_t)c[o + 1u] : 0u) + sums[1]); \
            y[o + 2u] = (TY)((c ? (uint32_t)c[o + 2u] : 0u) + sums[2]); \
            y[o + 3u] = (TY)((c ? (uint32_t)c[o + 3u] : 0u) + sums[3]); \
        } \
    }
#define EK_EIGHT_N3(FORM, TX, PER, A, TY) \
    EK_INLINE void ek_eights_##FORM##_n3_a##A(TY *y, const TY *c, const uint8_t *weights, const int8_t *table, const TX *x, \
                                              uint32_t n_in, uint32_t n_out) { \
        const uint32_t vectors = (n_in + PER - 1u) / PER; \
        uint32_t o, k; \
        EK_UNROLL1 for (o = 0; o < n_out; o += 4u) { \
            const uint8_t *const block = weights + 3u * PER * vectors * (o / 8u); \
            const uint8_t *w = block + (o % 8u ? PER : 0u), *third = block + 2u * PER; \
            uint32_t sums[4] = {0, 0, 0, 0}; \
            if (o % 8u) { \
                EK_UNROLL1 for (k = 0; k < n_in; k += PER, w += 3u * PER, third += 3u * PER) \
                    ek_n3_macs_##FORM(sums, x + k, n_in - k, table, w, third, 1); \
            } else { \
                EK_UNROLL1 for (k = 0; k < n_in; k += PER, w += 3u * PER, third += 3u * PER) \
                    ek_n3_macs_##FORM(sums, x + k, n_in - k, table, w, third, 0); \
            } \
            y[o] = (TY)((c ? (uint32_t)c[o] : 0u) + sums[0]); \
            y[o + 1u] = (TY)((c ? (uint32_t)c[o + 1u] : 0u) + sums[1]); \
            y[o + 2u] = (TY)((c ? (uint32_t)c[o + 2u] : 0u) + sums[2]); \
            y[o + 3u] = (TY)((c ? (uint32_t)c[o + 3u] : 0u) + sums[3]); \
        } \
    }
#define EK_EIGHT_CODED(FORM, TX, PER, A, TY) \
    EK_EIGHT_N3(FORM, TX, PER, A, TY) \
    EK_EIGHT_W2(FORM, TX, PER, A, TY) \
    EK_EIGHT_LOOKED(FORM, TX, PER, n2, PER, A, TY) \
    EK_EIGHT_LOOKED(FORM, TX, PER, n4, 2u * PER, A, TY)
EK_EIGHT_CODED(x8, ek_i8, 16u, 16, ek_i16)
EK_EIGHT_CODED(x8, ek_i8, 16u, 32, ek_i32)
EK_EIGHT_CODED(x16, ek_i16, 8u, 16, ek_i16)
EK_EIGHT_CODED(x16, ek_i16, 8u, 32, ek_i32)

/* --- events ------------------------------------------------------------------------------------------------------- */

#if EK_MVE
#define ek_eight_down(x, s) vshrq_n_s16(x, s)
EK_INLINE ek_eight ek_eight_quarter(ek_eight both, ek_eight upper) { return vsubq_s16(both, vshlq_n_s16(upper, 2)); }
#define EK_EIGHT_LOOKED_AT(row, s, mask) \
    vldrbq_gather_offset_s16(table, vandq_u16(vshrq_n_u16(vldrbq_u16((const uint8_t *)(row)), s), vdupq_n_u16(mask)))
#define EK_EIGHT_LOOKED_FIRST(row, mask) \
    vldrbq_gather_offset_s16(table, vandq_u16(vldrbq_u16((const uint8_t *)(row)), vdupq_n_u16(mask)))
#else
EK_INLINE ek_eight ek_eight_down(ek_eight x, uint32_t s) { EK_EACH(ek_eight, (int16_t)ek_shifted((int8_t)x.e[i], s)) }
EK_INLINE ek_eight ek_eight_quarter(ek_eight both, ek_eight upper) {
    EK_EACH(ek_eight, (int16_t)(uint16_t)((uint32_t)both.e[i] - 4u * (uint32_t)upper.e[i]))
}
EK_INLINE ek_eight ek_eight_looked_at(const int8_t *table, const ek_i8 *row, uint32_t s, uint32_t mask) {
    EK_EACH(ek_eight, table[(uint32_t)(uint8_t)row[i] >> s & mask])
}
#define EK_EIGHT_LOOKED_AT(row, s, mask) ek_eight_looked_at(table, row, s, mask)
#define EK_EIGHT_LOOKED_FIRST(row, mask) ek_eight_looked_at(table, row, 0u, mask)
#endif

#define EK_ADD_W2 \
    { \
        const ek_eight bytes = ek_eight_load8(row); \
        s0 = ek_eight_add(s0, bytes); \
        s1 = ek_eight_add(s1, ek_eight_down(bytes, 2)); \
        s2 = ek_eight_add(s2, ek_eight_down(bytes, 4)); \
        s3 = ek_eight_add(s3, ek_eight_down(bytes, 6)); \
    }
#define EK_ADD_N2 \
    { \
        s0 = ek_eight_add(s0, EK_EIGHT_LOOKED_FIRST(row, 3)); \
        s1 = ek_eight_add(s1, EK_EIGHT_LOOKED_AT(row, 2, 3)); \
        s2 = ek_eight_add(s2, EK_EIGHT_LOOKED_AT(row, 4, 3)); \
        s3 = ek_eight_add(s3, EK_EIGHT_LOOKED_AT(row, 6, 3)); \
    }
#define EK_ADD_N4 \
    { \
        s0 = ek_eight_add(s0, EK_EIGHT_LOOKED_FIRST(row, 15)); \
        s1 = ek_eight_add(s1, EK_EIGHT_LOOKED_AT(row, 4, 15)); \
        s2 = ek_eight_add(s2, EK_EIGHT_LOOKED_FIRST(row + 8, 15)); \
        s3 = ek_eight_add(s3, EK_EIGHT_LOOKED_AT(row + 8, 4, 15)); \
    }
#define EK_GIVE_EIGHT(k) ek_eight_store16(y + 8u * k, from ? ek_eight_add(s##k, ek_eight_load16(c + 8u * k)) : s##k);
/* y = c + the listed rows of w, and of v if there is one, for 32 outputs at a time, of which the last 16 may not be there */
#define EK_EIGHT_CODED_EVENT(N, BYTES, MORE, ADD, END) \
    EK_INLINE void ek_rows_##N##_a16(ek_i16 *y, const ek_i16 *c, uint32_t n_out, MORE, const ek_i8 *w, \
                                     const uint16_t *list, uint32_t count, uint32_t unit, const ek_i8 *v, \
                                     const uint16_t *more, uint32_t others, uint32_t measure) { \
        const int from = c != 0, both = v != 0; \
        uint32_t o; \
        EK_UNROLL1 for (o = 0; o < n_out; o += 32u) { \
            ek_eight s0 = ek_eight_set(0), s1 = s0, s2 = s0, s3 = s0; \
            EK_ROWS_OF(w, list, count, unit, ADD) \
            if (both) EK_ROWS_OF(v, more, others, measure, ADD) \
            END \
            EK_GIVE_EIGHT(0) \
            EK_GIVE_EIGHT(1) \
            if (n_out - o > 16u) { \
                EK_GIVE_EIGHT(2) \
                EK_GIVE_EIGHT(3) \
            } \
            y += 32; \
            w += BYTES; \
            if (both) v += BYTES; \
            if (from) c += 32; \
        } \
    }
#define EK_W2_END \
    { \
        const int32_t fired = (int32_t)(count + others); \
        const ek_eight lows = ek_eight_set(low * fired); \
        s0 = ek_eight_add(ek_eight_quarter(s0, s1), lows); \
        s1 = ek_eight_add(ek_eight_quarter(s1, s2), lows); \
        s2 = ek_eight_add(ek_eight_quarter(s2, s3), lows); \
        s3 = ek_eight_add(s3, ek_eight_set((low + 2) * fired)); \
    }
EK_EIGHT_CODED_EVENT(w2, 8u, int32_t low, EK_ADD_W2, EK_W2_END)
EK_EIGHT_CODED_EVENT(n2, 8u, const int8_t *table, EK_ADD_N2, )
EK_EIGHT_CODED_EVENT(n4, 16u, const int8_t *table, EK_ADD_N4, )

#endif
