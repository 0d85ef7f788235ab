/*
 * A network card that another domain has, in Xen's ABI (io/netif.h): two rings, one for frames that
 * the front end sends, one for room that it gives for such as it gets. Names as in inc/xen.h.
 */
#pragma once

#include <inc/xen_block.h>

#define XEN_NETIF_RING  256u /* entries of one page, of either ring */
#define XEN_NETIF_SLOTS 18u  /* that a frame may lie in, as every back end must take */

/* Of a frame that is sent. */
#define XEN_NETTXF_csum_blank     1u /* its checksum is still to be made */
#define XEN_NETTXF_data_validated 2u
#define XEN_NETTXF_more_data      4u /* it goes on in the next request */
#define XEN_NETTXF_extra_info     8u /* the next entry is no request */
struct xen_netif_tx_request {
	uint32_t gref;
	uint16_t offset, flags;
	uint16_t id, size; /* of the whole frame, in its first; of its piece in each other one */
};
struct xen_netif_tx_response {
	uint16_t id;
	int16_t status; /* enum xen_netif_rsp */
};
enum xen_netif_rsp {
	XEN_NETIF_RSP_DROPPED = -2,
	XEN_NETIF_RSP_ERROR = -1,
	XEN_NETIF_RSP_OKAY = 0,
	XEN_NETIF_RSP_NULL = 1, /* of an entry that was no request */
};

/* What stands in place of a request. */
#define XEN_NETIF_EXTRA_GSO  1u /* its type: a frame to be cut into smaller ones */
#define XEN_NETIF_EXTRA_MORE 1u /* its flag: the next entry is no request, either */
struct xen_netif_extra_info {
	uint8_t type, flags, of_type[6];
};

struct xen_netif_rx_request {
	uint16_t id, pad;
	uint32_t gref;
};
#define XEN_NETRXF_data_validated 1u
#define XEN_NETRXF_csum_blank     2u
#define XEN_NETRXF_more_data      4u
#define XEN_NETRXF_extra_info     8u
struct xen_netif_rx_response {
	uint16_t id, offset, flags;
	int16_t status; /* bytes; enum xen_netif_rsp, if it is negative */
};

union xen_netif_tx_entry {
	struct xen_netif_tx_request request;
	struct xen_netif_extra_info extra;
	struct xen_netif_tx_response response;
};
union xen_netif_rx_entry {
	struct xen_netif_rx_request request;
	struct xen_netif_rx_response response;
};
struct xen_netif_tx_page {
	struct xen_ring ring;
	union xen_netif_tx_entry entry[XEN_NETIF_RING];
	uint8_t pad[960]; /* nothing else of the front end's lies in a page that it grants */
};
struct xen_netif_rx_page {
	struct xen_ring ring;
	union xen_netif_rx_entry entry[XEN_NETIF_RING];
	uint8_t pad[1984];
};
