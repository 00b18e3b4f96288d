/* Event-driven sums and memory updates with eight int16 in a vector. */
#ifndef EK_INT_VECTORS_EVENTS_H
#define EK_INT_VECTORS_EVENTS_H

#include "int_vectors.h"

/* --- events: rows of weights, up to 48 outputs at a time in the registers --------------------------------------------
 *
 * Eight weights take a widening load and an addition; six vectors of sums leave room for the one that is added, and the
 * two instructions that find a row are paid once for all six.
 * The list holds offsets of rows in `unit` bytes. Rows are in the order that counting leading zeros finds the bits of a
 * word in: that of bit 31 first.
 */
#if EK_MVE
/* the list from `list` on; its end */
EK_ASSEMBLY uint16_t *ek_list_rows(EK_REGISTER uint16_t *list, EK_REGISTER const ek_word *words,
                                   EK_REGISTER const ek_word *end, EK_REGISTER uint32_t step) {
    __asm__ volatile("push {r4-r7, lr}\n\t"
                     "movs r7, #0\n\t"
                     "mov r12, #0x80000000\n\t"
                     "lsl lr, r3, #5\n"
                     "1:\n\t"
                     "ldr r4, [r1], #4\n\t"
                     "cbz r4, 3f\n"
                     "2:\n\t"
                     "clz r5, r4\n\t"
                     "lsr r6, r12, r5\n\t"
                     "mla r5, r5, r3, r7\n\t"
                     "bics r4, r4, r6\n\t"
                     "strh r5, [r0], #2\n\t"
                     "bne 2b\n"
                     "3:\n\t"
                     "add r7, lr\n\t"
                     "cmp r1, r2\n\t"
                     "bne 1b\n\t"
                     "pop {r4-r7, pc}\n");
}
#else
EK_INLINE uint16_t *ek_list_rows(uint16_t *list, const ek_word *words, const ek_word *end, uint32_t step) {
    uint32_t first = 0, zeros;
    for (; words != end; ++words, first += 32u)
        for (zeros = 0; zeros < 32u; ++zeros)
            if (*words << zeros >> 31) *list++ = (uint16_t)((first + zeros) * step);
    return list;
}
#endif
/* `step`: units of one row. Returns how many of the n neurons fired. */
EK_INLINE uint32_t ek_fired_rows(uint16_t *list, const ek_word *words, uint32_t n, uint32_t step) {
    return (uint32_t)(ek_list_rows(list, words, words + (n + 31u) / 32u, step) - list);
}

EK_INLINE uint32_t ek_two(const uint16_t *list) {
#if EK_MVE
    return *(const ek_word *)(const void *)list;
#else
    return list[0] | (uint32_t)list[1] << 16;
#endif
}
#if EK_MVE
typedef int32x4_t ek_four;
EK_INLINE ek_four ek_four_set(int32_t x) { return vdupq_n_s32(x); }
EK_INLINE ek_four ek_four_load32(const ek_i32 *x) { return vldrwq_s32((const int32_t *)x); }
EK_INLINE ek_four ek_four_load16(const ek_i16 *x) { return vldrhq_s32((const int16_t *)x); }
EK_INLINE ek_four ek_four_load8(const ek_i8 *x) { return vldrbq_s32((const int8_t *)x); }
EK_INLINE void ek_four_store32(ek_i32 *y, ek_four x) { vstrwq_s32((int32_t *)y, x); }
EK_INLINE ek_four ek_four_add(ek_four a, ek_four b) { return vaddq_s32(a, b); }
EK_INLINE ek_four ek_four_upper(ek_four x) { return vshrq_n_s32(x, 4); }
EK_INLINE ek_four ek_four_lower(ek_four both, ek_four upper) { return vsubq_s32(both, vshlq_n_s32(upper, 4)); }
EK_INLINE ek_eight ek_eight_upper(ek_eight x) { return vshrq_n_s16(x, 4); }
EK_INLINE ek_eight ek_eight_lower(ek_eight both, ek_eight upper) { return vsubq_s16(both, vshlq_n_s16(upper, 4)); }
EK_INLINE ek_eight ek_eight_16(ek_eight x) { return vshlq_n_s16(x, 4); }
#else
typedef struct {
    int32_t e[4];
} ek_four;
#define EK_OF_FOUR(expression) \
    ek_four y; \
    uint32_t i; \
    for (i = 0; i < 4u; ++i) y.e[i] = expression; \
    return y;
EK_INLINE ek_four ek_four_set(int32_t x) { EK_OF_FOUR(x) }
EK_INLINE ek_four ek_four_load32(const ek_i32 *x) { EK_OF_FOUR(x[i]) }
EK_INLINE ek_four ek_four_load16(const ek_i16 *x) { EK_OF_FOUR(x[i]) }
EK_INLINE ek_four ek_four_load8(const ek_i8 *x) { EK_OF_FOUR(x[i]) }
EK_INLINE void ek_four_store32(ek_i32 *y, ek_four x) {
    uint32_t i;
    for (i = 0; i < 4u; ++i) y[i] = x.e[i];
}
EK_INLINE ek_four ek_four_add(ek_four a, ek_four b) { EK_OF_FOUR(ek_add_32(a.e[i], b.e[i])) }
EK_INLINE ek_four ek_four_upper(ek_four x) { EK_OF_FOUR(ek_upper((int8_t)x.e[i])) }
EK_INLINE ek_four ek_four_lower(ek_four both, ek_four upper) {
    EK_OF_FOUR((int32_t)((uint32_t)both.e[i] - 16u * (uint32_t)upper.e[i]))
}
EK_INLINE ek_eight ek_eight_upper(ek_eight x) { EK_EACH(ek_eight, (int16_t)ek_upper((int8_t)x.e[i])) }
EK_INLINE ek_eight ek_eight_lower(ek_eight both, ek_eight upper) {
    EK_EACH(ek_eight, (int16_t)(uint16_t)((uint32_t)both.e[i] - 16u * (uint32_t)upper.e[i]))
}
EK_INLINE ek_eight ek_eight_16(ek_eight x) { EK_EACH(ek_eight, (int16_t)(uint16_t)(16u * (uint32_t)x.e[i])) }
#endif

/* sums of int16 eight to a vector, of int32 four; weights of int8 or int16 */
#define EK_SUMS_START16(k) ek_eight a##k = from ? ek_eight_load16(c + 8u * k) : ek_eight_set(0);
#define EK_SUMS_START32(k) ek_four a##k = from ? ek_four_load32(c + 4u * k) : ek_four_set(0);
#define EK_SUMS_END16(k) ek_eight_store16(y + 8u * k, a##k);
#define EK_SUMS_END32(k) ek_four_store32(y + 4u * k, a##k);
#define EK_SUMS_ADD16_8(k) a##k = ek_eight_add(a##k, ek_eight_load8(row + 8u * k));
#define EK_SUMS_ADD16_16(k) a##k = ek_eight_add(a##k, ek_eight_load16((const ek_i16 *)(const void *)row + 8u * k));
#define EK_SUMS_ADD32_8(k) a##k = ek_four_add(a##k, ek_four_load8(row + 4u * k));
#define EK_SUMS_ADD32_16(k) a##k = ek_four_add(a##k, ek_four_load16((const ek_i16 *)(const void *)row + 4u * k));
/* the listed rows of w, two at a time: their offsets are one word */
#define EK_ROWS_OF(w, list, count, unit, ADD) \
    { \
        const uint16_t *at = list; \
        uint32_t pairs; \
        EK_UNROLL1 for (pairs = count / 2u; pairs; --pairs, at += 2) { \
            const uint32_t two = ek_two(at); \
            const ek_i8 *row = w + unit * (two & 0xffffu); \
            ADD; \
            row = w + unit * (two >> 16); \
            ADD; \
        } \
        if (count % 2u) { \
            const ek_i8 *row = w + unit * list[count - 1u]; \
            ADD; \
        } \
    }
/* y = c + the listed rows of w, and of v if there is one, `blocks` times WIDE vectors of sums; c may be null (zero),
 * and may be y itself
 */
#define EK_EIGHT_EVENT(BITS, TOTAL, WIDE) \
    EK_INLINE void ek_rows_w##BITS##_a##TOTAL##_##WIDE( \
        ek_i##TOTAL *y, const ek_i##TOTAL *c, uint32_t blocks, const ek_i8 *w, const uint16_t *list, uint32_t count, \
        uint32_t unit, const ek_i8 *v, const uint16_t *more, uint32_t others, uint32_t measure) { \
        const uint32_t sums = 128u / TOTAL * WIDE, bytes = BITS / 8u * sums; \
        const int from = c != 0, both = v != 0; \
        uint32_t b; \
        EK_UNROLL1 for (b = 0; b < blocks; ++b) { \
            EK_REP##WIDE(EK_SUMS_START##TOTAL) \
            EK_ROWS_OF(w, list, count, unit, EK_REP##WIDE(EK_SUMS_ADD##TOTAL##_##BITS)) \
            if (both) EK_ROWS_OF(v, more, others, measure, EK_REP##WIDE(EK_SUMS_ADD##TOTAL##_##BITS)) \
            EK_REP##WIDE(EK_SUMS_END##TOTAL) \
            y += sums; \
            w += bytes; \
            if (both) v += bytes; \
            if (from) c += sums; \
        } \
    }
#define EK_EIGHT_EVENTS(BITS, TOTAL) \
    EK_EIGHT_EVENT(BITS, TOTAL, 1) EK_EIGHT_EVENT(BITS, TOTAL, 2) EK_EIGHT_EVENT(BITS, TOTAL, 3) \
    EK_EIGHT_EVENT(BITS, TOTAL, 4) EK_EIGHT_EVENT(BITS, TOTAL, 5) EK_EIGHT_EVENT(BITS, TOTAL, 6)
EK_EIGHT_EVENTS(8, 16)
EK_EIGHT_EVENTS(8, 32)
EK_EIGHT_EVENTS(16, 16)
EK_EIGHT_EVENTS(16, 32)

/* int4 weights, sixteen outputs in eight bytes: 16 b + (a + 8) for the weights a of an output, b of that eight later.
 * The sums of bytes are 16 B + A + 8 n, those of their upper halves B, of n rows.
 */
#define EK_NIBBLE_START16(k) ek_eight s##k = ek_eight_set(-8 * (int32_t)fired), u##k = ek_eight_set(0);
#define EK_NIBBLE_ADD16(k) \
    { \
        const ek_eight both = ek_eight_load8(row + 8u * k); \
        s##k = ek_eight_add(s##k, both); \
        u##k = ek_eight_add(u##k, ek_eight_upper(both)); \
    }
#define EK_NIBBLE_END16(k) \
    s##k = ek_eight_lower(s##k, u##k); \
    ek_eight_store16(y + 16u * k, from ? ek_eight_add(s##k, ek_eight_load16(c + 16u * k)) : s##k); \
    ek_eight_store16(y + 16u * k + 8, from ? ek_eight_add(u##k, ek_eight_load16(c + 16u * k + 8)) : u##k);
/* of sixteenths: every sum is 16 times as large */
#define EK_NIBBLE_ENDS16(k) \
    s##k = ek_eight_16(ek_eight_lower(s##k, u##k)); \
    u##k = ek_eight_16(u##k); \
    ek_eight_store16(y + 16u * k, from ? ek_eight_add(s##k, ek_eight_load16(c + 16u * k)) : s##k); \
    ek_eight_store16(y + 16u * k + 8, from ? ek_eight_add(u##k, ek_eight_load16(c + 16u * k + 8)) : u##k);
#define EK_NIBBLE_START32(k) ek_four s##k = ek_four_set(-8 * (int32_t)fired), u##k = ek_four_set(0);
#define EK_NIBBLE_ADD32(k) \
    { \
        const ek_four both = ek_four_load8(row + 4u * k); \
        s##k = ek_four_add(s##k, both); \
        u##k = ek_four_add(u##k, ek_four_upper(both)); \
    }
#define EK_NIBBLE_END32(k) \
    s##k = ek_four_lower(s##k, u##k); \
    ek_four_store32(y + 4u * k, from ? ek_four_add(s##k, ek_four_load32(c + 4u * k)) : s##k); \
    ek_four_store32(y + 4u * k + 8, from ? ek_four_add(u##k, ek_four_load32(c + 4u * k + 8)) : u##k);
/* the same as for whole bytes; LOADS vectors of bytes for WIDE times sixteen sums */
#define EK_NIBBLE_EVENT(FORM, TOTAL, WIDE, LOADS, END) \
    EK_INLINE void ek_rows_##FORM##_a##TOTAL##_##WIDE( \
        ek_i##TOTAL *y, const ek_i##TOTAL *c, uint32_t blocks, const ek_i8 *w, const uint16_t *list, uint32_t count, \
        uint32_t unit, const ek_i8 *v, const uint16_t *more, uint32_t others, uint32_t measure) { \
        const int from = c != 0, both = v != 0; \
        const uint32_t fired = count + others; \
        uint32_t b; \
        EK_UNROLL1 for (b = 0; b < blocks; ++b) { \
            EK_REP##LOADS(EK_NIBBLE_START##TOTAL) \
            EK_ROWS_OF(w, list, count, unit, EK_REP##LOADS(EK_NIBBLE_ADD##TOTAL)) \
            if (both) EK_ROWS_OF(v, more, others, measure, EK_REP##LOADS(EK_NIBBLE_ADD##TOTAL)) \
            EK_REP##LOADS(END) \
            y += 16u * WIDE; \
            w += 8u * WIDE; \
            if (both) v += 8u * WIDE; \
            if (from) c += 16u * WIDE; \
        } \
    }
EK_NIBBLE_EVENT(w4, 16, 1, 1, EK_NIBBLE_END16)
EK_NIBBLE_EVENT(w4, 16, 2, 2, EK_NIBBLE_END16)
EK_NIBBLE_EVENT(w4, 16, 3, 3, EK_NIBBLE_END16)
EK_NIBBLE_EVENT(s4, 16, 1, 1, EK_NIBBLE_ENDS16)
EK_NIBBLE_EVENT(s4, 16, 2, 2, EK_NIBBLE_ENDS16)
EK_NIBBLE_EVENT(s4, 16, 3, 3, EK_NIBBLE_ENDS16)
EK_NIBBLE_EVENT(w4, 32, 1, 2, EK_NIBBLE_END32)

/* --- memory update of a few values, eight sums at a time -------------------------------------------------------------
 *
 * y[channel][d] = A m + B u for m[channel][d] and u[channel][k]. Weights are the columns of A, then of B, each of whole
 * eights.
 */
#define EK_EIGHT_MEMORY(FORM, TX, TW) \
    EK_INLINE void ek_memory_##FORM(ek_i32 *y, const TW *w, const TX *m, const TX *u, uint32_t channels, uint32_t d, \
                                    uint32_t k) { \
        const uint32_t width = (d + 7u) / 8u * 8u; \
        uint32_t c, o; \
        EK_UNROLL1 for (c = 0; c < channels; ++c, y += d, m += d, u += k) \
            for (o = 0; o < d; o += 8u) ek_memory_eight_##FORM(y + o, w + o, m, u, d, k, width, d - o); \
    }
#if EK_MVE
#define EK_EIGHT_MEMORY_SUMS(FORM, TX, TW, LOAD) \
    EK_INLINE void ek_memory_eight_##FORM(ek_i32 *y, const TW *w, const TX *m, const TX *u, uint32_t d, uint32_t k, \
                                          uint32_t width, uint32_t left) { \
        int32x4_t low = vdupq_n_s32(0), high = low; \
        uint32_t i; \
        EK_UNROLL4 for (i = 0; i < d + k; ++i, w += width) { \
            const int32_t x = i < d ? m[i] : u[i - d]; \
            low = vmlaq_n_s32(low, LOAD(w), x); \
            if (left > 4u) high = vmlaq_n_s32(high, LOAD(w + 4), x); \
        } \
        vstrwq_p_s32((int32_t *)y, low, vctp32q(left)); \
        if (left > 4u) vstrwq_p_s32((int32_t *)y + 4, high, vctp32q(left - 4u)); \
    }
#else
#define EK_EIGHT_MEMORY_SUMS(FORM, TX, TW, LOAD) \
    EK_INLINE void ek_memory_eight_##FORM(ek_i32 *y, const TW *w, const TX *m, const TX *u, uint32_t d, uint32_t k, \
                                          uint32_t width, uint32_t left) { \
        uint32_t o, i; \
        for (o = 0; o < left && o < 8u; ++o) { \
            uint32_t sum = 0; \
            for (i = 0; i < d + k; ++i) sum += (uint32_t)(w[i * width + o] * (i < d ? m[i] : u[i - d])); \
            y[o] = (int32_t)sum; \
        } \
    }
#endif
#define EK_EIGHT_MEMORIES(FORM, TX, TW, LOAD) \
    EK_EIGHT_MEMORY_SUMS(FORM, TX, TW, LOAD) \
    EK_EIGHT_MEMORY(FORM, TX, TW)
EK_EIGHT_MEMORIES(x8_w8, ek_i8, int8_t, vldrbq_s32)
EK_EIGHT_MEMORIES(x8_w16, ek_i8, int16_t, vldrhq_s32)
EK_EIGHT_MEMORIES(x16_w8, ek_i16, int8_t, vldrbq_s32)
EK_EIGHT_MEMORIES(x16_w16, ek_i16, int16_t, vldrhq_s32)

/* --- memory update of four spikes and one, eight channels at a time --------------------------------------------------
 *
 * Rows of the table by the bits as they lie in a word: those of m in bits 0, 2, 4 and 6, that of u in bit 1. `spikes`
 * is a word of m, the bits of u for its channels are every second one of `driven`.
 */
EK_INLINE void ek_memory4_word(ek_i16 *y, const ek_i16 *table, uint32_t spikes, uint32_t driven, int both) {
#if EK_MVE
    /* channels 0, 4, 1, 5, …: to bit 3 on, because a row has eight bytes */
    const int16x8_t of_m = {3, 3, -5, -5, 2, 2, -6, -6}, of_u = {4, -4, 2, -6, 0, -8, -2, -10};
    const uint16x8_t words = vreinterpretq_u16_u32(vdupq_n_u32(spikes));
    const uint16x8_t rows = vandq_u16(vshlq_u16(words, of_m), vdupq_n_u16(0x55u << 3));
    const uint16x8_t drivers = vandq_u16(vshlq_u16(vdupq_n_u16((uint16_t)driven), of_u), vdupq_n_u16(2u << 3));
    const uint16x8_t offsets = vorrq_u16(rows, drivers);
    const uint32x4_t first = vmovlbq_u16(offsets), second = vmovltq_u16(offsets);
    uint32x4x2_t sums;
    sums.val[0] = vldrwq_gather_offset_u32((const uint32_t *)table, first);
    sums.val[1] = vldrwq_gather_offset_u32((const uint32_t *)table + 1, first);
    vst2q_u32((uint32_t *)y, sums);
    if (!both) return;
    sums.val[0] = vldrwq_gather_offset_u32((const uint32_t *)table, second);
    sums.val[1] = vldrwq_gather_offset_u32((const uint32_t *)table + 1, second);
    vst2q_u32((uint32_t *)y + 8, sums);
#else
    uint32_t c, d;
    for (c = 0; c < (both ? 8u : 4u); ++c) {
        const uint32_t bits = spikes >> (16u * (c >> 2) + 8u * (c & 1u) + (c >> 1 & 1u)) & 0x55u;
        const uint32_t row = bits | (driven >> 2u * c & 1u) << 1;
        for (d = 0; d < 4u; ++d) *y++ = table[4u * row + d];
    }
#endif
}
EK_INLINE void ek_memory4_a16(ek_i16 *y, const ek_i16 *table, const ek_word *m, const ek_word *u, uint32_t channels) {
    uint32_t at, k;
    EK_UNROLL1 for (at = 0; at < channels; at += 32u) {
        const uint32_t word = *u++;
        EK_UNROLL4 for (k = 0; k < 4u; ++k, y += 32) {
            if (at + 8u * k >= channels) break;
            ek_memory4_word(y, table, *m++, word >> (8u * (k & 2u) + (k & 1u)), at + 8u * k + 4u < channels);
        }
    }
}

#endif
