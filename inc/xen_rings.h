/*
 * Pages that a domain shares with those who serve it, in Xen's ABI: its console, its store.
 * Names as in inc/xen.h.
 */
#pragma once

#include <inc/xen.h>

/* io/console.h. Indices count on and on; a byte's place is its index modulo the ring's length. */
struct xen_console_ring {
	uint8_t in[1024], out[2048];
	uint32_t in_cons, in_prod, out_cons, out_prod;
};

/* io/xs_wire.h */
#define XEN_STORE_RING    1024u
#define XEN_STORE_PAYLOAD 4096u /* of one message, at most */
struct xen_store_ring {
	uint8_t req[XEN_STORE_RING], rsp[XEN_STORE_RING];
	uint32_t req_cons, req_prod, rsp_cons, rsp_prod;
	uint32_t server_features, connection, error;
};
#define XEN_STORE_FEATURE_ERROR 2u /* `error` is kept */
enum xen_store_error {
	XEN_STORE_ERROR_COMM = 1,
	XEN_STORE_ERROR_RINGIDX = 2,
	XEN_STORE_ERROR_PROTO = 3
};
enum xen_xsd_sockmsg_type {
	XEN_XS_DIRECTORY = 1,
	XEN_XS_READ,
	XEN_XS_GET_PERMS,
	XEN_XS_WATCH,
	XEN_XS_UNWATCH,
	XEN_XS_TRANSACTION_START,
	XEN_XS_TRANSACTION_END,
	XEN_XS_INTRODUCE,
	XEN_XS_RELEASE,
	XEN_XS_GET_DOMAIN_PATH,
	XEN_XS_WRITE,
	XEN_XS_MKDIR,
	XEN_XS_RM,
	XEN_XS_SET_PERMS,
	XEN_XS_WATCH_EVENT,
	XEN_XS_ERROR,
	XEN_XS_IS_DOMAIN_INTRODUCED,
	XEN_XS_RESET_WATCHES = 21,
	XEN_XS_TYPES = 23
};
#define XEN_STORE_ABS_PATH 3072u /* longest paths, their NUL apart */
#define XEN_STORE_REL_PATH 2048u
struct xen_xsd_sockmsg {
	uint32_t type, req_id, tx_id, len; /* and so many bytes */
};
