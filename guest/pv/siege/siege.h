/*
 * What the files of a siege share.
 */
#pragma once

#include <guest/pv/lib/check.h>
#include <guest/pv/lib/events.h>

#define PAGE 4096u

extern uint64_t seed;
uint64_t any(uint64_t below);
void walk(void); /* walk.c; and a turn of those beside it, a frame of a table */
void others_turn(void);
uint64_t walked(void);
void to_another(void);   /* several.c */
void others_begin(void); /* ... one of them, at least */
void ports(void);        /* ports.c */
void frames(void);       /* frames.c */
void reservation(void);  /* reserve.c */
void begin(void);        /* main.c: its own numbers, by seed=N */
