/*
 * Modes of a guest's in a VMCS. Pure.
 */
#include <trials/vmx/modes.h>
#include <vmm/x86/state.h>

#define CODE32 0xc09bu
#define CODE64 0xa09bu
#define DATA32 0xc093u
#define TSS32  0x8bu
#define LDT    0x82u
#define V86    0xf3u

#define SET(field, bits)   (*image_field(m, field) |= (uint64_t)(bits))
#define CLEAR(field, bits) (*image_field(m, field) &= ~(uint64_t)(bits))
#define PUT(field, value)  (*image_field(m, field) = (value))

static void
segment(struct vmcs_image *m, unsigned n, uint16_t selector, uint32_t limit, uint32_t rights)
{
	PUT(SEGMENT_FIELD(GUEST_ES, n), selector);
	PUT(SEGMENT_FIELD(GUEST_ES_BASE, n), 0);
	PUT(SEGMENT_FIELD(GUEST_ES_LIMIT, n), limit);
	PUT(SEGMENT_FIELD(GUEST_ES_RIGHTS, n), rights);
}

void
mode_flat(struct vmcs_image *m)
{
	CLEAR(ENTRY_CONTROLS, ENTRY_IA32E);
	SET(GUEST_CR0, CR0_PE);
	CLEAR(GUEST_CR0, CR0_PG);
	CLEAR(GUEST_CR4, CR4_PAE | CR4_PCIDE);
	CLEAR(GUEST_EFER, EFER_LME | EFER_LMA);
	PUT(GUEST_RFLAGS, FLAG_ONE);
	CLEAR(GUEST_RIP, 0xfffffffful << 32);
	PUT(GUEST_INTERRUPTIBILITY, 0);
	PUT(GUEST_ACTIVITY, ACTIVITY_RUNS);
	PUT(GUEST_PENDING_DEBUG, 0);
	PUT(ENTRY_EVENT, 0);
	for (unsigned n = 0; n < SEG_COUNT; n++)
		segment(m, n, n == SEG_CS ? 8 : 16, ~0u, n == SEG_CS ? CODE32 : DATA32);
	segment(m, SEGMENT_LDTR, 0, 0, RIGHTS_UNUSABLE);
	segment(m, SEGMENT_TR, 24, 0x67, TSS32);
}

void
mode_paged(struct vmcs_image *m)
{
	mode_flat(m);
	SET(GUEST_CR0, CR0_PG);
}

void
mode_pae(struct vmcs_image *m)
{
	mode_paged(m);
	SET(GUEST_CR4, CR4_PAE);
	for (unsigned n = 0; n < 4; n++)
		PUT(SEGMENT_FIELD(GUEST_PDPTE, n), 1);
}

void
mode_long(struct vmcs_image *m)
{
	mode_paged(m);
	SET(GUEST_CR4, CR4_PAE);
	SET(GUEST_EFER, EFER_LME | EFER_LMA);
	SET(ENTRY_CONTROLS, ENTRY_IA32E);
	PUT(SEGMENT_FIELD(GUEST_ES_RIGHTS, SEG_CS), CODE64);
}

void
mode_restricted(struct vmcs_image *m)
{
	mode_paged(m);
	CLEAR(SECONDARY_CONTROLS, SECONDARY_UNRESTRICTED);
}

void
mode_conforming(struct vmcs_image *m)
{
	mode_restricted(m);
	SET(SEGMENT_FIELD(GUEST_ES_RIGHTS, SEG_CS), ATTR_EC);
}

void
mode_data_code(struct vmcs_image *m)
{
	mode_flat(m);
	PUT(SEGMENT_FIELD(GUEST_ES_RIGHTS, SEG_CS), DATA32);
}

void
mode_ring3(struct vmcs_image *m)
{
	mode_flat(m);
	for (unsigned n = 0; n < SEG_COUNT; n++) {
		SET(SEGMENT_FIELD(GUEST_ES, n), 3);
		SET(SEGMENT_FIELD(GUEST_ES_RIGHTS, n), 3 << 5);
	}
}

void
mode_v86(struct vmcs_image *m)
{
	mode_flat(m);
	SET(GUEST_RFLAGS, FLAG_VM);
	for (unsigned n = 0; n < SEG_COUNT; n++) {
		segment(m, n, (uint16_t)(0x1234 + n), 0xffff, V86);
		PUT(SEGMENT_FIELD(GUEST_ES_BASE, n), (0x1234ul + n) << 4);
	}
}

void
mode_ldtr(struct vmcs_image *m)
{
	mode_flat(m);
	segment(m, SEGMENT_LDTR, 32, 0x57, LDT);
}

void
mode_short_host(struct vmcs_image *m)
{
	mode_flat(m);
	CLEAR(EXIT_CONTROLS, EXIT_HOST_LONG);
	CLEAR(HOST_EFER, EFER_LME | EFER_LMA);
	CLEAR(HOST_RIP, 0xfffffffful << 32);
	PUT(HOST_SS_SELECTOR, *image_field(m, HOST_CS_SELECTOR) + 8);
}

void
mode_sti(struct vmcs_image *m)
{
	mode_flat(m);
	SET(GUEST_RFLAGS, FLAG_IF);
	PUT(GUEST_INTERRUPTIBILITY, SHADOW_STI);
}

void
mode_step(struct vmcs_image *m)
{
	mode_sti(m);
	SET(GUEST_RFLAGS, FLAG_TF);
	PUT(GUEST_DEBUGCTL, 0);
}

static void
event(struct vmcs_image *m, unsigned type, unsigned vector, uint32_t flags)
{
	mode_flat(m);
	PUT(ENTRY_EVENT, VMX_EVENT_VALID | type << 8 | vector | flags);
}

void
with_interrupt(struct vmcs_image *m)
{
	event(m, VMX_EVENT_INTERRUPT, 0x30, 0);
}

void
with_interrupt_if(struct vmcs_image *m)
{
	with_interrupt(m);
	SET(GUEST_RFLAGS, FLAG_IF);
}

void
with_nmi(struct vmcs_image *m)
{
	event(m, VMX_EVENT_NMI, VEC_NMI, 0);
}

void
with_ud(struct vmcs_image *m)
{
	event(m, VMX_EVENT_EXCEPTION, VEC_UD, 0);
}

void
with_gp(struct vmcs_image *m)
{
	event(m, VMX_EVENT_EXCEPTION, VEC_GP, VMX_EVENT_HAS_ERROR);
	PUT(ENTRY_EVENT_ERROR, 0);
}

void
with_int80(struct vmcs_image *m)
{
	event(m, VMX_EVENT_SOFTWARE, 0x80, 0);
	PUT(ENTRY_EVENT_LENGTH, 2);
}

void
with_halt_ring3(struct vmcs_image *m)
{
	mode_ring3(m);
	PUT(GUEST_ACTIVITY, ACTIVITY_HALTED);
}

void
with_io_bitmaps(struct vmcs_image *m)
{
	mode_flat(m);
	SET(PRIMARY_CONTROLS, PRIMARY_IO_BITMAPS);
	PUT(IO_BITMAP_A, 0);
	PUT(IO_BITMAP_B, 0);
}

void
with_tpr_shadow(struct vmcs_image *m)
{
	mode_flat(m);
	SET(PRIMARY_CONTROLS, PRIMARY_TPR_SHADOW);
	PUT(VIRTUAL_APIC, 0);
	PUT(TPR_THRESHOLD, 0);
}

void
with_apic_page(struct vmcs_image *m)
{
	mode_flat(m);
	SET(SECONDARY_CONTROLS, SECONDARY_APIC_ACCESSES);
	PUT(APIC_ACCESS, 0);
}

void
with_virtual_interrupts(struct vmcs_image *m)
{
	with_tpr_shadow(m);
	SET(SECONDARY_CONTROLS, SECONDARY_VIRTUAL_INTERRUPTS);
}

void
with_nmi_window(struct vmcs_image *m)
{
	mode_flat(m);
	SET(PRIMARY_CONTROLS, PRIMARY_NMI_WINDOW);
}

void
with_vpid(struct vmcs_image *m)
{
	mode_flat(m);
	SET(SECONDARY_CONTROLS, SECONDARY_VPID);
}

void
with_no_timer(struct vmcs_image *m)
{
	mode_flat(m);
	CLEAR(PIN_CONTROLS, PIN_TIMER);
}
