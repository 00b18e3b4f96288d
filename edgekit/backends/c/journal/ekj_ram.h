/* Flash in memory: for tests, and for RAM that keeps its bytes while the rest of a board sleeps. */
#ifndef EKJ_RAM_H
#define EKJ_RAM_H

#include "ekj_flash.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ekj_ram {
    uint8_t *image;
    uint32_t nbytes, page_bytes, unit_bytes;
} ekj_ram;

/* Describe `image`, page_count * page_bytes long, as flash. Its bytes stay as they are. */
void ekj_ram_flash(ekj_flash *flash, ekj_ram *ram, uint8_t *image, uint32_t page_bytes, uint32_t page_count,
                   uint32_t unit_bytes);

#ifdef __cplusplus
}
#endif
#endif
