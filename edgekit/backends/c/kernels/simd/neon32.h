/* Verbs for 32-bit Arm with NEON and VFPv4 (Cortex-A7). Its vectors round to nearest and flush denormals to zero,
 * whatever the control register says. It divides and takes roots one float at a time, denormals and all.
 */
#include "neon_common.h"

#define EK_ISA "neon32"
#define EK_SUMS 8
#define EK_TILE 2

EK_INLINE float ek_sqrt_one(float x) {
    float root;
    __asm__("vsqrt.f32 %0, %1" : "=t"(root) : "t"(x)); /* a builtin may become a call of libm */
    return root;
}
#define EK_BY_ONE(F) \
    float32x4_t r = vdupq_n_f32(0.0f); \
    r = vsetq_lane_f32(F(0), r, 0); \
    r = vsetq_lane_f32(F(1), r, 1); \
    r = vsetq_lane_f32(F(2), r, 2); \
    r = vsetq_lane_f32(F(3), r, 3); \
    return r;
#define EK_DIVIDED(i) (vgetq_lane_f32(a, i) / vgetq_lane_f32(b, i))
#define EK_ROOT(i) ek_sqrt_one(vgetq_lane_f32(a, i))
EK_INLINE ekf ek_div(ekf a, ekf b) { EK_BY_ONE(EK_DIVIDED) }
EK_INLINE ekf ek_sqrt(ekf a) { EK_BY_ONE(EK_ROOT) }

EK_INLINE ekf ek_limit(ekf a, ekf lo, ekf hi) { return vminq_f32(vbslq_f32(vcgtq_f32(a, lo), a, lo), hi); }
EK_INLINE float ek_sum(ekf a) {
    const float32x2_t two = vadd_f32(vget_low_f32(a), vget_high_f32(a));
    return vget_lane_f32(vpadd_f32(two, two), 0);
}
EK_INLINE ekf ek_round(ekf a) { /* to nearest, ties to even, sign of zero kept; from 2^23 on all floats are whole */
    const float32x4_t whole = vdupq_n_f32(8388608.0f), size = vabsq_f32(a);
    const float32x4_t rounded = vbslq_f32(vdupq_n_u32(0x80000000u), a, vsubq_f32(vaddq_f32(size, whole), whole));
    return vbslq_f32(vcltq_f32(size, whole), rounded, a);
}
EK_INLINE int ek_all(ekm m) {
    const uint32x2_t two = vand_u32(vget_low_u32(m), vget_high_u32(m));
    return (vget_lane_u32(two, 0) & vget_lane_u32(two, 1)) != 0u;
}
EK_INLINE uint32_t ek_bits_word(ekb b) {
    const uint32x2_t two = vorr_u32(vget_low_u32(b), vget_high_u32(b));
    return vget_lane_u32(two, 0) | vget_lane_u32(two, 1);
}
#define EK_HALF(four, lane) ((lane) < 2 ? vget_low_f32(four) : vget_high_f32(four))
#define EK_FMA_LANE(a, four, lane, c) vfmaq_f32(c, a, vdupq_lane_f32(EK_HALF(four, lane), (lane) % 2))

/* Shifted left, the bits of 0.0 and -0.0 alone are 0; 16 masks become 16 bytes, pairwise sums of places make 16 bits. */
EK_INLINE uint16x4_t ek_nonzero4(const float *p) {
    const uint32x4_t bits = vshlq_n_u32(vreinterpretq_u32_f32(vld1q_f32(p)), 1);
    return vmovn_u32(vtstq_u32(bits, bits));
}
EK_INLINE uint8x8_t ek_nonzero8(const float *p) {
    const uint8x8_t place = {1, 2, 4, 8, 16, 32, 64, 128};
    return vand_u8(vmovn_u16(vcombine_u16(ek_nonzero4(p), ek_nonzero4(p + 4))), place);
}
EK_INLINE uint32_t ek_nonzero(const float *p) {
    const uint8x8_t low = vpadd_u8(ek_nonzero8(p), ek_nonzero8(p + 8));
    const uint8x8_t sum = vpadd_u8(low, vpadd_u8(ek_nonzero8(p + 16), ek_nonzero8(p + 24)));
    return vget_lane_u32(vreinterpret_u32_u8(vpadd_u8(sum, sum)), 0);
}

EK_INLINE ekf ek_load_i8(const int8_t *p, int k) {
    const int16x8_t wide = vmovl_s8(vld1_s8(p + 8 * (k / 2)));
    return ek_i16_float(wide, k % 2);
}
