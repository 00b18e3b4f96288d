/* One window of a smartwatch through an integer program: raw reals in, one class out, said over semihosting.
 *
 * Fits a spiking model with six input channels in int16 and seven outputs (examples/har/checkpoints/l2mu_B.pt); for
 * another model take the types of step from ek_<model>.h.
 */
#include <stdint.h>

#include "edgekit_model.h"

#define CHANNELS 6
#define STEPS 40
#define CLASSES 7

static edgekit_model model; /* all the memory it has: no heap */

/* A debugger, or an emulator, does what `operation` says. Without one, leave these calls out. */
static int semihosting(int operation, const void *argument) {
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void say(const char *text) { semihosting(0x04, text); }

static void say_number(uint32_t number) {
    char digits[12], *at = digits + sizeof digits;
    *--at = 0;
    do *--at = (char)('0' + number % 10u);
    while (number /= 10u);
    say(at);
}

/* The place of a driver: acceleration in m/s², rotation in rad/s. */
static void read_sensor(int t, float raw[CHANNELS]) {
    int i;
    for (i = 0; i < CHANNELS; ++i) raw[i] = (float)(t * (i + 3) % 17 - 8) * 0.5f;
}

int main(void) {
    static const uint32_t done[2] = {0x20026, 0}; /* ADP_Stopped_ApplicationExit, code 0 */
    uint32_t votes[CLASSES] = {0};
    int t, c, best = 0;

    EK(init)(&model);
    for (t = 0; t < STEPS; ++t) {
        float raw[CHANNELS];
        int16_t x[CHANNELS];
        int8_t spikes[CLASSES];

        read_sensor(t, raw);
        EK(quantize)(&model, raw, x);
        EK(step)(&model, x, spikes);
        for (c = 0; c < CLASSES; ++c) votes[c] += (uint32_t)spikes[c];
    }
    for (c = 1; c < CLASSES; ++c)
        if (votes[c] > votes[best]) best = c;
    say("spikes");
    for (c = 0; c < CLASSES; ++c) {
        say(" ");
        say_number(votes[c]);
    }
    say("\nclass ");
    say_number((uint32_t)best);
    say("\n");
    semihosting(0x20, done);
    return 0;
}
