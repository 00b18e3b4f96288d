/*
 * Runs a library that is sent to it, over stdin and stdout: the other end of edgekit/toolchain/wire.py.
 * AArch64 Linux, no libc. It keeps nothing: memory is mapped where the requests say.
 */
#include <stdint.h>

enum { MAP = 1, PROTECT, WRITE, READ, CALL, WATCH };
enum { OK, REFUSED };
enum { SYS_READ = 63, SYS_WRITE = 64, SYS_EXIT = 93, SYS_MMAP = 222, SYS_MPROTECT = 226, SYS_PRLIMIT = 261 };
enum { RLIMIT_CORE = 4 };
enum { PROT_READ = 1, PROT_WRITE = 2, MAP_PRIVATE = 2, MAP_FIXED = 16, MAP_ANONYMOUS = 32 };

typedef uint64_t (*function)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);

static int64_t sys(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e) {
    register uint64_t x8 __asm__("x8") = number;
    register uint64_t x0 __asm__("x0") = a;
    register uint64_t x1 __asm__("x1") = b;
    register uint64_t x2 __asm__("x2") = c;
    register uint64_t x3 __asm__("x3") = d;
    register uint64_t x4 __asm__("x4") = e;
    register uint64_t x5 __asm__("x5") = 0;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory", "cc");
    return (int64_t)x0;
}

/* Moves `size` bytes at `at` from stdin or to stdout; ends the process when the other side is gone. */
static void transfer(uint64_t call, uint64_t at, uint64_t size) {
    while (size) {
        int64_t n = sys(call, call == SYS_WRITE, at, size, 0, 0);
        if (n <= 0) {
            sys(SYS_EXIT, n < 0, 0, 0, 0, 0);
        }
        at += (uint64_t)n;
        size -= (uint64_t)n;
    }
}

static void reply(uint64_t status, uint64_t value, const void *payload, uint64_t size) {
    uint64_t head[3];
    head[0] = status;
    head[1] = value;
    head[2] = size;
    transfer(SYS_WRITE, (uint64_t)head, sizeof head);
    transfer(SYS_WRITE, (uint64_t)payload, size);
}

static uint64_t call(uint64_t at, uint64_t count) {
    uint64_t a[8];
    int i;
    for (i = 0; i < 8; i++) {
        a[i] = 0;
    }
    transfer(SYS_READ, (uint64_t)a, 8 * count);
    return ((function)at)(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]);
}

__attribute__((noreturn, used)) static void serve(void) {
    static const char NAME[] = "qemu-user";
    static const char FAULT[] = "the memory request is not possible";
    uint64_t r[4];
    r[0] = r[1] = 0; /* a fault of the library should not litter the folder with core files */
    sys(SYS_PRLIMIT, 0, RLIMIT_CORE, (uint64_t)r, 0, 0);
    reply(OK, 0, NAME, sizeof NAME - 1);
    for (;;) {
        int64_t failed = 0;
        transfer(SYS_READ, (uint64_t)r, sizeof r);
        switch (r[0]) {
        case MAP:
            failed = sys(SYS_MMAP, r[1], r[2], PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS,
                         (uint64_t)-1) != (int64_t)r[1];
            break;
        case PROTECT:
            failed = sys(SYS_MPROTECT, r[1], r[2], r[3], 0, 0);
            break;
        case WRITE:
            transfer(SYS_READ, r[1], r[2]);
            break;
        case READ:
            reply(OK, 0, (const void *)r[1], r[2]);
            continue;
        case CALL:
            reply(OK, call(r[1], r[2]), 0, 0);
            continue;
        default:
            failed = 1;
        }
        reply(failed ? REFUSED : OK, 0, FAULT, failed ? sizeof FAULT - 1 : 0);
    }
}

__asm__(".globl _start\n_start:\n\tmov x29, xzr\n\tmov x30, xzr\n\tbl serve\n");
