/* exp, log, tanh, sigmoid, erf, sin, cos in verbs: the same algorithm on every instruction set, no libm.
 *
 * Worst errors over all 2^32 floats in units in the last place, the larger of AVX2 and portable, rounded up: exp 1.02,
 * log 0.83, tanh 1.34, sigmoid 2.41, erf 1.49, sin 2.48, cos 2.41; tests/conformance/test_c_math.py measures and prints
 * them. Results below the smallest normal float are 0. NaN gives NaN; +-Inf give the limits, NaN where there is none.
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

/* An odd polynomial near 0, and where x is NaN; from 0.84 on 1 - e^-g with the sign of x, where g is -ln(1 - erf). */
EK_INLINE ekf ek_erf(ekf x) {
    const ekf a = ek_abs(x), z = ek_mul(x, x), t = ek_limit(a, ek_set(0.0f), ek_set(4.0f));
    ekf p = ek_set(-6.4012839e-4f), g = ek_set(-2.03561751e-4f), far;
    p = ek_fma(p, z, ek_set(5.06610516e-3f));
    p = ek_fma(p, z, ek_set(-2.68118419e-2f));
    p = ek_fma(p, z, ek_set(0.112829603f));
    p = ek_fma(p, z, ek_set(-0.376125962f));
    p = ek_fma(p, z, ek_set(0.128379166f));
    p = ek_fma(p, x, x);
    g = ek_fma(g, t, ek_set(3.1169916e-3f));
    g = ek_fma(g, t, ek_set(-2.2516707e-2f));
    g = ek_fma(g, t, ek_set(0.104523346f));
    g = ek_fma(g, t, ek_set(0.636519313f));
    g = ek_fma(g, t, ek_set(1.12806225f));
    g = ek_fma(g, t, ek_set(1.03891209e-4f));
    far = ek_sub(ek_set(1.0f), ek_exp_between(ek_neg(g)));
    return ek_flush(ek_select(ek_ge(a, ek_set(0.84f)), ek_select(ek_lt(x, ek_set(0.0f)), ek_neg(far), far), p));
}

/* --- sine and cosine: x = n · pi/2 + r with |r| <= pi/4 (a little more where n was rounded off) --------------------- */

/* Up to here n has 13 bits: its products with the first three parts of pi/2, 11 bits each, are exact. */
#define EK_NEAR 12000.0f

/* From EK_NEAR on, in integers: x = m · 2^e, and of the binary digits of 2/pi those that m · 2^e lifts to multiples of 4
 * do not matter; the product of m with the next 96 has n mod 4 in its two upper bits. NaN and Inf give NaN.
 */
static EK_RARE float ek_far_turn(float x, float *n) {
    static const uint32_t digits[8] = {0u,          0xa2f9836eu, 0x4e441529u, 0xfc2757d1u,
                                       0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu};
    union { float f; uint32_t u; } pun;
    uint32_t m, at, shift, word[3], k, turns, high, head;
    uint64_t product;
    float tail, r;
    pun.f = x;
    *n = 0.0f;
    if (!ek_is_finite(x)) return x - x;
    m = (pun.u & 0x7fffffu) | 0x800000u;
    at = (pun.u >> 23 & 0xffu) - 120u; /* of the first digit that counts; digit 32 is the one before the point */
    shift = at % 32u;
    for (k = 0; k < 3u; ++k) {
        const uint32_t *from = digits + at / 32u + k;
        word[k] = shift ? from[0] << shift | from[1] >> (32u - shift) : from[0];
    }
    product = ((uint64_t)(m * word[0]) << 32) + (uint64_t)m * word[1] + ((uint64_t)m * word[2] >> 32);
    turns = ((uint32_t)(product >> 32) + 0x20000000u) >> 30; /* the nearest whole n; what is left may be below 0 */
    product -= (uint64_t)(turns << 30) << 32;
    pun.u &= 0x80000000u;
    *n = pun.u ? -(float)turns : (float)turns;
    if (product >> 63) {
        product = 0u - product;
        pun.u ^= 0x80000000u;
    }
    high = (uint32_t)(product >> 32);
    head = high & ~0x3ffffu; /* 12 bits: their product with the first part of pi/2 · 2^-30 is exact */
    tail = (float)(high - head) + (float)(uint32_t)product * 2.32830644e-10f;
    r = (float)head * 1.46246748e-09f + ((float)head * 4.50598816e-13f + tail * 1.46291812e-9f);
    return pun.u ? -r : r;
}

EK_INLINE ekf ek_turn(ekf x, ekf *n) {
    ekf r;
    *n = ek_round(ek_mul(x, ek_set(0.636619747f)));
    r = ek_fma(*n, ek_set(-1.5703125f), x);
    r = ek_fma(*n, ek_set(-4.83751297e-4f), r);
    r = ek_fma(*n, ek_set(-7.54953362e-8f), r);
    r = ek_fma(*n, ek_set(-2.56334407e-12f), r);
    if (!ek_all(ek_lt(ek_abs(x), ek_set(EK_NEAR)))) {
        float each[EK_W], rest[EK_W], turns[EK_W];
        int i;
        ek_store(each, x);
        ek_store(rest, r);
        ek_store(turns, *n);
        for (i = 0; i < EK_W; ++i)
            if (!(each[i] < EK_NEAR && each[i] > -EK_NEAR)) rest[i] = ek_far_turn(each[i], turns + i);
        r = ek_load(rest);
        *n = ek_load(turns);
    }
    return r;
}

/* sin(r + n · pi/2): of r sine or cosine, with either sign, as n mod 4 says. Near 0 it is r. */
EK_INLINE ekf ek_turned(ekf r, ekf n) {
    const ekf quarter = ek_sub(n, ek_mul(ek_round(ek_mul(n, ek_set(0.25f))), ek_set(4.0f))), size = ek_abs(quarter);
    const ekf z = ek_mul(r, r), one = ek_set(1.0f);
    ekf s = ek_set(-1.95168323e-4f), c = ek_set(2.44306611e-5f), y;
    s = ek_fma(s, z, ek_set(8.33218265e-3f));
    s = ek_fma(s, z, ek_set(-0.166666552f));
    s = ek_fma(ek_mul(s, z), r, r);
    c = ek_fma(c, z, ek_set(-1.38873013e-3f));
    c = ek_fma(c, z, ek_set(4.16666456e-2f));
    c = ek_fma(ek_mul(c, z), z, ek_fma(z, ek_set(-0.5f), one));
    y = ek_select(ek_eq(size, one), c, s);
    y = ek_select(ek_or(ek_gt(size, one), ek_lt(quarter, ek_set(0.0f))), ek_neg(y), y);
    return ek_flush(y);
}

EK_INLINE ekf ek_sin(ekf x) {
    ekf n, r = ek_turn(x, &n);
    return ek_turned(r, n);
}
EK_INLINE ekf ek_cos(ekf x) {
    ekf n, r = ek_turn(x, &n);
    return ek_turned(r, ek_add(n, ek_set(1.0f)));
}

/* the largest whole number that is not above x; -0.0, Inf and NaN stay */
EK_INLINE ekf ek_floor(ekf x) {
    const ekf near = ek_round(x);
    return ek_sub(near, ek_keep(ek_gt(near, x), ek_set(1.0f)));
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
