/* The state blob: magic EKS1, version, 32 bytes of graph hash, then every state; little endian on every machine.
 * float32 takes four bytes, a spike one byte 0 or 1. Each function returns the place after what it wrote or read.
 */
#ifndef EK_STATE_H
#define EK_STATE_H

#include "blob.h"
#include "io.h"
#include "simd.h"

EK_INLINE float ek_read_f32(const uint8_t *blob) {
    union { uint32_t u; float f; } pun;
    pun.u = ek_read_u32(blob);
    return pun.f;
}

EK_INLINE uint8_t *ek_save_f32(uint8_t *blob, const float *x, uint32_t n) {
    uint32_t i;
    for (i = 0; i < n; ++i) {
        union { float f; uint32_t u; } pun;
        pun.f = x[i];
        blob = ek_save_u32(blob, pun.u);
    }
    return blob;
}
EK_INLINE uint8_t *ek_save_spike(uint8_t *blob, const uint32_t *x, uint32_t n) {
    uint32_t i;
    for (i = 0; i < n; ++i) blob[i] = (uint8_t)ek_bit(x, i);
    return blob + n;
}

/* Checked first, all states, so that a refused blob changes nothing. */
EK_INLINE int ek_good_f32(const uint8_t *blob, uint32_t n) {
    uint32_t i, good = 1;
    for (i = 0; i < n; ++i) good &= (uint32_t)ek_is_finite(ek_read_f32(blob + 4u * i));
    return (int)good;
}
EK_INLINE int ek_good_spike(const uint8_t *blob, uint32_t n) {
    uint32_t i, good = 1;
    for (i = 0; i < n; ++i) good &= blob[i] <= 1u;
    return (int)good;
}

EK_INLINE const uint8_t *ek_restore_f32(float *y, const uint8_t *blob, uint32_t n) {
    uint32_t i;
    for (i = 0; i < n; ++i) y[i] = ek_read_f32(blob + 4u * i);
    return blob + 4u * n;
}
EK_INLINE const uint8_t *ek_restore_spike(uint32_t *y, const uint8_t *blob, uint32_t n) {
    uint32_t i;
    for (i = 0; i < (n + 31u) / 32u; ++i) y[i] = 0u;
    for (i = 0; i < n; ++i) y[i / 32u] |= (uint32_t)blob[i] << (i % 32u);
    return blob + n;
}

#endif
