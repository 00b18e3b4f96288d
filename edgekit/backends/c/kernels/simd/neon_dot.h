/* Verbs of kernels/dot.h for AArch64 with the dot product extension. */
typedef int32x4_t ekd;
typedef int8x16_t ekq;

/* Four floats as 24-bit integers in three signed bytes each: byte d of all four lies together. Adding 128 to the lower
 * bytes carries what they have too much into the next; flipping the top bits takes the 128 away again.
 */
EK_INLINE void ek_bytes(int8_t *to, const float *x, float per_step) {
    const int32x4_t whole = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), per_step)), half = vdupq_n_s32(0x808080);
    const uint8x16_t order = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
    vst1q_s8(to, vqtbl1q_s8(vreinterpretq_s8_s32(veorq_s32(vaddq_s32(whole, half), half)), order));
}
EK_INLINE ekd ek_dot_zero(void) { return vdupq_n_s32(0); }
EK_INLINE ekq ek_dot_load(const int8_t *p) { return vld1q_s8(p); }
#define EK_DOT(sum, w, v, byte) vdotq_laneq_s32(sum, w, v, byte)
EK_INLINE void ek_dot_store(float *y, ekd d0, ekd d1, ekd d2, float step) {
    const float32x4_t low = vfmaq_n_f32(vcvtq_f32_s32(d0), vcvtq_f32_s32(d1), 256.0f);
    vst1q_f32(y, vmulq_n_f32(vfmaq_n_f32(low, vcvtq_f32_s32(d2), 65536.0f), step));
}
