/*
 * The network's guest: what its files share.
 */
#pragma once

#include <guest/pv/drivers/netfront.h>
#include <guest/pv/inet/inet.h>

extern struct xenbus bus;
extern struct refs refs;
extern struct netfront card;
extern struct net_memory memory;
extern struct inet stack;

/*
 * What has come is looked at, and what is to go goes; then it sleeps until more comes, or that
 * time.
 */
void serve(uint64_t until);
uint32_t word_ip(const char *name); /* of the command line, "to=10.0.2.1"; 0: there is none */
void begin_stack(void);             /* with a card that is connected */
void harm(void);                    /* hostile.c */
