/* Emulated boards: flash in RAM, which stays as it is when the core starts again, and made-up windows. */
#include "board.h"

#include "ekj_ram.h"
#include "semihosting.h"

#define PAGE_BYTES 4096u
#define UNIT_BYTES 4u
#define MAGIC 0x31474445u
#define NEVER 0xFFFFFFFFu

/* What lasts when power is lost. The Makefile puts it between the variables and the stack: no section, or the emulator
 * would fill it again at each start.
 */
extern struct {
    uint32_t magic, starts;
    uint8_t flash[(HISTORY + 2u) * PAGE_BYTES];
} board_lasting;

static ekj_ram ram;
static ekj_flash flash, whole;
static uint32_t left = NEVER; /* bytes until power is lost */

static void lose_power(void) {
    volatile uint32_t *control = (volatile uint32_t *)0xe000ed0cu; /* AIRCR: a reset of the whole system */
    *control = 0x05fa0004u;
    for (;;) __asm__ volatile("dsb");
}

static int cut_write(void *context, uint32_t offset, const uint8_t *data, uint32_t nbytes) {
    if (nbytes > left) {
        whole.write(context, offset, data, left / UNIT_BYTES * UNIT_BYTES);
        lose_power();
    }
    if (left != NEVER) left -= nbytes;
    return whole.write(context, offset, data, nbytes);
}

const ekj_flash *board_flash(void) {
    ekj_ram_flash(&whole, &ram, board_lasting.flash, PAGE_BYTES, HISTORY + 2u, UNIT_BYTES);
    flash = whole;
    flash.write = cut_write;
    return &flash;
}

void board_lose_power_after(uint32_t nbytes) { left = nbytes; }

uint32_t board_starts(void) {
    uint32_t i;
    if (board_lasting.magic != MAGIC) { /* flash comes erased */
        for (i = 0; i < sizeof board_lasting.flash; ++i) board_lasting.flash[i] = 0xFF;
        board_lasting.magic = MAGIC;
        board_lasting.starts = 0;
    }
    return ++board_lasting.starts;
}

/* Every motion has a period, and axes that it moves; the numbers are exact, so that any computer makes the same. */
void board_window(uint32_t motion, uint32_t number, float raw[STEPS * CHANNELS]) {
    uint32_t t, c, seed = (motion * 1000u + number + 1u) * 2654435761u;
    for (t = 0; t < STEPS; ++t)
        for (c = 0; c < CHANNELS; ++c) {
            const int32_t at = (int32_t)((t * (motion + 2u) + 5u * c) % 32u), wave = at < 16 ? at : 31 - at;
            int32_t noise;
            seed = seed * 1664525u + 1013904223u;
            noise = (int32_t)(seed >> 29);
            raw[t * CHANNELS + c] =
                (float)((wave - 8) * (int32_t)(1u + (motion + c) % 3u) + noise - 4) * (c < 3u ? 0.5f : 0.125f);
        }
}

void board_save(const char *path) {
    uint32_t length = 0, open[3], write[3];
    while (path[length]) ++length;
    open[0] = (uint32_t)(uintptr_t)path;
    open[1] = 5u; /* "wb" */
    open[2] = length;
    write[0] = (uint32_t)semihosting(0x01, open);
    write[1] = (uint32_t)(uintptr_t)board_lasting.flash;
    write[2] = sizeof board_lasting.flash;
    say(semihosting(0x05, write) == 0 ? "flash written to " : "flash NOT written to ");
    say(path);
    say("\n");
    semihosting(0x02, write);
}
