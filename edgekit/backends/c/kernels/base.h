/* What every kernel is written with: inlining, alignment, unrolling, and the functions a program exports. */
#ifndef EK_BASE_H
#define EK_BASE_H

#include <stdint.h>

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
#define EK_RARE EK_NOINLINE __attribute__((unused)) /* a function of its own that most programs do not call */
#define EK_INLINE static inline __attribute__((always_inline, unused))
#define EK_ALIGNED(bytes) __attribute__((aligned(bytes)))
#define EK_EXPORT __attribute__((visibility("default")))
#else
#define EK_NOINLINE
#define EK_RARE
#define EK_INLINE static inline
#define EK_ALIGNED(bytes)
#define EK_EXPORT
#endif

#if defined(__clang__)
#define EK_UNROLL1 _Pragma("clang loop unroll(disable)")
#define EK_UNROLL2 _Pragma("clang loop unroll_count(2)")
#define EK_UNROLL4 _Pragma("clang loop unroll_count(4)")
#define EK_UNROLL16 _Pragma("clang loop unroll_count(16)")
#elif defined(__GNUC__)
#define EK_UNROLL1 _Pragma("GCC unroll 1")
#define EK_UNROLL2 _Pragma("GCC unroll 2")
#define EK_UNROLL4 _Pragma("GCC unroll 4")
#define EK_UNROLL16 _Pragma("GCC unroll 16")
#else
#define EK_UNROLL1
#define EK_UNROLL2
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

#define EK_OK 0
#define EK_NOT_FINITE 1 /* an input holds NaN or Inf */
#define EK_BAD_BLOB 2   /* a state blob of another program or version, or damaged */
#define EK_NO_WIDTH 3   /* a width that the program does not have */

/* T steps; `call` is one step at time t, whose inputs have been checked. */
#define EK_RUN(steps, call) \
    { \
        uintptr_t t; \
        for (t = 0; t < (steps); ++t) call; \
    }

EK_INLINE int ek_is_finite(float x) { return x - x == 0.0f; }

#endif
