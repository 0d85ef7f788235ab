/* Names: directories, and paths through them. */
#include <guest/os/os.h>

#define NOT_FOUND 0xffffffffu

int
same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

/*
 * The entry's offset in the directory, or NOT_FOUND. An empty name finds a free place, or the end.
 */
static uint32_t
dir_find(uint32_t dir, const char *name, struct dirent *found)
{
	uint32_t size = inode_get(dir)->size;

	for (uint32_t at = 0; at < size; at += sizeof(*found)) {
		inode_read(dir, found, at, sizeof(*found));
		if (*name ? found->inum && same(found->name, name) : !found->inum)
			return at;
	}
	return *name ? NOT_FOUND : size;
}

static int
dir_add(uint32_t dir, const char *name, uint32_t inum)
{
	struct dirent e = { 0 };
	uint32_t at = dir_find(dir, "", &e);

	clear(&e, sizeof(e));
	e.inum = inum;
	for (unsigned i = 0; name[i]; i++)
		e.name[i] = name[i];
	return inode_write(dir, &e, at, sizeof(e)) == sizeof(e) ? 0 : -1;
}

static int
dir_is_empty(uint32_t dir)
{
	struct dirent e;
	uint32_t size = inode_get(dir)->size;

	for (uint32_t at = 0; at < size; at += sizeof(e)) {
		inode_read(dir, &e, at, sizeof(e));
		if (e.inum && !same(e.name, ".") && !same(e.name, ".."))
			return 0;
	}
	return 1;
}

/* Takes the path's first name off; the rest of the path, or NULL where the name is too long. */
static const char *
next_name(const char *path, char *name)
{
	unsigned n = 0;

	while (*path == '/')
		path++;
	while (*path && *path != '/' && n < NAME_BYTES - 1)
		name[n++] = *path++;
	name[n] = '\0';
	if (*path && *path != '/')
		return NULL;
	while (*path == '/')
		path++;
	return path;
}

/* The directory that the path's last name is in (0: there is none), and that name. */
static uint32_t
walk(const char *path, char *name)
{
	uint32_t at = *path == '/' ? ROOT_INUM : current->cwd;
	struct dirent e;

	for (;;) {
		path = next_name(path, name);
		if (!path || inode_get(at)->type != T_DIR)
			return 0;
		if (!*path)
			return at;
		if (dir_find(at, name, &e) == NOT_FOUND)
			return 0;
		at = e.inum;
	}
}

uint32_t
path_find(const char *path)
{
	char name[NAME_BYTES];
	uint32_t dir = walk(path, name);
	struct dirent e;

	if (!dir || !*name)
		return dir; /* "/" has no last name */
	return dir_find(dir, name, &e) == NOT_FOUND ? 0 : e.inum;
}

/* A new file or directory; 0: it is there already, or there is no place for it. */
uint32_t
path_make(const char *path, unsigned type)
{
	char name[NAME_BYTES];
	uint32_t dir = walk(path, name), inum;
	struct dirent e;

	if (!dir || !*name || !inode_get(dir)->links || dir_find(dir, name, &e) != NOT_FOUND)
		return 0;
	inum = inode_new(type);
	if (!inum)
		return 0;
	inode_get(inum)->links = 1;
	if ((type == T_DIR && (dir_add(inum, ".", inum) || dir_add(inum, "..", dir))) ||
	    dir_add(dir, name, inum)) {
		inode_unlink(inum);
		return 0;
	}
	return inum;
}

int
path_remove(const char *path)
{
	char name[NAME_BYTES];
	uint32_t dir = walk(path, name), at;
	struct dirent e;

	if (!dir || !*name || same(name, ".") || same(name, ".."))
		return -1;
	at = dir_find(dir, name, &e);
	if (at == NOT_FOUND || (inode_get(e.inum)->type == T_DIR && !dir_is_empty(e.inum)))
		return -1;
	inode_unlink(e.inum);
	clear(&e, sizeof(e));
	inode_write(dir, &e, at, sizeof(e));
	return 0;
}
