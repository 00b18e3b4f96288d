/* One window of a smartwatch through an integer program: raw reals in, one class out. */
#include <zephyr/kernel.h>
#include <zephyr/sys/printk.h>

#include "edgekit_model.h"

#define CHANNELS 6
#define STEPS 40
#define CLASSES 7

static edgekit_model model; /* all the memory it has */

/* The place of a driver: acceleration in m/s², rotation in rad/s. */
static void read_sensor(int t, float raw[CHANNELS])
{
	for (int i = 0; i < CHANNELS; ++i) {
		raw[i] = (float)((t * (i + 3)) % 17 - 8) * 0.5f;
	}
}

int main(void)
{
	int32_t votes[CLASSES] = {0};
	int best = 0;

	EK(init)(&model);
	for (int t = 0; t < STEPS; ++t) {
		float raw[CHANNELS];
		int16_t x[CHANNELS];
		int8_t spikes[CLASSES];
		const uint32_t start = k_cycle_get_32();

		read_sensor(t, raw);
		EK(quantize)(&model, raw, x);
		EK(step)(&model, x, spikes);
		if (t == 0) {
			printk("first step: %u cycles\n", k_cycle_get_32() - start);
		}
		for (int c = 0; c < CLASSES; ++c) {
			votes[c] += spikes[c];
		}
	}
	for (int c = 1; c < CLASSES; ++c) {
		if (votes[c] > votes[best]) {
			best = c;
		}
	}
	printk("class %d with %d spikes\n", best, (int)votes[best]);
	return 0;
}
