/* Verbs of kernels/int_wide.h for Advanced SIMD, of Armv8 and Armv7.
 *
 * What bounds them, read off the loops that clang makes: of 53 instructions for 512 products of int8 on a Cortex-A76,
 * 32 are dot products and 16 load two registers of weights; the same loop for x of int16 has 64 dot products. Without
 * dot products (Cortex-A53, A72), 96 of 123 multiply and add neighbours. Of 92 for 256 products with int16 weights, 64
 * multiply; of 24 for the 128 sums of an event, 16 add. A value by table takes six, three to fetch its neighbours.
 */
#include <arm_neon.h>

#define EK_WIDE_ISA "neon"

typedef int8x8_t ek_v8;
typedef int16x8_t ek_v16;
typedef struct { int32x4_t a, b; } ek_v32;
typedef uint16x8_t ek_vm;
typedef struct { uint16x8_t m0, m1, m2, m3; } ek_bits;

#if defined(__aarch64__)
EK_INLINE int32x4_t ek_neighbours(int32x4_t a, int32x4_t b) { return vpaddq_s32(a, b); }
EK_INLINE int16x8_t ek_mul_high(int8x16_t a, int8x16_t b) { return vmull_high_s8(a, b); }
EK_INLINE int16x8_t ek_mla_high(int16x8_t s, int8x16_t a, int8x16_t b) { return vmlal_high_s8(s, a, b); }
EK_INLINE int32x4_t ek_mla16_high(int32x4_t s, int16x8_t a, int16x8_t b) { return vmlal_high_s16(s, a, b); }
EK_INLINE int16x8_t ek_widen_high(int8x16_t a) { return vmovl_high_s8(a); }
EK_INLINE int32x4_t ek_widen16_high(int16x8_t a) { return vmovl_high_s16(a); }
EK_INLINE int16x8_t ek_addw_high(int16x8_t s, int8x16_t a) { return vaddw_high_s8(s, a); }
EK_INLINE int32x4_t ek_addw16_high(int32x4_t s, int16x8_t a) { return vaddw_high_s16(s, a); }
EK_INLINE int32x4_t ek_mul16_high(int16x8_t a, int16x8_t b) { return vmull_high_s16(a, b); }
EK_INLINE int64x2_t ek_mul32_high(int32x4_t a, int32x4_t b) { return vmull_high_s32(a, b); }
EK_INLINE int16x8_t ek_narrow16(int32x4_t a, int32x4_t b) { return vqmovn_high_s32(vqmovn_s32(a), b); }
EK_INLINE uint32_t ek_bytes_word(uint8x16_t low, uint8x16_t high) {
    uint8x16_t sum = vpaddq_u8(low, high);
    sum = vpaddq_u8(sum, sum);
    return vgetq_lane_u32(vreinterpretq_u32_u8(vpaddq_u8(sum, sum)), 0);
}
EK_INLINE uint8x16_t ek_bytes(uint16x8_t a, uint16x8_t b) {
    return vuzp1q_u8(vreinterpretq_u8_u16(a), vreinterpretq_u8_u16(b));
}
EK_INLINE uint16x8_t ek_halves(int32x4_t a, int32x4_t b) { /* the lower halves */
    return vuzp1q_u16(vreinterpretq_u16_s32(a), vreinterpretq_u16_s32(b));
}
#else
EK_INLINE int32x4_t ek_neighbours(int32x4_t a, int32x4_t b) {
    return vcombine_s32(vpadd_s32(vget_low_s32(a), vget_high_s32(a)), vpadd_s32(vget_low_s32(b), vget_high_s32(b)));
}
EK_INLINE int16x8_t ek_mul_high(int8x16_t a, int8x16_t b) { return vmull_s8(vget_high_s8(a), vget_high_s8(b)); }
EK_INLINE int16x8_t ek_mla_high(int16x8_t s, int8x16_t a, int8x16_t b) {
    return vmlal_s8(s, vget_high_s8(a), vget_high_s8(b));
}
EK_INLINE int32x4_t ek_mla16_high(int32x4_t s, int16x8_t a, int16x8_t b) {
    return vmlal_s16(s, vget_high_s16(a), vget_high_s16(b));
}
EK_INLINE int16x8_t ek_widen_high(int8x16_t a) { return vmovl_s8(vget_high_s8(a)); }
EK_INLINE int32x4_t ek_widen16_high(int16x8_t a) { return vmovl_s16(vget_high_s16(a)); }
EK_INLINE int16x8_t ek_addw_high(int16x8_t s, int8x16_t a) { return vaddw_s8(s, vget_high_s8(a)); }
EK_INLINE int32x4_t ek_addw16_high(int32x4_t s, int16x8_t a) { return vaddw_s16(s, vget_high_s16(a)); }
EK_INLINE int32x4_t ek_mul16_high(int16x8_t a, int16x8_t b) { return vmull_s16(vget_high_s16(a), vget_high_s16(b)); }
EK_INLINE int64x2_t ek_mul32_high(int32x4_t a, int32x4_t b) { return vmull_s32(vget_high_s32(a), vget_high_s32(b)); }
EK_INLINE int16x8_t ek_narrow16(int32x4_t a, int32x4_t b) { return vcombine_s16(vqmovn_s32(a), vqmovn_s32(b)); }
EK_INLINE uint32_t ek_bytes_word(uint8x16_t low, uint8x16_t high) {
    const uint8x8_t a = vpadd_u8(vget_low_u8(low), vget_high_u8(low));
    uint8x8_t sum = vpadd_u8(a, vpadd_u8(vget_low_u8(high), vget_high_u8(high)));
    sum = vpadd_u8(sum, sum);
    return vget_lane_u32(vreinterpret_u32_u8(sum), 0);
}
EK_INLINE uint8x16_t ek_bytes(uint16x8_t a, uint16x8_t b) { return vcombine_u8(vmovn_u16(a), vmovn_u16(b)); }
EK_INLINE uint16x8_t ek_halves(int32x4_t a, int32x4_t b) {
    return vcombine_u16(vmovn_u32(vreinterpretq_u32_s32(a)), vmovn_u32(vreinterpretq_u32_s32(b)));
}
#endif

/* --- lanes -------------------------------------------------------------------------------------------------------- */

EK_INLINE ek_v8 ek_v8_load(const ek_i8 *p) { return vld1_s8((const int8_t *)p); }
EK_INLINE ek_v16 ek_v16_load(const ek_i16 *p) { return vld1q_s16((const int16_t *)p); }
EK_INLINE ek_v32 ek_v32_load(const ek_i32 *p) {
    const ek_v32 v = {vld1q_s32((const int32_t *)p), vld1q_s32((const int32_t *)p + 4)};
    return v;
}
EK_INLINE void ek_v8_store(ek_i8 *p, ek_v8 a) { vst1_s8((int8_t *)p, a); }
EK_INLINE void ek_v16_store(ek_i16 *p, ek_v16 a) { vst1q_s16((int16_t *)p, a); }
EK_INLINE void ek_v32_store(ek_i32 *p, ek_v32 a) {
    vst1q_s32((int32_t *)p, a.a);
    vst1q_s32((int32_t *)p + 4, a.b);
}
EK_INLINE ek_v8 ek_v8_set(int8_t x) { return vdup_n_s8(x); }
EK_INLINE ek_v16 ek_v16_set(int16_t x) { return vdupq_n_s16(x); }
EK_INLINE ek_v32 ek_v32_set(int32_t x) {
    const ek_v32 v = {vdupq_n_s32(x), vdupq_n_s32(x)};
    return v;
}
#define EK_V32_BINARY(name, f) \
    EK_INLINE ek_v32 ek_v32_##name(ek_v32 x, ek_v32 y) { \
        const ek_v32 v = {f(x.a, y.a), f(x.b, y.b)}; \
        return v; \
    }
#define EK_V_BINARY(name, f) \
    EK_INLINE ek_v8 ek_v8_##name(ek_v8 x, ek_v8 y) { return f##_s8(x, y); } \
    EK_INLINE ek_v16 ek_v16_##name(ek_v16 x, ek_v16 y) { return f##q_s16(x, y); } \
    EK_V32_BINARY(name, f##q_s32)
EK_V_BINARY(add, vadd)
EK_V_BINARY(sub, vsub)
EK_V_BINARY(adds, vqadd)
EK_V_BINARY(subs, vqsub)
EK_V_BINARY(minimum, vmin)
EK_V_BINARY(maximum, vmax)
#define EK_V_UNARY(name, f) \
    EK_INLINE ek_v8 ek_v8_##name(ek_v8 x) { return f##_s8(x); } \
    EK_INLINE ek_v16 ek_v16_##name(ek_v16 x) { return f##q_s16(x); } \
    EK_INLINE ek_v32 ek_v32_##name(ek_v32 x) { \
        const ek_v32 v = {f##q_s32(x.a), f##q_s32(x.b)}; \
        return v; \
    }
EK_V_UNARY(neg, vneg)
EK_V_UNARY(abs, vabs)
EK_INLINE ek_v8 ek_v8_relu(ek_v8 x) { return vmax_s8(x, vdup_n_s8(0)); }
EK_INLINE ek_v16 ek_v16_relu(ek_v16 x) { return vmaxq_s16(x, vdupq_n_s16(0)); }
EK_INLINE ek_v32 ek_v32_relu(ek_v32 x) { return ek_v32_maximum(x, ek_v32_set(0)); }

#define EK_V_COMPARE(name, f) \
    EK_INLINE ek_vm ek_v8_##name(ek_v8 x, ek_v8 y) { \
        return vreinterpretq_u16_s16(vmovl_s8(vreinterpret_s8_u8(f##_s8(x, y)))); \
    } \
    EK_INLINE ek_vm ek_v16_##name(ek_v16 x, ek_v16 y) { return f##q_s16(x, y); } \
    EK_INLINE ek_vm ek_v32_##name(ek_v32 x, ek_v32 y) { \
        return ek_halves(vreinterpretq_s32_u32(f##q_s32(x.a, y.a)), vreinterpretq_s32_u32(f##q_s32(x.b, y.b))); \
    }
EK_V_COMPARE(gt, vcgt)
EK_V_COMPARE(ge, vcge)
EK_V_COMPARE(lt, vclt)
EK_V_COMPARE(le, vcle)
EK_V_COMPARE(eq, vceq)
EK_INLINE ek_vm ek_vm_not(ek_vm m) { return vmvnq_u16(m); }
EK_INLINE ek_vm ek_vm_and(ek_vm a, ek_vm b) { return vandq_u16(a, b); }
EK_INLINE ek_vm ek_vm_or(ek_vm a, ek_vm b) { return vorrq_u16(a, b); }
EK_INLINE uint8x8_t ek_mask8(ek_vm m) { return vmovn_u16(m); }
EK_INLINE uint32x4_t ek_mask32(uint16x4_t m) { return vreinterpretq_u32_s32(vmovl_s16(vreinterpret_s16_u16(m))); }
EK_INLINE ek_v8 ek_v8_where(ek_vm m, ek_v8 a, ek_v8 b) { return vbsl_s8(ek_mask8(m), a, b); }
EK_INLINE ek_v16 ek_v16_where(ek_vm m, ek_v16 a, ek_v16 b) { return vbslq_s16(m, a, b); }
EK_INLINE ek_v32 ek_v32_where(ek_vm m, ek_v32 a, ek_v32 b) {
    const uint32x4_t low = ek_mask32(vget_low_u16(m)), high = ek_mask32(vget_high_u16(m));
    const ek_v32 v = {vbslq_s32(low, a.a, b.a), vbslq_s32(high, a.b, b.b)};
    return v;
}

EK_INLINE ek_v16 ek_v16_of_8(ek_v8 x) { return vmovl_s8(x); }
EK_INLINE ek_v32 ek_v32_of_16(ek_v16 x) {
    const ek_v32 v = {vmovl_s16(vget_low_s16(x)), ek_widen16_high(x)};
    return v;
}
EK_INLINE ek_v8 ek_v8_of_16(ek_v16 x) { return vqmovn_s16(x); }
EK_INLINE ek_v16 ek_v16_of_32(ek_v32 x) { return ek_narrow16(x.a, x.b); }
EK_INLINE ek_v16 ek_v16_wrapped(ek_v32 x) { return vreinterpretq_s16_u16(ek_halves(x.a, x.b)); }
EK_INLINE ek_v16 ek_v16_of_spikes(ek_vm m) { return vreinterpretq_s16_u16(vshrq_n_u16(m, 15)); }

EK_INLINE ek_v16 ek_v16_scaled15(ek_v16 x, ek_v16 m) { return vqrdmulhq_s16(x, m); }
EK_INLINE ek_v32 ek_v32_product(ek_v16 x, ek_v16 m) {
    const ek_v32 v = {vmull_s16(vget_low_s16(x), vget_low_s16(m)), ek_mul16_high(x, m)};
    return v;
}
EK_INLINE ek_v32 ek_v32_rounded(ek_v32 x, uint32_t shift) {
    const ek_v32 v = {vrshlq_s32(x.a, vdupq_n_s32(-(int32_t)shift)), vrshlq_s32(x.b, vdupq_n_s32(-(int32_t)shift))};
    return v;
}
EK_INLINE ek_v32 ek_v32_scaled31(ek_v32 x, ek_v32 m) {
    const ek_v32 v = {vqrdmulhq_s32(x.a, m.a), vqrdmulhq_s32(x.b, m.b)};
    return v;
}
EK_INLINE int32x4_t ek_scaled4(int32x4_t x, int32x4_t m, int64x2_t left) {
    return vcombine_s32(vqmovn_s64(vrshlq_s64(vmull_s32(vget_low_s32(x), vget_low_s32(m)), left)),
                        vqmovn_s64(vrshlq_s64(ek_mul32_high(x, m), left)));
}
EK_INLINE ek_v32 ek_v32_scaled(ek_v32 x, ek_v32 m, uint32_t shift, int clip) {
    const int64x2_t left = vdupq_n_s64(-(int64_t)shift);
    const ek_v32 v = {ek_scaled4(x.a, m.a, left), ek_scaled4(x.b, m.b, left)};
    (void)clip; /* narrowing saturates anyway */
    return v;
}

/* Element i of a group of 32 is bit i: eight masks of 16 bits at a time. */
EK_INLINE ek_vm ek_vm_of(uint32_t word, uint32_t k) {
    const uint16x8_t place = {1, 2, 4, 8, 16, 32, 64, 128};
    return vtstq_u16(vdupq_n_u16((uint16_t)(word >> 8u * k)), place);
}
EK_INLINE ek_bits ek_bits_none(void) {
    const ek_bits b = {vdupq_n_u16(0), vdupq_n_u16(0), vdupq_n_u16(0), vdupq_n_u16(0)};
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
    const uint8x16_t place = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    return ek_bytes_word(vandq_u8(ek_bytes(b.m0, b.m1), place), vandq_u8(ek_bytes(b.m2, b.m3), place));
}

/* Two neighbours of a table at a time, for four of the positions. */
#define EK_NEIGHBOURS_AT(v, k, at, lane) v = vsetq_lane_s32(ek_word_at(table + vgetq_lane_u16(at, lane)), v, k)
EK_INLINE int32_t ek_word_at(const ek_i16 *p) { /* without alignment */
    int32_t v;
    __builtin_memcpy(&v, (const void *)p, 4);
    return v;
}
EK_INLINE int16x4_t ek_risen(int16x4_t from, int16x4_t to, int16x4_t rest, int32x4_t left) {
    return vmovn_s32(vrshlq_s32(vmlsl_s16(vmull_s16(to, rest), from, rest), left));
}
EK_INLINE ek_v16 ek_v16_between(const ek_i16 *table, ek_v16 x, uint32_t fraction) {
    const uint16x8_t position = veorq_u16(vreinterpretq_u16_s16(x), vdupq_n_u16(0x8000u));
    const uint16x8_t at = vshlq_u16(position, vdupq_n_s16((int16_t)-(int32_t)fraction));
    const uint16x8_t mask = vdupq_n_u16((uint16_t)((1u << fraction) - 1u));
    const int16x8_t rest = vreinterpretq_s16_u16(vandq_u16(position, mask));
    const int32x4_t left = vdupq_n_s32(-(int32_t)fraction);
    int32x4_t low = vdupq_n_s32(0), high = low;
    int16x8x2_t ends;
    EK_NEIGHBOURS_AT(low, 0, at, 0);
    EK_NEIGHBOURS_AT(low, 1, at, 1);
    EK_NEIGHBOURS_AT(low, 2, at, 2);
    EK_NEIGHBOURS_AT(low, 3, at, 3);
    EK_NEIGHBOURS_AT(high, 0, at, 4);
    EK_NEIGHBOURS_AT(high, 1, at, 5);
    EK_NEIGHBOURS_AT(high, 2, at, 6);
    EK_NEIGHBOURS_AT(high, 3, at, 7);
    ends = vuzpq_s16(vreinterpretq_s16_s32(low), vreinterpretq_s16_s32(high));
    return vaddq_s16(ends.val[0], vcombine_s16(ek_risen(vget_low_s16(ends.val[0]), vget_low_s16(ends.val[1]),
                                                        vget_low_s16(rest), left),
                                               ek_risen(vget_high_s16(ends.val[0]), vget_high_s16(ends.val[1]),
                                                        vget_high_s16(rest), left)));
}

/* partial sums of one output */
typedef int32x4_t ek_span;
EK_INLINE ek_v32 ek_spans_eight(ek_span s0, ek_span s1, ek_span s2, ek_span s3, ek_span s4, ek_span s5, ek_span s6,
                                ek_span s7) {
    const ek_v32 v = {ek_neighbours(ek_neighbours(s0, s1), ek_neighbours(s2, s3)),
                      ek_neighbours(ek_neighbours(s4, s5), ek_neighbours(s6, s7))};
    return v;
}

/* --- dense: units of eight outputs, groups of four bytes of each -------------------------------------------------- */

/* Who knows that both halves of x are equal takes the upper half of the weights apart instead, which costs more. */
#if defined(__aarch64__)
#define EK_OPAQUE(v) __asm__("" : "+w"(v))
#else
#define EK_OPAQUE(v) (void)0
#endif

EK_INLINE int32x4_t ek_four_of(const void *p) { /* without alignment */
    int32x4_t four;
    int32_t v;
    __builtin_memcpy(&v, p, 4);
    four = vdupq_n_s32(v);
    EK_OPAQUE(four);
    return four;
}
EK_INLINE int8x16_t ek_four_bytes(const ek_i8 *p) { return vreinterpretq_s8_s32(ek_four_of(p)); }
EK_INLINE int16x8_t ek_two_halves(const ek_i16 *p) { return vreinterpretq_s16_s32(ek_four_of(p)); }

/* int16 x int16: neighbouring inputs are summed at the end */
typedef struct { int32x4_t a, b, c, d; } ek_hh_sum;
typedef struct { int16x8_t v0, v1, v2, v3; } ek_hh_x;
EK_INLINE ek_hh_sum ek_hh_zero(void) {
    const int32x4_t zero = vdupq_n_s32(0);
    const ek_hh_sum s = {zero, zero, zero, zero};
    return s;
}
EK_INLINE ek_hh_x ek_hh_load(const ek_i16 *p) {
    const ek_hh_x x = {ek_two_halves(p), ek_two_halves(p + 2), ek_two_halves(p + 4), ek_two_halves(p + 6)};
    return x;
}
EK_INLINE ek_hh_x ek_hh_tail(const ek_i16 *p) {
    const ek_hh_x x = {ek_two_halves(p), vdupq_n_s16(0), vdupq_n_s16(0), vdupq_n_s16(0)};
    return x;
}
EK_INLINE ek_hh_sum ek_hh_group(ek_hh_sum s, const int16_t *w, int16x8_t x) {
    const int16x8_t low = vld1q_s16(w), high = vld1q_s16(w + 8);
    s.a = vmlal_s16(s.a, vget_low_s16(low), vget_low_s16(x));
    s.b = ek_mla16_high(s.b, low, x);
    s.c = vmlal_s16(s.c, vget_low_s16(high), vget_low_s16(x));
    s.d = ek_mla16_high(s.d, high, x);
    return s;
}
EK_INLINE ek_hh_sum ek_hh_two_01(ek_hh_sum s, const int16_t *v, const int16_t *w, ek_hh_x x, int mild) {
    (void)mild;
    return ek_hh_group(ek_hh_group(s, v, x.v0), w, x.v1);
}
EK_INLINE ek_hh_sum ek_hh_two_23(ek_hh_sum s, const int16_t *v, const int16_t *w, ek_hh_x x, int mild) {
    (void)mild;
    return ek_hh_group(ek_hh_group(s, v, x.v2), w, x.v3);
}
EK_INLINE ek_hh_sum ek_hh_one_0(ek_hh_sum s, const int16_t *w, ek_hh_x x) { return ek_hh_group(s, w, x.v0); }
EK_INLINE ek_hh_sum ek_hh_one_2(ek_hh_sum s, const int16_t *w, ek_hh_x x) { return ek_hh_group(s, w, x.v2); }
EK_INLINE ek_v32 ek_hh_result(ek_hh_sum s, const ek_i32 *lift) {
    const ek_v32 v = {ek_neighbours(s.a, s.b), ek_neighbours(s.c, s.d)};
    (void)lift;
    return v;
}

#if defined(__ARM_FEATURE_DOTPROD) && defined(__aarch64__)
/* int8 x int8: four inputs are one dot product */
typedef struct { int32x4_t a, b; } ek_bb_sum;
typedef int8x16_t ek_bb_x;
EK_INLINE ek_bb_sum ek_bb_zero(void) {
    const ek_bb_sum s = {vdupq_n_s32(0), vdupq_n_s32(0)};
    return s;
}
EK_INLINE ek_bb_x ek_bb_load(const ek_i8 *p) { return vld1q_s8((const int8_t *)p); }
EK_INLINE ek_bb_x ek_bb_tail(const ek_i8 *p) { return ek_four_bytes(p); }
#define EK_DOT_GROUP(s, w, x, g) \
    s.a = vdotq_laneq_s32(s.a, vld1q_s8(w), x, g); \
    s.b = vdotq_laneq_s32(s.b, vld1q_s8(w + 16), x, g);
EK_INLINE ek_bb_sum ek_bb_two_01(ek_bb_sum s, const int8_t *v, const int8_t *w, ek_bb_x x, int mild) {
    (void)mild;
    EK_DOT_GROUP(s, v, x, 0)
    EK_DOT_GROUP(s, w, x, 1)
    return s;
}
EK_INLINE ek_bb_sum ek_bb_two_23(ek_bb_sum s, const int8_t *v, const int8_t *w, ek_bb_x x, int mild) {
    (void)mild;
    EK_DOT_GROUP(s, v, x, 2)
    EK_DOT_GROUP(s, w, x, 3)
    return s;
}
EK_INLINE ek_bb_sum ek_bb_one_0(ek_bb_sum s, const int8_t *w, ek_bb_x x) {
    EK_DOT_GROUP(s, w, x, 0)
    return s;
}
EK_INLINE ek_bb_sum ek_bb_one_2(ek_bb_sum s, const int8_t *w, ek_bb_x x) {
    EK_DOT_GROUP(s, w, x, 2)
    return s;
}
EK_INLINE ek_v32 ek_bb_result(ek_bb_sum s, const ek_i32 *lift) {
    const ek_v32 v = {s.a, s.b};
    (void)lift;
    return v;
}

/* int16 x int8: x = 256 high + low + 128 with high and low int8; `lift` is what the 128 add */
typedef struct { ek_bb_sum high, low; } ek_hb_sum;
typedef struct { int8x16_t high, low; } ek_hb_x;
EK_INLINE ek_hb_sum ek_hb_zero(void) {
    const ek_hb_sum s = {ek_bb_zero(), ek_bb_zero()};
    return s;
}
EK_INLINE ek_hb_x ek_split(int8x16_t a, int8x16_t b) {
    const ek_hb_x x = {vuzp2q_s8(a, b), veorq_s8(vuzp1q_s8(a, b), vdupq_n_s8(-128))};
    return x;
}
EK_INLINE ek_hb_x ek_hb_load(const ek_i16 *p) {
    return ek_split(vld1q_s8((const int8_t *)p), vld1q_s8((const int8_t *)p + 16));
}
EK_INLINE ek_hb_x ek_hb_tail(const ek_i16 *p) {
    const int8x16_t four = vcombine_s8(vld1_s8((const int8_t *)p), vdup_n_s8(0));
    return ek_split(four, four);
}
#define EK_SPLIT_GROUP(s, w, x, g) \
    { \
        const int8x16_t first = vld1q_s8(w), second = vld1q_s8(w + 16); \
        s.high.a = vdotq_laneq_s32(s.high.a, first, x.high, g); \
        s.high.b = vdotq_laneq_s32(s.high.b, second, x.high, g); \
        s.low.a = vdotq_laneq_s32(s.low.a, first, x.low, g); \
        s.low.b = vdotq_laneq_s32(s.low.b, second, x.low, g); \
    }
EK_INLINE ek_hb_sum ek_hb_two_01(ek_hb_sum s, const int8_t *v, const int8_t *w, ek_hb_x x, int mild) {
    (void)mild;
    EK_SPLIT_GROUP(s, v, x, 0)
    EK_SPLIT_GROUP(s, w, x, 1)
    return s;
}
EK_INLINE ek_hb_sum ek_hb_two_23(ek_hb_sum s, const int8_t *v, const int8_t *w, ek_hb_x x, int mild) {
    (void)mild;
    EK_SPLIT_GROUP(s, v, x, 2)
    EK_SPLIT_GROUP(s, w, x, 3)
    return s;
}
EK_INLINE ek_hb_sum ek_hb_one_0(ek_hb_sum s, const int8_t *w, ek_hb_x x) {
    EK_SPLIT_GROUP(s, w, x, 0)
    return s;
}
EK_INLINE ek_hb_sum ek_hb_one_2(ek_hb_sum s, const int8_t *w, ek_hb_x x) {
    EK_SPLIT_GROUP(s, w, x, 2)
    return s;
}
EK_INLINE ek_v32 ek_hb_result(ek_hb_sum s, const ek_i32 *lift) {
    ek_v32 v = ek_v32_load(lift);
    v.a = vaddq_s32(vaddq_s32(vshlq_n_s32(s.high.a, 8), s.low.a), v.a);
    v.b = vaddq_s32(vaddq_s32(vshlq_n_s32(s.high.b, 8), s.low.b), v.b);
    return v;
}
#define EK_BB_UNITS 4u
#define EK_HB_UNITS 4u
#define EK_HH_UNITS 4u
enum { ek_bb_moved = 0, ek_hb_moved = 1, ek_hh_moved = 0 };
#else
enum { ek_bb_moved = 0, ek_hb_moved = 0, ek_hh_moved = 0 };

/* int8 x int8: `mild` weights, none of them -128, leave room for two products in int16 */
typedef struct { int32x4_t a, b, c, d; } ek_bb_sum;
typedef struct { int8x16_t v0, v1, v2, v3; } ek_bb_x;
EK_INLINE ek_bb_sum ek_bb_zero(void) {
    const int32x4_t zero = vdupq_n_s32(0);
    const ek_bb_sum s = {zero, zero, zero, zero};
    return s;
}
EK_INLINE ek_bb_x ek_bb_load(const ek_i8 *p) {
    const ek_bb_x x = {ek_four_bytes(p), ek_four_bytes(p + 4), ek_four_bytes(p + 8), ek_four_bytes(p + 12)};
    return x;
}
EK_INLINE ek_bb_x ek_bb_tail(const ek_i8 *p) {
    const ek_bb_x x = {ek_four_bytes(p), vdupq_n_s8(0), vdupq_n_s8(0), vdupq_n_s8(0)};
    return x;
}
EK_INLINE ek_bb_sum ek_bb_group(ek_bb_sum s, const int8_t *w, int8x16_t x) {
    const int8x16_t low = vld1q_s8(w), high = vld1q_s8(w + 16);
    s.a = vpadalq_s16(s.a, vmull_s8(vget_low_s8(low), vget_low_s8(x)));
    s.b = vpadalq_s16(s.b, ek_mul_high(low, x));
    s.c = vpadalq_s16(s.c, vmull_s8(vget_low_s8(high), vget_low_s8(x)));
    s.d = vpadalq_s16(s.d, ek_mul_high(high, x));
    return s;
}
#define EK_PRODUCTS(v, w) vmlal_s8(vmull_s8(vget_low_s8(v), vget_low_s8(x)), vget_low_s8(w), vget_low_s8(y))
EK_INLINE ek_bb_sum ek_bb_two(ek_bb_sum s, const int8_t *v, const int8_t *w, int8x16_t x, int8x16_t y, int mild) {
    const int8x16_t v0 = vld1q_s8(v), v1 = vld1q_s8(v + 16), w0 = vld1q_s8(w), w1 = vld1q_s8(w + 16);
    if (!mild) return ek_bb_group(ek_bb_group(s, v, x), w, y);
    s.a = vpadalq_s16(s.a, EK_PRODUCTS(v0, w0));
    s.b = vpadalq_s16(s.b, ek_mla_high(ek_mul_high(v0, x), w0, y));
    s.c = vpadalq_s16(s.c, EK_PRODUCTS(v1, w1));
    s.d = vpadalq_s16(s.d, ek_mla_high(ek_mul_high(v1, x), w1, y));
    return s;
}
EK_INLINE ek_bb_sum ek_bb_two_01(ek_bb_sum s, const int8_t *v, const int8_t *w, ek_bb_x x, int mild) {
    return ek_bb_two(s, v, w, x.v0, x.v1, mild);
}
EK_INLINE ek_bb_sum ek_bb_two_23(ek_bb_sum s, const int8_t *v, const int8_t *w, ek_bb_x x, int mild) {
    return ek_bb_two(s, v, w, x.v2, x.v3, mild);
}
EK_INLINE ek_bb_sum ek_bb_one_0(ek_bb_sum s, const int8_t *w, ek_bb_x x) { return ek_bb_group(s, w, x.v0); }
EK_INLINE ek_bb_sum ek_bb_one_2(ek_bb_sum s, const int8_t *w, ek_bb_x x) { return ek_bb_group(s, w, x.v2); }
EK_INLINE ek_v32 ek_bb_result(ek_bb_sum s, const ek_i32 *lift) {
    const ek_v32 v = {ek_neighbours(s.a, s.b), ek_neighbours(s.c, s.d)};
    (void)lift;
    return v;
}

/* int16 x int8: weights become int16; the four lanes of a sum are one output */
typedef struct { int32x4_t s0, s1, s2, s3, s4, s5, s6, s7; } ek_hb_sum;
typedef struct { int16x8_t v0, v1, v2, v3; } ek_hb_x;
EK_INLINE ek_hb_sum ek_hb_zero(void) {
    const int32x4_t zero = vdupq_n_s32(0);
    const ek_hb_sum s = {zero, zero, zero, zero, zero, zero, zero, zero};
    return s;
}
EK_INLINE int16x8_t ek_four_halves(const ek_i16 *p) {
    int64x2_t four = vdupq_n_s64(vget_lane_s64(vreinterpret_s64_s16(vld1_s16((const int16_t *)p)), 0));
    EK_OPAQUE(four);
    return vreinterpretq_s16_s64(four);
}
EK_INLINE ek_hb_x ek_hb_load(const ek_i16 *p) {
    const ek_hb_x x = {ek_four_halves(p), ek_four_halves(p + 4), ek_four_halves(p + 8), ek_four_halves(p + 12)};
    return x;
}
EK_INLINE ek_hb_x ek_hb_tail(const ek_i16 *p) {
    const ek_hb_x x = {ek_four_halves(p), vdupq_n_s16(0), vdupq_n_s16(0), vdupq_n_s16(0)};
    return x;
}
#define EK_WIDENED(k, l, wide) \
    s.s##k = vmlal_s16(s.s##k, vget_low_s16(wide), vget_low_s16(x)); \
    s.s##l = ek_mla16_high(s.s##l, wide, x);
EK_INLINE ek_hb_sum ek_hb_group(ek_hb_sum s, const int8_t *w, int16x8_t x) {
    const int8x16_t low = vld1q_s8(w), high = vld1q_s8(w + 16);
    const int16x8_t w0 = vmovl_s8(vget_low_s8(low)), w1 = ek_widen_high(low);
    const int16x8_t w2 = vmovl_s8(vget_low_s8(high)), w3 = ek_widen_high(high);
    EK_WIDENED(0, 1, w0)
    EK_WIDENED(2, 3, w1)
    EK_WIDENED(4, 5, w2)
    EK_WIDENED(6, 7, w3)
    return s;
}
EK_INLINE ek_hb_sum ek_hb_two_01(ek_hb_sum s, const int8_t *v, const int8_t *w, ek_hb_x x, int mild) {
    (void)mild;
    return ek_hb_group(ek_hb_group(s, v, x.v0), w, x.v1);
}
EK_INLINE ek_hb_sum ek_hb_two_23(ek_hb_sum s, const int8_t *v, const int8_t *w, ek_hb_x x, int mild) {
    (void)mild;
    return ek_hb_group(ek_hb_group(s, v, x.v2), w, x.v3);
}
EK_INLINE ek_hb_sum ek_hb_one_0(ek_hb_sum s, const int8_t *w, ek_hb_x x) { return ek_hb_group(s, w, x.v0); }
EK_INLINE ek_hb_sum ek_hb_one_2(ek_hb_sum s, const int8_t *w, ek_hb_x x) { return ek_hb_group(s, w, x.v2); }
EK_INLINE ek_v32 ek_hb_result(ek_hb_sum s, const ek_i32 *lift) {
    (void)lift;
    return ek_spans_eight(s.s0, s.s1, s.s2, s.s3, s.s4, s.s5, s.s6, s.s7);
}
#if defined(__aarch64__)
#define EK_BB_UNITS 4u
#define EK_HB_UNITS 2u
#define EK_HH_UNITS 4u
#else
#define EK_BB_UNITS 1u
#define EK_HB_UNITS 1u
#define EK_HH_UNITS 1u
#endif
#endif

/* int8 x int16: as int16 */
EK_INLINE ek_hh_x ek_bh_load(const ek_i8 *p) {
    const int32x4_t eight = vreinterpretq_s32_s16(vmovl_s8(vld1_s8((const int8_t *)p)));
    const int32x2_t low = vget_low_s32(eight), high = vget_high_s32(eight);
    int32x4_t v0 = vdupq_lane_s32(low, 0), v1 = vdupq_lane_s32(low, 1);
    int32x4_t v2 = vdupq_lane_s32(high, 0), v3 = vdupq_lane_s32(high, 1);
    EK_OPAQUE(v0);
    EK_OPAQUE(v1);
    EK_OPAQUE(v2);
    EK_OPAQUE(v3);
    const ek_hh_x x = {vreinterpretq_s16_s32(v0), vreinterpretq_s16_s32(v1), vreinterpretq_s16_s32(v2),
                       vreinterpretq_s16_s32(v3)};
    return x;
}
EK_INLINE ek_hh_x ek_bh_tail(const ek_i8 *p) {
    const int16x4_t pair = vset_lane_s16(p[1], vset_lane_s16(p[0], vdup_n_s16(0), 0), 1);
    const int16x8_t v = vreinterpretq_s16_s32(vdupq_lane_s32(vreinterpret_s32_s16(pair), 0));
    const ek_hh_x x = {v, vdupq_n_s16(0), vdupq_n_s16(0), vdupq_n_s16(0)};
    return x;
}

/* --- spans: sixteen inputs of one output -------------------------------------------------------------------------- */

EK_INLINE ek_span ek_span_zero(void) { return vdupq_n_s32(0); }
EK_INLINE ek_span ek_span_products(ek_span s, int16x8_t w, int16x8_t x) {
    return ek_mla16_high(vmlal_s16(s, vget_low_s16(w), vget_low_s16(x)), w, x);
}
EK_INLINE ek_span ek_bb_span(ek_span s, const int8_t *w, const ek_i8 *x, int mild) {
    const int8x16_t a = vld1q_s8(w), b = vld1q_s8((const int8_t *)x);
#if defined(__ARM_FEATURE_DOTPROD) && defined(__aarch64__)
    (void)mild;
    return vdotq_s32(s, a, b);
#else
    const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
    return mild ? vpadalq_s16(s, ek_mla_high(low, a, b)) : vpadalq_s16(vpadalq_s16(s, low), ek_mul_high(a, b));
#endif
}
EK_INLINE ek_span ek_hb_span(ek_span s, const int8_t *w, const ek_i16 *x, int mild) {
    const int8x16_t a = vld1q_s8(w);
    (void)mild;
    s = ek_span_products(s, vmovl_s8(vget_low_s8(a)), ek_v16_load(x));
    return ek_span_products(s, ek_widen_high(a), ek_v16_load(x + 8));
}
EK_INLINE ek_span ek_bh_span(ek_span s, const int16_t *w, const ek_i8 *x, int mild) {
    const int8x16_t b = vld1q_s8((const int8_t *)x);
    (void)mild;
    s = ek_span_products(s, vld1q_s16(w), vmovl_s8(vget_low_s8(b)));
    return ek_span_products(s, vld1q_s16(w + 8), ek_widen_high(b));
}
EK_INLINE ek_span ek_hh_span(ek_span s, const int16_t *w, const ek_i16 *x, int mild) {
    (void)mild;
    s = ek_span_products(s, vld1q_s16(w), ek_v16_load(x));
    return ek_span_products(s, vld1q_s16(w + 8), ek_v16_load(x + 8));
}

#if defined(__aarch64__)
#define EK_E16_UNITS 8u
#define EK_E32_UNITS 4u
#else
#define EK_E16_UNITS 4u
#define EK_E32_UNITS 2u
#endif

/* --- events: rows of sixteen outputs ------------------------------------------------------------------------------ */

typedef struct { int16x8_t a, b; } ek_e16;
typedef struct { int32x4_t a, b, c, d; } ek_e32;
EK_INLINE ek_e16 ek_e16_load(const ek_i16 *p) {
    const ek_e16 s = {ek_v16_load(p), ek_v16_load(p + 8)};
    return s;
}
EK_INLINE void ek_e16_store(ek_i16 *p, ek_e16 s) {
    ek_v16_store(p, s.a);
    ek_v16_store(p + 8, s.b);
}
EK_INLINE ek_e16 ek_e16_zero(void) {
    const ek_e16 s = {vdupq_n_s16(0), vdupq_n_s16(0)};
    return s;
}
EK_INLINE ek_e16 ek_e16_add8(ek_e16 s, const int8_t *w) {
    const int8x16_t row = vld1q_s8(w);
    s.a = vaddw_s8(s.a, vget_low_s8(row));
    s.b = ek_addw_high(s.b, row);
    return s;
}
EK_INLINE ek_e16 ek_e16_add16(ek_e16 s, const int16_t *w) {
    s.a = vaddq_s16(s.a, vld1q_s16(w));
    s.b = vaddq_s16(s.b, vld1q_s16(w + 8));
    return s;
}
EK_INLINE ek_e32 ek_e32_load(const ek_i32 *p) {
    const int32_t *at = (const int32_t *)p;
    const ek_e32 s = {vld1q_s32(at), vld1q_s32(at + 4), vld1q_s32(at + 8), vld1q_s32(at + 12)};
    return s;
}
EK_INLINE void ek_e32_store(ek_i32 *p, ek_e32 s) {
    int32_t *at = (int32_t *)p;
    vst1q_s32(at, s.a);
    vst1q_s32(at + 4, s.b);
    vst1q_s32(at + 8, s.c);
    vst1q_s32(at + 12, s.d);
}
EK_INLINE ek_e32 ek_e32_zero(void) {
    const int32x4_t zero = vdupq_n_s32(0);
    const ek_e32 s = {zero, zero, zero, zero};
    return s;
}
EK_INLINE ek_e32 ek_e32_wide(ek_e32 s, int16x8_t low, int16x8_t high) {
    s.a = vaddw_s16(s.a, vget_low_s16(low));
    s.b = ek_addw16_high(s.b, low);
    s.c = vaddw_s16(s.c, vget_low_s16(high));
    s.d = ek_addw16_high(s.d, high);
    return s;
}
EK_INLINE ek_e32 ek_e32_add8(ek_e32 s, const int8_t *w) {
    const int8x16_t row = vld1q_s8(w);
    return ek_e32_wide(s, vmovl_s8(vget_low_s8(row)), ek_widen_high(row));
}
EK_INLINE ek_e32 ek_e32_add16(ek_e32 s, const int16_t *w) { return ek_e32_wide(s, vld1q_s16(w), vld1q_s16(w + 8)); }
