/* Verbs in plain C99: four lanes in a struct. ek_fma rounds twice here, since C without a libm has no fused product. */
#define EK_ISA "portable"
#define EK_W 4
#define EK_SUMS 8
#define EK_TILE 1
#define EK_WI 8

typedef struct { float v[4]; } ekf;
typedef struct { uint32_t v[4]; } ekm; /* each lane 0 or 0xffffffff */
typedef uint32_t ekb;
typedef struct { int16_t v[8]; } eki;

EK_INLINE uint32_t ek_bits_of(float x) { union { float f; uint32_t u; } pun; pun.f = x; return pun.u; }
EK_INLINE float ek_float_of(uint32_t u) { union { float f; uint32_t u; } pun; pun.u = u; return pun.f; }

#define EK_LANES4(type, expression) \
    type r; \
    { enum { i = 0 }; r.v[i] = (expression); } \
    { enum { i = 1 }; r.v[i] = (expression); } \
    { enum { i = 2 }; r.v[i] = (expression); } \
    { enum { i = 3 }; r.v[i] = (expression); } \
    return r;
#define EK_MASK(condition) ((condition) ? 0xffffffffu : 0u)

EK_INLINE ekf ek_load(const float *p) { EK_LANES4(ekf, p[i]) }
EK_INLINE void ek_store(float *p, ekf a) { p[0] = a.v[0]; p[1] = a.v[1]; p[2] = a.v[2]; p[3] = a.v[3]; }
EK_INLINE void ek_store_across(float *y, uint32_t step, ekf a, ekf b, ekf c, ekf d) {
    uint32_t j;
    for (j = 0; j < 4u; ++j, y += step) { y[0] = a.v[j]; y[1] = b.v[j]; y[2] = c.v[j]; y[3] = d.v[j]; }
}
EK_INLINE void ek_copy4(float *y, const float *x) { y[0] = x[0]; y[1] = x[1]; y[2] = x[2]; y[3] = x[3]; }
EK_INLINE ekf ek_set(float x) { EK_LANES4(ekf, x) }
EK_INLINE ekf ek_add(ekf a, ekf b) { EK_LANES4(ekf, a.v[i] + b.v[i]) }
EK_INLINE ekf ek_sub(ekf a, ekf b) { EK_LANES4(ekf, a.v[i] - b.v[i]) }
EK_INLINE ekf ek_mul(ekf a, ekf b) { EK_LANES4(ekf, a.v[i] * b.v[i]) }
EK_INLINE ekf ek_div(ekf a, ekf b) { EK_LANES4(ekf, a.v[i] / b.v[i]) }
EK_INLINE ekf ek_fma(ekf a, ekf b, ekf c) { EK_LANES4(ekf, a.v[i] * b.v[i] + c.v[i]) }
typedef const float *ek4;
EK_INLINE ek4 ek_load4(const float *p) { return p; }
#define EK_FMA_LANE(a, four, lane, c) ek_fma(a, ek_set((four)[lane]), c)
EK_INLINE float ek_fma_one(float a, float b, float c) { return a * b + c; }
EK_INLINE void ek_add4(float *y, const float *w, float v) {
    const float sum[4] = {w[0] * v + y[0], w[1] * v + y[1], w[2] * v + y[2], w[3] * v + y[3]};
    ek_copy4(y, sum);
}
EK_INLINE ekf ek_min(ekf a, ekf b) { EK_LANES4(ekf, (a.v[i] < b.v[i] || a.v[i] != a.v[i]) ? a.v[i] : b.v[i]) }
EK_INLINE ekf ek_max(ekf a, ekf b) { EK_LANES4(ekf, (a.v[i] > b.v[i] || a.v[i] != a.v[i]) ? a.v[i] : b.v[i]) }
EK_INLINE ekf ek_limit(ekf a, ekf lo, ekf hi) {
    EK_LANES4(ekf, !(a.v[i] > lo.v[i]) ? lo.v[i] : a.v[i] > hi.v[i] ? hi.v[i] : a.v[i])
}
EK_INLINE ekf ek_neg(ekf a) { EK_LANES4(ekf, -a.v[i]) }
EK_INLINE ekf ek_abs(ekf a) { EK_LANES4(ekf, ek_float_of(ek_bits_of(a.v[i]) & 0x7fffffffu)) }
EK_INLINE float ek_sum(ekf a) { return (a.v[0] + a.v[1]) + (a.v[2] + a.v[3]); }

EK_INLINE float ek_round_one(float x) { /* to nearest, ties to even, sign of zero kept */
    const uint32_t sign = ek_bits_of(x) & 0x80000000u;
    const float magnitude = ek_float_of(ek_bits_of(x) ^ sign);
    if (!(magnitude < 8388608.0f)) return x;
    return ek_float_of(ek_bits_of((magnitude + 8388608.0f) - 8388608.0f) | sign);
}
EK_INLINE float ek_sqrt_one(float x) { /* correctly rounded, one result bit at a time */
    uint32_t bits = ek_bits_of(x), root = 0, rest = 0, mantissa;
    int32_t exponent, i;
    if (x != x || x == 0.0f || bits == 0x7f800000u) return x;
    if (x < 0.0f) return ek_float_of(0x7fc00000u);
    exponent = (int32_t)(bits >> 23) - 127;
    mantissa = bits & 0x7fffffu;
    if (exponent == -127) while (!(mantissa & 0x800000u)) { mantissa <<= 1; --exponent; }
    if (bits < 0x800000u) ++exponent;
    mantissa |= 0x800000u;
    mantissa <<= 1;
    if (exponent & 1) { mantissa <<= 1; --exponent; }
    for (i = 0; i < 25; ++i) { /* 24 bits of the root and one for rounding */
        const uint32_t pair = i < 13 ? (mantissa >> (24 - 2 * i)) & 3u : 0u, trial = (root << 2) | 1u;
        rest = (rest << 2) | pair;
        root <<= 1;
        if (rest >= trial) { rest -= trial; root |= 1u; }
    }
    root = (root + 1u) >> 1; /* a tie cannot occur: no square of a 25-bit odd number fits in 24 bits */
    return ek_float_of(((uint32_t)(exponent / 2 + 127) << 23) + (root - 0x800000u));
}
EK_INLINE ekf ek_round(ekf a) { EK_LANES4(ekf, ek_round_one(a.v[i])) }
EK_INLINE ekf ek_sqrt(ekf a) { EK_LANES4(ekf, ek_sqrt_one(a.v[i])) }
EK_INLINE ekf ek_ldexp(ekf a, ekf n) {
    EK_LANES4(ekf, ek_float_of(ek_bits_of(a.v[i]) + ((uint32_t)(int32_t)n.v[i] << 23)))
}
EK_INLINE ekf ek_exponent(ekf a) { EK_LANES4(ekf, (float)((int32_t)(ek_bits_of(a.v[i]) >> 23) - 127)) }
EK_INLINE ekf ek_mantissa(ekf a) { EK_LANES4(ekf, ek_float_of((ek_bits_of(a.v[i]) & 0x7fffffu) | 0x3f800000u)) }

EK_INLINE ekm ek_gt(ekf a, ekf b) { EK_LANES4(ekm, EK_MASK(a.v[i] > b.v[i])) }
EK_INLINE ekm ek_ge(ekf a, ekf b) { EK_LANES4(ekm, EK_MASK(a.v[i] >= b.v[i])) }
EK_INLINE ekm ek_lt(ekf a, ekf b) { EK_LANES4(ekm, EK_MASK(a.v[i] < b.v[i])) }
EK_INLINE ekm ek_le(ekf a, ekf b) { EK_LANES4(ekm, EK_MASK(a.v[i] <= b.v[i])) }
EK_INLINE ekm ek_eq(ekf a, ekf b) { EK_LANES4(ekm, EK_MASK(a.v[i] == b.v[i])) }
EK_INLINE ekm ek_ne(ekf a, ekf b) { EK_LANES4(ekm, EK_MASK(a.v[i] != b.v[i])) }
EK_INLINE ekm ek_and(ekm a, ekm b) { EK_LANES4(ekm, a.v[i] & b.v[i]) }
EK_INLINE ekm ek_or(ekm a, ekm b) { EK_LANES4(ekm, a.v[i] | b.v[i]) }
EK_INLINE ekm ek_not(ekm a) { EK_LANES4(ekm, ~a.v[i]) }
EK_INLINE ekf ek_select(ekm m, ekf a, ekf b) { EK_LANES4(ekf, m.v[i] ? a.v[i] : b.v[i]) }
EK_INLINE ekf ek_keep(ekm m, ekf a) { EK_LANES4(ekf, ek_float_of(ek_bits_of(a.v[i]) & m.v[i])) }
EK_INLINE ekf ek_drop(ekm m, ekf a) { EK_LANES4(ekf, ek_float_of(ek_bits_of(a.v[i]) & ~m.v[i])) }
EK_INLINE int ek_all(ekm m) { return (m.v[0] & m.v[1] & m.v[2] & m.v[3]) != 0u; }

EK_INLINE ekb ek_bits_none(void) { return 0u; }
EK_INLINE ekb ek_bits_put(ekb b, ekm m, uint32_t k) {
    return b | ((m.v[0] & 1u) | (m.v[1] & 2u) | (m.v[2] & 4u) | (m.v[3] & 8u)) << k;
}
EK_INLINE uint32_t ek_bits_word(ekb b) { return b; }
EK_INLINE ekm ek_bits_get(uint32_t word, uint32_t k) { EK_LANES4(ekm, 0u - (word >> (k + i) & 1u)) }

EK_INLINE uint32_t ek_nonzero(const float *p) {
    uint32_t word = 0, i;
    for (i = 0; i < 32u; ++i) word |= (uint32_t)(p[i] != 0.0f) << i;
    return word;
}

EK_INLINE ekf ek_load_i8(const int8_t *p, int k) { EK_LANES4(ekf, (float)p[4 * k + i]) }
EK_INLINE eki ek_i16_zero(void) { eki r = {{0, 0, 0, 0, 0, 0, 0, 0}}; return r; }
EK_INLINE eki ek_i16_add_i8(eki a, const int8_t *p) {
    int i;
    for (i = 0; i < 8; ++i) a.v[i] = (int16_t)(a.v[i] + p[i]);
    return a;
}
EK_INLINE ekf ek_i16_float(eki a, int k) { EK_LANES4(ekf, (float)a.v[4 * k + i]) }
