/* One window of a smartwatch through an integer program: raw reals in, one class out, said over semihosting.
 *
 * Fits a spiking model with six input channels in int16 and seven outputs (examples/har/checkpoints/l2mu_B.pt); for
 * another model take the types of step from ek_<model>.h.
 */
#include <stdint.h>

#include "edgekit_model.h"
#include "semihosting.h"

#define CHANNELS 6
#define STEPS 40
#define CLASSES 7

static edgekit_model model; /* all the memory it has: no heap */

/* The place of a driver: acceleration in m/s², rotation in rad/s. */
static void read_sensor(int t, float raw[CHANNELS]) {
    int i;
    for (i = 0; i < CHANNELS; ++i) raw[i] = (float)(t * (i + 3) % 17 - 8) * 0.5f;
}

int main(void) {
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
    leave();
    return 0;
}
