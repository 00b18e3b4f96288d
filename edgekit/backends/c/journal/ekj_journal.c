#include "ekj_journal.h"

#define CHUNK 64u /* bytes that are copied at once: a multiple of every unit */
#define NO_CRC 0xFFFFFFFFu
#define CRC_AT 60u
#define ARTIFACT_AT 28u
#define ARTIFACT_BYTES 32u
#define VERSION 1u

enum kind { VALID, ERASED, DAMAGED, FOREIGN };

/* What a slot says of itself. */
typedef struct header {
    uint32_t commit, source, mark, flags;
} header;

/* Where a payload comes from: parts in memory, or a place in flash. */
typedef struct origin {
    const ekj_part *parts;
    uint32_t count, offset;
} origin;

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

static uint32_t get32(const uint8_t *p) {
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint8_t *put32(uint8_t *p, uint32_t x) {
    p[0] = (uint8_t)x;
    p[1] = (uint8_t)(x >> 8);
    p[2] = (uint8_t)(x >> 16);
    p[3] = (uint8_t)(x >> 24);
    return p + 4;
}

static int is_erased(const uint8_t *p, uint32_t n) {
    uint8_t all = 0xFF;
    uint32_t i;
    for (i = 0; i < n; ++i) all &= p[i];
    return all == 0xFF;
}

static int equal(const uint8_t *a, const uint8_t *b, uint32_t n) {
    uint8_t differ = 0;
    uint32_t i;
    for (i = 0; i < n; ++i) differ |= (uint8_t)(a[i] ^ b[i]);
    return !differ;
}

static uint32_t exponent(uint32_t power_of_two) {
    uint32_t e = 0;
    while (power_of_two >>= 1) ++e;
    return e;
}

/* CRC-32 of IEEE 802.3, four bits at a time; it starts as NO_CRC and is inverted at the end. */
static uint32_t crc_on(uint32_t crc, const uint8_t *p, uint32_t n) {
    static const uint32_t of[16] = {
        0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u, 0x4DB26158u, 0x5005713Cu,
        0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu, 0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu,
    };
    uint32_t i;
    for (i = 0; i < n; ++i) {
        crc ^= p[i];
        crc = crc >> 4 ^ of[crc & 15u];
        crc = crc >> 4 ^ of[crc & 15u];
    }
    return crc;
}

static int flash_read(const ekj_journal *j, uint32_t offset, uint8_t *to, uint32_t n) {
    return j->flash->read(j->flash->context, offset, to, n) ? EKJ_FLASH : EKJ_OK;
}

static int flash_sync(const ekj_journal *j) {
    return j->flash->sync && j->flash->sync(j->flash->context) ? EKJ_FLASH : EKJ_OK;
}

static uint32_t slot_of(const ekj_journal *j, uint32_t commit) { return (commit - 1u) % j->slots; }

static uint32_t offset_of(const ekj_journal *j, uint32_t commit) { return slot_of(j, commit) * j->slot_bytes; }

/* The 60 bytes before the checksum. */
static void head_of(const ekj_journal *j, const header *h, uint8_t *head) {
    uint32_t i;
    head[0] = 'E';
    head[1] = 'K';
    head[2] = 'L';
    head[3] = 'J';
    head[4] = VERSION;
    head[5] = EKJ_HEADER_BYTES;
    head[6] = (uint8_t)h->flags;
    head[7] = 0;
    put32(put32(put32(put32(head + 8, h->flags & EKJ_FACTORY_WEIGHTS ? 0u : j->payload_bytes), h->commit), h->source),
          h->mark);
    head[24] = (uint8_t)exponent(j->flash->page_bytes);
    head[25] = 0;
    head[26] = (uint8_t)j->slots;
    head[27] = (uint8_t)(j->slots >> 8);
    for (i = 0; i < ARTIFACT_BYTES; ++i) head[ARTIFACT_AT + i] = j->artifact[i];
}

/* `n` bytes of a payload from `at` on. */
static int fetch(const ekj_journal *j, const origin *from, uint32_t at, uint8_t *to, uint32_t n) {
    uint32_t i, k;
    if (!from->parts) return flash_read(j, from->offset + at, to, n);
    for (i = 0; i < from->count && n; ++i) {
        uint32_t size = from->parts[i].nbytes;
        if (at < size) {
            uint32_t some = least(n, size - at);
            const uint8_t *bytes = (const uint8_t *)from->parts[i].data + at;
            for (k = 0; k < some; ++k) to[k] = bytes[k];
            to += some;
            n -= some;
            at = size;
        }
        at -= size;
    }
    return EKJ_OK;
}

/* The checksum of a slot: of the 60 bytes of `head`, and of a payload of `length` bytes. */
static int slot_crc(const ekj_journal *j, const uint8_t *head, const origin *from, uint32_t length, uint32_t *crc) {
    uint8_t chunk[CHUNK];
    uint32_t done, n;
    *crc = crc_on(NO_CRC, head, CRC_AT);
    for (done = 0; done < length; done += n) {
        n = least(CHUNK, length - done);
        if (fetch(j, from, done, chunk, n)) return EKJ_FLASH;
        *crc = crc_on(*crc, chunk, n);
    }
    *crc = ~*crc;
    return EKJ_OK;
}

/* Whether nothing is in the slot behind its header. */
static enum kind without_header(const ekj_journal *j, uint32_t at) {
    uint8_t chunk[CHUNK];
    uint32_t done;
    for (done = EKJ_HEADER_BYTES; done < j->slot_bytes; done += CHUNK)
        if (flash_read(j, at + done, chunk, CHUNK) || !is_erased(chunk, CHUNK)) return DAMAGED;
    return ERASED;
}

/* What a slot holds. The length is checked before the checksum, and nothing is believed before both. */
static enum kind inspect(const ekj_journal *j, uint32_t index, header *h) {
    uint32_t at = index * j->slot_bytes, flags, length, crc;
    uint8_t head[EKJ_HEADER_BYTES];
    origin from = {0, 0u, 0u};
    int foreign;
    if (flash_read(j, at, head, EKJ_HEADER_BYTES)) return DAMAGED;
    if (is_erased(head, EKJ_HEADER_BYTES)) return without_header(j, at);
    if (head[0] != 'E' || head[1] != 'K' || head[2] != 'L' || head[3] != 'J' || head[5] != EKJ_HEADER_BYTES)
        return DAMAGED;
    flags = head[6] | (uint32_t)head[7] << 8;
    length = get32(head + 8);
    h->commit = get32(head + 12);
    h->source = get32(head + 16);
    h->mark = get32(head + 20);
    h->flags = flags;
    foreign = head[4] != VERSION || !equal(head + ARTIFACT_AT, j->artifact, ARTIFACT_BYTES) ||
              (head[26] | (uint32_t)head[27] << 8) != j->slots || head[24] != exponent(j->flash->page_bytes);
    if (foreign && length > j->flash->page_bytes * j->flash->page_count - at - EKJ_HEADER_BYTES) return DAMAGED;
    if (!foreign && length != (flags & EKJ_FACTORY_WEIGHTS ? 0u : j->payload_bytes)) return DAMAGED;
    from.offset = at + EKJ_HEADER_BYTES;
    if (slot_crc(j, head, &from, length, &crc) || crc == NO_CRC || crc != get32(head + CRC_AT)) return DAMAGED;
    if (foreign) return FOREIGN;
    if (flags & ~(EKJ_LEARNING_OFF | EKJ_FACTORY_WEIGHTS)) return DAMAGED;
    if (h->commit == 0u || h->commit > EKJ_MAX_COMMIT || slot_of(j, h->commit) != index) return DAMAGED;
    if (h->source > h->commit || (h->source == 0u) != ((flags & EKJ_FACTORY_WEIGHTS) != 0u)) return DAMAGED;
    return VALID;
}

static void take(ekj_journal *j, const header *h) {
    j->commit = h->commit;
    j->source = h->source;
    j->mark = h->mark;
    j->flags = h->flags;
}

static void take_nothing(ekj_journal *j) {
    static const header nothing = {0u, 0u, 0u, EKJ_FACTORY_WEIGHTS};
    take(j, &nothing);
    j->foreign = 0u;
}

static int fits(const ekj_flash *f, uint32_t payload_bytes, uint32_t history) {
    uint32_t unit = f->unit_bytes, page = f->page_bytes;
    if (unit == 0u || unit > 32u || (unit & (unit - 1u))) return 0;
    if (page < 64u || page > 1u << 20 || (page & (page - 1u))) return 0;
    if (f->page_count == 0u || f->page_count > (1u << 31) / page) return 0;
    if (payload_bytes == 0u || payload_bytes > EKJ_MAX_PAYLOAD_BYTES || history > EKJ_MAX_HISTORY) return 0;
    return (history + 2u) * ((EKJ_HEADER_BYTES + payload_bytes + page - 1u) / page) <= f->page_count;
}

int ekj_open(ekj_journal *j, const ekj_flash *flash, const uint8_t *artifact, uint32_t payload_bytes,
             uint32_t history) {
    uint32_t i;
    if (!fits(flash, payload_bytes, history)) return EKJ_BAD_ARGUMENT;
    j->flash = flash;
    j->artifact = artifact;
    j->payload_bytes = payload_bytes;
    j->slot_bytes =
        (EKJ_HEADER_BYTES + payload_bytes + flash->page_bytes - 1u) / flash->page_bytes * flash->page_bytes;
    j->slots = history + 2u;
    take_nothing(j);
    for (i = 0; i < j->slots; ++i) {
        header h;
        enum kind kind = inspect(j, i, &h);
        if (kind == FOREIGN) j->foreign = 1u;
        if (kind == VALID && h.commit > j->commit) take(j, &h);
    }
    return j->foreign ? EKJ_FOREIGN : EKJ_OK;
}

static int parts_fit(const ekj_journal *j, const ekj_part *parts, uint32_t count) {
    uint32_t i, left = j->payload_bytes;
    for (i = 0; i < count; ++i) {
        if (parts[i].nbytes > left) return 0;
        left -= parts[i].nbytes;
    }
    return left == 0u;
}

int ekj_load(const ekj_journal *j, const ekj_part *parts, uint32_t count) {
    uint32_t at, i, crc;
    uint8_t head[EKJ_HEADER_BYTES];
    if (j->foreign) return EKJ_FOREIGN;
    if (j->flags & EKJ_FACTORY_WEIGHTS) return EKJ_FACTORY;
    if (!parts_fit(j, parts, count)) return EKJ_BAD_ARGUMENT;
    at = offset_of(j, j->commit);
    if (flash_read(j, at, head, EKJ_HEADER_BYTES)) return EKJ_CHANGED;
    crc = crc_on(NO_CRC, head, CRC_AT);
    at += EKJ_HEADER_BYTES;
    for (i = 0; i < count; ++i) {
        uint8_t *to = (uint8_t *)parts[i].data;
        if (flash_read(j, at, to, parts[i].nbytes)) return EKJ_CHANGED;
        crc = crc_on(crc, to, parts[i].nbytes);
        at += parts[i].nbytes;
    }
    return ~crc == get32(head + CRC_AT) && get32(head + 12) == j->commit ? EKJ_OK : EKJ_CHANGED;
}

/* Write up to a chunk of whole units and see that it is there. */
static int flash_write(const ekj_journal *j, uint32_t offset, const uint8_t *data, uint32_t n) {
    uint8_t back[CHUNK];
    if (j->flash->write(j->flash->context, offset, data, n)) return EKJ_FLASH;
    if (flash_read(j, offset, back, n) || !equal(back, data, n)) return EKJ_FLASH;
    return EKJ_OK;
}

static int erase_slot(const ekj_journal *j, uint32_t index) {
    uint32_t i, pages = j->slot_bytes / j->flash->page_bytes;
    for (i = 0; i < pages; ++i)
        if (j->flash->erase(j->flash->context, index * pages + i)) return EKJ_FLASH;
    return flash_sync(j);
}

/* Write a commit into the slot of the oldest; only when all of it is there is it the newest. */
static int append(ekj_journal *j, const origin *from, uint32_t source, uint32_t mark, uint32_t flags) {
    uint32_t at, crc, done, n, i, unit = j->flash->unit_bytes, last = EKJ_HEADER_BYTES - (unit > 4u ? unit : 4u);
    uint32_t length = from ? j->payload_bytes : 0u;
    uint8_t head[EKJ_HEADER_BYTES], chunk[CHUNK];
    header h;
    if (j->commit >= EKJ_MAX_COMMIT) return EKJ_FULL;
    h.commit = j->commit + 1u;
    h.source = source;
    h.mark = mark;
    h.flags = (flags & EKJ_LEARNING_OFF) | (from ? 0u : EKJ_FACTORY_WEIGHTS);
    head_of(j, &h, head);
    if (slot_crc(j, head, from, length, &crc)) return EKJ_FLASH;
    if (crc == NO_CRC) { /* what erased flash reads: the salt gives another one */
        head[25] = 1;
        if (slot_crc(j, head, from, length, &crc)) return EKJ_FLASH;
    }
    put32(head + CRC_AT, crc);
    if (erase_slot(j, slot_of(j, h.commit))) return EKJ_FLASH;
    at = offset_of(j, h.commit);
    for (done = 0; done < length; done += n) {
        n = least(CHUNK, length - done);
        if (fetch(j, from, done, chunk, n)) return EKJ_FLASH;
        for (i = n; i < CHUNK; ++i) chunk[i] = 0xFF;
        if (flash_write(j, at + EKJ_HEADER_BYTES + done, chunk, (n + unit - 1u) / unit * unit)) return EKJ_FLASH;
    }
    if (flash_write(j, at, head, last) || flash_sync(j)) return EKJ_FLASH;
    if (flash_write(j, at + last, head + last, EKJ_HEADER_BYTES - last) || flash_sync(j)) return EKJ_FLASH;
    take(j, &h);
    return EKJ_OK;
}

/* Append what commit `h` holds: it must still be whole, and lies in another slot than the one that is written. */
static int append_again(ekj_journal *j, const header *h, uint32_t flags) {
    header found;
    origin from = {0, 0u, 0u};
    if (h->flags & EKJ_FACTORY_WEIGHTS) return append(j, 0, 0u, h->mark, flags);
    if (inspect(j, slot_of(j, h->commit), &found) != VALID || found.commit != h->commit) return EKJ_CHANGED;
    from.offset = offset_of(j, h->commit) + EKJ_HEADER_BYTES;
    return append(j, &from, h->source, h->mark, flags);
}

int ekj_commit(ekj_journal *j, const ekj_part *parts, uint32_t count, uint32_t mark) {
    origin from;
    if (j->foreign) return EKJ_FOREIGN;
    if (!parts || !parts_fit(j, parts, count)) return EKJ_BAD_ARGUMENT;
    if (j->flags & EKJ_LEARNING_OFF) return EKJ_OFF;
    from.parts = parts;
    from.count = count;
    from.offset = 0u;
    return append(j, &from, j->commit + 1u, mark, j->flags);
}

static int reach(const ekj_journal *j, uint32_t commit, header *h) {
    if (commit == 0u || commit >= j->commit || j->commit - commit > j->slots - 2u) return 0;
    return inspect(j, slot_of(j, commit), h) == VALID && h->commit == commit;
}

int ekj_reaches(const ekj_journal *j, uint32_t commit) {
    header h;
    return reach(j, commit, &h);
}

int ekj_rollback(ekj_journal *j, uint32_t to) {
    header h;
    if (j->foreign) return EKJ_FOREIGN;
    if (to == EKJ_PREVIOUS) {
        if (j->source == 0u) return EKJ_OUT_OF_REACH;
        to = j->source - 1u;
    }
    if (to == 0u) return ekj_reset(j);
    if (!reach(j, to, &h)) return EKJ_OUT_OF_REACH;
    return append_again(j, &h, j->flags);
}

int ekj_reset(ekj_journal *j) {
    if (j->foreign) return EKJ_FOREIGN;
    return j->flags & EKJ_FACTORY_WEIGHTS ? EKJ_OK : append(j, 0, 0u, 0u, j->flags);
}

int ekj_switch(ekj_journal *j, int learning) {
    header newest;
    if (j->foreign) return EKJ_FOREIGN;
    if (!(j->flags & EKJ_LEARNING_OFF) == !!learning) return EKJ_OK;
    newest.commit = j->commit;
    newest.source = j->source;
    newest.mark = j->mark;
    newest.flags = j->flags;
    return append_again(j, &newest, j->flags ^ EKJ_LEARNING_OFF);
}

int ekj_forget(ekj_journal *j) {
    uint32_t i, last = j->commit ? slot_of(j, j->commit) : j->slots - 1u;
    for (i = 0; i < j->slots; ++i)
        if (i != last && erase_slot(j, i)) return EKJ_FLASH;
    if (erase_slot(j, last)) return EKJ_FLASH;
    take_nothing(j);
    return EKJ_OK;
}

uint32_t ekj_damaged(const ekj_journal *j) {
    uint32_t i, count = 0;
    header h;
    for (i = 0; i < j->slots; ++i) count += inspect(j, i, &h) == DAMAGED;
    return count;
}
