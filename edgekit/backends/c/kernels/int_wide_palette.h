/* Sums over weights of few distinct values in whole registers: numbers of two, three or four bits in a table of sixteen
 * bytes, which one instruction looks sixteen of them up in. A block of weights is made in `wide` and summed as int_wide.h
 * sums any; of events eight rows at a time.
 *
 *   n2   64 weights in 16 bytes: of byte j those number j, 16 + j, 32 + j, 48 + j
 *   n3   128 weights in 48 bytes: the lower two bits of the first 64 as n2 has them, those of the others, and the third
 *        bits, of byte j in this order too
 *   n4   32 weights in 16 bytes: of byte j those number j, 16 + j
 */
#ifndef EK_INT_WIDE_PALETTE_H
#define EK_INT_WIDE_PALETTE_H

#include "int_wide.h"

#if defined(__aarch64__) && !defined(EK_FORCE_PORTABLE)
typedef uint8x16_t ek_numbers;
EK_INLINE ek_numbers ek_numbers_load(const uint8_t *p) { return vld1q_u8(p); }
EK_INLINE void ek_numbers_give(int8_t *p, ek_numbers table, ek_numbers n) {
    vst1q_s8(p, vreinterpretq_s8_u8(vqtbl1q_u8(table, n)));
}
#define EK_NUMBERS_NEON 1
#elif defined(__ARM_NEON) && !defined(EK_FORCE_PORTABLE)
typedef uint8x16_t ek_numbers;
EK_INLINE ek_numbers ek_numbers_load(const uint8_t *p) { return vld1q_u8(p); }
EK_INLINE void ek_numbers_give(int8_t *p, ek_numbers table, ek_numbers n) {
    const uint8x8x2_t two = {{vget_low_u8(table), vget_high_u8(table)}};
    const uint8x16_t found = vcombine_u8(vtbl2_u8(two, vget_low_u8(n)), vtbl2_u8(two, vget_high_u8(n)));
    vst1q_s8(p, vreinterpretq_s8_u8(found));
}
#define EK_NUMBERS_NEON 1
#elif defined(__AVX2__) && !defined(EK_FORCE_PORTABLE)
typedef __m128i ek_numbers;
EK_INLINE ek_numbers ek_numbers_load(const uint8_t *p) { return _mm_loadu_si128((const __m128i *)p); }
EK_INLINE void ek_numbers_give(int8_t *p, ek_numbers table, ek_numbers n) {
    _mm_storeu_si128((__m128i *)p, _mm_shuffle_epi8(table, n));
}
#define ek_numbers_low(a, mask) _mm_and_si128(a, _mm_set1_epi8(mask))
#define ek_numbers_down(a, s, mask) ek_numbers_low(_mm_srli_epi16(a, s), mask)
#define ek_numbers_or(a, b) _mm_or_si128(a, b)
#define ek_numbers_up(a, s) _mm_slli_epi16(a, s)
#else
typedef struct { uint8_t v[16]; } ek_numbers;
#define EK_NUMBERS(value) \
    ek_numbers y; \
    uint32_t i; \
    for (i = 0; i < 16u; ++i) y.v[i] = (uint8_t)(value); \
    return y;
EK_INLINE ek_numbers ek_numbers_load(const uint8_t *p) { EK_NUMBERS(p[i]) }
EK_INLINE void ek_numbers_give(int8_t *p, ek_numbers table, ek_numbers n) {
    uint32_t i;
    for (i = 0; i < 16u; ++i) p[i] = (int8_t)table.v[n.v[i]];
}
EK_INLINE ek_numbers ek_numbers_low(ek_numbers a, uint32_t mask) { EK_NUMBERS(a.v[i] & mask) }
EK_INLINE ek_numbers ek_numbers_down(ek_numbers a, uint32_t s, uint32_t mask) { EK_NUMBERS(a.v[i] >> s & mask) }
EK_INLINE ek_numbers ek_numbers_or(ek_numbers a, ek_numbers b) { EK_NUMBERS(a.v[i] | b.v[i]) }
EK_INLINE ek_numbers ek_numbers_up(ek_numbers a, uint32_t s) { EK_NUMBERS(a.v[i] << s) }
#endif
#if EK_NUMBERS_NEON
#define ek_numbers_low(a, mask) vandq_u8(a, vdupq_n_u8(mask))
#define ek_numbers_down(a, s, mask) ek_numbers_low(vshrq_n_u8(a, s), mask)
#define ek_numbers_or(a, b) vorrq_u8(a, b)
#define ek_numbers_up(a, s) vshlq_n_u8(a, s)
#endif

/* `n` weights, which whole groups of numbers are read and written for; returns where the next numbers are */
EK_INLINE const uint8_t *ek_made_n2(int8_t *to, const uint8_t *w, const uint8_t *levels, uint32_t n) {
    const ek_numbers table = ek_numbers_load(levels);
    uint32_t i;
    for (i = 0; i < n; i += 64u, w += 16, to += 64) {
        const ek_numbers all = ek_numbers_load(w);
        ek_numbers_give(to, table, ek_numbers_low(all, 3));
        ek_numbers_give(to + 16, table, ek_numbers_down(all, 2, 3));
        ek_numbers_give(to + 32, table, ek_numbers_down(all, 4, 3));
        ek_numbers_give(to + 48, table, ek_numbers_down(all, 6, 3));
    }
    return w;
}
EK_INLINE const uint8_t *ek_made_n4(int8_t *to, const uint8_t *w, const uint8_t *levels, uint32_t n) {
    const ek_numbers table = ek_numbers_load(levels);
    uint32_t i;
    for (i = 0; i < n; i += 32u, w += 16, to += 32) {
        const ek_numbers all = ek_numbers_load(w);
        ek_numbers_give(to, table, ek_numbers_low(all, 15));
        ek_numbers_give(to + 16, table, ek_numbers_down(all, 4, 15));
    }
    return w;
}
EK_INLINE const uint8_t *ek_made_n3(int8_t *to, const uint8_t *w, const uint8_t *levels, uint32_t n) {
    const ek_numbers table = ek_numbers_load(levels);
    uint32_t i;
    for (i = 0; i < n; i += 128u, w += 48, to += 128) {
        const ek_numbers a = ek_numbers_load(w), b = ek_numbers_load(w + 16), top = ek_numbers_load(w + 32);
        const ek_numbers second = ek_numbers_up(ek_numbers_low(top, 2), 1), fourth = ek_numbers_down(top, 1, 4);
        ek_numbers_give(to, table, ek_numbers_or(ek_numbers_low(a, 3), ek_numbers_up(ek_numbers_low(top, 1), 2)));
        ek_numbers_give(to + 16, table, ek_numbers_or(ek_numbers_down(a, 2, 3), second));
        ek_numbers_give(to + 32, table, ek_numbers_or(ek_numbers_down(a, 4, 3), ek_numbers_low(top, 4)));
        ek_numbers_give(to + 48, table, ek_numbers_or(ek_numbers_down(a, 6, 3), fourth));
        ek_numbers_give(to + 64, table, ek_numbers_or(ek_numbers_low(b, 3), ek_numbers_down(top, 2, 4)));
        ek_numbers_give(to + 80, table, ek_numbers_or(ek_numbers_down(b, 2, 3), ek_numbers_down(top, 3, 4)));
        ek_numbers_give(to + 96, table, ek_numbers_or(ek_numbers_down(b, 4, 3), ek_numbers_down(top, 4, 4)));
        ek_numbers_give(to + 112, table, ek_numbers_or(ek_numbers_down(b, 6, 3), ek_numbers_down(top, 5, 4)));
    }
    return w;
}

#define EK_FOLLOWED(X) \
    EK_INLINE const ek_i##X *ek_followed_##X(ek_word *wide, const ek_i##X *x, uint32_t n) { \
        ek_i##X *const y = (ek_i##X *)wide; \
        uint32_t i; \
        for (i = 0; i < n; ++i) y[i] = x[i]; \
        for (; i % 4u; ++i) y[i] = 0; \
        return y; \
    }
EK_FOLLOWED(8)
EK_FOLLOWED(16)

/* One row of x: the arguments of the kernel that sums a block, and the table. `copied`: with zeros behind it, into `wide`. */
#define EK_WIDE_CODED(X, N, A) \
    EK_INLINE void ek_wide_x##X##_n##N##_a##A(ek_i##A *y, const ek_i##A *c, const uint8_t *w, const uint8_t *levels, \
                                              const int32_t *lifts, const ek_i##X *x, ek_word *wide, uint32_t n_in, \
                                              uint32_t n_out, int mild, int rare, int copied) { \
        const uint32_t width = (n_in + 3u) / 4u * 4u; \
        const ek_i##X *const from = copied ? ek_followed_##X(wide, x, n_in) : x; \
        int8_t *const made = (int8_t *)wide + (copied ? (n_in * (X / 8u) + 63u) / 64u * 64u : 0u); \
        uint32_t o; \
        for (o = 0; o < n_out; o += 32u) { \
            const uint32_t there = n_out - o < 32u ? n_out - o : 32u; \
            w = ek_made_n##N(made, w, levels, (there + 7u) / 8u * 8u * width); \
            ek_wide_x##X##_w8_a##A(y + o, EK_AFTER(c, o), 0u, made, lifts + o, from, 1u, n_in, there, mild, rare); \
        } \
    }
/* `stride` weights and `bytes` of numbers in a row */
#define EK_WIDE_CODED_EVENT(N, A) \
    EK_INLINE void ek_wide_event_n##N##_a##A(ek_i##A *y, const ek_i##A *c, const uint8_t *w, const uint8_t *levels, \
                                             const uint16_t *list, uint32_t count, ek_word *wide, uint32_t bytes, \
                                             uint32_t stride, uint32_t n_out) { \
        static const uint16_t eight[8] = {0, 1, 2, 3, 4, 5, 6, 7}; \
        int8_t *const made = (int8_t *)wide; \
        uint32_t k = 0, r; \
        do { \
            const uint32_t there = count - k < 8u ? count - k : 8u; \
            for (r = 0; r < there; ++r) ek_made_n##N(made + r * stride, w + bytes * list[k + r], levels, stride); \
            ek_wide_event_w8_a##A(y, c, made, eight, there, stride, n_out); \
            c = y; \
            k += there; \
        } while (k < count); \
    }
#define EK_WIDE_CODED_ALL(N, A) \
    EK_WIDE_CODED(8, N, A) \
    EK_WIDE_CODED(16, N, A) \
    EK_WIDE_CODED_EVENT(N, A)
EK_WIDE_CODED_ALL(2, 16)
EK_WIDE_CODED_ALL(3, 16)
EK_WIDE_CODED_ALL(4, 16)
EK_WIDE_CODED_ALL(2, 32)
EK_WIDE_CODED_ALL(3, 32)
EK_WIDE_CODED_ALL(4, 32)

#endif
