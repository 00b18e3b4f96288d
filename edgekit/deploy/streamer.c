/*
 * Decides about a stream where a sensor is: reads samples as lines of numbers, and prints a decision for each window.
 * No libc, one static file, so that a board needs nothing installed. The other end is streamer.py.
 *
 *     streamer JOB LIBRARY [SOURCE]     JOB is struct job; samples come from stdin, or from a file, a FIFO or a device
 *
 * A sample is as many finite numbers as the program has channels, parted by commas, semicolons or blanks, in raw units
 * and at the program's rate; one number more, in front, is a time and passed over. A decision is a line of JSON on
 * stdout. Whatever is no sample ends the open windows, is counted, and is said on stderr: a step that is missing must
 * not go unnoticed.
 */
#include "measurer_image.h"
#include "streamer_numbers.h"

enum { MAX_PREFIX = 256, MAX_CHANNELS = 1 << 16, MAX_CLASSES = 1 << 12, MAX_LINE = 1 << 16, MAX_OVERLAP = 256 };
enum { SUM = 0, MEAN = 1, LAST = 2, ALIGN = 64, SAID = 5 };

/* The head of a job. Behind it, each at a multiple of 64 bytes: the prefix of the names of functions, and the names of
   the classes as JSON, each with a zero at its end. */
struct job {
    byte magic[8];
    uint64_t channels, length, stride, overlap; /* of windows, in samples; how many are open at once */
    uint64_t whole;                             /* a window goes into the program in one call */
    uint64_t classes, decision, border;
    uint64_t stored_in, stored_out; /* bytes of what a step takes and gives */
    uint64_t prefix, names;         /* bytes */
};

typedef int (*one_argument)(word);
typedef int (*three_arguments)(word, word, word);

/* A window that is open, with states of its own. */
typedef struct {
    word model, position;
    uint64_t start;
    int open;
    float *sums;
} window;

static struct {
    struct job job;
    image library;
    char prefix[MAX_PREFIX];
    const char *names[MAX_CLASSES];
    one_argument reset;
    three_arguments step, quantize, dequantize;
    window windows[MAX_OVERLAP];
    word next, phase; /* the slot of the next window, and samples since the last one began */
    float *values, *row, *out;
    word held; /* samples in `row`, where windows go in whole */
    byte *stored_in, *stored_out;
    uint64_t steps, decisions, lines, refused;
} s;

/* --- words ------------------------------------------------------------------------------------------------------- */

static void write_all(int to, const char *text, word size) {
    while (size) {
        intptr_t n = sys(SYS_WRITE, (word)to, (word)text, size, 0, 0);
        if (n == -4) continue; /* EINTR */
        if (n <= 0) leave(3);
        text += n;
        size -= (word)n;
    }
}

typedef struct {
    char text[640]; /* the name of a class is the longest part */
    word size;
} line;

static void add(line *l, const char *text) {
    while (*text && l->size < sizeof l->text) l->text[l->size++] = *text++;
}

/* By subtraction: 32-bit Arm has no instruction for a division of 64 bits. */
static void add_number(line *l, uint64_t n) {
    static const uint64_t TENS[] = {10000000000000000000u, 1000000000000000000u, 100000000000000000u, 10000000000000000u,
                                    1000000000000000u, 100000000000000u, 10000000000000u, 1000000000000u, 100000000000u,
                                    10000000000u, 1000000000u, 100000000u, 10000000u, 1000000u, 100000u, 10000u, 1000u,
                                    100u, 10u, 1u};
    char digit[2] = {'0', 0};
    int i, begun = 0;
    for (i = 0; i < 20; i++) {
        for (digit[0] = '0'; n >= TENS[i]; digit[0]++) n -= TENS[i];
        begun |= digit[0] != '0' || i == 19;
        if (begun) add(l, digit);
    }
}

static void say(const char *what, uint64_t number) {
    line l;
    l.size = 0;
    add(&l, "edgekit: ");
    add(&l, what);
    add(&l, " ");
    add_number(&l, number);
    add(&l, "\n");
    write_all(2, l.text, l.size);
}

__attribute__((noreturn)) static void fail(const char *why, int64_t number) {
    say(why, number < 0 ? (uint64_t)-number : (uint64_t)number);
    leave(2);
}

/* --- setting up -------------------------------------------------------------------------------------------------- */

static word named(const char *name) {
    word at = function_at(&s.library, s.prefix, (word)s.job.prefix, name);
    if (!at) fail("the library lacks a function that every program has, of so many letters:", (int64_t)length_of(name));
    return at;
}

static void read_job(const byte *file, word size) {
    word at = (sizeof s.job + ALIGN - 1) / ALIGN * ALIGN, i, begin;
    struct job *j = &s.job;
    if (size < at) fail("the job is too short, bytes:", (int64_t)size);
    copy(j, file, sizeof *j);
    if (!same(j->magic, "EKSTRM01", 8)) fail("the job is of another version", 0);
    if (!j->channels || j->channels > MAX_CHANNELS || !j->length || j->length > NEVER_LARGER / 4 / (word)j->channels ||
        !j->stride || j->stride > NEVER_LARGER || !j->overlap || j->overlap > MAX_OVERLAP || !j->classes ||
        j->classes > MAX_CLASSES || j->decision > LAST || j->stored_in > NEVER_LARGER || j->stored_out > NEVER_LARGER ||
        j->prefix > MAX_PREFIX || !within(at, j->prefix, size)) {
        fail("the job is malformed", 0);
    }
    copy(s.prefix, file + at, (word)j->prefix);
    at += ((word)j->prefix + ALIGN - 1) / ALIGN * ALIGN;
    if (!within(at, j->names, size)) fail("the job is malformed", 0);
    for (i = 0, begin = at; i < (word)j->classes; i++) {
        s.names[i] = (const char *)file + at;
        while (at - begin < (word)j->names && file[at]) at++;
        if (at - begin == (word)j->names) fail("the job has too few names of classes:", (int64_t)i);
        at++;
    }
}

static void prepare(void) {
    word i, bytes = ((word(*)(void))named("sizeof"))(), classes = (word)s.job.classes * sizeof(float);
    s.reset = (one_argument)named("reset");
    s.step = (three_arguments)named("step");
    for (i = 0; i < (word)s.job.overlap; i++) {
        s.windows[i].model = (word)room(bytes);
        s.windows[i].sums = room(classes);
        if (((one_argument)named("init"))(s.windows[i].model)) fail("the program refuses to start", 0);
    }
    s.values = room((word)s.job.channels * sizeof(float));
    s.row = room((word)(s.job.whole ? s.job.length * s.job.channels : s.job.channels) * sizeof(float));
    s.out = room(classes);
    if (!s.job.border) return;
    s.quantize = (three_arguments)named("quantize");
    s.dequantize = (three_arguments)named("dequantize");
    s.stored_in = room((word)s.job.stored_in);
    s.stored_out = room((word)s.job.stored_out);
}

/* --- windows and decisions --------------------------------------------------------------------------------------- */

static void restart(void) {
    word i;
    for (i = 0; i < (word)s.job.overlap; i++) s.windows[i].open = 0;
    s.held = s.phase = 0;
}

/* Raw values to real scores; not 0 when the program refuses them. */
static int run(word model, const float *from) {
    if (!s.job.border) return s.step(model, (word)from, (word)s.out);
    return s.quantize(model, (word)from, (word)s.stored_in) || s.step(model, (word)s.stored_in, (word)s.stored_out) ||
           s.dequantize(model, (word)s.stored_out, (word)s.out);
}

static int finite(float x) { return x - x == 0; }

/* The argmax, ties to the lowest class, as a line of JSON. */
static void decide(const float *scores, uint64_t start) {
    word i, best = 0;
    line l;
    for (i = 0; i < (word)s.job.classes; i++) {
        if (!finite(scores[i])) {
            say("the scores are not finite at step", s.steps);
            return;
        }
        if (scores[i] > scores[best]) best = i;
    }
    l.size = 0;
    add(&l, "{\"index\": ");
    add_number(&l, s.decisions++);
    add(&l, ", \"start\": ");
    add_number(&l, start);
    add(&l, ", \"end\": ");
    add_number(&l, s.steps);
    add(&l, ", \"label\": ");
    add_number(&l, best);
    add(&l, ", \"name\": ");
    add(&l, s.names[best]);
    add(&l, "}\n");
    write_all(OUTPUT, l.text, l.size);
}

static void whole_window(void) {
    word channels = (word)s.job.channels, size = (word)s.job.length * channels, i;
    if (s.held == (word)s.job.length) {
        for (i = 0; i + channels < size; i++) s.row[i] = s.row[i + channels];
        s.held--;
    }
    for (i = 0; i < channels; i++) s.row[s.held * channels + i] = s.values[i];
    s.held++;
    s.steps++;
    if (s.held < (word)s.job.length) return;
    if (!s.phase) {
        if (run(s.windows[0].model, s.row)) {
            say("the program refuses the window that ends at step", s.steps);
        } else {
            decide(s.out, s.steps - s.job.length);
        }
    }
    if (++s.phase == (word)s.job.stride) s.phase = 0;
}

static void one_step(void) {
    word i, k;
    if (!s.phase) {
        window *w = &s.windows[s.next];
        s.next = s.next + 1 == (word)s.job.overlap ? 0 : s.next + 1;
        if (s.reset(w->model)) fail("the program refuses to be reset", 0);
        w->open = 1, w->position = 0, w->start = s.steps;
        for (k = 0; k < (word)s.job.classes; k++) w->sums[k] = 0;
    }
    if (++s.phase == (word)s.job.stride) s.phase = 0;
    s.steps++;
    for (i = 0; i < (word)s.job.overlap; i++) {
        window *w = &s.windows[i];
        if (!w->open) continue;
        if (run(w->model, s.values)) {
            say("the program refuses step", s.steps);
            restart();
            return;
        }
        for (k = 0; k < (word)s.job.classes; k++) w->sums[k] = s.job.decision == LAST ? s.out[k] : w->sums[k] + s.out[k];
        if (++w->position < (word)s.job.length) continue;
        for (k = 0; s.job.decision == MEAN && k < (word)s.job.classes; k++) w->sums[k] /= (float)(uint32_t)s.job.length;
        w->open = 0;
        decide(w->sums, w->start);
    }
}

/* --- lines ------------------------------------------------------------------------------------------------------- */

/* Takes a line without its end. An empty line and a comment are passed over, and so is a header. */
static void take(const char *text, word size) {
    word channels = (word)s.job.channels, count = 0, at = 0, good = 0, i;
    s.lines++;
    for (;;) {
        float value;
        at = blanks(text, size, at);
        if (at == size || (!count && text[at] == '#')) break;
        at = number(text, size, at, &value);
        if (!at || !finite(value) || count > channels) {
            count = ~(word)0;
            break;
        }
        if (count == channels) { /* one too many: the first was a time */
            for (i = 1; i < channels; i++) s.values[i - 1] = s.values[i];
            s.values[channels - 1] = value;
        } else {
            s.values[count] = value;
        }
        good = ++count;
        at = separator(text, size, at);
    }
    if (!count) return;
    if (count == channels || count == channels + 1) {
        if (s.job.whole) whole_window();
        else one_step();
        return;
    }
    if (s.lines == 1 && !good) return;
    restart();
    if (s.refused++ < SAID) say("no sample, the open windows end: line", s.lines);
}

static void listen(intptr_t from) {
    static char text[MAX_LINE];
    word size = 0, begin, end;
    int skip = 0; /* the rest of a line that is too long */
    for (;;) {
        intptr_t n = sys(SYS_READ, (word)from, (word)text + size, MAX_LINE - size, 0, 0);
        if (n == -4) continue;
        if (n < 0) fail("the samples cannot be read, error", -n);
        if (!n) break;
        for (begin = 0, end = size, size += (word)n; end < size; end++) {
            if (text[end] != '\n') continue;
            if (!skip) take(text + begin, end - begin);
            skip = 0;
            begin = end + 1;
        }
        for (end = begin; end < size; end++) text[end - begin] = text[end];
        size -= begin;
        if (size == MAX_LINE) {
            if (!skip) take("?", 1);
            skip = 1, size = 0;
        }
    }
    if (size && !skip) take(text, size);
}

__attribute__((noreturn, used)) static void begin(word *stack) {
    enum { AT_PAGESZ = 6, AT_FDCWD = -100, O_NOCTTY = 0x100 };
    int count = (int)stack[0];
    char **arguments = (char **)(stack + 1);
    word *also = stack + 1 + count + 1, page = 4096, size;
    intptr_t from = INPUT;
    const byte *bytes;
    while (*also) also++; /* past the environment, to what the kernel says */
    for (also++; also[0]; also += 2) {
        if (also[0] == AT_PAGESZ) page = also[1];
    }
    if (count != 3 && count != 4) fail("usage: streamer JOB LIBRARY [SOURCE]; arguments:", count);
    bytes = file(arguments[1], &size);
    read_job(bytes, size);
    bytes = file(arguments[2], &size);
    load(&s.library, bytes, size, page);
    prepare();
    if (count == 4) {
        from = sys(SYS_OPENAT, (word)(intptr_t)AT_FDCWD, (word)arguments[3], O_NOCTTY, 0, 0);
        if (from < 0) fail("the source of samples cannot be opened, error", -from);
    }
    listen(from);
    say("steps:", s.steps);
    say("decisions:", s.decisions);
    if (s.refused) say("lines that are no sample:", s.refused);
    leave(0);
}
