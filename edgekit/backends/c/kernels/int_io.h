/* The border of an integer program: ports of each value's own type, raw floats in, real ones out, and state blobs. */
#ifndef EK_INT_IO_H
#define EK_INT_IO_H

#include "blob.h"
#include "int_core.h"
#include "walk.h"

/* How many of the n elements of T are moved four words at a time, on cores whose compilers do not see to that; they begin
 * at words, or there are none.
 */
#if EK_PAIRS
#define EK_MOVED(T, y, x, n) ek_moved((ek_word *)(y), (const ek_word *)(x), (n) * (uint32_t)sizeof(T)) / (uint32_t)sizeof(T)
EK_INLINE uint32_t ek_moved(ek_word *y, const ek_word *x, uint32_t bytes) {
    uint32_t i = 0, a, b, c, d;
    if (((uintptr_t)y | (uintptr_t)x) % 4u) return 0;
    EK_UNROLL1 for (; i + 16u <= bytes; i += 16u) {
        EK_LOAD2(x, a, b);
        EK_LOAD2(x, c, d);
        EK_STORE2(y, a, b);
        EK_STORE2(y, c, d);
    }
    return i;
}
#else
#define EK_MOVED(T, y, x, n) 0
#endif

/* y[0..n) of the caller's x, of any alignment, and back */
#define EK_INT_PORT(B, T, P) \
    EK_INLINE void ek_take_##B(T *y, const P *x, uint32_t n) { \
        uint32_t i; \
        EK_UNROLL_COLD for (i = EK_MOVED(T, y, x, n); i < n; ++i) y[i] = x[i]; \
    } \
    EK_INLINE void ek_give_##B(P *y, const T *x, uint32_t n) { \
        uint32_t i; \
        EK_UNROLL_COLD for (i = EK_MOVED(T, y, x, n); i < n; ++i) y[i] = x[i]; \
    } \
    EK_INLINE void ek_copy_##B(T *y, const T *x, uint32_t n) { ek_take_##B(y, x, n); } \
    EK_INLINE void ek_zero_##B(T *y, uint32_t n) { \
        uint32_t i; \
        EK_UNROLL_COLD for (i = 0; i < n; ++i) y[i] = 0; \
    }
EK_INT_PORT(i8, ek_i8, int8_t)
EK_INT_PORT(i16, ek_i16, int16_t)
EK_INT_PORT(i32, ek_i32, int32_t)
EK_INT_PORT(f32, ek_f32, float)
EK_INT_PORT(u16, uint16_t, uint16_t)
EK_INT_PORT(u32, ek_word, uint32_t)

/* A spike of a port is a byte, 0 or 1; any other byte counts as 1. */
EK_INLINE void ek_take_spike(ek_word *y, const int8_t *x, uint32_t n) {
    uint32_t i, at;
    for (at = 0; at < n; at += 32u) {
        const uint32_t there = n - at < 32u ? n - at : 32u;
        uint32_t word = 0;
        EK_UNROLL_COLD for (i = 0; i < there; ++i) word |= (uint32_t)(x[at + i] != 0) << EK_SLOT(i);
        y[at / 32u] = word;
    }
}
EK_INLINE void ek_give_spike(int8_t *y, const ek_word *x, uint32_t n) {
    uint32_t i;
    EK_UNROLL_COLD for (i = 0; i < n; ++i) y[i] = (int8_t)ek_spike(x, i);
}
EK_INLINE void ek_copy_spike(ek_word *y, const ek_word *x, uint32_t n) { ek_copy_u32(y, x, (n + 31u) / 32u); }
EK_INLINE void ek_zero_spike(ek_word *y, uint32_t n) { ek_zero_u32(y, (n + 31u) / 32u); }

/* saturate(floor((x - offset) · gain + 1/2)), every step in float32; NaN gives 0. Returns how many x are NaN or Inf.
 * `by`, `per`: how far offset and gain move from element to element, 0 or 1.
 */
#define EK_QUANTIZE(B, T, LOW, HIGH) \
    EK_INLINE uint32_t ek_quantize_##B(T *y, const ek_f32 *x, const float *offset, uint32_t by, const float *gain, \
                                         uint32_t per, uint32_t n) { \
        uint32_t i, count = 0; \
        EK_UNROLL_COLD for (i = 0; i < n; ++i) { \
            const float moved = x[i] - offset[i * by]; \
            float v = moved * gain[i * per]; \
            int32_t whole; \
            count += !ek_is_finite(x[i]); \
            v = v != v ? 0.0f : v < LOW ? LOW : v > HIGH ? HIGH : v; \
            v = v + 0.5f; \
            whole = (int32_t)v; \
            y[i] = (T)(whole - ((float)whole > v)); \
        } \
        return count; \
    }
EK_QUANTIZE(8, ek_i8, -128.0f, 127.0f)
EK_QUANTIZE(16, ek_i16, -32768.0f, 32767.0f)

/* The same over rows of n elements that share offsets and gains: a window laid out flat. */
#define EK_QUANTIZE_ROWS(B, T) \
    EK_INLINE uint32_t ek_quantize_rows_##B(T *y, const ek_f32 *x, const float *offset, uint32_t by, \
                                              const float *gain, uint32_t per, uint32_t n, uint32_t rows) { \
        uint32_t r, count = 0; \
        EK_UNROLL_COLD for (r = 0; r < rows; ++r) { \
            count += ek_quantize_##B(y + r * n, x + r * n, offset, by, gain, per, n); \
        } \
        return count; \
    }
EK_QUANTIZE_ROWS(8, ek_i8)
EK_QUANTIZE_ROWS(16, ek_i16)

#define EK_DEQUANTIZE(B, T) \
    EK_INLINE void ek_dequantize_##B(ek_f32 *y, const T *x, const float *scale, uint32_t per, uint32_t n) { \
        uint32_t i; \
        EK_UNROLL_COLD for (i = 0; i < n; ++i) y[i] = (float)x[i] * scale[i * per]; \
    }
EK_DEQUANTIZE(8, ek_i8)
EK_DEQUANTIZE(16, ek_i16)
EK_DEQUANTIZE(32, ek_i32)

/* --- state blobs: a value takes its own width, little endian, a spike one byte 0 or 1 ------------------------------- */

#define EK_INT_BLOB(B, T, BYTES) \
    EK_INLINE void ek_save_##B(uint8_t *blob, const T *x, uint32_t n) { \
        uint32_t i, k; \
        EK_UNROLL1 for (i = 0; i < n; ++i) \
            for (k = 0; k < BYTES; ++k) *blob++ = (uint8_t)((uint32_t)x[i] >> 8u * k); \
    } \
    EK_INLINE void ek_restore_##B(T *y, const uint8_t *blob, uint32_t n) { \
        uint32_t i, k; \
        EK_UNROLL1 for (i = 0; i < n; ++i) { \
            uint32_t v = 0; \
            for (k = 0; k < BYTES; ++k) v |= (uint32_t)*blob++ << 8u * k; \
            y[i] = (T)v; \
        } \
    }
EK_INT_BLOB(i8, ek_i8, 1u)
EK_INT_BLOB(i16, ek_i16, 2u)
EK_INT_BLOB(i32, ek_i32, 4u)

EK_INLINE void ek_save_spike(uint8_t *blob, const ek_word *x, uint32_t n) { ek_give_spike((int8_t *)blob, x, n); }
EK_INLINE void ek_restore_spike(ek_word *y, const uint8_t *blob, uint32_t n) {
    ek_take_spike(y, (const int8_t *)blob, n);
}
EK_INLINE int ek_good_spike(const uint8_t *blob, uint32_t n) {
    uint32_t i, good = 1;
    EK_UNROLL1 for (i = 0; i < n; ++i) good &= blob[i] <= 1u;
    return (int)good;
}

#endif
