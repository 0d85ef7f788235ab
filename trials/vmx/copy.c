/*
 * Copies of the last guest's VMCS. The guest itself is left alone: a copy has nested tables that
 * map nothing. So a VMCS that the CPU takes comes back at the guest's first access to memory, if
 * not before.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <kern/cpu.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <vmm/engine.h>
#include <trials/vmx/copy.h>

#define EPT_FRAME (~0xffful)

static mfn_t copy, no_memory;
static bool has_frames;
static struct vmcs_image good;
static bool there[IMAGE_FIELDS]; /* the CPU has this field, and takes writes to it ... */
static bool has_asked;           /* ... as far as it was asked: Bochs logs each that it has not */

/* SDM 3C table 25-21: all widths; controls, the guest's and the host's fields, but no exits. */
static void
each_field(void (*visit)(enum vmcs_field field, const struct vmcs_image *image),
	   const struct vmcs_image *image)
{
	for (uint32_t width = 0; width < 4; width++)
		for (uint32_t type = 0; type < 4; type++)
			for (uint32_t index = 0; type != 1 && index < 32; index++)
				visit((enum vmcs_field)(width << 13 | type << 10 | index << 1),
				      image);
}

static void
take(enum vmcs_field field, const struct vmcs_image *image)
{
	bool *has = &there[IMAGE_SLOT(field)];

	*has = has_asked ? *has : vmcs_has(field);
	if (*has)
		*image_field(&good, field) = vmcs_read(field);
}

static void
give(enum vmcs_field field, const struct vmcs_image *image)
{
	if (there[IMAGE_SLOT(field)])
		vmcs_write(field, image_read(image, field));
}

/* They are kept from one trial to the next. */
static bool
get_frames(void)
{
	if (has_frames)
		return true;
	copy = frame_alloc(FRAME_HOST, OWNER_HOST);
	no_memory = frame_alloc(FRAME_HOST, OWNER_HOST);
	has_frames = mfn_ok(copy) && mfn_ok(no_memory);
	if (has_frames)
		*(uint32_t *)mfn_ptr(copy) = vmx_revision();
	else if (mfn_ok(copy))
		frame_put(copy);
	return has_frames;
}

const struct vmcs_image *
vmcs_read_image(struct vcpu *v)
{
	v->engine->load(v);
	vmx_state_to_vmcs(v);
	each_field(take, NULL);
	has_asked = true;
	return &good;
}

void
vmcs_write_image(const struct vmcs_image *image)
{
	each_field(give, image);
}

const struct vmcs_image *
vmcs_copy(struct vcpu *v)
{
	if (!get_frames())
		return NULL;
	vmcs_read_image(v);
	*image_field(&good, VPID) = 1; /* that of structures that are no vCPU's */
	*image_field(&good, EPT_POINTER) =
		(image_read(&good, EPT_POINTER) & ~EPT_FRAME) | mfn_to_hpa(no_memory).v;
	*image_field(&good, ENTRY_EVENT) = 0;
	return &good;
}

unsigned
vmcs_copy_enter(struct vcpu *v, const struct vmcs_image *image)
{
	static struct vmx of_copy;
	uint64_t gpr[GPR_COUNT] = { 0 }, pat = rdmsr(MSR_PAT);
	enum vmx_entry entry;
	uint32_t reason;
	unsigned says;

	vmx_vmclear(mfn_to_hpa(copy).v);
	vmx_vmptrld(mfn_to_hpa(copy).v);
	vmcs_write_image(image);
	entry = vmx_enter_and_back(&of_copy, gpr);
	wrmsr(MSR_PAT, pat);
	reason = (uint32_t)vmcs_read(EXIT_REASON);
	if (entry == ENTERED)
		says = reason & VMX_ENTRY_FAILED ? VMX_REASON_BASIC(reason) : 0;
	else
		says = (unsigned)vmcs_read(INSTRUCTION_ERROR);
	vmx_vmclear(mfn_to_hpa(copy).v);
	vmx_vmptrld(vmx_of(v)->vmcs_at.v);
	return says;
}

/*
 * Bochs 2.7 dies of an event of type 7, and of IA-32e mode without protection: its entry asks for
 * CR0.PG there, and not whether PE goes with it (SDM 3C 27.3.1.1).
 */
bool
vmcs_copy_kills(const struct vmcs_image *image)
{
	uint64_t event = image_read(image, ENTRY_EVENT);

	if (image_read(image, ENTRY_CONTROLS) & ENTRY_IA32E &&
	    !(image_read(image, GUEST_CR0) & CR0_PE))
		return true;
	return event & VMX_EVENT_VALID && VMX_EVENT_TYPE(event) == VMX_EVENT_OTHER;
}

bool
vmcs_copy_stays_away(const struct vmcs_image *image)
{
	bool ept = image_read(image, PRIMARY_CONTROLS) & PRIMARY_SECONDARY &&
		   image_read(image, SECONDARY_CONTROLS) & SECONDARY_EPT;

	return !ept || image_read(image, GUEST_ACTIVITY) != ACTIVITY_RUNS;
}
