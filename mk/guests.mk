# Guest kernels, the programs of guest/os, the boot sectors, and the plugin that counts instructions.

GUESTS := $(filter-out lib dom0,$(notdir $(patsubst %/,%,$(sort $(dir $(wildcard guest/*/*.c guest/*/*.asm))))))
GO := build/guest$(if $(CLANG),-clang)
PV_GUESTS := $(filter-out lib drivers inet,$(notdir $(patsubst %/,%,$(sort $(dir $(wildcard guest/pv/*/*.c))))))
PVH_GUESTS := $(filter-out lib,$(notdir $(patsubst %/,%,$(sort $(dir $(wildcard guest/pvh/*/*.c))))))
PVH_AGAIN := $(if $(PVH_GUESTS),$(filter disk net,$(PV_GUESTS)))
# ... which only a dom0 can start: they are no modules of `make qemu`, which are 64 at most.
FOR_DOM0 = $(PVH_AGAIN:%=$(GO)/pvh-%.elf)
# Those that have drivers for others' devices, and those that have a network. A lab that has files in the drivers (GUEST_LAB)
# has such guests of its own, in its variant's folder; all others have them with the reference's files, or, where that is not
# here, with labs/'.
PV_DRIVE := dom0 pv-disk pv-driver pv-net pv-suspend
PV_INET := dom0 pv-net
OWN := $(if $(GUEST_LAB),$(O)/guest,$(GO))
DOM0 := $(if $(wildcard guest/dom0/main.c),$(OWN)/dom0.elf)
PV_ELFS := $(foreach g,$(PV_GUESTS:%=pv-%),$(if $(filter $g,$(PV_DRIVE)),$(OWN),$(GO))/$g.elf)
GUEST_ELFS := $(GUESTS:%=$(GO)/%.elf) $(PV_ELFS) $(patsubst %,$(GO)/pvh-%.elf,$(PVH_GUESTS) $(PVH_AGAIN)) $(DOM0)
# Its ramdisk: what domains are to be, and kernels for them. Its disk stands in front, and so at the same place in a page whatever
# the others are: Lab 9B's walk looks at copies of it.
DOM0_FILES := $(if $(DOM0),$(OWN)/$(if $(LINUX),linux/)files.cpio)
DOM0_LINUX := $(if $(LINUX),build/linux64/linux-pv build/linux64/pv/initrd64 build/linux64/pv/initrdback)
DOM0_HAS := $(wildcard guest/dom0/files/*.cfg build/xen/pvgrub) $(if $(DOM0),$(GO)/disk.img) $(DOM0_LINUX)
BOOT_BINS := $(patsubst boot/%.asm,build/boot/%.bin,$(wildcard boot/mbr.asm boot/loader.asm))
PLUGIN := $(if $(wildcard grade/plugin/zcount.c),build/zcount.so)

GUEST_CFLAGS := $(COMMON) -m32 -march=i686 -fno-pic -mno-sse -mno-mmx -mno-80387 -msoft-float \
	-fno-unwind-tables $(if $(CLANG),--target=i386-linux-gnu)
GUEST_NASMFLAGS := -f elf32 -g -F dwarf -I .
GUEST_LDFLAGS := -m elf_i386 -nostdlib -static -z max-page-size=4096 -z noexecstack --build-id=none

$(call doubted,$(GO)/obj)
# Guests are built again when the commands that build them change.
$(GO)/flags: always
	@mkdir -p $(@D)
	@$(call if_new,$(CC) $(GUEST_CFLAGS) / $(PV_CFLAGS) / $(NASM) $(GUEST_NASMFLAGS))

$(GO)/obj/%.c.o: guest/%.c $(GO)/flags
	@mkdir -p $(@D)
	@echo "cc   $<"
	@$(call in_place,$(CC) $(GUEST_CFLAGS) -MMD -MP)
$(GO)/obj/%.asm.o: guest/%.asm $(GO)/flags $(wildcard inc/*.inc guest/*/*.inc guest/*/*/*.inc)
	@mkdir -p $(@D)
	@echo "nasm $<"
	@$(call in_place,$(NASM) $(GUEST_NASMFLAGS) -MP)

guest_objects = $(patsubst guest/%,$(GO)/obj/%.o,$(sort $(wildcard guest/$1/*.c guest/$1/*.asm)))
# A guest may have a linker script of its own.
define guest_rule
$(GO)/$1.elf: $(call guest_objects,lib) $(call guest_objects,$1) $(or $(wildcard guest/$1/$1.ld),guest/lib/guest.ld)
	@echo "ld   $$@"
	@$$(LD) $$(GUEST_LDFLAGS) -T $$(filter %.ld,$$^) -o $$@ $$(filter %.o,$$^)
endef
$(foreach g,$(GUESTS),$(eval $(call guest_rule,$g)))

# PV guests: 64-bit kernels in ring 3, with a library of their own. guest/pv/hello is pv-hello.
$(GO)/obj/pv/% $(GO)/obj/pvh/% $(GO)/obj/dom0/%: private GUEST_CFLAGS = $(PV_CFLAGS)
$(GO)/obj/pv/% $(GO)/obj/pvh/%: private GUEST_NASMFLAGS = -f elf64 -g -F dwarf -I .
pv_link = $(LD) -m elf_x86_64 -nostdlib -static -z max-page-size=4096 -z noexecstack --build-id=none $(PV_LDFLAGS) \
	-T guest/pv/lib/pv.ld -o $@ $(filter %.o,$^)
# A driver domain has dom0's own back end of a disk.
DRIVER := $(filter $(addprefix guest/dom0/,$(addsuffix .c,backend blkback blkbelow blkparts blksparse files ide media pages partition pci sparse)),\
	$(wildcard guest/dom0/*.c))
define pv_rule
$(GO)/$1.elf: $(if $(filter pv-driver,$1),$(DRIVER:guest/%=$(GO)/obj/%.o)) $(call guest_objects,pv/lib) $(if $(filter $1,$(PV_DRIVE)),$(call guest_objects,pv/drivers) $$(call lab_objects,$1,$$(LAB_OBJECTS))) $(if $(filter $1,$(PV_INET)),$(call guest_objects,pv/inet)) $(call guest_objects,$2) guest/pv/lib/pv.ld
	@echo "ld   $$@"
	@$$(pv_link)
endef
# What labs have in guests, as one of them, or as all.
LAB_CFLAGS := $(PV_CFLAGS) -include guest/pv/drivers/poison.h
LAB_FILES := $(foreach lab,9-block 10-net,$(sort $(wildcard $(firstword $(wildcard solutions/$(lab) labs/$(lab)))/*.c)))
LAB_OBJECTS := $(LAB_FILES:%=$(GO)/lab/%.o)
# Of these dom0 alone has those that need what no other guest has; a driver domain, those of the back end that it has.
LAB_DOM0 := blkserve.c blktake.c netdeliver.c netrules.c netserve.c netshare.c
LAB_DRIVER := blkserve.c blktake.c
# They stand behind the others, which lie at the same addresses in all guests then.
lab_own = $(foreach file,$(if $(filter dom0,$1),$(LAB_DOM0),$(if $(filter pv-driver,$1),$(LAB_DRIVER))),%/$(file).o)
lab_objects = $(filter-out $(foreach file,$(LAB_DOM0),%/$(file).o),$2) $(filter $(lab_own),$2)
$(GO)/lab/%.c.o: %.c $(GO)/flags
	@mkdir -p $(@D)
	@echo "cc   $<"
	@$(call in_place,$(CC) $(LAB_CFLAGS) -MMD -MP)
ifneq ($(GUEST_LAB),)
# Their objects lie in the store, as the kernel's do.
OWN_STAMP := $(if $(GUEST_CATCHUP),$(O)/guest-catchup.o)
own_objects = $(patsubst %,$(STORE)/%.o,$(sort $(wildcard guest/$1/*.c guest/$1/*.asm)))
OWN_LIBRARY := $(call own_objects,pv/lib) $(call own_objects,pv/drivers)
# Its labs' files, and those of others that nobody has named: of a half that is not asked for, or of a later lab.
OWN_FILES := $(GUEST_SOURCES) $(filter-out $(foreach file,$(notdir $(GUEST_SOURCES) $(GUEST_CATCHUP:.o=)),%/$(file)),$(LAB_FILES))
OWN_LABS := $(OWN_FILES:%=$(STORE)/%.o)
OWN_OBJECTS := $(OWN_LIBRARY) $(OWN_LABS) $(foreach place,pv/inet dom0 pv/disk pv/driver pv/net pv/suspend,$(call own_objects,$(place)))
$(STORE)/guest/%: private CFLAGS = $(PV_CFLAGS)
$(OWN_LABS): private CFLAGS = $(LAB_CFLAGS)
$(OWN_OBJECTS): | $(OWN_STAMP)
define own_rule
$(O)/guest/$1.elf: $(if $(filter pv-driver,$1),$(DRIVER:%=$(STORE)/%.o)) $(OWN_LIBRARY) $(call lab_objects,$1,$(OWN_LABS) $(GUEST_CATCHUP)) $(if $(filter $1,$(PV_INET)),$(call own_objects,pv/inet)) $(call own_objects,$2) $(OWN_STAMP) guest/pv/lib/pv.ld
	@mkdir -p $$(@D)
	@echo "ld   $$@"
	@$$(pv_link)
endef
$(eval $(call own_rule,dom0,dom0))
$(foreach g,$(filter pv-%,$(PV_DRIVE)),$(eval $(call own_rule,$g,pv/$(g:pv-%=%))))
shared: $(filter-out $(STORE)/labs/% $(STORE)/solutions/% $(STORE)/build/%,$(OWN_OBJECTS))
-include $(OWN_OBJECTS:.o=.d)
endif
$(foreach g,$(PV_GUESTS),$(eval $(call pv_rule,pv-$g,pv/$g)))
# Kernels with a CPU of their own and the same library, but for what a PV kernel has of Zeno: guest/pvh/calls is pvh-calls. And of
# the PV guests one more time those that are front ends.
PVH_LIBRARY := $(filter-out %/start.asm.o %/own.c.o %/suspend.c.o,$(call guest_objects,pv/lib)) $(call guest_objects,pvh/lib)
define pvh_rule
$(GO)/pvh-$1.elf: $(PVH_LIBRARY) $(if $(filter pv/%,$2),$(call guest_objects,pv/drivers) $$(call lab_objects,$1,$$(LAB_OBJECTS))) $(if $(filter pv-$1,$(PV_INET)),$(call guest_objects,pv/inet)) $(call guest_objects,$2) guest/pvh/lib/pvh.ld
	@echo "ld   $$@"
	@$$(LD) -m elf_x86_64 -nostdlib -static -z max-page-size=4096 -z noexecstack --build-id=none \
		-T guest/pvh/lib/pvh.ld -o $$@ $$(filter %.o,$$^)
endef
$(foreach g,$(PVH_GUESTS),$(eval $(call pvh_rule,$g,pvh/$g)))
$(foreach g,$(PVH_AGAIN),$(eval $(call pvh_rule,$g,pv/$g)))
# For an export: with the reference's files, and no line of them.
$(GO)/ends/%.elf: $(GO)/%.elf
	@mkdir -p $(@D)
	@$(OBJCOPY) --strip-debug $< $@
# One that lies across a multiple of 1 GiB.
$(GO)/pv-machine.elf: private PV_LDFLAGS = --defsym=virt_base=0xffffffffbfe80000
$(if $(wildcard guest/dom0/main.c),$(eval $(call pv_rule,dom0,dom0)))
# A PV guest under the name of dom0, DOM0=build/guest/pirq/dom0.elf: Lab 7B.
$(GO)/%/dom0.elf: $(GO)/pv-%.elf
	@mkdir -p $(@D)
	@cp $< $@

build/linux64/linux-pv build/linux64/pv/initrd64 build/linux64/pv/initrdback &: guest/linux/drivers guest/linux/back tools/xen_guest.py
	@$(PYTHON) tools/xen_guest.py linux
$(DOM0_FILES): tools/mkfiles.py mk/guests.mk $(PV_ELFS) $(DOM0_HAS)
	@mkdir -p $(@D)
	@echo "disk $@"
	@$(BARE_PYTHON) tools/mkfiles.py -o $@ $(patsubst %,disk.img=%,$(filter %.img,$(DOM0_HAS))) \
		$(foreach f,$(filter %.cfg,$(DOM0_HAS)),$(notdir $f)=$f) $(PV_ELFS) $(filter-out %.cfg %.img,$(DOM0_HAS))
# A disk that begins with a text.
$(GO)/disk.img: guest/dom0/files/motd
	@mkdir -p $(@D)
	@cp $< $@.tmp && truncate -s 64K $@.tmp && mv $@.tmp $@

# Programs of guest/os: one per file of user/, each with libc/. They and root/ make the RAM disk, which is a part
# of the kernel's image.
OS_PROGRAMS := $(patsubst guest/os/user/%.c,$(GO)/os/bin/%,$(sort $(wildcard guest/os/user/*.c)))
OS_LIBC := $(patsubst guest/%,$(GO)/obj/%.o,$(sort $(wildcard guest/os/libc/*.c guest/os/libc/*.asm)))
$(GO)/os/bin/%: $(GO)/obj/os/user/%.c.o $(OS_LIBC) guest/os/libc/user.ld
	@mkdir -p $(@D)
	@$(LD) $(GUEST_LDFLAGS) -s -T guest/os/libc/user.ld -o $@ $(filter %.o,$^)
$(GO)/os/ramdisk.img: tools/mkramdisk.py $(OS_PROGRAMS) $(wildcard guest/os/root/*/*)
	@echo "disk $@"
	@$(BARE_PYTHON) tools/mkramdisk.py -o $@ guest/os/root $(OS_PROGRAMS)
$(GO)/obj/os/disk.asm.o: $(GO)/os/ramdisk.img
$(GO)/obj/os/disk.asm.o: private GUEST_NASMFLAGS += -I $(GO)/os/

build/boot/%.bin: boot/%.asm $(wildcard boot/*.inc)
	@mkdir -p $(@D)
	@echo "nasm $<"
	@$(NASM) -f bin -I . -I boot/ -MD build/boot/$*.d -MP -o $@ $<

# The plugin is loaded by the emulator, so it is built for the build machine.
build/zcount.so: grade/plugin/zcount.c
	@mkdir -p $(@D)
	@echo "cc   $<"
	@$(HOST_CC) -std=gnu11 -O2 -Wall -Wextra $(if $(WERROR),-Werror) -fPIC -shared -o $@ $<

-include $(foreach g,lib pv/lib pv/drivers pv/inet dom0 $(GUESTS) $(PV_GUESTS:%=pv/%),$(patsubst %.o,%.d,$(call guest_objects,$g))) $(LAB_OBJECTS:.o=.d) \
	$(OS_PROGRAMS:$(GO)/os/bin/%=$(GO)/obj/os/user/%.c.d) $(OS_LIBC:.o=.d) \
	$(wildcard build/boot/*.d)
-include $(foreach g,lib $(PVH_GUESTS),$(patsubst %.o,%.d,$(call guest_objects,pvh/$g)))
