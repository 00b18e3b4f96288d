/* Verbs for AArch64 Advanced SIMD. */
#include "neon_common.h"

#define EK_ISA "neon"
#define EK_SUMS 16
#define EK_TILE 4

EK_INLINE ekf ek_div(ekf a, ekf b) { return vdivq_f32(a, b); }
EK_INLINE ekf ek_limit(ekf a, ekf lo, ekf hi) { return vminnmq_f32(vmaxnmq_f32(a, lo), hi); }
EK_INLINE float ek_sum(ekf a) { return vaddvq_f32(a); }
EK_INLINE ekf ek_round(ekf a) { return vrndnq_f32(a); }
EK_INLINE ekf ek_sqrt(ekf a) { return vsqrtq_f32(a); }
EK_INLINE int ek_all(ekm m) { return vminvq_u32(m) != 0u; }
EK_INLINE uint32_t ek_bits_word(ekb b) { return vaddvq_u32(b); }
#define EK_FMA_LANE(a, four, lane, c) vfmaq_laneq_f32(c, a, four, lane)

/* 32 lane masks become 32 bytes, one bit of each byte is kept, and three rounds of pairwise sums make the word. */
EK_INLINE uint16x8_t ek_zero8(const float *p) {
    return vuzp1q_u16(vreinterpretq_u16_u32(vceqzq_f32(vld1q_f32(p))),
                      vreinterpretq_u16_u32(vceqzq_f32(vld1q_f32(p + 4))));
}
EK_INLINE uint8x16_t ek_zero16(const float *p) {
    const uint8x16_t place = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    return vandq_u8(vuzp1q_u8(vreinterpretq_u8_u16(ek_zero8(p)), vreinterpretq_u8_u16(ek_zero8(p + 8))), place);
}
EK_INLINE uint32_t ek_nonzero(const float *p) {
    uint8x16_t sum = vpaddq_u8(ek_zero16(p), ek_zero16(p + 16));
    sum = vpaddq_u8(sum, sum);
    return ~vgetq_lane_u32(vreinterpretq_u32_u8(vpaddq_u8(sum, sum)), 0);
}

/* Each byte goes to the top of a 32-bit lane by table look-up; the conversion divides by 2^24: two instructions. */
EK_INLINE ekf ek_load_i8(const int8_t *p, int k) {
    const uint8_t b = (uint8_t)(4 * k), o = 255;
    const uint8x16_t top = {o, o, o, b, o, o, o, (uint8_t)(b + 1), o, o, o, (uint8_t)(b + 2), o, o, o, (uint8_t)(b + 3)};
    return vcvtq_n_f32_s32(vreinterpretq_s32_s8(vqtbl1q_s8(vld1q_s8(p), top)), 24);
}
