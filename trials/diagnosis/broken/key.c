/*
 * The answers of exercises 4.8 and 4s.8, and all of their faults, one after the other. This folder
 * is not handed out.
 */
#include <inc/errno.h>
#include <kern/kern.h>
#include <trials/diagnosis/broken/key.h>

static int
ready(const struct ill_flavour *flavour, struct patient **p)
{
	*p = patient_pages();
	return *p ? flavour->ready() : -ENOMEM;
}

/* As diagnosis.txt has them. */
int
ill_key(const struct ill_flavour *flavour, int argc, char **argv)
{
	struct patient *p;
	int err;

	if (argc != 2)
		return -EINVAL;
	err = ready(flavour, &p);
	if (err)
		return err;
	for (unsigned number = 1; number <= PATIENTS; number++) {
		uint64_t seed;
		const struct ill_fault *f = ill_fault_of(flavour, argv[1], number, &seed);

		printf("%u.field: %s\n%u.value: 0x%lx\n", number, f->name, number,
		       ill_make(flavour, p, f, seed));
	}
	flavour->done();
	return 0;
}

/* As it is, and then with the right value. */
static void
both(const struct ill_flavour *flavour, struct patient *p, const struct ill_fault *f, uint64_t seed)
{
	uint64_t well = ill_make(flavour, p, f, seed);

	printf("ill: work%u, %s\n", p->wide ? 64 : 32, f->name);
	ill_run(flavour, p, 0);
	ill_make(flavour, p, f, seed);
	flavour->set(f, well);
	printf("well: %s = %lx\n", f->name, well);
	ill_run(flavour, p, 0);
}

int
ill_all(const struct ill_flavour *flavour, int argc, char **argv)
{
	struct patient *p;
	uint64_t seed = 1;
	int err;

	if (argc > 1 && parse_u64(argv[1], &seed))
		return -EINVAL;
	err = ready(flavour, &p);
	if (err)
		return err;
	for (unsigned g = 0; g < PATIENTS; g++)
		for (unsigned i = 0; i < flavour->groups[g].count; i++)
			both(flavour, p, &flavour->groups[g].faults[i], seed++);
	flavour->done();
	return 0;
}
