/* A watch that learns its wearer's gestures, keeps them in flash, and can take them back.
 *
 * Fits examples/har/checkpoints/mlp_B.pt, converted for int8 with --learn hlop --plastic readout: a window of 40 steps
 * of six channels at once. For another model take the types of step and learn from ek_<model>.h.
 */
#include <stdint.h>

#include "board.h"
#include "edgekit_model.h"
#include "ekj_journal.h"
#include "semihosting.h"

#define CLASSES 7
#define LESSON 24u     /* windows that are learned before they are judged */
#define KNOWN 12u      /* windows of motions that it knew before */
#define MAY_CHANGE 2u  /* so many of which may be decided otherwise */
#define CUT_BYTES 900u /* of a commit, when power is lost */

typedef struct {
    uint32_t first, count; /* motions */
    const int8_t *classes; /* one for each */
} lesson;

static edgekit_model model; /* all the memory of the program: no heap */
static ekj_journal journal;
static const ekj_part parts[] = EK_MACRO(LEARNED)(&model);
static const uint8_t sha256[32] = EDGEKIT_SHA256; /* of the .edge file */
static int8_t as_it_came[KNOWN]; /* decisions on the known windows, before anything was learned */
static uint32_t learned;         /* windows, so far */

static int8_t largest(const int16_t y[CLASSES]) {
    int8_t c, best = 0;
    for (c = 1; c < CLASSES; ++c)
        if (y[c] > y[best]) best = c;
    return best;
}

static int8_t decide(uint32_t motion, uint32_t number) {
    float raw[STEPS * CHANNELS];
    int8_t x[STEPS * CHANNELS];
    int16_t y[CLASSES];
    board_window(motion, number, raw);
    EK(quantize)(&model, raw, x);
    EK(step)(&model, x, y);
    return largest(y);
}

/* What was learned when it was last committed, or what the program came with. */
static void recall(void) {
    if (ekj_load(&journal, parts, EK_MACRO(LEARNED_PARTS)) != EKJ_OK) EK(init)(&model);
    EK(reset)(&model);
    learned = journal.mark;
}

/* The canary: how many known windows are decided otherwise than they were. A product stores windows of its own. */
static uint32_t changed(void) {
    uint32_t i, count = 0;
    for (i = 0; i < KNOWN; ++i) count += decide(4u + i % 3u, 100u + i) != as_it_came[i];
    EK(reset)(&model);
    return count;
}

static void say_state(void) {
    uint32_t i, k, sum = 2166136261u; /* FNV-1a over the learned bytes, to compare with another computer */
    for (i = 0; i < EK_MACRO(LEARNED_PARTS); ++i)
        for (k = 0; k < parts[i].nbytes; ++k) sum = (sum ^ ((const uint8_t *)parts[i].data)[k]) * 16777619u;
    say("    commit ");
    say_number(journal.commit);
    say(", learned windows ");
    say_number(learned);
    say(", weights ");
    say_number(sum);
    say("\n");
}

/* Learn a lesson, and end a task; returns whether what was learned may stay. */
static int study(const lesson *of) {
    uint32_t i, right = 0, lost, full;
    int16_t before[CLASSES], tasks;
    for (i = 0; i < LESSON; ++i, ++learned) {
        const uint32_t k = learned % of->count, bad = EK(nonfinite)(&model);
        int8_t target[CLASSES] = {0};
        const int8_t decided = decide(of->first + k, learned);
        if (EK(nonfinite)(&model) != bad) continue; /* NaN or Inf from a sensor that fails: no lesson */
        right += decided == of->classes[k];
        target[of->classes[k]] = 1;
        EK(learn)(&model, target, before);
    }
    EK(merge)(&model, &tasks);
    lost = changed();
    full = EK(saturated)(&model);
    say("    right before they were learned ");
    say_number(right);
    say(" of ");
    say_number(LESSON);
    say("; known windows decided otherwise ");
    say_number(lost);
    say(" of ");
    say_number(KNOWN);
    say("; saturated weights ");
    say_number(full);
    say("\n");
    return lost <= MAY_CHANGE && full == 0;
}

static void commit(void) {
    const int code = ekj_commit(&journal, parts, EK_MACRO(LEARNED_PARTS), learned);
    if (code == EKJ_OK) return;
    say("    not committed, code ");
    say_number((uint32_t)code);
    say("\n");
}

static void start(void) {
    uint32_t i;
    EK(init)(&model);
    for (i = 0; i < KNOWN; ++i) as_it_came[i] = decide(4u + i % 3u, 100u + i);
    if (ekj_open(&journal, board_flash(), sha256, EK_MACRO(LEARNED_BYTES), HISTORY) == EKJ_FOREIGN) {
        say("    what another program has learned is of no use to this one\n");
        ekj_forget(&journal);
    }
    recall();
    say("    slots damaged ");
    say_number(ekj_damaged(&journal));
    say("\n");
    say_state();
}

int main(void) {
    static const int8_t gestures[] = {0, 2, 4, 6}, wrong[] = {1, 1, 1};
    static const lesson of_gestures = {0u, 4u, gestures}, of_errors = {4u, 3u, wrong};

    if (board_starts() == 1u) {
        say("a new board\n");
        start();
        say("labels that are wrong\n");
        if (study(&of_errors)) commit();
        else recall(); /* not kept */
        say_state();
        say("four gestures\n");
        if (study(&of_gestures)) commit();
        else recall();
        say_state();
        say("more of them, and power is lost while they are written\n");
        study(&of_gestures);
        board_lose_power_after(CUT_BYTES);
        commit();
    }
    say("the board starts again\n");
    start();
    say("the same windows once more\n");
    if (study(&of_gestures)) commit();
    else recall();
    say_state();
    say("taken back\n");
    ekj_rollback(&journal, EKJ_PREVIOUS);
    recall();
    say_state();
    board_save(JOURNAL_FILE);
    leave();
    return 0;
}
