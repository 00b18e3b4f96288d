/* The one loop of every fused elementwise op. The emitter writes the body of one vector; the loops live here.
 *
 * EK_MAP(op, model, n): floats only. `op_vector(m, i)` handles elements i … i + EK_W - 1. Buffers hold a multiple of
 * 32 elements, so the last vector may run past n into padding.
 *
 * EK_MAP_SPIKES(op, model, n): spikes go in or come out. `op_vector(m, i, w, k, spikes)` handles the same elements,
 * which are bits k … k + EK_W - 1 of word w, and collects spike results in `spikes`; `op_word(m, w, valid, spikes)`
 * stores them once a word. `valid` has a one for each bit that is a neuron.
 */
#ifndef EK_MAP_H
#define EK_MAP_H

#include "math.h"
#include "simd.h"

#define EK_MAP(op, model, n) \
    static EK_NOINLINE void op(model *m) { \
        uint32_t i; \
        for (i = 0; i < (n); i += EK_W) op##_vector(m, i); \
    }

#define EK_MAX_SPIKES 8 /* spike results of one fused op; the emitter refuses more */

typedef struct { ekb bits[EK_MAX_SPIKES]; } ek_spikes;

EK_INLINE void ek_spikes_clear(ek_spikes *s) {
    s->bits[0] = s->bits[1] = s->bits[2] = s->bits[3] = ek_bits_none();
    s->bits[4] = s->bits[5] = s->bits[6] = s->bits[7] = ek_bits_none();
}

/* Unrolled by hand: where bit positions are literals, masks are single instructions. */
#define EK_ONE(op, k) if (k < take) op##_vector(m, 32u * w + k, w, k, &spikes);
#if EK_W == 16
#define EK_ONE_WORD(op) EK_ONE(op, 0u) EK_ONE(op, 16u)
#elif EK_W == 8
#define EK_ONE_WORD(op) EK_ONE(op, 0u) EK_ONE(op, 8u) EK_ONE(op, 16u) EK_ONE(op, 24u)
#else
#define EK_ONE_WORD(op) \
    EK_ONE(op, 0u) EK_ONE(op, 4u) EK_ONE(op, 8u) EK_ONE(op, 12u) \
    EK_ONE(op, 16u) EK_ONE(op, 20u) EK_ONE(op, 24u) EK_ONE(op, 28u)
#endif

#define EK_MAP_SPIKES(op, model, n) \
    EK_INLINE void op##_take(model *m, uint32_t w, uint32_t take) { \
        ek_spikes spikes; \
        ek_spikes_clear(&spikes); \
        EK_ONE_WORD(op) \
        op##_word(m, w, take < 32u ? (1u << take) - 1u : 0xffffffffu, &spikes); \
    } \
    static EK_NOINLINE void op(model *m) { \
        const uint32_t whole = (n) / 32u, rest = (n) % 32u; \
        uint32_t w; \
        for (w = 0; w < whole; ++w) op##_take(m, w, 32u); \
        if (rest) op##_take(m, whole, rest); \
    }

#endif
