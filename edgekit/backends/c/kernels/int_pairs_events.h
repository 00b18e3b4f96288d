/* Spiking layers on cores with two int16 in a register: lists of the neurons that fired, sums of their rows, memories by
 * table, and neurons that leak, fire and are reset.
 */
#ifndef EK_INT_PAIRS_EVENTS_H
#define EK_INT_PAIRS_EVENTS_H

#include "int_pairs.h"

/* Where the rows of the neurons that fired begin, in words: rows of `step` words lie in the order of the bits of each
 * word of spikes. Of a last group of fewer than 32 the second half of the bits follows the first. Returns how many.
 */
EK_INLINE uint32_t ek_fired_rows(uint16_t *list, const ek_word *words, uint32_t n, uint32_t step) {
    uint16_t *to = list;
    uint32_t at, row;
    EK_UNROLL1 for (at = 0, row = 31u * step; at < n; at += 32u, row += 32u * step) {
        uint32_t word = *words++;
        if (n - at < 32u) word = (word & 0xffffu) | word >> 16 << (n - at + 1u) / 2u;
        while (word) {
            const uint32_t zeros = ek_leading_zeros(word);
            word &= ~(0x80000000u >> zeros);
            *to++ = (uint16_t)(row - zeros * step);
        }
    }
    return (uint32_t)(to - list);
}

/* y += the rows of weights at the offsets in the list, in words, with eight registers of sums at a time: sixteen int16 or
 * eight int32. Weights of every 16 outputs begin at a word; int8 lie in the order 0, 2, 1, 3 of every four, int4 are 8 more
 * than they should be, those of outputs 0, 2, 1, 3 of every eight in the lower halves of four bytes, 4, 6, 5, 7 in the upper.
 * s4 are sixteenths of int8 that are multiples of 16, in that order: a half byte is the upper one of its int8.
 */
#if EK_DSP
/* r0 the list, lr the weights of these outputs, r4-r11 sums, of w4 and s4 r3 the mask of halves; on the stack the end of the
 * list, its begin, y, blocks, and where a block enters the eight unrolled rows
 */
#define EK_ROW_AT "ldrh.w r12, [r0], #2\n\tadd.w r12, lr, r12, lsl #2\n\t"
#define EK_ADD_W8_A16(A, B, W) "sxtab16 " A ", " A ", " W "\n\tsxtab16 " B ", " B ", " W ", ror #8\n\t"
#define EK_ROW_W8_A16 \
    EK_ROW_AT "ldm.w r12, {r1, r2, r3, r12}\n\t" EK_ADD_W8_A16("r4", "r5", "r1") EK_ADD_W8_A16("r6", "r7", "r2") \
        EK_ADD_W8_A16("r8", "r9", "r3") EK_ADD_W8_A16("r10", "r11", "r12")
#define EK_ADD_W8_A32(A, B, C, D, W) \
    "sxtab " A ", " A ", " W "\n\tsxtab " B ", " B ", " W ", ror #16\n\t" \
    "sxtab " C ", " C ", " W ", ror #8\n\tsxtab " D ", " D ", " W ", ror #24\n\t"
#define EK_ROW_W8_A32 \
    EK_ROW_AT "ldrd r1, r2, [r12]\n\t" EK_ADD_W8_A32("r4", "r5", "r6", "r7", "r1") \
        EK_ADD_W8_A32("r8", "r9", "r10", "r11", "r2")
#define EK_ROW_W16_A16 \
    EK_ROW_AT "ldm.w r12!, {r1, r2, r3}\n\t" \
    "sadd16 r4, r4, r1\n\tsadd16 r5, r5, r2\n\tsadd16 r6, r6, r3\n\tldm.w r12!, {r1, r2, r3}\n\t" \
    "sadd16 r7, r7, r1\n\tsadd16 r8, r8, r2\n\tsadd16 r9, r9, r3\n\tldrd r1, r2, [r12]\n\t" \
    "sadd16 r10, r10, r1\n\tsadd16 r11, r11, r2\n\t"
#define EK_ADD_W16_A32(A, B, W) "sxtah " A ", " A ", " W "\n\tsxtah " B ", " B ", " W ", ror #16\n\t"
#define EK_ROW_W16_A32 \
    EK_ROW_AT "ldm.w r12, {r1, r2, r3, r12}\n\t" EK_ADD_W16_A32("r4", "r5", "r1") EK_ADD_W16_A32("r6", "r7", "r2") \
        EK_ADD_W16_A32("r8", "r9", "r3") EK_ADD_W16_A32("r10", "r11", "r12")
#define EK_ADD_W4_A16(A, B, C, D, W) \
    "and.w r12, r3, " W "\n\tuxtab16 " A ", " A ", r12\n\tuxtab16 " B ", " B ", r12, ror #8\n\t" \
    "and.w r12, r3, " W ", lsr #4\n\tuxtab16 " C ", " C ", r12\n\tuxtab16 " D ", " D ", r12, ror #8\n\t"
#define EK_ROW_W4_A16 \
    EK_ROW_AT "ldrd r1, r2, [r12]\n\t" EK_ADD_W4_A16("r4", "r5", "r6", "r7", "r1") \
        EK_ADD_W4_A16("r8", "r9", "r10", "r11", "r2")
#define EK_ADD_S4_A16(A, B, C, D, W) \
    "and.w r12, r3, " W ", lsl #4\n\tsxtab16 " A ", " A ", r12\n\tsxtab16 " B ", " B ", r12, ror #8\n\t" \
    "and.w r12, r3, " W "\n\tsxtab16 " C ", " C ", r12\n\tsxtab16 " D ", " D ", r12, ror #8\n\t"
#define EK_ROW_S4_A16 \
    EK_ROW_AT "ldrd r1, r2, [r12]\n\t" EK_ADD_S4_A16("r4", "r5", "r6", "r7", "r1") \
        EK_ADD_S4_A16("r8", "r9", "r10", "r11", "r2")
#define EK_ADD_W4_A32(A, B, C, D) \
    "uxtab " A ", " A ", r12\n\tuxtab " B ", " B ", r12, ror #16\n\tuxtab " C ", " C ", r12, ror #8\n\t" \
    "uxtab " D ", " D ", r12, ror #24\n\t"
#define EK_ROW_W4_A32 \
    EK_ROW_AT "ldr.w r1, [r12]\n\tand.w r12, r3, r1\n\t" EK_ADD_W4_A32("r4", "r5", "r6", "r7") \
    "and.w r12, r3, r1, lsr #4\n\t" EK_ADD_W4_A32("r8", "r9", "r10", "r11")

#define EK_ROWS(FORM, TY, MASK, ROW, ROW_BYTES, BLOCK_BYTES) \
    EK_NAKED void ek_add_rows_##FORM(TY *y EK_ARGUMENT, const ek_word *w EK_ARGUMENT, const uint16_t *list EK_ARGUMENT, \
                                     uint32_t count EK_ARGUMENT, uint32_t blocks EK_ARGUMENT) { \
        __asm__ volatile("ldr r12, [sp]\n\t" \
                         "push {r4-r11, lr}\n\t" \
                         "sub sp, #20\n\t" \
                         "mov lr, r1\n\t" \
                         "add r1, r2, r3, lsl #1\n\t" \
                         "rsb r3, r3, #0\n\t" \
                         "and r3, r3, #7\n\t" \
                         "mov r4, #" ROW_BYTES "\n\t" \
                         "adr.w r5, 2f\n\t" \
                         "orr r5, r5, #1\n\t" \
                         "mla r3, r3, r4, r5\n\t" \
                         "strd r1, r2, [sp]\n\t" \
                         "strd r0, r12, [sp, #8]\n\t" \
                         "str r3, [sp, #16]\n\t" \
                         "mov r3, #" MASK "\n" \
                         "1:\n\tldm r0, {r4-r11}\n\t" \
                         "ldr r0, [sp, #4]\n\t" \
                         "ldr pc, [sp, #16]\n\t" \
                         ".balign 4\n" \
                         "2:\n\t" ROW ROW ROW ROW ROW ROW ROW ROW "ldr r1, [sp]\n\t" \
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
EK_ROWS(w4_a16, ek_i16, "0x0f0f0f0f", EK_ROW_W4_A16, "60", "8")
EK_ROWS(s4_a16, ek_i16, "0xf0f0f0f0", EK_ROW_S4_A16, "60", "8")
EK_ROWS(w8_a16, ek_i16, "0x0f0f0f0f", EK_ROW_W8_A16, "44", "16")
EK_ROWS(w16_a16, ek_i16, "0x0f0f0f0f", EK_ROW_W16_A16, "52", "32")
EK_ROWS(w4_a32, ek_i32, "0x0f0f0f0f", EK_ROW_W4_A32, "52", "4")
EK_ROWS(w8_a32, ek_i32, "0x0f0f0f0f", EK_ROW_W8_A32, "44", "8")
EK_ROWS(w16_a32, ek_i32, "0x0f0f0f0f", EK_ROW_W16_A32, "44", "16")
#else
EK_INLINE uint32_t ek_row_w4(const ek_word *row, uint32_t o) {
    return row[o / 8u] >> (8u * ((o % 4u) >> 1 | (o % 2u) << 1) + 4u * (o % 8u / 4u)) & 15u;
}
EK_INLINE uint32_t ek_row_s4(const ek_word *row, uint32_t o) {
    return (uint32_t)(int8_t)(uint8_t)(ek_row_w4(row, o) << 4);
}
EK_INLINE uint32_t ek_row_w8(const ek_word *row, uint32_t o) {
    return (uint32_t)(int8_t)(uint8_t)(row[o / 4u] >> 8u * ((o % 4u) >> 1 | (o % 2u) << 1));
}
EK_INLINE uint32_t ek_row_w16(const ek_word *row, uint32_t o) {
    return (uint32_t)(o % 2u ? ek_high(row[o / 2u]) : ek_low(row[o / 2u]));
}
#define EK_ROWS(FORM, WEIGHT, TY, OUTPUTS) \
    EK_INLINE void ek_add_rows_##FORM(TY *y, const ek_word *w, const uint16_t *list, uint32_t count, uint32_t blocks) { \
        uint32_t k, o; \
        for (k = 0; k < count; ++k) \
            for (o = 0; o < OUTPUTS * blocks; ++o) y[o] = (TY)((uint32_t)y[o] + WEIGHT(w + list[k], o)); \
    }
EK_ROWS(w4_a16, ek_row_w4, ek_i16, 16u)
EK_ROWS(s4_a16, ek_row_s4, ek_i16, 16u)
EK_ROWS(w8_a16, ek_row_w8, ek_i16, 16u)
EK_ROWS(w16_a16, ek_row_w16, ek_i16, 16u)
EK_ROWS(w4_a32, ek_row_w4, ek_i32, 8u)
EK_ROWS(w8_a32, ek_row_w8, ek_i32, 8u)
EK_ROWS(w16_a32, ek_row_w16, ek_i32, 8u)
#endif

/* y = c + rows, of whole blocks; c may be null (zero), and may be y itself. `more` is how much every weight is too much. */
#define EK_EVENT_PAIRS(FORM, TY, ADD, MORE) \
    EK_INLINE void ek_event_pairs_##FORM(TY *y, const TY *c, const ek_word *w, const uint16_t *list, uint32_t count, \
                                         uint32_t blocks) { \
        ek_word *to = (ek_word *)y; \
        const ek_word *from = (const ek_word *)c; \
        uint32_t o; \
        if (c != y || (MORE && count)) \
            EK_UNROLL2 for (o = 0; o < 8u * blocks; ++o) to[o] = ADD(c ? from[o] : 0u, 0u - MORE * count); \
        if (count) ek_add_rows_##FORM(y, w, list, count, blocks); \
    }
#define EK_PLAIN_SUM(a, b) ((a) + (b))
#define EK_PAIRED_SUM(a, b) ek_pair_add(a, ((b) & 0xffffu) * 0x10001u)
EK_EVENT_PAIRS(w4_a16, ek_i16, EK_PAIRED_SUM, 8u)
EK_EVENT_PAIRS(s4_a16, ek_i16, EK_PLAIN_SUM, 0u)
EK_EVENT_PAIRS(w8_a16, ek_i16, EK_PLAIN_SUM, 0u)
EK_EVENT_PAIRS(w16_a16, ek_i16, EK_PLAIN_SUM, 0u)
EK_EVENT_PAIRS(w4_a32, ek_i32, EK_PLAIN_SUM, 8u)
EK_EVENT_PAIRS(w8_a32, ek_i32, EK_PLAIN_SUM, 0u)
EK_EVENT_PAIRS(w16_a32, ek_i32, EK_PLAIN_SUM, 0u)

/* y[channel][4] = A m + B u of spikes, u of one input: a row of a table of all sums, by the bits of m in the order
 * 0, 2, 1, 3 and then that of u. Channels go by twos.
 */
EK_INLINE void ek_memory_pairs_a16(ek_i16 *y, const ek_i16 *table, const ek_word *m, const ek_word *u, uint32_t channels) {
    ek_word *to = (ek_word *)y;
    uint32_t at, k, a, b, driven = 0;
    EK_UNROLL1 for (at = 0; at < channels; at += 8u) {
        const uint32_t twos = channels - at < 8u ? (channels - at + 1u) / 2u : 4u;
        uint32_t word = *m++;
        if (at % 32u == 0u) driven = *u++;
        EK_UNROLL2 for (k = 0; k < twos; ++k, word >>= 4, driven >>= 1) {
            const ek_word *row = (const ek_word *)table;
            row += ek_pair_dot(word & 0x30003u, 2u | 8u << 16, (driven & 1u) << 5);
            EK_LOAD2(row, a, b);
            EK_STORE2(to, a, b);
            row = (const ek_word *)table + ek_pair_dot(word >> 2 & 0x30003u, 2u | 8u << 16, (driven >> 16 & 1u) << 5);
            EK_LOAD2(row, a, b);
            EK_STORE2(to, a, b);
        }
    }
}

/* Neurons that leak, fire and are reset by their threshold one step later, over n elements:
 *     v = sat(sat(leak(v) + current) - (v > level ? level : 0)), all of the old v on the right;  spikes = v > level
 * leak(v) is v · factor / 2^15 or 2^16, rounded half up. `shared`: a pair of one level for all, `own`: one for each neuron.
 * Spikes past n are undefined.
 */
#if EK_DSP
/* r0 v, r1 current, r2 the level or where levels are, r3 the half that rounds, r12 the factor, lr the signs so far, behind
 * a bit that falls out when a group is full; on the stack spikes and how many neurons are left
 */
#define EK_LEAK_LONG(V) \
    "smlabb r10, " V ", r12, r3\n\tsmlatb r11, " V ", r12, r3\n\tlsl r11, r11, #1\n\tpkhtb r10, r11, r10, asr #15\n\t"
#define EK_LEAK_SHORT(V) \
    "smlabb r10, " V ", r12, r3\n\tsmlatb r11, " V ", r12, r3\n\tpkhtb r10, r11, r10, asr #16\n\t"
#define EK_FIRE_PAIR(LEAK, V, CURRENT, LEVEL) \
    LEAK(V) "qadd16 r10, r10, " CURRENT "\n\tqsub16 r11, r10, " LEVEL "\n\tssub16 " CURRENT ", " LEVEL ", " V "\n\t" \
    "sel " V ", r10, r11\n\tqsub16 r10, " LEVEL ", " V "\n\tand r10, r10, #0x80008000\n\t"
#define EK_FIRE_FOUR(LEAK, LOAD, P, Q, SHIFT) \
    "ldrd r4, r5, [r0]\n\tldrd r6, r7, [r1], #8\n\t" LOAD EK_FIRE_PAIR(LEAK, "r4", "r6", P) \
    "orr lr, r10, lr, lsr #1\n\t" EK_FIRE_PAIR(LEAK, "r5", "r7", Q) SHIFT "strd r4, r5, [r0], #8\n\t"
#define EK_FIRE(NAME, HALF, LEAK, LEVEL, LOAD, P, Q) \
    EK_NAKED void NAME(ek_i16 *v EK_ARGUMENT, const ek_i16 *current EK_ARGUMENT, const ek_i16 *levels EK_ARGUMENT, \
                       ek_word *spikes EK_ARGUMENT, uint32_t factor EK_ARGUMENT, uint32_t n EK_ARGUMENT) { \
        __asm__ volatile("ldr r12, [sp]\n\t" \
                         "push {r3-r11, lr}\n\t" \
                         "mov r3, #" HALF "\n\t" LEVEL "1:\n\t" \
                         "ldr r4, [sp, #44]\n\t" \
                         "mov lr, #0x8000\n\t" \
                         "cmp r4, #32\n\t" \
                         "bge 2f\n\t" \
                         "add r4, r4, #7\n\t" \
                         "bic r4, r4, #7\n\t" \
                         "lsr r4, r4, #1\n\t" \
                         "rsb r4, r4, #16\n\t" \
                         "lsr lr, lr, r4\n" \
                         "2:\n\t" EK_FIRE_FOUR(LEAK, LOAD, P, Q, "orr lr, r10, lr, lsr #1\n\t") \
                             EK_FIRE_FOUR(LEAK, LOAD, P, Q, "lsrs lr, lr, #1\n\torr lr, lr, r10\n\t") \
                         "bcc 2b\n\t" \
                         "ldrd r5, r4, [sp, #40]\n\t" \
                         "subs r4, r4, #32\n\t" \
                         "str r4, [sp, #44]\n\t" \
                         "ldr r5, [sp]\n\t" \
                         "bge 3f\n\t" \
                         "add r4, r4, #39\n\t" \
                         "bic r4, r4, #7\n\t" \
                         "lsr r4, r4, #1\n\t" \
                         "rsb r4, r4, #16\n\t" \
                         "lsr lr, lr, r4\n\t" \
                         "movs r4, #0\n" \
                         "3:\n\t" \
                         "str lr, [r5], #4\n\t" \
                         "str r5, [sp]\n\t" \
                         "cmp r4, #0\n\t" \
                         "bgt 1b\n\t" \
                         "pop {r3-r11, pc}\n"); \
    }
#define EK_FIRE_SHARED(NAME, HALF, LEAK) EK_FIRE(NAME, HALF, LEAK, "ldr r2, [r2]\n", "", "r2", "r2")
#define EK_FIRE_OWN(NAME, HALF, LEAK) EK_FIRE(NAME, HALF, LEAK, "\n", "ldrd r8, r9, [r2], #8\n\t", "r8", "r9")
EK_FIRE_SHARED(ek_fire_shared_15, "0x4000", EK_LEAK_LONG)
EK_FIRE_SHARED(ek_fire_shared_16, "0x8000", EK_LEAK_SHORT)
EK_FIRE_OWN(ek_fire_own_15, "0x4000", EK_LEAK_LONG)
EK_FIRE_OWN(ek_fire_own_16, "0x8000", EK_LEAK_SHORT)
#else
#define EK_FIRE(NAME, LEAK, PICK) \
    EK_INLINE void NAME(ek_i16 *v, const ek_i16 *current, const ek_i16 *levels, ek_word *spikes, uint32_t factor, \
                        uint32_t n) { \
        uint32_t i, bits = 0; \
        ek_word *const state = (ek_word *)v; \
        for (i = 0; i < (n + 1u) / 2u; ++i) { \
            const uint32_t level = ((const ek_word *)levels)[PICK], old = state[i]; \
            const uint32_t driven = ek_pair_adds(LEAK(old, factor), ((const ek_word *)current)[i]); \
            state[i] = ek_pair_choose(level, old, driven, ek_pair_subs(driven, level)); \
            bits = ek_pair_collect(bits, ek_pair_subs(level, state[i])); \
            if (i % 16u == 15u || i == (n - 1u) / 2u) spikes[i / 16u] = bits >> (15u - i % 16u); \
            if (i % 16u == 15u) bits = 0; \
        } \
    }
EK_FIRE(ek_fire_shared_15, ek_pair_scaled15, 0)
EK_FIRE(ek_fire_shared_16, ek_pair_scaled16, 0)
EK_FIRE(ek_fire_own_15, ek_pair_scaled15, i)
EK_FIRE(ek_fire_own_16, ek_pair_scaled16, i)
#endif

#endif
