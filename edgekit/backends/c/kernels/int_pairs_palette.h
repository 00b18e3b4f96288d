/* Sums over weights of few distinct values on cores with two int16 in a register.
 *
 *   p4 p6 p8   a pair of neighbouring weights is a number of 4, 6 or 8 bits: the word of a table of all pairs of int16
 *   w2         a weight is two bits: how far it is above `low`, the least of four neighbouring values
 *
 * Dense weights lie in blocks of four outputs, a block in steps of eight inputs, in a step the outputs one after the
 * other: of p4, p6 and p8 four pairs in 16, 24 or 32 bits; of w2 two outputs in a word, the first weights of their pairs
 * in its lower half, in two bits each. Inputs are int16; those past the end are zero, or weights there are.
 * Rows of events are of sixteen outputs: eight pairs in 32, 48 or 64 bits; of w2 a word, four outputs of neighbouring
 * pairs in the same two bits of its bytes 0, 2, 1, 3.
 * y and c hold whole blocks; c may be null (zero), and may be y itself.
 */
#ifndef EK_INT_PAIRS_PALETTE_H
#define EK_INT_PAIRS_PALETTE_H

#include "int_pairs_dense.h"
#include "int_pairs_events.h"

#if EK_DSP
/* In a block r0 is at the weights, r1 at x, lr is the table or the mask of pairs, r4-r7 are the sums. The stack holds x, its
 * end, the end of y, c and y; above the nine registers that are kept are the steps, the blocks, and the table or `low` times
 * the sum of x.
 */
#define EK_CODED_ENTER(Y_SHIFT) \
    "push {r4-r11, lr}\n\t" \
    "ldrd r4, r5, [sp, #36]\n\t" \
    "ldr lr, [sp, #44]\n\t" \
    "sub sp, #24\n\t" \
    "add r12, r3, r4, lsl #4\n\t" \
    "add r5, r0, r5, lsl #" Y_SHIFT "\n\t" \
    "strd r3, r12, [sp]\n\t" \
    "strd r5, r1, [sp, #8]\n\t" \
    "str r0, [sp, #16]\n\t" \
    "mov r0, r2\n"
#define EK_CODED_STEPS(STEP) \
    "ldr r1, [sp]\n" \
    "2:\n\t" STEP "ldr r12, [sp, #4]\n\t" \
    "cmp r1, r12\n\t" \
    "bne 2b\n\t"
#define EK_CODED_LEAVE(STORED) \
    "ldr r1, [sp, #16]\n\t" \
    "stm r1!, {" STORED "}\n\t" \
    "ldr r2, [sp, #8]\n\t" \
    "str r1, [sp, #16]\n\t" \
    "cmp r1, r2\n\t" \
    "bne 1b\n\t" \
    "add sp, #24\n\t" \
    "pop {r4-r11, pc}\n"

/* one pair of four outputs: in which registers they are and from which bit on */
#define EK_LOOKED(SUM, W, AT, BITS, X) \
    "ubfx r12, " W ", #" AT ", #" BITS "\n\tldr.w r12, [lr, r12, lsl #2]\n\tsmlad " SUM ", r12, " X ", " SUM "\n\t"
#define EK_LOOKED_P4(K, X) \
    EK_LOOKED("r4", "r8", "4*" K, "4", X) EK_LOOKED("r5", "r8", "16+4*" K, "4", X) \
    EK_LOOKED("r6", "r9", "4*" K, "4", X) EK_LOOKED("r7", "r9", "16+4*" K, "4", X)
#define EK_LOOKED_IN_FOUR(K, BITS, X) \
    EK_LOOKED("r4", "r8", BITS "*" K, BITS, X) EK_LOOKED("r5", "r9", BITS "*" K, BITS, X) \
    EK_LOOKED("r6", "r10", BITS "*" K, BITS, X) EK_LOOKED("r7", "r11", BITS "*" K, BITS, X)
#define EK_LOOKED_P6(K, X) EK_LOOKED_IN_FOUR(K, "6", X)
#define EK_LOOKED_P8(K, X) EK_LOOKED_IN_FOUR(K, "8", X)
#define EK_MASKED(SUM, W, AT, X) "and.w r12, lr, " W AT "\n\tsmlad " SUM ", r12, " X ", " SUM "\n\t"
#define EK_MASKED_W2(FIRST, SECOND, X) \
    EK_MASKED("r4", "r8", FIRST, X) EK_MASKED("r5", "r8", SECOND, X) \
    EK_MASKED("r6", "r9", FIRST, X) EK_MASKED("r7", "r9", SECOND, X)
#define EK_FOUR_PAIRS(FORM) \
    "ldrd r2, r3, [r1], #8\n\t" EK_LOOKED_##FORM("0", "r2") EK_LOOKED_##FORM("1", "r3") \
    "ldrd r2, r3, [r1], #8\n\t" EK_LOOKED_##FORM("2", "r2") EK_LOOKED_##FORM("3", "r3")
#define EK_STEP_P4 "ldrd r8, r9, [r0], #8\n\t" EK_FOUR_PAIRS(P4)
#define EK_STEP_P6 \
    "ldr.w r8, [r0]\n\tldr.w r9, [r0, #3]\n\tldr.w r10, [r0, #6]\n\tldr.w r11, [r0, #9]\n\tadds r0, #12\n\t" \
    EK_FOUR_PAIRS(P6)
#define EK_STEP_P8 "ldm.w r0!, {r8-r11}\n\t" EK_FOUR_PAIRS(P8)
#define EK_STEP_W2 \
    "ldrd r8, r9, [r0], #8\n\tldrd r2, r3, [r1], #8\n\t" EK_MASKED_W2("", ", lsr #8", "r2") \
    EK_MASKED_W2(", lsr #2", ", lsr #10", "r3") "ldrd r2, r3, [r1], #8\n\t" \
    EK_MASKED_W2(", lsr #4", ", lsr #12", "r2") EK_MASKED_W2(", lsr #6", ", lsr #14", "r3")

#define EK_PAIR_CODED_OF(NAME, TY, MORE, Y_SHIFT, READY, FIRST, STEP, LAST, STORED) \
    EK_NAKED void NAME(TY *y EK_ARGUMENT, const TY *c EK_ARGUMENT, const uint8_t *w EK_ARGUMENT, \
                       const ek_word *x EK_ARGUMENT, uint32_t steps EK_ARGUMENT, uint32_t blocks EK_ARGUMENT, \
                       MORE more EK_ARGUMENT) { \
        __asm__ volatile(EK_CODED_ENTER(Y_SHIFT) READY "1:\n\t" FIRST EK_CODED_STEPS(STEP) LAST EK_CODED_LEAVE(STORED)); \
    }
#define EK_PAIR_CODED(FORM, MORE, READY, FIRST, STEP) \
    EK_PAIR_CODED_OF(ek_sums_##FORM##_a32, ek_i32, MORE, "4", READY, FIRST, STEP, "", "r4-r7") \
    EK_PAIR_CODED_OF(ek_added_##FORM##_a32, ek_i32, MORE, "4", READY, FIRST, STEP, EK_ADD_C, "r4-r7") \
    EK_PAIR_CODED_OF(ek_sums_##FORM##_a16, ek_i16, MORE, "3", READY, FIRST, STEP, EK_PACK, "r4, r5") \
    EK_PAIR_CODED_OF(ek_added_##FORM##_a16, ek_i16, MORE, "3", READY, FIRST, STEP, EK_PACK EK_ADD_PAIRS_OF_C, "r4, r5")
EK_PAIR_CODED(p4, const ek_word *, "", EK_FROM_ZERO, EK_STEP_P4)
EK_PAIR_CODED(p6, const ek_word *, "", EK_FROM_ZERO, EK_STEP_P6)
EK_PAIR_CODED(p8, const ek_word *, "", EK_FROM_ZERO, EK_STEP_P8)
EK_PAIR_CODED(w2, uint32_t, "mov lr, #0x00030003\n", EK_FROM_FIRST, EK_STEP_W2)

/* r0 the list, lr the weights of these outputs, r3 the table or the mask, r4-r11 sums; on the stack the end of the list, its
 * begin, y and blocks
 */
#define EK_LOOKED_TWO(A, W, AT, BITS) \
    "ubfx r12, " W ", #" AT ", #" BITS "\n\tldr.w r12, [r3, r12, lsl #2]\n\tsadd16 " A ", " A ", r12\n\t"
#define EK_LOOKED_WIDE(A, B, W, AT, BITS) \
    "ubfx r12, " W ", #" AT ", #" BITS "\n\tldr.w r12, [r3, r12, lsl #2]\n\tsxtah " A ", " A ", r12\n\t" \
    "sxtah " B ", " B ", r12, ror #16\n\t"
#define EK_LOOKED_EIGHT(W, BITS, A, B, C, D) \
    EK_LOOKED_TWO(A, W, "0", BITS) EK_LOOKED_TWO(B, W, BITS, BITS) EK_LOOKED_TWO(C, W, "2*" BITS, BITS) \
    EK_LOOKED_TWO(D, W, "3*" BITS, BITS)
#define EK_CODED_AT "ldrh.w r12, [r0], #2\n\tadd.w r12, lr, r12, lsl #2\n\t"
#define EK_CODED_ROW_P4_A16 \
    EK_CODED_AT "ldr.w r1, [r12]\n\tlsr r2, r1, #16\n\t" EK_LOOKED_EIGHT("r1", "4", "r4", "r5", "r6", "r7") \
    EK_LOOKED_EIGHT("r2", "4", "r8", "r9", "r10", "r11")
#define EK_CODED_ROW_P6_A16 \
    EK_CODED_AT "ldr.w r1, [r12]\n\tldr.w r2, [r12, #3]\n\t" EK_LOOKED_EIGHT("r1", "6", "r4", "r5", "r6", "r7") \
    EK_LOOKED_EIGHT("r2", "6", "r8", "r9", "r10", "r11")
#define EK_CODED_ROW_P8_A16 \
    EK_CODED_AT "ldrd r1, r2, [r12]\n\t" EK_LOOKED_EIGHT("r1", "8", "r4", "r5", "r6", "r7") \
    EK_LOOKED_EIGHT("r2", "8", "r8", "r9", "r10", "r11")
#define EK_CODED_ROW_A32(LOAD, BITS) \
    EK_CODED_AT LOAD " r1, [r12]\n\t" EK_LOOKED_WIDE("r4", "r5", "r1", "0", BITS) \
    EK_LOOKED_WIDE("r6", "r7", "r1", BITS, BITS) EK_LOOKED_WIDE("r8", "r9", "r1", "2*" BITS, BITS) \
    EK_LOOKED_WIDE("r10", "r11", "r1", "3*" BITS, BITS)
#define EK_MASKED_FOUR(A, B, AT) \
    "and.w r12, r3, r1" AT "\n\tuxtab16 " A ", " A ", r12\n\tuxtab16 " B ", " B ", r12, ror #8\n\t"
#define EK_CODED_ROW_W2_A16 \
    EK_CODED_AT "ldr.w r1, [r12]\n\t" EK_MASKED_FOUR("r4", "r5", "") EK_MASKED_FOUR("r6", "r7", ", lsr #2") \
    EK_MASKED_FOUR("r8", "r9", ", lsr #4") EK_MASKED_FOUR("r10", "r11", ", lsr #6")
#define EK_CODED_ROWS(FORM, TY, READY, ROW, BLOCK_BYTES) \
    EK_NAKED void ek_add_rows_##FORM(TY *y EK_ARGUMENT, const ek_word *w EK_ARGUMENT, const uint16_t *list EK_ARGUMENT, \
                                     uint32_t count EK_ARGUMENT, uint32_t blocks EK_ARGUMENT, \
                                     const ek_word *table EK_ARGUMENT) { \
        __asm__ volatile("push {r4-r11, lr}\n\t" \
                         "sub sp, #20\n\t" \
                         "ldrd r12, r5, [sp, #56]\n\t" \
                         "mov lr, r1\n\t" \
                         "add r1, r2, r3, lsl #1\n\t" \
                         "strd r1, r2, [sp]\n\t" \
                         "strd r0, r12, [sp, #8]\n\t" READY "\n" \
                         "1:\n\tldm r0, {r4-r11}\n\t" \
                         "ldr r0, [sp, #4]\n" \
                         "2:\n\t" ROW "ldr r1, [sp]\n\t" \
                         "cmp r0, r1\n\t" \
                         "bne 2b\n\t" \
                         "ldrd r0, r1, [sp, #8]\n\t" \
                         "stm r0!, {r4-r11}\n\t" \
                         "add lr, #" BLOCK_BYTES "\n\t" \
                         "subs r1, #1\n\t" \
                         "strd r0, r1, [sp, #8]\n\t" \
                         "bne 1b\n\t" \
                         "add sp, #20\n\t" \
                         "pop {r4-r11, pc}\n"); \
    }
#define EK_TABLE_IN_R3 "mov r3, r5"
EK_CODED_ROWS(p4_a16, ek_i16, EK_TABLE_IN_R3, EK_CODED_ROW_P4_A16, "4")
EK_CODED_ROWS(p6_a16, ek_i16, EK_TABLE_IN_R3, EK_CODED_ROW_P6_A16, "6")
EK_CODED_ROWS(p8_a16, ek_i16, EK_TABLE_IN_R3, EK_CODED_ROW_P8_A16, "8")
EK_CODED_ROWS(p4_a32, ek_i32, EK_TABLE_IN_R3, EK_CODED_ROW_A32("ldrh.w", "4"), "2")
EK_CODED_ROWS(p6_a32, ek_i32, EK_TABLE_IN_R3, EK_CODED_ROW_A32("ldr.w", "6"), "3")
EK_CODED_ROWS(p8_a32, ek_i32, EK_TABLE_IN_R3, EK_CODED_ROW_A32("ldr.w", "8"), "4")
EK_CODED_ROWS(w2_a16, ek_i16, "mov r3, #0x03030303", EK_CODED_ROW_W2_A16, "4")

#else
/* number `at` of those of so many bits */
EK_INLINE uint32_t ek_coded(const uint8_t *w, uint32_t at, uint32_t bits) {
    const uint32_t from = at * bits, byte = from / 8u;
    const uint32_t more = from % 8u + bits > 8u ? w[byte + 1u] : 0u;
    return (w[byte] | more << 8) >> from % 8u & ((1u << bits) - 1u);
}
/* the pair of weights number `k` of output `at` of a step */
EK_INLINE uint32_t ek_looked(const ek_word *table, const uint8_t *w, uint32_t bits, uint32_t at, uint32_t k) {
    return table[ek_coded(w, 4u * at + k, bits)];
}
EK_INLINE uint32_t ek_masked(const uint8_t *w, uint32_t at, uint32_t k) {
    return ((const ek_word *)w)[at / 2u] >> (8u * (at % 2u) + 2u * k) & 0x00030003u;
}
#define EK_PAIR_CODED_OF(FORM, BYTES, B, TY, MORE, FIRST, PAIR) \
    EK_INLINE void ek_added_##FORM##_a##B(TY *y, const TY *c, const uint8_t *w, const ek_word *x, uint32_t steps, \
                                          uint32_t blocks, MORE more) { \
        uint32_t o, i, k; \
        for (o = 0; o < 4u * blocks; ++o) { \
            uint32_t sum = (c ? (uint32_t)c[o] : 0u) + (FIRST); \
            for (i = 0; i < steps; ++i) \
                for (k = 0; k < 4u; ++k) { \
                    const uint8_t *const step = w + BYTES * (o / 4u * steps + i); \
                    sum = ek_pair_dot(PAIR, x[4u * i + k], sum); \
                } \
            y[o] = (TY)sum; \
        } \
    } \
    EK_INLINE void ek_sums_##FORM##_a##B(TY *y, const TY *c, const uint8_t *w, const ek_word *x, uint32_t steps, \
                                         uint32_t blocks, MORE more) { \
        ek_added_##FORM##_a##B(y, c, w, x, steps, blocks, more); \
    }
#define EK_PAIR_CODED(FORM, BYTES, MORE, FIRST, PAIR) \
    EK_PAIR_CODED_OF(FORM, BYTES, 32, ek_i32, MORE, FIRST, PAIR) \
    EK_PAIR_CODED_OF(FORM, BYTES, 16, ek_i16, MORE, FIRST, PAIR)
EK_PAIR_CODED(p4, 8u, const ek_word *, 0u, ek_looked(more, step, 4u, o % 4u, k))
EK_PAIR_CODED(p6, 12u, const ek_word *, 0u, ek_looked(more, step, 6u, o % 4u, k))
EK_PAIR_CODED(p8, 16u, const ek_word *, 0u, ek_looked(more, step, 8u, o % 4u, k))
EK_PAIR_CODED(w2, 8u, uint32_t, more, ek_masked(step, o % 4u, k))

EK_INLINE uint32_t ek_row_coded(const ek_word *row, const ek_word *table, uint32_t bits, uint32_t o) {
    const uint32_t pair = table[ek_coded((const uint8_t *)row, o / 2u, bits)];
    return (uint32_t)(o % 2u ? ek_high(pair) : ek_low(pair));
}
EK_INLINE uint32_t ek_row_masked(const ek_word *row, uint32_t o) {
    return row[o / 16u] >> (8u * ((o & 1u) << 1 | (o >> 1 & 1u)) + 2u * (o % 16u / 4u)) & 3u;
}
#define EK_CODED_ROWS(FORM, TY, OUTPUTS, WEIGHT) \
    EK_INLINE void ek_add_rows_##FORM(TY *y, const ek_word *w, const uint16_t *list, uint32_t count, uint32_t blocks, \
                                      const ek_word *table) { \
        uint32_t k, o; \
        (void)table; \
        for (k = 0; k < count; ++k) \
            for (o = 0; o < OUTPUTS * blocks; ++o) y[o] = (TY)((uint32_t)y[o] + WEIGHT); \
    }
EK_CODED_ROWS(p4_a16, ek_i16, 16u, ek_row_coded(w + list[k], table, 4u, o))
EK_CODED_ROWS(p6_a16, ek_i16, 16u, ek_row_coded(w + list[k], table, 6u, o))
EK_CODED_ROWS(p8_a16, ek_i16, 16u, ek_row_coded(w + list[k], table, 8u, o))
EK_CODED_ROWS(p4_a32, ek_i32, 8u, ek_row_coded(w + list[k], table, 4u, o))
EK_CODED_ROWS(p6_a32, ek_i32, 8u, ek_row_coded(w + list[k], table, 6u, o))
EK_CODED_ROWS(p8_a32, ek_i32, 8u, ek_row_coded(w + list[k], table, 8u, o))
EK_CODED_ROWS(w2_a16, ek_i16, 16u, ek_row_masked(w + list[k], o))
#endif

/* A row of x as the kernels read it: int8 as int16 in the order 0, 2, 1, 3 of every four, int16 as they are where there is no
 * `wide` to put them. In `wide` what is past the end is zero.
 */
EK_INLINE const ek_word *ek_coded_x8(ek_word *wide, const ek_i8 *x, uint32_t n_in, uint32_t steps) {
    ek_i16 *const y = (ek_i16 *)wide;
    uint32_t i;
    ek_widen(wide, x, (n_in + 3u) / 4u);
    for (i = n_in; i < 8u * steps; ++i) y[(i & ~3u) | (i & 1u) << 1 | (i >> 1 & 1u)] = 0;
    return wide;
}
EK_INLINE const ek_word *ek_coded_x16(ek_word *wide, const ek_i16 *x, uint32_t n_in, uint32_t steps) {
    const ek_word *const from = (const ek_word *)x;
    ek_i16 *const y = (ek_i16 *)wide;
    uint32_t i;
    if (!wide) return from;
    EK_UNROLL2 for (i = 0; i < (n_in + 1u) / 2u; ++i) wide[i] = from[i];
    for (i = n_in; i < 8u * steps; ++i) y[i] = 0;
    return wide;
}
EK_INLINE uint32_t ek_pairs_total(const ek_word *x, uint32_t words) {
    uint32_t i, sum = 0;
    EK_UNROLL4 for (i = 0; i < words; ++i) sum = ek_pair_dot(x[i], 0x00010001u, sum);
    return sum;
}

/* Row by row of x; where there are several rows, the outputs of each are whole blocks. */
#define EK_PAIR_CODED_ROWS(X, FORM, B, TX, TY, MORE, GIVEN) \
    EK_INLINE void ek_pairs_x##X##_##FORM##_a##B(TY *y, const TY *c, uint32_t step, const uint8_t *w, MORE more, \
                                                 const TX *x, ek_word *wide, uint32_t rows, uint32_t n_in, \
                                                 uint32_t n_out) { \
        const uint32_t steps = (n_in + 7u) / 8u; \
        uint32_t r; \
        for (r = 0; r < rows; ++r, x += n_in, y += n_out) { \
            const ek_word *const ready = ek_coded_x##X(wide, x, n_in, steps); \
            if (c) \
                ek_added_##FORM##_a##B(y, c + r * step, w, ready, steps, (n_out + 3u) / 4u, GIVEN); \
            else \
                ek_sums_##FORM##_a##B(y, c, w, ready, steps, (n_out + 3u) / 4u, GIVEN); \
        } \
    }
#define EK_PAIR_CODED_ALL(FORM, MORE, GIVEN) \
    EK_PAIR_CODED_ROWS(8, FORM, 16, ek_i8, ek_i16, MORE, GIVEN) \
    EK_PAIR_CODED_ROWS(8, FORM, 32, ek_i8, ek_i32, MORE, GIVEN) \
    EK_PAIR_CODED_ROWS(16, FORM, 16, ek_i16, ek_i16, MORE, GIVEN) \
    EK_PAIR_CODED_ROWS(16, FORM, 32, ek_i16, ek_i32, MORE, GIVEN)
EK_PAIR_CODED_ALL(p4, const ek_word *, more)
EK_PAIR_CODED_ALL(p6, const ek_word *, more)
EK_PAIR_CODED_ALL(p8, const ek_word *, more)
EK_PAIR_CODED_ALL(w2, uint32_t, more *ek_pairs_total(ready, 4u * steps))

/* y = c + rows, of whole blocks, in whose weights `low` is missing. */
#define EK_CODED_EVENT(FORM, TY, ADD) \
    EK_INLINE void ek_event_pairs_##FORM(TY *y, const TY *c, const ek_word *w, const ek_word *table, uint32_t low, \
                                         const uint16_t *list, uint32_t count, uint32_t blocks) { \
        ek_word *to = (ek_word *)y; \
        const ek_word *from = (const ek_word *)c; \
        uint32_t o; \
        if (c != y || (low && count)) \
            EK_UNROLL2 for (o = 0; o < 8u * blocks; ++o) to[o] = ADD(c ? from[o] : 0u, low * count); \
        if (count) ek_add_rows_##FORM(y, w, list, count, blocks, table); \
    }
EK_CODED_EVENT(p4_a16, ek_i16, EK_PLAIN_SUM)
EK_CODED_EVENT(p6_a16, ek_i16, EK_PLAIN_SUM)
EK_CODED_EVENT(p8_a16, ek_i16, EK_PLAIN_SUM)
EK_CODED_EVENT(p4_a32, ek_i32, EK_PLAIN_SUM)
EK_CODED_EVENT(p6_a32, ek_i32, EK_PLAIN_SUM)
EK_CODED_EVENT(p8_a32, ek_i32, EK_PLAIN_SUM)
EK_CODED_EVENT(w2_a16, ek_i16, EK_PAIRED_SUM)

#endif
