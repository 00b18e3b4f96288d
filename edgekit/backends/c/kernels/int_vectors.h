/* Eight int16 in a vector: Armv8.1-M with MVE (Cortex-M55, M85), and the same in plain C to test against.
 *
 *   ek_eight  eight int16, or eight int8 that have become int16
 *   ek_wide   eight int32 in two vectors, those of even and of odd number
 *   ek_lanes  which of eight are meant: two bits each, as a compare leaves them in P0
 * Sixteen spikes are half a word: EK_SLOT puts the second eight between the bits of the first, so that the bits of two
 * compares are merged by masks alone. Buffers hold whole vectors of sixteen; what is past the end of a value is
 * computed and means nothing, except in words of spikes, where it must be 0.
 */
#ifndef EK_INT_VECTORS_H
#define EK_INT_VECTORS_H

#include "int_core.h"

#if defined(__ARM_FEATURE_MVE) && defined(__GNUC__) && !defined(EK_FORCE_PORTABLE)
#define EK_MVE 1
#include <arm_mve.h>
typedef int16x8_t ek_eight;
typedef int32x4x2_t ek_wide;
typedef mve_pred16_t ek_lanes;
#else
typedef struct {
    int16_t e[8];
} ek_eight;
typedef struct {
    int32_t e[8];
} ek_wide;
typedef uint16_t ek_lanes;
#endif
typedef uint16_t EK_ALIASING ek_half;

/* --- spikes -------------------------------------------------------------------------------------------------------- */

EK_INLINE ek_lanes ek_lanes_first(uint32_t half) { return (ek_lanes)((half & 0x5555u) * 3u); }
EK_INLINE ek_lanes ek_lanes_second(uint32_t half) { return (ek_lanes)((half >> 1 & 0x5555u) * 3u); }
EK_INLINE ek_half ek_lanes_join(ek_lanes first, ek_lanes second) {
    return (ek_half)((first & 0x5555u) | (second & 0xaaaau));
}
EK_INLINE ek_lanes ek_lanes_and(ek_lanes a, ek_lanes b) { return (ek_lanes)(a & b); }
EK_INLINE ek_lanes ek_lanes_or(ek_lanes a, ek_lanes b) { return (ek_lanes)(a | b); }
EK_INLINE ek_lanes ek_lanes_not(ek_lanes a) { return (ek_lanes)~(uint32_t)a; }

/* Clears the bits past the n spikes in their last word. */
EK_INLINE void ek_trim_spikes(ek_word *words, uint32_t n) {
    uint32_t i, valid = 0;
    for (i = 0; i < n % 32u; ++i) valid |= 1u << EK_SLOT(i);
    if (valid) words[n / 32u] &= valid;
}

/* --- elementwise --------------------------------------------------------------------------------------------------- */

#if EK_MVE
EK_INLINE ek_eight ek_eight_set(int32_t x) { return vdupq_n_s16((int16_t)x); }
EK_INLINE ek_eight ek_eight_load16(const ek_i16 *x) { return vldrhq_s16((const int16_t *)x); }
EK_INLINE ek_eight ek_eight_load8(const ek_i8 *x) { return vldrbq_s16((const int8_t *)x); }
EK_INLINE void ek_eight_store16(ek_i16 *y, ek_eight x) { vstrhq_s16((int16_t *)y, x); }
EK_INLINE void ek_eight_store8(ek_i8 *y, ek_eight x) { vstrbq_s16((int8_t *)y, x); }
EK_INLINE ek_wide ek_wide_load(const ek_i32 *x) { return vld2q_s32((const int32_t *)x); }
EK_INLINE void ek_wide_store(ek_i32 *y, ek_wide x) { vst2q_s32((int32_t *)y, x); }
EK_INLINE ek_wide ek_wide_of(int32x4_t even, int32x4_t odd) {
    ek_wide y;
    y.val[0] = even;
    y.val[1] = odd;
    return y;
}
EK_INLINE ek_wide ek_wide_set(int32_t x) { return ek_wide_of(vdupq_n_s32(x), vdupq_n_s32(x)); }
EK_INLINE ek_wide ek_widened(ek_eight x) { return ek_wide_of(vmovlbq_s16(x), vmovltq_s16(x)); }
EK_INLINE ek_eight ek_narrowed(ek_wide x) { return vqmovntq_s32(vqmovnbq_s32(vdupq_n_s16(0), x.val[0]), x.val[1]); }

/* int8 in int16: those that have become too wide, modulo 2^8 or at the nearest end of the range */
EK_INLINE ek_eight ek_eight_wrapped8(ek_eight x) { return vmovlbq_s8(vreinterpretq_s8_s16(x)); }
EK_INLINE ek_eight ek_eight_low_clipped8(ek_eight x) {
    return vreinterpretq_s16_s8(vqmovnbq_s16(vreinterpretq_s8_s16(x), x));
}

#define EK_EIGHT_UNARY(name, verb) \
    EK_INLINE ek_eight ek_eight_##name(ek_eight a) { return verb##q_s16(a); } \
    EK_INLINE ek_wide ek_wide_##name(ek_wide a) { return ek_wide_of(verb##q_s32(a.val[0]), verb##q_s32(a.val[1])); }
#define EK_EIGHT_BINARY(name, verb) \
    EK_INLINE ek_eight ek_eight_##name(ek_eight a, ek_eight b) { return verb##q_s16(a, b); } \
    EK_INLINE ek_wide ek_wide_##name(ek_wide a, ek_wide b) { \
        return ek_wide_of(verb##q_s32(a.val[0], b.val[0]), verb##q_s32(a.val[1], b.val[1])); \
    }
#define EK_EIGHT_COMPARE(name) \
    EK_INLINE ek_lanes ek_eight_##name(ek_eight a, ek_eight b) { return vcmp##name##q_s16(a, b); } \
    EK_INLINE ek_lanes ek_wide_##name(ek_wide a, ek_wide b) { \
        const uint32_t even = vcmp##name##q_s32(a.val[0], b.val[0]), odd = vcmp##name##q_s32(a.val[1], b.val[1]); \
        return (ek_lanes)((even & 0x3333u) | (odd & 0xccccu)); \
    }
EK_EIGHT_COMPARE(gt)
EK_EIGHT_COMPARE(ge)
EK_EIGHT_COMPARE(lt)
EK_EIGHT_COMPARE(le)
EK_EIGHT_COMPARE(eq)
EK_INLINE ek_lanes ek_eight_ne(ek_eight a, ek_eight b) { return vcmpneq_s16(a, b); }
EK_INLINE ek_lanes ek_wide_ne(ek_wide a, ek_wide b) { return ek_lanes_not(ek_wide_eq(a, b)); }

EK_INLINE ek_eight ek_eight_where(ek_lanes m, ek_eight a, ek_eight b) { return vpselq_s16(a, b, m); }
EK_INLINE ek_wide ek_wide_where(ek_lanes m, ek_wide a, ek_wide b) {
    const mve_pred16_t even = (mve_pred16_t)((m & 0x3333u) * 5u), odd = (mve_pred16_t)((m >> 2 & 0x3333u) * 5u);
    return ek_wide_of(vpselq_s32(a.val[0], b.val[0], even), vpselq_s32(a.val[1], b.val[1], odd));
}
EK_INLINE ek_eight ek_eight_add_if(ek_lanes m, ek_eight a, ek_eight b) { return vaddq_m_s16(a, a, b, m); }
EK_INLINE ek_eight ek_eight_adds_if(ek_lanes m, ek_eight a, ek_eight b) { return vqaddq_m_s16(a, a, b, m); }
EK_INLINE ek_eight ek_eight_sub_if(ek_lanes m, ek_eight a, ek_eight b) { return vsubq_m_s16(a, a, b, m); }
EK_INLINE ek_eight ek_eight_subs_if(ek_lanes m, ek_eight a, ek_eight b) { return vqsubq_m_s16(a, a, b, m); }

/* Sixteen compares: the signs of saturated differences, side by side in bytes */
#define EK_EIGHTS_COMPARE(name) \
    EK_INLINE ek_half ek_eights_##name(ek_eight a0, ek_eight b0, ek_eight a1, ek_eight b1) { \
        const ek_eight first = vqsubq_s16(a0, b0), second = vqsubq_s16(a1, b1); \
        return vcmp##name##q_n_s8(vreinterpretq_s8_s16(vsriq_n_s16(second, first, 8)), 0); \
    }
/* x · 2^s, s from 1 to 16 */
#define ek_widened_shifted(x, s) ek_wide_of(vshllbq_n_s16(x, s), vshlltq_n_s16(x, s))
/* saturate(x · 2^s) */
#define ek_wide_clipped_shift(x, s) ek_wide_of(vqshlq_n_s32((x).val[0], s), vqshlq_n_s32((x).val[1], s))
/* floor((x + 2^(s - 1)) / 2^s) with an exact sum, s from 1 to 32 */
#define ek_wide_rounded(x, s) ek_wide_of(vrshrq_n_s32((x).val[0], s), vrshrq_n_s32((x).val[1], s))
EK_INLINE ek_wide ek_wide_product(ek_eight a, ek_eight b) {
    return ek_wide_of(vmullbq_int_s16(a, b), vmulltq_int_s16(a, b));
}
/* saturate(floor((a · b + 2^(s - 1)) / 2^s)) of int16, s from 1 to 16 */
#define ek_eight_scaled(a, b, s) \
    vqrshrntq_n_s32(vqrshrnbq_n_s32(vdupq_n_s16(0), vmullbq_int_s16(a, b), s), vmulltq_int_s16(a, b), s)
#else
#define EK_EACH(T, expression) \
    T y; \
    uint32_t i; \
    for (i = 0; i < 8u; ++i) y.e[i] = expression; \
    return y;
EK_INLINE ek_eight ek_eight_set(int32_t x) { EK_EACH(ek_eight, (int16_t)x) }
EK_INLINE ek_eight ek_eight_load16(const ek_i16 *x) { EK_EACH(ek_eight, x[i]) }
EK_INLINE ek_eight ek_eight_load8(const ek_i8 *x) { EK_EACH(ek_eight, x[i]) }
EK_INLINE void ek_eight_store16(ek_i16 *y, ek_eight x) {
    uint32_t i;
    for (i = 0; i < 8u; ++i) y[i] = x.e[i];
}
EK_INLINE void ek_eight_store8(ek_i8 *y, ek_eight x) {
    uint32_t i;
    for (i = 0; i < 8u; ++i) y[i] = (int8_t)(uint8_t)x.e[i];
}
EK_INLINE ek_wide ek_wide_load(const ek_i32 *x) { EK_EACH(ek_wide, x[i]) }
EK_INLINE void ek_wide_store(ek_i32 *y, ek_wide x) {
    uint32_t i;
    for (i = 0; i < 8u; ++i) y[i] = x.e[i];
}
EK_INLINE ek_wide ek_wide_set(int32_t x) { EK_EACH(ek_wide, x) }
EK_INLINE ek_wide ek_widened(ek_eight x) { EK_EACH(ek_wide, x.e[i]) }
EK_INLINE ek_eight ek_narrowed(ek_wide x) { EK_EACH(ek_eight, ek_clip_16(x.e[i])) }
EK_INLINE ek_eight ek_eight_wrapped8(ek_eight x) { EK_EACH(ek_eight, (int8_t)(uint8_t)x.e[i]) }
EK_INLINE ek_eight ek_eight_low_clipped8(ek_eight x) { EK_EACH(ek_eight, ek_clip_8(x.e[i])) }

#define EK_EIGHT_UNARY(name, verb) \
    EK_INLINE ek_eight ek_eight_##name(ek_eight a) { EK_EACH(ek_eight, ek_##name##_16(a.e[i])) } \
    EK_INLINE ek_wide ek_wide_##name(ek_wide a) { EK_EACH(ek_wide, ek_##name##_32(a.e[i])) }
#define EK_EIGHT_BINARY(name, verb) \
    EK_INLINE ek_eight ek_eight_##name(ek_eight a, ek_eight b) { EK_EACH(ek_eight, ek_##name##_16(a.e[i], b.e[i])) } \
    EK_INLINE ek_wide ek_wide_##name(ek_wide a, ek_wide b) { EK_EACH(ek_wide, ek_##name##_32(a.e[i], b.e[i])) }
#define EK_LANES(expression) \
    uint32_t i, y = 0; \
    for (i = 0; i < 8u; ++i) y |= (expression) ? 3u << 2u * i : 0u; \
    return (ek_lanes)y;
#define EK_LANE(m) ((uint32_t)(m) >> 2u * i & 1u)
#define EK_EIGHT_COMPARE(name) \
    EK_INLINE ek_lanes ek_eight_##name(ek_eight a, ek_eight b) { EK_LANES(ek_##name##_16(a.e[i], b.e[i])) } \
    EK_INLINE ek_lanes ek_wide_##name(ek_wide a, ek_wide b) { EK_LANES(ek_##name##_32(a.e[i], b.e[i])) }
EK_EIGHT_COMPARE(gt)
EK_EIGHT_COMPARE(ge)
EK_EIGHT_COMPARE(lt)
EK_EIGHT_COMPARE(le)
EK_EIGHT_COMPARE(eq)
EK_EIGHT_COMPARE(ne)
#define EK_EIGHTS_COMPARE(name) \
    EK_INLINE ek_half ek_eights_##name(ek_eight a0, ek_eight b0, ek_eight a1, ek_eight b1) { \
        return ek_lanes_join(ek_eight_##name(a0, b0), ek_eight_##name(a1, b1)); \
    }
EK_INLINE ek_eight ek_eight_where(ek_lanes m, ek_eight a, ek_eight b) {
    EK_EACH(ek_eight, EK_LANE(m) ? a.e[i] : b.e[i])
}
EK_INLINE ek_wide ek_wide_where(ek_lanes m, ek_wide a, ek_wide b) { EK_EACH(ek_wide, EK_LANE(m) ? a.e[i] : b.e[i]) }
#define EK_EIGHT_IF(name) \
    EK_INLINE ek_eight ek_eight_##name##_if(ek_lanes m, ek_eight a, ek_eight b) { \
        EK_EACH(ek_eight, EK_LANE(m) ? ek_##name##_16(a.e[i], b.e[i]) : a.e[i]) \
    }
EK_EIGHT_IF(add)
EK_EIGHT_IF(adds)
EK_EIGHT_IF(sub)
EK_EIGHT_IF(subs)
EK_INLINE ek_wide ek_widened_shifted(ek_eight x, uint32_t s) { EK_EACH(ek_wide, x.e[i] * (1 << s)) }
EK_INLINE ek_wide ek_wide_clipped_shift(ek_wide x, uint32_t s) {
    EK_EACH(ek_wide, ek_clip_wide_32((int64_t)x.e[i] * ((int64_t)1 << s)))
}
EK_INLINE ek_wide ek_wide_rounded(ek_wide x, uint32_t s) { EK_EACH(ek_wide, (int32_t)ek_scaled_wide(x.e[i], 1, s)) }
EK_INLINE ek_wide ek_wide_product(ek_eight a, ek_eight b) { EK_EACH(ek_wide, a.e[i] * b.e[i]) }
EK_INLINE ek_eight ek_eight_scaled(ek_eight a, ek_eight b, uint32_t s) {
    EK_EACH(ek_eight, ek_clip_wide_16(ek_scaled_wide(a.e[i], b.e[i], s)))
}
EK_INLINE int16_t ek_scaled15_16(int16_t a, int16_t b) { return ek_clip_wide_16(ek_scaled_wide(a, b, 15u)); }
EK_INLINE int32_t ek_scaled15_32(int32_t a, int32_t b) { return ek_clip_wide_32(ek_scaled_wide(a, b, 31u)); }
#endif
EK_EIGHTS_COMPARE(lt)
EK_EIGHTS_COMPARE(ge)
EK_EIGHT_UNARY(neg, vneg)
EK_EIGHT_UNARY(abs, vabs)
EK_EIGHT_BINARY(add, vadd)
EK_EIGHT_BINARY(sub, vsub)
EK_EIGHT_BINARY(adds, vqadd)
EK_EIGHT_BINARY(subs, vqsub)
EK_EIGHT_BINARY(minimum, vmin)
EK_EIGHT_BINARY(maximum, vmax)
/* saturate(floor((a · b + 2^14) / 2^15)) of int16, of int32 with 30 and 31: VQRDMULH is saturate((2 a b + 2^15) >> 16),
 * with an exact sum, and the only product that saturates is that of the two lowest values, as the definition wants
 */
EK_EIGHT_BINARY(scaled15, vqrdmulh)

EK_INLINE ek_eight ek_eight_clipped8(ek_eight x) { return ek_eight_wrapped8(ek_eight_low_clipped8(x)); }

/* --- dense: eight outputs at a time --------------------------------------------------------------------------------
 *
 * Weights lie in blocks of eight outputs, at the end a block of four if there are as many left, and single ones: for
 * every vector of inputs one of each output of the block, the last padded with zeros. x is read to a whole vector.
 */
#if EK_MVE
EK_INLINE uint32_t ek_mac_x8_w8(uint32_t sum, const ek_i8 *x, const int8_t *w) {
    return (uint32_t)vmladavaq_s8((int32_t)sum, vldrbq_s8((const int8_t *)x), vldrbq_s8(w));
}
EK_INLINE uint32_t ek_mac_x8_w16(uint32_t sum, const ek_i8 *x, const int16_t *w) {
    return (uint32_t)vmladavaq_s16((int32_t)sum, vldrbq_s16((const int8_t *)x), vldrhq_s16(w));
}
EK_INLINE uint32_t ek_mac_x16_w8(uint32_t sum, const ek_i16 *x, const int8_t *w) {
    return (uint32_t)vmladavaq_s16((int32_t)sum, vldrhq_s16((const int16_t *)x), vldrbq_s16(w));
}
EK_INLINE uint32_t ek_mac_x16_w16(uint32_t sum, const ek_i16 *x, const int16_t *w) {
    return (uint32_t)vmladavaq_s16((int32_t)sum, vldrhq_s16((const int16_t *)x), vldrhq_s16(w));
}
#define EK_ASSEMBLY __attribute__((naked, noinline, unused)) static
#define EK_REGISTER __attribute__((unused)) /* a parameter that the assembly finds where the call puts it */
/* load of x and its step; load of weights and the bytes of a vector of them; what the multiply-add takes */
#define EK_X8_W8 "vldrb.u8 q0, [r1], #16", "vldrw.u32", "16", "s8"
#define EK_X8_W16 "vldrb.s16 q0, [r1], #8", "vldrw.u32", "16", "s16"
#define EK_X16_W8 "vldrh.u16 q0, [r1], #16", "vldrb.s16", "8", "s16"
#define EK_X16_W16 "vldrh.u16 q0, [r1], #16", "vldrw.u32", "16", "s16"
#define EK_ROW_MAC(load, bytes, mac, row, q, sum) \
    load " " q ", [r3, #" row "*" bytes "]\n\t" mac " " sum ", q0, " q "\n\t"
/* one vector of x times one of each output; the pointer to the weights moves on with the last load */
#define EK_EIGHT_MACS(load, bytes, mac) \
    EK_ROW_MAC(load, bytes, mac, "1", "q1", "r2") EK_ROW_MAC(load, bytes, mac, "2", "q2", "r4") \
    EK_ROW_MAC(load, bytes, mac, "3", "q3", "r6") EK_ROW_MAC(load, bytes, mac, "4", "q1", "r8") \
    EK_ROW_MAC(load, bytes, mac, "5", "q2", "r10") EK_ROW_MAC(load, bytes, mac, "6", "q3", "r12") \
    EK_ROW_MAC(load, bytes, mac, "7", "q1", "lr") \
    load " q2, [r3], #8*" bytes "\n\t" mac " r0, q0, q2\n\t"
#define EK_TAKE32 "ldm r9!, {r0, r2, r4, r6, r8, r10, r12, lr}\n\t"
#define EK_PUT32 "stm r7!, {r0, r2, r4, r6, r8, r10, r12, lr}\n\t"
/* two int16 in a word: what is left above the lower one does not reach the 16 bits that are stored */
#define EK_TAKE16 \
    "ldm r9!, {r0, r4, r8, r12}\n\t" \
    "lsr r2, r0, #16\n\tlsr r6, r4, #16\n\tlsr r10, r8, #16\n\tlsr lr, r12, #16\n\t"
#define EK_PUT16 \
    "pkhbt r0, r0, r2, lsl #16\n\tpkhbt r4, r4, r6, lsl #16\n\tpkhbt r8, r8, r10, lsl #16\n\t" \
    "pkhbt r12, r12, lr, lsl #16\n\tstm r7!, {r0, r4, r8, r12}\n\t"
/* `blocks` of eight outputs. Two vectors of x in a round of the inner loop; an odd number enters in the middle of it. */
#define EK_ROWS8(NAME, TX, TW, TY, TAKE, PUT, ...) EK_ROWS8_OF(NAME, TX, TW, TY, TAKE, PUT, __VA_ARGS__)
#define EK_ROWS8_OF(NAME, TX, TW, TY, TAKE, PUT, X, LOAD, BYTES, MAC) \
    EK_ASSEMBLY void NAME(EK_REGISTER TY *y, EK_REGISTER const TY *c, EK_REGISTER const TW *w, \
                          EK_REGISTER const TX *x, EK_REGISTER uint32_t odd, EK_REGISTER const TX *end, \
                          EK_REGISTER uint32_t blocks) { \
        __asm__ volatile("push {r4-r11, lr}\n\t" \
                         "ldrd r4, r5, [sp, #36]\n\t" \
                         "ldr r11, [sp, #44]\n\t" \
                         "mov r7, r0\n\t" \
                         "mov r9, r1\n\t" \
                         "adr.w r6, 2f\n\t" \
                         "adr.w r8, 3f\n\t" \
                         "cmp r4, #0\n\t" \
                         "it ne\n\t" \
                         "movne r6, r8\n\t" \
                         "orr r6, r6, #1\n\t" \
                         "push {r3, r6}\n\t" \
                         "mov r3, r2\n" \
                         "1:\n\t" TAKE "ldr r1, [sp]\n\t" \
                         "ldr pc, [sp, #4]\n\t" \
                         ".balign 4\n" \
                         "2:\n\t" X "\n\t" EK_EIGHT_MACS(LOAD, BYTES, "vmladava." MAC) \
                         "\n3:\n\t" X "\n\t" EK_EIGHT_MACS(LOAD, BYTES, "vmladava." MAC) \
                         "cmp r1, r5\n\t" \
                         "bne 2b\n\t" PUT "subs r11, #1\n\t" \
                         "bne 1b\n\t" \
                         "add sp, #8\n\t" \
                         "pop {r4-r11, pc}\n"); \
    }
/* the same of one vector of x, without an addend */
#define EK_ROWS8_ONE(NAME, TX, TW, TY, PUT, ...) EK_ROWS8_ONE_OF(NAME, TX, TW, TY, PUT, __VA_ARGS__)
#define EK_ROWS8_ONE_OF(NAME, TX, TW, TY, PUT, X, LOAD, BYTES, MAC) \
    EK_ASSEMBLY void NAME(EK_REGISTER TY *y, EK_REGISTER const TW *w, EK_REGISTER const TX *x, \
                          EK_REGISTER uint32_t blocks) { \
        __asm__ volatile("push {r4-r11, lr}\n\t" \
                         "mov r7, r0\n\t" \
                         "mov r5, r1\n\t" \
                         "mov r11, r3\n\t" \
                         "mov r1, r2\n\t" \
                         "mov r3, r5\n\t" X "\n" \
                         "1:\n\t" EK_EIGHT_MACS(LOAD, BYTES, "vmladav." MAC) PUT "subs r11, #1\n\t" \
                         "bne 1b\n\t" \
                         "pop {r4-r11, pc}\n"); \
    }
#else
#define EK_X8_W8 16u
#define EK_X8_W16 8u
#define EK_X16_W8 8u
#define EK_X16_W16 8u
#define EK_MAC_OF(name, TX, TW, PER) \
    EK_INLINE uint32_t ek_mac_##name(uint32_t sum, const TX *x, const TW *w) { \
        uint32_t i; \
        for (i = 0; i < PER; ++i) sum += (uint32_t)(x[i] * w[i]); \
        return sum; \
    }
EK_MAC_OF(x8_w8, ek_i8, int8_t, EK_X8_W8)
EK_MAC_OF(x8_w16, ek_i8, int16_t, EK_X8_W16)
EK_MAC_OF(x16_w8, ek_i16, int8_t, EK_X16_W8)
EK_MAC_OF(x16_w16, ek_i16, int16_t, EK_X16_W16)
#define EK_ROWS8(NAME, TX, TW, TY, TAKE, PUT, PER) \
    EK_INLINE void NAME(TY *y, const TY *c, const TW *w, const TX *x, uint32_t odd, const TX *end, uint32_t blocks) { \
        (void)odd; \
        for (; blocks; --blocks, y += 8, c += 8) { \
            uint32_t sums[8], k, i; \
            const TX *at; \
            for (k = 0; k < 8u; ++k) sums[k] = (uint32_t)c[k]; \
            for (at = x; at != end; at += PER) \
                for (k = 0; k < 8u; ++k) \
                    for (i = 0; i < PER; ++i) sums[k] += (uint32_t)(at[i] * *w++); \
            for (k = 0; k < 8u; ++k) y[k] = (TY)sums[k]; \
        } \
    }
#define EK_ROWS8_ONE(NAME, TX, TW, TY, PUT, PER) \
    EK_INLINE void NAME(TY *y, const TW *w, const TX *x, uint32_t blocks) { \
        uint32_t o, i; \
        for (o = 0; o < 8u * blocks; ++o) { \
            uint32_t sum = 0; \
            for (i = 0; i < PER; ++i) sum += (uint32_t)(x[i] * *w++); \
            y[o] = (TY)sum; \
        } \
    }
#endif

/* `vectors` of PER inputs in a row of x */
#define EK_EIGHT_DENSE(FORM, TX, TW, PER, A, TY, TAKE, PUT, ...) \
    EK_ROWS8(ek_rows8_##FORM##_a##A, TX, TW, TY, TAKE, PUT, __VA_ARGS__) \
    EK_ROWS8_ONE(ek_rows8_one_##FORM##_a##A, TX, TW, TY, PUT, __VA_ARGS__) \
    EK_INLINE void ek_eights_##FORM##_a##A(TY *y, const TY *c, uint32_t step, const TW *weights, const TX *x, \
                                           uint32_t rows, uint32_t n_in, uint32_t vectors, uint32_t n_out) { \
        const uint32_t eights = n_out / 8u, width = PER * vectors; \
        uint32_t r, o, i; \
        for (r = 0; r < rows; ++r, x += n_in, y += n_out) { \
            const TW *w = weights + 8u * eights * width; \
            const TY *from = c ? c + r * step : y; \
            o = 0; \
            if (!c && vectors == 1u && eights) { \
                ek_rows8_one_##FORM##_a##A(y, weights, x, eights); \
                o = 8u * eights; \
            } \
            if (!c) \
                for (i = o; i < n_out; ++i) y[i] = 0; \
            if (eights && o == 0u) \
                ek_rows8_##FORM##_a##A(y, from, weights, x, vectors % 2u, x + width, eights); \
            o = 8u * eights; \
            if (n_out % 8u >= 4u) { \
                uint32_t a0 = (uint32_t)from[o], a1 = (uint32_t)from[o + 1u]; \
                uint32_t a2 = (uint32_t)from[o + 2u], a3 = (uint32_t)from[o + 3u]; \
                EK_UNROLL1 for (i = 0; i < width; i += PER, w += 4u * PER) { \
                    a0 = ek_mac_##FORM(a0, x + i, w); \
                    a1 = ek_mac_##FORM(a1, x + i, w + PER); \
                    a2 = ek_mac_##FORM(a2, x + i, w + 2u * PER); \
                    a3 = ek_mac_##FORM(a3, x + i, w + 3u * PER); \
                } \
                y[o] = (TY)a0; \
                y[o + 1u] = (TY)a1; \
                y[o + 2u] = (TY)a2; \
                y[o + 3u] = (TY)a3; \
                o += 4u; \
            } \
            EK_UNROLL1 for (; o < n_out; ++o) { \
                uint32_t sum = (uint32_t)from[o]; \
                EK_UNROLL1 for (i = 0; i < width; i += PER, w += PER) sum = ek_mac_##FORM(sum, x + i, w); \
                y[o] = (TY)sum; \
            } \
        } \
    }
#define EK_EIGHT_DENSE_BOTH(FORM, TX, TW, PER, ...) \
    EK_EIGHT_DENSE(FORM, TX, TW, PER, 16, ek_i16, EK_TAKE16, EK_PUT16, __VA_ARGS__) \
    EK_EIGHT_DENSE(FORM, TX, TW, PER, 32, ek_i32, EK_TAKE32, EK_PUT32, __VA_ARGS__)
EK_EIGHT_DENSE_BOTH(x8_w8, ek_i8, int8_t, 16u, EK_X8_W8)
EK_EIGHT_DENSE_BOTH(x8_w16, ek_i8, int16_t, 8u, EK_X8_W16)
EK_EIGHT_DENSE_BOTH(x16_w8, ek_i16, int8_t, 8u, EK_X16_W8)
EK_EIGHT_DENSE_BOTH(x16_w16, ek_i16, int16_t, 8u, EK_X16_W16)

/* --- dense, int4: four outputs at a time --------------------------------------------------------------------------
 *
 * A byte is 16 b + (a + 8) for the weights a and b of two outputs and one input, b signed: its products with x sum up
 * to 16 B + A + 8 X, those of its upper half to B, and those of 1 to X. Blocks are of two such pairs, a vector of inputs
 * of each in turn, padded with zeros.
 */
#if EK_MVE
EK_INLINE void ek_nibble_mac_x8(uint32_t *both, uint32_t *upper, const ek_i8 *x, const int8_t *w) {
    const int8x16_t inputs = vldrbq_s8((const int8_t *)x), pair = vldrbq_s8(w);
    *both = (uint32_t)vmladavaq_s8((int32_t)*both, inputs, pair);
    *upper = (uint32_t)vmladavaq_s8((int32_t)*upper, inputs, vshrq_n_s8(pair, 4));
}
EK_INLINE void ek_nibble_mac_x16(uint32_t *both, uint32_t *upper, const ek_i16 *x, const int8_t *w) {
    const int16x8_t inputs = vldrhq_s16((const int16_t *)x), pair = vldrbq_s16(w);
    *both = (uint32_t)vmladavaq_s16((int32_t)*both, inputs, pair);
    *upper = (uint32_t)vmladavaq_s16((int32_t)*upper, inputs, vshrq_n_s16(pair, 4));
}
EK_INLINE uint32_t ek_sum_x8(uint32_t sum, const ek_i8 *x) {
    return (uint32_t)vaddvaq_s8((int32_t)sum, vldrbq_s8((const int8_t *)x));
}
EK_INLINE uint32_t ek_sum_x16(uint32_t sum, const ek_i16 *x) {
    return (uint32_t)vaddvaq_s16((int32_t)sum, vldrhq_s16((const int16_t *)x));
}
#else
EK_INLINE int32_t ek_upper(int8_t pair) { return (pair - (pair & 15)) / 16; }
#define EK_NIBBLE_MAC(form, TX, PER) \
    EK_INLINE void ek_nibble_mac_##form(uint32_t *both, uint32_t *upper, const TX *x, const int8_t *w) { \
        uint32_t i; \
        for (i = 0; i < PER; ++i) { \
            *both += (uint32_t)(x[i] * w[i]); \
            *upper += (uint32_t)(x[i] * ek_upper(w[i])); \
        } \
    } \
    EK_INLINE uint32_t ek_sum_##form(uint32_t sum, const TX *x) { \
        uint32_t i; \
        for (i = 0; i < PER; ++i) sum += (uint32_t)x[i]; \
        return sum; \
    }
EK_NIBBLE_MAC(x8, ek_i8, 16u)
EK_NIBBLE_MAC(x16, ek_i16, 8u)
#endif
/* `n_out`: a multiple of four; c may be null, and may be y itself */
#define EK_NIBBLE_DENSE(FORM, TX, PER, A, TY) \
    EK_INLINE void ek_nibbles_##FORM##_a##A(TY *y, const TY *c, const int8_t *w, const TX *x, uint32_t vectors, \
                                            uint32_t n_out) { \
        uint32_t o, k, all = 0; \
        EK_UNROLL1 for (k = 0; k < vectors; ++k) all = ek_sum_##FORM(all, x + PER * k); \
        EK_UNROLL1 for (o = 0; o < n_out; o += 4u) { \
            uint32_t a0 = 0u - 8u * all, a1 = 0, a2 = 0u - 8u * all, a3 = 0; \
            EK_UNROLL1 for (k = 0; k < vectors; ++k, w += 2u * PER) { \
                ek_nibble_mac_##FORM(&a0, &a1, x + PER * k, w); \
                ek_nibble_mac_##FORM(&a2, &a3, x + PER * k, w + PER); \
            } \
            y[o] = (TY)((c ? (uint32_t)c[o] : 0u) + a0 - 16u * a1); \
            y[o + 1u] = (TY)((c ? (uint32_t)c[o + 1u] : 0u) + a1); \
            y[o + 2u] = (TY)((c ? (uint32_t)c[o + 2u] : 0u) + a2 - 16u * a3); \
            y[o + 3u] = (TY)((c ? (uint32_t)c[o + 3u] : 0u) + a3); \
        } \
    }
EK_NIBBLE_DENSE(x8, ek_i8, 16u, 16, ek_i16)
EK_NIBBLE_DENSE(x8, ek_i8, 16u, 32, ek_i32)
EK_NIBBLE_DENSE(x16, ek_i16, 8u, 16, ek_i16)
EK_NIBBLE_DENSE(x16, ek_i16, 8u, 32, ek_i32)

/* --- spans: each output of a few neighbouring inputs, from `first` on ------------------------------------------------
 *
 * Weights [out][vectors of inputs], padded with zeros; no span reaches past the whole vectors of x.
 */
#define EK_EIGHT_SPANS(FORM, TX, TW, PER, A, TY) \
    EK_INLINE void ek_spans_##FORM##_a##A(TY *y, const TY *c, const TW *w, const uint16_t *first, uint32_t vectors, \
                                          const TX *x, uint32_t n_out) { \
        uint32_t o, k; \
        EK_UNROLL1 for (o = 0; o < n_out; ++o) { \
            const TX *from = x + first[o]; \
            uint32_t sum = c ? (uint32_t)c[o] : 0u; \
            EK_UNROLL4 for (k = 0; k < vectors; ++k, w += PER, from += PER) sum = ek_mac_##FORM(sum, from, w); \
            y[o] = (TY)sum; \
        } \
    }
#define EK_EIGHT_SPANS_BOTH(FORM, TX, TW, PER) \
    EK_EIGHT_SPANS(FORM, TX, TW, PER, 16, ek_i16) \
    EK_EIGHT_SPANS(FORM, TX, TW, PER, 32, ek_i32)
EK_EIGHT_SPANS_BOTH(x8_w8, ek_i8, int8_t, 16u)
EK_EIGHT_SPANS_BOTH(x8_w16, ek_i8, int16_t, 8u)
EK_EIGHT_SPANS_BOTH(x16_w8, ek_i16, int8_t, 8u)
EK_EIGHT_SPANS_BOTH(x16_w16, ek_i16, int16_t, 8u)

/* --- events: rows of weights, up to 48 outputs at a time in the registers --------------------------------------------
 *
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
/* y = c + the listed rows of w, and of v if there is one, `blocks` times WIDE vectors of sums; c may be null (zero), and
 * may be y itself
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

/* int4 weights, sixteen outputs in eight bytes: 16 b + (a + 8) for the weights a of an output and b of that eight later.
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
#define EK_NIBBLE_EVENT(TOTAL, WIDE, LOADS) \
    EK_INLINE void ek_rows_w4_a##TOTAL##_##WIDE( \
        ek_i##TOTAL *y, const ek_i##TOTAL *c, uint32_t blocks, const ek_i8 *w, const uint16_t *list, uint32_t count, \
        uint32_t unit, const ek_i8 *v, const uint16_t *more, uint32_t others, uint32_t measure) { \
        const int from = c != 0, both = v != 0; \
        const uint32_t fired = count + others; \
        uint32_t b; \
        EK_UNROLL1 for (b = 0; b < blocks; ++b) { \
            EK_REP##LOADS(EK_NIBBLE_START##TOTAL) \
            EK_ROWS_OF(w, list, count, unit, EK_REP##LOADS(EK_NIBBLE_ADD##TOTAL)) \
            if (both) EK_ROWS_OF(v, more, others, measure, EK_REP##LOADS(EK_NIBBLE_ADD##TOTAL)) \
            EK_REP##LOADS(EK_NIBBLE_END##TOTAL) \
            y += 16u * WIDE; \
            w += 8u * WIDE; \
            if (both) v += 8u * WIDE; \
            if (from) c += 16u * WIDE; \
        } \
    }
EK_NIBBLE_EVENT(16, 1, 1)
EK_NIBBLE_EVENT(16, 2, 2)
EK_NIBBLE_EVENT(16, 3, 3)
EK_NIBBLE_EVENT(32, 1, 2)

/* --- memory update of a few values, eight sums at a time --------------------------------------------------------------
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

/* --- functions by table ----------------------------------------------------------------------------------------------
 *
 * 2^(16 - fraction) segments over int16, none of which rises or falls by 2^15 or more.
 */
EK_INLINE void ek_eight_lookup(ek_i16 *y, const ek_i16 *x, const ek_i16 *table, uint32_t n, uint32_t fraction) {
    uint32_t i;
#if EK_MVE
    for (i = 0; i < n; i += 8u) {
        const uint16x8_t position = veorq_u16(vreinterpretq_u16_s16(ek_eight_load16(x + i)), vdupq_n_u16(0x8000u));
        const uint16x8_t at = vshlq_u16(position, vdupq_n_s16((int16_t)-(int32_t)fraction));
        const uint16x8_t rest = vshrq_n_u16(vshlq_u16(position, vdupq_n_s16((int16_t)(16u - fraction))), 1);
        const ek_eight low = vldrhq_gather_shifted_offset_s16((const int16_t *)table, at);
        const ek_eight high = vldrhq_gather_shifted_offset_s16((const int16_t *)table + 1, at);
        const ek_eight part = vqrdmulhq_s16(vsubq_s16(high, low), vreinterpretq_s16_u16(rest));
        ek_eight_store16(y + i, vaddq_s16(low, part));
    }
#else
    for (i = 0; i < n; ++i) {
        const uint32_t position = (uint32_t)(x[i] + 32768), at = position >> fraction;
        const int32_t rest = (int32_t)(position << (16u - fraction) & 0xffffu) >> 1;
        y[i] = (int16_t)(table[at] + ek_scaled15_16((int16_t)(table[at + 1u] - table[at]), (int16_t)rest));
    }
#endif
}

#endif
