/*
 * Lab 0, exercise 0.4: the page allocator.
 *
 * Every frame of machine memory has a record in frames[] (kern/frame.h), which says what the frame
 * is for. The kernel has filled it in from the loader's memory map: what is RAM and in no use is
 * FRAME_FREE. The free frames form a list through `next`; what is on no list is somebody's.
 *
 * Until this works the kernel takes all memory from boot_alloc(), which can give nothing back.
 */
#include <kern/frame.h>
#include <kern/kern.h>
#include <kern/map.h>

static struct frame *free_list;

/* EXERCISE 0.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 0.0 */

/* Puts every frame that is FRAME_FREE on the list. Called once, before the other two. */
void
frame_list_init(void)
{
	/* EXERCISE 0.4a: frames[0] to frames[frame_count - 1]; see enum frame_type. */
	exercise_todo("0.4", "handouts/lab0.md#ex-0-4");
	(void)free_list;
	/* END EXERCISE 0.4a */
}

/*
 * Takes a frame off the list: FRAME_HOST, one reference, owner OWNER_HOST, and its 4096 bytes zero,
 * so that nobody reads what the last owner left. NULL if none is left.
 */
struct frame *
frame_list_alloc(void)
{
	/* EXERCISE 0.4b: mfn_ptr() of kern/map.h gives the address of a frame's bytes in the direct
	 * map, frame_mfn() the number of a record's frame.
	 */
	exercise_todo("0.4", "handouts/lab0.md#ex-0-4");
	return NULL;
	/* END EXERCISE 0.4b */
}

/*
 * Drops one reference. With the last one the frame becomes FRAME_FREE, OWNER_HOST, and goes back on
 * the list. Only what frame_list_alloc() gave out may come here: a frame that is free or reserved
 * is somebody's mistake, after which two owners would share a frame one day, so panic() names it
 * now.
 */
void
frame_list_free(struct frame *f)
{
	/* EXERCISE 0.4c: check first, then count down. panic()'s text begins with
	 * "frame_list_free".
	 */
	exercise_todo("0.4", "handouts/lab0.md#ex-0-4");
	/* END EXERCISE 0.4c */
}
