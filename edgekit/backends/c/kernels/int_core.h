/* Integer verbs, one value at a time: what an integer program computes with, bit for bit as the reference does.
 *
 * Sums wrap modulo 2^bits (in unsigned arithmetic: nothing is undefined) unless their name says that they saturate.
 * A mask is 0 or 1. Values of different widths share memory over time, so that their types may alias anything.
 *
 * Spikes are bits of 32-bit words, unused bits 0. Element i lies in word i / 32; which of its bits it is, EK_SLOT says:
 * the order that comparing whole registers gives bits in on this instruction set.
 */
#ifndef EK_INT_CORE_H
#define EK_INT_CORE_H

#include "base.h"

#if defined(__GNUC__)
#define EK_ALIASING __attribute__((may_alias))
#else
#define EK_ALIASING
#endif
typedef int8_t EK_ALIASING ek_i8;
typedef int16_t EK_ALIASING ek_i16;
typedef int32_t EK_ALIASING ek_i32;
typedef uint32_t EK_ALIASING ek_word;
typedef float EK_ALIASING ek_f32;

/* loops that are not worth the code of unrolling them where flash is short */
#if EK_PAIRS || EK_VECTORS_OF_8
#define EK_UNROLL_COLD EK_UNROLL1
#else
#define EK_UNROLL_COLD
#endif

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && defined(__GNUC__) && !defined(EK_FORCE_PORTABLE)
#define EK_DSP 1
/* A function of assembly alone, which finds its arguments where the calling convention puts them */
#define EK_NAKED __attribute__((naked, unused)) static EK_NOINLINE
#define EK_ARGUMENT __attribute__((unused))
#endif

/* two words from *p or to *p, and p moved on */
#if EK_DSP
#define EK_LOAD2(p, a, b) __asm__ volatile("ldrd %0, %1, [%2], #8" : "=r"(a), "=r"(b), "+r"(p) : : "memory")
#define EK_STORE2(p, a, b) __asm__ volatile("strd %1, %2, [%0], #8" : "+r"(p) : "r"(a), "r"(b) : "memory")
#else
#define EK_LOAD2(p, a, b) (*(ek_word *)&(a) = (p)[0], *(ek_word *)&(b) = (p)[1], (p) += 2)
#define EK_STORE2(p, a, b) ((p)[0] = (uint32_t)(a), (p)[1] = (uint32_t)(b), (p) += 2)
#endif

#define EK_INT_VERBS(B, S, U, LOW, HIGH) \
    EK_INLINE S ek_add_##B(S a, S b) { return (S)(U)((U)a + (U)b); } \
    EK_INLINE S ek_sub_##B(S a, S b) { return (S)(U)((U)a - (U)b); } \
    EK_INLINE S ek_neg_##B(S a) { return (S)(U)(0u - (U)a); } \
    EK_INLINE S ek_abs_##B(S a) { return a < 0 ? ek_neg_##B(a) : a; } \
    EK_INLINE S ek_relu_##B(S a) { return a > 0 ? a : (S)0; } \
    EK_INLINE S ek_minimum_##B(S a, S b) { return a < b ? a : b; } \
    EK_INLINE S ek_maximum_##B(S a, S b) { return a > b ? a : b; } \
    EK_INLINE int ek_gt_##B(S a, S b) { return a > b; } \
    EK_INLINE int ek_ge_##B(S a, S b) { return a >= b; } \
    EK_INLINE int ek_lt_##B(S a, S b) { return a < b; } \
    EK_INLINE int ek_le_##B(S a, S b) { return a <= b; } \
    EK_INLINE int ek_eq_##B(S a, S b) { return a == b; } \
    EK_INLINE int ek_ne_##B(S a, S b) { return a != b; } \
    EK_INLINE S ek_where_##B(int m, S a, S b) { return m ? a : b; } \
    EK_INLINE S ek_clip_##B(int32_t a) { \
        return (S)(a < (int32_t)(LOW) ? (int32_t)(LOW) : a > (int32_t)(HIGH) ? (int32_t)(HIGH) : a); \
    } \
    EK_INLINE S ek_clip_wide_##B(int64_t a) { return (S)(a < (LOW) ? (LOW) : a > (HIGH) ? (HIGH) : a); }

#define EK_MIN_32 (-INT32_C(2147483647) - 1)
EK_INT_VERBS(8, int8_t, uint8_t, -128, 127)
EK_INT_VERBS(16, int16_t, uint16_t, -32768, 32767)
EK_INT_VERBS(32, int32_t, uint32_t, EK_MIN_32, INT32_C(2147483647))

EK_INLINE int8_t ek_adds_8(int8_t a, int8_t b) { return ek_clip_8((int32_t)a + b); }
EK_INLINE int8_t ek_subs_8(int8_t a, int8_t b) { return ek_clip_8((int32_t)a - b); }
EK_INLINE int16_t ek_adds_16(int16_t a, int16_t b) { return ek_clip_16((int32_t)a + b); }
EK_INLINE int16_t ek_subs_16(int16_t a, int16_t b) { return ek_clip_16((int32_t)a - b); }
#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)
EK_INLINE int32_t ek_adds_32(int32_t a, int32_t b) {
    int32_t y;
    __asm__("qadd %0, %1, %2" : "=r"(y) : "r"(a), "r"(b));
    return y;
}
EK_INLINE int32_t ek_subs_32(int32_t a, int32_t b) {
    int32_t y;
    __asm__("qsub %0, %1, %2" : "=r"(y) : "r"(a), "r"(b));
    return y;
}
#else
EK_INLINE int32_t ek_adds_32(int32_t a, int32_t b) { return ek_clip_wide_32((int64_t)a + b); }
EK_INLINE int32_t ek_subs_32(int32_t a, int32_t b) { return ek_clip_wide_32((int64_t)a - b); }
#endif

EK_INLINE int ek_logical_and(int a, int b) { return a & b; }
EK_INLINE int ek_logical_or(int a, int b) { return a | b; }
EK_INLINE int ek_logical_not(int a) { return !a; }

/* floor((x · m + 2^(shift-1)) / 2^shift); narrow: of 16-bit factors, shift at most 30 */
EK_INLINE int32_t ek_scaled(int32_t x, int32_t m, uint32_t shift) { return (x * m + ((1 << shift) >> 1)) >> shift; }
EK_INLINE int64_t ek_scaled_wide(int32_t x, int32_t m, uint32_t shift) {
    return ((int64_t)x * m + (((int64_t)1 << shift) >> 1)) >> shift;
}
/* the same of an int16 and an int32, shift 17 to 46, as int32: the product is cut at bit 16 before it is rounded */
EK_INLINE int32_t ek_scaled_half(int32_t x, int32_t m, uint32_t shift) {
#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)
    int32_t y;
    __asm__("smlawb %0, %1, %2, %3" : "=r"(y) : "r"(m), "r"(x), "r"((int32_t)1 << (shift - 17u)));
    return y >> (shift - 16u);
#else
    return (int32_t)ek_scaled_wide(x, m, shift);
#endif
}
/* the same for shift 31 and |m| below 2^30, as int32: of m2 = 2 m, the upper half of a product, rounded */
EK_INLINE int32_t ek_scaled_high(int32_t x, int32_t m2) {
#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)
    int32_t y;
    __asm__("smmulr %0, %1, %2" : "=r"(y) : "r"(x), "r"(m2));
    return y;
#else
    return (int32_t)(((int64_t)x * m2 + (INT64_C(1) << 31)) >> 32);
#endif
}

/* the same for shift 31 and m from 0 to 2^31 - 1, of m2 = 2 m modulo 2^32, which is negative where m is 2^30 or more */
EK_INLINE int32_t ek_scaled_below(int32_t x, int32_t m2) {
    const int32_t whole = x & (m2 >> 31);
#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)
    int32_t y;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(y) : "r"(x), "r"(m2), "r"(whole));
    return y;
#else
    return whole + (int32_t)(((int64_t)x * m2 + (INT64_C(1) << 31)) >> 32);
#endif
}

/* --- spikes ------------------------------------------------------------------------------------------------------- */

/* EK_SLOT: the bit of element i of a group of 32; EK_ELEMENT: the element of a bit */
#if EK_PAIRS
#define EK_SLOT(i) (((i) & 1u) << 4 | (i) >> 1)
#define EK_ELEMENT(s) (((s) & 15u) << 1 | (s) >> 4)
#elif EK_VECTORS_OF_8
#define EK_SLOT(i) (((i) & 16u) | ((i) & 7u) << 1 | ((i) >> 3 & 1u))
#define EK_ELEMENT(s) (((s) & 16u) | ((s) >> 1 & 7u) | ((s) & 1u) << 3)
#else
#define EK_SLOT(i) (i)
#define EK_ELEMENT(s) (s)
#endif

/* a word of spikes with bit i for element i: blocks of bits change places */
#define EK_BITS_CHANGED(word, by, mask) ((word) ^ ((((word) ^ (word) >> (by)) & (mask)) * (1u | 1u << (by))))
EK_INLINE uint32_t ek_in_order(uint32_t word) {
#if EK_PAIRS
    word = EK_BITS_CHANGED(word, 8, 0x0000ff00u);
    word = EK_BITS_CHANGED(word, 4, 0x00f000f0u);
    word = EK_BITS_CHANGED(word, 2, 0x0c0c0c0cu);
    word = EK_BITS_CHANGED(word, 1, 0x22222222u);
#elif EK_VECTORS_OF_8
    word = EK_BITS_CHANGED(word, 1, 0x22222222u);
    word = EK_BITS_CHANGED(word, 2, 0x0c0c0c0cu);
    word = EK_BITS_CHANGED(word, 4, 0x00f000f0u);
#endif
    return word;
}
EK_INLINE uint32_t ek_spike(const ek_word *words, uint32_t i) { return words[i / 32u] >> EK_SLOT(i % 32u) & 1u; }
EK_INLINE void ek_put_spike(ek_word *words, uint32_t i, uint32_t bit) {
    const uint32_t slot = EK_SLOT(i % 32u);
    words[i / 32u] = (words[i / 32u] & ~(1u << slot)) | bit << slot;
}

EK_INLINE uint32_t ek_first_bit(uint32_t word) {
#if defined(__GNUC__)
    return (uint32_t)__builtin_ctz(word);
#else
    uint32_t at = 0;
    while (!(word >> at & 1u)) ++at;
    return at;
#endif
}

EK_INLINE uint32_t ek_leading_zeros(uint32_t word) {
#if defined(__GNUC__)
    return (uint32_t)__builtin_clz(word);
#else
    uint32_t at = 0;
    while (!(word << at & 0x80000000u)) ++at;
    return at;
#endif
}

/* The elements that fired among first … first + n - 1, numbered from 0 and times `step`, into a list; returns how many.
 * The order is that of the bits: integer sums do not depend on it.
 */
EK_INLINE uint32_t ek_fired(uint16_t *list, const ek_word *words, uint32_t first, uint32_t n, uint32_t step) {
    uint16_t *to = list;
    uint32_t i;
    if (first % 32u == 0u) {
        uint32_t at;
        for (at = 0; at < n; at += 32u) {
            uint32_t word = words[(first + at) / 32u];
            while (word) {
                const uint32_t slot = ek_first_bit(word), element = at + EK_ELEMENT(slot);
                word &= word - 1u;
                if (element < n) *to++ = (uint16_t)(element * step);
            }
        }
    } else {
        for (i = 0; i < n; ++i)
            if (ek_spike(words, first + i)) *to++ = (uint16_t)(i * step);
    }
    return (uint32_t)(to - list);
}

#endif
