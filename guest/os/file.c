/* Open files: a place in an inode, an end of a pipe, or the console. */
#include <guest/os/os.h>

#define FILES 128

static struct file files[FILES];

struct file *
file_new(enum file_kind kind, unsigned flags)
{
	for (struct file *f = files; f < files + FILES; f++) {
		if (f->refs)
			continue;
		*f = (struct file){ .refs = 1, .kind = kind, .flags = flags };
		return f;
	}
	return NULL;
}

struct file *
file_share(struct file *f)
{
	f->refs++;
	return f;
}

void
file_close(struct file *f)
{
	if (--f->refs)
		return;
	if (f->kind == F_PIPE)
		pipe_close(f->pipe, f->flags);
	if (f->kind == F_INODE)
		inode_drop(f->inum);
}

struct file *
file_open(const char *path, unsigned flags)
{
	uint32_t inum = path_find(path);
	struct file *f;

	if (!inum && flags & O_CREATE)
		inum = path_make(path, T_FILE);
	if (!inum || (inode_get(inum)->type == T_DIR && flags & O_WRITE))
		return NULL;
	f = file_new(F_INODE, flags);
	if (!f)
		return NULL;
	f->inum = inum;
	inode_hold(inum);
	if (flags & O_TRUNC && flags & O_WRITE)
		inode_cut(inum);
	return f;
}

int
file_read(struct file *f, void *dst, uint32_t bytes)
{
	int n;

	if (!(f->flags & O_READ))
		return -1;
	if (f->kind == F_CONSOLE)
		return console_read(dst, bytes);
	if (f->kind == F_PIPE)
		return pipe_read(f->pipe, dst, bytes);
	n = inode_read(f->inum, dst, f->offset, bytes);
	f->offset += (uint32_t)n;
	return n;
}

int
file_write(struct file *f, const void *src, uint32_t bytes)
{
	int n;

	if (!(f->flags & O_WRITE))
		return -1;
	if (f->kind == F_CONSOLE)
		return console_write(src, bytes);
	if (f->kind == F_PIPE)
		return pipe_write(f->pipe, src, bytes);
	if (f->flags & O_APPEND)
		f->offset = inode_get(f->inum)->size;
	n = inode_write(f->inum, src, f->offset, bytes);
	if (n > 0)
		f->offset += (uint32_t)n;
	return n;
}
