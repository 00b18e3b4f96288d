/* Weights that are values of the program on Armv7E-M and Armv8-M with DSP: rows of whole words, two int16 in each. */
#ifndef EK_INT_PLASTIC_DSP_H
#define EK_INT_PLASTIC_DSP_H

#include "int_plastic_exact.h"

#if EK_DSP && !EK_MVE
/* --- y = (W x + c) / 2^shift, two rows of W at a time --------------------------------------------------------------- */

typedef struct {
    int64_t half;
    const ek_i16 *x;
    uint32_t width, shift, unshift; /* 32 - shift */
    const ek_i32 *c;                /* or 0; moves on */
    const void *end;                /* of y */
    uint32_t row_bytes;
} ek_rows_job;

/* r0 y, r1 and r12 the two rows, r2 x, r3 columns left, r4-r7 the sums, lr the job */
#define EK_TWO_ROWS \
    "ldrd r8, r9, [r2], #8\n\tldrd r10, r11, [r1], #8\n\t" \
    "smlald r4, r5, r10, r8\n\tsmlald r4, r5, r11, r9\n\t" \
    "ldrd r10, r11, [r12], #8\n\t" \
    "smlald r6, r7, r10, r8\n\tsmlald r6, r7, r11, r9\n\t"
/* the sum LOW, HIGH is half more than it is meant to be: shifted, and at most what 32 bits hold */
#define EK_NARROW_SUM(LOW, HIGH) \
    "lsl r10, " HIGH ", r9\n\tlsr " LOW ", " LOW ", r8\n\torr " LOW ", " LOW ", r10\n\tasr " HIGH ", " HIGH ", r8\n\t" \
    "cmp " HIGH ", " LOW ", asr #31\n\titt ne\n\tmvnne " LOW ", " HIGH ", asr #31\n\teorne " LOW ", " LOW ", #0x80000000\n\t"
#define EK_ROWS_OF_WORDS(B, T, PUT) \
    EK_NAKED void ek_rows_of_words_##B(T *y EK_ARGUMENT, const ek_i16 *w EK_ARGUMENT, ek_rows_job *job EK_ARGUMENT) { \
        __asm__ volatile("push {r4-r11, lr}\n\t" \
                         "mov lr, r2\n" \
                         "1:\n\t" \
                         "ldrd r4, r5, [lr]\n\tmov r6, r4\n\tmov r7, r5\n\t" \
                         "ldr r8, [lr, #24]\n\tcmp r8, #0\n\tbeq 2f\n\t" \
                         "ldr r10, [r8, #4]\n\tldr r9, [r8], #8\n\tstr r8, [lr, #24]\n\t" \
                         "adds r4, r9\n\tadc r5, r5, r9, asr #31\n\tadds r6, r10\n\tadc r7, r7, r10, asr #31\n" \
                         "2:\n\t" \
                         "ldr r12, [lr, #32]\n\tldrd r2, r3, [lr, #8]\n\tadd r12, r1\n\t" \
                         "subs r3, #16\n\tblt 4f\n" \
                         "3:\n\t" EK_TWO_ROWS EK_TWO_ROWS EK_TWO_ROWS EK_TWO_ROWS "subs r3, #16\n\tbge 3b\n" \
                         "4:\n\t" \
                         "adds r3, #12\n\tblt 6f\n" \
                         "5:\n\t" EK_TWO_ROWS "subs r3, #4\n\tbge 5b\n" \
                         "6:\n\t" \
                         "tst r3, #2\n\tbeq 7f\n\t" \
                         "ldr r8, [r2]\n\tldr r10, [r1], #4\n\tldr r11, [r12], #4\n\t" \
                         "smlald r4, r5, r10, r8\n\tsmlald r6, r7, r11, r8\n" \
                         "7:\n\t" \
                         "ldrd r8, r9, [lr, #16]\n\t" EK_NARROW_SUM("r4", "r5") EK_NARROW_SUM("r6", "r7") PUT \
                         "mov r1, r12\n\t" \
                         "ldr r8, [lr, #28]\n\tcmp r0, r8\n\tbne 1b\n\t" \
                         "pop {r4-r11, pc}\n"); \
    }
EK_ROWS_OF_WORDS(16, ek_i16,
                 "ssat r4, #16, r4\n\tssat r6, #16, r6\n\tstrh r4, [r0], #2\n\tstrh r6, [r0], #2\n\t")
EK_ROWS_OF_WORDS(32, ek_i32, "str r4, [r0], #4\n\tstr r6, [r0], #4\n\t")

#define EK_MATVEC_FAST(B, T) \
    EK_INLINE uint32_t ek_matvec_fast_##B(T *y, const ek_i32 *c, const ek_i16 *w, const ek_i16 *x, uint32_t height, \
                                          uint32_t width, uint32_t shift) { \
        const uint32_t done = width % 2u || shift > 31u ? 0 : height & ~1u; \
        if (done) { \
            ek_rows_job job; \
            job.half = (int64_t)((1u << shift) >> 1), job.x = x, job.width = width; \
            job.shift = shift, job.unshift = 32u - shift, job.c = c, job.end = y + done, job.row_bytes = 2u * width; \
            ek_rows_of_words_##B(y, w, &job); \
        } \
        return done; \
    }
EK_MATVEC_FAST(16, ek_i16)
EK_MATVEC_FAST(32, ek_i32)

/* --- y = Wᵀ x / 2^shift, eight columns at a time ------------------------------------------------------------------- */

/* r1 W, r2 x, r3 bytes of a row, r4-r11 the sums, of 32 bits: flag Q says whether one of them did not fit. A pair of zeros
 * of x is left out. `last` is the last element of x; shift is at most 31. The result is how many of the `blocks` of columns
 * are left: the first one of those did not fit. On the stack y, W, and x.
 */
#define EK_EIGHT_COLUMNS(HALF) \
    "ldrd r12, lr, [r1]\n\t" \
    "smlab" HALF " r4, r12, r0, r4\n\tsmlat" HALF " r5, r12, r0, r5\n\t" \
    "smlab" HALF " r6, lr, r0, r6\n\tsmlat" HALF " r7, lr, r0, r7\n\t" \
    "ldrd r12, lr, [r1, #8]\n\t" \
    "smlab" HALF " r8, r12, r0, r8\n\tsmlat" HALF " r9, r12, r0, r9\n\t" \
    "smlab" HALF " r10, lr, r0, r10\n\tsmlat" HALF " r11, lr, r0, r11\n\t"
#define EK_ALL_EIGHT(F) F("4") F("5") F("6") F("7") F("8") F("9") F("10") F("11")
#define EK_FROM_HALF(R) "mov r" R ", r12\n\t"
#define EK_SHIFT_SUM(R) "asr r" R ", r" R ", r12\n\t"
#define EK_CLIP_SUM(R) "ssat r" R ", #16, r" R "\n\t"
#define EK_COLUMNS_OF_WORDS(B, T, PUT) \
    EK_NAKED uint32_t ek_columns_of_words_##B(T *y EK_ARGUMENT, const ek_i16 *w EK_ARGUMENT, \
                                              const ek_i16 *x EK_ARGUMENT, uint32_t row_bytes EK_ARGUMENT, \
                                              const ek_i16 *last EK_ARGUMENT, int32_t half EK_ARGUMENT, \
                                              uint32_t shift EK_ARGUMENT, uint32_t blocks EK_ARGUMENT) { \
        __asm__ volatile("push {r0-r2, r4-r11, lr}\n" \
                         "0:\n\t" \
                         "mov r12, #0\n\tmsr apsr_nzcvq, r12\n\t" \
                         "ldrd r1, r2, [sp, #4]\n\tldr r12, [sp, #52]\n\t" EK_ALL_EIGHT(EK_FROM_HALF) \
                         "b 2f\n" \
                         "1:\n\t" \
                         "ldr r0, [r2], #4\n\tcbz r0, 3f\n\t" EK_EIGHT_COLUMNS("b") \
                         "add r1, r3\n\t" EK_EIGHT_COLUMNS("t") "add r1, r3\n" \
                         "2:\n\t" \
                         "ldr r12, [sp, #48]\n\tcmp r2, r12\n\tblo 1b\n\t" \
                         "b 4f\n" \
                         "3:\n\t" \
                         "add r1, r1, r3, lsl #1\n\tb 2b\n" \
                         "4:\n\t" \
                         "bne 5f\n\t" \
                         "ldrsh r0, [r2]\n\t" EK_EIGHT_COLUMNS("b") "\n" \
                         "5:\n\t" \
                         "mrs r12, apsr\n\ttst r12, #0x08000000\n\tbne 6f\n\t" \
                         "ldr r12, [sp, #56]\n\t" EK_ALL_EIGHT(EK_SHIFT_SUM) "ldrd r0, r1, [sp]\n\t" PUT \
                         "add r1, #16\n\tstrd r0, r1, [sp]\n\t" \
                         "ldr r12, [sp, #60]\n\tsubs r12, #1\n\tstr r12, [sp, #60]\n\tbne 0b\n" \
                         "6:\n\t" \
                         "ldr r0, [sp, #60]\n\tadd sp, #12\n\tpop {r4-r11, pc}\n"); \
    }
EK_COLUMNS_OF_WORDS(16, ek_i16,
                    EK_ALL_EIGHT(EK_CLIP_SUM)
                    "pkhbt r4, r4, r5, lsl #16\n\tpkhbt r6, r6, r7, lsl #16\n\tpkhbt r8, r8, r9, lsl #16\n\t"
                    "pkhbt r10, r10, r11, lsl #16\n\tstm r0!, {r4, r6, r8, r10}\n\t")
EK_COLUMNS_OF_WORDS(32, ek_i32, "stm r0!, {r4-r11}\n\t")

/* the last eight columns may be some of those before them once more */
#define EK_MATVEC_T_FAST(B, T) \
    EK_INLINE uint32_t ek_matvec_t_fast_##B(T *y, const ek_i16 *w, const ek_i16 *x, uint32_t height, uint32_t width, \
                                            uint32_t shift) { \
        const int32_t half = (int32_t)((1u << (shift & 31u)) >> 1); \
        uint32_t at = 0, blocks = width / 8u; \
        if (width % 2u || !blocks || shift > 31u) return 0; \
        while (at < width) { \
            const ek_i16 *const last = x + height - 1u; \
            const uint32_t left = ek_columns_of_words_##B(y + at, w + at, x, 2u * width, last, half, shift, blocks); \
            at += 8u * (blocks - left), blocks = left; \
            if (left) ek_columns_exact_##B(y + at, w + at, x, height, width, 8u, shift), at += 8u, --blocks; \
            if (!blocks && at < width) at = width - 8u, blocks = 1u; \
        } \
        return width; \
    }
EK_MATVEC_T_FAST(16, ek_i16)
EK_MATVEC_T_FAST(32, ek_i32)

/* --- y = W + a bᵀ / 2^shift by running sums --------------------------------------------------------------------------- */

typedef struct {
    const ek_i16 *end;              /* of a */
    uint32_t left;                  /* of a */
    const int32_t *sums;
    uint32_t n;
    int32_t before;                 /* the sum in front of them */
    uint32_t gap_bytes, row_bytes; /* to the next row, from the end and from the beginning of the part of this one */
} ek_change_job;

/* r0 y, r1 W, r2 columns left, r4 a, r6 the sums, r12 the next a, lr the job; what the row has moved by before is in PREV
 * and then in LAST
 */
#define EK_NO_CLIP(R)
#define EK_CLIP_CHANGE(R) "ssat " R ", #16, " R "\n\t"
#define EK_CHANGE_FOUR(PREV, LAST, CLIP) \
    "ldm r6!, {r7-r9, " LAST "}\n\t" \
    "smmulr r7, r4, r7\n\tsmmulr r8, r4, r8\n\tsmmulr r9, r4, r9\n\tsmmulr " LAST ", r4, " LAST "\n\t" \
    "ldrd r3, r5, [r1], #8\n\t" \
    "sub " PREV ", r7, " PREV "\n\tsub r7, r8, r7\n\tsub r8, r9, r8\n\tsub r9, " LAST ", r9\n\t" CLIP(PREV) \
    CLIP("r7") CLIP("r8") CLIP("r9") \
    "pkhbt " PREV ", " PREV ", r7, lsl #16\n\tpkhbt r8, r8, r9, lsl #16\n\t" \
    "qadd16 r3, r3, " PREV "\n\tqadd16 r5, r5, r8\n\tstrd r3, r5, [r0], #8\n\t"
#define EK_CHANGE(NAME, CLIP) \
    EK_NAKED void NAME(ek_i16 *y EK_ARGUMENT, const ek_i16 *w EK_ARGUMENT, const ek_i16 *a EK_ARGUMENT, \
                       const ek_change_job *job EK_ARGUMENT) { \
        __asm__ volatile("push {r4-r11, lr}\n\t" \
                         "mov r12, r2\n\tmov lr, r3\n" \
                         "1:\n\t" \
                         "ldrsh r4, [r12], #2\n\tcmp r4, #0\n\tbeq 6f\n" \
                         "2:\n\t" \
                         "ldrd r2, r6, [lr, #4]\n\tldr r11, [lr, #16]\n\tlsl r4, r2\n\tldr r2, [lr, #12]\n\t" \
                         "smmulr r11, r4, r11\n\tsubs r2, #8\n\tblt 4f\n" \
                         "3:\n\t" EK_CHANGE_FOUR("r11", "r10", CLIP) EK_CHANGE_FOUR("r10", "r11", CLIP) \
                         "subs r2, #8\n\tbge 3b\n" \
                         "4:\n\t" \
                         "tst r2, #4\n\tbeq 4f\n\t" EK_CHANGE_FOUR("r11", "r10", CLIP) "mov r11, r10\n" \
                         "4:\n\t" \
                         "tst r2, #2\n\tbeq 5f\n\t" \
                         "ldrd r7, r8, [r6]\n\tldr r3, [r1], #4\n\tsmmulr r7, r4, r7\n\tsmmulr r8, r4, r8\n\t" \
                         "sub r11, r7, r11\n\tsub r8, r8, r7\n\t" CLIP("r11") CLIP("r8") \
                         "pkhbt r11, r11, r8, lsl #16\n\tqadd16 r3, r3, r11\n\tstr r3, [r0], #4\n" \
                         "5:\n\t" \
                         "ldr r2, [lr, #20]\n\tadd r0, r2\n\tadd r1, r2\n\t" \
                         "ldr r2, [lr]\n\tcmp r12, r2\n\tbne 1b\n\t" \
                         "pop {r4-r11, pc}\n" \
                         "6:\n\t" /* what stays as it is, where it is */ \
                         "cmp r0, r1\n\tbne 2b\n\t" \
                         "ldr r2, [lr, #24]\n\tadd r0, r2\n\tmov r1, r0\n\t" \
                         "ldr r2, [lr]\n\tcmp r12, r2\n\tbne 1b\n\t" \
                         "pop {r4-r11, pc}\n"); \
    }
EK_CHANGE(ek_change_words, EK_NO_CLIP)
EK_CHANGE(ek_change_words_clipped, EK_CLIP_CHANGE)

EK_INLINE int32_t ek_add_up(int32_t *sums, int32_t sum, const ek_i16 *b, uint32_t n, uint32_t more) {
    const int32_t *const end = sums + n;
    EK_UNROLL2 for (; sums != end; sums += 2, b += 2) {
        const uint32_t two = ek_pair16_of(b);
        sum += (int16_t)(uint16_t)two;
        sums[0] = ek_moved_left(sum, more);
        sum += (int32_t)two >> 16;
        sums[1] = ek_moved_left(sum, more);
    }
    return sum;
}

EK_INLINE uint32_t ek_outer_add_fast(ek_i16 *y, const ek_i16 *w, const ek_i16 *a, const ek_i16 *b, uint32_t height,
                                     uint32_t width, uint32_t shift) {
    const uint32_t bits = ek_bits_of_all(a, height), left = ek_left_of_a(bits, shift);
    const uint32_t more = EK_PRODUCT_BITS - shift - left;
    const int clip = shift < 17u && 1u << bits > 32766u << shift >> 15; /* a change may not fit 16 bits */
    int32_t sums[EK_SUMS_OF_B], sum = 0;
    ek_change_job job;
    uint32_t at;
    if (width % 2u || !ek_sums_fit(b, width, more)) return 0;
    job.end = a + height, job.left = left, job.sums = sums, job.row_bytes = 2u * width;
    EK_UNROLL1 for (at = 0; at < width; at += EK_SUMS_OF_B) {
        job.n = width - at < EK_SUMS_OF_B ? width - at : EK_SUMS_OF_B;
        job.gap_bytes = 2u * (width - job.n);
        job.before = ek_moved_left(sum, more);
        sum = ek_add_up(sums, sum, b + at, job.n, more);
        if (clip)
            ek_change_words_clipped(y + at, w + at, a, &job);
        else
            ek_change_words(y + at, w + at, a, &job);
    }
    return height;
}
#endif

#endif
