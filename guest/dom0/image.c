/*
 * What an image's head says: image.h.
 */
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
	    h->name[sizeof(h->name) - 1] || h->file[sizeof(h->file) - 1])
		return "its head says what no domain is like";
	if (size / IMAGE_PAGE < image_tables(h) + h->data)
		return "it has been cut short";
	return NULL;
}
