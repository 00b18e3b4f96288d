/* Verbs of kernels/int_wide.h in plain C99, so that a program laid out for them runs everywhere. */

#define EK_WIDE_ISA "portable"
#define EK_BB_UNITS 4u
#define EK_HB_UNITS 4u
#define EK_HH_UNITS 4u
enum { ek_bb_moved = 0, ek_hb_moved = 0, ek_hh_moved = 0 };

/* A mask is -1 or 0 in each lane. */
typedef struct { int8_t v[8]; } ek_v8;
typedef struct { int16_t v[8]; } ek_v16;
typedef struct { int32_t v[8]; } ek_v32;
typedef struct { int16_t v[8]; } ek_vm;
typedef uint32_t ek_bits;

#define EK_EACH(T, value) \
    T y; \
    uint32_t i; \
    for (i = 0; i < 8u; ++i) y.v[i] = value; \
    return y;
#define EK_V_UNARY(B, name) \
    EK_INLINE ek_v##B ek_v##B##_##name(ek_v##B a) { EK_EACH(ek_v##B, ek_##name##_##B(a.v[i])) }
#define EK_V_BINARY(B, name) \
    EK_INLINE ek_v##B ek_v##B##_##name(ek_v##B a, ek_v##B b) { EK_EACH(ek_v##B, ek_##name##_##B(a.v[i], b.v[i])) }
#define EK_V_COMPARE(B, name) \
    EK_INLINE ek_vm ek_v##B##_##name(ek_v##B a, ek_v##B b) { EK_EACH(ek_vm, (int16_t)-ek_##name##_##B(a.v[i], b.v[i])) }
#define EK_V_VERBS(B) \
    EK_INLINE ek_v##B ek_v##B##_load(const ek_i##B *p) { EK_EACH(ek_v##B, p[i]) } \
    EK_INLINE void ek_v##B##_store(ek_i##B *p, ek_v##B a) { \
        uint32_t i; \
        for (i = 0; i < 8u; ++i) p[i] = a.v[i]; \
    } \
    EK_INLINE ek_v##B ek_v##B##_set(int##B##_t x) { EK_EACH(ek_v##B, x) } \
    EK_INLINE ek_v##B ek_v##B##_where(ek_vm m, ek_v##B a, ek_v##B b) { EK_EACH(ek_v##B, m.v[i] ? a.v[i] : b.v[i]) } \
    EK_V_UNARY(B, neg) EK_V_UNARY(B, abs) EK_V_UNARY(B, relu) \
    EK_V_BINARY(B, add) EK_V_BINARY(B, sub) EK_V_BINARY(B, adds) EK_V_BINARY(B, subs) \
    EK_V_BINARY(B, minimum) EK_V_BINARY(B, maximum) \
    EK_V_COMPARE(B, gt) EK_V_COMPARE(B, ge) EK_V_COMPARE(B, lt) EK_V_COMPARE(B, le) EK_V_COMPARE(B, eq)
EK_V_VERBS(8)
EK_V_VERBS(16)
EK_V_VERBS(32)

EK_INLINE ek_vm ek_vm_not(ek_vm m) { EK_EACH(ek_vm, (int16_t)~m.v[i]) }
EK_INLINE ek_vm ek_vm_and(ek_vm a, ek_vm b) { EK_EACH(ek_vm, (int16_t)(a.v[i] & b.v[i])) }
EK_INLINE ek_vm ek_vm_or(ek_vm a, ek_vm b) { EK_EACH(ek_vm, (int16_t)(a.v[i] | b.v[i])) }
EK_INLINE ek_v16 ek_v16_of_8(ek_v8 x) { EK_EACH(ek_v16, x.v[i]) }
EK_INLINE ek_v32 ek_v32_of_16(ek_v16 x) { EK_EACH(ek_v32, x.v[i]) }
EK_INLINE ek_v8 ek_v8_of_16(ek_v16 x) { EK_EACH(ek_v8, ek_clip_8(x.v[i])) }
EK_INLINE ek_v16 ek_v16_of_32(ek_v32 x) { EK_EACH(ek_v16, ek_clip_16(x.v[i])) }
EK_INLINE ek_v16 ek_v16_wrapped(ek_v32 x) { EK_EACH(ek_v16, (int16_t)(uint16_t)x.v[i]) }
EK_INLINE ek_v16 ek_v16_of_spikes(ek_vm m) { EK_EACH(ek_v16, (int16_t)-m.v[i]) }
EK_INLINE ek_v16 ek_v16_scaled15(ek_v16 x, ek_v16 m) { EK_EACH(ek_v16, (int16_t)ek_scaled(x.v[i], m.v[i], 15u)) }
EK_INLINE ek_v32 ek_v32_product(ek_v16 x, ek_v16 m) { EK_EACH(ek_v32, x.v[i] * m.v[i]) }
EK_INLINE ek_v32 ek_v32_rounded(ek_v32 x, uint32_t shift) { EK_EACH(ek_v32, ek_scaled(x.v[i], 1, shift)) }
EK_INLINE ek_v32 ek_v32_scaled(ek_v32 x, ek_v32 m, uint32_t shift, int clip) {
    (void)clip;
    EK_EACH(ek_v32, ek_clip_wide_32(ek_scaled_wide(x.v[i], m.v[i], shift)))
}
EK_INLINE ek_v32 ek_v32_scaled31(ek_v32 x, ek_v32 m) { return ek_v32_scaled(x, m, 31u, 0); }

EK_INLINE ek_vm ek_vm_of(uint32_t word, uint32_t k) { EK_EACH(ek_vm, (int16_t)-(int)(word >> (8u * k + i) & 1u)) }
EK_INLINE ek_bits ek_bits_none(void) { return 0; }
EK_INLINE ek_bits ek_bits_put(ek_bits b, ek_vm m, uint32_t k) {
    uint32_t i;
    for (i = 0; i < 8u; ++i) b |= (uint32_t)(m.v[i] & 1) << (8u * k + i);
    return b;
}
EK_INLINE uint32_t ek_bits_word(ek_bits b) { return b; }

EK_INLINE int16_t ek_between(const ek_i16 *table, int16_t x, uint32_t fraction) {
    const uint32_t position = (uint32_t)(x + 32768), at = position >> fraction;
    const int32_t rest = (int32_t)(position & ((1u << fraction) - 1u));
    return (int16_t)(table[at] + ek_scaled(table[at + 1u] - table[at], rest, fraction));
}
EK_INLINE ek_v16 ek_v16_between(const ek_i16 *table, ek_v16 x, uint32_t fraction) {
    EK_EACH(ek_v16, ek_between(table, x.v[i], fraction))
}

/* --- dense -------------------------------------------------------------------------------------------------------- */

/* four groups of inputs */
typedef struct { int16_t v[16]; } ek_bb_x;
typedef ek_bb_x ek_hb_x;
typedef ek_bb_x ek_hh_x;
#define EK_INPUTS(L, T, PER) \
    EK_INLINE ek_bb_x ek_##L##_read(const T *p, uint32_t n) { \
        ek_bb_x x; \
        uint32_t i; \
        for (i = 0; i < 16u; ++i) x.v[i] = i < n ? p[i] : (int16_t)0; \
        return x; \
    } \
    EK_INLINE ek_bb_x ek_##L##_load(const T *p) { return ek_##L##_read(p, 4u * PER); } \
    EK_INLINE ek_bb_x ek_##L##_tail(const T *p) { return ek_##L##_read(p, PER); }
EK_INPUTS(bb, ek_i8, 4u)
EK_INPUTS(hb, ek_i16, 4u)
EK_INPUTS(hh, ek_i16, 2u)
EK_INPUTS(bh, ek_i8, 2u)

#define EK_DENSE_VERBS(K, TW, PER) \
    typedef struct { uint32_t v[8]; } ek_##K##_sum; \
    EK_INLINE ek_##K##_sum ek_##K##_zero(void) { EK_EACH(ek_##K##_sum, 0u) } \
    EK_INLINE ek_##K##_sum ek_##K##_group(ek_##K##_sum s, const TW *w, ek_bb_x x, uint32_t first) { \
        uint32_t o, k; \
        for (o = 0; o < 8u; ++o) \
            for (k = 0; k < PER; ++k) s.v[o] += (uint32_t)(w[PER * o + k] * x.v[first + k]); \
        return s; \
    } \
    EK_INLINE ek_##K##_sum ek_##K##_two_01(ek_##K##_sum s, const TW *v, const TW *w, ek_bb_x x, int mild) { \
        (void)mild; \
        return ek_##K##_group(ek_##K##_group(s, v, x, 0), w, x, PER); \
    } \
    EK_INLINE ek_##K##_sum ek_##K##_two_23(ek_##K##_sum s, const TW *v, const TW *w, ek_bb_x x, int mild) { \
        (void)mild; \
        return ek_##K##_group(ek_##K##_group(s, v, x, 2u * PER), w, x, 3u * PER); \
    } \
    EK_INLINE ek_##K##_sum ek_##K##_one_0(ek_##K##_sum s, const TW *w, ek_bb_x x) { \
        return ek_##K##_group(s, w, x, 0); \
    } \
    EK_INLINE ek_##K##_sum ek_##K##_one_2(ek_##K##_sum s, const TW *w, ek_bb_x x) { \
        return ek_##K##_group(s, w, x, 2u * PER); \
    } \
    EK_INLINE ek_v32 ek_##K##_result(ek_##K##_sum s, const ek_i32 *lift) { \
        (void)lift; \
        EK_EACH(ek_v32, (int32_t)s.v[i]) \
    }
EK_DENSE_VERBS(bb, int8_t, 4u)
EK_DENSE_VERBS(hb, int8_t, 4u)
EK_DENSE_VERBS(hh, int16_t, 2u)

/* --- spans -------------------------------------------------------------------------------------------------------- */

typedef uint32_t ek_span;
EK_INLINE ek_span ek_span_zero(void) { return 0; }
#define EK_SPAN(K, TW, TX) \
    EK_INLINE ek_span ek_##K##_span(ek_span s, const TW *w, const TX *x, int mild) { \
        uint32_t i; \
        (void)mild; \
        for (i = 0; i < 16u; ++i) s += (uint32_t)(w[i] * x[i]); \
        return s; \
    }
EK_SPAN(bb, int8_t, ek_i8)
EK_SPAN(hb, int8_t, ek_i16)
EK_SPAN(bh, int16_t, ek_i8)
EK_SPAN(hh, int16_t, ek_i16)
EK_INLINE ek_v32 ek_spans_eight(ek_span s0, ek_span s1, ek_span s2, ek_span s3, ek_span s4, ek_span s5, ek_span s6,
                                ek_span s7) {
    const ek_v32 v = {{(int32_t)s0, (int32_t)s1, (int32_t)s2, (int32_t)s3, (int32_t)s4, (int32_t)s5, (int32_t)s6,
                       (int32_t)s7}};
    return v;
}

/* --- events ------------------------------------------------------------------------------------------------------- */

#define EK_E16_UNITS 4u
#define EK_E32_UNITS 4u

#define EK_EVENT_VERBS(B) \
    typedef struct { int##B##_t v[16]; } ek_e##B; \
    EK_INLINE ek_e##B ek_e##B##_load(const ek_i##B *p) { \
        ek_e##B s; \
        uint32_t i; \
        for (i = 0; i < 16u; ++i) s.v[i] = p[i]; \
        return s; \
    } \
    EK_INLINE void ek_e##B##_store(ek_i##B *p, ek_e##B s) { \
        uint32_t i; \
        for (i = 0; i < 16u; ++i) p[i] = s.v[i]; \
    } \
    EK_INLINE ek_e##B ek_e##B##_zero(void) { \
        const ek_e##B s = {{0}}; \
        return s; \
    } \
    EK_INLINE ek_e##B ek_e##B##_add8(ek_e##B s, const int8_t *w) { \
        uint32_t i; \
        for (i = 0; i < 16u; ++i) s.v[i] = ek_add_##B(s.v[i], w[i]); \
        return s; \
    } \
    EK_INLINE ek_e##B ek_e##B##_add16(ek_e##B s, const int16_t *w) { \
        uint32_t i; \
        for (i = 0; i < 16u; ++i) s.v[i] = ek_add_##B(s.v[i], w[i]); \
        return s; \
    }
EK_EVENT_VERBS(16)
EK_EVENT_VERBS(32)
