/* What a Cortex-M runs from reset to main, and where it stops when it must not go on. C99 without libc.
 *
 * For a board of your own, extend the vector table with the interrupts of its chip, and let the linker script say where
 * its memories are; the vector table belongs at the address that the core starts from.
 */
#include <stdint.h>

#define STACK_PAINT 0xa5a5a5a5u

/* The linker script has their values. */
extern uint32_t ek_stack_bottom[], ek_stack_top[];
extern uint32_t ek_data_load[], ek_data_start[], ek_data_end[], ek_bss_start[], ek_bss_end[];

int main(void);
void Reset(void);

/* What a debugger looks at after a stop: 0 nothing yet, 1 main returned, 2 a fault; the program counter and the link
 * register of the fault, and the core's own registers CFSR, BFAR and, of a core with TrustZone, SFSR, SFAR.
 */
typedef struct {
    uint32_t stopped, pc, lr, status, address, secure_status, secure_address;
    int32_t main;
} ek_report_t;
volatile ek_report_t ek_report;

/* The end of every run. */
__attribute__((noreturn, noinline, used)) void ek_stop(void) {
    for (;;) __asm__ volatile("");
}

/* Memory by words, from `at` to `end`. The loops must not become calls of memset, or vectors before they are allowed. */
__attribute__((noinline)) static void fill(uint32_t *at, const uint32_t *end, uint32_t value) {
    for (; at < end; ++at) *(volatile uint32_t *)at = value;
}

__attribute__((noreturn, used)) static void start(void) {
    const uint32_t *from = ek_data_load;
    uint32_t *to;
    fill(ek_bss_start, ek_bss_end, 0);
    for (to = ek_data_start; to < ek_data_end; ++to) *(volatile uint32_t *)to = *from++;
    ek_report.main = main();
    ek_report.stopped = 1;
    ek_stop();
}

/* Full access to coprocessors 10 and 11 (CPACR): the floating-point unit, and the vector unit where there is one. Until
 * then not one instruction of theirs may run, so this is no C.
 */
__attribute__((naked, noreturn, used)) void Reset(void) {
    __asm__ volatile(
        "movw r0, #0xed88\n"
        "movt r0, #0xe000\n"
        "ldr r1, [r0]\n"
        "orr r1, r1, #0xf00000\n"
        "str r1, [r0]\n"
        "dsb\n"
        "isb\n"
#if defined(__ARM_ARCH_8M_MAIN__) || defined(__ARM_ARCH_8_1M_MAIN__)
        "ldr r0, =ek_stack_bottom\n" /* a stack that grows below this is a fault */
        "msr msplim, r0\n"
#endif
        "ldr r0, =ek_stack_bottom\n" /* before any C, which may keep something there */
        "ldr r1, =%c1\n"
        "mov r2, sp\n"
        "1:\n"
        "str r1, [r0], #4\n"
        "cmp r0, r2\n"
        "bne 1b\n"
        "b %c0\n"
        ".ltorg\n"
        :
        : "i"(start), "i"(STACK_PAINT));
}

#define STACK_OVERFLOW (1u << 20) /* as CFSR of a core that limits its stack says it */

__attribute__((noreturn, used)) static void report(const uint32_t *frame) {
    const int kept = frame >= ek_stack_bottom && frame + 8 <= ek_stack_top; /* the core pushes eight registers */
    ek_report.pc = kept ? frame[6] : 0;
    ek_report.lr = kept ? frame[5] : 0;
    ek_report.status = *(volatile uint32_t *)0xe000ed28u | (kept ? 0 : STACK_OVERFLOW);
    ek_report.address = *(volatile uint32_t *)0xe000ed38u;
#if defined(__ARM_FEATURE_CMSE)
    ek_report.secure_status = *(volatile uint32_t *)0xe000ede4u;
    ek_report.secure_address = *(volatile uint32_t *)0xe000ede8u;
#endif
    ek_report.stopped = 2;
    ek_stop();
}

/* Every fault, with the registers that the core pushed on the main stack, which nothing here leaves; from the top of
 * the stack, because there may be no room below.
 */
__attribute__((naked, noreturn, used)) static void fault(void) {
    __asm__ volatile(
#if defined(__ARM_ARCH_8M_MAIN__) || defined(__ARM_ARCH_8_1M_MAIN__)
        "movs r0, #0\n"
        "msr msplim, r0\n"
#endif
        "mov r0, sp\n"
        "ldr r1, =ek_stack_top\n"
        "mov sp, r1\n"
        "b %c0\n"
        ".ltorg\n"
        :
        : "i"(report));
}

__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    void (*handlers[15])(void);
} VECTORS = {ek_stack_top,
             {Reset, fault, fault, fault, fault, fault, fault, 0, 0, 0, fault, fault, 0, fault, fault}};
