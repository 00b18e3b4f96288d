/* Strided walks of any element type: MOVE(y, to, x, from) moves one element. */
#ifndef EK_WALK_H
#define EK_WALK_H

#include "base.h"

#define EK_MAX_RANK 6

/* Element [i0, i1, …] goes from x_first + sum(i * x_step) to y_first + sum(i * y_step). */
typedef struct {
    uint32_t rank, x_first, y_first;
    uint32_t shape[EK_MAX_RANK], x_step[EK_MAX_RANK], y_step[EK_MAX_RANK];
} ek_walk;

/* Counts through all axes but the last, which MOVE does. */
#define EK_WALK(name, type, MOVE) \
    EK_INLINE void name(type *y, const type *x, const ek_walk *walk) { \
        uint32_t at[EK_MAX_RANK], k, from = walk->x_first, to = walk->y_first, last = walk->rank - 1u; \
        const uint32_t n = walk->shape[last], x_step = walk->x_step[last], y_step = walk->y_step[last]; \
        for (k = 0; k < EK_MAX_RANK; ++k) at[k] = 0; \
        for (;;) { \
            uint32_t i, axis = last; \
            for (i = 0; i < n; ++i) MOVE(y, to + i * y_step, x, from + i * x_step); \
            for (;;) { \
                if (axis == 0u) return; \
                --axis; \
                from += walk->x_step[axis]; \
                to += walk->y_step[axis]; \
                if (++at[axis] < walk->shape[axis]) break; \
                at[axis] = 0; \
                from -= walk->shape[axis] * walk->x_step[axis]; \
                to -= walk->shape[axis] * walk->y_step[axis]; \
            } \
        } \
    }

/* y[outer, n, inner] = x[outer, axis, inner] at constant indices of the middle axis */
#define EK_GATHER(name, type, MOVE) \
    EK_INLINE void name(type *y, const type *x, const uint32_t *index, uint32_t outer, uint32_t axis, uint32_t n, \
                        uint32_t inner) { \
        uint32_t o, i, j; \
        for (o = 0; o < outer; ++o) \
            for (i = 0; i < n; ++i) \
                for (j = 0; j < inner; ++j) \
                    MOVE(y, (o * n + i) * inner + j, x, (o * axis + index[i]) * inner + j); \
    }

#define EK_ZERO(type) \
    EK_INLINE void ek_zero_##type(type *y, uint32_t n) { \
        uint32_t i; \
        for (i = 0; i < n; ++i) y[i] = 0; \
    }

#endif
