/* The shared per-channel memory update y[M, d] = m[M, d] A^T + u[M, k] B^T of small orders, in two forms:
 *   table  m and u are spikes and d + k <= 8: a channel has one of 2^(d + k) possible results, so conversion computes
 *          them all and a step looks them up
 *   small  m and u are float32 and d <= 16: [A B] stays in registers over all channels
 */
#ifndef EK_MEMORY_H
#define EK_MEMORY_H

#include "copy.h"
#include "simd.h"

/* `count` channels of d bits each, d = 1, 2, 4 or 8, from the low bits of `memory`; one input bit each in `driven`. */
EK_INLINE void ek_look_up(float *y, const float *table, uint32_t memory, uint32_t driven, uint32_t d, uint32_t count) {
    uint32_t j;
    for (j = 0; j < count; ++j) {
        const float *row = table + ((memory >> (j * d) & ((1u << d) - 1u)) | (driven >> j & 1u) << d) * d;
        ek_copy4(y + j * d, row);
        if (d == 8u) ek_copy4(y + j * d + 4, row + 4);
    }
}

/* Row r of the table is the result for memory bits r % 2^d and input bits r / 2^d, padded to a multiple of 4 floats. */
EK_INLINE void ek_memory_table_f32(float *y, const float *table, const uint32_t *m, const uint32_t *u,
                                   uint32_t channels, uint32_t d, uint32_t k) {
    const uint32_t stride = (d + 3u) / 4u * 4u, per_word = 32u / d;
    uint32_t c = 0, j;
    if ((d == 4u || d == 8u) && k == 1u) { /* no channel straddles two words, no row is padded: words at a time */
        for (; c + per_word <= channels; c += per_word)
            ek_look_up(y + c * d, table, m[c / per_word], u[c / 32u] >> (c % 32u), d, per_word);
    }
    for (; c < channels; ++c) {
        const float *row = table + (ek_bits(m, c * d, d) | ek_bits(u, c * k, k) << d) * stride;
        for (j = 0; j < d; ++j) y[c * d + j] = row[j];
    }
}

/* One channel in V vectors: the columns of [A B] times the memory, then the input. */
#define EK_SMALL_START(k) ekf a##k = ek_set(0.0f);
#define EK_SMALL_ADD(k) a##k = ek_fma(ek_load(column + k * EK_W), v, a##k);
#define EK_SMALL_FINISH(k) ek_store(y + k * EK_W, a##k);
#define EK_SMALL(V) \
    EK_INLINE void ek_small_##V(float *y, const float *columns, const float *m, const float *u, uint32_t d, \
                                uint32_t k, uint32_t stride) { \
        const float *column = columns; \
        uint32_t j; \
        EK_REP##V(EK_SMALL_START) \
        EK_UNROLL16 for (j = 0; j < d; ++j, column += stride) { \
            const ekf v = ek_set(m[j]); \
            EK_REP##V(EK_SMALL_ADD) \
        } \
        EK_UNROLL16 for (j = 0; j < k; ++j, column += stride) { \
            const ekf v = ek_set(u[j]); \
            EK_REP##V(EK_SMALL_ADD) \
        } \
        EK_REP##V(EK_SMALL_FINISH) \
    }
EK_SMALL(1)
EK_SMALL(2)
EK_SMALL(3)
EK_SMALL(4)

/* Columns of [A B] lie `stride` floats apart, d rounded up to a multiple of 4, and may be read a vector past the end.
 * A channel's vectors run over the rows behind it, which are written later; the last rows make a detour.
 */
EK_INLINE void ek_memory_small_f32(float *y, const float *columns, const float *m, const float *u, uint32_t channels,
                                   uint32_t d, uint32_t k) {
    const uint32_t vectors = (d + EK_W - 1u) / EK_W, stride = (d + 3u) / 4u * 4u, size = channels * d;
    uint32_t c;
    for (c = 0; c < channels; ++c, m += d, u += k) {
        const int detour = c * d + vectors * EK_W > size;
        float room[16], *to = detour ? room : y + c * d;
        switch (vectors) {
        case 1: ek_small_1(to, columns, m, u, d, k, stride); break;
        case 2: ek_small_2(to, columns, m, u, d, k, stride); break;
        case 3: ek_small_3(to, columns, m, u, d, k, stride); break;
        default: ek_small_4(to, columns, m, u, d, k, stride); break;
        }
        if (detour) ek_copy_f32(y + c * d, room, d);
    }
}

#endif
