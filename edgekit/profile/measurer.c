/*
 * Measures a program where it runs: loads its shared library, replays its self-test, and times its steps back to back
 * or at a rate. No libc, one static file, so that a board needs nothing installed. The other end is measurer.py.
 *
 *     measurer job JOB LIBRARY            what the job asks for (struct job)
 *     measurer sample PERIOD_MS FILE...   the contents of files again and again, until stdin ends; !COMMAND runs one
 *
 * Answers are records on stdout behind a first line, little endian: kind, size, contents (struct of uint64 unless said
 * otherwise).
 * Floats are those of a new process: rounded to nearest, denormal numbers kept.
 */
#include "measurer_image.h"

/* A record: its kind, the size of what follows, and that. */
enum { FAULT = 1, CLOCK, OUTPUTS, STATE, REPLAYED, WINDOW, PACED, SAMPLE, DONE };

static void record(uint64_t kind, uint64_t size) {
    uint64_t head[2];
    head[0] = kind;
    head[1] = size;
    put(head, sizeof head);
}

__attribute__((noreturn)) static void fail(const char *why, int64_t number) {
    record(FAULT, 8 + length_of(why));
    put(&number, 8);
    put(why, length_of(why));
    leave(2);
}

enum { STEP = 1, BORDER = 2, RUN = 4, PACE = 8, REPLAY = 16 }; /* what a job asks for */
enum { MAX_PORTS = 14, MAX_PREFIX = 256, ALIGN = 64 };

/* The head of a job. Behind it, each at a multiple of 64 bytes: the prefix of the names of functions; for each input of
   the step its values of all steps; and where the program has a border, the same in raw numbers. */
struct job {
    byte magic[8];
    uint64_t tasks, inputs, outputs, steps;
    uint64_t windows, window_ns, warm_ns, worth; /* a reading lasts at least `worth` times what the clock takes */
    uint64_t period_s, period_ns; /* in two parts, the second below 10^9 */
    uint64_t paced_steps, run_steps, border, prefix;
    struct {
        uint64_t stored, raw; /* bytes of one step */
    } port[MAX_PORTS];
};

typedef int (*function)(word, word, word, word, word, word, word, word, word, word, word, word, word, word, word, word);
typedef int (*small_function)(word, word, word);

/* A call whose arguments are known before: the inputs of a step move on from call to call. */
typedef struct {
    word target, arguments;
    word a[16];
} call;

typedef struct {
    struct job job;
    image library;
    char prefix[MAX_PREFIX];
    const byte *stored[MAX_PORTS], *raw[MAX_PORTS];
    byte *out[MAX_PORTS], *many[MAX_PORTS], *real[MAX_PORTS], *quantised[MAX_PORTS];
    word model, row;
    call step, run, quantize, border_step, dequantize;
} bench;

static bench b;

static inline int invoke(const call *c) {
    const word *a = c->a;
    if (c->arguments == 3) return ((small_function)c->target)(a[0], a[1], a[2]);
    return ((function)c->target)(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13],
                                 a[14], a[15]);
}

/* --- setting up ------------------------------------------------------------------------------------------------ */

static word named(const char *name) {
    word at = function_at(&b.library, b.prefix, (word)b.job.prefix, name);
    if (!at) fail("the library lacks a function that every program has, of so many letters", (int64_t)length_of(name));
    return at;
}

static const byte *take(const byte *file, word size, word *at, uint64_t bytes) {
    const byte *found = file + *at;
    if (!within(*at, bytes, size)) fail("the job is shorter than it says, bytes", (int64_t)size);
    *at += ((word)bytes + ALIGN - 1) & ~(word)(ALIGN - 1);
    return found;
}

static void read_job(const byte *file, word size) {
    word at = 0, i;
    copy(&b.job, take(file, size, &at, sizeof b.job), sizeof b.job);
    if (!same(b.job.magic, "EKJOB001", 8)) fail("the job is of another version", 0);
    if (!b.job.inputs || b.job.inputs + b.job.outputs > MAX_PORTS || !b.job.steps || b.job.steps > NEVER_LARGER ||
        b.job.run_steps > b.job.steps || b.job.prefix > MAX_PREFIX) {
        fail("the job is malformed", 0);
    }
    copy(b.prefix, take(file, size, &at, b.job.prefix), (word)b.job.prefix);
    for (i = 0; i < b.job.inputs + b.job.outputs; i++) {
        if (b.job.port[i].stored > NEVER_LARGER || b.job.port[i].raw > NEVER_LARGER) fail("the job is malformed", 0);
    }
    for (i = 0; i < b.job.inputs; i++) b.stored[i] = take(file, size, &at, b.job.steps * b.job.port[i].stored);
    for (i = 0; b.job.border && i < b.job.inputs; i++) {
        b.raw[i] = take(file, size, &at, b.job.steps * b.job.port[i].raw);
    }
}

static void set(call *c, const char *name, word first, word count) {
    c->target = named(name);
    c->a[0] = b.model;
    c->arguments = first + count;
}

static void prepare(void) {
    word n = (word)b.job.inputs, outs = (word)b.job.outputs, i;
    b.model = (word)room(((word(*)(void))named("sizeof"))());
    if (((int (*)(word))named("init"))(b.model)) fail("the program refuses to start", 0);
    set(&b.step, "step", 1, n + outs);
    for (i = 0; i < outs; i++) b.step.a[1 + n + i] = (word)(b.out[i] = room((word)b.job.port[n + i].stored));
    if (b.job.tasks & (RUN | REPLAY)) {
        set(&b.run, "run", 2, n + outs);
        b.run.a[1] = (word)b.job.run_steps;
        for (i = 0; i < n; i++) b.run.a[2 + i] = (word)b.stored[i];
        for (i = 0; i < outs; i++) {
            b.many[i] = room((word)(b.job.run_steps * b.job.port[n + i].stored));
            b.run.a[2 + n + i] = (word)b.many[i];
        }
    }
    if (!b.job.border) return;
    set(&b.quantize, "quantize", 1, 2 * n);
    set(&b.border_step, "step", 1, n + outs);
    set(&b.dequantize, "dequantize", 1, 2 * outs);
    for (i = 0; i < n; i++) {
        b.quantised[i] = room((word)b.job.port[i].stored);
        b.quantize.a[1 + n + i] = b.border_step.a[1 + i] = (word)b.quantised[i];
    }
    for (i = 0; i < outs; i++) {
        b.real[i] = room((word)b.job.port[n + i].raw);
        b.border_step.a[1 + n + i] = b.dequantize.a[1 + i] = (word)b.out[i];
        b.dequantize.a[1 + outs + i] = (word)b.real[i];
    }
}

static void reset(void) {
    if (((int (*)(word))named("reset"))(b.model)) fail("the program refuses to be reset", 0);
    b.row = 0;
}

/* Whether whoever started this has closed its end of stdin. */
static int stopped(void) {
    enum { POLLIN = 1 };
    struct {
        int descriptor;
        short wanted, got;
    } poll;
    byte read;
    timespec none;
    poll.descriptor = INPUT, poll.wanted = POLLIN, poll.got = 0;
    none.seconds = none.nanoseconds = 0;
    if (sys(SYS_PPOLL, (word)&poll, 1, (word)&none, 0, 0) <= 0) return 0;
    return sys(SYS_READ, INPUT, (word)&read, 1, 0, 0) <= 0;
}

/* --- what is timed ----------------------------------------------------------------------------------------------- */

__attribute__((noreturn)) static void refused(int code) {
    fail(code == 1 ? "the program refuses an input with NaN or Inf at step" : "the program refuses step", (int64_t)b.row);
}

static inline void next_row(void) { b.row = b.row + 1 == (word)b.job.steps ? 0 : b.row + 1; }

static inline void one_step(void) {
    word i;
    int code;
    for (i = 0; i < (word)b.job.inputs; i++) b.step.a[1 + i] = (word)b.stored[i] + b.row * (word)b.job.port[i].stored;
    code = invoke(&b.step);
    if (code) refused(code);
    next_row();
}

static inline void one_raw_step(void) {
    word i;
    int code;
    for (i = 0; i < (word)b.job.inputs; i++) b.quantize.a[1 + i] = (word)b.raw[i] + b.row * (word)b.job.port[i].raw;
    code = invoke(&b.quantize);
    if (!code) code = invoke(&b.border_step);
    if (!code) code = invoke(&b.dequantize);
    if (code) refused(code);
    next_row();
}

static inline void do_task(uint64_t task) {
    int code;
    if (task == STEP) {
        one_step();
    } else if (task == BORDER) {
        one_raw_step();
    } else {
        code = invoke(&b.run);
        if (code) refused(code);
    }
}

/* Nanoseconds are counted in buckets: each its own below 512, then 256 to an octave. */
enum { EXACT = 512, TO_AN_OCTAVE = 256, BUCKETS = EXACT + 32 * TO_AN_OCTAVE };

static word bucket_of(uint64_t ns) {
    word shift = 0;
    if (ns < EXACT) return (word)ns;
    while (ns >> shift >= EXACT) shift++;
    if (shift > 32) return BUCKETS - 1;
    return EXACT + (shift - 1) * TO_AN_OCTAVE + (word)(ns >> shift) - TO_AN_OCTAVE;
}

static uint64_t clock_ns_of_1024(void) {
    uint64_t best = ~(uint64_t)0, spent, start;
    int turn, i;
    for (turn = 0; turn < 16; turn++) {
        start = now();
        for (i = 0; i < 1024; i++) now();
        spent = now() - start;
        if (spent < best) best = spent;
    }
    return best;
}

/* How many tasks a reading has to cover, a power of two, for the clock to be a small part of it; and what they take at
   best, ns. */
static uint64_t enough(uint64_t task, uint64_t clock_1024, uint64_t *least) {
    uint64_t each, i, start, spent, best;
    int turn;
    for (each = 1; each < 1 << 20; each *= 2) {
        best = ~(uint64_t)0;
        for (turn = 0; turn < 8; turn++) {
            start = now();
            for (i = 0; i < each; i++) do_task(task);
            spent = now() - start;
            if (spent < best) *least = best = spent;
            if (spent * 1024 >= 16 * b.job.worth * clock_1024) return each; /* slow: once is enough to know */
        }
        if (best * 1024 >= b.job.worth * clock_1024) break;
    }
    return each;
}

struct window {
    uint64_t task, number, begin, end, each, readings, least, most, sum, preempted;
};

static void one_window(uint64_t task, uint64_t number, uint64_t each, uint64_t *counts) {
    struct window w;
    uint64_t start, stop, last, i, row[2], used = 0, taken = preemptions();
    w.task = task, w.number = number;
    w.each = task == RUN ? each * b.run.a[1] : each; /* steps */
    w.readings = w.most = w.sum = 0;
    w.least = ~(uint64_t)0;
    for (i = 0; i < BUCKETS; i++) counts[i] = 0;
    w.begin = now();
    last = w.begin + b.job.window_ns;
    do {
        start = now();
        for (i = 0; i < each; i++) do_task(task);
        stop = now();
        counts[bucket_of(stop - start)]++;
        w.readings++;
        w.sum += stop - start;
        if (stop - start < w.least) w.least = stop - start;
        if (stop - start > w.most) w.most = stop - start;
    } while (stop < last);
    w.end = stop;
    w.preempted = preemptions() - taken;
    for (i = 0; i < BUCKETS; i++) used += counts[i] != 0;
    record(WINDOW, sizeof w + used * sizeof row);
    put(&w, sizeof w);
    for (i = 0; i < BUCKETS; i++) {
        if (!counts[i]) continue;
        row[0] = i, row[1] = counts[i];
        put(row, sizeof row);
    }
}

static void time_task(uint64_t task, uint64_t clock_1024) {
    uint64_t *counts = room(BUCKETS * sizeof(uint64_t));
    uint64_t end = now() + b.job.warm_ns, number, each, least = 0;
    do {
        do_task(task);
    } while (now() < end);
    each = enough(task, clock_1024, &least);
    /* A run of slow steps should not last longer than half a window. */
    while (task == STEP && b.run.a[1] > 1 && b.run.a[1] * least > each * b.job.window_ns / 2) b.run.a[1] /= 2;
    for (number = 0; number < b.job.windows; number++) {
        if (stopped()) leave(4);
        one_window(task, number, each, counts);
    }
}

/* One step at each deadline, with the processor given back in between. A step that ends after the next deadline lets
   that one wait; after the last deadline's time nothing more is started. */
struct paced {
    uint64_t task, begin, end, period, deadlines, steps, preempted;
};

static void pace(void) {
    struct paced p;
    uint64_t *rows = room((word)b.job.paced_steps * 2 * sizeof(uint64_t)), end, due, start, stop, taken = preemptions();
    uint64_t asked = 0; /* when it last looked whether anybody still waits for the answer */
    timespec next = time_now();
    p.task = b.job.border ? BORDER : STEP;
    p.period = b.job.period_s * 1000000000u + b.job.period_ns, p.deadlines = b.job.paced_steps, p.steps = 0;
    next = later(next, (uint32_t)b.job.period_s, (uint32_t)b.job.period_ns);
    p.begin = nanoseconds(next);
    end = p.begin + p.period * p.deadlines;
    stop = 0;
    while (p.steps < p.deadlines && stop < end) {
        due = nanoseconds(next);
        if (stop - asked > 1000000000u) {
            if (stopped()) leave(4);
            asked = stop;
        }
        if (stop < due) sleep_until(next);
        start = now();
        do_task(p.task);
        stop = now();
        rows[2 * p.steps] = start - due;
        rows[2 * p.steps + 1] = stop - start;
        p.steps++;
        next = later(next, (uint32_t)b.job.period_s, (uint32_t)b.job.period_ns);
    }
    if (stop < end) sleep_until(next); /* the last step has a whole period too: energy is that of all of it */
    p.end = now();
    p.preempted = preemptions() - taken;
    record(PACED, sizeof p + p.steps * 2 * sizeof(uint64_t));
    put(&p, sizeof p);
    put(rows, (word)p.steps * 2 * sizeof(uint64_t));
}

/* The stream from a reset, step by step: all outputs and the final states go back; then the same in one call, which
   must give the same bytes. */
static void replay(void) {
    word n = (word)b.job.inputs, outs = (word)b.job.outputs, i, t, k, bytes, blob_bytes;
    byte *steps[MAX_PORTS], *blob;
    uint64_t differs = b.job.steps;
    blob_bytes = ((word(*)(void))named("state_bytes"))() & 0xffffffffu;
    for (i = 0; i < outs; i++) steps[i] = room((word)(b.job.steps * b.job.port[n + i].stored));
    reset();
    for (t = 0; t < b.job.steps; t++) {
        one_step();
        for (i = 0; i < outs; i++) {
            bytes = (word)b.job.port[n + i].stored;
            copy(steps[i] + t * bytes, b.out[i], bytes);
        }
    }
    for (i = 0; i < outs; i++) {
        bytes = (word)(b.job.steps * b.job.port[n + i].stored);
        record(OUTPUTS, bytes);
        put(steps[i], bytes);
    }
    blob = room(blob_bytes);
    if (((int (*)(word, word))named("save"))(b.model, (word)blob)) fail("the program refuses to save its states", 0);
    record(STATE, blob_bytes);
    put(blob, blob_bytes);
    reset();
    do_task(RUN);
    for (i = 0; i < outs; i++) {
        bytes = (word)b.job.port[n + i].stored;
        for (k = 0; k < b.job.run_steps && k < differs; k++) {
            if (!same(steps[i] + k * bytes, b.many[i] + k * bytes, bytes)) differs = k;
        }
    }
    record(REPLAYED, 8);
    put(&differs, 8);
}

static void work(const char *job, const char *library, word page) {
    word size;
    uint64_t clock[3];
    const byte *bytes = file(job, &size);
    read_job(bytes, size);
    bytes = file(library, &size);
    load(&b.library, bytes, size, page);
    prepare();
    clock[0] = clock_ns_of_1024(), clock[1] = 1024, clock[2] = vdso_clock != 0;
    record(CLOCK, sizeof clock);
    put(clock, sizeof clock);
    if (b.job.tasks & REPLAY) replay();
    reset();
    if (b.job.tasks & STEP) time_task(STEP, clock[0]);
    if (b.job.tasks & BORDER && b.job.border) time_task(BORDER, clock[0]);
    if (b.job.tasks & RUN) time_task(RUN, clock[0]);
    if (b.job.tasks & PACE) pace();
    record(DONE, 0);
}

/* --- sampling ---------------------------------------------------------------------------------------------------- */

enum { MOST_CONTENTS = 16384 };
static byte contents[MOST_CONTENTS];

static intptr_t read_all(intptr_t descriptor) {
    word got = 0;
    intptr_t n = 1;
    while (got < MOST_CONTENTS && n > 0) {
        n = sys(SYS_READ, (word)descriptor, (word)contents + got, MOST_CONTENTS - got, 0, 0);
        if (n > 0) got += (word)n;
    }
    sys(SYS_CLOSE, (word)descriptor, 0, 0, 0, 0);
    return n < 0 ? n : (intptr_t)got;
}

/* What a command of the shell prints; a negative error where there is no process to be had or it fails. */
static intptr_t output_of(const char *command, char **environment) {
    enum { SIGCHLD = 17 };
    static const char SHELL[] = "/bin/sh", FLAG[] = "-c";
    const char *arguments[4];
    enum { NO_SUCH_FILE = 2, IO_ERROR = 5 };
    int ends[2], status = 0;
    intptr_t child, n;
    if (sys(SYS_PIPE2, (word)ends, 0, 0, 0, 0)) return -1;
    child = sys(SYS_CLONE, SIGCHLD, 0, 0, 0, 0);
    if (!child) {
        arguments[0] = SHELL, arguments[1] = FLAG, arguments[2] = command, arguments[3] = 0;
        sys(SYS_DUP3, (word)ends[1], OUTPUT, 0, 0, 0);
        sys(SYS_CLOSE, (word)ends[0], 0, 0, 0, 0);
        sys(SYS_EXECVE, (word)SHELL, (word)arguments, (word)environment, 0, 0);
        leave(127);
    }
    sys(SYS_CLOSE, (word)ends[1], 0, 0, 0, 0);
    n = child < 0 ? child : read_all(ends[0]);
    if (child > 0) sys(SYS_WAIT4, (word)child, (word)&status, 0, 0, 0);
    if (status) return status >> 8 == 127 ? -NO_SUCH_FILE : -IO_ERROR;
    return n;
}

static void sample(uint32_t period_ms, char **names, int count, char **environment) {
    timespec next = time_now();
    struct {
        uint64_t name, begin, end;
        int64_t bytes; /* negative: the number of the error */
    } s;
    do {
        int i;
        for (i = 0; i < count; i++) {
            enum { AT_FDCWD = -100 };
            s.name = (uint64_t)i;
            s.begin = now();
            if (names[i][0] == '!') {
                s.bytes = output_of(names[i] + 1, environment);
            } else {
                intptr_t descriptor = sys(SYS_OPENAT, (word)(intptr_t)AT_FDCWD, (word)names[i], 0, 0, 0);
                s.bytes = descriptor < 0 ? descriptor : read_all(descriptor);
            }
            s.end = now();
            record(SAMPLE, sizeof s + (s.bytes > 0 ? (word)s.bytes : 0));
            put(&s, sizeof s);
            if (s.bytes > 0) put(contents, (word)s.bytes);
        }
        next = later(next, period_ms / 1000u, period_ms % 1000u * 1000000u);
        if (nanoseconds(next) < now()) next = time_now(); /* it could not keep up: no burst to make up for it */
        sleep_until(next);
    } while (!stopped());
    record(DONE, 0);
}

static uint32_t number_of(const char *digits) {
    uint32_t n = 0;
    while (*digits >= '0' && *digits <= '9' && n < 1000000) n = 10 * n + (uint32_t)(*digits++ - '0');
    return n;
}

__attribute__((noreturn, used)) static void begin(word *stack) {
    static const char FIRST_LINE[] = "edgekit measurer 1\n"; /* a login shell may have printed something before */
    enum { RLIMIT_CORE = 4, AT_PAGESZ = 6, AT_SYSINFO_EHDR = 33 };
    int count = (int)stack[0];
    char **arguments = (char **)(stack + 1), **environment = arguments + count + 1;
    word *also = stack + 1 + count + 1, page = 4096;
    uint64_t none[2];
    while (*also) also++; /* past the environment, to what the kernel says */
    for (also++; also[0]; also += 2) {
        if (also[0] == AT_PAGESZ) page = also[1];
        if (also[0] == AT_SYSINFO_EHDR) vdso_clock = find_vdso_clock(also[1]);
    }
    none[0] = none[1] = 0; /* a fault of the library should not litter a folder with core files */
    sys(SYS_PRLIMIT, 0, RLIMIT_CORE, (word)none, 0, 0);
    put(FIRST_LINE, sizeof FIRST_LINE - 1);
    if (count == 4 && same(arguments[1], "job", 4)) {
        work(arguments[2], arguments[3], page);
    } else if (count > 3 && same(arguments[1], "sample", 7)) {
        sample(number_of(arguments[2]), arguments + 3, count - 3, environment);
    } else {
        fail("usage: measurer job JOB LIBRARY, or measurer sample PERIOD_MS FILE..., arguments", count);
    }
    leave(0);
}
