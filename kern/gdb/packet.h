/*
 * What the files of the GDB stub share.
 */
#pragma once

#include <kern/gdb/gdb.h>

/* Add to the reply; what is too long is cut. */
void reply(const char *fmt, ...) PRINTF_LIKE(1, 2);
void reply_bytes(const void *bytes, size_t count); /* in hex */
void reply_error(int err);                         /* OK, or E and the number */
void reply_send(void);                             /* and begins the next one */

/* Take from the front of a request. False: it is not there. */
bool take(const char **p, char c);
bool take_hex(const char **p, uint64_t *value); /* up to 16 digits */
bool take_bytes(const char **p, uint8_t *bytes, size_t count);
bool take_thread(const char **p, struct gdb_thread *t); /* pPID.TID, pPID, TID; RSP E.1 */

/* gdb.c: what there is to look at, and the thread of it that g, m, Z and others mean. */
extern const struct gdb_target *gdb_target;
extern struct gdb_thread gdb_current;

/* gdb_data.c: commands; `p` is what follows their names. All but do_features() need gdb_current. */
void do_read_registers(const char *p);
void do_read_register(const char *p);
void do_write_register(const char *p);
void do_read_memory(const char *p);
void do_write_memory(const char *p);
void do_insert(const char *p);
void do_remove(const char *p);
void do_features(const char *p);
