/* exp, log, tanh, sigmoid in verbs: the same algorithm on every instruction set, no tables, no libm.
 *
 * Worst errors over all 2^32 floats in units in the last place, AVX2 and portable alike: exp 1.02, log 0.83,
 * tanh 1.34, sigmoid 2.41; tests/conformance/test_c_math.py measures them. Results below the smallest normal float
 * are 0. NaN gives NaN; +-Inf give the limits.
 * The coefficients are minimax fits of the relative error on the reduced range.
 */
#ifndef EK_MATH_H
#define EK_MATH_H

#include "simd.h"

#define EK_INF (EK_FLT_MAX * 2.0f)

/* e^x = 2^n e^r for -87.5 <= x <= 88.8, with |r| <= ln(2)/2; ln 2 is split so that n * high is exact even without a
 * fused product. Below -87.33 the result is denormal, above 88.72 it is no number.
 */
EK_INLINE ekf ek_exp_between(ekf x) {
    const ekf n = ek_round(ek_mul(x, ek_set(1.44269504f)));
    const ekf r = ek_fma(n, ek_set(2.12194440e-4f), ek_fma(n, ek_set(-0.693359375f), x));
    ekf q = ek_set(1.38144311e-3f);
    q = ek_fma(q, r, ek_set(8.36879667e-3f));
    q = ek_fma(q, r, ek_set(4.16683964e-2f));
    q = ek_fma(q, r, ek_set(0.166665196f));
    q = ek_fma(q, r, ek_set(0.49999994f));
    return ek_ldexp(ek_add(ek_fma(ek_mul(r, r), q, r), ek_set(1.0f)), n);
}

EK_INLINE ekf ek_exp(ekf x) {
    const ekf y = ek_flush(ek_exp_between(ek_limit(x, ek_set(-87.5f), ek_set(88.8f))));
    return ek_select(ek_le(x, ek_set(88.7228317f)), y, ek_mul(ek_abs(x), ek_set(EK_INF)));
}

/* 1 / (1 + e^-x), from e^-|x| so that nothing overflows */
EK_INLINE ekf ek_sigmoid(ekf x) {
    const ekf zero = ek_set(0.0f), one = ek_set(1.0f);
    const ekf e = ek_exp_between(ek_limit(ek_neg(ek_abs(x)), ek_set(-87.5f), zero));
    const ekf y = ek_flush(ek_div(ek_select(ek_lt(x, zero), e, one), ek_add(one, e)));
    return ek_select(ek_eq(x, x), y, x);
}

/* 1 - 2 / (e^2|x| + 1) with the sign of x, but an odd polynomial near 0, and where x is NaN */
EK_INLINE ekf ek_tanh(ekf x) {
    const ekf a = ek_abs(x), z = ek_mul(x, x), zero = ek_set(0.0f), one = ek_set(1.0f);
    const ekf e = ek_exp_between(ek_limit(ek_add(a, a), zero, ek_set(20.0f)));
    const ekf far = ek_sub(one, ek_div(ek_set(2.0f), ek_add(e, one)));
    ekf p = ek_set(-5.70423016e-3f);
    p = ek_fma(p, z, ek_set(2.06384379e-2f));
    p = ek_fma(p, z, ek_set(-5.37395254e-2f));
    p = ek_fma(p, z, ek_set(0.133314401f));
    p = ek_fma(p, z, ek_set(-0.333332807f));
    p = ek_fma(ek_mul(p, z), x, x);
    return ek_flush(ek_select(ek_ge(a, ek_set(0.625f)), ek_select(ek_lt(x, zero), ek_neg(far), far), p));
}

/* ln x = e ln 2 + ln(1 + f) with sqrt(1/2) <= 1 + f < sqrt(2); denormal x are scaled up first */
EK_INLINE ekf ek_log(ekf x) {
    const ekm tiny = ek_lt(x, ek_set(EK_FLT_MIN)), infinite = ek_gt(x, ek_set(EK_FLT_MAX));
    const ekf scaled = ek_select(tiny, ek_mul(x, ek_set(8388608.0f)), x), m = ek_mantissa(scaled);
    const ekm high = ek_gt(m, ek_set(1.41421356f));
    const ekf f = ek_sub(ek_select(high, ek_mul(m, ek_set(0.5f)), m), ek_set(1.0f)), z = ek_mul(f, f);
    ekf e = ek_sub(ek_exponent(scaled), ek_select(tiny, ek_set(23.0f), ek_set(0.0f))), p = ek_set(6.74660131e-2f), y;
    e = ek_add(e, ek_keep(high, ek_set(1.0f)));
    p = ek_fma(p, f, ek_set(-0.116756409f));
    p = ek_fma(p, f, ek_set(0.118881747f));
    p = ek_fma(p, f, ek_set(-0.124055915f));
    p = ek_fma(p, f, ek_set(0.142195508f));
    p = ek_fma(p, f, ek_set(-0.166679963f));
    p = ek_fma(p, f, ek_set(0.200021192f));
    p = ek_fma(p, f, ek_set(-0.250000089f));
    p = ek_fma(p, f, ek_set(0.333333135f));
    y = ek_fma(e, ek_set(-2.12194440e-4f), ek_mul(ek_mul(p, z), f));
    y = ek_add(ek_fma(z, ek_set(-0.5f), y), f);
    y = ek_fma(e, ek_set(0.693359375f), y);
    y = ek_select(infinite, x, ek_select(ek_eq(x, ek_set(0.0f)), ek_set(-EK_INF), y));
    return ek_select(ek_ge(x, ek_set(0.0f)), y, ek_div(ek_sub(x, x), ek_set(0.0f)));
}

EK_INLINE ekf ek_relu(ekf x) { return ek_max(x, ek_set(0.0f)); }
EK_INLINE ekf ek_reciprocal(ekf x) { return ek_div(ek_set(1.0f), x); }

/* -1, 0 or 1; NaN stays NaN */
EK_INLINE ekf ek_sign(ekf x) {
    const ekf zero = ek_set(0.0f), one = ek_set(1.0f);
    const ekf s = ek_sub(ek_keep(ek_gt(x, zero), one), ek_keep(ek_lt(x, zero), one));
    return ek_select(ek_eq(x, x), s, x);
}

#endif
