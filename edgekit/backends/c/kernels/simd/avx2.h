/* Verbs for x86 with AVX2 and FMA. */
#include <immintrin.h>

#define EK_ISA "avx2"
#define EK_W 8
#define EK_SUMS 8
#define EK_TILE 2
#define EK_WI 16

typedef __m256 ekf;
typedef __m256 ekm; /* each lane all zeros or all ones */
typedef uint32_t ekb;
typedef __m256i eki;

EK_INLINE ekf ek_load(const float *p) { return _mm256_loadu_ps(p); }
EK_INLINE void ek_store(float *p, ekf a) { _mm256_storeu_ps(p, a); }
EK_INLINE void ek_store_pair(float *low, float *high, __m256d v) {
    _mm_storeu_ps(low, _mm_castpd_ps(_mm256_castpd256_pd128(v)));
    _mm_storeu_ps(high, _mm_castpd_ps(_mm256_extractf128_pd(v, 1)));
}
EK_INLINE void ek_store_across(float *y, uint32_t step, ekf a, ekf b, ekf c, ekf d) {
    const __m256d ab = _mm256_castps_pd(_mm256_unpacklo_ps(a, b)), cd = _mm256_castps_pd(_mm256_unpacklo_ps(c, d));
    const __m256d AB = _mm256_castps_pd(_mm256_unpackhi_ps(a, b)), CD = _mm256_castps_pd(_mm256_unpackhi_ps(c, d));
    ek_store_pair(y, y + 4u * step, _mm256_unpacklo_pd(ab, cd));
    ek_store_pair(y + step, y + 5u * step, _mm256_unpackhi_pd(ab, cd));
    ek_store_pair(y + 2u * step, y + 6u * step, _mm256_unpacklo_pd(AB, CD));
    ek_store_pair(y + 3u * step, y + 7u * step, _mm256_unpackhi_pd(AB, CD));
}
EK_INLINE void ek_copy4(float *y, const float *x) { _mm_storeu_ps(y, _mm_loadu_ps(x)); }
EK_INLINE ekf ek_set(float x) { return _mm256_set1_ps(x); }
EK_INLINE ekf ek_add(ekf a, ekf b) { return _mm256_add_ps(a, b); }
EK_INLINE ekf ek_sub(ekf a, ekf b) { return _mm256_sub_ps(a, b); }
EK_INLINE ekf ek_mul(ekf a, ekf b) { return _mm256_mul_ps(a, b); }
EK_INLINE ekf ek_div(ekf a, ekf b) { return _mm256_div_ps(a, b); }
EK_INLINE ekf ek_fma(ekf a, ekf b, ekf c) { return _mm256_fmadd_ps(a, b, c); }
typedef const float *ek4; /* a broadcast from memory costs no more than a load */
EK_INLINE ek4 ek_load4(const float *p) { return p; }
#define EK_FMA_LANE(a, four, lane, c) ek_fma(a, ek_set((four)[lane]), c)
EK_INLINE float ek_fma_one(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
EK_INLINE void ek_add4(float *y, const float *w, float v) {
    _mm_storeu_ps(y, _mm_fmadd_ps(_mm_loadu_ps(w), _mm_set1_ps(v), _mm_loadu_ps(y)));
}
/* minps and maxps return their second operand when either is NaN: only a NaN first operand needs a blend. */
EK_INLINE ekf ek_min(ekf a, ekf b) { return _mm256_blendv_ps(_mm256_min_ps(a, b), a, _mm256_cmp_ps(a, a, _CMP_UNORD_Q)); }
EK_INLINE ekf ek_max(ekf a, ekf b) { return _mm256_blendv_ps(_mm256_max_ps(a, b), a, _mm256_cmp_ps(a, a, _CMP_UNORD_Q)); }
EK_INLINE ekf ek_limit(ekf a, ekf lo, ekf hi) { return _mm256_min_ps(_mm256_max_ps(a, lo), hi); }
EK_INLINE ekf ek_neg(ekf a) { return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f)); }
EK_INLINE ekf ek_abs(ekf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
EK_INLINE float ek_sum(ekf a) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
EK_INLINE ekf ek_round(ekf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
EK_INLINE ekf ek_sqrt(ekf a) { return _mm256_sqrt_ps(a); }
EK_INLINE ekf ek_ldexp(ekf a, ekf n) {
    const __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), exponent));
}
EK_INLINE ekf ek_exponent(ekf a) {
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_srli_epi32(_mm256_castps_si256(a), 23), _mm256_set1_epi32(127)));
}
EK_INLINE ekf ek_mantissa(ekf a) {
    const __m256i fraction = _mm256_and_si256(_mm256_castps_si256(a), _mm256_set1_epi32(0x7fffff));
    return _mm256_castsi256_ps(_mm256_or_si256(fraction, _mm256_set1_epi32(0x3f800000)));
}

EK_INLINE ekm ek_gt(ekf a, ekf b) { return _mm256_cmp_ps(a, b, _CMP_GT_OQ); }
EK_INLINE ekm ek_ge(ekf a, ekf b) { return _mm256_cmp_ps(a, b, _CMP_GE_OQ); }
EK_INLINE ekm ek_lt(ekf a, ekf b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
EK_INLINE ekm ek_le(ekf a, ekf b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
EK_INLINE ekm ek_eq(ekf a, ekf b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
EK_INLINE ekm ek_ne(ekf a, ekf b) { return _mm256_cmp_ps(a, b, _CMP_NEQ_UQ); }
EK_INLINE ekm ek_and(ekm a, ekm b) { return _mm256_and_ps(a, b); }
EK_INLINE ekm ek_or(ekm a, ekm b) { return _mm256_or_ps(a, b); }
EK_INLINE ekm ek_not(ekm a) { return _mm256_xor_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(-1))); }
EK_INLINE ekf ek_select(ekm m, ekf a, ekf b) { return _mm256_blendv_ps(b, a, m); }
EK_INLINE ekf ek_keep(ekm m, ekf a) { return _mm256_and_ps(m, a); }
EK_INLINE ekf ek_drop(ekm m, ekf a) { return _mm256_andnot_ps(m, a); }
EK_INLINE int ek_all(ekm m) { return _mm256_movemask_ps(m) == 0xff; }

EK_INLINE ekb ek_bits_none(void) { return 0u; }
EK_INLINE ekb ek_bits_put(ekb b, ekm m, uint32_t k) { return b | (uint32_t)_mm256_movemask_ps(m) << k; }
EK_INLINE uint32_t ek_bits_word(ekb b) { return b; }
EK_INLINE ekm ek_bits_get(uint32_t word, uint32_t k) {
    const __m256i place = _mm256_slli_epi32(_mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128), (int)k);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int32_t)word), place), place));
}

EK_INLINE uint32_t ek_nonzero8(const float *p) {
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(p), _mm256_setzero_ps(), _CMP_NEQ_UQ));
}
EK_INLINE uint32_t ek_nonzero(const float *p) {
    return ek_nonzero8(p) | ek_nonzero8(p + 8) << 8 | ek_nonzero8(p + 16) << 16 | ek_nonzero8(p + 24) << 24;
}

EK_INLINE ekf ek_load_i8(const int8_t *p, int k) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(p + 8 * k))));
}
EK_INLINE eki ek_i16_zero(void) { return _mm256_setzero_si256(); }
EK_INLINE eki ek_i16_add_i8(eki a, const int8_t *p) {
    return _mm256_add_epi16(a, _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)p)));
}
EK_INLINE ekf ek_i16_float(eki a, int k) {
    const __m128i half = k == 0 ? _mm256_castsi256_si128(a) : _mm256_extracti128_si256(a, 1);
    return _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(half));
}
