/* Flash as the journal sees it: what a board has to provide.
 *
 * Every function returns 0 when it has done all of it, and another number when it has not.
 *     erase  sets every byte of one page to 0xFF
 *     write  takes whole units, at a multiple of unit_bytes, that are still erased; it has been done when it returns
 *     read   copies bytes; where a unit cannot be read (a wrong ECC) it returns another number than 0 and does not trap
 *     sync   returns when all that was erased and written is certain to last; NULL where it always is
 */
#ifndef EKJ_FLASH_H
#define EKJ_FLASH_H

#include <stdint.h>

typedef struct ekj_flash {
    void *context;       /* handed to every function */
    uint32_t page_bytes; /* what one erase clears: a power of two from 64 to 1 MiB */
    uint32_t page_count;
    uint32_t unit_bytes; /* what one write programs at least: 1, 2, 4, 8, 16 or 32 */
    int (*erase)(void *context, uint32_t page);
    int (*write)(void *context, uint32_t offset, const uint8_t *data, uint32_t nbytes);
    int (*read)(void *context, uint32_t offset, uint8_t *data, uint32_t nbytes);
    int (*sync)(void *context);
} ekj_flash;

#endif
