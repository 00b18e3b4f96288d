/* y = c + W x of weights that are zero but for blocks of four, on cores with two int16 in a register.
 *
 * Blocks come in a stream of words, those of one output or of one neuron in a row behind a head, two at a time:
 *   head    how many bytes of blocks follow, and in the upper half where the code enters the four unrolled pairs
 *   pair    where the two blocks begin, in bytes, the first in the lower half; then the weights of the one and the other
 * An odd number is made even by a block of zeros. Bytes of a word of weights are in the order 0, 2, 1, 3.
 */
#ifndef EK_INT_BLOCKS_PAIRS_H
#define EK_INT_BLOCKS_PAIRS_H

#include "int_pairs_dense.h"
#include "int_pairs_events.h"

/* --- blocks of inputs ---------------------------------------------------------------------------------------------
 *
 *   x16_w8, x16_w16   of x in int16
 *   x8_w8             of x and weights in the form that ek_widen_bytes gives them; before the head of an output is what
 *                     its sum begins at
 *   plain_x8_w8       of x in int8 as it is: longer, but where few blocks read an input that is not worth widening it
 */
#if EK_DSP
/* r0 the stream, r1 y, r2 the sum, r3 x, lr the end of these blocks */
#define EK_BLOCK_X8_W8(W) \
    "ldrd r4, r5, [r4]\n\tsmlad r2, " W ", r4, r2\n\tsxtb16 " W ", " W "\n\tsmlad r2, " W ", r5, r2\n\t"
#define EK_BLOCK_X16_W8(W) \
    "ldrd r4, r5, [r4]\n\tsxtb16 r6, " W "\n\tsmlad r2, r6, r4, r2\n\tsxtb16 " W ", " W ", ror #8\n\t" \
    "smlad r2, " W ", r5, r2\n\t"
#define EK_BLOCK_X16_W16(V, W) "ldrd r4, r5, [r4]\n\tsmlad r2, " V ", r4, r2\n\tsmlad r2, " W ", r5, r2\n\t"
#define EK_BLOCK_PLAIN(W) \
    "ldr.w r4, [r4]\n\tsxtb16 r5, r4\n\tsxtb16 r6, " W "\n\tsmlad r2, r6, r5, r2\n\tsxtb16 r4, r4, ror #8\n\t" \
    "sxtb16 " W ", " W ", ror #8\n\tsmlad r2, " W ", r4, r2\n\t"
#define EK_BLOCK_AT_FIRST "uxtah r4, r3, r8\n\t"
#define EK_BLOCK_AT_SECOND "add.w r4, r3, r8, lsr #16\n\t"
#define EK_PAIR_X8_W8 \
    "ldm.w r0!, {r8, r9, r10}\n\t" EK_BLOCK_AT_FIRST EK_BLOCK_X8_W8("r9") EK_BLOCK_AT_SECOND EK_BLOCK_X8_W8("r10")
#define EK_PAIR_X16_W8 \
    "ldm.w r0!, {r8, r9, r10}\n\t" EK_BLOCK_AT_FIRST EK_BLOCK_X16_W8("r9") EK_BLOCK_AT_SECOND EK_BLOCK_X16_W8("r10")
#define EK_PAIR_PLAIN \
    "ldm.w r0!, {r8, r9, r10}\n\t" EK_BLOCK_AT_FIRST EK_BLOCK_PLAIN("r9") EK_BLOCK_AT_SECOND EK_BLOCK_PLAIN("r10")
#define EK_PAIR_X16_W16 \
    "ldm.w r0!, {r8-r12}\n\t" EK_BLOCK_AT_FIRST EK_BLOCK_X16_W16("r9", "r10") \
    EK_BLOCK_AT_SECOND EK_BLOCK_X16_W16("r11", "r12")
#define EK_SUM_HERE(LOAD, STORE) LOAD " r2, [r1]\n\t"
#define EK_SUM_DONE(LOAD, STORE) STORE " r2, [r1], #"
#define EK_SUM_FIRST(LOAD, STORE) "ldr r2, [r0], #4\n\t"
#define EK_SUM_SHIFTED(LOAD, STORE) LOAD " r8, [r1]\n\tadd r2, r8, r2, asr #8\n\t" STORE " r2, [r1], #"
/* r6 (of int8 weights r11) has where the first pair of the code is, r7 the end of y */
#define EK_PAIR_BLOCKS(FORM, B, PAIR, BEGIN, END, LOAD, STORE, BYTES, CODE) \
    EK_NAKED void ek_add_blocks_##FORM##_a##B(ek_i##B *y EK_ARGUMENT, const ek_word *stream EK_ARGUMENT, \
                                              const ek_i##B *end EK_ARGUMENT, const ek_word *x EK_ARGUMENT) { \
        __asm__ volatile("push {r4-r11, lr}\n\t" \
                         "mov r7, r2\n\t" \
                         "mov r2, r1\n\t" \
                         "mov r1, r0\n\t" \
                         "mov r0, r2\n\t" \
                         "adr.w " CODE ", 2f\n\t" \
                         "orr " CODE ", " CODE ", #1\n" \
                         "1:\n\t" BEGIN(LOAD, STORE) "ldr r8, [r0], #4\n\t" \
                         "uxtah lr, r0, r8\n\t" \
                         "add r8, " CODE ", r8, lsr #16\n\t" \
                         "bx r8\n\t" \
                         ".balign 4\n" \
                         "2:\n\t" PAIR PAIR PAIR PAIR "cmp r0, lr\n\t" \
                         "bne 2b\n\t" END(LOAD, STORE) BYTES "\n\t" \
                         "cmp r1, r7\n\t" \
                         "bne 1b\n\t" \
                         "pop {r4-r11, pc}\n"); \
    }
EK_PAIR_BLOCKS(x8_w8, 16, EK_PAIR_X8_W8, EK_SUM_FIRST, EK_SUM_SHIFTED, "ldrsh", "strh", "2", "r11")
EK_PAIR_BLOCKS(x8_w8, 32, EK_PAIR_X8_W8, EK_SUM_FIRST, EK_SUM_SHIFTED, "ldr", "str", "4", "r11")
EK_PAIR_BLOCKS(plain_x8_w8, 16, EK_PAIR_PLAIN, EK_SUM_HERE, EK_SUM_DONE, "ldrsh", "strh", "2", "r11")
EK_PAIR_BLOCKS(plain_x8_w8, 32, EK_PAIR_PLAIN, EK_SUM_HERE, EK_SUM_DONE, "ldr", "str", "4", "r11")
EK_PAIR_BLOCKS(x16_w8, 16, EK_PAIR_X16_W8, EK_SUM_HERE, EK_SUM_DONE, "ldrsh", "strh", "2", "r11")
EK_PAIR_BLOCKS(x16_w8, 32, EK_PAIR_X16_W8, EK_SUM_HERE, EK_SUM_DONE, "ldr", "str", "4", "r11")
EK_PAIR_BLOCKS(x16_w16, 16, EK_PAIR_X16_W16, EK_SUM_HERE, EK_SUM_DONE, "ldrsh", "strh", "2", "r6")
EK_PAIR_BLOCKS(x16_w16, 32, EK_PAIR_X16_W16, EK_SUM_HERE, EK_SUM_DONE, "ldr", "str", "4", "r6")
#else
EK_INLINE uint32_t ek_block_x8_w8(const ek_word *w, const ek_word *x, uint32_t sum) {
    return ek_pair_dot(ek_even_bytes(w[0]), x[1], ek_pair_dot(w[0], x[0], sum));
}
EK_INLINE uint32_t ek_block_plain_x8_w8(const ek_word *w, const ek_word *x, uint32_t sum) {
    sum = ek_pair_dot(ek_even_bytes(w[0]), ek_even_bytes(x[0]), sum);
    return ek_pair_dot(ek_odd_bytes(w[0]), ek_odd_bytes(x[0]), sum);
}
EK_INLINE uint32_t ek_block_x16_w8(const ek_word *w, const ek_word *x, uint32_t sum) {
    return ek_pair_dot(ek_odd_bytes(w[0]), x[1], ek_pair_dot(ek_even_bytes(w[0]), x[0], sum));
}
EK_INLINE uint32_t ek_block_x16_w16(const ek_word *w, const ek_word *x, uint32_t sum) {
    return ek_pair_dot(w[1], x[1], ek_pair_dot(w[0], x[0], sum));
}
/* WORDS: of weights in a block; LIFTED: sums begin at a word of the stream and are 256 times as large */
#define EK_PAIR_BLOCKS(FORM, B, WORDS, LIFTED) \
    EK_INLINE void ek_add_blocks_##FORM##_a##B(ek_i##B *y, const ek_word *stream, const ek_i##B *end, \
                                               const ek_word *x) { \
        for (; y != end; ++y) { \
            uint32_t sum = LIFTED ? *stream++ : 0u, left = *stream++ & 0xffffu; \
            for (; left; left -= 4u + 8u * WORDS, stream += 1u + 2u * WORDS) { \
                sum = ek_block_##FORM(stream + 1, x + (stream[0] & 0xffffu) / 4u, sum); \
                sum = ek_block_##FORM(stream + 1 + WORDS, x + (stream[0] >> 16) / 4u, sum); \
            } \
            *y = (ek_i##B)((uint32_t)*y + (LIFTED ? (uint32_t)((int32_t)sum >> 8) : sum)); \
        } \
    }
EK_PAIR_BLOCKS(x8_w8, 16, 1u, 1)
EK_PAIR_BLOCKS(x8_w8, 32, 1u, 1)
EK_PAIR_BLOCKS(plain_x8_w8, 16, 1u, 0)
EK_PAIR_BLOCKS(plain_x8_w8, 32, 1u, 0)
EK_PAIR_BLOCKS(x16_w8, 16, 1u, 0)
EK_PAIR_BLOCKS(x16_w8, 32, 1u, 0)
EK_PAIR_BLOCKS(x16_w16, 16, 2u, 0)
EK_PAIR_BLOCKS(x16_w16, 32, 2u, 0)
#endif

/* n sums at y begin at those of c, which may be null, and may be y itself; `whole`: words of them may be written */
#define EK_BEGIN_SUMS(B) \
    EK_INLINE void ek_begin_sums_##B(ek_i##B *y, const ek_i##B *c, uint32_t n, int whole) { \
        uint32_t o; \
        if (c == y) return; \
        if (whole) { \
            const uint32_t words = (n * B / 8u + 3u) / 4u; \
            EK_UNROLL4 for (o = 0; o < words; ++o) ((ek_word *)y)[o] = c ? ((const ek_word *)c)[o] : 0u; \
        } else { \
            EK_UNROLL1 for (o = 0; o < n; ++o) y[o] = c ? c[o] : (ek_i##B)0; \
        } \
    }
EK_BEGIN_SUMS(16)
EK_BEGIN_SUMS(32)

/* Row by row of x, of a multiple of four inputs where there are several. `wide` has room for a row of int8 in the form
 * that the kernel reads: READY puts `words` of four inputs there.
 */
#define EK_PAIR_BLOCK_SUMS(NAME, FORM, B, TX, READY) \
    EK_INLINE void NAME(ek_i##B *y, const ek_i##B *c, uint32_t step, const ek_word *stream, const TX *x, ek_word *wide, \
                        uint32_t rows, uint32_t n_in, uint32_t n_out) { \
        const uint32_t words = (n_in + 3u) / 4u; \
        uint32_t r; \
        (void)words; \
        for (r = 0; r < rows; ++r, x += n_in, y += n_out) { \
            const ek_word *ready = wide; \
            READY; \
            ek_begin_sums_##B(y, c ? c + r * step : c, n_out, rows == 1u); \
            ek_add_blocks_##FORM##_a##B(y, stream, y + n_out, ready); \
        } \
    }
#define EK_PAIR_BLOCK_SUMS_OF(B) \
    EK_PAIR_BLOCK_SUMS(ek_pair_blocks_x8_w8_a##B, x8_w8, B, ek_i8, ek_widen_bytes(wide, x, words)) \
    EK_PAIR_BLOCK_SUMS(ek_pair_blocks_plain_x8_w8_a##B, plain_x8_w8, B, ek_i8, ready = (const ek_word *)x) \
    EK_PAIR_BLOCK_SUMS(ek_pair_blocks_wide_x8_w8_a##B, x16_w8, B, ek_i8, ek_widen(wide, x, words)) \
    EK_PAIR_BLOCK_SUMS(ek_pair_blocks_wide_x8_w16_a##B, x16_w16, B, ek_i8, ek_widen(wide, x, words)) \
    EK_PAIR_BLOCK_SUMS(ek_pair_blocks_x16_w8_a##B, x16_w8, B, ek_i16, ready = (const ek_word *)x) \
    EK_PAIR_BLOCK_SUMS(ek_pair_blocks_x16_w16_a##B, x16_w16, B, ek_i16, ready = (const ek_word *)x)
EK_PAIR_BLOCK_SUMS_OF(16)
EK_PAIR_BLOCK_SUMS_OF(32)

/* --- blocks of outputs of the neurons that fired ------------------------------------------------------------------
 *
 * `heads` holds for each neuron, at the word that the list says, how many bytes into the stream its row begins.
 */
#if EK_DSP
/* r0 the stream, r1 heads, r2 the begin of the stream, r3 y, r12 the list, lr the end of these blocks */
#define EK_TO_FIRST "uxtah r11, r3, r8\n\t"
#define EK_TO_SECOND "add.w r11, r3, r8, lsr #16\n\t"
#define EK_ADD_BLOCK_W8_A16(W) \
    "ldrd r4, r5, [r11]\n\tsxtab16 r4, r4, " W "\n\tsxtab16 r5, r5, " W ", ror #8\n\tstrd r4, r5, [r11]\n\t"
#define EK_ADD_BLOCK_W16_A16(V, W) \
    "ldrd r4, r5, [r11]\n\tsadd16 r4, r4, " V "\n\tsadd16 r5, r5, " W "\n\tstrd r4, r5, [r11]\n\t"
#define EK_ADD_BLOCK_W8_A32(W) \
    "ldm.w r11, {r4-r7}\n\tsxtab r4, r4, " W "\n\tsxtab r5, r5, " W ", ror #16\n\tsxtab r6, r6, " W ", ror #8\n\t" \
    "sxtab r7, r7, " W ", ror #24\n\tstm.w r11, {r4-r7}\n\t"
#define EK_ADD_BLOCK_W16_A32(V, W) \
    "ldm.w r11, {r4-r7}\n\tsxtah r4, r4, " V "\n\tsxtah r5, r5, " V ", ror #16\n\tsxtah r6, r6, " W "\n\t" \
    "sxtah r7, r7, " W ", ror #16\n\tstm.w r11, {r4-r7}\n\t"
#define EK_ROW_PAIR_W8(ADD) "ldm.w r0!, {r8, r9, r10}\n\t" EK_TO_FIRST ADD("r9") EK_TO_SECOND ADD("r10")
#define EK_ROW_PAIR_W16(ADD) \
    "ldm.w r0!, {r8, r9, r10}\n\t" EK_TO_FIRST ADD("r9", "r10") "ldrd r9, r10, [r0], #8\n\t" \
    EK_TO_SECOND ADD("r9", "r10")
/* the stack holds the end of the list and where the first pair of the code is */
#define EK_PAIR_BLOCK_ROWS(FORM, TY, PAIR) \
    EK_NAKED void ek_add_block_rows_##FORM(TY *y EK_ARGUMENT, const ek_word *heads EK_ARGUMENT, \
                                           const ek_word *stream EK_ARGUMENT, const uint16_t *list EK_ARGUMENT, \
                                           const uint16_t *end EK_ARGUMENT) { \
        __asm__ volatile("push {r4-r11, lr}\n\t" \
                         "ldr r4, [sp, #36]\n\t" \
                         "mov r12, r3\n\t" \
                         "mov r3, r0\n\t" \
                         "adr.w r5, 2f\n\t" \
                         "orr r5, r5, #1\n\t" \
                         "push {r4, r5}\n" \
                         "1:\n\t" \
                         "ldrh r8, [r12], #2\n\t" \
                         "ldr r4, [sp, #4]\n\t" \
                         "ldr r0, [r1, r8, lsl #2]\n\t" \
                         "add r0, r2\n\t" \
                         "ldr r8, [r0], #4\n\t" \
                         "uxtah lr, r0, r8\n\t" \
                         "add r4, r4, r8, lsr #16\n\t" \
                         "bx r4\n\t" \
                         ".balign 4\n" \
                         "2:\n\t" PAIR PAIR PAIR PAIR "cmp r0, lr\n\t" \
                         "bne 2b\n\t" \
                         "ldr r4, [sp]\n\t" \
                         "cmp r12, r4\n\t" \
                         "bne 1b\n\t" \
                         "add sp, #8\n\t" \
                         "pop {r4-r11, pc}\n"); \
    }
EK_PAIR_BLOCK_ROWS(w8_a16, ek_i16, EK_ROW_PAIR_W8(EK_ADD_BLOCK_W8_A16))
EK_PAIR_BLOCK_ROWS(w8_a32, ek_i32, EK_ROW_PAIR_W8(EK_ADD_BLOCK_W8_A32))
EK_PAIR_BLOCK_ROWS(w16_a16, ek_i16, EK_ROW_PAIR_W16(EK_ADD_BLOCK_W16_A16))
EK_PAIR_BLOCK_ROWS(w16_a32, ek_i32, EK_ROW_PAIR_W16(EK_ADD_BLOCK_W16_A32))
#else
#define EK_PAIR_BLOCK_ROWS(W, B, WORDS) \
    EK_INLINE void ek_add_block_w##W##_a##B(ek_i##B *y, const ek_word *w) { \
        uint32_t o; \
        for (o = 0; o < 4u; ++o) y[o] = (ek_i##B)((uint32_t)y[o] + ek_row_w##W(w, o)); \
    } \
    EK_INLINE void ek_add_block_rows_w##W##_a##B(ek_i##B *y, const ek_word *heads, const ek_word *stream, \
                                                 const uint16_t *list, const uint16_t *end) { \
        for (; list != end; ++list) { \
            const ek_word *at = stream + heads[*list] / 4u; \
            uint32_t left = *at++ & 0xffffu; \
            for (; left; left -= 4u + 8u * WORDS, at += 1u + 2u * WORDS) { \
                ek_add_block_w##W##_a##B(y + (at[0] & 0xffffu) / (B / 8u), at + 1); \
                ek_add_block_w##W##_a##B(y + (at[0] >> 16) / (B / 8u), at + 1 + WORDS); \
            } \
        } \
    }
EK_PAIR_BLOCK_ROWS(8, 16, 1u)
EK_PAIR_BLOCK_ROWS(8, 32, 1u)
EK_PAIR_BLOCK_ROWS(16, 16, 2u)
EK_PAIR_BLOCK_ROWS(16, 32, 2u)
#endif
#define EK_PAIR_BLOCK_EVENT(FORM, B) \
    EK_INLINE void ek_pair_block_rows_##FORM(ek_i##B *y, const ek_i##B *c, const ek_word *heads, const ek_word *stream, \
                                             const uint16_t *list, uint32_t count, uint32_t n_out) { \
        ek_begin_sums_##B(y, c, n_out, 1); \
        if (count) ek_add_block_rows_##FORM(y, heads, stream, list, list + count); \
    }
EK_PAIR_BLOCK_EVENT(w8_a16, 16)
EK_PAIR_BLOCK_EVENT(w8_a32, 32)
EK_PAIR_BLOCK_EVENT(w16_a16, 16)
EK_PAIR_BLOCK_EVENT(w16_a32, 32)

#endif
