/*
 * What is typed into a guest's COM1 (typed.c), as far as others have to do with it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct domain;

/* Waits in the foreground for its end, or until the person leaves it. */
void typed_wait(struct domain *d);
/* The guest has said this byte: a prompt that its words wait for may end with it. */
void typed_hears(struct domain *d, uint8_t byte);
/* Whether a person sits at it, who has been shown this byte. */
bool typed_shows(struct domain *d, uint8_t byte);
/* The control shell brings the keys of who sits at it now; NULL: nobody does any more. */
void typed_lend(struct domain *d);
bool typed_press(uint8_t c); /* false: it is lost, for so many wait already */
/* What comes next on the console is somebody else's. */
void typed_ends_line(struct domain *d);
