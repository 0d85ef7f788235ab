/*
 * Sparse files: sparse.h.
 */
#include <guest/dom0/dom0.h>
#include <guest/dom0/pages.h>
#include <guest/dom0/sparse.h>
#include <guest/pv/drivers/crc.h>

#define PAGE    4096u
#define SECTOR  512u
#define FANOUT  (PAGE / sizeof(void *))
#define STRETCH (PAGE * FANOUT) /* bytes of a file that one leaf has */
#define SPARSES 8u

static struct sparse files[SPARSES];
static uint16_t used[SPARSES][FANOUT]; /* pages of each leaf; without any there is no leaf */
_Static_assert(SPARSE_MAX / STRETCH <= FANOUT, "a page of leaves");
static uint8_t zeros[PAGE] __attribute__((aligned(4096)));

struct sparse *
sparse_next(struct sparse *s)
{
	for (s = s ? s + 1 : files; s < files + SPARSES; s++)
		if (*s->name)
			return s;
	return NULL;
}

struct sparse *
sparse_find(const char *name)
{
	struct sparse *s = NULL;

	while ((s = sparse_next(s)))
		if (!strcmp(s->name, name))
			return s;
	return NULL;
}

const char *
sparse_make(const char *name, uint64_t size)
{
	struct sparse *s = files;
	struct file f;

	if (file_find(name, &f) || sparse_find(name))
		return "there is a file of this name";
	if (!size || size % SECTOR || size > SPARSE_MAX)
		return "a size is a multiple of 512, up to 1G";
	while (s < files + SPARSES && *s->name)
		s++;
	if (s == files + SPARSES || strlen(name) >= sizeof(s->name))
		return "there is no room for it";
	*s = (struct sparse){ .size = size, .leaf = page_take() };
	if (!s->leaf)
		return "there is no memory for it";
	snprintf(s->name, sizeof(s->name), "%s", name);
	return NULL;
}

const char *
sparse_remove(const char *name)
{
	struct sparse *s = sparse_find(name);

	if (!s)
		return "there is no such file, or it is one of the ramdisk's";
	if (sparse_is_used(s))
		return "a domain has it";
	sparse_discard(s, 0, s->size);
	page_give(s->leaf);
	*s->name = '\0';
	return NULL;
}

static uint16_t *
used_of(const struct sparse *s, uint64_t at)
{
	return &used[s - files][at / STRETCH];
}

/* Where the page's address is kept; NULL: nowhere. */
static void **
place(const struct sparse *s, uint64_t at)
{
	void **leaf = s->leaf[at / STRETCH];

	return leaf ? &leaf[at / PAGE % FANOUT] : NULL;
}

/* A new page, and a leaf for it; NULL: no memory, and nothing has changed. */
static void *
add(struct sparse *s, uint64_t at)
{
	void ***leaf = &s->leaf[at / STRETCH], *page = page_take();

	if (page && !*leaf)
		*leaf = page_take();
	if (page && !*leaf) {
		page_give(page);
		return NULL;
	}
	if (!page)
		return NULL;
	s->pages++;
	++*used_of(s, at);
	return (*leaf)[at / PAGE % FANOUT] = page;
}

uint8_t *
sparse_page(struct sparse *s, uint64_t at, bool write)
{
	void **page = place(s, at);

	if (page && *page)
		return *page;
	return write ? add(s, at) : zeros;
}

/* This page is nobody's any more, and so is its leaf behind the last one. */
static void
drop(struct sparse *s, uint64_t at, void **page)
{
	page_give(*page);
	*page = NULL;
	s->pages--;
	if (--*used_of(s, at))
		return;
	page_give(s->leaf[at / STRETCH]);
	s->leaf[at / STRETCH] = NULL;
}

/* Where there is no leaf it goes on behind that: what takes long is what somebody has written. */
uint64_t
sparse_discard(struct sparse *s, uint64_t at, uint64_t len)
{
	uint64_t end = at + len, next, steps = 0;

	for (; at < end; at = next, steps++) {
		void **page = place(s, at);

		next = page ? (at / PAGE + 1) * PAGE : (at / STRETCH + 1) * STRETCH;
		if (!page || !*page)
			continue;
		if (at % PAGE || (next > end && end != s->size))
			memset((uint8_t *)*page + at % PAGE, 0, (next < end ? next : end) - at);
		else
			drop(s, at, page);
	}
	return steps;
}

uint32_t
sparse_crc(const struct sparse *s)
{
	uint32_t crc = 0;

	for (uint64_t at = 0; at < s->size; at += PAGE)
		crc = crc32(crc, sparse_page((struct sparse *)s, at, false),
			    s->size - at < PAGE ? s->size - at : PAGE);
	return crc;
}
