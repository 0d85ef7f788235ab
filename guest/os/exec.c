/*
 * exec: a program from the disk into a new address space.
 *
 * ELF = System V ABI, "Object Files"; a program has a read-only segment and a writable one behind
 * it (libc/user.ld).
 */
#include <guest/os/os.h>

#define ELF_MAGIC 0x464c457fu
#define PT_LOAD   1
#define PF_W      2
#define FLAG_ONE  0x002u /* always set */
#define FLAG_IF   0x200u

struct elf_header {
	uint8_t ident[16];
	uint16_t type, machine;
	uint32_t version, entry, phoff, shoff, flags;
	uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
_Static_assert(sizeof(struct elf_header) == 52, "ELF figure 4-3");

struct elf_segment {
	uint32_t type, offset, vaddr, paddr, filesz, memsz, flags, align;
};
_Static_assert(sizeof(struct elf_segment) == 32, "ELF figure 5-1");

/* The pages that have bytes in the file. Others of the segment come at the first touch. */
static int
load_segment(struct space *s, uint32_t inum, const struct elf_segment *seg)
{
	uint32_t end = seg->vaddr + seg->memsz;

	if (seg->vaddr < USER_MIN || seg->vaddr % PAGE || end < seg->vaddr || end > HEAP_MAX ||
	    seg->filesz > seg->memsz)
		return -1;
	for (uint32_t at = 0; at < seg->filesz; at += PAGE) {
		uint32_t bytes = seg->filesz - at < PAGE ? seg->filesz - at : PAGE;
		void *page = frame_get();

		if (!page)
			return -1;
		if (space_map(s, seg->vaddr + at, page, seg->flags & PF_W ? PTE_W : 0)) {
			frame_put(page);
			return -1;
		}
		if (inode_read(inum, page, seg->offset + at, bytes) != (int)bytes)
			return -1;
	}
	if (round_up(end) > s->brk)
		s->brk = round_up(end);
	s->data = seg->flags & PF_W ? seg->vaddr : s->brk;
	return 0;
}

static int
load_program(struct space *s, uint32_t inum, uint32_t *entry)
{
	struct elf_header h;
	struct elf_segment seg;

	if (inode_read(inum, &h, 0, sizeof(h)) != sizeof(h) || *(uint32_t *)h.ident != ELF_MAGIC ||
	    h.phentsize != sizeof(seg))
		return -1;
	for (unsigned i = 0; i < h.phnum; i++) {
		uint32_t at = h.phoff + i * sizeof(seg);

		if (inode_read(inum, &seg, at, sizeof(seg)) != sizeof(seg))
			return -1;
		if (seg.type == PT_LOAD && load_segment(s, inum, &seg))
			return -1;
	}
	*entry = h.entry;
	return 0;
}

/* The first page of the stack: the words, argv[], and what main() finds:  esp -> | argc | argv | */
static int
push_words(struct space *s, char *const *argv, int argc, uint32_t *esp)
{
	uint32_t top = PAGE, pointers[MAX_ARGS + 1] = { 0 };
	char *page = frame_get();

	if (!page)
		return -1;
	for (int i = 0; i < argc; i++) {
		uint32_t n = 0;

		while (argv[i][n++])
			;
		top -= n;
		copy(page + top, argv[i], n);
		pointers[i] = USER_TOP - PAGE + top;
	}
	top = (top & ~3u) - sizeof(pointers);
	copy(page + top, pointers, sizeof(pointers));
	*(uint32_t *)(page + top - 4) = USER_TOP - PAGE + top;
	*(uint32_t *)(page + top - 8) = (uint32_t)argc;
	*esp = USER_TOP - PAGE + top - 8;
	if (!space_map(s, USER_TOP - PAGE, page, PTE_W))
		return 0;
	frame_put(page);
	return -1;
}

static void
set_name(const char *path)
{
	const char *name = path;

	for (const char *s = path; *s; s++)
		if (*s == '/')
			name = s + 1;
	clear(current->name, PROC_NAME);
	for (int i = 0; i < PROC_NAME - 1 && name[i]; i++)
		current->name[i] = name[i];
}

static void
set_registers(uint32_t eip, uint32_t esp)
{
	*current->frame = (struct trapframe){ .gs = USER_DS,
					      .fs = USER_DS,
					      .es = USER_DS,
					      .ds = USER_DS,
					      .eip = eip,
					      .cs = USER_CS,
					      .eflags = FLAG_ONE | FLAG_IF,
					      .esp = esp,
					      .ss = USER_DS };
}

int
exec(const char *path, char *const *argv, int argc)
{
	uint32_t inum = path_find(path), eip, esp;
	struct space fresh, old = current->space;

	if (!inum || inode_get(inum)->type != T_FILE || space_new(&fresh))
		return -1;
	if (load_program(&fresh, inum, &eip) || push_words(&fresh, argv, argc, &esp)) {
		space_free(&fresh);
		return -1;
	}
	set_name(path);
	set_registers(eip, esp);
	current->space = fresh;
	space_load(&fresh);
	space_free(&old);
	return 0;
}
