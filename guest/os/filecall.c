/* System calls about files. */
#include <guest/os/os.h>

static int
good_path(uint32_t path)
{
	return space_string(&current->space, path, MAX_WORDS) >= 0;
}

static struct file *
file_of(uint32_t fd)
{
	return fd < FDS ? current->fd[fd] : NULL;
}

/* The lowest free descriptor for f, or -1; f is closed then. */
static int
fd_for(struct file *f)
{
	if (!f)
		return -1;
	for (int i = 0; i < FDS; i++) {
		if (!current->fd[i]) {
			current->fd[i] = f;
			return i;
		}
	}
	file_close(f);
	return -1;
}

int
sys_open(uint32_t path, uint32_t flags, uint32_t c)
{
	return good_path(path) ? fd_for(file_open((const char *)path, flags)) : -1;
}

int
sys_close(uint32_t fd, uint32_t b, uint32_t c)
{
	struct file *f = file_of(fd);

	if (!f)
		return -1;
	current->fd[fd] = NULL;
	file_close(f);
	return 0;
}

int
sys_read(uint32_t fd, uint32_t buffer, uint32_t bytes)
{
	struct file *f = file_of(fd);

	if (!f || !space_may(&current->space, buffer, bytes, 1))
		return -1;
	return file_read(f, (void *)buffer, bytes);
}

int
sys_write(uint32_t fd, uint32_t buffer, uint32_t bytes)
{
	struct file *f = file_of(fd);

	if (!f || !space_may(&current->space, buffer, bytes, 0))
		return -1;
	return file_write(f, (const void *)buffer, bytes);
}

int
sys_dup(uint32_t fd, uint32_t b, uint32_t c)
{
	struct file *f = file_of(fd);

	return f ? fd_for(file_share(f)) : -1;
}

int
sys_pipe(uint32_t fds, uint32_t b, uint32_t c)
{
	struct file *reader, *writer;
	int *fd = (int *)fds;

	if (!space_may(&current->space, fds, 2 * sizeof(int), 1) || pipe_new(&reader, &writer))
		return -1;
	fd[0] = fd_for(reader);
	fd[1] = fd_for(writer);
	if (fd[0] >= 0 && fd[1] >= 0)
		return 0;
	if (fd[0] >= 0)
		sys_close((uint32_t)fd[0], 0, 0);
	return -1;
}

int
sys_stat(uint32_t path, uint32_t to, uint32_t c)
{
	uint32_t inum = good_path(path) ? path_find((const char *)path) : 0;
	struct inode *ip = inode_get(inum);

	if (!inum || !space_may(&current->space, to, sizeof(struct stat), 1))
		return -1;
	*(struct stat *)to = (struct stat){ inum, ip->type, ip->links, ip->size };
	return 0;
}

int
sys_mkdir(uint32_t path, uint32_t b, uint32_t c)
{
	return good_path(path) && path_make((const char *)path, T_DIR) ? 0 : -1;
}

int
sys_unlink(uint32_t path, uint32_t b, uint32_t c)
{
	return good_path(path) ? path_remove((const char *)path) : -1;
}

int
sys_chdir(uint32_t path, uint32_t b, uint32_t c)
{
	uint32_t inum = good_path(path) ? path_find((const char *)path) : 0;

	if (!inum || inode_get(inum)->type != T_DIR)
		return -1;
	inode_drop(current->cwd);
	current->cwd = inum;
	inode_hold(inum);
	return 0;
}
