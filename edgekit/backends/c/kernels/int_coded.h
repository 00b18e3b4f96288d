/* Entropy-coded constants: what `init` reads them with into the struct. The form is that of edgekit/artifact/rans.py.
 *
 * A state x of 32 bits tells the next symbol s by its lower 12 bits, which lie in the range [c, c + f) of s, and becomes
 * f (x >> 12) + (x mod 2^12) - c; where that is below 2^16, 16 bits of the stream follow it.
 */
#ifndef EK_INT_CODED_H
#define EK_INT_CODED_H

#include "base.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "coded constants are bytes in little-endian order"
#endif

#define EK_CODED_HINTS 16 /* words of hints of a table: a byte for each 128 of the 4096 */

/* The next symbol of a stream. A table is its first symbol, its number of symbols, hints at which range each 128 of the
 * 4096 begin in, and where their ranges begin and the last one ends; of a number 0, all symbols have as much of them.
 */
EK_INLINE uint32_t ek_decoded(const uint16_t *table, uint32_t zero, uint32_t *state, const uint16_t **word) {
    uint32_t x = *state, slot = x & 4095u, symbol, start, width;
    if (table[1]) {
        const uint16_t *begins = table + 2 + EK_CODED_HINTS;
        symbol = ((const uint8_t *)(table + 2))[slot >> 7];
        EK_UNROLL1
        while (begins[symbol + 1] <= slot) ++symbol;
        start = begins[symbol];
        width = begins[symbol + 1] - start;
        symbol += table[0];
    } else {
        width = 2048u / zero;
        symbol = slot / width;
        start = symbol * width;
    }
    x = width * (x >> 12) + slot - start;
    if (x < 65536u) x = x << 16 | *(*word)++;
    *state = x;
    return symbol;
}

/* `count` symbols to[…], a byte each, or half a byte where `zero`, the symbol of a zero, is 8 and not 128. code[] begins
 * with where in it the table of each context lies, and the classes of spans of 2^span symbols, a bit each, where span is
 * not 0. Contexts are 2 · plane + (the symbol before in the plane is zero) with `zeros`, plane without; those of class 1
 * come after them.
 */
EK_RARE void ek_decode(uint8_t *to, uint32_t count, const uint16_t *code, uint32_t stream, uint32_t planes,
                       uint32_t zeros, uint32_t zero, uint32_t span) {
    const uint16_t *word = code + stream + 2;
    const uint32_t alike = planes << zeros;
    uint32_t state = (uint32_t)word[-2] << 16 | word[-1], i = 0, last = zero;
    while (i < count) {
        const uint16_t *tables = code;
        uint32_t stop = count;
        if (span) {
            uint32_t at = i >> span;
            tables += (code[2 * alike + (at >> 4)] >> (at & 15u) & 1u) * alike;
            stop = (at + 1) << span < count ? (at + 1) << span : count;
        }
        if (alike == 1 && zero == 128) {
            EK_UNROLL1
            for (; i < stop; ++i) to[i] = (uint8_t)(ek_decoded(code + *tables, zero, &state, &word) ^ zero);
        }
        EK_UNROLL1
        for (; i < stop; ++i) {
            uint32_t context = i & (planes - 1);
            if (zeros) context = 2 * context + (planes == 1 ? last == zero : i < planes || to[i - planes] == 0);
            last = ek_decoded(code + tables[context], zero, &state, &word);
            if (zero == 128) {
                to[i] = (uint8_t)(last ^ zero);
            } else {
                to[i >> 1] = (uint8_t)(i & 1 ? to[i >> 1] | (last ^ zero) << 4 : last ^ zero);
            }
        }
    }
}

#endif
