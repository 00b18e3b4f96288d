/*
 * Runs a library that is sent to it, over stdin and stdout: the other end of edgekit/toolchain/wire.py.
 * AArch64 and 32-bit Arm Linux, no libc. It keeps nothing: memory is mapped where the requests say.
 */
#include <stdint.h>

enum { MAP = 1, PROTECT, WRITE, READ, CALL, WATCH };
enum { OK, REFUSED };
enum { RLIMIT_CORE = 4 };
enum { PROT_READ = 1, PROT_WRITE = 2, MAP_PRIVATE = 2, MAP_FIXED = 16, MAP_ANONYMOUS = 32 };

typedef uintptr_t word;
typedef word (*function)(word, word, word, word, word, word, word, word, word, word, word, word, word, word, word,
                         word);

#if defined(__aarch64__)
enum { SYS_READ = 63, SYS_WRITE = 64, SYS_EXIT = 93, SYS_MMAP = 222, SYS_MPROTECT = 226, SYS_PRLIMIT = 261 };

static intptr_t sys(word number, word a, word b, word c, word d, word e) {
    register word x8 __asm__("x8") = number;
    register word x0 __asm__("x0") = a;
    register word x1 __asm__("x1") = b;
    register word x2 __asm__("x2") = c;
    register word x3 __asm__("x3") = d;
    register word x4 __asm__("x4") = e;
    register word x5 __asm__("x5") = 0;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory", "cc");
    return (intptr_t)x0;
}

__asm__(".globl _start\n_start:\n\tmov x29, xzr\n\tmov x30, xzr\n\tbl serve\n");
#elif defined(__arm__)
/* SYS_MMAP is mmap2, whose offset counts pages; here the offset is always 0. */
enum { SYS_READ = 3, SYS_WRITE = 4, SYS_EXIT = 1, SYS_MMAP = 192, SYS_MPROTECT = 125, SYS_PRLIMIT = 369 };

static intptr_t sys(word number, word a, word b, word c, word d, word e) {
    register word r7 __asm__("r7") = number;
    register word r0 __asm__("r0") = a;
    register word r1 __asm__("r1") = b;
    register word r2 __asm__("r2") = c;
    register word r3 __asm__("r3") = d;
    register word r4 __asm__("r4") = e;
    register word r5 __asm__("r5") = 0;
    __asm__ volatile("svc #0" : "+r"(r0) : "r"(r7), "r"(r1), "r"(r2), "r"(r3), "r"(r4), "r"(r5) : "memory", "cc");
    return (intptr_t)r0;
}

__asm__(".globl _start\n_start:\n\tmov r11, #0\n\tmov lr, #0\n\tbl serve\n");
#endif

/* Moves `size` bytes at `at` from stdin or to stdout; ends the process when the other side is gone. */
static void transfer(word call, word at, word size) {
    while (size) {
        intptr_t n = sys(call, call == SYS_WRITE, at, size, 0, 0);
        if (n <= 0) {
            sys(SYS_EXIT, n < 0, 0, 0, 0, 0);
        }
        at += (word)n;
        size -= (word)n;
    }
}

static void reply(uint64_t status, uint64_t value, const void *payload, word size) {
    uint64_t head[3];
    head[0] = status;
    head[1] = value;
    head[2] = size;
    transfer(SYS_WRITE, (word)head, sizeof head);
    transfer(SYS_WRITE, (word)payload, size);
}

static word call(word at, word count) {
    uint64_t a[16];
    int i;
    for (i = 0; i < 16; i++) {
        a[i] = 0;
    }
    transfer(SYS_READ, (word)a, 8 * count);
    return ((function)at)((word)a[0], (word)a[1], (word)a[2], (word)a[3], (word)a[4], (word)a[5], (word)a[6],
                          (word)a[7], (word)a[8], (word)a[9], (word)a[10], (word)a[11], (word)a[12], (word)a[13],
                          (word)a[14], (word)a[15]);
}

__attribute__((noreturn, used)) static void serve(void) {
    static const char NAME[] = "qemu-user";
    static const char FAULT[] = "the memory request is not possible";
    uint64_t r[4];
    r[0] = r[1] = 0; /* a fault of the library should not litter the folder with core files */
    sys(SYS_PRLIMIT, 0, RLIMIT_CORE, (word)r, 0, 0);
    reply(OK, 0, NAME, sizeof NAME - 1);
    for (;;) {
        int failed = 0;
        word at, size;
        transfer(SYS_READ, (word)r, sizeof r);
        at = (word)r[1];
        size = (word)r[2];
        switch (r[0]) {
        case MAP:
            failed = sys(SYS_MMAP, at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS,
                         (word)-1) != (intptr_t)at;
            break;
        case PROTECT:
            failed = sys(SYS_MPROTECT, at, size, (word)r[3], 0, 0) != 0;
            break;
        case WRITE:
            transfer(SYS_READ, at, size);
            break;
        case READ:
            reply(OK, 0, (const void *)at, size);
            continue;
        case CALL:
            reply(OK, call(at, size), 0, 0);
            continue;
        default:
            failed = 1;
        }
        reply(failed ? REFUSED : OK, 0, FAULT, failed ? sizeof FAULT - 1 : 0);
    }
}
