/*
 * What a rule asks for before it can be broken: a mode of the guest's, an event, a control.
 */
#pragma once

#include <trials/vmx/image.h>

/* Each begins with mode_flat(): 32-bit code in ring 0, no paging, nothing pending. */
void mode_flat(struct vmcs_image *m);
void mode_paged(struct vmcs_image *m);
void mode_pae(struct vmcs_image *m);
void mode_long(struct vmcs_image *m);
void mode_restricted(struct vmcs_image *m); /* paged, and no unrestricted guest */
void mode_conforming(struct vmcs_image *m); /* the same, in conforming code */
void mode_data_code(struct vmcs_image *m);  /* CS has type 3 */
void mode_ring3(struct vmcs_image *m);
void mode_v86(struct vmcs_image *m);
void mode_ldtr(struct vmcs_image *m);
void mode_short_host(struct vmcs_image *m);
void mode_sti(struct vmcs_image *m);
void mode_step(struct vmcs_image *m);

void with_interrupt(struct vmcs_image *m);
void with_interrupt_if(struct vmcs_image *m);
void with_nmi(struct vmcs_image *m);
void with_ud(struct vmcs_image *m);
void with_gp(struct vmcs_image *m);
void with_int80(struct vmcs_image *m);
void with_halt_ring3(struct vmcs_image *m);

void with_io_bitmaps(struct vmcs_image *m);
void with_tpr_shadow(struct vmcs_image *m);
void with_apic_page(struct vmcs_image *m);
void with_virtual_interrupts(struct vmcs_image *m);
void with_nmi_window(struct vmcs_image *m);
void with_vpid(struct vmcs_image *m);
void with_no_timer(struct vmcs_image *m);
