/*
 * What a guest says to who has its console: the other end of its ring, as far as there is room.
 * pv_printf() says it to the monitor.
 */
#pragma once

void tell(const char *text);
