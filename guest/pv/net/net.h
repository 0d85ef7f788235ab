/*
 * The network's guest: what its files share.
 */
#pragma once

#include <guest/pv/drivers/netfront.h>
#include <guest/pv/inet/inet.h>

#define ETH_LOOP   0x9000u /* it goes back to whom it is from */
#define ETH_NOBODY 0x88b5u /* ... and that is for nobody */

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
void bench(const uint8_t *peer);    /* bench.c; a neighbour's address */
void harm(void);                    /* hostile.c */
