/* The file system's corners: large files, files without names, full tables, a full disk. */
#include <guest/os/libc/user.h>

static char block[1024];

/* 200 blocks: more than the inode itself can name. */
static void
large_file(void)
{
	int fd = open("/tmp/large", O_READ | O_WRITE | O_CREATE | O_TRUNC), n, good = 0;

	for (int i = 0; i < 200; i++) {
		memset(block, i, sizeof(block));
		write(fd, block, sizeof(block));
	}
	close(fd);
	fd = open("/tmp/large", O_READ);
	for (int i = 0; i < 200; i++) {
		n = read(fd, block, sizeof(block));
		good += n == sizeof(block) && block[0] == (char)i && block[1023] == (char)i;
	}
	printf("a large file: %d of 200 blocks\n", good);
	close(fd);
	unlink("/tmp/large");
}

static void
no_name(void)
{
	int fd = open("/tmp/gone", O_READ | O_WRITE | O_CREATE), again;
	char word[8] = { 0 };

	write(fd, "still\n", 6);
	unlink("/tmp/gone");
	printf("without a name: open again %d, ", open("/tmp/gone", O_READ));
	again = dup(fd);
	close(fd);
	write(again, "here", 5);
	printf("write through a copy goes on: read %d\n", read(again, word, sizeof(word)));
	close(again);
}

static void
all_descriptors(void)
{
	int last = -1, fd;

	while ((fd = open("/etc/poem", O_READ)) >= 0)
		last = fd;
	printf("the last descriptor: %d\n", last);
	for (fd = 3; fd <= last; fd++)
		close(fd);
}

/* Writes until nothing fits any more, twice: what is removed is free again. */
static int
fill_disk(void)
{
	char name[] = "/tmp/full0";
	int blocks = 0, fd;

	for (; name[9] < '9'; name[9]++) {
		fd = open(name, O_WRITE | O_CREATE);
		while (write(fd, block, sizeof(block)) == sizeof(block))
			blocks++;
		close(fd);
	}
	for (name[9] = '0'; name[9] < '9'; name[9]++)
		unlink(name);
	return blocks;
}

static void
names(void)
{
	printf("a long name: %d\n", mkdir("/tmp/a-name-that-is-too-long-for-it"));
	printf("no directory on the way: %d\n", mkdir("/tmp/x/y"));
	printf("a file on the way: %d\n", open("/etc/poem/x", O_READ));
	printf("write to a directory: %d\n", open("/etc", O_WRITE));
	mkdir("/tmp/d");
	chdir("/tmp/d");
	printf("remove where one is: %d, ", unlink("/tmp/d"));
	printf("make something there: %d\n", mkdir("e"));
	chdir("/tmp/../etc/.././");
	printf("by a winding path: %d\n", open("./etc/poem", O_READ));
}

int
main(int argc, char **argv)
{
	int first, second;

	large_file();
	no_name();
	all_descriptors();
	names();
	first = fill_disk();
	second = fill_disk();
	printf("the disk was full after many blocks: %s, twice the same: %s\n",
	       first > 400 ? "yes" : "no", first == second ? "yes" : "no");
	return 0;
}
