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
#define EK_ASSEMBLY __attribute__((naked, noinline, unused)) static
#define EK_REGISTER __attribute__((unused)) /* a parameter that the assembly finds where the call puts it */
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

/* --- spikes ------------------------------------------------------------------------------------------------------- */

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

/* --- elementwise -------------------------------------------------------------------------------------------------- */

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
/* of a pair of int4 in a byte, the upper one */
EK_INLINE int32_t ek_upper(int8_t pair) { return (pair - (pair & 15)) / 16; }
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
