/* The head of a state blob: magic EKS1, version, 32 bytes of graph hash; little endian on every machine. */
#ifndef EK_BLOB_H
#define EK_BLOB_H

#include "base.h"

#define EK_BLOB_VERSION 1u
#define EK_BLOB_HEADER 40u

EK_INLINE uint8_t *ek_save_u32(uint8_t *blob, uint32_t v) {
    blob[0] = (uint8_t)v;
    blob[1] = (uint8_t)(v >> 8);
    blob[2] = (uint8_t)(v >> 16);
    blob[3] = (uint8_t)(v >> 24);
    return blob + 4;
}
EK_INLINE uint32_t ek_read_u32(const uint8_t *blob) {
    return (uint32_t)blob[0] | (uint32_t)blob[1] << 8 | (uint32_t)blob[2] << 16 | (uint32_t)blob[3] << 24;
}

EK_INLINE uint8_t *ek_save_header(uint8_t *blob, const uint8_t *hash) {
    uint32_t i;
    blob[0] = 'E', blob[1] = 'K', blob[2] = 'S', blob[3] = '1';
    blob = ek_save_u32(blob + 4, EK_BLOB_VERSION);
    for (i = 0; i < 32u; ++i) blob[i] = hash[i];
    return blob + 32;
}
EK_INLINE int ek_good_header(const uint8_t *blob, const uint8_t *hash) {
    uint32_t i, good = blob[0] == 'E' && blob[1] == 'K' && blob[2] == 'S' && blob[3] == '1';
    good &= ek_read_u32(blob + 4) == EK_BLOB_VERSION;
    for (i = 0; i < 32u; ++i) good &= blob[8u + i] == hash[i];
    return (int)good;
}

#endif
