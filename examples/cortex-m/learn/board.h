/* What a board has to give an application that learns: flash for the journal, and windows of its sensor.
 *
 * board.c does it for the emulated boards, which have neither. Put your drivers in its place.
 */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

#include "ekj_flash.h"

#define CHANNELS 6
#define STEPS 40
#define HISTORY 1u /* earlier commits that can be taken back */

/* Flash for HISTORY + 2 slots, of one page each. */
const ekj_flash *board_flash(void);

/* One window: acceleration in m/s², rotation in rad/s. Which `motion` it shows is for the emulated sensor alone. */
void board_window(uint32_t motion, uint32_t number, float raw[STEPS * CHANNELS]);

/* --- what only an emulator needs: */

/* How often the board has started since it was new, this time included. */
uint32_t board_starts(void);

/* Lose power after so many more bytes have been written to flash. */
void board_lose_power_after(uint32_t nbytes);

/* Write the flash to a file of the computer. */
void board_save(const char *path);

#endif
