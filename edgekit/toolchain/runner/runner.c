/*
 * Runs a library that is sent to it, over stdin and stdout: the other end of edgekit/toolchain/wire.py.
 * AArch64 and 32-bit Arm Linux, no libc. It keeps nothing: memory is mapped where the requests say.
 */
#include "linux.h"

enum { MAP = 1, PROTECT, WRITE, READ, CALL, WATCH };
enum { OK, REFUSED };
enum { RLIMIT_CORE = 4 };
enum { PROT_READ = 1, PROT_WRITE = 2, MAP_PRIVATE = 2, MAP_FIXED = 16, MAP_ANONYMOUS = 32 };

typedef word (*function)(word, word, word, word, word, word, word, word, word, word, word, word, word, word, word,
                         word);

EK_START(serve);

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
