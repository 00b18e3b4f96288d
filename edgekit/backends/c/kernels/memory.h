/* The shared per-channel memory update y[M, d] = m[M, d] A^T + u[M, k] B^T when m and u are spikes and d + k <= 8:
 * a channel has one of 2^(d + k) possible results, so conversion computes them all and a step looks them up.
 */
#ifndef EK_MEMORY_H
#define EK_MEMORY_H

#include "simd.h"

/* n <= 8 bits of a spike tensor from bit `first` on */
EK_INLINE uint32_t ek_few_bits(const uint32_t *bits, uint32_t first, uint32_t n) {
    const uint32_t shift = first % 32u;
    uint32_t word = bits[first / 32u] >> shift;
    if (shift + n > 32u) word |= bits[first / 32u + 1u] << (32u - shift);
    return word & ((1u << n) - 1u);
}

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
        const float *row = table + (ek_few_bits(m, c * d, d) | ek_few_bits(u, c * k, k) << d) * stride;
        for (j = 0; j < d; ++j) y[c * d + j] = row[j];
    }
}

#endif
