/*
 * Loading an env's program: a static ELF64 executable between USER_BASE and USER_LIMIT.
 *
 * The image comes from outside and is checked as such: every offset and size before it is used. No
 * page is both writable and executable: one that two segments with different rights share is
 * refused.
 */
#include <inc/elf64.h>
#include <inc/errno.h>
#include <kern/env/env.h>
#include <kern/frame.h>
#include <kern/kern.h>
#include <kern/map.h>
#include <kern/paging.h>

#define SEGMENTS 16

static const char *
check_header(const struct elf64_header *h, uint64_t size)
{
	if (size < sizeof(*h) || memcmp(h->ident,
					"\x7f"
					"ELF",
					4))
		return "it is no ELF file";
	if (h->ident[4] != ELF_CLASS64 || h->ident[5] != ELF_LITTLE || h->machine != EM_X86_64 ||
	    h->type != ET_EXEC)
		return "it is no 64-bit executable";
	if (h->phentsize != sizeof(struct elf64_segment) || h->phnum > SEGMENTS)
		return "its program headers have an unknown size, or are too many";
	if (h->phoff > size || (uint64_t)h->phnum * h->phentsize > size - h->phoff)
		return "its program headers lie beyond the file's end";
	return NULL;
}

static const char *
check_segment(const struct elf64_segment *s, uint64_t size)
{
	if (s->vaddr < USER_BASE || s->vaddr > USER_LIMIT || s->memsz > USER_LIMIT - s->vaddr)
		return "a segment lies where no program may";
	if (s->filesz > s->memsz || s->offset > size || s->filesz > size - s->offset)
		return "a segment lies beyond the file's end";
	if (s->flags & PF_W && s->flags & PF_X)
		return "a segment is writable and executable";
	return NULL;
}

/* The page of a segment, new, or an earlier one's with the same rights; NULL, with *why. */
static char *
page_at(struct env *e, uint64_t va, pte_t flags, const char **why)
{
	int level;
	const pte_t *entry = page_entry(e->root, va, &level);
	char *page;

	if (entry && *entry & PTE_P) {
		*why = "two segments with different rights share a page";
		return (*entry & ~PTE_ADDR(~0ul)) == flags ? hpa_ptr(hpa(PTE_ADDR(*entry))) : NULL;
	}
	*why = NULL;
	page = host_page();
	if (page && page_map(e->root, va, ptr_mfn(page), flags)) {
		host_page_put(page);
		return NULL;
	}
	return page;
}

static int
load_segment(struct env *e, const struct elf64_segment *s, const uint8_t *image, const char **why)
{
	pte_t flags = PTE_P | PTE_U | PTE_A | (s->flags & PF_W ? PTE_W | PTE_D : 0) |
		      (s->flags & PF_X ? 0 : PTE_NX);

	for (uint64_t done = 0, part; done < s->memsz; done += part) {
		uint64_t in_page = (s->vaddr + done) & PAGE_MASK, bytes;
		char *page = page_at(e, s->vaddr + done - in_page, flags, why);

		if (!page)
			return *why ? -ENOEXEC : -ENOMEM;
		part = PAGE_SIZE - in_page < s->memsz - done ? PAGE_SIZE - in_page
							     : s->memsz - done;
		bytes = done < s->filesz ? s->filesz - done : 0;
		memcpy(page + in_page, image + s->offset + done, bytes < part ? bytes : part);
		preempt_point();
	}
	return 0;
}

int
env_load(struct env *e, const void *image, uint64_t size, uint64_t *entry)
{
	const struct elf64_header *h = image;
	const char *why = check_header(h, size);
	struct elf64_segment s;
	int err = 0;

	for (unsigned i = 0; !why && !err && i < h->phnum; i++) {
		memcpy(&s, (const uint8_t *)image + h->phoff + i * sizeof(s), sizeof(s));
		if (s.type != PT_LOAD || !s.memsz)
			continue;
		why = check_segment(&s, size);
		if (!why)
			err = load_segment(e, &s, image, &why);
	}
	if (!why && !err && (h->entry < USER_BASE || h->entry >= USER_LIMIT))
		why = "it begins where no program may";
	if (!why || err == -ENOMEM) {
		*entry = h->entry;
		return err;
	}
	printf("%s: no program that can be run: %s\n", e->name, why);
	return -ENOEXEC;
}
