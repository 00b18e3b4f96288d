/* Strided walks of any element type: MOVE(y, to, x, from) moves one element, SOME so many neighbours. */
#ifndef EK_WALK_H
#define EK_WALK_H

#include "base.h"

#define EK_MAX_RANK 6

/* Element [i0, i1, …] goes from x_first + sum(i * x_step) to y_first + sum(i * y_step). */
typedef struct {
    uint32_t rank, x_first, y_first;
    uint32_t shape[EK_MAX_RANK], x_step[EK_MAX_RANK], y_step[EK_MAX_RANK];
} ek_walk;

/* Counts through all axes but the last, which MOVE does. x and y never overlap. */
#if defined(__GNUC__)
#define EK_MOVE_SOME(n, y, to, x, from) __builtin_memcpy((y) + (to), (x) + (from), (n) * sizeof *(y))
#else
#define EK_MOVE_SOME(n, y, to, x, from) \
    { \
        uint32_t k; \
        for (k = 0; k < (n); ++k) (y)[(to) + k] = (x)[(from) + k]; \
    }
#endif
#if defined(__thumb__)
#define EK_RUN_OF 4u /* neighbours at once: more would be more code than they are worth */
#else
#define EK_RUN_OF 16u
#endif
#define EK_WALK(name, type, MOVE, SOME) \
    EK_INLINE void name(type *y, const type *x, const ek_walk *walk) { \
        uint32_t at[EK_MAX_RANK], k, from = walk->x_first, to = walk->y_first, last = walk->rank - 1u; \
        const uint32_t n = walk->shape[last], x_step = walk->x_step[last], y_step = walk->y_step[last]; \
        for (k = 0; k < EK_MAX_RANK; ++k) at[k] = 0; \
        for (;;) { \
            uint32_t i = 0, axis = last; \
            if (x_step == 1u && y_step == 1u) \
                for (; i + EK_RUN_OF <= n; i += EK_RUN_OF) SOME(EK_RUN_OF, y, to + i, x, from + i); \
            if (x_step == 1u && y_step == 1u && EK_RUN_OF > 4u) \
                for (; i + 4u <= n; i += 4u) SOME(4u, y, to + i, x, from + i); \
            for (; i < n; ++i) MOVE(y, to + i * y_step, x, from + i * x_step); \
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
