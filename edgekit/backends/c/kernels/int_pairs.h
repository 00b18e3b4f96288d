/* Two int16 in a word: the DSP instructions of Cortex-M4, M7 and M33, and the same in plain C to test against.
 *
 * Element 2k is the lower half of word k. A mask is 0xffff in the half of a spike, 0 in the other. Signs are collected
 * from 16 words; those of word k end up in bits k and k + 16: the order of EK_SLOT.
 */
#ifndef EK_INT_PAIRS_H
#define EK_INT_PAIRS_H

#include "int_core.h"

EK_INLINE uint32_t ek_pair_mask(uint32_t bits) { return (bits & 0x10001u) * 0xffffu; }
EK_INLINE uint32_t ek_pair_and(uint32_t a, uint32_t b) { return a & b; }
EK_INLINE uint32_t ek_pair_or(uint32_t a, uint32_t b) { return a | b; }
EK_INLINE uint32_t ek_pair_not(uint32_t a) { return ~a; }
EK_INLINE uint32_t ek_pair_where(uint32_t m, uint32_t a, uint32_t b) { return (a & m) | (b & ~m); }

/* the signs of both halves come in at the top, those before move down */
EK_INLINE uint32_t ek_pair_collect(uint32_t bits, uint32_t a) { return (a & 0x80008000u) | bits >> 1; }
EK_INLINE int32_t ek_low(uint32_t a) { return (int16_t)(uint16_t)a; }
EK_INLINE int32_t ek_high(uint32_t a) { return (int16_t)(uint16_t)(a >> 16); }

#if EK_DSP
#define EK_PAIR_VERB(name, instruction) \
    EK_INLINE uint32_t name(uint32_t a, uint32_t b) { \
        uint32_t y; \
        __asm__(instruction " %0, %1, %2" : "=r"(y) : "r"(a), "r"(b)); \
        return y; \
    }
EK_PAIR_VERB(ek_pair_add, "sadd16")
EK_PAIR_VERB(ek_pair_sub, "ssub16")
EK_PAIR_VERB(ek_pair_adds, "qadd16")
EK_PAIR_VERB(ek_pair_subs, "qsub16")

/* c where a >= b, else d: the flags of the subtraction choose */
EK_INLINE uint32_t ek_pair_choose(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    uint32_t y;
    __asm__("ssub16 %0, %1, %2\n\tsel %0, %3, %4" : "=&r"(y) : "r"(a), "r"(b), "r"(c), "r"(d) : "cc");
    return y;
}
EK_INLINE uint32_t ek_pair_scaled15(uint32_t x, uint32_t m) {
    const int32_t half = 1 << 14;
    int32_t low, high;
    uint32_t y;
    __asm__("smlabb %0, %1, %2, %3" : "=r"(low) : "r"(x), "r"(m), "r"(half));
    __asm__("smlatb %0, %1, %2, %3" : "=r"(high) : "r"(x), "r"(m), "r"(half));
    __asm__("pkhtb %0, %1, %2, asr #15" : "=r"(y) : "r"((uint32_t)high << 1), "r"(low));
    return y;
}
EK_INLINE uint32_t ek_pair_scaled16(uint32_t x, uint32_t m) {
    const int32_t half = 1 << 15;
    int32_t low, high;
    uint32_t y;
    __asm__("smlabb %0, %1, %2, %3" : "=r"(low) : "r"(x), "r"(m), "r"(half));
    __asm__("smlatb %0, %1, %2, %3" : "=r"(high) : "r"(x), "r"(m), "r"(half));
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(y) : "r"(high), "r"(low));
    return y;
}
EK_INLINE uint32_t ek_pair(int32_t low, int32_t high) {
    uint32_t y;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(y) : "r"(low), "r"(high));
    return y;
}
#else
#define EK_LOW(x) ((int16_t)ek_low(x))
#define EK_HIGH(x) ((int16_t)ek_high(x))
EK_INLINE uint32_t ek_pair(int32_t low, int32_t high) { return ((uint32_t)low & 0xffffu) | (uint32_t)high << 16; }
EK_INLINE uint32_t ek_pair_add(uint32_t a, uint32_t b) {
    return ek_pair(ek_add_16(EK_LOW(a), EK_LOW(b)), ek_add_16(EK_HIGH(a), EK_HIGH(b)));
}
EK_INLINE uint32_t ek_pair_sub(uint32_t a, uint32_t b) {
    return ek_pair(ek_sub_16(EK_LOW(a), EK_LOW(b)), ek_sub_16(EK_HIGH(a), EK_HIGH(b)));
}
EK_INLINE uint32_t ek_pair_adds(uint32_t a, uint32_t b) {
    return ek_pair(ek_adds_16(EK_LOW(a), EK_LOW(b)), ek_adds_16(EK_HIGH(a), EK_HIGH(b)));
}
EK_INLINE uint32_t ek_pair_subs(uint32_t a, uint32_t b) {
    return ek_pair(ek_subs_16(EK_LOW(a), EK_LOW(b)), ek_subs_16(EK_HIGH(a), EK_HIGH(b)));
}
EK_INLINE uint32_t ek_pair_choose(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    const uint32_t m = (EK_LOW(a) >= EK_LOW(b) ? 0xffffu : 0u) | (EK_HIGH(a) >= EK_HIGH(b) ? 0xffff0000u : 0u);
    return ek_pair_where(m, c, d);
}
EK_INLINE uint32_t ek_pair_scaled15(uint32_t x, uint32_t m) {
    return ek_pair(ek_scaled(EK_LOW(x), EK_LOW(m), 15u), ek_scaled(EK_HIGH(x), EK_LOW(m), 15u));
}
EK_INLINE uint32_t ek_pair_scaled16(uint32_t x, uint32_t m) {
    return ek_pair(ek_scaled(EK_LOW(x), EK_LOW(m), 16u), ek_scaled(EK_HIGH(x), EK_LOW(m), 16u));
}
#endif

EK_INLINE int32_t ek_scaled_low(uint32_t x, int32_t m, uint32_t shift) { return ek_scaled_half(ek_low(x), m, shift); }
EK_INLINE int32_t ek_scaled_top(uint32_t x, int32_t m, uint32_t shift) {
#if EK_DSP
    int32_t y;
    __asm__("smlawt %0, %1, %2, %3" : "=r"(y) : "r"(m), "r"(x), "r"((int32_t)1 << (shift - 17u)));
    return y >> (shift - 16u);
#else
    return ek_scaled_half(ek_high(x), m, shift);
#endif
}
EK_INLINE uint32_t ek_pair_neg(uint32_t a) { return ek_pair_sub(0u, a); }
EK_INLINE uint32_t ek_pair_relu(uint32_t a) { return ek_pair_choose(a, 0u, a, 0u); }
EK_INLINE uint32_t ek_pair_maximum(uint32_t a, uint32_t b) { return ek_pair_choose(a, b, a, b); }
EK_INLINE uint32_t ek_pair_minimum(uint32_t a, uint32_t b) { return ek_pair_choose(a, b, b, a); }
EK_INLINE uint32_t ek_pair_abs(uint32_t a) { return ek_pair_choose(a, 0u, a, ek_pair_neg(a)); }
EK_INLINE uint32_t ek_pair_ge(uint32_t a, uint32_t b) { return ek_pair_choose(a, b, 0xffffffffu, 0u); }
EK_INLINE uint32_t ek_pair_le(uint32_t a, uint32_t b) { return ek_pair_choose(b, a, 0xffffffffu, 0u); }
EK_INLINE uint32_t ek_pair_lt(uint32_t a, uint32_t b) { return ek_pair_choose(a, b, 0u, 0xffffffffu); }
EK_INLINE uint32_t ek_pair_gt(uint32_t a, uint32_t b) { return ek_pair_choose(b, a, 0u, 0xffffffffu); }
EK_INLINE uint32_t ek_pair_eq(uint32_t a, uint32_t b) { return ek_pair_choose(a, b, ek_pair_ge(b, a), 0u); }
EK_INLINE uint32_t ek_pair_ne(uint32_t a, uint32_t b) { return ~ek_pair_eq(a, b); }

#if EK_DSP
EK_INLINE uint32_t ek_even_bytes(uint32_t w) {
    uint32_t y;
    __asm__("sxtb16 %0, %1" : "=r"(y) : "r"(w));
    return y;
}
EK_INLINE uint32_t ek_odd_bytes(uint32_t w) {
    uint32_t y;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(y) : "r"(w));
    return y;
}
EK_INLINE uint32_t ek_pair_dot(uint32_t a, uint32_t b, uint32_t sum) {
    uint32_t y;
    __asm__("smlad %0, %1, %2, %3" : "=r"(y) : "r"(a), "r"(b), "r"(sum));
    return y;
}
#else
EK_INLINE uint32_t ek_even_bytes(uint32_t w) { return ek_pair((int8_t)(uint8_t)w, (int8_t)(uint8_t)(w >> 16)); }
EK_INLINE uint32_t ek_odd_bytes(uint32_t w) { return ek_even_bytes(w >> 8); }
EK_INLINE uint32_t ek_pair_dot(uint32_t a, uint32_t b, uint32_t sum) {
    return sum + (uint32_t)(EK_LOW(a) * EK_LOW(b)) + (uint32_t)(EK_HIGH(a) * EK_HIGH(b));
}
#endif

/* int8 are computed with as int16; each half to the range of int8 */
#if EK_DSP
EK_INLINE uint32_t ek_pair_sat_8(uint32_t a) {
    uint32_t y;
    __asm__("ssat16 %0, #8, %1" : "=r"(y) : "r"(a));
    return y;
}
EK_INLINE uint32_t ek_pair_tops(uint32_t a, uint32_t b) {
    uint32_t y;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(y) : "r"(b), "r"(a));
    return y;
}
#else
EK_INLINE uint32_t ek_pair_sat_8(uint32_t a) { return ek_pair(ek_clip_8(EK_LOW(a)), ek_clip_8(EK_HIGH(a))); }
EK_INLINE uint32_t ek_pair_tops(uint32_t a, uint32_t b) { return ek_pair(EK_HIGH(a), EK_HIGH(b)); }
#endif
/* four int8 from the word at *p as pairs of neighbours, or such pairs to it, and p moved on */
#define EK_LOAD_BYTES(p, a, b) \
    { \
        const uint32_t word = *(p)++, even = ek_even_bytes(word), odd = ek_odd_bytes(word); \
        (a) = ek_pair((int32_t)even, (int32_t)odd); \
        (b) = ek_pair_tops(even, odd); \
    }
#define EK_STORE_BYTES(p, a, b) \
    { \
        const uint32_t low = (a) & 0x00ff00ffu, high = (b) & 0x00ff00ffu; \
        *(p)++ = ek_pair((int32_t)(low | low >> 8), (int32_t)(high | high >> 8)); \
    }

#endif
