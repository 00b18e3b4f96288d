#include "ekj_ram.h"

static int inside(const ekj_ram *ram, uint32_t offset, uint32_t n) {
    return offset <= ram->nbytes && n <= ram->nbytes - offset;
}

static int ram_erase(void *context, uint32_t page) {
    const ekj_ram *ram = (const ekj_ram *)context;
    uint32_t i;
    if (page >= ram->nbytes / ram->page_bytes) return 1;
    for (i = 0; i < ram->page_bytes; ++i) ram->image[page * ram->page_bytes + i] = 0xFF;
    return 0;
}

static int ram_write(void *context, uint32_t offset, const uint8_t *data, uint32_t nbytes) {
    const ekj_ram *ram = (const ekj_ram *)context;
    uint32_t i;
    if (!inside(ram, offset, nbytes) || ((offset | nbytes) & (ram->unit_bytes - 1u))) return 1;
    for (i = 0; i < nbytes; ++i)
        if (ram->image[offset + i] != 0xFF) return 1;
    for (i = 0; i < nbytes; ++i) ram->image[offset + i] = data[i];
    return 0;
}

static int ram_read(void *context, uint32_t offset, uint8_t *data, uint32_t nbytes) {
    const ekj_ram *ram = (const ekj_ram *)context;
    uint32_t i;
    if (!inside(ram, offset, nbytes)) return 1;
    for (i = 0; i < nbytes; ++i) data[i] = ram->image[offset + i];
    return 0;
}

void ekj_ram_flash(ekj_flash *flash, ekj_ram *ram, uint8_t *image, uint32_t page_bytes, uint32_t page_count,
                   uint32_t unit_bytes) {
    ram->image = image;
    ram->nbytes = page_bytes * page_count;
    ram->page_bytes = page_bytes;
    ram->unit_bytes = unit_bytes;
    flash->context = ram;
    flash->page_bytes = page_bytes;
    flash->page_count = page_count;
    flash->unit_bytes = unit_bytes;
    flash->erase = ram_erase;
    flash->write = ram_write;
    flash->read = ram_read;
    flash->sync = 0;
}
