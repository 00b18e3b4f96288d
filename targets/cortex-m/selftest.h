/* A stream whose results the reference interpreter has written down, replayed on the core that this runs on.
 *
 * The result stays in memory for whoever looks: `edgekit_selftest_result`. Names of models begin with ek_, these do not.
 */
#ifndef EDGEKIT_SELFTEST_H
#define EDGEKIT_SELFTEST_H

#include <stdint.h>

#define EK_ALIGNED(n) __attribute__((aligned(n)))

enum { EK_BYTES, EK_FLOATS };

/* What a step should give: `n` values a step at `expected`, found at `got`, of `size` bytes each. */
typedef struct {
    const void *got, *expected;
    uint32_t n, size;
} edgekit_output_t;

typedef struct {
    uint32_t magic;      /* "EKST", once it has begun */
    uint32_t verdict;    /* 0 running, 1 passed, 2 failed */
    uint32_t steps;      /* done so far */
    uint32_t output;     /* the first that differs; the number of outputs when a step fails or the state differs */
    uint32_t cycles_min; /* of a step, by the core's cycle counter; 0 where it does not count */
    uint32_t cycles_max;
    uint32_t stack_bytes; /* of a step, by what it changed below the stack pointer of main */
} edgekit_selftest_result_t;
volatile edgekit_selftest_result_t edgekit_selftest_result;

typedef struct {
    uint32_t steps, outputs, compare;
    const edgekit_output_t *output;
    int (*step)(uint32_t t);
    int (*save)(void);
    edgekit_output_t state;
} edgekit_selftest_t;

extern uint32_t ek_stack_bottom[], ek_stack_top[];

#define EK_PAINT 0xa5a5a5a5u

/* Floats may differ in the order of a sum: by 1e-4 of the larger of 1 and the expected value. */
static int edgekit_differs(const edgekit_output_t *o, uint32_t t, uint32_t compare) {
    uint32_t i;
    if (compare == EK_FLOATS) {
        const float *got = (const float *)o->got, *want = (const float *)o->expected + t * o->n;
        for (i = 0; i < o->n; ++i) {
            const float size = want[i] < 0 ? -want[i] : want[i], d = got[i] - want[i];
            if (!((d < 0 ? -d : d) <= 1e-4f * (size > 1 ? size : 1))) return 1;
        }
        return 0;
    }
    {
        const uint32_t bytes = o->n * o->size;
        const uint8_t *got = (const uint8_t *)o->got, *want = (const uint8_t *)o->expected + t * bytes;
        for (i = 0; i < bytes; ++i)
            if (got[i] != want[i]) return 1;
        return 0;
    }
}

static int edgekit_failed(uint32_t output) {
    edgekit_selftest_result.output = output;
    edgekit_selftest_result.verdict = 2;
    return 1;
}

/* DWT_CYCCNT, switched on in DEMCR and DWT_CTRL */
static uint32_t edgekit_cycles(void) { return *(volatile uint32_t *)0xe0001004u; }
static void edgekit_count_cycles(void) {
    *(volatile uint32_t *)0xe000edfcu |= 1u << 24;
    *(volatile uint32_t *)0xe0001000u |= 1u;
}

/* The bytes between the stack pointer of the caller and the lowest word that start-up code has painted and nothing
 * used since; 0 where the stack is not the one of the start-up code.
 */
static uint32_t edgekit_used_stack(const uint32_t *here) {
    const volatile uint32_t *at = ek_stack_bottom;
    if (here < ek_stack_bottom || here >= ek_stack_top) return 0;
    while (at < here && *at == EK_PAINT) ++at;
    return (uint32_t)((const uint8_t *)here - (const uint8_t *)at);
}

/* Replays the stream from the first state; 0 when all of it is as it should be. */
static int edgekit_selftest(const edgekit_selftest_t *test) {
    uint32_t t, i, least = 0xffffffffu, most = 0;
    uint32_t here = 0;
    edgekit_selftest_result.magic = 0x54534b45u;
    edgekit_selftest_result.verdict = edgekit_selftest_result.steps = 0;
    edgekit_count_cycles();
    for (t = 0; t < test->steps; ++t) {
        const uint32_t before = edgekit_cycles();
        const int code = test->step(t);
        const uint32_t cycles = edgekit_cycles() - before;
        if (cycles < least) least = cycles;
        if (cycles > most) most = cycles;
        if (code) return edgekit_failed(test->outputs);
        for (i = 0; i < test->outputs; ++i)
            if (edgekit_differs(&test->output[i], t, test->compare)) return edgekit_failed(i);
        edgekit_selftest_result.steps = t + 1;
    }
    edgekit_selftest_result.cycles_min = least;
    edgekit_selftest_result.cycles_max = most;
    edgekit_selftest_result.stack_bytes = edgekit_used_stack(&here);
    if (test->compare == EK_BYTES && (test->save() || edgekit_differs(&test->state, 0, EK_BYTES)))
        return edgekit_failed(test->outputs);
    edgekit_selftest_result.verdict = 1;
    return 0;
}

#endif
