/* Verbs of kernels/dot.h for AVX2: two digits of 12 bits, products in pairs. */
#define EK_DOT_OUTPUTS 16u /* their sums and what they are made from fill the sixteen registers */
#define EK_DOT_EACH 4

typedef struct { __m256i high, low; } ekd; /* per digit two sums for each output, over inputs 0 and 1, and 2 and 3 */
typedef struct { __m256i high, low; } ekx;

/* As integers, magnitudes keep their order, and NaN comes after Inf. */
EK_INLINE ekf ek_most(ekf most, ekf x) {
    return _mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(most), _mm256_castps_si256(ek_abs(x))));
}
EK_INLINE float ek_most_lane(ekf most) {
    const __m256i all = _mm256_castps_si256(most);
    const __m128i four = _mm_max_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
    const __m128i two = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtss_f32(_mm_castsi128_ps(_mm_max_epi32(two, _mm_shuffle_epi32(two, 0xb1))));
}
EK_INLINE void ek_digits(int8_t *to, const float *x, float per_step) {
    const __m256i whole = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), _mm256_set1_ps(per_step)));
    const __m256i high = _mm256_srai_epi32(_mm256_add_epi32(whole, _mm256_set1_epi32(2048)), 12);
    const __m256i low = _mm256_sub_epi32(whole, _mm256_slli_epi32(high, 12));
    _mm256_storeu_si256((__m256i *)to, _mm256_packs_epi32(high, low));
}
EK_INLINE ekx ek_digits_load(const int8_t *p) {
    const ekx x = {_mm256_broadcastq_epi64(_mm_loadl_epi64((const __m128i *)p)),
                   _mm256_broadcastq_epi64(_mm_loadl_epi64((const __m128i *)(p + 8)))};
    return x;
}
EK_INLINE ekd ek_dot_zero(void) {
    const ekd zero = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    return zero;
}
EK_INLINE ekd ek_dot(ekd sum, const int8_t *w, ekx x) {
    const __m256i wide = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)w));
    sum.high = _mm256_add_epi32(sum.high, _mm256_madd_epi16(wide, x.high));
    sum.low = _mm256_add_epi32(sum.low, _mm256_madd_epi16(wide, x.low));
    return sum;
}
EK_INLINE __m256 ek_dot_digit(__m256i a, __m256i b) { /* adds neighbours; lanes come as 0 1 4 5 2 3 6 7 */
    return _mm256_cvtepi32_ps(_mm256_permute4x64_epi64(_mm256_hadd_epi32(a, b), 0xd8));
}
EK_INLINE void ek_dot_store(float *y, ekd a, ekd b, float step) {
    const __m256 high = ek_dot_digit(a.high, b.high), low = ek_dot_digit(a.low, b.low);
    _mm256_storeu_ps(y, _mm256_mul_ps(_mm256_fmadd_ps(high, _mm256_set1_ps(4096.0f), low), _mm256_set1_ps(step)));
}
