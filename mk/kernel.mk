# The kernel of one lab: its objects, the two links, and the image that machines boot.

O := build/$(VARIANT)
KERNEL := $(O)/zeno.elf
IMAGE := $(O)/zeno.mb

WARN := -Wall -Wextra -Wno-unused-parameter -Wmissing-prototypes -Wvla
# Paths relative to the root, so that the same sources give the same bytes anywhere.
COMMON := -std=gnu11 -O2 -g -ffreestanding -fno-stack-protector -fno-omit-frame-pointer \
	-fno-strict-aliasing -fcf-protection=none -fno-asynchronous-unwind-tables \
	-ffile-prefix-map=$(call quote,$(CURDIR))=. $(WARN) -I.
CFLAGS := $(COMMON) -fPIC -fvisibility=hidden -include kern/hidden.h -mno-red-zone \
	-mgeneral-regs-only $(if $(CLANG),--target=x86_64-linux-gnu)
NASMFLAGS := -f elf64 -g -F dwarf -I .
# PV guests are 64-bit kernels in ring 3; some of them are compiled for each lab: mk/guests.mk.
PV_CFLAGS := $(COMMON) -fno-pic -mcmodel=kernel -mno-red-zone -mgeneral-regs-only -fno-unwind-tables \
	$(if $(CLANG),--target=x86_64-linux-gnu)
LDFLAGS := -m elf_x86_64 -nostdlib -static -z max-page-size=4096 -z noexecstack \
	--orphan-handling=error --build-id=none

# One store of objects for all labs. An object lies below a name that is made of the commands that compile it, at its
# source's path: kern/ and vmm/ are compiled once for all labs, solutions and skeletons, and again when flags change.
THIS_STORE = build/obj/$(call key,$(CC) $(CFLAGS) / $(PV_CFLAGS) / $(NASM) $(NASMFLAGS))
ifndef STORE
STORE := $(if $(SOURCES),$(THIS_STORE))
endif
$(if $(STORE),$(call doubted,$(STORE)))
OBJECTS := $(SOURCES:%=$(STORE)/%.o)
# Compiled reference objects of labs that this one needs (catchup/N-topic), and what defines their symbols.
STAMP := $(if $(CATCHUP),$(O)/catchup.o)
TOOLCHAIN = --objcopy $(call quote,$(OBJCOPY)) --cc $(call quote,$(CC)) --cflags $(call quote,$(CFLAGS)) --nasm $(call quote,$(NASM)) \
	--nasmflags $(call quote,$(NASMFLAGS)) --guest-cflags $(call quote,$(LAB_CFLAGS))

# Objects that don't fit are refused before anything is compiled.
$(OBJECTS): | $(STAMP)
$(O)/catchup.asm $(O)/guest-catchup.asm: always
	@mkdir -p $(@D)
	@$(BARE_PYTHON) tools/catchup.py stamp $(TOOLCHAIN) --out $@ --folders $(sort $(dir $(if $(findstring guest-,$@),$(GUEST_CATCHUP),$(CATCHUP))))
$(O)/catchup.o $(O)/guest-catchup.o: %.o: %.asm
	@$(NASM) $(NASMFLAGS) -o $@ $<

# Two makes may compile the same file for two labs at the same time: each writes files of its own, and renames them.
$(STORE)/%.c.o: %.c
	@mkdir -p $(@D)
	@echo "cc   $<"
	@$(call in_place,$(CC) $(CFLAGS) -MMD -MP)
# NASM 2.16 leaves what is included out of the list that -MD makes.
$(STORE)/%.asm.o: %.asm $(wildcard inc/*.inc kern/*.inc vmm/*/*.inc trials/*.inc guest/pv/lib/*.inc)
	@mkdir -p $(@D)
	@echo "nasm $<"
	@$(call in_place,$(NASM) $(NASMFLAGS) -MP)

# Another list of objects is another kernel.
$(O)/objects: always
	@mkdir -p $(@D)
	@$(call if_new,$(OBJECTS) $(CATCHUP))

# Two links: the symbol table needs the addresses of the first, and comes last in .rodata so that it
# moves no code. Objects are linked as objects, never from an archive: a symbol that is defined twice
# is an error. Of the first nobody reads the debug information, which is most of a link.
$(O)/stage1.elf: $(O)/objects $(STAMP) $(OBJECTS) $(CATCHUP) kern/kernel.ld
	@echo "ld   $@"
	@$(LD) $(LDFLAGS) -S -T kern/kernel.ld -o $@ $(OBJECTS) $(CATCHUP) $(STAMP)
$(O)/ksyms.asm: $(O)/stage1.elf tools/ksyms.py grade/zeno/machines/elf.py
	@$(BARE_PYTHON) tools/ksyms.py $< > $@
$(O)/ksyms.o: $(O)/ksyms.asm
	@$(NASM) $(NASMFLAGS) -o $@ $<
$(KERNEL): $(O)/stage1.elf $(O)/ksyms.o kern/kernel.ld
	@echo "ld   $@"
	@$(LD) $(LDFLAGS) -T kern/kernel.ld -Map $(O)/zeno.map -o $@ $(OBJECTS) $(CATCHUP) $(STAMP) $(O)/ksyms.o
	@$(BARE_PYTHON) tools/ksyms.py --verify $(O)/stage1.elf $@
$(IMAGE): $(KERNEL)
	@$(OBJCOPY) -S -O elf32-i386 $< $@ 2> $@.err || { cat $@.err >&2; exit 1; }

# All that is nobody's exercise, compiled and no more: the grader keeps it for the builds that it makes.
.PHONY: shared compiled
shared: $(filter-out $(STORE)/labs/% $(STORE)/solutions/% $(STORE)/build/%,$(OBJECTS))

# All that is compiled, and no more.
compiled: $(OBJECTS) guests boot plugin $(USER_ELFS)

-include $(OBJECTS:.o=.d)
