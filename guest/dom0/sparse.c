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
#define SPARSES 8u

static struct sparse files[SPARSES];
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
	for (unsigned n = 0; n < FANOUT; n++)
		if (s->leaf[n])
			page_give(s->leaf[n]);
	page_give(s->leaf);
	*s->name = '\0';
	return NULL;
}

/* Where the page's address is kept; NULL: nowhere, and no memory. */
static void **
place(struct sparse *s, uint64_t at, bool make)
{
	void ***leaf = &s->leaf[at / PAGE / FANOUT];

	if (!*leaf && make)
		*leaf = page_take();
	return *leaf ? &(*leaf)[at / PAGE % FANOUT] : NULL;
}

uint8_t *
sparse_page(struct sparse *s, uint64_t at, bool write)
{
	void **page = place(s, at, write);

	if (!write)
		return page && *page ? *page : zeros;
	if (page && !*page) {
		*page = page_take();
		s->pages += *page != NULL;
	}
	return page ? *page : NULL;
}

void
sparse_discard(struct sparse *s, uint64_t at, uint64_t len)
{
	uint64_t end = at + len, next;

	for (; at < end; at = next) {
		void **page = place(s, at, false);

		next = (at / PAGE + 1) * PAGE;
		if (!page || !*page)
			continue;
		if (at % PAGE || (next > end && end != s->size)) {
			memset((uint8_t *)*page + at % PAGE, 0, (next < end ? next : end) - at);
			continue;
		}
		page_give(*page);
		*page = NULL;
		s->pages--;
	}
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
