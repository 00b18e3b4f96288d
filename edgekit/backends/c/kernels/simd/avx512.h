/* Verbs for x86 with AVX-512 F, BW, DQ and VL: spike bits are the mask registers themselves. */
#include <immintrin.h>

#define EK_ISA "avx512"
#define EK_W 16
#define EK_SUMS 4
#define EK_TILE 2
#define EK_WI 16

typedef __m512 ekf;
typedef __mmask16 ekm;
typedef uint32_t ekb;
typedef __m256i eki;

EK_INLINE ekf ek_load(const float *p) { return _mm512_loadu_ps(p); }
EK_INLINE void ek_store(float *p, ekf a) { _mm512_storeu_ps(p, a); }
EK_INLINE void ek_store_four(float *y, uint32_t step, __m512d v) {
    _mm_storeu_ps(y, _mm512_extractf32x4_ps(_mm512_castpd_ps(v), 0));
    _mm_storeu_ps(y + 4u * step, _mm512_extractf32x4_ps(_mm512_castpd_ps(v), 1));
    _mm_storeu_ps(y + 8u * step, _mm512_extractf32x4_ps(_mm512_castpd_ps(v), 2));
    _mm_storeu_ps(y + 12u * step, _mm512_extractf32x4_ps(_mm512_castpd_ps(v), 3));
}
EK_INLINE void ek_store_across(float *y, uint32_t step, ekf a, ekf b, ekf c, ekf d) {
    const __m512d ab = _mm512_castps_pd(_mm512_unpacklo_ps(a, b)), cd = _mm512_castps_pd(_mm512_unpacklo_ps(c, d));
    const __m512d AB = _mm512_castps_pd(_mm512_unpackhi_ps(a, b)), CD = _mm512_castps_pd(_mm512_unpackhi_ps(c, d));
    ek_store_four(y, step, _mm512_unpacklo_pd(ab, cd));
    ek_store_four(y + step, step, _mm512_unpackhi_pd(ab, cd));
    ek_store_four(y + 2u * step, step, _mm512_unpacklo_pd(AB, CD));
    ek_store_four(y + 3u * step, step, _mm512_unpackhi_pd(AB, CD));
}
EK_INLINE void ek_copy4(float *y, const float *x) { _mm_storeu_ps(y, _mm_loadu_ps(x)); }
EK_INLINE ekf ek_set(float x) { return _mm512_set1_ps(x); }
EK_INLINE ekf ek_add(ekf a, ekf b) { return _mm512_add_ps(a, b); }
EK_INLINE ekf ek_sub(ekf a, ekf b) { return _mm512_sub_ps(a, b); }
EK_INLINE ekf ek_mul(ekf a, ekf b) { return _mm512_mul_ps(a, b); }
EK_INLINE ekf ek_div(ekf a, ekf b) { return _mm512_div_ps(a, b); }
EK_INLINE ekf ek_fma(ekf a, ekf b, ekf c) { return _mm512_fmadd_ps(a, b, c); }
typedef const float *ek4; /* a broadcast from memory costs no more than a load */
EK_INLINE ek4 ek_load4(const float *p) { return p; }
#define EK_FMA_LANE(a, four, lane, c) ek_fma(a, ek_set((four)[lane]), c)
EK_INLINE float ek_fma_one(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
EK_INLINE void ek_add4(float *y, const float *w, float v) {
    _mm_storeu_ps(y, _mm_fmadd_ps(_mm_loadu_ps(w), _mm_set1_ps(v), _mm_loadu_ps(y)));
}
/* vminps and vmaxps return their second operand when either is NaN: only a NaN first operand needs a move. */
EK_INLINE ekf ek_min(ekf a, ekf b) {
    return _mm512_mask_mov_ps(_mm512_min_ps(a, b), _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), a);
}
EK_INLINE ekf ek_max(ekf a, ekf b) {
    return _mm512_mask_mov_ps(_mm512_max_ps(a, b), _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), a);
}
EK_INLINE ekf ek_limit(ekf a, ekf lo, ekf hi) { return _mm512_min_ps(_mm512_max_ps(a, lo), hi); }
EK_INLINE ekf ek_neg(ekf a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
EK_INLINE ekf ek_abs(ekf a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
EK_INLINE float ek_sum(ekf a) { return _mm512_reduce_add_ps(a); }
EK_INLINE ekf ek_round(ekf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
EK_INLINE ekf ek_sqrt(ekf a) { return _mm512_sqrt_ps(a); }
EK_INLINE ekf ek_ldexp(ekf a, ekf n) {
    const __m512i exponent = _mm512_slli_epi32(_mm512_cvtps_epi32(n), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), exponent));
}
EK_INLINE ekf ek_exponent(ekf a) {
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_srli_epi32(_mm512_castps_si512(a), 23), _mm512_set1_epi32(127)));
}
EK_INLINE ekf ek_mantissa(ekf a) {
    const __m512i fraction = _mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0x7fffff));
    return _mm512_castsi512_ps(_mm512_or_si512(fraction, _mm512_set1_epi32(0x3f800000)));
}

EK_INLINE ekm ek_gt(ekf a, ekf b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
EK_INLINE ekm ek_ge(ekf a, ekf b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
EK_INLINE ekm ek_lt(ekf a, ekf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
EK_INLINE ekm ek_le(ekf a, ekf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
EK_INLINE ekm ek_eq(ekf a, ekf b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
EK_INLINE ekm ek_ne(ekf a, ekf b) { return _mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ); }
EK_INLINE ekm ek_and(ekm a, ekm b) { return (ekm)(a & b); }
EK_INLINE ekm ek_or(ekm a, ekm b) { return (ekm)(a | b); }
EK_INLINE ekm ek_not(ekm a) { return (ekm)~a; }
EK_INLINE ekf ek_select(ekm m, ekf a, ekf b) { return _mm512_mask_blend_ps(m, b, a); }
EK_INLINE ekf ek_keep(ekm m, ekf a) { return _mm512_maskz_mov_ps(m, a); }
EK_INLINE ekf ek_drop(ekm m, ekf a) { return _mm512_maskz_mov_ps((ekm)~m, a); }
EK_INLINE int ek_all(ekm m) { return m == 0xffff; }

EK_INLINE ekb ek_bits_none(void) { return 0u; }
EK_INLINE ekb ek_bits_put(ekb b, ekm m, uint32_t k) { return b | (uint32_t)m << k; }
EK_INLINE uint32_t ek_bits_word(ekb b) { return b; }
EK_INLINE ekm ek_bits_get(uint32_t word, uint32_t k) { return (ekm)(word >> k); }

EK_INLINE uint32_t ek_nonzero(const float *p) {
    const __m512 zero = _mm512_setzero_ps();
    const uint32_t low = _mm512_cmp_ps_mask(_mm512_loadu_ps(p), zero, _CMP_NEQ_UQ);
    return low | (uint32_t)_mm512_cmp_ps_mask(_mm512_loadu_ps(p + 16), zero, _CMP_NEQ_UQ) << 16;
}

EK_INLINE ekf ek_load_i8(const int8_t *p, int k) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(p + 16 * k))));
}
EK_INLINE eki ek_i16_zero(void) { return _mm256_setzero_si256(); }
EK_INLINE eki ek_i16_add_i8(eki a, const int8_t *p) {
    return _mm256_add_epi16(a, _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)p)));
}
EK_INLINE ekf ek_i16_float(eki a, int k) {
    (void)k; /* one float vector holds all sixteen lanes */
    return _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(a));
}
