/* Verbs of kernels/dot.h for AVX-512 VNNI: three digits of 8 bits, products in fours. One operand of its dot product has
 * no sign, so 2^23 is added to every input, and 128 times the sum of the weights taken off the sums of the top digit. */
#define EK_DOT_OUTPUTS 32u
#define EK_DOT_EACH 16

typedef struct { __m512i d0, d1, d2, weights; } ekd;
typedef struct { __m512i d0, d1, d2; } ekx;

/* As integers, magnitudes keep their order, and NaN comes after Inf. */
EK_INLINE ekf ek_most(ekf most, ekf x) {
    return _mm512_castsi512_ps(_mm512_max_epi32(_mm512_castps_si512(most), _mm512_castps_si512(ek_abs(x))));
}
EK_INLINE float ek_most_lane(ekf most) {
    return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(_mm512_reduce_max_epi32(_mm512_castps_si512(most)))));
}
EK_INLINE void ek_digits(int8_t *to, const float *x, float per_step) {
    const __m256i whole = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), _mm256_set1_ps(per_step)));
    const __m256i order = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    const __m256i positive = _mm256_xor_si256(whole, _mm256_set1_epi32(0x800000));
    _mm256_storeu_si256((__m256i *)to, _mm256_shuffle_epi8(positive, order));
}
EK_INLINE __m512i ek_digit(const int8_t *p) {
    int32_t four;
    __builtin_memcpy(&four, p, 4);
    return _mm512_set1_epi32(four);
}
EK_INLINE ekx ek_digits_load(const int8_t *p) {
    const ekx x = {ek_digit(p), ek_digit(p + 4), ek_digit(p + 8)};
    return x;
}
EK_INLINE ekd ek_dot_zero(void) {
    const __m512i none = _mm512_setzero_si512();
    const ekd zero = {none, none, none, none};
    return zero;
}
EK_INLINE ekd ek_dot(ekd sum, const int8_t *w, ekx x) {
    const __m512i row = _mm512_loadu_si512(w);
    sum.d0 = _mm512_dpbusd_epi32(sum.d0, x.d0, row);
    sum.d1 = _mm512_dpbusd_epi32(sum.d1, x.d1, row);
    sum.d2 = _mm512_dpbusd_epi32(sum.d2, x.d2, row);
    sum.weights = _mm512_dpbusd_epi32(sum.weights, _mm512_set1_epi8(1), row);
    return sum;
}
EK_INLINE void ek_dot_store(float *y, ekd a, float step) {
    const __m512 top = _mm512_cvtepi32_ps(_mm512_sub_epi32(a.d2, _mm512_slli_epi32(a.weights, 7)));
    const __m512 low = _mm512_fmadd_ps(_mm512_cvtepi32_ps(a.d1), _mm512_set1_ps(256.0f), _mm512_cvtepi32_ps(a.d0));
    _mm512_storeu_ps(y, _mm512_mul_ps(_mm512_fmadd_ps(top, _mm512_set1_ps(65536.0f), low), _mm512_set1_ps(step)));
}
