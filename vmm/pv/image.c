/*
 * Reading a PV kernel's image. Every offset and size is checked before it is used, and each sum
 * cannot wrap: whoever made the image is not trusted.
 */
#include <inc/addr.h>
#include <inc/elf64.h>
#include <inc/xen.h>
#include <kern/kern.h>
#include <vmm/pv/image.h>

struct elf_note {
	uint32_t namesz, descsz, type;
};

#define HEADERS_MAX 64u
#define NOTES_MAX   (16u << 10)  /* bytes, in all: each is looked at; Linux has 500 */
#define GUEST_MAX   (1ull << 39) /* bytes: no guest has more, and sums of a few stay small */

static const char *
read_header(struct elf64_header *h, const uint8_t *bytes, uint64_t size)
{
	if (size < sizeof(*h))
		return "the file is shorter than an ELF header";
	memcpy(h, bytes, sizeof(*h));
	if (memcmp(h->ident, "\177ELF", 4))
		return "it is no ELF file";
	if (h->ident[4] != ELF_CLASS64 || h->ident[5] != ELF_LITTLE || h->machine != EM_X86_64)
		return "it is not a 64-bit x86 image";
	if (h->phentsize != sizeof(struct elf64_segment) || h->phnum > HEADERS_MAX)
		return "its program headers have an unknown size, or are too many";
	if (h->phoff > size || (uint64_t)h->phnum * h->phentsize > size - h->phoff)
		return "its program headers lie beyond the file's end (truncated?)";
	return NULL;
}

static struct elf64_segment
segment_at(const struct elf64_header *h, const uint8_t *bytes, unsigned n)
{
	struct elf64_segment s;

	memcpy(&s, bytes + h->phoff + n * sizeof(s), sizeof(s));
	return s;
}

/* A note's name and words are padded to 4 bytes each. */
static uint64_t
padded(uint32_t n)
{
	return ((uint64_t)n + 3) & ~3ull;
}

/*
 * The note at *at of `len` bytes; *at is behind it then. False: there is no whole one more. What
 * belongs to somebody else than Xen has type 0.
 */
static bool
next_note(const uint8_t *notes, uint64_t len, uint64_t *at, struct elf_note *n,
	  const uint8_t **desc)
{
	uint64_t name = *at + sizeof(*n), words;

	if (len < sizeof(*n) || *at > len - sizeof(*n))
		return false;
	memcpy(n, notes + *at, sizeof(*n));
	words = name + padded(n->namesz);
	if (words > len || n->descsz > len - words)
		return false;
	if (n->namesz != 4 || memcmp(notes + name, "Xen", 4))
		n->type = 0;
	*desc = notes + words;
	*at = words + padded(n->descsz);
	return true;
}

static uint64_t
number_of(const struct elf_note *n, const uint8_t *desc)
{
	uint64_t value = 0;

	if (n->descsz != 8 && n->descsz != 4)
		return PV_UNSET;
	memcpy(&value, desc, n->descsz);
	return value;
}

static bool
text_is(const struct elf_note *n, const uint8_t *desc, const char *text)
{
	return n->descsz == strlen(text) + 1 && !memcmp(desc, text, n->descsz);
}

/* NULL, or what is wrong. Notes of types that only say what a kernel could do are passed over. */
static const char *
take_note(struct pv_image *i, const struct elf_note *n, const uint8_t *desc)
{
	uint64_t *const numbers[] = {
		[XEN_NOTE_ENTRY] = &i->entry,
		[XEN_NOTE_HYPERCALL_PAGE] = &i->hypercall_page,
		[XEN_NOTE_VIRT_BASE] = &i->virt_base,
		[XEN_NOTE_PADDR_OFFSET] = &i->paddr_offset,
		[XEN_NOTE_INIT_P2M] = &i->init_p2m,
	};

	if (n->type < ARRAY_LEN(numbers) && numbers[n->type])
		*numbers[n->type] = number_of(n, desc);
	switch (n->type) {
	case XEN_NOTE_MOD_START_PFN:
		i->mod_start_pfn = number_of(n, desc) == 1;
		break;
	case XEN_NOTE_LOADER:
		return text_is(n, desc, "generic") ? NULL : "its note LOADER is not \"generic\"";
	case XEN_NOTE_XEN_VERSION:
		return text_is(n, desc, "xen-3.0") ? NULL
						   : "its note XEN_VERSION is not \"xen-3.0\"";
	}
	return NULL;
}

/* How many notes of Xen's there are; with `i` each is taken, and *wrong says what is wrong. */
static unsigned
read_notes(struct pv_image *i, const struct elf64_header *h, const uint8_t *bytes, uint64_t size,
	   const char **wrong)
{
	uint64_t left = NOTES_MAX;
	unsigned found = 0;

	for (unsigned n = 0; n < h->phnum && !*wrong; n++) {
		struct elf64_segment s = segment_at(h, bytes, n);
		const uint8_t *desc;
		struct elf_note note;
		uint64_t at = 0;

		if (s.type != PT_NOTE)
			continue;
		if (s.offset > size || s.filesz > size - s.offset)
			*wrong = "its notes lie beyond the file's end (truncated?)";
		else if (s.filesz > left)
			*wrong = "its notes are longer than any kernel's";
		left -= s.filesz;
		while (!*wrong && next_note(bytes + s.offset, s.filesz, &at, &note, &desc)) {
			found += note.type != 0;
			if (i)
				*wrong = take_note(i, &note, desc);
		}
	}
	return found;
}

bool
pv_is_image(const uint8_t *bytes, uint64_t size)
{
	struct elf64_header h;
	const char *wrong = read_header(&h, bytes, size);

	return !wrong && read_notes(NULL, &h, bytes, size, &wrong) && !wrong;
}

static const char *
take_segment(struct pv_image *i, const struct elf64_segment *s)
{
	uint64_t at = s->paddr - i->paddr_offset;

	if (i->segments == PV_SEGMENTS)
		return "it has too many segments";
	if (s->filesz > s->memsz)
		return "a segment has more bytes in the file than in memory";
	if (s->offset > i->size || s->filesz > i->size - s->offset)
		return "a segment lies beyond the file's end (truncated?)";
	if (s->paddr < i->paddr_offset || at >= GUEST_MAX || s->memsz > GUEST_MAX - at)
		return "a segment lies where no guest has memory";
	i->segment[i->segments++] = (struct pv_segment){ s->offset, s->filesz, at, s->memsz };
	if (at + s->memsz > i->end)
		i->end = (at + s->memsz + PAGE_MASK) & ~PAGE_MASK;
	return NULL;
}

/* What a kernel leaves unsaid: as Xen's own loader takes it. */
static const char *
fill_in(struct pv_image *i, const struct elf64_header *h)
{
	if (i->entry == PV_UNSET)
		i->entry = h->entry;
	if (i->paddr_offset != PV_UNSET && i->virt_base == PV_UNSET)
		return "it has a note PADDR_OFFSET and none VIRT_BASE";
	if (i->virt_base == PV_UNSET)
		i->virt_base = 0;
	if (i->paddr_offset == PV_UNSET)
		i->paddr_offset = 0;
	return i->virt_base & PAGE_MASK ? "its note VIRT_BASE is no page's address" : NULL;
}

const char *
pv_read_image(struct pv_image *i, const uint8_t *bytes, uint64_t size)
{
	struct elf64_header h;
	const char *wrong = read_header(&h, bytes, size);

	*i = (struct pv_image){ .bytes = bytes,
				.size = size,
				.entry = PV_UNSET,
				.hypercall_page = PV_UNSET,
				.virt_base = PV_UNSET,
				.paddr_offset = PV_UNSET,
				.init_p2m = PV_UNSET };
	if (!wrong && !read_notes(i, &h, bytes, size, &wrong) && !wrong)
		wrong = "it has no note of Xen's";
	if (!wrong)
		wrong = fill_in(i, &h);
	for (unsigned n = 0; !wrong && n < h.phnum; n++) {
		struct elf64_segment s = segment_at(&h, bytes, n);

		if (s.type == PT_LOAD && s.memsz)
			wrong = take_segment(i, &s);
	}
	if (!wrong && !i->segments)
		wrong = "it has nothing to load";
	return wrong;
}
