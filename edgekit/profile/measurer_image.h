/*
 * Places a shared library in memory and finds functions in it, without a loader.
 * The library may come from an artifact that someone else wrote: every offset and count is checked before use.
 * Source of the layouts: the System V ABI, generic part, and the Arm, AArch64 and x86-64 supplements.
 */
#ifndef EK_MEASURER_IMAGE_H
#define EK_MEASURER_IMAGE_H

#include "measurer_system.h"

#if UINTPTR_MAX > 0xffffffffu
typedef struct {
    byte ident[16];
    uint16_t type, machine;
    uint32_t version;
    uint64_t entry, phoff, shoff;
    uint32_t flags;
    uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
} elf_header;
typedef struct {
    uint32_t type, flags;
    uint64_t offset, address, physical, stored, size, align;
} elf_segment;
typedef struct {
    uint32_t name, type;
    uint64_t flags, address, offset, size;
    uint32_t link, info;
    uint64_t align, entry;
} elf_section;
typedef struct {
    uint32_t name;
    byte info, other;
    uint16_t section;
    uint64_t value, size;
} elf_symbol;
typedef struct {
    uint64_t place, info;
    int64_t addend;
} elf_relocation;
enum { ELF_CLASS = 2, SHT_RELOCATIONS = 4 };
#else
typedef struct {
    byte ident[16];
    uint16_t type, machine;
    uint32_t version, entry, phoff, shoff, flags;
    uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
} elf_header;
typedef struct {
    uint32_t type, offset, address, physical, stored, size, flags, align;
} elf_segment;
typedef struct {
    uint32_t name, type, flags, address, offset, size, link, info, align, entry;
} elf_section;
typedef struct {
    uint32_t name, value, size;
    byte info, other;
    uint16_t section;
} elf_symbol;
typedef struct {
    uint32_t place, info;
} elf_relocation;
enum { ELF_CLASS = 1, SHT_RELOCATIONS = 9 };
#endif

#if defined(__x86_64__)
enum { MACHINE = 62, RELATIVE = 8 };
#elif defined(__aarch64__)
enum { MACHINE = 183, RELATIVE = 1027 };
#else
enum { MACHINE = 40, RELATIVE = 23 };
#endif

enum { ET_DYN = 3, PT_LOAD = 1, PT_DYNAMIC = 2, PT_TLS = 7, MAX_SEGMENTS = 64, MAX_IMAGE = 512 << 20 };
enum { SHT_RELA = 4, SHT_REL = 9, SHT_DYNSYM = 11, SHT_RELR = 19, SHF_ALLOC = 2, STT_FUNC = 2, MAX_ROWS = 1 << 16 };

typedef struct {
    word base, page;
    word segments;
    word start[MAX_SEGMENTS], stored[MAX_SEGMENTS], size[MAX_SEGMENTS], access[MAX_SEGMENTS];
    const byte *file;
    word file_size;
    elf_header header;
} image;

static int within(uint64_t offset, uint64_t bytes, uint64_t total) {
    return offset <= total && bytes <= total - offset;
}

static void check_header(image *m) {
    elf_header *h = &m->header;
    if (m->file_size < sizeof *h) fail("the library is too short, bytes", (int64_t)m->file_size);
    copy(h, m->file, sizeof *h);
    if (!same(h->ident, "\177ELF", 4) || h->ident[4] != ELF_CLASS || h->ident[5] != 1 || h->type != ET_DYN) {
        fail("the library is not one for this machine, type", h->type);
    }
    if (h->machine != MACHINE) fail("the library is for another machine, number", h->machine);
    if (h->phentsize != sizeof(elf_segment) || h->shentsize != sizeof(elf_section) ||
        !within(h->phoff, (uint64_t)h->phnum * sizeof(elf_segment), m->file_size) ||
        !within(h->shoff, (uint64_t)h->shnum * sizeof(elf_section), m->file_size)) {
        fail("the library has tables that lie outside it", 0);
    }
}

/* Reads and checks the segments; returns the bytes from the first address to the last. */
static word read_segments(image *m) {
    word i, free_from = 0;
    for (i = 0; i < m->header.phnum; i++) {
        elf_segment s;
        copy(&s, m->file + m->header.phoff + i * sizeof s, sizeof s);
        if (s.type == PT_TLS) fail("the library has thread-local storage", 0);
        if (s.type != PT_LOAD || !s.size) continue;
        if (m->segments == MAX_SEGMENTS) fail("the library has too many segments", MAX_SEGMENTS);
        if (s.stored > s.size || !within(s.offset, s.stored, m->file_size) || !within(s.address, s.size, MAX_IMAGE)) {
            fail("the library has a segment that lies outside it, number", (int64_t)i);
        }
        if ((s.address & ~(m->page - 1)) < free_from) fail("the library has segments that share a page, bytes of a page", (int64_t)m->page);
        if ((s.flags & 3) == 3) fail("the library has a segment that is both writable and executable, number", (int64_t)i);
        m->start[m->segments] = (word)s.address;
        m->stored[m->segments] = (word)s.stored;
        m->size[m->segments] = (word)s.size;
        m->access[m->segments] =
            (s.flags & 4 ? READABLE : 0) | (s.flags & 2 ? WRITABLE : 0) | (s.flags & 1 ? EXECUTABLE : 0);
        m->segments++;
        free_from = ((word)(s.address + s.size) + m->page - 1) & ~(m->page - 1);
    }
    if (!m->segments) fail("the library has nothing to load", 0);
    return free_from;
}

static void copy_segments(image *m) {
    word i, at = 0;
    for (i = 0; i < m->header.phnum; i++) {
        elf_segment s;
        copy(&s, m->file + m->header.phoff + i * sizeof s, sizeof s);
        if (s.type != PT_LOAD || !s.size) continue;
        copy((byte *)m->base + m->start[at], m->file + s.offset, m->stored[at]);
        at++;
    }
}

static elf_section section(const image *m, word i) {
    elf_section s;
    copy(&s, m->file + m->header.shoff + i * sizeof s, sizeof s);
    return s;
}

static void relocate(image *m) {
    word i, row, k, rows = 0;
    for (i = 0; i < m->header.shnum; i++) {
        elf_section s = section(m, i);
        if (!(s.flags & SHF_ALLOC) || (s.type != SHT_RELA && s.type != SHT_REL && s.type != SHT_RELR)) continue;
        if (s.type != SHT_RELOCATIONS) fail("the library has relocations of an unknown form, type", s.type);
        if (!within(s.offset, s.size, m->file_size)) fail("the library has relocations that lie outside it", 0);
        for (row = 0; row + sizeof(elf_relocation) <= s.size; row += sizeof(elf_relocation)) {
            elf_relocation r;
            word value, stored = 0;
            copy(&r, m->file + s.offset + row, sizeof r);
#if UINTPTR_MAX > 0xffffffffu
            if (r.info != RELATIVE) fail("the library has a relocation that needs a loader, type", (int64_t)r.info);
#else
            if (r.info != RELATIVE) fail("the library has a relocation that needs a loader, type", r.info);
#endif
            if (++rows > MAX_ROWS) fail("the library has too many relocations", MAX_ROWS);
            for (k = 0; k < m->segments; k++) {
                if (r.place >= m->start[k] && within(r.place - m->start[k], sizeof(word), m->stored[k])) stored = 1;
            }
            if (!stored) fail("the library has a relocation outside its data", 0);
#if UINTPTR_MAX > 0xffffffffu
            value = (word)r.addend;
#else
            copy(&value, (byte *)m->base + r.place, sizeof value);
#endif
            value += m->base;
            copy((byte *)m->base + r.place, &value, sizeof value);
        }
    }
}

/* Arm's caches of instructions do not see what was stored as data, until they are told. */
static void tell_caches(word from, word to) {
#if defined(__aarch64__)
    uint64_t sizes;
    word line, at;
    __asm__ volatile("mrs %0, ctr_el0" : "=r"(sizes));
    line = (word)4 << (sizes >> 16 & 15);
    for (at = from & ~(line - 1); at < to; at += line) __asm__ volatile("dc cvau, %0" : : "r"(at) : "memory");
    __asm__ volatile("dsb ish" : : : "memory");
    line = (word)4 << (sizes & 15);
    for (at = from & ~(line - 1); at < to; at += line) __asm__ volatile("ic ivau, %0" : : "r"(at) : "memory");
    __asm__ volatile("dsb ish\n\tisb" : : : "memory");
#elif defined(__arm__)
    sys(SYS_CACHEFLUSH, from, to, 0, 0, 0);
#else
    (void)from, (void)to;
#endif
}

/* Loads a library for good; ends the process when it is malformed. */
static void load(image *m, const byte *from, word size, word page) {
    word i;
    m->file = from;
    m->file_size = size;
    m->page = page;
    m->segments = 0;
    check_header(m);
    m->base = (word)room(read_segments(m));
    copy_segments(m);
    relocate(m);
    for (i = 0; i < m->segments; i++) {
        word start = m->base + m->start[i], page_start = start & ~(page - 1), end = start + m->size[i];
        if (m->access[i] & EXECUTABLE) tell_caches(start, end);
        if (sys(SYS_MPROTECT, page_start, end - page_start, m->access[i], 0, 0)) {
            fail("the library's memory cannot be protected, segment", (int64_t)i);
        }
    }
}

/* The address of an exported function; its name comes in two parts. 0 when there is none. */
static word function_at(const image *m, const char *prefix, word prefix_length, const char *name) {
    word i, k, row, name_length = length_of(name) + 1; /* with the zero at the end */
    for (i = 0; i < m->header.shnum; i++) {
        elf_section table = section(m, i), names;
        if (table.type != SHT_DYNSYM) continue;
        if (table.link >= m->header.shnum) fail("the library has symbols without names", 0);
        names = section(m, table.link);
        if (!within(table.offset, table.size, m->file_size) || !within(names.offset, names.size, m->file_size) ||
            table.size > MAX_ROWS * sizeof(elf_symbol)) {
            fail("the library has symbols that lie outside it", 0);
        }
        for (row = 0; row + sizeof(elf_symbol) <= table.size; row += sizeof(elf_symbol)) {
            elf_symbol s;
            const byte *text = m->file + names.offset;
            copy(&s, m->file + table.offset + row, sizeof s);
            if ((s.info & 15) != STT_FUNC || !s.section) continue;
            if (!within(s.name, prefix_length + name_length, names.size)) continue;
            if (!same(text + s.name, prefix, prefix_length)) continue;
            if (!same(text + s.name + prefix_length, name, name_length)) continue;
            for (k = 0; k < m->segments; k++) {
                int inside = s.value >= m->start[k] && s.value < m->start[k] + m->size[k];
                if (inside && m->access[k] & EXECUTABLE) return m->base + (word)s.value;
            }
            fail("the library has a function that lies outside its code", 0);
        }
    }
    return 0;
}

/* The kernel's own clock function in the library that it maps into every process; 0 where it has none. Its symbols lie
   before their names, as every linker puts them. */
static clock_function find_vdso_clock(word base) {
    static const char NAME[] = VDSO_CLOCK;
    const elf_header *h = (const elf_header *)base;
    const elf_segment *s = (const elf_segment *)(base + (base ? h->phoff : 0));
    const word *row = 0;
    word slide = 0, symbols = 0, names = 0, i;
    if (!base) return 0;
    for (i = 0; i < h->phnum; i++) {
        if (s[i].type == PT_LOAD) slide = base + (word)s[i].offset - (word)s[i].address;
    }
    for (i = 0; i < h->phnum; i++) {
        if (s[i].type == PT_DYNAMIC) row = (const word *)(base + (word)s[i].offset);
    }
    for (; row && row[0]; row += 2) {
        if (row[0] == 5) names = slide + row[1];
        if (row[0] == 6) symbols = slide + row[1];
    }
    if (!symbols || names <= symbols) return 0;
    for (i = 0; i < (names - symbols) / sizeof(elf_symbol) && i < 256; i++) {
        const elf_symbol *symbol = (const elf_symbol *)symbols + i;
        if (symbol->section && same((const char *)names + symbol->name, NAME, sizeof NAME)) {
            return (clock_function)(slide + (word)symbol->value);
        }
    }
    return 0;
}

#endif
