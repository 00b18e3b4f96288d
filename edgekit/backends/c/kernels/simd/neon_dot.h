/* Verbs of kernels/dot.h for AArch64 with the dot product extension: three digits of 8 bits. */
#define EK_DOT_OUTPUTS 32u
#define EK_DOT_EACH 4

typedef struct { int32x4_t d0, d1, d2; } ekd;
typedef int8x16_t ekx;

EK_INLINE ekf ek_most(ekf most, ekf x) { return vmaxq_f32(most, vabsq_f32(x)); }
EK_INLINE float ek_most_lane(ekf most) { return vmaxvq_f32(most); }

/* Byte d of all four inputs lies together. Adding 128 to the lower bytes carries what they have too much into the next;
 * flipping the top bits takes the 128 away again.
 */
EK_INLINE void ek_digits4(int8_t *to, const float *x, float per_step) {
    const int32x4_t whole = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), per_step)), half = vdupq_n_s32(0x808080);
    const uint8x16_t order = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
    vst1q_s8(to, vqtbl1q_s8(vreinterpretq_s8_s32(veorq_s32(vaddq_s32(whole, half), half)), order));
}
EK_INLINE void ek_digits(int8_t *to, const float *x, float per_step) {
    ek_digits4(to, x, per_step);
    ek_digits4(to + 16, x + 4, per_step);
}
EK_INLINE ekx ek_digits_load(const int8_t *p) { return vld1q_s8(p); }
EK_INLINE ekd ek_dot_zero(void) {
    const ekd zero = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
    return zero;
}
EK_INLINE ekd ek_dot(ekd sum, const int8_t *w, ekx x) {
    const int8x16_t four = vld1q_s8(w);
    sum.d0 = vdotq_laneq_s32(sum.d0, four, x, 0);
    sum.d1 = vdotq_laneq_s32(sum.d1, four, x, 1);
    sum.d2 = vdotq_laneq_s32(sum.d2, four, x, 2);
    return sum;
}
EK_INLINE float32x4_t ek_dot_sum(ekd sum, float step) {
    const float32x4_t low = vfmaq_n_f32(vcvtq_f32_s32(sum.d0), vcvtq_f32_s32(sum.d1), 256.0f);
    return vmulq_n_f32(vfmaq_n_f32(low, vcvtq_f32_s32(sum.d2), 65536.0f), step);
}
EK_INLINE void ek_dot_store(float *y, ekd a, ekd b, float step) {
    vst1q_f32(y, ek_dot_sum(a, step));
    vst1q_f32(y + 4, ek_dot_sum(b, step));
}
