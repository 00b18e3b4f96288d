/* Verbs of kernels/dot.h in plain C99, so that a program packed for dot products runs everywhere. */
typedef struct { int32_t v[4]; } ekd;
typedef const int8_t *ekq;

EK_INLINE void ek_bytes(int8_t *to, const float *x, float per_step) {
    uint32_t i;
    for (i = 0; i < 4u; ++i) {
        const float scaled = x[i] * per_step;
        int32_t whole = scaled == scaled ? (int32_t)(scaled < 0.0f ? scaled - 0.5f : scaled + 0.5f) : 0;
        const uint32_t bits = ((uint32_t)whole + 0x808080u) ^ 0x808080u;
        to[i] = (int8_t)(uint8_t)bits;
        to[4u + i] = (int8_t)(uint8_t)(bits >> 8);
        to[8u + i] = (int8_t)(uint8_t)(bits >> 16);
        to[12u + i] = 0;
    }
}
EK_INLINE ekd ek_dot_zero(void) { ekd zero = {{0, 0, 0, 0}}; return zero; }
EK_INLINE ekq ek_dot_load(const int8_t *p) { return p; }
EK_INLINE ekd ek_dot_one(ekd sum, ekq w, const int8_t *v) {
    uint32_t i;
    for (i = 0; i < 4u; ++i)
        sum.v[i] += w[4u * i] * v[0] + w[4u * i + 1u] * v[1] + w[4u * i + 2u] * v[2] + w[4u * i + 3u] * v[3];
    return sum;
}
#define EK_DOT(sum, w, v, byte) ek_dot_one(sum, w, (v) + 4 * (byte))
EK_INLINE void ek_dot_store(float *y, ekd d0, ekd d1, ekd d2, float step) {
    uint32_t i;
    for (i = 0; i < 4u; ++i)
        y[i] = ((float)d2.v[i] * 65536.0f + ((float)d1.v[i] * 256.0f + (float)d0.v[i])) * step;
}
