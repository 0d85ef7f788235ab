/* BUILD: -D__XEN_INTERFACE_VERSION__=0x00040d00 */
/*
 * inc/xen_net.h against the public headers of Debian's libxen-dev: each number, and each field's
 * place.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <xen/xen.h>
#include <xen/io/netif.h>

#include <inc/xen_net.h>

#include "abi.h"

static void
numbers(void)
{
	SAME(XEN_NETIF_RING, __CONST_RING_SIZE(netif_tx, 4096));
	SAME(XEN_NETIF_RING, __CONST_RING_SIZE(netif_rx, 4096));
	SAME(XEN_NETIF_SLOTS, XEN_NETIF_NR_SLOTS_MIN);
	SAME(XEN_NETTXF_csum_blank, NETTXF_csum_blank);
	SAME(XEN_NETTXF_data_validated, NETTXF_data_validated);
	SAME(XEN_NETTXF_more_data, NETTXF_more_data);
	SAME(XEN_NETTXF_extra_info, NETTXF_extra_info);
	SAME(XEN_NETIF_RSP_DROPPED, NETIF_RSP_DROPPED);
	SAME(XEN_NETIF_RSP_ERROR, NETIF_RSP_ERROR);
	SAME(XEN_NETIF_RSP_OKAY, NETIF_RSP_OKAY);
	SAME(XEN_NETIF_RSP_NULL, NETIF_RSP_NULL);
	SAME(XEN_NETIF_EXTRA_GSO, XEN_NETIF_EXTRA_TYPE_GSO);
	SAME(XEN_NETIF_EXTRA_MORE, XEN_NETIF_EXTRA_FLAG_MORE);
	SAME(XEN_NETRXF_data_validated, NETRXF_data_validated);
	SAME(XEN_NETRXF_csum_blank, NETRXF_csum_blank);
	SAME(XEN_NETRXF_more_data, NETRXF_more_data);
	SAME(XEN_NETRXF_extra_info, NETRXF_extra_info);
}

static void
layouts(void)
{
	FIELD(netif_tx_request, gref, gref);
	FIELD(netif_tx_request, offset, offset);
	FIELD(netif_tx_request, flags, flags);
	FIELD(netif_tx_request, id, id);
	FIELD(netif_tx_request, size, size);
	SIZE(netif_tx_request);
	FIELD(netif_tx_response, id, id);
	FIELD(netif_tx_response, status, status);
	SIZE(netif_tx_response);
	FIELD(netif_rx_request, id, id);
	FIELD(netif_rx_request, gref, gref);
	SIZE(netif_rx_request);
	FIELD(netif_rx_response, id, id);
	FIELD(netif_rx_response, offset, offset);
	FIELD(netif_rx_response, flags, flags);
	FIELD(netif_rx_response, status, status);
	SIZE(netif_rx_response);
	SAME(offsetof(struct xen_netif_extra_info, type), offsetof(struct netif_extra_info, type));
	SAME(offsetof(struct xen_netif_extra_info, flags),
	     offsetof(struct netif_extra_info, flags));
	SAME(sizeof(struct xen_netif_extra_info), sizeof(struct netif_extra_info));
	SAME(sizeof(union xen_netif_tx_entry), sizeof(union netif_tx_sring_entry));
	SAME(sizeof(union xen_netif_rx_entry), sizeof(union netif_rx_sring_entry));
	SAME(sizeof(struct xen_netif_tx_page), 4096);
	SAME(sizeof(struct xen_netif_rx_page), 4096);
	SAME(offsetof(struct xen_netif_tx_page, entry), offsetof(struct netif_tx_sring, ring));
	SAME(offsetof(struct xen_netif_rx_page, entry), offsetof(struct netif_rx_sring, ring));
}

int
main(void)
{
	numbers();
	layouts();
	return done_testing();
}
