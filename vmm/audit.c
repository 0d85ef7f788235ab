/*
 * Who answers when somebody asks for an audit.
 */
#include <vmm/audit.h>

void (*audit_answers)(struct vcpu *v);
