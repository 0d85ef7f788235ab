/*
 * The answers of exercise 4s.8, and all of its faults. This folder is not handed out.
 */
#include <kern/kern.h>
#include <trials/diagnosis/broken/key.h>
#include <trials/svm/ill.h>

static int
key(int argc, char **argv)
{
	return ill_key(&svm_ill, argc, argv);
}
MONITOR_COMMAND(key, "ill-key", "NAME", "the answers of exercise 4s.8");

static int
all(int argc, char **argv)
{
	return ill_all(&svm_ill, argc, argv);
}
MONITOR_COMMAND(all, "ill-all", "[SEED]", "all faults of exercise 4s.8, and their cures");
