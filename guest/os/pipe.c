/* Pipes: a page of memory between a writer and a reader. */
#include <guest/os/os.h>

#define ROOM (PAGE - 16)

struct pipe {
	uint32_t read, written; /* bytes so far; they differ by what is in it */
	uint32_t open;          /* O_READ, O_WRITE: the ends that are */
	uint32_t unused;
	char data[ROOM];
};
_Static_assert(sizeof(struct pipe) == PAGE, "frame_get gives a page");

int
pipe_new(struct file **reader, struct file **writer)
{
	struct pipe *p = frame_get();

	*reader = p ? file_new(F_PIPE, O_READ) : NULL;
	*writer = *reader ? file_new(F_PIPE, O_WRITE) : NULL;
	if (*writer) {
		p->open = O_READ | O_WRITE;
		(*reader)->pipe = (*writer)->pipe = p;
		return 0;
	}
	if (*reader)
		(*reader)->refs = 0;
	if (p)
		frame_put(p);
	return -1;
}

void
pipe_close(struct pipe *p, unsigned flags)
{
	p->open &= ~flags;
	sched_wake(p);
	if (!p->open)
		frame_put(p);
}

/*
 * What is there, up to `bytes`; it waits for the first one. 0: it is empty, and nobody can write.
 */
int
pipe_read(struct pipe *p, char *dst, uint32_t bytes)
{
	uint32_t n = 0;

	while (p->read == p->written && p->open & O_WRITE)
		if (sched_sleep(p))
			return -1;
	while (n < bytes && p->read != p->written) {
		uint32_t at = p->read % ROOM, some = ROOM - at;

		if (some > p->written - p->read)
			some = p->written - p->read;
		if (some > bytes - n)
			some = bytes - n;
		copy(dst + n, p->data + at, some);
		p->read += some;
		n += some;
	}
	sched_wake(p);
	return (int)n;
}

/* All of it, or -1: nobody can read. */
int
pipe_write(struct pipe *p, const char *src, uint32_t bytes)
{
	for (uint32_t n = 0; n < bytes;) {
		uint32_t at = p->written % ROOM, some = ROOM - at;

		while (p->written - p->read == ROOM && p->open & O_READ)
			if (sched_sleep(p))
				return -1;
		if (!(p->open & O_READ))
			return -1;
		if (some > ROOM - (p->written - p->read))
			some = ROOM - (p->written - p->read);
		if (some > bytes - n)
			some = bytes - n;
		copy(p->data + at, src + n, some);
		p->written += some;
		n += some;
		sched_wake(p);
	}
	return (int)bytes;
}
