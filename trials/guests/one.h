/*
 * A guest from nothing to nothing: made, run to its end or put out, freed (one.c).
 */
#pragma once

#include <vmm/domain.h>

struct one_guest {
	const struct module *module;
	const struct engine *engine;
	uint64_t mib;
	uint64_t
		/*
		 * a guest that runs on after so many turns without progress is stopped from outside
		 */
		turns;
	uint64_t
		/* guest-physical: a word that counts its progress, told as `progress`; 0: none */
		report;
};

struct one_end {
	bool stopped; /* ... for what it did, or from outside */
	bool put_out; /* from outside */
	uint32_t progress;
	char why[200];
};

/*
 * Errors: domain_create()'s; -EAGAIN, somebody typed Ctrl-C. The guest says nothing on the console.
 */
int one_guest(const struct one_guest *g, const char *words, struct one_end *end);
