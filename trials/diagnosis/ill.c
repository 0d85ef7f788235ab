/*
 * A person's five patients, whatever the CPU. Nothing that is printed depends on where this kernel
 * lies, so an answer stays right when the kernel changes.
 */
#include <inc/errno.h>
#include <kern/kern.h>
#include <kern/map.h>
#include <trials/diagnosis/ill.h>

#define EXITS_MAX 20u

const struct ill_fault *
ill_fault_of(const struct ill_flavour *flavour, const char *name, unsigned number, uint64_t *seed)
{
	const struct ill_group *g = &flavour->groups[number - 1];

	return &g->faults[patient_choice(name, number, g->count, seed)];
}

uint64_t
ill_make(const struct ill_flavour *flavour, struct patient *p, const struct ill_fault *f,
	 uint64_t seed)
{
	uint64_t well;

	patient_make(p, f->wide, seed, flavour->nested_bits, flavour->nested_leaf_bits);
	flavour->make(p);
	well = flavour->get(f);
	flavour->set(f, (well ^ f->flip) + f->add);
	return well;
}

void
ill_run(const struct ill_flavour *flavour, struct patient *p, unsigned number)
{
	for (unsigned n = 1; n <= EXITS_MAX; n++)
		switch (flavour->step(p, number, n)) {
		case ILL_ON_PLAN:
			printf("\n");
			continue;
		case ILL_AT_END:
			if (patient_is_well(p)) {
				printf(": its work is done\n");
				return;
			}
			/* fall through */
		case ILL_OFF_PLAN:
			printf(": here its plan ends\n");
			return;
		case ILL_ROUND:
			printf("it goes round and round, and makes no exit of its own\n");
			return;
		case ILL_REFUSED:
			printf("no exit: the CPU refuses it, or was not asked\n");
			return;
		}
	printf("more than %u exits: this was not its plan\n", EXITS_MAX);
}

static const struct ill_fault *
field_named(const struct ill_flavour *flavour, const char *name)
{
	for (unsigned g = 0; g < PATIENTS; g++)
		for (unsigned i = 0; i < flavour->groups[g].count; i++)
			if (!strcmp(flavour->groups[g].faults[i].name, name))
				return &flavour->groups[g].faults[i];
	return NULL;
}

static int
treat(const struct ill_flavour *flavour, const char *name, const char *words)
{
	const struct ill_fault *f = field_named(flavour, name);
	uint64_t value;

	if (!f) {
		printf("none of the patients is ill at a field %s\n", name);
		return MONITOR_SAID;
	}
	if (parse_u64(words, &value))
		return -EINVAL;
	flavour->set(f, value);
	printf("with %s = %lx: ", f->name, value);
	return 0;
}

static int
one_patient(const struct ill_flavour *flavour, struct patient *p, unsigned number, int argc,
	    char **argv)
{
	uint64_t seed = 0;
	const struct ill_fault *f = ill_fault_of(flavour, argv[1], number, &seed);
	int err;

	ill_make(flavour, p, f, seed);
	if (argc == 4)
		return flavour->show(argv[3]);
	if (argc == 5) {
		err = treat(flavour, argv[3], argv[4]);
		if (err)
			return err;
	}
	printf("patient %u of %s: work%u, linear addresses %lx to %lx\n", number, argv[1],
	       p->wide ? 64 : 32, p->linear, p->linear + PAGE_ROOT * PAGE_SIZE - 1);
	ill_run(flavour, p, number);
	return 0;
}

int
ill_command(const struct ill_flavour *flavour, int argc, char **argv)
{
	struct patient *p;
	uint64_t number;
	int err;

	if (argc < 3 || argc > 5 || parse_u64(argv[2], &number) || !number || number > PATIENTS)
		return -EINVAL;
	p = patient_pages();
	if (!p)
		return -ENOMEM;
	err = flavour->ready();
	if (err)
		return err;
	err = one_patient(flavour, p, (unsigned)number, argc, argv);
	flavour->done();
	return err;
}
