/* Vector verbs: one small set of operations, written once per instruction set under simd/.
 *
 *   EK_W      lanes of one vector (4, 8 or 16)
 *   EK_SUMS   vectors of sums that stay in registers beside their operands
 *   ekf       EK_W float32 lanes            ekm   EK_W lane masks
 *   ekb       spike bits being collected for one 32-lane word
 *   eki       int16 accumulators, EK_WI lanes
 *   ek4       four float32 inputs, each of which EK_FMA_LANE multiplies with a vector
 *   ekd, ekx  sums of four outputs, and the digits of four inputs: ek_dot adds their products with 4 x 4 int8 weights;
 *             ek_digits makes the digits of eight inputs, ek_dot_store eight outputs of two sums; ek_most keeps the
 *             largest magnitude of each lane, ek_most_lane that of all lanes, and NaN is larger than any
 *
 * Without a type of their own: ek_fma_one, one float; ek_add4, y[0..3] += w[0..3] * v; ek_nonzero, one bit for each of
 * 32 floats that is neither 0.0 nor -0.0.
 *
 * A spike tensor of n elements is uint32_t[(n + 31) / 32]: element i is bit i % 32 of word i / 32, unused bits are 0.
 * Float buffers are padded to a multiple of 32 elements, so that whole vectors may be read and written.
 * Comparisons, ek_min and ek_max treat NaN as numpy does; ek_limit turns NaN into its lower bound. Only the verbs with
 * fma in their name and ek_add4 fuse a product with a sum. ek_ldexp adds an integer to the exponent bits and leaves
 * range checks to its caller.
 */
#ifndef EK_SIMD_H
#define EK_SIMD_H

#include <stdint.h>

#ifndef EK_PAD
#define EK_PAD 8 /* outputs of a float32 linear are padded to this many; the emitter sets it before including */
#endif

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF /* gcc has it off under -std=c99, and warns about the pragma */
#endif

/* noipa: across functions, gcc 12 takes the stores of one op for dead when the next one stores beside them */
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 8
#define EK_NOINLINE __attribute__((noipa))
#elif defined(__GNUC__)
#define EK_NOINLINE __attribute__((noinline))
#endif

#if defined(__GNUC__)
#define EK_INLINE static inline __attribute__((always_inline, unused))
#define EK_ALIGNED(bytes) __attribute__((aligned(bytes)))
#define EK_EXPORT __attribute__((visibility("default")))
#else
#define EK_NOINLINE
#define EK_INLINE static inline
#define EK_ALIGNED(bytes)
#define EK_EXPORT
#endif

#if defined(__clang__)
#define EK_UNROLL1 _Pragma("clang loop unroll(disable)")
#define EK_UNROLL4 _Pragma("clang loop unroll_count(4)")
#define EK_UNROLL16 _Pragma("clang loop unroll_count(16)")
#elif defined(__GNUC__)
#define EK_UNROLL1 _Pragma("GCC unroll 1")
#define EK_UNROLL4 _Pragma("GCC unroll 4")
#define EK_UNROLL16 _Pragma("GCC unroll 16")
#else
#define EK_UNROLL1
#define EK_UNROLL4
#define EK_UNROLL16
#endif

/* REPn(F) expands F(0) … F(n-1): accumulators get names, so that every compiler keeps them in registers. */
#define EK_REP1(F) F(0)
#define EK_REP2(F) EK_REP1(F) F(1)
#define EK_REP3(F) EK_REP2(F) F(2)
#define EK_REP4(F) EK_REP3(F) F(3)
#define EK_REP5(F) EK_REP4(F) F(4)
#define EK_REP6(F) EK_REP5(F) F(5)
#define EK_REP7(F) EK_REP6(F) F(6)
#define EK_REP8(F) EK_REP7(F) F(7)
#define EK_REP10(F) EK_REP8(F) F(8) F(9)
#define EK_REP12(F) EK_REP10(F) F(10) F(11)
#define EK_REP14(F) EK_REP12(F) F(12) F(13)
#define EK_REP16(F) EK_REP14(F) F(14) F(15)

#define EK_FLT_MIN 1.17549435e-38f
#define EK_FLT_MAX 3.40282347e+38f

#if defined(EK_FORCE_PORTABLE)
#include "simd/portable.h"
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include "simd/neon.h"
#elif defined(__ARM_NEON) && defined(__ARM_FEATURE_FMA)
#include "simd/neon32.h"
#elif defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__) && EK_PAD >= 16
#include "simd/avx512.h"
#elif defined(__AVX2__) && defined(__FMA__)
#include "simd/avx2.h"
#else
#include "simd/portable.h"
#endif

#if defined(__ARM_FEATURE_DOTPROD) && defined(__aarch64__) && !defined(EK_FORCE_PORTABLE)
#include "simd/neon_dot.h"
#elif EK_W == 8
#include "simd/avx2_dot.h"
#else
#include "simd/portable_dot.h"
#endif

/* Denormals become +0; NaN stays NaN. Every instruction set gives the same bits. */
EK_INLINE ekf ek_flush(ekf x) { return ek_drop(ek_lt(ek_abs(x), ek_set(EK_FLT_MIN)), x); }

#endif
