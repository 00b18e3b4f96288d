/* y = c + W x of dense integers on cores with two int16 in a register: four outputs at a time, all sums in registers.
 *
 * Weights lie in blocks of four outputs, padded with zeros, and a block in steps; in a step are for each of the four
 * outputs in turn:
 *   x16_w16   a word for two inputs, and then another one for two more
 *   x16_w8    a word for four inputs. SXTB16 makes pairs of bytes 0 and 2, and of 1 and 3, of it
 *   x16_w4    a word for eight inputs, the first and the second half of each pair in nibbles 0 to 3 and 4 to 7, 8 added
 *   x8_w8     a word for four inputs, of x in the form that ek_widen_bytes gives it: see there
 *   x8_w4     a word for eight inputs, of x in the form that ek_widen_nibbles gives it: see there
 * y and c hold whole blocks; c may be null (zero), and may be y itself.
 */
#ifndef EK_INT_PAIRS_DENSE_H
#define EK_INT_PAIRS_DENSE_H

#include "int_pairs.h"

/* int8 as int16, in the order 0, 2, 1, 3 of every four */
EK_INLINE void ek_widen(ek_word *y, const ek_i8 *x, uint32_t words) {
    const ek_word *from = (const ek_word *)x;
    uint32_t i;
    EK_UNROLL2 for (i = 0; i < words; ++i, y += 2) {
        y[0] = ek_even_bytes(from[i]);
        y[1] = ek_odd_bytes(from[i]);
    }
}

/* int8 as pairs that need only one byte of each two weights unpacked: p = (x1, x3) and q = 256 (x0, x2) - p + 127.
 *
 * A word of weights holds the int16 256 w1 + w0 and 256 w3 + w2 (no int8 weight is below -127), so that
 *     (256 w1 + w0) x1 + w0 (256 x0 - x1 + 127) = 256 (w0 x0 + w1 x1) + 127 w0
 * in 32 bits; a sum begins at minus the last terms, which a block of weights has in front. q just fits int16.
 */
EK_INLINE void ek_widen_bytes(ek_word *y, const ek_i8 *x, uint32_t words) {
    const ek_word *from = (const ek_word *)x;
    uint32_t i;
    EK_UNROLL2 for (i = 0; i < words; ++i, y += 2) {
        const uint32_t p = ek_odd_bytes(from[i]);
        y[0] = p;
        y[1] = ek_pair_sub((from[i] & 0x00ff00ffu) << 8, ek_pair_sub(p, 0x007f007fu));
    }
}

/* The same for int4: p = (x1, x3) and q = 16 (x0, x2) - p. A byte of weights is 16 w1 + w0 + 8, so that
 *     (16 w1 + w0 + 8) x1 + (w0 + 8) (16 x0 - x1) = 16 (w0 x0 + w1 x1) + 128 x0.
 * Returns minus the last terms of all x, where every sum begins.
 */
EK_INLINE uint32_t ek_widen_nibbles(ek_word *y, const ek_i8 *x, uint32_t words) {
    const ek_word *from = (const ek_word *)x;
    uint32_t i, sum = 0;
    EK_UNROLL2 for (i = 0; i < words; ++i, y += 2) {
        const uint32_t even = ek_even_bytes(from[i]), p = ek_odd_bytes(from[i]);
        sum = ek_pair_dot(even, 0x00010001u, sum);
        y[0] = p;
        y[1] = ek_pair_sub((even & 0x0fff0fffu) << 4, p);
    }
    return 0u - 128u * sum;
}

/* What 8 too much in every weight comes to: minus 8 times the sum of x. */
EK_INLINE uint32_t ek_minus_eights(const ek_word *x, uint32_t words) {
    uint32_t i, sum = 0;
    EK_UNROLL4 for (i = 0; i < words; ++i) sum = ek_pair_dot(x[i], 0x00010001u, sum);
    return 0u - 8u * sum;
}

#if EK_DSP
/* Assembly alone: arguments are where the calling convention puts them, y, c, weights, x, then words, blocks and, for int4,
 * what sums begin at on the stack. In a block r0 is at the weights, r1 at x, lr at y; r4-r7 are the sums. The stack holds
 * x, where a block enters the four unrolled steps, the ends of y and x, and c; steps that need r12 read the end of x again,
 * and where they need lr too, y is on the stack as well.
 */
#define EK_DENSE_ENTER(STEP_BYTES, X_SHIFT, Y_SHIFT) \
    "push {r4-r11, lr}\n\t" \
    "ldrd r4, r5, [sp, #36]\n\t" \
    "mov lr, r0\n\t" \
    "mov r0, r2\n\t" \
    "add r12, r3, r4, lsl #" X_SHIFT "\n\t" \
    "add r5, lr, r5, lsl #" Y_SHIFT "\n\t" \
    "rsb r4, r4, #0\n\t" \
    "and r4, r4, #3\n\t" \
    "mov r2, #" STEP_BYTES "\n\t" \
    "adr.w r6, 2f\n\t" \
    "orr r6, r6, #1\n\t" \
    "mla r4, r4, r2, r6\n\t" \
    "sub sp, #24\n\t" \
    "strd r3, r4, [sp]\n\t" \
    "strd r5, r1, [sp, #8]\n\t" \
    "str r12, [sp, #16]\n" \
    "1:\n\t"
#define EK_DENSE_STEPS(STEP, END) \
    "ldr r1, [sp]\n\t" \
    "ldr pc, [sp, #4]\n\t" \
    ".balign 4\n" \
    "2:\n\t" STEP STEP STEP STEP END "cmp r1, r12\n\t" \
    "bne 2b\n\t"
#define EK_DENSE_LEAVE \
    "ldr r2, [sp, #8]\n\t" \
    "cmp lr, r2\n\t" \
    "bne 1b\n\t" \
    "add sp, #24\n\t" \
    "pop {r4-r11, pc}\n"
#define EK_END_IN_R12 ""
#define EK_END_IN_MEMORY "ldr r12, [sp, #16]\n\t"

#define EK_STEP_X8_W8 \
    "ldrd r2, r3, [r1], #8\n\tldm.w r0!, {r8-r11}\n\t" \
    "smlad r4, r8, r2, r4\n\tsxtb16 r8, r8\n\tsmlad r5, r9, r2, r5\n\tsxtb16 r9, r9\n\t" \
    "smlad r6, r10, r2, r6\n\tsxtb16 r10, r10\n\tsmlad r7, r11, r2, r7\n\tsxtb16 r11, r11\n\t" \
    "smlad r4, r8, r3, r4\n\tsmlad r5, r9, r3, r5\n\tsmlad r6, r10, r3, r6\n\tsmlad r7, r11, r3, r7\n\t"
#define EK_UNPACK(SUM, W) "sxtb16 r12, " W "\n\tsmlad " SUM ", r12, r2, " SUM "\n\tsxtb16 " W ", " W ", ror #8\n\t"
#define EK_STEP_X16_W8 \
    "ldrd r2, r3, [r1], #8\n\tldm.w r0!, {r8-r11}\n\t" \
    EK_UNPACK("r4", "r8") EK_UNPACK("r5", "r9") EK_UNPACK("r6", "r10") EK_UNPACK("r7", "r11") \
    "smlad r4, r8, r3, r4\n\tsmlad r5, r9, r3, r5\n\tsmlad r6, r10, r3, r6\n\tsmlad r7, r11, r3, r7\n\t"
#define EK_STEP_X16_W16 \
    "ldrd r2, r3, [r1], #8\n\tldm.w r0!, {r8-r11}\n\t" \
    "smlad r4, r8, r2, r4\n\tsmlad r5, r9, r2, r5\n\tsmlad r6, r10, r2, r6\n\tsmlad r7, r11, r2, r7\n\t" \
    "ldm.w r0!, {r8-r11}\n\t" \
    "smlad r4, r8, r3, r4\n\tsmlad r5, r9, r3, r5\n\tsmlad r6, r10, r3, r6\n\tsmlad r7, r11, r3, r7\n\t"
#define EK_NIBBLES(SUM, W, TURNED) \
    "sxtb16 r12, " W TURNED "\n\tsmlad " SUM ", r12, r2, " SUM "\n\tand r12, r12, #0x000f000f\n\t" \
    "smlad " SUM ", r12, r3, " SUM "\n\t"
#define EK_STEP_X8_W4 \
    "ldm.w r0!, {r8-r11}\n\tldrd r2, r3, [r1], #8\n\t" \
    EK_NIBBLES("r4", "r8", "") EK_NIBBLES("r5", "r9", "") EK_NIBBLES("r6", "r10", "") EK_NIBBLES("r7", "r11", "") \
    "ldrd r2, r3, [r1], #8\n\t" EK_NIBBLES("r4", "r8", ", ror #8") EK_NIBBLES("r5", "r9", ", ror #8") \
    EK_NIBBLES("r6", "r10", ", ror #8") EK_NIBBLES("r7", "r11", ", ror #8")

#define EK_TWO_PAIRS(SUM, W, FIRST, SECOND) \
    "and.w r12, lr, " W FIRST "\n\tsmlad " SUM ", r12, r2, " SUM "\n\tand.w r12, lr, " W SECOND "\n\t" \
    "smlad " SUM ", r12, r3, " SUM "\n\t"
#define EK_TWO_PAIRS_OF_FOUR(FIRST, SECOND) \
    EK_TWO_PAIRS("r4", "r8", FIRST, SECOND) EK_TWO_PAIRS("r5", "r9", FIRST, SECOND) \
    EK_TWO_PAIRS("r6", "r10", FIRST, SECOND) EK_TWO_PAIRS("r7", "r11", FIRST, SECOND)
#define EK_STEP_X16_W4 \
    "ldm.w r0!, {r8-r11}\n\tldrd r2, r3, [r1], #8\n\t" EK_TWO_PAIRS_OF_FOUR("", ", lsr #4") \
    "ldrd r2, r3, [r1], #8\n\t" EK_TWO_PAIRS_OF_FOUR(", lsr #8", ", lsr #12")

#define EK_FROM_C "ldr r1, [sp, #12]\n\tldm r1!, {r4-r7}\n\tstr r1, [sp, #12]\n\t"
#define EK_FROM_ZERO "movs r4, #0\n\tmovs r5, #0\n\tmovs r6, #0\n\tmovs r7, #0\n\t"
#define EK_FROM_WEIGHTS "ldm r0!, {r4-r7}\n\t"
#define EK_FROM_FIRST "ldr r4, [sp, #68]\n\tmov r5, r4\n\tmov r6, r4\n\tmov r7, r4\n\t"
#define EK_LR_IS_MASK "str lr, [sp, #20]\n\tmov lr, #0x000f000f\n\t"
#define EK_LR_IS_Y "ldr lr, [sp, #20]\n\t"
#define EK_SHIFTED(BITS) \
    "asr r4, r4, #" BITS "\n\tasr r5, r5, #" BITS "\n\tasr r6, r6, #" BITS "\n\tasr r7, r7, #" BITS "\n\t"
#define EK_ADD_C \
    "ldr r1, [sp, #12]\n\tldm r1!, {r8-r11}\n\tstr r1, [sp, #12]\n\t" \
    "add r4, r4, r8\n\tadd r5, r5, r9\n\tadd r6, r6, r10\n\tadd r7, r7, r11\n\t"
#define EK_STORE "stm lr!, {r4-r7}\n\t"
#define EK_PACK "pkhbt r4, r4, r5, lsl #16\n\tpkhbt r5, r6, r7, lsl #16\n\t"
#define EK_ADD_PAIRS_OF_C \
    "ldr r1, [sp, #12]\n\tldm r1!, {r8, r9}\n\tstr r1, [sp, #12]\n\tsadd16 r4, r4, r8\n\tsadd16 r5, r5, r9\n\t"
#define EK_STORE_PAIRS "stm lr!, {r4, r5}\n\t"

#define EK_PAIR_DENSE(NAME, TY, ENTER, FIRST, STEPS, LAST) \
    EK_NAKED void NAME(TY *y EK_ARGUMENT, const TY *c EK_ARGUMENT, const ek_word *w EK_ARGUMENT, \
                       const ek_word *x EK_ARGUMENT, uint32_t words EK_ARGUMENT, uint32_t blocks EK_ARGUMENT, \
                       uint32_t first EK_ARGUMENT) { \
        __asm__ volatile(ENTER FIRST STEPS LAST EK_DENSE_LEAVE); \
    }
#define EK_PAIR_DENSE_MADE(FORM, STEP_BYTES, X_SHIFT, FIRST, STEPS, MADE) \
    EK_PAIR_DENSE(ek_sums_##FORM##_a32, ek_i32, EK_DENSE_ENTER(STEP_BYTES, X_SHIFT, "4"), FIRST, STEPS, \
                  MADE EK_STORE) \
    EK_PAIR_DENSE(ek_added_##FORM##_a32, ek_i32, EK_DENSE_ENTER(STEP_BYTES, X_SHIFT, "4"), FIRST, STEPS, \
                  MADE EK_ADD_C EK_STORE) \
    EK_PAIR_DENSE(ek_sums_##FORM##_a16, ek_i16, EK_DENSE_ENTER(STEP_BYTES, X_SHIFT, "3"), FIRST, STEPS, \
                  MADE EK_PACK EK_STORE_PAIRS) \
    EK_PAIR_DENSE(ek_added_##FORM##_a16, ek_i16, EK_DENSE_ENTER(STEP_BYTES, X_SHIFT, "3"), FIRST, STEPS, \
                  MADE EK_PACK EK_ADD_PAIRS_OF_C EK_STORE_PAIRS)
#define EK_PAIR_DENSE_PLAIN(FORM, STEP_BYTES, STEPS) \
    EK_PAIR_DENSE(ek_sums_##FORM##_a32, ek_i32, EK_DENSE_ENTER(STEP_BYTES, "3", "4"), EK_FROM_ZERO, STEPS, EK_STORE) \
    EK_PAIR_DENSE(ek_added_##FORM##_a32, ek_i32, EK_DENSE_ENTER(STEP_BYTES, "3", "4"), EK_FROM_C, STEPS, EK_STORE) \
    EK_PAIR_DENSE(ek_sums_##FORM##_a16, ek_i16, EK_DENSE_ENTER(STEP_BYTES, "3", "3"), EK_FROM_ZERO, STEPS, \
                  EK_PACK EK_STORE_PAIRS) \
    EK_PAIR_DENSE(ek_added_##FORM##_a16, ek_i16, EK_DENSE_ENTER(STEP_BYTES, "3", "3"), EK_FROM_ZERO, STEPS, \
                  EK_PACK EK_ADD_PAIRS_OF_C EK_STORE_PAIRS)
EK_PAIR_DENSE_MADE(x8_w4, "140", "4", EK_FROM_FIRST, EK_DENSE_STEPS(EK_STEP_X8_W4, EK_END_IN_MEMORY), EK_SHIFTED("4"))
EK_PAIR_DENSE_MADE(x8_w8, "56", "3", EK_FROM_WEIGHTS, EK_DENSE_STEPS(EK_STEP_X8_W8, EK_END_IN_R12), EK_SHIFTED("8"))
EK_PAIR_DENSE_MADE(x16_w4, "140", "4", EK_LR_IS_MASK EK_FROM_FIRST, EK_DENSE_STEPS(EK_STEP_X16_W4, EK_END_IN_MEMORY),
                   EK_LR_IS_Y)
EK_PAIR_DENSE_PLAIN(x16_w8, "72", EK_DENSE_STEPS(EK_STEP_X16_W8, EK_END_IN_MEMORY))
EK_PAIR_DENSE_PLAIN(x16_w16, "44", EK_DENSE_STEPS(EK_STEP_X16_W16, EK_END_IN_R12))
/* Few inputs, and their sums rescaled to int16: y = sat((W x · factors) / 2^32), factors doubled. Of x (r2, r3, lr) there
 * are one to three words; r0 y, r1 weights, r12 factors, r4-r7 sums; on the stack the end of y.
 */
#define EK_FEW_FIRST(X) \
    "ldm.w r1!, {r8-r11}\n\tsmuad r4, r8, " X "\n\tsmuad r5, r9, " X "\n\tsmuad r6, r10, " X "\n\tsmuad r7, r11, " X "\n\t"
#define EK_FEW_NEXT(X) \
    "ldm.w r1!, {r8-r11}\n\tsmlad r4, r8, " X ", r4\n\tsmlad r5, r9, " X ", r5\n\tsmlad r6, r10, " X ", r6\n\t" \
    "smlad r7, r11, " X ", r7\n\t"
#define EK_FEW_LAST(CLIP, LABEL) \
    "ldm.w r12!, {r8-r11}\n\t" \
    "smmulr r4, r4, r8\n\tsmmulr r5, r5, r9\n\tsmmulr r6, r6, r10\n\tsmmulr r7, r7, r11\n\t" CLIP \
    "pkhbt r4, r4, r5, lsl #16\n\tpkhbt r5, r6, r7, lsl #16\n\tstm r0!, {r4, r5}\n\t" \
    "ldr r8, [sp]\n\tcmp r0, r8\n\tbne " LABEL "b\n\tpop {r3-r11, pc}\n"
#define EK_CLIP_FOUR "ssat r4, #16, r4\n\tssat r5, #16, r5\n\tssat r6, #16, r6\n\tssat r7, #16, r7\n\t"
#define EK_PAIR_FEW(NAME, CLIP) \
    EK_NAKED void NAME(ek_i16 *y EK_ARGUMENT, const ek_word *w EK_ARGUMENT, const ek_word *x EK_ARGUMENT, \
                       uint32_t words EK_ARGUMENT, const ek_i32 *factors EK_ARGUMENT, uint32_t blocks EK_ARGUMENT) { \
        __asm__ volatile("push {r3-r11, lr}\n\t" \
                         "ldrd r12, r4, [sp, #40]\n\t" \
                         "add r4, r0, r4, lsl #3\n\t" \
                         "str r4, [sp]\n\t" \
                         "cmp r3, #2\n\t" \
                         "ldr lr, [r2, #8]\n\t" \
                         "ldrd r2, r3, [r2]\n\t" \
                         "blt 1f\n\t" \
                         "beq 2f\n" \
                         "3:\n\t" EK_FEW_FIRST("r2") EK_FEW_NEXT("r3") EK_FEW_NEXT("lr") EK_FEW_LAST(CLIP, "3") \
                         "2:\n\t" EK_FEW_FIRST("r2") EK_FEW_NEXT("r3") EK_FEW_LAST(CLIP, "2") \
                         "1:\n\t" EK_FEW_FIRST("r2") EK_FEW_LAST(CLIP, "1")); \
    }
EK_PAIR_FEW(ek_few_x16_w16, "")
EK_PAIR_FEW(ek_few_clipped_x16_w16, EK_CLIP_FOUR)

#else
/* The sum of one output of a block in every form; `first` is what sums of int4 begin at. */
EK_INLINE uint32_t ek_sum_x8_w4(const ek_word *w, const ek_word *x, uint32_t words, uint32_t at, uint32_t first) {
    uint32_t sum = first, i;
    for (i = 0; i < words; ++i, w += 4, x += 4) {
        const uint32_t even = ek_even_bytes(w[at]), odd = ek_odd_bytes(w[at]);
        sum = ek_pair_dot(even & 0x000f000fu, x[1], ek_pair_dot(even, x[0], sum));
        sum = ek_pair_dot(odd & 0x000f000fu, x[3], ek_pair_dot(odd, x[2], sum));
    }
    return (uint32_t)((int32_t)sum >> 4);
}
EK_INLINE uint32_t ek_sum_x16_w4(const ek_word *w, const ek_word *x, uint32_t words, uint32_t at, uint32_t first) {
    uint32_t sum = first, i, k;
    for (i = 0; i < words; ++i, w += 4, x += 4)
        for (k = 0; k < 4u; ++k) sum = ek_pair_dot(w[at] >> 4u * k & 0x000f000fu, x[k], sum);
    return sum;
}
EK_INLINE uint32_t ek_sum_x8_w8(const ek_word *w, const ek_word *x, uint32_t words, uint32_t at, uint32_t first) {
    uint32_t sum = w[at], i;
    (void)first;
    for (i = 0, w += 4; i < words; ++i, w += 4, x += 2)
        sum = ek_pair_dot(ek_even_bytes(w[at]), x[1], ek_pair_dot(w[at], x[0], sum));
    return (uint32_t)((int32_t)sum >> 8);
}
EK_INLINE uint32_t ek_sum_x16_w8(const ek_word *w, const ek_word *x, uint32_t words, uint32_t at, uint32_t first) {
    uint32_t sum = 0, i;
    (void)first;
    for (i = 0; i < words; ++i, w += 4, x += 2)
        sum = ek_pair_dot(ek_odd_bytes(w[at]), x[1], ek_pair_dot(ek_even_bytes(w[at]), x[0], sum));
    return sum;
}
EK_INLINE uint32_t ek_sum_x16_w16(const ek_word *w, const ek_word *x, uint32_t words, uint32_t at, uint32_t first) {
    uint32_t sum = 0, i;
    (void)first;
    for (i = 0; i < words; ++i, w += 8, x += 2) sum = ek_pair_dot(w[at + 4u], x[1], ek_pair_dot(w[at], x[0], sum));
    return sum;
}
EK_INLINE void ek_few_clipped_x16_w16(ek_i16 *y, const ek_word *w, const ek_word *x, uint32_t words,
                                      const ek_i32 *factors, uint32_t blocks) {
    uint32_t o, i;
    for (o = 0; o < 4u * blocks; ++o) {
        uint32_t sum = 0;
        for (i = 0; i < words; ++i) sum = ek_pair_dot(w[(o / 4u * words + i) * 4u + o % 4u], x[i], sum);
        y[o] = ek_clip_16(ek_scaled_high((int32_t)sum, factors[o]));
    }
}
EK_INLINE void ek_few_x16_w16(ek_i16 *y, const ek_word *w, const ek_word *x, uint32_t words, const ek_i32 *factors,
                              uint32_t blocks) {
    ek_few_clipped_x16_w16(y, w, x, words, factors, blocks);
}
/* BLOCK: words of weights in a block of so many steps */
#define EK_PAIR_DENSE(FORM, B, TY, BLOCK) \
    EK_INLINE void ek_added_##FORM##_a##B(TY *y, const TY *c, const ek_word *w, const ek_word *x, uint32_t words, \
                                          uint32_t blocks, uint32_t first) { \
        uint32_t o; \
        for (o = 0; o < 4u * blocks; ++o) { \
            const uint32_t sum = ek_sum_##FORM(w + o / 4u * (BLOCK), x, words, o % 4u, first); \
            y[o] = (TY)((c ? (uint32_t)c[o] : 0u) + sum); \
        } \
    } \
    EK_INLINE void ek_sums_##FORM##_a##B(TY *y, const TY *c, const ek_word *w, const ek_word *x, uint32_t words, \
                                         uint32_t blocks, uint32_t first) { \
        ek_added_##FORM##_a##B(y, c, w, x, words, blocks, first); \
    }
EK_PAIR_DENSE(x8_w4, 32, ek_i32, 4u * words)
EK_PAIR_DENSE(x8_w4, 16, ek_i16, 4u * words)
EK_PAIR_DENSE(x16_w4, 32, ek_i32, 4u * words)
EK_PAIR_DENSE(x16_w4, 16, ek_i16, 4u * words)
EK_PAIR_DENSE(x8_w8, 32, ek_i32, 4u * words + 4u)
EK_PAIR_DENSE(x8_w8, 16, ek_i16, 4u * words + 4u)
EK_PAIR_DENSE(x16_w8, 32, ek_i32, 4u * words)
EK_PAIR_DENSE(x16_w8, 16, ek_i16, 4u * words)
EK_PAIR_DENSE(x16_w16, 32, ek_i32, 8u * words)
EK_PAIR_DENSE(x16_w16, 16, ek_i16, 8u * words)
#endif

/* Row by row of x. `wide` has room for a row of int8 in the form that the kernel reads: READY puts it there, and sets
 * `first` for int4. Where there are several rows, the outputs of each are whole blocks. `steps`: of a block.
 */
#define EK_PAIR_ROWS(NAME, KERNEL, B, TX, TY, READY) \
    EK_INLINE void NAME(TY *y, const TY *c, uint32_t step, const ek_word *w, const TX *x, ek_word *wide, uint32_t rows, \
                        uint32_t n_in, uint32_t steps, uint32_t n_out) { \
        uint32_t r, first = 0; \
        for (r = 0; r < rows; ++r, x += n_in, y += n_out) { \
            const ek_word *ready = wide; \
            READY; \
            if (c) \
                ek_added_##KERNEL##_a##B(y, c + r * step, w, ready, steps, (n_out + 3u) / 4u, first); \
            else \
                ek_sums_##KERNEL##_a##B(y, c, w, ready, steps, (n_out + 3u) / 4u, first); \
        } \
    }
#define EK_PAIR_ROWS_OF(B, TY) \
    EK_PAIR_ROWS(ek_pairs_x8_w4_a##B, x8_w4, B, ek_i8, TY, first = ek_widen_nibbles(wide, x, 2u * steps)) \
    EK_PAIR_ROWS(ek_pairs_x8_w8_a##B, x8_w8, B, ek_i8, TY, ek_widen_bytes(wide, x, steps)) \
    EK_PAIR_ROWS(ek_pairs_wide_x8_w8_a##B, x16_w8, B, ek_i8, TY, ek_widen(wide, x, steps)) \
    EK_PAIR_ROWS(ek_pairs_wide_x8_w16_a##B, x16_w16, B, ek_i8, TY, ek_widen(wide, x, steps)) \
    EK_PAIR_ROWS(ek_pairs_x16_w4_a##B, x16_w4, B, ek_i16, TY, \
                 (ready = (const ek_word *)x, first = ek_minus_eights(ready, 4u * steps))) \
    EK_PAIR_ROWS(ek_pairs_x16_w8_a##B, x16_w8, B, ek_i16, TY, ready = (const ek_word *)x) \
    EK_PAIR_ROWS(ek_pairs_x16_w16_a##B, x16_w16, B, ek_i16, TY, ready = (const ek_word *)x)
EK_PAIR_ROWS_OF(32, ek_i32)
EK_PAIR_ROWS_OF(16, ek_i16)

/* y = A m + B u of short rows of int16, of an even number `order` in m: for each output a word of A for each pair of m, then
 * one of B for each of the `inputs` of u.
 */
EK_INLINE void ek_memory_rows_x16_w16_a32(ek_i32 *y, const ek_word *weights, const ek_i16 *m, const ek_i16 *u,
                                          uint32_t channels, uint32_t order, uint32_t inputs) {
    uint32_t c, d, j;
    EK_UNROLL1 for (c = 0; c < channels; ++c, m += order, u += inputs) {
        const ek_word *const x = (const ek_word *)m, *w = weights;
        EK_UNROLL1 for (d = 0; d < order; ++d) {
            uint32_t sum = 0;
            EK_UNROLL4 for (j = 0; j < order / 2u; ++j) sum = ek_pair_dot(*w++, x[j], sum);
            EK_UNROLL2 for (j = 0; j < inputs; ++j) sum += *w++ * (uint32_t)u[j];
            *y++ = (int32_t)sum;
        }
    }
}

#endif
