/*
 * The ramdisk: an archive "newc" of cpio's, which the builder has put into dom0's memory. A head of
 * 110 characters, whose fields are 8 hexadecimal digits each; the name; the file; both padded to 4.
 */
#include <guest/dom0/dom0.h>

#define HEAD      110u
#define SIZE_AT   54u /* the file's size */
#define LENGTH_AT 94u /* its name's, with a NUL */
#define MAGIC     "070701"
#define TRAILER   "TRAILER!!!"

static size_t
padded(size_t n)
{
	return (n + 3) & ~3ul;
}

static size_t
field(const uint8_t *digits)
{
	size_t n = 0;

	for (unsigned i = 0; i < 8; i++) {
		unsigned d = digits[i] | 0x20;

		n = n << 4 | (d <= '9' ? d - '0' : d - 'a' + 10);
	}
	return n;
}

/* The file whose head is there; false: none is, or it does not lie within the archive. */
static bool
read_at(size_t at, struct file *f)
{
	const uint8_t *base = (const uint8_t *)pv_info->mod_start;
	size_t all = pv_info->mod_len, name, body;

	if (at > all || all - at < HEAD || memcmp(base + at, MAGIC, 6))
		return false;
	name = field(base + at + LENGTH_AT);
	f->size = field(base + at + SIZE_AT);
	body = padded(at + HEAD + name);
	if (!name || name > all || body > all || f->size > all - body || base[at + HEAD + name - 1])
		return false;
	f->name = (const char *)base + at + HEAD;
	f->bytes = base + body;
	return strcmp(f->name, TRAILER);
}

bool
file_next(struct file *f)
{
	const uint8_t *base = (const uint8_t *)pv_info->mod_start;
	size_t at = f->name ? padded((size_t)(f->bytes - base) + f->size) : 0;

	return read_at(at, f);
}

bool
file_find(const char *name, struct file *f)
{
	f->name = NULL;
	while (file_next(f))
		if (!strcmp(f->name, name))
			return true;
	return false;
}
