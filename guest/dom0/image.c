/*
 * What an image's head says: image.h.
 */
#include <guest/dom0/config.h>
#include <guest/dom0/image.h>
#include <guest/pv/drivers/crc.h>
#include <guest/pv/lib/text.h>
#include <inc/control.h>

_Static_assert(sizeof(struct image_head) <= IMAGE_PAGE, "it is one page");

uint32_t
image_sum(const void *page)
{
	const struct image_head *h = page;
	struct image_head without = *h;

	without.crc = 0;
	return crc32(crc32(0, (const uint8_t *)&without, sizeof(without)), (const uint8_t *)(h + 1),
		     IMAGE_PAGE - sizeof(*h));
}

/* It is shown, and so has nothing that a terminal would obey; a NUL is behind it. */
static bool
is_text(const char *text, size_t room)
{
	size_t n = 0;

	while (n < room && text[n] >= ' ' && text[n] <= '~')
		n++;
	return n < room && !text[n];
}

const char *
image_wrong(const void *page, uint64_t size)
{
	const struct image_head *h = page;

	if (size < IMAGE_PAGE || memcmp(h->magic, IMAGE_MAGIC, sizeof(h->magic)))
		return "there is no domain in it";
	if (h->version != IMAGE_VERSION)
		return "it is of another version";
	if (h->crc != image_sum(page))
		return "it has been altered: its head has another sum";
	if (!h->frames || h->frames % 256 || h->frames > IMAGE_MOST || !h->vcpus ||
	    h->vcpus > ZENO_VCPUS || h->data > h->frames || h->console_pfn >= h->frames ||
	    h->store_pfn >= h->frames || h->info_pfn >= h->frames || !*h->name ||
	    !is_text(h->name, sizeof(h->name)) || !is_text(h->file, sizeof(h->file)) ||
	    !h->weight || h->weight > WEIGHT_MAX ||
	    h->ns >> 62) /* its clock has centuries before it wraps */
		return "its head says what no domain is like";
	if (size / IMAGE_PAGE < image_tables(h) + h->data)
		return "it has been cut short";
	return NULL;
}
