/*
 * What the kernel and its programs agree on: system calls, file types, the layout of the disk.
 *
 * A call is `int 0x80` with its number in eax and arguments in ebx, ecx, edx. eax has the result:
 * -1 is an error.
 */
#pragma once

#include <stdint.h>

#define SYSCALLS(X)                                            \
	X(exit)   /* status; does not return */                \
	X(fork)   /* -> pid, or 0 in the child */              \
	X(wait)   /* int *status -> pid */                     \
	X(exec)   /* path, argv */                             \
	X(kill)   /* pid */                                    \
	X(getpid) /* -> pid */                                 \
	X(yield)                                               \
	X(sleep)  /* clock ticks */                            \
	X(sbrk)   /* bytes -> the old break */                 \
	X(frames) /* -> free page frames */                    \
	X(open)   /* path, flags -> fd */                      \
	X(close)  /* fd */                                     \
	X(read)   /* fd, buffer, bytes -> bytes; 0: the end */ \
	X(write)  /* fd, buffer, bytes -> bytes */             \
	X(dup)    /* fd -> the lowest free fd */               \
	X(pipe)   /* int fd[2]: read from [0], write to [1] */ \
	X(stat)   /* path, struct stat * */                    \
	X(mkdir)  /* path */                                   \
	X(unlink) /* path of a file or an empty directory */   \
	X(chdir)  /* path */                                   \
	X(popf)   /* -> 1 if interrupts came back on (syscall.c) */

enum {
#define X(name) SYS_##name,
	SYSCALLS(X)
#undef X
		SYS_COUNT
};

#define O_READ   1
#define O_WRITE  2
#define O_CREATE 4
#define O_TRUNC  8
#define O_APPEND 16

enum { T_FREE, T_DIR, T_FILE };

struct stat {
	uint32_t inum, type, links, size;
};

#define MAX_ARGS  16
#define MAX_WORDS 2048 /* bytes of all arguments together */

/*
 * The disk: the super block, a bitmap of used blocks, inodes, data. tools/mkramdisk.py writes the
 * same.
 */
#define DISK_MAGIC   0x6b736452u
#define BLOCK        1024u
#define DISK_BLOCKS  1024u
#define DISK_INODES  256u
#define BITMAP_BLOCK 1u
#define INODE_BLOCK  2u
#define DATA_BLOCK   (INODE_BLOCK + DISK_INODES * 64 / BLOCK)
#define ROOT_INUM    1u
#define DIRECT       13u
#define MAX_FILE     ((DIRECT + BLOCK / 4) * BLOCK)
#define NAME_BYTES   28u

struct inode {
	uint16_t type;             /*  0 */
	uint16_t links;            /*  2 names in directories */
	uint32_t size;             /*  4 bytes */
	uint32_t addr[DIRECT + 1]; /*  8 blocks; the last one holds numbers of further blocks */
};
_Static_assert(sizeof(struct inode) == 64, "tools/mkramdisk.py");

/* A directory is a file of these; inum 0 is a free place. */
struct dirent {
	uint32_t inum;
	char name[NAME_BYTES];
};
_Static_assert(sizeof(struct dirent) == 32, "tools/mkramdisk.py");
