/*
 * Lists directories: type, size, name. Sizes of directories and programs depend on compilers, and
 * are left out.
 */
#include <guest/os/libc/user.h>

static void
show(const char *dir, const char *name)
{
	char path[128];
	struct stat st;
	size_t n = strlen(dir);

	memcpy(path, dir, n);
	path[n] = '/';
	memcpy(path + n + 1, name, strlen(name) + 1);
	if (stat(path, &st) < 0)
		fail("ls: %s: not found", path);
	if (st.type == T_DIR)
		printf("d        %s\n", name);
	else if (!strcmp(dir, "/bin"))
		printf("-        %s\n", name);
	else
		printf("- %6u %s\n", st.size, name);
}

static void
list(const char *dir)
{
	int fd = open(dir, O_READ);
	struct dirent e;

	if (fd < 0 || strlen(dir) > 64)
		fail("ls: %s: not found", dir);
	while (read(fd, &e, sizeof(e)) == sizeof(e))
		if (e.inum && e.name[0] != '.')
			show(dir, e.name);
	close(fd);
}

int
main(int argc, char **argv)
{
	if (argc == 1)
		list(".");
	for (int i = 1; i < argc; i++)
		list(argv[i]);
	return 0;
}
