/* What programs on a board need of Linux: files, memory, the clock, and an exit. */
#ifndef EK_MEASURER_SYSTEM_H
#define EK_MEASURER_SYSTEM_H

#include "linux.h"

typedef unsigned char byte;

enum { READABLE = 1, WRITABLE = 2, EXECUTABLE = 4 }; /* PROT_*, and PF_* the other way round */
enum { INPUT = 0, OUTPUT = 1 };

#if defined(__aarch64__)
#define VDSO_CLOCK "__kernel_clock_gettime"
#else
#define VDSO_CLOCK "__vdso_clock_gettime"
#endif

EK_START(begin);

/* What the C library would have. The compilers are told to make no calls of such loops. */
static word length_of(const char *text) {
    word n = 0;
    while (text[n]) n++;
    return n;
}

static int same(const void *a, const void *b, word n) {
    word i;
    for (i = 0; i < n; i++) {
        if (((const byte *)a)[i] != ((const byte *)b)[i]) return 0;
    }
    return 1;
}

static void copy(void *to, const void *from, word n) {
    word i;
    for (i = 0; i < n; i++) ((byte *)to)[i] = ((const byte *)from)[i];
}

__attribute__((noreturn)) static void leave(int code) {
    for (;;) sys(SYS_EXIT, (word)code, 0, 0, 0, 0);
}

/* Writes all of it; ends the process when nobody reads any more. */
static void put(const void *from, word size) {
    word at = (word)from;
    while (size) {
        intptr_t n = sys(SYS_WRITE, OUTPUT, at, size, 0, 0);
        if (n == -4) continue; /* EINTR */
        if (n <= 0) leave(3);
        at += (word)n;
        size -= (word)n;
    }
}

/* Says in words why it cannot go on, and a number that belongs to it, and ends: each program in its own way. */
__attribute__((noreturn)) static void fail(const char *why, int64_t number);

/* Zeros, from a page border on. */
static void *room(word size) {
    enum { PRIVATE_ANONYMOUS = 2 | 32 };
    intptr_t at = sys(SYS_MMAP, 0, size ? size : 1, READABLE | WRITABLE, PRIVATE_ANONYMOUS, (word)-1);
    if (at < 0 && at > -4096) fail("there is no memory for so many bytes", (int64_t)size);
    return (void *)at;
}

enum { NEVER_LARGER = 1 << 30 };

/* A whole file in memory of its own. */
static byte *file(const char *path, word *size) {
    enum { AT_FDCWD = -100, END = 2 };
    intptr_t descriptor = sys(SYS_OPENAT, (word)(intptr_t)AT_FDCWD, (word)path, 0, 0, 0), bytes;
    byte *made;
    word got = 0;
    if (descriptor < 0) fail("a file cannot be opened, error", -descriptor);
    bytes = sys(SYS_LSEEK, (word)descriptor, 0, END, 0, 0);
    if (bytes < 0 || bytes > NEVER_LARGER) fail("a file is too large, bytes", bytes);
    sys(SYS_LSEEK, (word)descriptor, 0, 0, 0, 0);
    made = room((word)bytes);
    while (got < (word)bytes) {
        intptr_t n = sys(SYS_READ, (word)descriptor, (word)made + got, (word)bytes - got, 0, 0);
        if (n <= 0) fail("a file cannot be read, error", -n);
        got += (word)n;
    }
    sys(SYS_CLOSE, (word)descriptor, 0, 0, 0, 0);
    *size = got;
    return made;
}

/* CLOCK_MONOTONIC: the clock of whoever samples a sensor beside this process. Read without a system call where the
   kernel maps its own function for that (`vdso_clock`, found by measurer_image.h). */
typedef struct {
    long seconds, nanoseconds;
} timespec;
enum { MONOTONIC = 1, ABSOLUTE = 1 };
typedef int (*clock_function)(int, timespec *);
static clock_function vdso_clock;

static inline uint64_t now(void) {
    timespec t;
    if (!vdso_clock || vdso_clock(MONOTONIC, &t)) sys(SYS_CLOCK_GETTIME, MONOTONIC, (word)&t, 0, 0, 0);
    return (uint64_t)t.seconds * 1000000000u + (uint64_t)t.nanoseconds;
}

/* In two parts: 32-bit Arm has no instruction for a division of 64 bits. */
static timespec later(timespec t, uint32_t seconds, uint32_t nanoseconds) {
    t.seconds += (long)seconds;
    t.nanoseconds += (long)nanoseconds;
    if (t.nanoseconds >= 1000000000) {
        t.nanoseconds -= 1000000000;
        t.seconds++;
    }
    return t;
}

static uint64_t nanoseconds(timespec t) { return (uint64_t)t.seconds * 1000000000u + (uint64_t)t.nanoseconds; }

static timespec time_now(void) {
    timespec t;
    sys(SYS_CLOCK_GETTIME, MONOTONIC, (word)&t, 0, 0, 0);
    return t;
}

static void sleep_until(timespec t) {
    while (sys(SYS_CLOCK_NANOSLEEP, MONOTONIC, ABSOLUTE, (word)&t, 0, 0) == -4) {} /* EINTR */
}

/* How often the system took the processor away from this process. */
static uint64_t preemptions(void) {
    long usage[36];
    return sys(SYS_GETRUSAGE, 0, (word)usage, 0, 0, 0) ? 0 : (uint64_t)usage[17];
}

#endif
