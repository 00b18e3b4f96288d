/* Reads memory in order and does nothing else: the least time in which a program can look at all its constants. */
#include <stdint.h>

#if defined(__AVX512F__)
#define WIDTH 64
#elif defined(__AVX__)
#define WIDTH 32
#else
#define WIDTH 16
#endif

typedef uint64_t vector __attribute__((vector_size(WIDTH)));

/* Reads `bytes` (a multiple of 8 · 64) from a 64-byte aligned address, `passes` times; returns a sum of all that was
   read, so that no load can be left out. Eight sums, because one would wait for itself. */
uint64_t ek_bench_read(const void *from, uint32_t bytes, uint32_t passes)
{
    const vector *end = (const vector *)((const char *)from + bytes);
    vector s0 = {0}, s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
    for (uint32_t pass = 0; pass < passes; pass++) {
        for (const vector *v = (const vector *)from; v < end; v += 8) {
            s0 += v[0];
            s1 += v[1];
            s2 += v[2];
            s3 += v[3];
            s4 += v[4];
            s5 += v[5];
            s6 += v[6];
            s7 += v[7];
        }
        __asm__ volatile("" ::: "memory"); /* every pass reads again */
    }
    s0 = (s0 + s1 + s2 + s3) + (s4 + s5 + s6 + s7);
    uint64_t sum = 0;
    for (unsigned i = 0; i < WIDTH / sizeof sum; i++)
        sum += s0[i];
    return sum;
}
