/*
 * What is below a disk, by the words that name it.
 */
#include <guest/dom0/blkback.h>
#include <guest/dom0/sparse.h>

const char *
vbd_below(struct vbd *v)
{
	struct sparse *s = sparse_find(v->disk.target);
	const char *wrong = NULL;

	if (v->disk.device) {
		wrong = medium_find(v->disk.target, &v->medium);
		v->sectors = v->medium.sectors;
	} else if (s) {
		v->medium = (struct medium){ .there = true, .sparse = s };
		v->sectors = s->size / XEN_BLKIF_SECTOR;
	} else if (!file_find(v->disk.target, &v->file)) {
		wrong = "there is no such file";
	} else {
		v->sectors = v->file.size / XEN_BLKIF_SECTOR;
	}
	return wrong || v->sectors ? wrong : "the file has not one sector";
}

bool
vbd_is_shared(const struct vbd *a, const struct vbd *b)
{
	if (a->medium.there != b->medium.there)
		return false;
	if (a->medium.sparse || b->medium.sparse)
		return a->medium.sparse == b->medium.sparse;
	if (!a->medium.there)
		return a->file.bytes == b->file.bytes;
	return a->medium.drive == b->medium.drive &&
	       a->medium.first < b->medium.first + b->sectors &&
	       b->medium.first < a->medium.first + a->sectors;
}
