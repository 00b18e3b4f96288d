/* System calls of Linux without libc, on x86-64, AArch64 and 32-bit Arm. EK_START(f) is the entry point of a program that
 * begins in f, which gets the stack as the kernel made it: the number of arguments, and they.
 */
#ifndef EK_LINUX_H
#define EK_LINUX_H

#include <stdint.h>

typedef uintptr_t word;

#if defined(__x86_64__)
enum {
    SYS_READ = 0, SYS_WRITE = 1, SYS_CLOSE = 3, SYS_LSEEK = 8, SYS_MMAP = 9, SYS_MPROTECT = 10, SYS_EXECVE = 59,
    SYS_EXIT = 60, SYS_WAIT4 = 61, SYS_GETRUSAGE = 98, SYS_CLOCK_GETTIME = 228, SYS_CLOCK_NANOSLEEP = 230,
    SYS_OPENAT = 257, SYS_PPOLL = 271, SYS_DUP3 = 292, SYS_PIPE2 = 293, SYS_PRLIMIT = 302, SYS_CLONE = 56
};

static intptr_t sys(word number, word a, word b, word c, word d, word e) {
    register word r10 __asm__("r10") = d;
    register word r8 __asm__("r8") = e;
    register word r9 __asm__("r9") = 0;
    intptr_t result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

#define EK_START(function) \
    __asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall " #function "\n")
#elif defined(__aarch64__)
enum {
    SYS_DUP3 = 24, SYS_OPENAT = 56, SYS_CLOSE = 57, SYS_PIPE2 = 59, SYS_LSEEK = 62, SYS_READ = 63, SYS_WRITE = 64,
    SYS_PPOLL = 73, SYS_EXIT = 93, SYS_CLOCK_GETTIME = 113, SYS_CLOCK_NANOSLEEP = 115, SYS_GETRUSAGE = 165,
    SYS_CLONE = 220, SYS_EXECVE = 221, SYS_MMAP = 222, SYS_MPROTECT = 226, SYS_WAIT4 = 260, SYS_PRLIMIT = 261
};

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

#define EK_START(function) \
    __asm__(".globl _start\n_start:\n\tmov x29, xzr\n\tmov x30, xzr\n\tmov x0, sp\n\tbl " #function "\n")
#elif defined(__arm__)
/* SYS_MMAP is mmap2, whose offset counts pages; here the offset is always 0. Times are of 32 bits, and fit. */
enum {
    SYS_EXIT = 1, SYS_READ = 3, SYS_WRITE = 4, SYS_CLOSE = 6, SYS_EXECVE = 11, SYS_LSEEK = 19, SYS_GETRUSAGE = 77,
    SYS_WAIT4 = 114, SYS_CLONE = 120, SYS_MPROTECT = 125, SYS_MMAP = 192, SYS_CLOCK_GETTIME = 263,
    SYS_CLOCK_NANOSLEEP = 265, SYS_OPENAT = 322, SYS_PPOLL = 336, SYS_DUP3 = 358, SYS_PIPE2 = 359, SYS_PRLIMIT = 369,
    SYS_CACHEFLUSH = 0xf0002
};

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

#define EK_START(function) \
    __asm__(".globl _start\n_start:\n\tmov r11, #0\n\tmov lr, #0\n\tmov r0, sp\n\tbic sp, sp, #7\n\tbl " #function "\n")
#endif

#endif
