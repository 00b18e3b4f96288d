/* The journal: learned weights beside a program that never changes, whole after every loss of power.
 *
 * A ring of history + 2 slots on flash pages; the newest slot that is whole is the state. A change erases the oldest
 * slot and writes it, payload first, the word with the checksum last, so that a loss of power leaves the state before
 * or the one after. The bytes are those that edgekit/learn/journal.py writes; journal_format.py says what they are.
 *
 * The payload is given as parts, such as the arrays of a model's struct that learning changes, in the order of the
 * graph. They are copied as they lie in memory: little endian, as the cores are.
 *
 * There is no other state than the struct, which the caller owns: no heap, no globals, no libc.
 *
 *     ekj_part parts[] = {{model.readout, sizeof model.readout}};
 *     if (ekj_open(&journal, &flash, hash, sizeof model.readout, 1u) == EKJ_OK) ekj_load(&journal, parts, 1u);
 *     ...
 *     ekj_commit(&journal, parts, 1u, windows);
 */
#ifndef EKJ_JOURNAL_H
#define EKJ_JOURNAL_H

#include "ekj_flash.h"

#ifdef __cplusplus
extern "C" {
#endif

#define EKJ_OK 0
#define EKJ_BAD_ARGUMENT 1 /* flash, payload, history or parts do not fit each other */
#define EKJ_FLASH 2        /* the flash failed, or does not hold what was written: the state is still the one before */
#define EKJ_FOREIGN 3      /* commits of another program, or of another ring, are there: forget them first */
#define EKJ_OFF 4          /* learning is switched off */
#define EKJ_OUT_OF_REACH 5 /* the history does not hold that commit */
#define EKJ_FULL 6         /* the last commit number was given out */
#define EKJ_FACTORY 7      /* factory weights: nothing was loaded */
#define EKJ_CHANGED 8      /* a commit changed since it was opened; after ekj_load, initialise the model */

#define EKJ_LEARNING_OFF 1u
#define EKJ_FACTORY_WEIGHTS 2u

#define EKJ_PREVIOUS 0xFFFFFFFFu /* for ekj_rollback: the commit before `source` */

#define EKJ_HEADER_BYTES 64u
#define EKJ_MAX_PAYLOAD_BYTES (64u << 20)
#define EKJ_MAX_HISTORY 254u
#define EKJ_MAX_COMMIT 0xFFFFFFFEu

typedef struct ekj_part {
    void *data;
    uint32_t nbytes;
} ekj_part;

typedef struct ekj_journal {
    const ekj_flash *flash;  /* both must stay where they are */
    const uint8_t *artifact; /* SHA-256, 32 bytes */
    uint32_t payload_bytes;
    uint32_t slot_bytes; /* payload + 64, rounded up to whole pages */
    uint32_t slots;
    uint32_t commit; /* the newest; 0: there is none */
    uint32_t source; /* the commit that first held its payload; 0: factory weights */
    uint32_t mark;   /* a number of the caller's, such as how many windows were learned */
    uint32_t flags;  /* EKJ_LEARNING_OFF, EKJ_FACTORY_WEIGHTS */
    uint32_t foreign;
} ekj_journal;

/* Find the state; a slot that cannot be read is not whole. After EKJ_FOREIGN, ekj_forget is all that is possible. */
int ekj_open(ekj_journal *j, const ekj_flash *flash, const uint8_t *artifact, uint32_t payload_bytes,
             uint32_t history);

/* Copy the state into the parts. */
int ekj_load(const ekj_journal *j, const ekj_part *parts, uint32_t count);

/* Make the parts the state; `mark` is kept beside it. */
int ekj_commit(ekj_journal *j, const ekj_part *parts, uint32_t count, uint32_t mark);

/* Make commit `to` the state again, in a new commit; 0: factory weights. Load it afterwards. */
int ekj_rollback(ekj_journal *j, uint32_t to);

/* Make the factory weights the state, in a new commit, unless they are. */
int ekj_reset(ekj_journal *j);

/* Switch learning on or off, in a new commit with the same weights, unless it is so already. */
int ekj_switch(ekj_journal *j, int learning);

/* Erase everything, the newest commit last. */
int ekj_forget(ekj_journal *j);

/* Whether a rollback reaches this commit. */
int ekj_reaches(const ekj_journal *j, uint32_t commit);

/* How many slots are neither whole nor erased. */
uint32_t ekj_damaged(const ekj_journal *j);

#ifdef __cplusplus
}
#endif
#endif
