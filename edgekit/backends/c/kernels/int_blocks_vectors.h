/* y = c + W x of weights that are zero but for blocks of sixteen, with eight int16 in a vector; see int_blocks.h. y and c
 * of events hold whole blocks.
 */
#ifndef EK_INT_BLOCKS_VECTORS_H
#define EK_INT_BLOCKS_VECTORS_H

#include "int_vectors_dense.h"
#include "int_vectors_events.h"

#if EK_MVE
/* r0 y, r1 weights, r2 places, r3 counts, r7 x, r8 the end of y, r4 the sum, lr how many blocks are left */
#define EK_BLOCK_X8_W8 \
    "add r6, r7\n\tvldrb.u8 q0, [r6]\n\tvldrb.u8 q1, [r1], #16\n\tvmladava.s8 r4, q0, q1\n\t"
#define EK_BLOCK_OF(AT, X, X_BYTES, W, W_BYTES) \
    AT X " q0, [r6], #" X_BYTES "\n\t" W " q1, [r1], #" W_BYTES "\n\tvmladava.s16 r4, q0, q1\n\t" \
    X " q0, [r6]\n\t" W " q1, [r1], #" W_BYTES "\n\tvmladava.s16 r4, q0, q1\n\t"
#define EK_BLOCK_X8_W16 EK_BLOCK_OF("add r6, r7\n\t", "vldrb.s16", "8", "vldrh.u16", "16")
#define EK_BLOCK_X16_W8 EK_BLOCK_OF("add.w r6, r7, r6, lsl #1\n\t", "vldrh.u16", "16", "vldrb.s16", "8")
#define EK_BLOCK_X16_W16 EK_BLOCK_OF("add.w r6, r7, r6, lsl #1\n\t", "vldrh.u16", "16", "vldrh.u16", "16")
#define EK_BLOCK_SUMS(FORM, A, TX, TW, PER, BLOCK, LOAD, STORE) \
    EK_ASSEMBLY void ek_add_blocks_##FORM##_a##A(EK_REGISTER ek_i##A *y, EK_REGISTER const TW *w, \
                                                 EK_REGISTER const uint16_t *at, EK_REGISTER const uint16_t *counts, \
                                                 EK_REGISTER const TX *x, EK_REGISTER const ek_i##A *end) { \
        __asm__ volatile("push {r4-r8, lr}\n\t" \
                         "ldrd r7, r8, [sp, #24]\n" \
                         "1:\n\t" \
                         "ldrh r5, [r3], #2\n\t" LOAD " r4, [r0]\n\t" \
                         "wls lr, r5, 3f\n" \
                         "2:\n\t" \
                         "ldrh r6, [r2], #2\n\t" BLOCK "le lr, 2b\n" \
                         "3:\n\t" STORE "\n\t" \
                         "cmp r0, r8\n\t" \
                         "bne 1b\n\t" \
                         "pop {r4-r8, pc}\n"); \
    }
#else
#define EK_BLOCK_SUMS(FORM, A, TX, TW, PER, BLOCK, LOAD, STORE) \
    EK_INLINE void ek_add_blocks_##FORM##_a##A(ek_i##A *y, const TW *w, const uint16_t *at, const uint16_t *counts, \
                                               const TX *x, const ek_i##A *end) { \
        for (; y != end; ++y) { \
            uint32_t sum = (uint32_t)*y, n, i; \
            for (n = *counts++; n; --n, w += 16, ++at) \
                for (i = 0; i < 16u; i += PER) sum = ek_mac_##FORM(sum, x + *at + i, w + i); \
            *y = (ek_i##A)sum; \
        } \
    }
#endif

/* sums of int16 eight to a vector, of int32 four */
#define EK_BLOCK_VERBS16 ek_eight, ek_eight_load16, ek_eight_store16, ek_eight_add, 8u
#define EK_BLOCK_VERBS32 ek_four, ek_four_load32, ek_four_store32, ek_four_add, 4u

/* n sums at y begin at those of c, which may be null, and may be y itself; `whole`: vectors of them may be written */
#define EK_BEGIN_BLOCKS(...) EK_BEGIN_BLOCKS_OF(__VA_ARGS__)
#define EK_BEGIN_BLOCKS_OF(A, ZERO, T, LOAD, STORE, ADD, PER) \
    EK_INLINE void ek_begin_blocks_##A(ek_i##A *y, const ek_i##A *c, uint32_t n, int whole) { \
        uint32_t o; \
        if (c == y) return; \
        if (whole) { \
            EK_UNROLL1 for (o = 0; o < n; o += PER) STORE(y + o, c ? LOAD(c + o) : ZERO(0)); \
        } else { \
            EK_UNROLL1 for (o = 0; o < n; ++o) y[o] = c ? c[o] : (ek_i##A)0; \
        } \
    }
EK_BEGIN_BLOCKS(16, ek_eight_set, EK_BLOCK_VERBS16)
EK_BEGIN_BLOCKS(32, ek_four_set, EK_BLOCK_VERBS32)

#define EK_EIGHT_BLOCKS(FORM, A, TX, TW, PER, BLOCK, LOAD, STORE) \
    EK_BLOCK_SUMS(FORM, A, TX, TW, PER, BLOCK, LOAD, STORE) \
    EK_INLINE void ek_eight_blocks_##FORM##_a##A(ek_i##A *y, const ek_i##A *c, uint32_t step, const TW *weights, \
                                                 const uint16_t *places, const uint16_t *counts, const TX *x, \
                                                 uint32_t rows, uint32_t n_in, uint32_t n_out) { \
        uint32_t r; \
        EK_UNROLL1 for (r = 0; r < rows; ++r, x += n_in, y += n_out, c = c ? c + step : c) { \
            ek_begin_blocks_##A(y, c, n_out, rows == 1u); \
            ek_add_blocks_##FORM##_a##A(y, weights, places, counts, x, y + n_out); \
        } \
    }
#define EK_EIGHT_BLOCKS_BOTH(FORM, TX, TW, PER, BLOCK) \
    EK_EIGHT_BLOCKS(FORM, 16, TX, TW, PER, BLOCK, "ldrsh", "strh r4, [r0], #2") \
    EK_EIGHT_BLOCKS(FORM, 32, TX, TW, PER, BLOCK, "ldr", "str r4, [r0], #4")
EK_EIGHT_BLOCKS_BOTH(x8_w8, ek_i8, int8_t, 16u, EK_BLOCK_X8_W8)
EK_EIGHT_BLOCKS_BOTH(x8_w16, ek_i8, int16_t, 8u, EK_BLOCK_X8_W16)
EK_EIGHT_BLOCKS_BOTH(x16_w8, ek_i16, int8_t, 8u, EK_BLOCK_X16_W8)
EK_EIGHT_BLOCKS_BOTH(x16_w16, ek_i16, int16_t, 8u, EK_BLOCK_X16_W16)

#define EK_EIGHT_BLOCK_ROWS(...) EK_EIGHT_BLOCK_ROWS_OF(__VA_ARGS__)
#define EK_EIGHT_BLOCK_ROWS_OF(W, B, WEIGHTS, T, LOAD, STORE, ADD, PER) \
    EK_INLINE void ek_eight_block_rows_w##W##_a##B(ek_i##B *y, const ek_i##B *c, const int##W##_t *weights, \
                                                   const uint16_t *places, const uint16_t *begin, \
                                                   const uint16_t *list, uint32_t count, uint32_t n_out) { \
        uint32_t k, n, i; \
        ek_begin_blocks_##B(y, c, n_out, 1); \
        EK_UNROLL1 for (k = 0; k < count; ++k) { \
            const uint16_t *const row = begin + list[k], *at = places + row[0]; \
            const ek_i##W *w = (const ek_i##W *)weights + 16u * row[0]; \
            EK_UNROLL1 for (n = (uint32_t)row[1] - row[0]; n; --n, w += 16) { \
                ek_i##B *const to = y + *at++; \
                EK_UNROLL4 for (i = 0; i < 16u; i += PER) STORE(to + i, ADD(LOAD(to + i), WEIGHTS(w + i))); \
            } \
        } \
    }
EK_EIGHT_BLOCK_ROWS(8, 16, ek_eight_load8, EK_BLOCK_VERBS16)
EK_EIGHT_BLOCK_ROWS(8, 32, ek_four_load8, EK_BLOCK_VERBS32)
EK_EIGHT_BLOCK_ROWS(16, 16, ek_eight_load16, EK_BLOCK_VERBS16)
EK_EIGHT_BLOCK_ROWS(16, 32, ek_four_load16, EK_BLOCK_VERBS32)

#endif
