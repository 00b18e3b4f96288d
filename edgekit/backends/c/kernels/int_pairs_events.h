/* Event-driven sums on cores with two int16 in a register. */
#ifndef EK_INT_PAIRS_EVENTS_H
#define EK_INT_PAIRS_EVENTS_H

#include "int_pairs.h"

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

EK_NAKED void ek_add_rows_pairs(ek_i16 *y EK_ARGUMENT, const int8_t *w EK_ARGUMENT, const uint16_t *list EK_ARGUMENT,
                                uint32_t count EK_ARGUMENT, uint32_t blocks EK_ARGUMENT) {
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
