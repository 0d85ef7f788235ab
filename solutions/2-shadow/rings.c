/*
 * Who may do what with a page: rings and write protection. Lab 2B, exercise 2.6.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/mmu/shadow/shadow.h>

/* EXERCISE 2.0: free region for helpers of your own. */
/* END EXERCISE 2.0 */

/* Whether the entries of a walk, which together grant `rights`, allow this access. */
bool
rights_allow(const struct paging *p, uint64_t rights, unsigned how)
{
	/* EXERCISE 2.6: A user needs PTE_U. A write needs PTE_W, but a supervisor's only while p->wp is set. A fetch,
	 * the user's and the supervisor's, needs PTE_NX to be clear. SMEP and SMAP are off. (SDM 3A 4.6.1 "Determination
	 * of Access Rights")
	 * until then:
	 * (void)p, (void)rights, (void)how;
	 * return true;
	 */
	if (how & ACCESS_USER && !(rights & PTE_U))
		return false;
	if (how & ACCESS_WRITE && !(rights & PTE_W) && (how & ACCESS_USER || p->wp))
		return false;
	return !(how & ACCESS_FETCH && rights & PTE_NX);
	/* END EXERCISE 2.6 */
}
