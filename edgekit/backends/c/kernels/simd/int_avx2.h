/* Verbs of kernels/int_wide.h for AVX2, and for the VNNI instructions where there are some. */
#include <immintrin.h>

#define EK_WIDE_ISA "avx2"

typedef __m128i ek_v8; /* in the lower half */
typedef __m128i ek_v16;
typedef __m256i ek_v32;
typedef __m128i ek_vm;
typedef struct { __m128i m0, m1, m2, m3; } ek_bits;

/* --- lanes -------------------------------------------------------------------------------------------------------- */

EK_INLINE ek_v8 ek_v8_load(const ek_i8 *p) { return _mm_loadl_epi64((const __m128i *)p); }
EK_INLINE ek_v16 ek_v16_load(const ek_i16 *p) { return _mm_loadu_si128((const __m128i *)p); }
EK_INLINE ek_v32 ek_v32_load(const ek_i32 *p) { return _mm256_loadu_si256((const __m256i *)p); }
EK_INLINE void ek_v8_store(ek_i8 *p, ek_v8 a) { _mm_storel_epi64((__m128i *)p, a); }
EK_INLINE void ek_v16_store(ek_i16 *p, ek_v16 a) { _mm_storeu_si128((__m128i *)p, a); }
EK_INLINE void ek_v32_store(ek_i32 *p, ek_v32 a) { _mm256_storeu_si256((__m256i *)p, a); }
EK_INLINE ek_v8 ek_v8_set(int8_t x) { return _mm_set1_epi8(x); }
EK_INLINE ek_v16 ek_v16_set(int16_t x) { return _mm_set1_epi16(x); }
EK_INLINE ek_v32 ek_v32_set(int32_t x) { return _mm256_set1_epi32(x); }

#define EK_V_BINARY(name, f) \
    EK_INLINE ek_v8 ek_v8_##name(ek_v8 a, ek_v8 b) { return _mm_##f##_epi8(a, b); } \
    EK_INLINE ek_v16 ek_v16_##name(ek_v16 a, ek_v16 b) { return _mm_##f##_epi16(a, b); }
EK_V_BINARY(adds, adds)
EK_V_BINARY(subs, subs)
#define EK_V_BINARIES(name, f) \
    EK_V_BINARY(name, f) \
    EK_INLINE ek_v32 ek_v32_##name(ek_v32 a, ek_v32 b) { return _mm256_##f##_epi32(a, b); }
EK_V_BINARIES(add, add)
EK_V_BINARIES(sub, sub)
EK_V_BINARIES(minimum, min)
EK_V_BINARIES(maximum, max)
/* Of int32, sums whose sign is neither operand's have left the range at the end of the first one's sign. */
EK_INLINE ek_v32 ek_kept(ek_v32 a, ek_v32 sum, ek_v32 left) {
    const __m256i end = _mm256_xor_si256(_mm256_srai_epi32(a, 31), _mm256_set1_epi32(0x7fffffff));
    return _mm256_castps_si256(
        _mm256_blendv_ps(_mm256_castsi256_ps(sum), _mm256_castsi256_ps(end), _mm256_castsi256_ps(left)));
}
EK_INLINE ek_v32 ek_v32_adds(ek_v32 a, ek_v32 b) {
    const __m256i sum = _mm256_add_epi32(a, b);
    return ek_kept(a, sum, _mm256_and_si256(_mm256_xor_si256(a, sum), _mm256_xor_si256(b, sum)));
}
EK_INLINE ek_v32 ek_v32_subs(ek_v32 a, ek_v32 b) {
    const __m256i sum = _mm256_sub_epi32(a, b);
    return ek_kept(a, sum, _mm256_and_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(a, sum)));
}
#define EK_V_UNARIES(B, abs) \
    EK_INLINE ek_v##B ek_v##B##_neg(ek_v##B a) { return ek_v##B##_sub(ek_v##B##_set(0), a); } \
    EK_INLINE ek_v##B ek_v##B##_relu(ek_v##B a) { return ek_v##B##_maximum(a, ek_v##B##_set(0)); } \
    EK_INLINE ek_v##B ek_v##B##_abs(ek_v##B a) { return abs(a); }
EK_V_UNARIES(8, _mm_abs_epi8)
EK_V_UNARIES(16, _mm_abs_epi16)
EK_V_UNARIES(32, _mm256_abs_epi32)

EK_INLINE ek_vm ek_vm_of_8(__m128i m) { return _mm_cvtepi8_epi16(m); }
EK_INLINE ek_vm ek_vm_of_16(__m128i m) { return m; }
EK_INLINE ek_vm ek_vm_of_32(__m256i m) {
    return _mm_packs_epi32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));
}
EK_INLINE ek_vm ek_vm_not(ek_vm m) { return _mm_xor_si128(m, _mm_set1_epi16(-1)); }
EK_INLINE ek_vm ek_vm_and(ek_vm a, ek_vm b) { return _mm_and_si128(a, b); }
EK_INLINE ek_vm ek_vm_or(ek_vm a, ek_vm b) { return _mm_or_si128(a, b); }
#define EK_V_COMPARES(B, f) \
    EK_INLINE ek_vm ek_v##B##_gt(ek_v##B a, ek_v##B b) { return ek_vm_of_##B(f##_cmpgt_epi##B(a, b)); } \
    EK_INLINE ek_vm ek_v##B##_eq(ek_v##B a, ek_v##B b) { return ek_vm_of_##B(f##_cmpeq_epi##B(a, b)); } \
    EK_INLINE ek_vm ek_v##B##_lt(ek_v##B a, ek_v##B b) { return ek_v##B##_gt(b, a); } \
    EK_INLINE ek_vm ek_v##B##_ge(ek_v##B a, ek_v##B b) { return ek_v##B##_eq(ek_v##B##_maximum(a, b), a); } \
    EK_INLINE ek_vm ek_v##B##_le(ek_v##B a, ek_v##B b) { return ek_v##B##_ge(b, a); }
EK_V_COMPARES(8, _mm)
EK_V_COMPARES(16, _mm)
EK_V_COMPARES(32, _mm256)
EK_INLINE ek_v8 ek_v8_where(ek_vm m, ek_v8 a, ek_v8 b) { return _mm_blendv_epi8(b, a, _mm_packs_epi16(m, m)); }
EK_INLINE ek_v16 ek_v16_where(ek_vm m, ek_v16 a, ek_v16 b) { return _mm_blendv_epi8(b, a, m); }
EK_INLINE ek_v32 ek_v32_where(ek_vm m, ek_v32 a, ek_v32 b) {
    return _mm256_blendv_epi8(b, a, _mm256_cvtepi16_epi32(m));
}

EK_INLINE ek_v16 ek_v16_of_8(ek_v8 x) { return _mm_cvtepi8_epi16(x); }
EK_INLINE ek_v32 ek_v32_of_16(ek_v16 x) { return _mm256_cvtepi16_epi32(x); }
EK_INLINE ek_v8 ek_v8_of_16(ek_v16 x) { return _mm_packs_epi16(x, x); }
EK_INLINE ek_v16 ek_v16_of_32(ek_v32 x) {
    return _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
}
EK_INLINE ek_v16 ek_v16_wrapped(ek_v32 x) {
    const __m256i low = _mm256_and_si256(x, _mm256_set1_epi32(0xffff));
    return _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
}
EK_INLINE ek_v16 ek_v16_of_spikes(ek_vm m) { return _mm_srli_epi16(m, 15); }

EK_INLINE ek_v16 ek_v16_scaled15(ek_v16 x, ek_v16 m) { return _mm_mulhrs_epi16(x, m); }
EK_INLINE ek_v32 ek_v32_product(ek_v16 x, ek_v16 m) { /* the upper halves of the x meet zeros */
    return _mm256_madd_epi16(_mm256_cvtepi16_epi32(x), _mm256_cvtepu16_epi32(m));
}
EK_INLINE ek_v32 ek_v32_rounded(ek_v32 x, uint32_t shift) {
    const __m256i half = _mm256_set1_epi32((1 << shift) >> 1);
    return _mm256_sra_epi32(_mm256_add_epi32(x, half), _mm_cvtsi32_si128((int)shift));
}
/* Products of the even and of the odd lanes; `clip` unless the results fit int32, as they always do from 32 bits on. */
EK_INLINE __m256i ek_clip_products(__m256i v, uint32_t shift) {
    const __m256i high = _mm256_set1_epi64x((INT64_C(1) << (31u + shift)) - 1);
    const __m256i low = _mm256_set1_epi64x(-(INT64_C(1) << (31u + shift)));
    v = _mm256_blendv_epi8(v, high, _mm256_cmpgt_epi64(v, high));
    return _mm256_blendv_epi8(v, low, _mm256_cmpgt_epi64(low, v));
}
EK_INLINE ek_v32 ek_v32_scaled(ek_v32 x, ek_v32 m, uint32_t shift, int clip) {
    const __m256i half = _mm256_set1_epi64x((INT64_C(1) << shift) >> 1);
    const __m256i lower = _mm256_mul_epi32(x, m);
    const __m256i upper = _mm256_mul_epi32(_mm256_srli_epi64(x, 32), _mm256_srli_epi64(m, 32));
    __m256i even = _mm256_add_epi64(lower, half), odd = _mm256_add_epi64(upper, half);
    if (clip && shift < 32u) {
        even = ek_clip_products(even, shift);
        odd = ek_clip_products(odd, shift);
    }
    if (shift > 32u) {
        const __m256i high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
        return _mm256_sra_epi32(high, _mm_cvtsi32_si128((int)shift - 32));
    }
    return _mm256_blend_epi32(_mm256_srl_epi64(even, _mm_cvtsi32_si128((int)shift)),
                              _mm256_sll_epi64(odd, _mm_cvtsi32_si128(32 - (int)shift)), 0xaa);
}
EK_INLINE ek_v32 ek_v32_scaled31(ek_v32 x, ek_v32 m) { return ek_v32_scaled(x, m, 31u, 0); }

EK_INLINE ek_vm ek_vm_of(uint32_t word, uint32_t k) {
    const __m128i place = _mm_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128);
    return _mm_cmpeq_epi16(_mm_and_si128(_mm_set1_epi16((int16_t)(word >> 8u * k & 255u)), place), place);
}
EK_INLINE ek_bits ek_bits_none(void) {
    const __m128i zero = _mm_setzero_si128();
    const ek_bits b = {zero, zero, zero, zero};
    return b;
}
EK_INLINE ek_bits ek_bits_put(ek_bits b, ek_vm m, uint32_t k) {
    if (k == 0u) b.m0 = m;
    else if (k == 1u) b.m1 = m;
    else if (k == 2u) b.m2 = m;
    else b.m3 = m;
    return b;
}
EK_INLINE uint32_t ek_bits_word(ek_bits b) {
    return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(b.m0, b.m1)) |
           (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(b.m2, b.m3)) << 16;
}

/* Two neighbours of a table at a time: their difference times the rest is one sum of two products. */
EK_INLINE ek_v16 ek_v16_between(const ek_i16 *table, ek_v16 x, uint32_t fraction) {
    const __m256i position = _mm256_cvtepu16_epi32(_mm_xor_si128(x, _mm_set1_epi16(-32768)));
    const __m256i at = _mm256_srl_epi32(position, _mm_cvtsi32_si128((int)fraction));
    const __m256i rest = _mm256_and_si256(position, _mm256_set1_epi32((1 << fraction) - 1));
    const __m256i both = _mm256_i32gather_epi32((const int *)(const void *)table, at, 2);
    const __m256i minus = _mm256_and_si256(_mm256_sub_epi32(_mm256_setzero_si256(), rest), _mm256_set1_epi32(0xffff));
    const __m256i rise = _mm256_madd_epi16(both, _mm256_or_si256(minus, _mm256_slli_epi32(rest, 16)));
    const __m256i base = _mm256_srai_epi32(_mm256_slli_epi32(both, 16), 16);
    return ek_v16_of_32(_mm256_add_epi32(base, ek_v32_rounded(rise, fraction)));
}

/* --- dense: units of eight outputs, groups of four bytes of each -------------------------------------------------- */

#define EK_BB_UNITS 4u
#define EK_HB_UNITS 4u
#define EK_HH_UNITS 4u

EK_INLINE int32_t ek_four_of(const void *p) { /* without alignment */
    int32_t v;
    __builtin_memcpy(&v, p, 4);
    return v;
}
EK_INLINE __m256i ek_row(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }

#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
#define EK_VNNI 1
#define EK_DOT_BYTES(sum, x, w) _mm256_dpbusd_epi32(sum, x, w)
#define EK_DOT_HALVES(sum, x, w) _mm256_dpwssd_epi32(sum, x, w)
#elif defined(__AVXVNNI__)
#define EK_VNNI 1
#define EK_DOT_BYTES(sum, x, w) _mm256_dpbusd_avx_epi32(sum, x, w)
#define EK_DOT_HALVES(sum, x, w) _mm256_dpwssd_avx_epi32(sum, x, w)
#else
#define EK_DOT_HALVES(sum, x, w) _mm256_add_epi32(sum, _mm256_madd_epi16(x, w))
#endif

#define EK_X4(K, load, p, step) \
    const ek_##K##_x x = {load(p), load(p + step), load(p + 2 * step), load(p + 3 * step)}; \
    return x;
#define EK_TWO(K, TW) \
    EK_INLINE ek_##K##_sum ek_##K##_two_01(ek_##K##_sum s, const TW *v, const TW *w, ek_##K##_x x, int mild) { \
        (void)mild; \
        return ek_##K##_group(ek_##K##_group(s, v, x.v0), w, x.v1); \
    } \
    EK_INLINE ek_##K##_sum ek_##K##_two_23(ek_##K##_sum s, const TW *v, const TW *w, ek_##K##_x x, int mild) { \
        (void)mild; \
        return ek_##K##_group(ek_##K##_group(s, v, x.v2), w, x.v3); \
    } \
    EK_INLINE ek_##K##_sum ek_##K##_one_0(ek_##K##_sum s, const TW *w, ek_##K##_x x) { \
        return ek_##K##_group(s, w, x.v0); \
    } \
    EK_INLINE ek_##K##_sum ek_##K##_one_2(ek_##K##_sum s, const TW *w, ek_##K##_x x) { \
        return ek_##K##_group(s, w, x.v2); \
    }

/* int16 x int16 */
typedef __m256i ek_hh_sum;
typedef struct { __m256i v0, v1, v2, v3; } ek_hh_x;
EK_INLINE ek_hh_sum ek_hh_zero(void) { return _mm256_setzero_si256(); }
EK_INLINE __m256i ek_two_halves(const ek_i16 *p) { return _mm256_set1_epi32(ek_four_of(p)); }
EK_INLINE ek_hh_x ek_hh_load(const ek_i16 *p) { EK_X4(hh, ek_two_halves, p, 2) }
EK_INLINE ek_hh_x ek_hh_tail(const ek_i16 *p) {
    const ek_hh_x x = {ek_two_halves(p), ek_hh_zero(), ek_hh_zero(), ek_hh_zero()};
    return x;
}
EK_INLINE ek_hh_sum ek_hh_group(ek_hh_sum s, const int16_t *w, __m256i x) { return EK_DOT_HALVES(s, x, ek_row(w)); }
EK_TWO(hh, int16_t)
EK_INLINE ek_v32 ek_hh_result(ek_hh_sum s, const ek_i32 *lift) {
    (void)lift;
    return s;
}

/* int8 x int16: as int16 */
EK_INLINE __m256i ek_two_bytes(const ek_i8 *p) {
    return _mm256_set1_epi32((int32_t)((uint32_t)(uint16_t)p[0] | (uint32_t)p[1] << 16));
}
EK_INLINE ek_hh_x ek_bh_load(const ek_i8 *p) { EK_X4(hh, ek_two_bytes, p, 2) }
EK_INLINE ek_hh_x ek_bh_tail(const ek_i8 *p) {
    const ek_hh_x x = {ek_two_bytes(p), ek_hh_zero(), ek_hh_zero(), ek_hh_zero()};
    return x;
}

#if EK_VNNI
enum { ek_bb_moved = 1, ek_hb_moved = 1, ek_hh_moved = 0 };

/* int8 x int8: x moved by 128 is unsigned */
typedef __m256i ek_bb_sum;
typedef struct { __m256i v0, v1, v2, v3; } ek_bb_x;
EK_INLINE ek_bb_sum ek_bb_zero(void) { return _mm256_setzero_si256(); }
EK_INLINE __m256i ek_four_bytes(const ek_i8 *p) {
    return _mm256_set1_epi32((int32_t)((uint32_t)ek_four_of(p) ^ 0x80808080u));
}
EK_INLINE ek_bb_x ek_bb_load(const ek_i8 *p) { EK_X4(bb, ek_four_bytes, p, 4) }
EK_INLINE ek_bb_x ek_bb_tail(const ek_i8 *p) {
    const ek_bb_x x = {ek_four_bytes(p), ek_bb_zero(), ek_bb_zero(), ek_bb_zero()};
    return x;
}
EK_INLINE ek_bb_sum ek_bb_group(ek_bb_sum s, const int8_t *w, __m256i x) { return EK_DOT_BYTES(s, x, ek_row(w)); }
EK_TWO(bb, int8_t)
EK_INLINE ek_v32 ek_bb_result(ek_bb_sum s, const ek_i32 *lift) { return _mm256_sub_epi32(s, ek_v32_load(lift)); }

/* int16 x int8: x = 256 (high - 128) + low with high and low unsigned */
typedef struct { __m256i high, low; } ek_hb_sum;
typedef struct { __m256i high, low; } ek_hb_four;
typedef struct { ek_hb_four v0, v1, v2, v3; } ek_hb_x;
EK_INLINE ek_hb_sum ek_hb_zero(void) {
    const ek_hb_sum s = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    return s;
}
EK_INLINE ek_hb_four ek_four_halves(const ek_i16 *p) {
    const __m128i order = _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m128i moved = _mm_xor_si128(_mm_loadl_epi64((const __m128i *)p), _mm_set1_epi16(-32768));
    const __m128i split = _mm_shuffle_epi8(moved, order);
    const ek_hb_four x = {_mm256_broadcastd_epi32(_mm_shuffle_epi32(split, 1)), _mm256_broadcastd_epi32(split)};
    return x;
}
EK_INLINE ek_hb_x ek_hb_load(const ek_i16 *p) { EK_X4(hb, ek_four_halves, p, 4) }
EK_INLINE ek_hb_x ek_hb_tail(const ek_i16 *p) {
    const ek_hb_four none = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    const ek_hb_x x = {ek_four_halves(p), none, none, none};
    return x;
}
EK_INLINE ek_hb_sum ek_hb_group(ek_hb_sum s, const int8_t *w, ek_hb_four x) {
    const __m256i row = ek_row(w);
    s.high = EK_DOT_BYTES(s.high, x.high, row);
    s.low = EK_DOT_BYTES(s.low, x.low, row);
    return s;
}
EK_TWO(hb, int8_t)
EK_INLINE ek_v32 ek_hb_result(ek_hb_sum s, const ek_i32 *lift) {
    return _mm256_add_epi32(_mm256_slli_epi32(_mm256_sub_epi32(s.high, ek_v32_load(lift)), 8), s.low);
}
#else
enum { ek_bb_moved = 0, ek_hb_moved = 0, ek_hh_moved = 0 };

/* weights of int8 as int16; neighbouring pairs of inputs are summed at the end */
typedef struct { __m256i a, b; } ek_bb_sum;
typedef struct { __m256i v0, v1, v2, v3; } ek_bb_x;
typedef ek_bb_sum ek_hb_sum;
typedef ek_bb_x ek_hb_x;
EK_INLINE ek_bb_sum ek_bb_zero(void) {
    const ek_bb_sum s = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    return s;
}
EK_INLINE __m256i ek_four_bytes(const ek_i8 *p) { return _mm256_cvtepi8_epi16(_mm_set1_epi32(ek_four_of(p))); }
EK_INLINE __m256i ek_four_halves(const ek_i16 *p) {
    return _mm256_broadcastq_epi64(_mm_loadl_epi64((const __m128i *)p));
}
EK_INLINE ek_bb_x ek_bb_load(const ek_i8 *p) { EK_X4(bb, ek_four_bytes, p, 4) }
EK_INLINE ek_bb_x ek_bb_tail(const ek_i8 *p) {
    const __m256i zero = _mm256_setzero_si256();
    const ek_bb_x x = {ek_four_bytes(p), zero, zero, zero};
    return x;
}
EK_INLINE ek_bb_sum ek_bb_group(ek_bb_sum s, const int8_t *w, __m256i x) {
    const __m128i *row = (const __m128i *)w;
    s.a = EK_DOT_HALVES(s.a, x, _mm256_cvtepi8_epi16(_mm_loadu_si128(row)));
    s.b = EK_DOT_HALVES(s.b, x, _mm256_cvtepi8_epi16(_mm_loadu_si128(row + 1)));
    return s;
}
EK_TWO(bb, int8_t)
EK_INLINE ek_v32 ek_bb_result(ek_bb_sum s, const ek_i32 *lift) {
    (void)lift;
    return _mm256_permute4x64_epi64(_mm256_hadd_epi32(s.a, s.b), 0xd8);
}
EK_INLINE ek_hb_sum ek_hb_zero(void) { return ek_bb_zero(); }
EK_INLINE ek_hb_x ek_hb_load(const ek_i16 *p) { EK_X4(hb, ek_four_halves, p, 4) }
EK_INLINE ek_hb_x ek_hb_tail(const ek_i16 *p) {
    const __m256i zero = _mm256_setzero_si256();
    const ek_hb_x x = {ek_four_halves(p), zero, zero, zero};
    return x;
}
EK_INLINE ek_hb_sum ek_hb_group(ek_hb_sum s, const int8_t *w, __m256i x) { return ek_bb_group(s, w, x); }
EK_TWO(hb, int8_t)
EK_INLINE ek_v32 ek_hb_result(ek_hb_sum s, const ek_i32 *lift) { return ek_bb_result(s, lift); }
#endif

/* --- spans: sixteen inputs of one output -------------------------------------------------------------------------- */

typedef __m256i ek_span;
EK_INLINE ek_span ek_span_zero(void) { return _mm256_setzero_si256(); }
EK_INLINE __m256i ek_sixteen_bytes(const void *p) { return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)p)); }
#define EK_SPAN(K, TW, TX, wide_w, wide_x) \
    EK_INLINE ek_span ek_##K##_span(ek_span s, const TW *w, const TX *x, int mild) { \
        (void)mild; \
        return EK_DOT_HALVES(s, wide_x(x), wide_w(w)); \
    }
EK_SPAN(bb, int8_t, ek_i8, ek_sixteen_bytes, ek_sixteen_bytes)
EK_SPAN(hb, int8_t, ek_i16, ek_sixteen_bytes, ek_row)
EK_SPAN(bh, int16_t, ek_i8, ek_row, ek_sixteen_bytes)
EK_SPAN(hh, int16_t, ek_i16, ek_row, ek_row)
EK_INLINE __m128i ek_spans_four(ek_span s0, ek_span s1, ek_span s2, ek_span s3) {
    const __m256i both = _mm256_hadd_epi32(_mm256_hadd_epi32(s0, s1), _mm256_hadd_epi32(s2, s3));
    return _mm_add_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
}
EK_INLINE ek_v32 ek_spans_eight(ek_span s0, ek_span s1, ek_span s2, ek_span s3, ek_span s4, ek_span s5, ek_span s6,
                                ek_span s7) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(ek_spans_four(s0, s1, s2, s3)),
                                   ek_spans_four(s4, s5, s6, s7), 1);
}

/* --- events: rows of sixteen outputs ------------------------------------------------------------------------------ */

#define EK_E16_UNITS 8u
#define EK_E32_UNITS 4u

typedef __m256i ek_e16;
typedef struct { __m256i a, b; } ek_e32;
EK_INLINE ek_e16 ek_e16_load(const ek_i16 *p) { return ek_row(p); }
EK_INLINE void ek_e16_store(ek_i16 *p, ek_e16 s) { _mm256_storeu_si256((__m256i *)p, s); }
EK_INLINE ek_e16 ek_e16_zero(void) { return _mm256_setzero_si256(); }
EK_INLINE ek_e16 ek_e16_add8(ek_e16 s, const int8_t *w) {
    return _mm256_add_epi16(s, _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)w)));
}
EK_INLINE ek_e16 ek_e16_add16(ek_e16 s, const int16_t *w) { return _mm256_add_epi16(s, ek_row(w)); }
EK_INLINE ek_e32 ek_e32_load(const ek_i32 *p) {
    const ek_e32 s = {ek_row(p), ek_row(p + 8)};
    return s;
}
EK_INLINE void ek_e32_store(ek_i32 *p, ek_e32 s) {
    ek_v32_store(p, s.a);
    ek_v32_store(p + 8, s.b);
}
EK_INLINE ek_e32 ek_e32_zero(void) {
    const ek_e32 s = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    return s;
}
EK_INLINE ek_e32 ek_e32_add8(ek_e32 s, const int8_t *w) {
    s.a = _mm256_add_epi32(s.a, _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)w)));
    s.b = _mm256_add_epi32(s.b, _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(w + 8))));
    return s;
}
EK_INLINE ek_e32 ek_e32_add16(ek_e32 s, const int16_t *w) {
    s.a = _mm256_add_epi32(s.a, _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)w)));
    s.b = _mm256_add_epi32(s.b, _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)(w + 8))));
    return s;
}
