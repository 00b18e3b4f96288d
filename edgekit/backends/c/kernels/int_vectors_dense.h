/* Dense sums with eight int16 in a vector: int8, int16 and int4 weights, and outputs of a few inputs each. */
#ifndef EK_INT_VECTORS_DENSE_H
#define EK_INT_VECTORS_DENSE_H

#include "int_vectors.h"

/* --- dense: eight outputs at a time --------------------------------------------------------------------------------
 *
 * Weights lie in blocks of eight outputs, at the end a block of four if there are as many left, and single ones: for
 * every vector of inputs one of each output of the block, the last padded with zeros. x is read to a whole vector.
 * VMLADAVA adds to even registers alone, of which there are eight: a vector of a block takes a load of x, eight of
 * weights and eight products. The loads bound it, at one for sixteen int8 weights or eight int16.
 */
#if EK_MVE
EK_INLINE uint32_t ek_mac_x8_w8(uint32_t sum, const ek_i8 *x, const int8_t *w) {
    return (uint32_t)vmladavaq_s8((int32_t)sum, vldrbq_s8((const int8_t *)x), vldrbq_s8(w));
}
EK_INLINE uint32_t ek_mac_x8_w16(uint32_t sum, const ek_i8 *x, const int16_t *w) {
    return (uint32_t)vmladavaq_s16((int32_t)sum, vldrbq_s16((const int8_t *)x), vldrhq_s16(w));
}
EK_INLINE uint32_t ek_mac_x16_w8(uint32_t sum, const ek_i16 *x, const int8_t *w) {
    return (uint32_t)vmladavaq_s16((int32_t)sum, vldrhq_s16((const int16_t *)x), vldrbq_s16(w));
}
EK_INLINE uint32_t ek_mac_x16_w16(uint32_t sum, const ek_i16 *x, const int16_t *w) {
    return (uint32_t)vmladavaq_s16((int32_t)sum, vldrhq_s16((const int16_t *)x), vldrhq_s16(w));
}
/* load of x and its step; load of weights and the bytes of a vector of them; what the multiply-add takes */
#define EK_X8_W8 "vldrb.u8 q0, [r1], #16", "vldrw.u32", "16", "s8"
#define EK_X8_W16 "vldrb.s16 q0, [r1], #8", "vldrw.u32", "16", "s16"
#define EK_X16_W8 "vldrh.u16 q0, [r1], #16", "vldrb.s16", "8", "s16"
#define EK_X16_W16 "vldrh.u16 q0, [r1], #16", "vldrw.u32", "16", "s16"
#define EK_ROW_MAC(load, bytes, mac, row, q, sum) \
    load " " q ", [r3, #" row "*" bytes "]\n\t" mac " " sum ", q0, " q "\n\t"
/* one vector of x times one of each output; the pointer to the weights moves on with the last load */
#define EK_EIGHT_MACS(load, bytes, mac) \
    EK_ROW_MAC(load, bytes, mac, "1", "q1", "r2") EK_ROW_MAC(load, bytes, mac, "2", "q2", "r4") \
    EK_ROW_MAC(load, bytes, mac, "3", "q3", "r6") EK_ROW_MAC(load, bytes, mac, "4", "q1", "r8") \
    EK_ROW_MAC(load, bytes, mac, "5", "q2", "r10") EK_ROW_MAC(load, bytes, mac, "6", "q3", "r12") \
    EK_ROW_MAC(load, bytes, mac, "7", "q1", "lr") \
    load " q2, [r3], #8*" bytes "\n\t" mac " r0, q0, q2\n\t"
#define EK_TAKE32 "ldm r9!, {r0, r2, r4, r6, r8, r10, r12, lr}\n\t"
#define EK_PUT32 "stm r7!, {r0, r2, r4, r6, r8, r10, r12, lr}\n\t"
/* two int16 in a word: what is left above the lower one does not reach the 16 bits that are stored */
#define EK_TAKE16 \
    "ldm r9!, {r0, r4, r8, r12}\n\t" \
    "lsr r2, r0, #16\n\tlsr r6, r4, #16\n\tlsr r10, r8, #16\n\tlsr lr, r12, #16\n\t"
#define EK_PUT16 \
    "pkhbt r0, r0, r2, lsl #16\n\tpkhbt r4, r4, r6, lsl #16\n\tpkhbt r8, r8, r10, lsl #16\n\t" \
    "pkhbt r12, r12, lr, lsl #16\n\tstm r7!, {r0, r4, r8, r12}\n\t"
/* `blocks` of eight outputs. Two vectors of x in a round of the inner loop; an odd number enters it in the middle. */
#define EK_ROWS8(NAME, TX, TW, TY, TAKE, PUT, ...) EK_ROWS8_OF(NAME, TX, TW, TY, TAKE, PUT, __VA_ARGS__)
#define EK_ROWS8_OF(NAME, TX, TW, TY, TAKE, PUT, X, LOAD, BYTES, MAC) \
    EK_ASSEMBLY void NAME(EK_REGISTER TY *y, EK_REGISTER const TY *c, EK_REGISTER const TW *w, \
                          EK_REGISTER const TX *x, EK_REGISTER uint32_t odd, EK_REGISTER const TX *end, \
                          EK_REGISTER uint32_t blocks) { \
        __asm__ volatile("push {r4-r11, lr}\n\t" \
                         "ldrd r4, r5, [sp, #36]\n\t" \
                         "ldr r11, [sp, #44]\n\t" \
                         "mov r7, r0\n\t" \
                         "mov r9, r1\n\t" \
                         "adr.w r6, 2f\n\t" \
                         "adr.w r8, 3f\n\t" \
                         "cmp r4, #0\n\t" \
                         "it ne\n\t" \
                         "movne r6, r8\n\t" \
                         "orr r6, r6, #1\n\t" \
                         "push {r3, r6}\n\t" \
                         "mov r3, r2\n" \
                         "1:\n\t" TAKE "ldr r1, [sp]\n\t" \
                         "ldr pc, [sp, #4]\n\t" \
                         ".balign 4\n" \
                         "2:\n\t" X "\n\t" EK_EIGHT_MACS(LOAD, BYTES, "vmladava." MAC) \
                         "\n3:\n\t" X "\n\t" EK_EIGHT_MACS(LOAD, BYTES, "vmladava." MAC) \
                         "cmp r1, r5\n\t" \
                         "bne 2b\n\t" PUT "subs r11, #1\n\t" \
                         "bne 1b\n\t" \
                         "add sp, #8\n\t" \
                         "pop {r4-r11, pc}\n"); \
    }
/* the same of one vector of x, without an addend */
#define EK_ROWS8_ONE(NAME, TX, TW, TY, PUT, ...) EK_ROWS8_ONE_OF(NAME, TX, TW, TY, PUT, __VA_ARGS__)
#define EK_ROWS8_ONE_OF(NAME, TX, TW, TY, PUT, X, LOAD, BYTES, MAC) \
    EK_ASSEMBLY void NAME(EK_REGISTER TY *y, EK_REGISTER const TW *w, EK_REGISTER const TX *x, \
                          EK_REGISTER uint32_t blocks) { \
        __asm__ volatile("push {r4-r11, lr}\n\t" \
                         "mov r7, r0\n\t" \
                         "mov r5, r1\n\t" \
                         "mov r11, r3\n\t" \
                         "mov r1, r2\n\t" \
                         "mov r3, r5\n\t" X "\n" \
                         "1:\n\t" EK_EIGHT_MACS(LOAD, BYTES, "vmladav." MAC) PUT "subs r11, #1\n\t" \
                         "bne 1b\n\t" \
                         "pop {r4-r11, pc}\n"); \
    }
#else
#define EK_X8_W8 16u
#define EK_X8_W16 8u
#define EK_X16_W8 8u
#define EK_X16_W16 8u
#define EK_MAC_OF(name, TX, TW, PER) \
    EK_INLINE uint32_t ek_mac_##name(uint32_t sum, const TX *x, const TW *w) { \
        uint32_t i; \
        for (i = 0; i < PER; ++i) sum += (uint32_t)(x[i] * w[i]); \
        return sum; \
    }
EK_MAC_OF(x8_w8, ek_i8, int8_t, EK_X8_W8)
EK_MAC_OF(x8_w16, ek_i8, int16_t, EK_X8_W16)
EK_MAC_OF(x16_w8, ek_i16, int8_t, EK_X16_W8)
EK_MAC_OF(x16_w16, ek_i16, int16_t, EK_X16_W16)
#define EK_ROWS8(NAME, TX, TW, TY, TAKE, PUT, PER) \
    EK_INLINE void NAME(TY *y, const TY *c, const TW *w, const TX *x, uint32_t odd, const TX *end, uint32_t blocks) { \
        (void)odd; \
        for (; blocks; --blocks, y += 8, c += 8) { \
            uint32_t sums[8], k, i; \
            const TX *at; \
            for (k = 0; k < 8u; ++k) sums[k] = (uint32_t)c[k]; \
            for (at = x; at != end; at += PER) \
                for (k = 0; k < 8u; ++k) \
                    for (i = 0; i < PER; ++i) sums[k] += (uint32_t)(at[i] * *w++); \
            for (k = 0; k < 8u; ++k) y[k] = (TY)sums[k]; \
        } \
    }
#define EK_ROWS8_ONE(NAME, TX, TW, TY, PUT, PER) \
    EK_INLINE void NAME(TY *y, const TW *w, const TX *x, uint32_t blocks) { \
        uint32_t o, i; \
        for (o = 0; o < 8u * blocks; ++o) { \
            uint32_t sum = 0; \
            for (i = 0; i < PER; ++i) sum += (uint32_t)(x[i] * *w++); \
            y[o] = (TY)sum; \
        } \
    }
#endif

/* `vectors` of PER inputs in a row of x */
#define EK_EIGHT_DENSE(FORM, TX, TW, PER, A, TY, TAKE, PUT, ...) \
    EK_ROWS8(ek_rows8_##FORM##_a##A, TX, TW, TY, TAKE, PUT, __VA_ARGS__) \
    EK_ROWS8_ONE(ek_rows8_one_##FORM##_a##A, TX, TW, TY, PUT, __VA_ARGS__) \
    EK_INLINE void ek_eights_##FORM##_a##A(TY *y, const TY *c, uint32_t step, const TW *weights, const TX *x, \
                                           uint32_t rows, uint32_t n_in, uint32_t vectors, uint32_t n_out) { \
        const uint32_t eights = n_out / 8u, width = PER * vectors; \
        uint32_t r, o, i; \
        for (r = 0; r < rows; ++r, x += n_in, y += n_out) { \
            const TW *w = weights + 8u * eights * width; \
            const TY *from = c ? c + r * step : y; \
            o = 0; \
            if (!c && vectors == 1u && eights) { \
                ek_rows8_one_##FORM##_a##A(y, weights, x, eights); \
                o = 8u * eights; \
            } \
            if (!c) \
                for (i = o; i < n_out; ++i) y[i] = 0; \
            if (eights && o == 0u) \
                ek_rows8_##FORM##_a##A(y, from, weights, x, vectors % 2u, x + width, eights); \
            o = 8u * eights; \
            if (n_out % 8u >= 4u) { \
                uint32_t a0 = (uint32_t)from[o], a1 = (uint32_t)from[o + 1u]; \
                uint32_t a2 = (uint32_t)from[o + 2u], a3 = (uint32_t)from[o + 3u]; \
                EK_UNROLL1 for (i = 0; i < width; i += PER, w += 4u * PER) { \
                    a0 = ek_mac_##FORM(a0, x + i, w); \
                    a1 = ek_mac_##FORM(a1, x + i, w + PER); \
                    a2 = ek_mac_##FORM(a2, x + i, w + 2u * PER); \
                    a3 = ek_mac_##FORM(a3, x + i, w + 3u * PER); \
                } \
                y[o] = (TY)a0; \
                y[o + 1u] = (TY)a1; \
                y[o + 2u] = (TY)a2; \
                y[o + 3u] = (TY)a3; \
                o += 4u; \
            } \
            EK_UNROLL1 for (; o < n_out; ++o) { \
                uint32_t sum = (uint32_t)from[o]; \
                EK_UNROLL1 for (i = 0; i < width; i += PER, w += PER) sum = ek_mac_##FORM(sum, x + i, w); \
                y[o] = (TY)sum; \
            } \
        } \
    }
#define EK_EIGHT_DENSE_BOTH(FORM, TX, TW, PER, ...) \
    EK_EIGHT_DENSE(FORM, TX, TW, PER, 16, ek_i16, EK_TAKE16, EK_PUT16, __VA_ARGS__) \
    EK_EIGHT_DENSE(FORM, TX, TW, PER, 32, ek_i32, EK_TAKE32, EK_PUT32, __VA_ARGS__)
EK_EIGHT_DENSE_BOTH(x8_w8, ek_i8, int8_t, 16u, EK_X8_W8)
EK_EIGHT_DENSE_BOTH(x8_w16, ek_i8, int16_t, 8u, EK_X8_W16)
EK_EIGHT_DENSE_BOTH(x16_w8, ek_i16, int8_t, 8u, EK_X16_W8)
EK_EIGHT_DENSE_BOTH(x16_w16, ek_i16, int16_t, 8u, EK_X16_W16)

/* --- dense, int4: four outputs at a time --------------------------------------------------------------------------
 *
 * A byte is 16 b + (a + 8) for the weights a and b of two outputs and one input, b signed: its products with x sum up
 * to 16 B + A + 8 X, those of its upper half to B, and those of 1 to X. Blocks are of two such pairs, a vector of
 * inputs of each in turn, padded with zeros.
 */
#if EK_MVE
EK_INLINE void ek_nibble_mac_x8(uint32_t *both, uint32_t *upper, const ek_i8 *x, const int8_t *w) {
    const int8x16_t inputs = vldrbq_s8((const int8_t *)x), pair = vldrbq_s8(w);
    *both = (uint32_t)vmladavaq_s8((int32_t)*both, inputs, pair);
    *upper = (uint32_t)vmladavaq_s8((int32_t)*upper, inputs, vshrq_n_s8(pair, 4));
}
EK_INLINE void ek_nibble_mac_x16(uint32_t *both, uint32_t *upper, const ek_i16 *x, const int8_t *w) {
    const int16x8_t inputs = vldrhq_s16((const int16_t *)x), pair = vldrbq_s16(w);
    *both = (uint32_t)vmladavaq_s16((int32_t)*both, inputs, pair);
    *upper = (uint32_t)vmladavaq_s16((int32_t)*upper, inputs, vshrq_n_s16(pair, 4));
}
EK_INLINE uint32_t ek_sum_x8(uint32_t sum, const ek_i8 *x) {
    return (uint32_t)vaddvaq_s8((int32_t)sum, vldrbq_s8((const int8_t *)x));
}
EK_INLINE uint32_t ek_sum_x16(uint32_t sum, const ek_i16 *x) {
    return (uint32_t)vaddvaq_s16((int32_t)sum, vldrhq_s16((const int16_t *)x));
}
#else
#define EK_NIBBLE_MAC(form, TX, PER) \
    EK_INLINE void ek_nibble_mac_##form(uint32_t *both, uint32_t *upper, const TX *x, const int8_t *w) { \
        uint32_t i; \
        for (i = 0; i < PER; ++i) { \
            *both += (uint32_t)(x[i] * w[i]); \
            *upper += (uint32_t)(x[i] * ek_upper(w[i])); \
        } \
    } \
    EK_INLINE uint32_t ek_sum_##form(uint32_t sum, const TX *x) { \
        uint32_t i; \
        for (i = 0; i < PER; ++i) sum += (uint32_t)x[i]; \
        return sum; \
    }
EK_NIBBLE_MAC(x8, ek_i8, 16u)
EK_NIBBLE_MAC(x16, ek_i16, 8u)
#endif
/* `n_out`: a multiple of four; c may be null, and may be y itself */
#define EK_NIBBLE_DENSE(FORM, TX, PER, A, TY) \
    EK_INLINE void ek_nibbles_##FORM##_a##A(TY *y, const TY *c, const int8_t *w, const TX *x, uint32_t vectors, \
                                            uint32_t n_out) { \
        uint32_t o, k, all = 0; \
        EK_UNROLL1 for (k = 0; k < vectors; ++k) all = ek_sum_##FORM(all, x + PER * k); \
        EK_UNROLL1 for (o = 0; o < n_out; o += 4u) { \
            uint32_t a0 = 0u - 8u * all, a1 = 0, a2 = 0u - 8u * all, a3 = 0; \
            EK_UNROLL1 for (k = 0; k < vectors; ++k, w += 2u * PER) { \
                ek_nibble_mac_##FORM(&a0, &a1, x + PER * k, w); \
                ek_nibble_mac_##FORM(&a2, &a3, x + PER * k, w + PER); \
            } \
            y[o] = (TY)((c ? (uint32_t)c[o] : 0u) + a0 - 16u * a1); \
            y[o + 1u] = (TY)((c ? (uint32_t)c[o + 1u] : 0u) + a1); \
            y[o + 2u] = (TY)((c ? (uint32_t)c[o + 2u] : 0u) + a2 - 16u * a3); \
            y[o + 3u] = (TY)((c ? (uint32_t)c[o + 3u] : 0u) + a3); \
        } \
    }
EK_NIBBLE_DENSE(x8, ek_i8, 16u, 16, ek_i16)
EK_NIBBLE_DENSE(x8, ek_i8, 16u, 32, ek_i32)
EK_NIBBLE_DENSE(x16, ek_i16, 8u, 16, ek_i16)
EK_NIBBLE_DENSE(x16, ek_i16, 8u, 32, ek_i32)

/* --- spans: each output of a few neighbouring inputs, from `first` on ------------------------------------------------
 *
 * Weights [out][vectors of inputs], padded with zeros; no span reaches past the whole vectors of x.
 */
#define EK_EIGHT_SPANS(FORM, TX, TW, PER, A, TY) \
    EK_INLINE void ek_spans_##FORM##_a##A(TY *y, const TY *c, const TW *w, const uint16_t *first, uint32_t vectors, \
                                          const TX *x, uint32_t n_out) { \
        uint32_t o, k; \
        EK_UNROLL1 for (o = 0; o < n_out; ++o) { \
            const TX *from = x + first[o]; \
            uint32_t sum = c ? (uint32_t)c[o] : 0u; \
            EK_UNROLL4 for (k = 0; k < vectors; ++k, w += PER, from += PER) sum = ek_mac_##FORM(sum, from, w); \
            y[o] = (TY)sum; \
        } \
    }
#define EK_EIGHT_SPANS_BOTH(FORM, TX, TW, PER) \
    EK_EIGHT_SPANS(FORM, TX, TW, PER, 16, ek_i16) \
    EK_EIGHT_SPANS(FORM, TX, TW, PER, 32, ek_i32)
EK_EIGHT_SPANS_BOTH(x8_w8, ek_i8, int8_t, 16u)
EK_EIGHT_SPANS_BOTH(x8_w16, ek_i8, int16_t, 8u)
EK_EIGHT_SPANS_BOTH(x16_w8, ek_i16, int8_t, 8u)
EK_EIGHT_SPANS_BOTH(x16_w16, ek_i16, int16_t, 8u)

#endif
