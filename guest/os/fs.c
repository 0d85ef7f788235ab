/*
 * The RAM disk: blocks and inodes. It is memory, so inodes are used where they lie; what is kept
 * beside them is how many files and processes hold each one, since a file without a name lives on
 * while it is open.
 */
#include <guest/os/os.h>

static uint8_t disk[DISK_BLOCKS][BLOCK] __attribute__((aligned(4096)));
static uint16_t holders[DISK_INODES];

struct inode *
inode_get(uint32_t inum)
{
	return (struct inode *)disk[INODE_BLOCK] + inum;
}

void
fs_init(void)
{
	uint32_t bytes = (uint32_t)(disk_image_end - disk_image);

	if (bytes > sizeof(disk) || *(const uint32_t *)disk_image != DISK_MAGIC)
		panic("the disk image is not one");
	copy(disk, disk_image, bytes);
}

/* A free block, zeroed; 0: the disk is full. */
static uint32_t
block_new(void)
{
	for (uint32_t b = DATA_BLOCK; b < DISK_BLOCKS; b++) {
		if (disk[BITMAP_BLOCK][b / 8] >> b % 8 & 1)
			continue;
		disk[BITMAP_BLOCK][b / 8] |= 1u << b % 8;
		clear(disk[b], BLOCK);
		return b;
	}
	return 0;
}

static void
block_free(uint32_t b)
{
	if (b)
		disk[BITMAP_BLOCK][b / 8] &= ~(1u << b % 8);
}

/* Follows, and where asked to makes, the block number that lies at `place`. */
static uint32_t
follow(uint32_t *place, int make)
{
	if (!*place && make)
		*place = block_new();
	return *place;
}

/* The bytes of a file's n-th block, or NULL. */
static uint8_t *
file_block(struct inode *ip, uint32_t n, int make)
{
	uint32_t b;

	if (n < DIRECT) {
		b = follow(&ip->addr[n], make);
	} else {
		b = follow(&ip->addr[DIRECT], make);
		if (b)
			b = follow((uint32_t *)disk[b] + n - DIRECT, make);
	}
	return b ? disk[b] : NULL;
}

uint32_t
inode_new(unsigned type)
{
	for (uint32_t i = ROOT_INUM; i < DISK_INODES; i++) {
		struct inode *ip = inode_get(i);

		if (ip->type != T_FREE)
			continue;
		clear(ip, sizeof(*ip));
		ip->type = (uint16_t)type;
		return i;
	}
	return 0;
}

/* Makes a file empty. */
void
inode_cut(uint32_t inum)
{
	struct inode *ip = inode_get(inum);
	uint32_t *further = (uint32_t *)disk[ip->addr[DIRECT]];

	for (uint32_t i = 0; ip->addr[DIRECT] && i < BLOCK / 4; i++)
		block_free(further[i]);
	for (uint32_t i = 0; i <= DIRECT; i++) {
		block_free(ip->addr[i]);
		ip->addr[i] = 0;
	}
	ip->size = 0;
}

void
inode_hold(uint32_t inum)
{
	holders[inum]++;
}

/* Called when a holder or a name is gone. */
static void
free_if_unused(uint32_t inum)
{
	struct inode *ip = inode_get(inum);

	if (holders[inum] || ip->links)
		return;
	inode_cut(inum);
	ip->type = T_FREE;
}

void
inode_drop(uint32_t inum)
{
	holders[inum]--;
	free_if_unused(inum);
}

void
inode_unlink(uint32_t inum)
{
	inode_get(inum)->links--;
	free_if_unused(inum);
}

/* The bytes that there were. `dst` may be a program's; so may `src` below. */
int
inode_read(uint32_t inum, void *dst, uint32_t offset, uint32_t bytes)
{
	struct inode *ip = inode_get(inum);
	uint32_t done = 0;

	if (offset >= ip->size)
		return 0;
	if (bytes > ip->size - offset)
		bytes = ip->size - offset;
	while (done < bytes) {
		uint32_t at = (offset + done) % BLOCK;
		uint32_t n = bytes - done < BLOCK - at ? bytes - done : BLOCK - at;
		const uint8_t *b = file_block(ip, (offset + done) / BLOCK, 0);

		if (b)
			copy((char *)dst + done, b + at, n);
		else
			clear((char *)dst + done, n);
		done += n;
	}
	return (int)done;
}

/* The bytes that there was room for, or -1: none. */
int
inode_write(uint32_t inum, const void *src, uint32_t offset, uint32_t bytes)
{
	struct inode *ip = inode_get(inum);
	uint32_t done = 0;

	while (done < bytes && offset + done < MAX_FILE) {
		uint32_t at = (offset + done) % BLOCK;
		uint32_t n = bytes - done < BLOCK - at ? bytes - done : BLOCK - at;
		uint8_t *b = file_block(ip, (offset + done) / BLOCK, 1);

		if (!b)
			break;
		copy(b + at, (const char *)src + done, n);
		done += n;
		if (offset + done > ip->size)
			ip->size = offset + done;
	}
	return done || !bytes ? (int)done : -1;
}
