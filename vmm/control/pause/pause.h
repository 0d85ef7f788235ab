/*
 * A domain stands still, its clock with it, until it is let go: whoever has control of it says so.
 */
#pragma once

struct domain;

/* Both may be asked of one that is so already; not of one that has ended. */
void domain_pause(struct domain *d);
void domain_resume(struct domain *d);
