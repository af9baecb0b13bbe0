// compiler/cpu/object.c - an object file becomes code in this process.
//
//   sections that occupy memory ==> one mapping, each at its alignment
//   relocations                 ==> applied while the mapping is writable
//   then the mapping is made executable and is never writable again
//
// Our objects refer to nothing outside themselves, so this is all the linking there is: no symbol search, no
// stubs. A file that asks for more is refused. Where the system forbids turning written memory into
// code, the bytes go through a memfd that is mapped executable.
// Format  System V ABI, ELF-64 relocatable files; its supplements for x86-64 and (IHI 0056) AArch64
#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include "compiler/backend.h"

typedef struct Mapped {
    uint8_t *base;
    size_t bytes;
} Mapped;

typedef struct Elf {
    const uint8_t *bytes;
    size_t size;
    Elf64_Ehdr head;
    const Elf64_Shdr *sections; ///< aligned copy, owned
    uint64_t *at; ///< offset of each section in the mapping, owned; UINT64_MAX: not mapped
    int32_t n_sections;
} Elf;

#if defined(__aarch64__)
enum { HOST_MACHINE = EM_AARCH64 };
#else
enum { HOST_MACHINE = EM_X86_64 };
#endif

/// What a relocation writes, for symbol plus addend S at place P; pages are of 4096 bytes.
typedef enum RelocForm {
    RELOC_ABSOLUTE, ///< S
    RELOC_RELATIVE, ///< S - P
    RELOC_PAGE,     ///< AArch64 adrp: (page of S) - (page of P), in pages, 21 bits in two fields
    RELOC_LOW,      ///< AArch64 add, ldr, str: S within its page, by 1 << shift, in bits 10 to 21
    RELOC_BRANCH,   ///< AArch64 b, bl: (S - P) / 4, in bits 0 to 25
} RelocForm;

typedef struct Reloc {
    uint16_t machine, type;
    RelocForm form;
    uint32_t width; ///< bytes written
    uint32_t shift;
} Reloc;

static const Reloc relocs[] = {
    {EM_X86_64, R_X86_64_64, RELOC_ABSOLUTE, 8, 0},
    {EM_X86_64, R_X86_64_PC32, RELOC_RELATIVE, 4, 0},
    {EM_X86_64, R_X86_64_PLT32, RELOC_RELATIVE, 4, 0},
    {EM_AARCH64, R_AARCH64_ABS64, RELOC_ABSOLUTE, 8, 0},
    {EM_AARCH64, R_AARCH64_PREL64, RELOC_RELATIVE, 8, 0},
    {EM_AARCH64, R_AARCH64_PREL32, RELOC_RELATIVE, 4, 0},
    {EM_AARCH64, R_AARCH64_ADR_PREL_PG_HI21, RELOC_PAGE, 4, 0},
    {EM_AARCH64, R_AARCH64_ADD_ABS_LO12_NC, RELOC_LOW, 4, 0},
    {EM_AARCH64, R_AARCH64_LDST8_ABS_LO12_NC, RELOC_LOW, 4, 0},
    {EM_AARCH64, R_AARCH64_LDST16_ABS_LO12_NC, RELOC_LOW, 4, 1},
    {EM_AARCH64, R_AARCH64_LDST32_ABS_LO12_NC, RELOC_LOW, 4, 2},
    {EM_AARCH64, R_AARCH64_LDST64_ABS_LO12_NC, RELOC_LOW, 4, 3},
    {EM_AARCH64, R_AARCH64_LDST128_ABS_LO12_NC, RELOC_LOW, 4, 4},
    {EM_AARCH64, R_AARCH64_JUMP26, RELOC_BRANCH, 4, 0},
    {EM_AARCH64, R_AARCH64_CALL26, RELOC_BRANCH, 4, 0},
};

static KilnStatus malformed(Diag *diag, const char *what)
{
    return fail(diag, KILN_ERR_INPUT, "K136", "object code: %s", what);
}

static bool inside(const Elf *e, uint64_t offset, uint64_t bytes)
{
    return offset <= e->size && bytes <= e->size - offset;
}

static KilnStatus read_sections(Elf *e, Diag *diag)
{
    if (e->size < sizeof e->head) return malformed(diag, "too short for an ELF file");
    memcpy(&e->head, e->bytes, sizeof e->head);
    if (memcmp(e->head.e_ident, ELFMAG, SELFMAG) != 0 || e->head.e_type != ET_REL ||
        e->head.e_machine != HOST_MACHINE)
        return malformed(diag, "not a relocatable ELF file of this machine");
    e->n_sections = e->head.e_shnum;
    uint64_t bytes = (uint64_t)e->n_sections * sizeof(Elf64_Shdr);
    if (e->head.e_shentsize != sizeof(Elf64_Shdr) || !inside(e, e->head.e_shoff, bytes))
        return malformed(diag, "section table out of bounds");
    Elf64_Shdr *copy = heap_array(heap_default(), Elf64_Shdr, e->n_sections + 1);
    e->at = heap_array(heap_default(), uint64_t, e->n_sections + 1);
    e->sections = copy;
    if (!copy || !e->at) return fail(diag, KILN_ERR_NOMEM, "K102", "no memory to link object code");
    memcpy(copy, e->bytes + e->head.e_shoff, bytes);
    for (int32_t i = 0; i < e->n_sections; i++)
        if (copy[i].sh_type != SHT_NOBITS && !inside(e, copy[i].sh_offset, copy[i].sh_size))
            return malformed(diag, "section out of bounds");
    return KILN_OK;
}

/// Offsets of sections in the mapping. @return its size, or 0 when they do not add up
static uint64_t place_sections(Elf *e)
{
    uint64_t top = 0;
    for (int32_t i = 0; i < e->n_sections; i++) {
        const Elf64_Shdr *s = &e->sections[i];
        e->at[i] = UINT64_MAX;
        if (!(s->sh_flags & SHF_ALLOC) || !s->sh_size) continue;
        uint64_t align = s->sh_addralign ? s->sh_addralign : 1;
        if (align > 4096 || !is_pow2((int64_t)align) || s->sh_size > (uint64_t)1 << 30) return 0;
        top = (top + align - 1) & ~(align - 1);
        e->at[i] = top;
        top += s->sh_size;
        if (top > (uint64_t)1 << 30) return 0;
    }
    return top;
}

/// The offset in the mapping of symbol `index` of symbol table `table`.
static bool symbol_offset(const Elf *e, const Elf64_Shdr *table, uint64_t index, uint64_t *out)
{
    Elf64_Sym s;
    if (index >= table->sh_size / sizeof s) return false;
    memcpy(&s, e->bytes + table->sh_offset + index * sizeof s, sizeof s);
    if (s.st_shndx == SHN_UNDEF || s.st_shndx >= e->n_sections || e->at[s.st_shndx] == UINT64_MAX)
        return false;
    if (s.st_value > e->sections[s.st_shndx].sh_size) return false;
    *out = e->at[s.st_shndx] + s.st_value;
    return true;
}

/// The 8 or 4 bytes at a place after `r`: `now` is what is there, `s` and `p` are offsets in a mapping at `base`.
/// @return false: too far
static bool relocated(const Reloc *r, uint64_t now, uint64_t s, uint64_t p, uint64_t base,
                      uint64_t *out)
{
    int64_t far = (int64_t)(s - p), pages = (int64_t)(s >> 12) - (int64_t)(p >> 12);
    uint64_t n = (uint64_t)pages;
    switch (r->form) {
    case RELOC_ABSOLUTE:
        *out = s + base;
        return true;
    case RELOC_RELATIVE:
        *out = (uint64_t)far;
        return r->width == 8 || far == (int32_t)far;
    case RELOC_PAGE:
        *out = (now & ~0x60ffffe0u) | (n & 3) << 29 | (n >> 2 & 0x7ffff) << 5;
        return pages >= -(1 << 20) && pages < 1 << 20;
    case RELOC_LOW:
        *out = (now & ~0x003ffc00u) | (s & 4095) >> r->shift << 10;
        return (s & ((1u << r->shift) - 1)) == 0;
    case RELOC_BRANCH:
        *out = (now & ~0x03ffffffu) | ((uint64_t)far >> 2 & 0x03ffffff);
        return far >= -(1 << 27) && far < 1 << 27 && far % 4 == 0;
    }
    return false;
}

static const Reloc *reloc_of(uint64_t type)
{
    for (int32_t i = 0; i < COUNT_OF(relocs); i++)
        if (relocs[i].machine == HOST_MACHINE && relocs[i].type == type) return &relocs[i];
    return NULL;
}

static KilnStatus relocate(const Elf *e, const Elf64_Shdr *rela, uint8_t *base, uint64_t run_base,
                           Diag *diag)
{
    if (rela->sh_info >= (uint32_t)e->n_sections || rela->sh_link >= (uint32_t)e->n_sections)
        return malformed(diag, "relocations without a section");
    if (e->at[rela->sh_info] == UINT64_MAX) return KILN_OK; // of a section that is not mapped
    const Elf64_Shdr *target = &e->sections[rela->sh_info], *symbols = &e->sections[rela->sh_link];
    for (uint64_t i = 0; i < rela->sh_size / sizeof(Elf64_Rela); i++) {
        Elf64_Rela r;
        memcpy(&r, e->bytes + rela->sh_offset + i * sizeof r, sizeof r);
        const Reloc *how = reloc_of(ELF64_R_TYPE(r.r_info));
        if (!how) return malformed(diag, "relocation of an unknown type");
        uint64_t symbol, place = e->at[rela->sh_info] + r.r_offset, value = 0;
        if (r.r_offset > target->sh_size || how->width > target->sh_size - r.r_offset)
            return malformed(diag, "relocation out of bounds");
        if (!symbol_offset(e, symbols, ELF64_R_SYM(r.r_info), &symbol))
            return malformed(diag, "it refers to a symbol outside itself");
        memcpy(&value, base + place, how->width);
        if (!relocated(how, value, symbol + (uint64_t)r.r_addend, place, run_base, &value))
            return malformed(diag, "relocation too far");
        memcpy(base + place, &value, how->width);
    }
    return KILN_OK;
}

/// Copies sections and applies relocations; `run_base` is where the code will run.
static KilnStatus fill(const Elf *e, uint8_t *base, uint64_t run_base, Diag *diag)
{
    for (int32_t i = 0; i < e->n_sections; i++)
        if (e->at[i] != UINT64_MAX && e->sections[i].sh_type != SHT_NOBITS)
            memcpy(base + e->at[i], e->bytes + e->sections[i].sh_offset, e->sections[i].sh_size);
    for (int32_t i = 0; i < e->n_sections; i++) {
        if (e->sections[i].sh_type != SHT_RELA) continue;
        KilnStatus st = relocate(e, &e->sections[i], base, run_base, diag);
        if (st != KILN_OK) return st;
    }
    return KILN_OK;
}

/// Two views of one memory file, one to write and one to run, for systems that forbid the usual way.
static KilnStatus map_by_file(const Elf *e, size_t bytes, Mapped *out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    uint8_t *write_view = MAP_FAILED, *run_view = MAP_FAILED;
    int fd = memfd_create("kiln-code", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)bytes))
        TRY(fail(diag, KILN_ERR_DEVICE, "K137", "this system allows no generated code to run"));
    write_view = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    run_view = mmap(NULL, bytes, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    if (write_view == MAP_FAILED || run_view == MAP_FAILED)
        TRY(fail(diag, KILN_ERR_DEVICE, "K137", "this system allows no generated code to run"));
    TRY(fill(e, write_view, (uint64_t)(uintptr_t)run_view, diag));
    __builtin___clear_cache((char *)run_view, (char *)run_view + bytes);
    *out = (Mapped){run_view, bytes};
    run_view = MAP_FAILED;
done:
    if (write_view != MAP_FAILED) munmap(write_view, bytes);
    if (run_view != MAP_FAILED) munmap(run_view, bytes);
    if (fd >= 0) close(fd);
    return st;
}

static KilnStatus map_code(const Elf *e, size_t bytes, Mapped *out, Diag *diag)
{
    uint8_t *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return fail(diag, KILN_ERR_NOMEM, "K102", "no memory to link object code");
    KilnStatus st = fill(e, base, (uint64_t)(uintptr_t)base, diag);
    __builtin___clear_cache((char *)base, (char *)base + bytes);
    if (st == KILN_OK && !mprotect(base, bytes, PROT_READ | PROT_EXEC)) {
        *out = (Mapped){base, bytes};
        return KILN_OK;
    }
    munmap(base, bytes);
    return st == KILN_OK ? map_by_file(e, bytes, out, diag) : st;
}

/// The function called `name`.
static bool find_entry(const Elf *e, const char *name, uint64_t *out)
{
    for (int32_t i = 0; i < e->n_sections; i++) {
        const Elf64_Shdr *table = &e->sections[i];
        if (table->sh_type != SHT_SYMTAB || table->sh_link >= (uint32_t)e->n_sections) continue;
        const Elf64_Shdr *names = &e->sections[table->sh_link];
        for (uint64_t k = 0; k < table->sh_size / sizeof(Elf64_Sym); k++) {
            Elf64_Sym s;
            memcpy(&s, e->bytes + table->sh_offset + k * sizeof s, sizeof s);
            size_t len = strlen(name) + 1;
            if (s.st_name > names->sh_size || len > names->sh_size - s.st_name) continue;
            if (memcmp(e->bytes + names->sh_offset + s.st_name, name, len) != 0) continue;
            if (symbol_offset(e, table, k, out)) return true;
        }
    }
    return false;
}

static void mapped_free(void *self)
{
    Mapped *m = self;
    if (!m) return;
    if (m->base) munmap(m->base, m->bytes);
    heap_free(heap_default(), m);
}

static const ImageOps cpu_image_ops = {.run = NULL, .free = mapped_free};

KilnStatus cpu_image_load(const Code *c, Image *out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    Elf e = {.bytes = c->bytes, .size = c->size};
    uint64_t entry = 0, bytes;
    Mapped *m = heap_new(heap_default(), Mapped);
    if (!m) TRY(fail(diag, KILN_ERR_NOMEM, "K102", "no memory to link object code"));
    TRY(read_sections(&e, diag));
    bytes = place_sections(&e);
    if (!bytes) TRY(malformed(diag, "sections of an impossible size"));
    if (!find_entry(&e, c->entry, &entry)) TRY(malformed(diag, "the kernel's symbol is missing"));
    TRY(map_code(&e, (size_t)round_up((int64_t)bytes, 4096), m, diag));
    out->ops = &cpu_image_ops;
    out->self = m;
    void *at = m->base + entry;
    out->entry_bytes = m->bytes - entry;
    memcpy(&out->entry, &at, sizeof at); // an object pointer becomes a function pointer
    m = NULL;
done:
    mapped_free(m);
    heap_free(heap_default(), (void *)(uintptr_t)e.sections);
    heap_free(heap_default(), e.at);
    return st;
}
