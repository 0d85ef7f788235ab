# Every command that a person types; `make help` prints the words behind `## `.
#
#   make LAB=n              build lab n from labs/, and what it needs; 1A is a half of lab 1, all is every lab
#   make lab LAB=n          remember it: LAB=n is then meant where none is named
#   make LAB=n SOLUTION=1   build it from solutions/
#   make LAB=n REF="0 1.3"  take whole labs or single exercises from solutions/
#   make LAB=n ALONE=n.k    take all of the lab but one exercise from there, or as catch-up objects
#
# Which files make up a lab stands in grade/labs/N.toml; tools/labinfo.py turns it into variables.
# What is built lies below build/: one directory per variant, so that variants never mix, and one store of objects for
# all of them. How it is built stands in mk/: kernel.mk, guests.mk, user.mk, units.mk.

.DEFAULT_GOAL := build
.DELETE_ON_ERROR:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules
SHELL := /bin/sh

PYTHON ?= python3
# For what each build runs: the standard library does, without the folders that `site` looks into.
BARE_PYTHON = $(PYTHON) -S
NASM ?= nasm

# A word for the shell, whatever is in it.
quote = '$(subst ','\'',$1)'

# What steers make is said on its command line: who once exported DEBUG or LAB for something else is told, and not obeyed.
STEERING := LAB SOLUTION REF ALONE VARIANT STORE WERROR APPEND CPU LINUX DEBUG MACHINE STUB REVERSE BATCH TEST ONLY \
	EXPLAIN SEED EX RULE OUT FROM FORCE PEERS DOM0 DRIVE NET
define from_environment
ifneq ($$(filter environment%,$$(origin $1)),)
IGNORED := $$(IGNORED) $$(if $$($1),$1=$$($1))
override undefine $1
endif
endef
$(foreach word,$(STEERING),$(eval $(call from_environment,$(word))))
ifneq ($(strip $(IGNORED)),)
$(shell printf '%s\n' $(call quote,note: the environment says $(strip $(IGNORED)); make takes these from its command line alone) >&2)
endif

# Target programs. CROSS is a prefix such as x86_64-linux-gnu-: empty on an x86-64 machine.
ifndef CROSS
CROSS := $(if $(filter x86_64,$(shell uname -m)),,x86_64-linux-gnu-)
endif
ifeq ($(origin CC),default)
CC := $(CROSS)gcc
endif
CLANG := $(findstring clang,$(notdir $(CC)))
# A link is page faults in great part: in large pages, where the kernel gives them on demand, it takes a quarter less.
LD := GLIBC_TUNABLES=glibc.malloc.hugetlb=1 $(CROSS)ld
OBJCOPY := $(CROSS)objcopy
# For what runs on the build machine: unit tests, and the plugin that QEMU loads.
HOST_CC ?= gcc

SUFFIX := $(if $(CLANG),-clang)$(if $(WERROR),-werror)

# ---- what to build ------------------------------------------------------------------------------

# The lab that `make lab` remembers. The command line's LAB= comes first.
CHOSEN := $(wildcard .lab)
ifeq ($(LAB),)
LAB := $(if $(CHOSEN),$(shell head -c 40 .lab))
endif

# Goals that need no lab, so that they work where nothing is installed yet.
LABLESS := help lab hint clean demo check check-all bench soak doctor skeletons student update handouts format unit guests \
	boot plugin check-run traces catchup linux pvgrub peers nest
GOALS := $(or $(MAKECMDGOALS),$(.DEFAULT_GOAL))
# Which part of tools/packages the goals need; demo and check install it themselves.
NEED := $(if $(filter qemu bochs gdb nest grade bench trace tracediff traces,$(GOALS)),run,$(if \
	$(filter handouts,$(GOALS)),handouts,$(if $(filter format unit check-run,$(GOALS)),check,$(if \
	$(filter-out help lab hint clean demo check check-all doctor,$(GOALS)),build))))

ifneq ($(NEED),)
MISSING := $(shell sh tools/install.sh --missing $(NEED))
ifneq ($(.SHELLSTATUS),0)
$(error $(or $(MISSING),tools/install.sh does not work))
endif
endif

ifneq ($(filter-out $(LABLESS) build/guest% build/boot/% build/peers/% build/tests/% build/zcount.so,$(GOALS)),)
LABINFO := $(shell $(BARE_PYTHON) tools/labinfo.py make --lab $(call quote,$(LAB)) \
	--solution $(call quote,$(SOLUTION)) --ref $(call quote,$(REF)) --alone $(call quote,$(ALONE)) \
	--suffix=$(call quote,$(SUFFIX)) --variant $(call quote,$(VARIANT)))
ifneq ($(.SHELLSTATUS),0)
$(error $(or $(LABINFO),tools/labinfo.py does not work))
endif
# Sets NAME, VARIANT, SOURCES.
include $(LABINFO)
endif

# ---- how to build it ----------------------------------------------------------------------------

# A name made of words: 12 hex digits of their hash. Where this tree lies does not count.
key = $(shell printf '%s\n' $(call quote,$(subst $(CURDIR),,$1)) "$$($(firstword $(CC)) --version 2>&1 | head -n 1)" | \
	sha256sum | head -c 12)
# Write words to the target, but only if they are new there.
if_new = printf '%s\n' $(call quote,$1) > $@.$$$$ && if cmp -s $@.$$$$ $@; then rm $@.$$$$; else mv $@.$$$$ $@; fi
# Compile with a command, and put object and dependencies in their places whole. A warning is an error with WERROR=1; else
# what warns is compiled again to say so, and marked: the object is the same, but no build with WERROR=1 takes it.
into = $(if $(filter %.c,$<),-c -MMD -MF,-MD) $(@:.o=.d).$$$$ -MT $@ -o $@.$$$$ $<
strictly = $1 $(if $(filter %.c,$<),-Werror,-w+error) $(into)
in_place = { $(if $(WERROR),$(strictly),$(strictly) 2> /dev/null) && rm -f $@.warned || \
	$(if $(WERROR),false,{ : > $@.warned; $1 $(into); }); } && \
	mv -f $(@:.o=.d).$$$$ $(@:.o=.d) && mv -f $@.$$$$ $@ || { rm -f $@.$$$$ $(@:.o=.d).$$$$; exit 1; }
# Let a build with WERROR=1 compile again what has warned below a folder.
doubted = $(if $(WERROR),$(shell find $1 -name '*.o.warned' 2> /dev/null | sed 's/\.warned$$//' | xargs -r touch -c -d @0))

.PHONY: build guests boot plugin always
include mk/kernel.mk mk/guests.mk mk/user.mk mk/peers.mk mk/units.mk
build: $(IMAGE) guests boot plugin $(USER_ELFS) ## LAB=n: build the lab, the guests and the boot sectors (the default)
guests: $(GUEST_ELFS) $(DOM0_FILES)
boot: $(BOOT_BINS)
plugin: $(PLUGIN)

LABS := $(sort $(patsubst grade/labs/%.toml,%,$(wildcard grade/labs/[0-9]*.toml)))
# Build every lab, with these words for make.
each_lab = for lab in $(LABS); do $(MAKE) $1 LAB=$$lab REF= build || exit 1; done

# ---- what people do -----------------------------------------------------------------------------

.PHONY: unit demo check check-all bench soak check-run help hint lab qemu bochs gdb nest grade trace tracediff traces linux pvgrub peers submit \
	skeletons student update catchup doctor handouts format clean

unit: $(UNITS:%=build/tests/unit/%) ## build the unit tests and run them
	@prove -j2 -e tools/runtest $(UNITS:%=build/tests/unit/%)

demo: ## install what is missing, then show it all in two minutes
	@test -d solutions || { echo "make demo shows the reference solutions, which this tree has" \
		"not; start with: make LAB=0 qemu" >&2; exit 1; }
	@sh tools/install.sh run
	@$(call each_lab,--no-print-directory SOLUTION=1)
	@$(PYTHON) tools/demo.py

# Tests start some thousands of python3, which costs twice as much where packages have been installed: it looks for them each
# time. They need none, and get one without (and not pyenv's launcher, which runs forty programs first), which finds our
# modules compiled.
# They compile the same files in a dozen trees: ccache, where it is, has seen them by their text and flags, whatever tree
# (by the headers that the compiler named: to preprocess what is new would cost half as much as to compile it).
# They write a hundred thousand scratch files: in memory, where there is plenty of it, that costs a fifth less.
CCACHED := /usr/lib/ccache
IN_MEMORY := /dev/shm
PLAIN := build/python
check: ## install what is missing, then run every test (half an hour on two cores)
	@sh tools/install.sh check
	@sh tools/install.sh faster || echo "It goes without, and takes longer."
	@$(PYTHON) tools/linux_guest.py || true # without a network, tests/linux.t skips and says so
	@$(PYTHON) -m venv --without-pip $(PLAIN) && $(PYTHON) -m compileall -q tools grade tests/lib
	@PATH="$(CURDIR)/$(PLAIN)/bin:$$PATH"; \
		if [ -x $(CCACHED)/gcc ]; then PATH=$(CCACHED):$$PATH CCACHE_DIR=$${CCACHE_DIR:-$(CURDIR)/build/ccache}; \
		CCACHE_DEPEND=1; export CCACHE_DIR CCACHE_DEPEND; fi; \
		if [ -z "$$TMPDIR" ] && df -Pk $(IN_MEMORY) 2> /dev/null | awk 'END { exit !($$4 > 8000000) }' && \
			awk '/^MemAvailable/ { exit !($$2 > 12000000) }' /proc/meminfo; then \
			TMPDIR=$$(mktemp -d $(IN_MEMORY)/zeno-check-XXXXXX) && chmod 755 "$$TMPDIR" && export TMPDIR || exit 1; \
			trap 'rm -rf "$$TMPDIR"' EXIT; trap 'exit 130' INT TERM; fi; \
		$(MAKE) --no-print-directory check-run

check-all: ## make check without what it keeps: all mutants, all undone parts, a hundred seeds for each test (hours)
	@ZENO_ALL=1 $(MAKE) --no-print-directory check

# The long ones first, by the time that each took, so that none of them is left over at the end. Three at a time, for
# two cores: one in four of them waits for a clock that a guest or GDB waits for, too.
LONG := $(wildcard $(patsubst %,tests/%.t,grader-labs os handouts build linux bt fuzz gdb-svm gdb-bt gdb te machines nested bench \
	cheats bt-fuzz right vmx boot soak shadow-hw objects undone reservation user fuzz-lines catchup gdb-pv shadow firmware \
	block svm flavours smp fuzz-same linux64 vmx-rules sequences pv kept trace seeds net linuxback linuxnetback linuxpv grub three mishaps student \
	svm-rules preempt labs official diagnosis grants))
TESTS := $(LONG) $(filter-out $(LONG),$(sort $(wildcard tests/*.t)))
# All that tests boot is built before they start: two of them must not build the same thing at once.
check-run:
	@$(MAKE) --no-print-directory -j2 $(UNITS:%=build/tests/unit/%)
	@$(call each_lab,--no-print-directory -j2 SOLUTION=)
	@$(if $(wildcard solutions),$(call each_lab,--no-print-directory -j2 SOLUTION=1))
	@$(if $(wildcard solutions),$(MAKE) --no-print-directory -j2 SOLUTION=1 LAB=all REF= build)
	@$(PYTHON) tools/keep_objects.py $(THIS_STORE)
	@rm -rf build/tests/seconds
	@prove -j3 --timer --failures -e tools/runtest $(TESTS) $(UNITS:%=build/tests/unit/%); status=$$?; cd build/tests/seconds && \
		grep -H . * | sort -t : -k 2 -rn | awk -F : '{ all += $$2 } NR <= 20 { dear = dear " " $$1 " " $$2 } \
		END { print "CPU seconds: " all "; the dearest:" dear }'; exit $$status

soak: ## a million rounds of random code as guests (ROUNDS=n on each engine, SEED=n): half an hour
	@for lab in 3; do $(MAKE) --no-print-directory -s SOLUTION=1 LAB=$$lab REF= build || exit 1; done
	@ROUNDS=$(or $(ROUNDS),500000) SEED=$(or $(SEED),$$(date +%s)) tests/fuzz.t
	@$(MAKE) --no-print-directory -s SOLUTION=1 LAB=8 REF= build
	@ROUNDS=$(or $(ROUNDS),10000) tests/grants.t
	@ROUNDS=$(or $(ROUNDS),10000) tests/reservation.t

ifdef PEERS
bench: build/peers/kvm
	@$(MAKE) --no-print-directory -s SOLUTION=1 LAB=all REF= build
	@$(PYTHON) tools/bench_peers.py
	@$(PYTHON) tools/bench_peers_linux.py
	@$(PYTHON) tools/bench_peers_xen.py
else
bench: ## what exits cost, in instructions, with the references; LINUX=1: Debian's Linux, too; PEERS=1: beside Linux' KVM and Xen
	@$(call each_lab,--no-print-directory -s SOLUTION=1)
	@$(MAKE) --no-print-directory -s SOLUTION=1 LAB=all REF= build
	@$(PYTHON) tools/bench.py build/lab1-solution
	@$(PYTHON) tools/bench_table.py
	@$(PYTHON) tools/bench_pv.py
	@$(if $(LINUX),$(PYTHON) tools/bench_linux.py)
endif

# What needs the solutions isn't for students.
HIDDEN := $(if $(wildcard solutions),^$$,make (bench|soak|catchup|check-all|demo|nest|skeletons|student|traces)[|])
help: ## print this
	@echo "$(if $(wildcard solutions),make demo and make check install what they need; nothing \
		else does,make check installs what it needs; nothing else does)."
	@$(PYTHON) tools/labinfo.py labs
	@sed -n 's/^\([a-z_.]*\):[^#]*## \(.*\)/  make \1|\2/p' Makefile | sort | \
		grep -Ev $(call quote,$(HIDDEN)) | \
		awk -F'|' '{ printf "%-32s%s\n", $$1, $$2 }'

ifeq ($(origin LAB),file)
lab: # nothing was named: say what there is
	@$(PYTHON) tools/labinfo.py labs
else
lab: ## LAB=n: remember the lab, or one half of it (1A), that you work on
	@$(PYTHON) tools/labinfo.py remember --lab $(call quote,$(LAB))
endif

# APPEND="-- start hello; exits" is the kernel's command line. Without it a reference that has dom0 starts that: K> is behind its `halt`.
BEGINS := $(if $(filter undefined,$(origin APPEND)),$(if $(and $(SOLUTION),$(DOM0),$(filter pv,$(LAB_CPU)),$(filter \
	vmm/pv/control/%,$(SOURCES))),-- start dom0),$(APPEND))
RUN = $(PYTHON) tools/run.py --kernel $(IMAGE) --elf $(KERNEL) $(GUEST_ELFS:%=--elf %) \
	$(patsubst %,--module %,$(filter-out $(DOM0) $(FOR_DOM0),$(GUEST_ELFS)) $(USER_ELFS)) $(LINUX_MODULES) $(PVGRUB) $(DOM0_MODULES) \
	--append $(call quote,$(BEGINS)) \
	--cpu $(call quote,$(or $(CPU),$(if $(filter bochs kvm,$(GOALS) $(MACHINE)),$(LAB_CPU_BOCHS),$(LAB_CPU)),te))
# LINUX=1 adds Debian's Linux to the guests, and memory for it. Words are tools/linux_guest.py's.
ifdef LINUX
LINUX_MODULES := $(shell $(PYTHON) tools/linux_guest.py --modules) $(if $(filter vmm/pv/%,$(SOURCES)),--module build/linux64/linux-pv --mem 512,--mem 320)
endif
# Debian's PvGrub, once `make pvgrub` has fetched it.
PVGRUB := $(if $(wildcard build/xen/pvgrub),--module "build/xen/pvgrub mem=32 --")
DOM0_MODULES := $(if $(DOM0),--module "$(DOM0) mem=$(if $(LINUX),128,32) module=files --" --module $(DOM0_FILES))
qemu: build $(if $(LINUX),linux) ## LAB=n: boot the lab on QEMU (APPEND="-- start hello" gives it a command line; DRIVE=FILE: a drive; NET=1: a card; NET=listen:PORT, connect:PORT: a cable)
	@$(RUN)$(if $(DRIVE), --drive $(call quote,$(DRIVE)))$(if $(NET), --net $(call quote,$(NET)))$(if $(MACHINE), --machine $(call quote,$(MACHINE)))
bochs: build $(if $(LINUX),linux) ## LAB=n: boot it on Bochs (DEBUG=1: stopped, in its own debugger; DRIVE=FILE: a drive, hdb there; NET=1: a card)
	@$(RUN) $(if $(DEBUG),--debugger,--machine bochs)$(if $(DRIVE), --drive $(call quote,$(DRIVE)))$(if $(NET), --net $(call quote,$(NET)))
# One Zeno has another one's disk: handouts/guide.md#firmware.
NEST := build/nest
nest: ## Zeno in Zeno: a guest on svm boots Zeno's disk by SeaBIOS, and runs guests on te and bt (APPEND is the inner one's)
	@for lab in 3 5; do $(MAKE) --no-print-directory -s SOLUTION=1 LAB=$$lab REF= build || exit 1; done
	@mkdir -p $(NEST) && cp /usr/share/seabios/bios.bin $(NEST)/seabios.bin
	@$(PYTHON) tools/mkimage.py -o $(NEST)/zeno.img --kernel build/lab3-solution/zeno.mb \
		--cmdline $(call quote,zeno $(or $(APPEND),-- start hello; start hello engine=bt; start os engine=bt -- script=ls_/bin+exit_3; off)) \
		$(foreach elf,$(wildcard build/guest/*.elf),--module $(elf) $(notdir $(elf:.elf=)))
	@$(PYTHON) tools/run.py --kernel build/lab5-solution/zeno.mb --cpu svm --append "-- start seabios" --module $(NEST)/zeno.img \
		--module "$(NEST)/seabios.bin boot=firmware platform=pc-apic disk=zeno mem=64 --"
ifdef TEST
gdb: ## LAB=n: GDB on the host; STUB=zeno: on its guests (MACHINE=bochs); REVERSE=1: backwards too; TEST=t: at a test's first exit
	@$(PYTHON) grade/grade $(NAME) $(if $(REF),--take $(call quote,$(REF))) \
		$(if $(SOLUTION),--ref) $(if $(SEED),--seed $(call quote,$(SEED))) --gdb $(call quote,$(TEST))
else
gdb: build
	@$(RUN) --gdb $(if $(STUB),--stub $(call quote,$(STUB))) \
		$(if $(MACHINE),--machine $(call quote,$(MACHINE))) \
		$(if $(REVERSE),--reverse) $(if $(BATCH),--batch $(call quote,$(BATCH)))
endif

grade: ## LAB=n: grade labs/ (ONLY="1.3 ring1": exercises, tests; EXPLAIN=1; SEED=n)
	@$(PYTHON) grade/grade $(NAME) $(if $(REF),--take $(call quote,$(REF))) \
		$(if $(SOLUTION),--ref) $(if $(EXPLAIN),--explain) \
		$(if $(SEED),--seed $(call quote,$(SEED))) $(if $(ONLY),--only $(call quote,$(ONLY)))

# TEST is a guest (hello), an attack (hostile:call-gate) or a test of the grader (out-forms; SEED=n).
TRACE = $(call quote,$(TEST)) --lab $(NAME) --kernel $(IMAGE) --elf $(KERNEL) --guests $(GO) \
	$(if $(SEED),--seed $(call quote,$(SEED)))
trace: build ## TEST=x LAB=n: print a guest's exits; and as a page, build/trace/x.html
	@$(PYTHON) tools/trace.py run $(TRACE)

# A difference is no failure of make's.
tracediff: build ## TEST=x LAB=n: compare a guest's exits with the reference's, and explain
	@$(PYTHON) tools/trace.py diff $(TRACE) || [ $$? = 1 ]

traces: guests ## write the reference traces (grade/traces/) from solutions/
	@$(PYTHON) tools/trace.py references --guests $(GO)

linux: ## fetch Debian's Linux as a guest, 32 and 64 bits (LINUX=1 then adds it to make qemu's)
	@$(PYTHON) tools/linux_guest.py

pvgrub: # fetch Debian's PvGrub as a guest of Lab 7: make qemu LAB=7 SOLUTION=1 APPEND="-- start pvgrub"
	@$(PYTHON) tools/xen_guest.py

peers: # Debian's Xen, fetched as Linux is, as an oracle: our PV guests print there what they print on Zeno (Lab 8's build)
	@$(PYTHON) tools/xen_peer.py --fetch
	@$(MAKE) --no-print-directory -s SOLUTION=1 LAB=8 REF= build
	@$(PYTHON) tools/xen_peer.py

submit: ## LAB=n: pack what you hand in: zeno-labn.tar
	@$(PYTHON) tools/submit.py $(NAME)

hint: ## EX=0.5: open the exercise's next hint, if you have tried since the last one; RULE="guest CR0": what breaks it
	@$(PYTHON) tools/hint.py $(call quote,$(EX)) --rule=$(call quote,$(RULE))

skeletons: ## write labs/ from solutions/ (FORCE=1 overwrites work in labs/)
	@$(PYTHON) tools/skeletons.py $(if $(FORCE),--force)

student: $(if $(wildcard solutions),$(PV_DRIVE:%=$(GO)/ends/%.elf)) ## OUT=dir: export a tree for students, without solutions
	@$(PYTHON) tools/student.py $(call quote,$(OUT))

catchup: ## LAB=n OUT=dir: compile the reference for students who missed the lab
	@$(PYTHON) tools/catchup.py pack $(TOOLCHAIN) --lab $(call quote,$(LAB)) --out $(call quote,$(OUT))

update: ## FROM=dir: carry your work from another tree's labs/ into this one's
	@$(PYTHON) tools/update.py $(call quote,$(FROM))

doctor: ## say what is here, what is missing, and which labs that is enough for
	@if command -v $(PYTHON) > /dev/null; then $(PYTHON) tools/doctor.py; \
		else sh tools/install.sh --missing build; fi

handouts: ## build the handouts as HTML: build/handouts/
	@$(PYTHON) tools/handouts.py build/handouts

format: ## lay out all C as .clang-format says
	@$(PYTHON) tools/format.py

compile_commands.json: always ## LAB=n: tell an editor how files are compiled
	@$(PYTHON) tools/compdb.py $(call quote,$(CC) $(CFLAGS)) $(SOURCES) > $@.new
	@mv $@.new $@

clean: ## remove build/
	rm -rf build compile_commands.json
