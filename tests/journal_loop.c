/* Commits to a journal in a file, for ever or COUNT times: `loop PATH PAYLOAD_BYTES HISTORY COUNT`.
 * Byte i of the payload of commit n is 31 n + i, its mark 7 n. After COUNT commits all else is done once and undone.
 */
#include <stdio.h>
#include <stdlib.h>

#include "ekj_file.h"
#include "ekj_journal.h"

#define PAGE 256u

static const uint8_t artifact[32] = {
    200, 201, 202, 203, 204, 205, 206, 207, 208, 209, 210, 211, 212, 213, 214, 215,
    216, 217, 218, 219, 220, 221, 222, 223, 224, 225, 226, 227, 228, 229, 230, 231,
};

static void must(int code, int wanted, const char *what) {
    if (code == wanted) return;
    fprintf(stderr, "%s: %d, not %d\n", what, code, wanted);
    exit(1);
}

static void fill(uint8_t *payload, uint32_t n, uint32_t commit) {
    uint32_t i;
    for (i = 0; i < n; ++i) payload[i] = (uint8_t)(31u * commit + i);
}

static void all_else(ekj_journal *j, ekj_part *part, uint32_t before) {
    const uint8_t *payload = (const uint8_t *)part->data;
    must(ekj_rollback(j, EKJ_PREVIOUS), EKJ_OK, "rollback");
    must(ekj_load(j, part, 1u), EKJ_OK, "load");
    must(payload[0], (int)(uint8_t)(31u * (before - 1u)), "payload");
    must(ekj_switch(j, 0), EKJ_OK, "off");
    must(ekj_commit(j, part, 1u, 0u), EKJ_OFF, "commit");
    must(ekj_switch(j, 1), EKJ_OK, "on");
    must(ekj_reset(j), EKJ_OK, "reset");
    must(ekj_load(j, part, 1u), EKJ_FACTORY, "load");
    must(ekj_rollback(j, j->commit - 1u), EKJ_OK, "rollback");
    must((int)ekj_damaged(j), 0, "damaged");
    must(ekj_commit(j, part, 0u, 0u), EKJ_BAD_ARGUMENT, "commit without parts");
    part->nbytes += 1u;
    must(ekj_commit(j, part, 1u, 0u), EKJ_BAD_ARGUMENT, "commit of too much");
    must(ekj_load(j, part, 1u), EKJ_BAD_ARGUMENT, "load of too much");
    part->nbytes -= 1u;
    must(ekj_load(j, part, 1u), EKJ_OK, "load");
}

int main(int argc, char **argv) {
    uint32_t size, history, count, pages, done;
    uint8_t *payload;
    ekj_flash flash;
    ekj_file file;
    ekj_journal journal;
    ekj_part part;
    if (argc != 5) return 2;
    size = (uint32_t)strtoul(argv[2], 0, 10);
    history = (uint32_t)strtoul(argv[3], 0, 10);
    count = (uint32_t)strtoul(argv[4], 0, 10);
    pages = (size + 64u + PAGE - 1u) / PAGE * (history + 2u);
    payload = malloc(size);
    if (!payload) return 2;
    part.data = payload;
    part.nbytes = size;
    done = (uint32_t)ekj_file_open(&flash, &file, argv[1], PAGE, pages);
    if (done) {
        fprintf(stderr, "file: %u\n", (unsigned)done);
        return 3;
    }
    must(ekj_open(&journal, &flash, artifact, size, history), EKJ_OK, "open");
    putchar('.');
    fflush(stdout);
    for (done = 0; !count || done < count; ++done) {
        uint32_t next = journal.commit + 1u;
        fill(payload, size, next);
        must(ekj_commit(&journal, &part, 1u, 7u * next), EKJ_OK, "commit");
    }
    all_else(&journal, &part, journal.commit);
    ekj_file_close(&file);
    free(payload);
    return 0;
}
