/*
 * The answers of exercise 4.8, and all of its faults. This folder is not handed out.
 */
#include <kern/kern.h>
#include <trials/diagnosis/broken/key.h>
#include <trials/vmx/ill.h>

static int
key(int argc, char **argv)
{
	return ill_key(&vmx_ill, argc, argv);
}
MONITOR_COMMAND(key, "sick-key", "NAME", "the answers of exercise 4.8");

static int
all(int argc, char **argv)
{
	return ill_all(&vmx_ill, argc, argv);
}
MONITOR_COMMAND(all, "sick-all", "[SEED]", "all faults of exercise 4.8, and their cures");
