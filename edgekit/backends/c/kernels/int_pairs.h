/* Two int16 in a word: the DSP instructions of Cortex-M4, M7 and M33, and the same in plain C to test against.
 *
 * Element 2k is the lower half of word k. A mask is 0xffff in the half of a spike, 0 in the other. Comparing 16 words
 * collects the bits of word k in bits k and k + 16: the order of EK_SLOT.
 */
#ifndef EK_INT_PAIRS_H
#define EK_INT_PAIRS_H

#include "int_core.h"

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && defined(__GNUC__) && !defined(EK_FORCE_PORTABLE)
#define EK_DSP 1
#endif

EK_INLINE uint32_t ek_pair_mask(uint32_t bits) { return (bits & 0x10001u) * 0xffffu; }
EK_INLINE uint32_t ek_pair_and(uint32_t a, uint32_t b) { return a & b; }
EK_INLINE uint32_t ek_pair_or(uint32_t a, uint32_t b) { return a | b; }
EK_INLINE uint32_t ek_pair_not(uint32_t a) { return ~a; }
EK_INLINE uint32_t ek_pair_where(uint32_t m, uint32_t a, uint32_t b) { return (a & m) | (b & ~m); }

/* Bits of the elements that are there, when `left` of a group of 32 are. */
EK_INLINE uint32_t ek_valid(uint32_t left) {
    const uint32_t low = (left + 1u) / 2u, high = left / 2u;
    return left >= 32u ? 0xffffffffu : ((1u << low) - 1u) | ((1u << high) - 1u) << 16;
}

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
#else
#define EK_LOW(x) ((int16_t)(uint16_t)(x))
#define EK_HIGH(x) ((int16_t)(uint16_t)((x) >> 16))
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
#endif

EK_INLINE uint32_t ek_pair_neg(uint32_t a) { return ek_pair_sub(0u, a); }
EK_INLINE uint32_t ek_pair_relu(uint32_t a) { return ek_pair_choose(a, 0u, a, 0u); }
EK_INLINE uint32_t ek_pair_maximum(uint32_t a, uint32_t b) { return ek_pair_choose(a, b, a, b); }
EK_INLINE uint32_t ek_pair_minimum(uint32_t a, uint32_t b) { return ek_pair_choose(a, b, b, a); }
EK_INLINE uint32_t ek_pair_ge(uint32_t a, uint32_t b) { return ek_pair_choose(a, b, 0xffffffffu, 0u); }
EK_INLINE uint32_t ek_pair_le(uint32_t a, uint32_t b) { return ek_pair_choose(b, a, 0xffffffffu, 0u); }
EK_INLINE uint32_t ek_pair_lt(uint32_t a, uint32_t b) { return ek_pair_choose(a, b, 0u, 0xffffffffu); }
EK_INLINE uint32_t ek_pair_gt(uint32_t a, uint32_t b) { return ek_pair_choose(b, a, 0u, 0xffffffffu); }

/* --- dense: four outputs at a time ----------------------------------------------------------------------------------
 *
 * Weights lie in blocks of four outputs, padded with zeros: for every four inputs (int16 weights: two) a word of each.
 * Bytes of a word are in the order 0, 2, 1, 3 where x is int16: SXTB16 then makes pairs of neighbours of them.
 */
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

#define EK_BYTES_BY_16(k) \
    const uint32_t w##k = w[k]; \
    a##k = ek_pair_dot(ek_even_bytes(w##k), x0, a##k); \
    a##k = ek_pair_dot(ek_odd_bytes(w##k), x1, a##k);
#define EK_STEP_X16_W8 \
    const uint32_t x0 = p[0], x1 = p[1]; \
    EK_REP4(EK_BYTES_BY_16) \
    p += 2;
#define EK_STEP_X8_W8 \
    const uint32_t x0 = ek_even_bytes(p[0]), x1 = ek_odd_bytes(p[0]); \
    EK_REP4(EK_BYTES_BY_16) \
    p += 1;
#define EK_HALVES(k) a##k = ek_pair_dot(w[k], x0, a##k);
#define EK_STEP_X16_W16 \
    const uint32_t x0 = p[0]; \
    EK_REP4(EK_HALVES) \
    p += 1;

/* `per`: inputs of one word of weights. Outputs past n_out are computed and dropped. */
#define EK_PAIR_DENSE(NAME, TX, TW, TY, PER, STEP) \
    EK_INLINE void NAME(TY *y, const TY *c, uint32_t step, const TW *weights, const TX *x, uint32_t rows, \
                        uint32_t n_in, uint32_t width, uint32_t n_out) { \
        uint32_t r, o, i; \
        for (r = 0; r < rows; ++r, x += n_in, y += n_out, c += step) { \
            const ek_word *w = (const ek_word *)weights; \
            for (o = 0; o < n_out; o += 4u) { \
                const ek_word *p = (const ek_word *)x; \
                uint32_t a0 = c ? (uint32_t)c[o] : 0u, a1 = c && o + 1u < n_out ? (uint32_t)c[o + 1u] : 0u; \
                uint32_t a2 = c && o + 2u < n_out ? (uint32_t)c[o + 2u] : 0u; \
                uint32_t a3 = c && o + 3u < n_out ? (uint32_t)c[o + 3u] : 0u; \
                EK_UNROLL2 for (i = 0; i < width; i += PER, w += 4) { STEP } \
                y[o] = (TY)a0; \
                if (o + 1u < n_out) y[o + 1u] = (TY)a1; \
                if (o + 2u < n_out) y[o + 2u] = (TY)a2; \
                if (o + 3u < n_out) y[o + 3u] = (TY)a3; \
            } \
        } \
    }
EK_PAIR_DENSE(ek_pairs_x16_w8_a16, ek_i16, int8_t, ek_i16, 4u, EK_STEP_X16_W8)
EK_PAIR_DENSE(ek_pairs_x16_w8_a32, ek_i16, int8_t, ek_i32, 4u, EK_STEP_X16_W8)
EK_PAIR_DENSE(ek_pairs_x8_w8_a16, ek_i8, int8_t, ek_i16, 4u, EK_STEP_X8_W8)
EK_PAIR_DENSE(ek_pairs_x8_w8_a32, ek_i8, int8_t, ek_i32, 4u, EK_STEP_X8_W8)
EK_PAIR_DENSE(ek_pairs_x16_w16_a16, ek_i16, int16_t, ek_i16, 2u, EK_STEP_X16_W16)
EK_PAIR_DENSE(ek_pairs_x16_w16_a32, ek_i16, int16_t, ek_i32, 2u, EK_STEP_X16_W16)

/* --- rows of int8 weights, 16 outputs at a time, in the registers ---------------------------------------------------
 *
 * y += the rows of `w` at the offsets in the list, in words; bytes of each word are in the order 0, 2, 1, 3. A list of
 * `count` offsets is entered at its remainder of 4. c may be null (zero), and may be y itself.
 */
#if EK_DSP
#define EK_PAIR_ROW \
    "ldrh.w r12, [r0], #2\n\tadd.w r12, lr, r12, lsl #2\n\tldm.w r12, {r1, r2, r3, r12}\n\t" \
    "sxtab16 r4, r4, r1\n\tsxtab16 r5, r5, r1, ror #8\n\tsxtab16 r6, r6, r2\n\tsxtab16 r7, r7, r2, ror #8\n\t" \
    "sxtab16 r8, r8, r3\n\tsxtab16 r9, r9, r3, ror #8\n\tsxtab16 r10, r10, r12\n\tsxtab16 r11, r11, r12, ror #8\n\t"

__attribute__((naked, noinline, unused)) static void ek_add_rows_pairs(ek_i16 *y, const int8_t *w, const uint16_t *list,
                                                                       uint32_t count, uint32_t blocks) {
    __asm__ volatile("ldr r12, [sp]\n\t" /* blocks */
                     "push {r4-r11, lr}\n\t"
                     "sub sp, #20\n\t"
                     "mov lr, r1\n\t"
                     "add r1, r2, r3, lsl #1\n\t" /* end of the list */
                     "rsb r3, r3, #0\n\t"
                     "and r3, r3, #3\n\t"
                     "mov r4, #44\n\t" /* bytes of one row's code */
                     "adr.w r5, 2f\n\t"
                     "orr r5, r5, #1\n\t"
                     "mla r3, r3, r4, r5\n\t"
                     "strd r1, r2, [sp]\n\t"
                     "strd r0, r12, [sp, #8]\n\t"
                     "str r3, [sp, #16]\n"
                     "1:\n\tldm r0, {r4-r11}\n\t"
                     "ldr r0, [sp, #4]\n\t"
                     "ldr pc, [sp, #16]\n\t"
                     ".balign 4\n"
                     "2:\n\t" EK_PAIR_ROW EK_PAIR_ROW EK_PAIR_ROW EK_PAIR_ROW
                     "ldr r1, [sp]\n\t"
                     "cmp r0, r1\n\t"
                     "bne 2b\n\t"
                     "ldrd r0, r1, [sp, #8]\n\t"
                     "stm r0!, {r4-r11}\n\t"
                     "add lr, #16\n\t"
                     "subs r1, #1\n\t"
                     "strd r0, r1, [sp, #8]\n\t"
                     "bne 1b\n\t"
                     "add sp, #20\n\t"
                     "pop {r4-r11, pc}\n");
}
#else
EK_INLINE void ek_add_rows_pairs(ek_i16 *y, const int8_t *w, const uint16_t *list, uint32_t count, uint32_t blocks) {
    static const uint8_t place[4] = {0, 2, 1, 3};
    uint32_t k, o;
    for (k = 0; k < count; ++k) {
        const int8_t *row = w + 4u * list[k];
        for (o = 0; o < 16u * blocks; ++o) y[o] = ek_add_16(y[o], row[(o & ~3u) + place[o & 3u]]);
    }
}
#endif

EK_INLINE void ek_event_pairs(ek_i16 *y, const ek_i16 *c, const int8_t *w, const uint16_t *list, uint32_t count,
                              uint32_t blocks) {
    ek_word *to = (ek_word *)y;
    const ek_word *from = (const ek_word *)c;
    uint32_t o;
    if (c != y)
        for (o = 0; o < 8u * blocks; ++o) to[o] = c ? from[o] : 0u;
    if (count) ek_add_rows_pairs(y, w, list, count, blocks);
}

#endif
