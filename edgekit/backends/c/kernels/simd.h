/* Vector verbs: one small set of operations, written once per instruction set under simd/.
 *
 *   EK_W      lanes of one vector (4, 8 or 16)
 *   EK_SUMS   vectors of sums that stay in registers beside their operands
 *   EK_TILE   the same where each weight is multiplied with four values: so many vectors of sums for each of the four
 *   ekf       EK_W float32 lanes            ekm   EK_W lane masks
 *   ekb       spike bits being collected for one 32-lane word
 *   eki       int16 accumulators, EK_WI lanes
 *   ek4       four float32 inputs, each of which EK_FMA_LANE multiplies with a vector
 *   ekd, ekx  sums of EK_DOT_EACH outputs, 4 or 16, and the digits of four inputs: ek_dot adds their products with
 *             int8 weights; ek_digits makes the digits of eight inputs, ek_dot_store the outputs of two sums of 4, or of
 *             one of 16; ek_most keeps the largest magnitude of each lane, ek_most_lane that of all lanes, and NaN is
 *             larger than any
 *
 * Without a type of their own: ek_fma_one, one float; ek_store_across, lane j of four vectors to y[j * step + 0..3];
 * ek_add4, y[0..3] += w[0..3] * v; ek_nonzero, one bit for each of 32 floats that is neither 0.0 nor -0.0.
 *
 * A spike tensor of n elements is uint32_t[(n + 31) / 32]: element i is bit i % 32 of word i / 32, unused bits are 0.
 * Float buffers are padded to a multiple of 32 elements, so that whole vectors may be read and written.
 * Comparisons, ek_min and ek_max treat NaN as numpy does; ek_limit turns NaN into its lower bound. Only the verbs with
 * fma in their name and ek_add4 fuse a product with a sum. ek_ldexp adds an integer to the exponent bits and leaves
 * range checks to its caller.
 */
#ifndef EK_SIMD_H
#define EK_SIMD_H

#include "base.h"

#ifndef EK_PAD
#define EK_PAD 8 /* outputs of a float32 linear are padded to this many; the emitter sets it before including */
#endif

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
#elif EK_W == 16 && defined(__AVX512VNNI__)
#include "simd/vnni_dot.h"
#elif EK_W == 8
#include "simd/avx2_dot.h"
#else
#include "simd/portable_dot.h"
#endif

/* Denormals become +0; NaN stays NaN. Every instruction set gives the same bits. */
EK_INLINE ekf ek_flush(ekf x) { return ek_drop(ek_lt(ek_abs(x), ek_set(EK_FLT_MIN)), x); }

#endif
