/*
 * What the console is made of, beside COM1; see kern/kern.h for what others call.
 */
#pragma once

/* screen.c */
void screen_init(void);
void screen_putc(int c);
void screen_show_cursor(void); /* where somebody may type now */

/* keyboard.c: -1: no key that gives a character. */
int keyboard_getc(void);
