/*
 * The one program that trap-and-emulate gets wrong: the kernel saves and restores IF by pushf, cli,
 * popf.
 */
#include <guest/os/libc/user.h>

int
main(int argc, char **argv)
{
	printf("flags: after pushf, cli, popf interrupts are %s\n", popf() == 1 ? "on" : "off");
	return 0;
}
