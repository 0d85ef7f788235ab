/*
 * The first bytes of a guest: nothing but in and out (Lab 1A, exercise 1.2).
 */
#include <guest/lib/guest.h>

uint32_t
guest_main(uint32_t magic, const uint32_t *info)
{
	console_init();
	print("hello from a kernel that believes it is in ring 0\n");
	print("magic ");
	print_hex(magic);
	print(info ? ", boot information found\n" : ", no boot information\n");
	return 0;
}
