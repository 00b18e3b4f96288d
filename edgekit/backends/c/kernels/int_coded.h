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

/* `count` symbols to[…], a byte each, or half a byte where `zero`, the symbol of a zero, is 8 and not 128. code[] begins
 * with where in it the table of each context lies, and the classes of spans of 2^span symbols, a bit each, where span is
 * not 0. A table is its first symbol, its number n of symbols (0: all, alike), 32 bytes,
 * in pairs, of hints at which range each 128 of the 4096 begin in, n ends of ranges. Contexts are
 * 2 · plane + (the symbol before in the plane is zero) with `zeros`, plane without; those of class 1 come after them.
 */
EK_RARE void ek_decode(uint8_t *to, uint32_t count, const uint16_t *code, uint32_t stream, uint32_t planes,
                       uint32_t zeros, uint32_t zero, uint32_t span) {
    const uint16_t *word = code + stream;
    const uint32_t alike = planes << zeros;
    uint32_t state = (uint32_t)word[0] << 16 | word[1], i, last = zero;
    word += 2;
    EK_UNROLL1
    for (i = 0; i < count; ++i) {
        uint32_t plane = i & (planes - 1), slot = state & 4095u, context = plane, symbol, start, end;
        const uint16_t *table;
        if (zeros) {
            uint32_t after = planes == 1 ? last == zero : i < planes || to[i - planes] == 0;
            context = 2 * plane + after;
        }
        if (span) {
            uint32_t at = i >> span;
            context += (code[2 * alike + (at >> 4)] >> (at & 15u) & 1u) * alike;
        }
        table = code + code[context];
        if (table[1]) {
            const uint16_t *ends = table + 2 + EK_CODED_HINTS;
            uint32_t at = table[2 + (slot >> 8)] >> (slot >> 4 & 8u) & 255u;
            EK_UNROLL1
            while (ends[at] <= slot) ++at;
            start = at ? ends[at - 1] : 0;
            end = ends[at];
            symbol = table[0] + at;
        } else {
            uint32_t width = 2048u / zero;
            symbol = slot / width;
            start = symbol * width;
            end = start + width;
        }
        state = (end - start) * (state >> 12) + slot - start;
        if (state < 65536u) state = state << 16 | *word++;
        last = symbol;
        symbol ^= zero;
        if (zero == 8) {
            to[i >> 1] = (uint8_t)(i & 1 ? to[i >> 1] | symbol << 4 : symbol);
        } else {
            to[i] = (uint8_t)symbol;
        }
    }
}

#endif
