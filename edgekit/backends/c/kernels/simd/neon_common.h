/* Verbs that AArch64 and 32-bit Arm write alike. */
#include <arm_neon.h>

#define EK_W 4
#define EK_WI 8

typedef float32x4_t ekf;
typedef uint32x4_t ekm;
typedef uint32x4_t ekb; /* lane j holds the bits of elements 4k + j; one sum over the lanes makes the word */
typedef int16x8_t eki;
typedef float32x4_t ek4;

EK_INLINE ekf ek_load(const float *p) { return vld1q_f32(p); }
EK_INLINE void ek_store(float *p, ekf a) { vst1q_f32(p, a); }
EK_INLINE void ek_store_across(float *y, uint32_t step, ekf a, ekf b, ekf c, ekf d) {
    const float32x4x2_t ab = vtrnq_f32(a, b), cd = vtrnq_f32(c, d); /* lanes 0 and 2 of two vectors, then 1 and 3 */
    vst1q_f32(y, vcombine_f32(vget_low_f32(ab.val[0]), vget_low_f32(cd.val[0])));
    vst1q_f32(y + step, vcombine_f32(vget_low_f32(ab.val[1]), vget_low_f32(cd.val[1])));
    vst1q_f32(y + 2u * step, vcombine_f32(vget_high_f32(ab.val[0]), vget_high_f32(cd.val[0])));
    vst1q_f32(y + 3u * step, vcombine_f32(vget_high_f32(ab.val[1]), vget_high_f32(cd.val[1])));
}
EK_INLINE void ek_copy4(float *y, const float *x) { vst1q_f32(y, vld1q_f32(x)); }
EK_INLINE ekf ek_set(float x) { return vdupq_n_f32(x); }
EK_INLINE ekf ek_add(ekf a, ekf b) { return vaddq_f32(a, b); }
EK_INLINE ekf ek_sub(ekf a, ekf b) { return vsubq_f32(a, b); }
EK_INLINE ekf ek_mul(ekf a, ekf b) { return vmulq_f32(a, b); }
EK_INLINE ekf ek_fma(ekf a, ekf b, ekf c) { return vfmaq_f32(c, a, b); }
EK_INLINE ek4 ek_load4(const float *p) { return vld1q_f32(p); }
EK_INLINE float ek_fma_one(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
EK_INLINE void ek_add4(float *y, const float *w, float v) {
    vst1q_f32(y, vfmaq_f32(vld1q_f32(y), vld1q_f32(w), vdupq_n_f32(v)));
}
EK_INLINE ekf ek_min(ekf a, ekf b) { return vminq_f32(a, b); }
EK_INLINE ekf ek_max(ekf a, ekf b) { return vmaxq_f32(a, b); }
EK_INLINE ekf ek_neg(ekf a) { return vnegq_f32(a); }
EK_INLINE ekf ek_abs(ekf a) { return vabsq_f32(a); }
EK_INLINE ekf ek_ldexp(ekf a, ekf n) {
    return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(a), vshlq_n_s32(vcvtq_s32_f32(n), 23)));
}
EK_INLINE ekf ek_exponent(ekf a) {
    return vcvtq_f32_s32(vsubq_s32(vshrq_n_s32(vreinterpretq_s32_f32(a), 23), vdupq_n_s32(127)));
}
EK_INLINE ekf ek_mantissa(ekf a) {
    const uint32x4_t fraction = vandq_u32(vreinterpretq_u32_f32(a), vdupq_n_u32(0x7fffffu));
    return vreinterpretq_f32_u32(vorrq_u32(fraction, vdupq_n_u32(0x3f800000u)));
}

EK_INLINE ekm ek_gt(ekf a, ekf b) { return vcgtq_f32(a, b); }
EK_INLINE ekm ek_ge(ekf a, ekf b) { return vcgeq_f32(a, b); }
EK_INLINE ekm ek_lt(ekf a, ekf b) { return vcltq_f32(a, b); }
EK_INLINE ekm ek_le(ekf a, ekf b) { return vcleq_f32(a, b); }
EK_INLINE ekm ek_eq(ekf a, ekf b) { return vceqq_f32(a, b); }
EK_INLINE ekm ek_ne(ekf a, ekf b) { return vmvnq_u32(vceqq_f32(a, b)); }
EK_INLINE ekm ek_and(ekm a, ekm b) { return vandq_u32(a, b); }
EK_INLINE ekm ek_or(ekm a, ekm b) { return vorrq_u32(a, b); }
EK_INLINE ekm ek_not(ekm a) { return vmvnq_u32(a); }
EK_INLINE ekf ek_select(ekm m, ekf a, ekf b) { return vbslq_f32(m, a, b); }
EK_INLINE ekf ek_keep(ekm m, ekf a) { return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(a), m)); }
EK_INLINE ekf ek_drop(ekm m, ekf a) { return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(a), m)); }

EK_INLINE uint32x4_t ek_place(uint32_t k) {
    const uint32x4_t one = {1u, 2u, 4u, 8u};
    return vshlq_u32(one, vdupq_n_s32((int32_t)k));
}
EK_INLINE ekb ek_bits_none(void) { return vdupq_n_u32(0u); }
EK_INLINE ekb ek_bits_put(ekb b, ekm m, uint32_t k) { return vorrq_u32(b, vandq_u32(m, ek_place(k))); }
EK_INLINE ekm ek_bits_get(uint32_t word, uint32_t k) { return vtstq_u32(vdupq_n_u32(word), ek_place(k)); }

EK_INLINE eki ek_i16_zero(void) { return vdupq_n_s16(0); }
EK_INLINE eki ek_i16_add_i8(eki a, const int8_t *p) { return vaddw_s8(a, vld1_s8(p)); }
EK_INLINE ekf ek_i16_float(eki a, int k) {
    return vcvtq_f32_s32(k == 0 ? vmovl_s16(vget_low_s16(a)) : vmovl_s16(vget_high_s16(a)));
}
