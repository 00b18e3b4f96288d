/* Verbs of kernels/dot.h in plain C99, three digits of 8 bits, so that a program packed for it runs everywhere. */
#define EK_DOT_OUTPUTS 32u
#define EK_DOT_EACH 4

typedef struct { int32_t d0[4], d1[4], d2[4]; } ekd;
typedef const int8_t *ekx;

EK_INLINE ekf ek_most(ekf most, ekf x) { return ek_max(most, ek_abs(x)); }
EK_INLINE float ek_most_lane(ekf most) {
    float lanes[EK_W], largest = 0.0f;
    uint32_t i;
    ek_store(lanes, most);
    for (i = 0; i < EK_W; ++i) largest = lanes[i] > largest || lanes[i] != lanes[i] ? lanes[i] : largest;
    return largest;
}

EK_INLINE void ek_digits(int8_t *to, const float *x, float per_step) {
    uint32_t i;
    for (i = 0; i < 8u; ++i, to += i == 4u ? 13 : 1) {
        const float scaled = x[i] * per_step;
        int32_t whole = scaled == scaled ? (int32_t)(scaled < 0.0f ? scaled - 0.5f : scaled + 0.5f) : 0;
        const uint32_t bits = ((uint32_t)whole + 0x808080u) ^ 0x808080u;
        to[0] = (int8_t)(uint8_t)bits;
        to[4] = (int8_t)(uint8_t)(bits >> 8);
        to[8] = (int8_t)(uint8_t)(bits >> 16);
        to[12] = 0;
    }
}
EK_INLINE ekx ek_digits_load(const int8_t *p) { return p; }
EK_INLINE ekd ek_dot_zero(void) {
    const ekd zero = {{0, 0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}};
    return zero;
}
EK_INLINE int32_t ek_dot_one(const int8_t *w, const int8_t *v) {
    return w[0] * v[0] + w[1] * v[1] + w[2] * v[2] + w[3] * v[3];
}
EK_INLINE ekd ek_dot(ekd sum, const int8_t *w, ekx x) {
    uint32_t i;
    for (i = 0; i < 4u; ++i) {
        sum.d0[i] += ek_dot_one(w + 4u * i, x);
        sum.d1[i] += ek_dot_one(w + 4u * i, x + 4);
        sum.d2[i] += ek_dot_one(w + 4u * i, x + 8);
    }
    return sum;
}
EK_INLINE void ek_dot_store4(float *y, ekd sum, float step) {
    uint32_t i;
    for (i = 0; i < 4u; ++i)
        y[i] = ((float)sum.d2[i] * 65536.0f + ((float)sum.d1[i] * 256.0f + (float)sum.d0[i])) * step;
}
EK_INLINE void ek_dot_store(float *y, ekd a, ekd b, float step) {
    ek_dot_store4(y, a, step);
    ek_dot_store4(y + 4, b, step);
}
