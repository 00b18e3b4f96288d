/* The time of each call that an entry makes, in a program compiled with -DEK_TICKS; without it nothing is left of this.
 * EK_TICK(sum, call) makes the call, reads a counter, and adds to the sum how far it went since it was last read. So
 * each sum holds one reading beside its call, and what the sums miss of an entry is a few instructions.
 *
 *     x86_64    the time stamp counter
 *     aarch64   the virtual count, which Linux lets every program read
 *     armv7     CLOCK_MONOTONIC in nanoseconds by a system call: programs have no counter there
 *     Cortex-M  the cycle counter CYCCNT, which ek_<model>_init starts; 0 where an emulator or a core has none
 */
#ifndef EK_TICKS_H
#define EK_TICKS_H

#include "base.h"

#if !defined(EK_TICKS)
#define EK_TICK(sum, call) call
#define EK_TICKS_BEGIN (void)0
#define EK_TICKS_CLEAR(sums, n) (void)0
#else

#if defined(__x86_64__)
typedef uint64_t ek_tick;

EK_INLINE void ek_tick_start(void) {}

/* lfence: what comes before has been done when the counter is read, and not some of what comes after */
EK_INLINE ek_tick ek_tick_read(void) {
    uint32_t low, high;
    __asm__ volatile("lfence\n\trdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (ek_tick)high << 32 | low;
}
#elif defined(__aarch64__)
typedef uint64_t ek_tick;

EK_INLINE void ek_tick_start(void) {}

EK_INLINE ek_tick ek_tick_read(void) {
    ek_tick now;
    __asm__ volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(now) : : "memory");
    return now;
}
#elif defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M' && !defined(__ARM_ARCH_6M__) && \
    !defined(__ARM_ARCH_8M_BASE__)
typedef uint32_t ek_tick; /* it wraps, which differences do not mind */

#define EK_TICK_WORD(address) (*(volatile uint32_t *)(uintptr_t)(address))

EK_INLINE void ek_tick_start(void) {
    EK_TICK_WORD(0xE000EDFCu) |= 1u << 24; /* DEMCR.TRCENA */
    EK_TICK_WORD(0xE0001000u) |= 1u;       /* DWT_CTRL.CYCCNTENA */
}

EK_INLINE ek_tick ek_tick_read(void) { return EK_TICK_WORD(0xE0001004u); /* DWT_CYCCNT */ }
#elif defined(__arm__) && defined(__linux__)
typedef uint64_t ek_tick;

EK_INLINE void ek_tick_start(void) {}

/* r7, where the number of the call goes, may be the frame pointer: it is put back */
EK_INLINE ek_tick ek_tick_read(void) {
    int32_t time[2]; /* seconds, nanoseconds */
    register uint32_t clock __asm__("r0") = 1u; /* CLOCK_MONOTONIC */
    register int32_t *to __asm__("r1") = time;
    register uint32_t number __asm__("r2") = 263u; /* clock_gettime */
    __asm__ volatile("mov r12, r7\n\tmov r7, r2\n\tsvc 0\n\tmov r7, r12"
                     : "+r"(clock) : "r"(to), "r"(number) : "r12", "memory");
    return (ek_tick)(uint32_t)time[0] * 1000000000u + (uint32_t)time[1];
}
#else
#error "EK_TICKS knows no counter of this processor"
#endif

#define EK_TICKS_BEGIN ek_tick ek_last = ek_tick_read()
#define EK_TICK(sum, call) \
    do { \
        call; \
        (sum) += ek_tick_since(&ek_last); \
    } while (0)
#define EK_TICKS_CLEAR(sums, n) ek_tick_clear(sums, n)

EK_INLINE ek_tick ek_tick_since(ek_tick *last) {
    const ek_tick now = ek_tick_read(), passed = now - *last;
    *last = now;
    return passed;
}

EK_INLINE void ek_tick_clear(uint64_t *sums, uint32_t n) {
    uint32_t i;
    ek_tick_start();
    for (i = 0; i < n; ++i) sums[i] = 0;
}

/* The sums, which start again from zero. */
EK_INLINE uint32_t ek_tick_take(uint64_t *to, uint64_t *sums, uint32_t n) {
    uint32_t i;
    for (i = 0; i < n; ++i) {
        to[i] = sums[i];
        sums[i] = 0;
    }
    return n;
}

/* What so many readings take when there are no calls between them. */
EK_INLINE uint64_t ek_tick_cost(uint32_t readings) {
    volatile uint64_t sum = 0; /* in memory, as the sums of a program are */
    uint32_t i;
    ek_tick last = ek_tick_read();
    for (i = 0; i < readings; ++i) sum += ek_tick_since(&last);
    return sum;
}

#endif
#endif
