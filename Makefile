# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# The one entry to the tree.  `make help` lists the targets.
#
# The module is built by kbuild, in place (goheap.ko ends up here); everything
# else is built by the rules below into $(BUILD).  Kbuild is called only when a
# source of the module, the kernel built against, or KDIR changed, so that a
# second `make` has nothing to do.

BUILD	?= build
ifeq ($(origin CC),default)
CC	:= gcc
endif
PREFIX	?= /usr/local
DESTDIR	?=
# The kernel to build against: the newest one with headers, unless told.
KDIR	?= $(lastword $(shell ls -d /lib/modules/*/build 2>/dev/null | sort -V))

B	:= $(abspath $(BUILD))
MACHINE	:= $(firstword $(subst -, ,$(shell $(CC) -dumpmachine 2>/dev/null)))
TOOLS	:= selftests/run_deps.sh

# V=1 shows the commands.
Q	:= $(if $(V),,@)
say	= $(if $(V),,@printf '  %-7s %s\n' '$(1)' '$(@:$(CURDIR)/%=%)')

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:

##@ Build
all: lib module				## the library and the module (default)
lib:					## build/libgoheap.so, libgoheap.a, libgoheap_memcpy.so, goheap
module: goheap.ko			## goheap.ko, for the kernel in KDIR

# ---- the module ----------------------------------------------------------

MODULE_SRC := Kbuild $(wildcard module/*.[ch] module/core/*.[ch] \
		module/port/*.h uapi/linux/*.h)

# Remembers what the module was built with, so that choosing another kernel, or a break,
# rebuilds it.
MODULE_WITH = $(KDIR) $(GOHEAP_BREAK) $(GOHEAP_KUNIT)
$(B)/kdir: FORCE
	@mkdir -p $(@D)
	@echo '$(MODULE_WITH)' | cmp -s - $@ || echo '$(MODULE_WITH)' >$@

goheap.ko: $(MODULE_SRC) $(B)/kdir $(wildcard $(KDIR)/Module.symvers)
	@$(TOOLS) headers '$(KDIR)'
	+$(Q)$(MAKE) --no-print-directory -C '$(KDIR)' M=$(CURDIR) \
		CONFIG_DEBUG_INFO_BTF_MODULES= modules
	@touch $@

# ---- the library ---------------------------------------------------------

# The core is compiled twice: here against userlib/port, by kbuild against module/port.
LIB_SRC	:= $(filter-out userlib/mksizeclasses.c,$(wildcard userlib/*.c)) \
		$(wildcard module/core/*.c)
CFLAGS	?= -O2 -g
LIB_CFLAGS := -std=gnu11 -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
	-Wmissing-prototypes -Wstrict-prototypes -fno-strict-aliasing \
	-fPIC -ffunction-sections -fvisibility=hidden -ftls-model=initial-exec -fno-plt \
	-fno-builtin-malloc -fno-builtin-free -fno-builtin-calloc \
	-fno-builtin-realloc -fno-builtin-aligned_alloc \
	-fno-builtin-posix_memalign -fno-builtin-memalign \
	-Iuserlib -Iuserlib/include -Iuserlib/port -Imodule/core -Iuapi -I. \
	-I$(B)/gen
LIB_LDFLAGS := -shared -Wl,-soname,libgoheap.so.1 -Wl,--exclude-libs,ALL \
	-Wl,--version-script=userlib/goheap.map -Wl,-z,defs -Wl,-z,now \
	-Wl,-z,relro -Wl,-z,nodelete -Wl,-T,userlib/layout.ld -pthread

# liburing, from the package liburing-dev, becomes part of the library where it is there;
# without it the option uring is missing, and nothing else.
URING_A	:= $(filter /%,$(shell $(CC) -E -include liburing.h -x c /dev/null >/dev/null 2>&1 && \
		$(CC) -print-file-name=liburing.a))
LIB_CFLAGS += $(if $(URING_A),-DGHU_LIBURING)

LIB_OBJ	:= $(LIB_SRC:%.c=$(B)/obj/%.o)
V3_OBJ	:= $(LIB_SRC:%.c=$(B)/obj-v3/%.o)
GEN	:= $(B)/gen/sizeclasses.h
V3_LIB	:= $(B)/glibc-hwcaps/x86-64-v3/libgoheap.so.1

lib: $(B)/libgoheap.so $(B)/libgoheap.a $(B)/libgoheap_memcpy.so
ifeq ($(MACHINE),x86_64)
lib: $(V3_LIB)
endif

# Remembers what the library and the command were built with: other flags, another compiler,
# or a package that was missing, rebuild them.
BUILT_WITH = $(CC) $(CFLAGS) $(LIB_CFLAGS) $(URING_A) $(CLI_CFLAGS) $(CLI_LIBS)
$(B)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(BUILT_WITH)' | cmp -s - $@ || echo '$(BUILT_WITH)' >$@

# The first thing that is compiled for the library.
$(B)/mksizeclasses: userlib/mksizeclasses.c Makefile
	@$(TOOLS) need build
	@mkdir -p $(@D)
	$(call say,HOSTCC)
	$(Q)$(CC) -O2 -std=gnu11 -Wall -Wextra -Iuserlib -o $@ $<

$(GEN): $(B)/mksizeclasses
	@mkdir -p $(@D)
	$(call say,GEN)
	$(Q)$< >$@

$(B)/obj/%.o: %.c Makefile $(B)/flags | $(GEN)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS) $(LIB_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/obj-v3/%.o: %.c Makefile $(B)/flags | $(GEN)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS) $(LIB_CFLAGS) -march=x86-64-v3 -MMD -MP -c -o $@ $<

$(B)/libgoheap.so.1: $(LIB_OBJ) userlib/goheap.map userlib/layout.ld
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS) $(LIB_LDFLAGS) -o $@ $(LIB_OBJ) $(URING_A)

$(B)/libgoheap.so $(B)/libgoheap_memcpy.so: %.so: %.so.1
	$(Q)ln -sf $(<F) $@

# What it replaces must not be made into calls of itself.
$(B)/libgoheap_memcpy.so.1: userlib/memcpy/memcpy.c userlib/include/goheap.h Makefile $(B)/flags
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS) $(LIB_CFLAGS) -fno-builtin -fno-tree-loop-distribute-patterns \
		-U_FORTIFY_SOURCE -shared -Wl,-soname,$(@F) -Wl,-z,now -Wl,-z,relro -o $@ $<

$(V3_LIB): $(V3_OBJ) userlib/goheap.map userlib/layout.ld
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS) $(LIB_LDFLAGS) -o $@ $(V3_OBJ) $(URING_A)

$(B)/libgoheap.a: $(LIB_OBJ)
	$(call say,AR)
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $(LIB_OBJ)
	$(if $(URING_A),$(Q)printf 'OPEN $@\nADDLIB $(URING_A)\nSAVE\nEND\n' | $(AR) -M)

-include $(LIB_OBJ:.o=.d) $(V3_OBJ:.o=.d)

# ---- the command ---------------------------------------------------------

CLI_SRC	:= $(wildcard userlib/cli/*.c)
CLI_OBJ	:= $(CLI_SRC:%.c=$(B)/obj/%.o)
CLI_CFLAGS := -std=gnu11 -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers -Wmissing-prototypes -Wstrict-prototypes \
	-D_GNU_SOURCE -Iuserlib/include -Iuapi
# Without the package libncurses-dev there is no goheap top, and it says so.
NCURSES	:= $(shell $(CC) -E -include ncurses.h -x c /dev/null >/dev/null 2>&1 && \
		echo -lncurses -ltinfo)
CLI_CFLAGS += $(if $(NCURSES),-DGOHEAP_NCURSES)
CLI_LIBS := $(NCURSES)

# Pictures, with the headers of the package libcairo2-dev; the library itself is loaded when
# one is drawn.
CLI_CFLAGS += $(shell $(CC) -E -include cairo/cairo-svg.h -x c /dev/null >/dev/null 2>&1 && \
		echo -DGOHEAP_CAIRO)
# Which sizes the library's tags mean.
CLI_OBJ	+= $(B)/obj/userlib/sizeclass.o

lib: $(B)/goheap

# Before the rule for all of userlib, which is about what goes into the library.
$(B)/obj/userlib/cli/%.o: userlib/cli/%.c Makefile $(B)/flags
	@$(TOOLS) need build
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS) $(CLI_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/goheap: $(CLI_OBJ)
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS) -Wl,-z,now -Wl,-z,relro -o $@ $(CLI_OBJ) $(CLI_LIBS)

-include $(CLI_OBJ:.o=.d)

# ---- the tests -----------------------------------------------------------

GROUPS	:= $(notdir $(patsubst %/Makefile,%,$(wildcard selftests/*/Makefile)))
KSELFTEST := $(B)/kselftest

# Not part of the tree: taken from the package linux-source-6.1.
$(KSELFTEST)/kselftest_harness.h:
	$(TOOLS) kselftest $(KSELFTEST)

selftests: $(GROUPS:%=selftests-%)	## the test programs, into build/selftests
selftests-%: lib $(KSELFTEST)/kselftest_harness.h FORCE
	@printf '  %-7s %s\n' TESTS selftests/$*
	+$(Q)$(MAKE) $(if $(V),,-s) --no-print-directory -C selftests/$* O=$(B)/selftests/$* \
		KSELFTEST_INC=$(KSELFTEST) TOP=$(CURDIR) BUILD=$(B)

# A make of its own, on all CPUs unless -j said how many: what deps installed is
# seen only by a make that starts after it.
SUBMAKE	= $(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

##@ Try it
demo: deps				## Redis under four allocators and memory pressure, in a VM
	+@$(SUBMAKE) all selftests-demo
	@KDIR='$(KDIR)' VM_CMD=selftests/demo/demo.sh selftests/vm/run
	@selftests/demo/plot.sh $(B)/demo.svg && printf '\nAs a picture: %s\n' $(B)/demo.svg
vm:					## run CMD='...' as root in a VM with the module loaded
	@$(TOOLS) need vm
	+@$(SUBMAKE) CMD= all >&2
	@KDIR='$(KDIR)' selftests/vm/run

##@ Test
CHECK	?= native vm
check: deps				## every test; ends "N passed, N failed, N skipped"
	+@$(SUBMAKE) all selftests
	@KDIR='$(KDIR)' selftests/run_all.sh $(CHECK)
check-native: deps			## those that need neither root nor module
	+@$(SUBMAKE) lib selftests
	@selftests/run_all.sh native
check-vm: deps				## those that run in a VM with the module
	+@$(SUBMAKE) all selftests
	@KDIR='$(KDIR)' selftests/run_all.sh vm
check-debug:				## planted bugs and the VM tests, on a debug kernel
	@echo 'check-debug: half an hour; the first time, a kernel is built too (6 minutes on 2 idle CPUs)'
	@$(TOOLS) install debug
	+@$(MAKE) --no-print-directory check CHECK=debug
check-kernels:				## the module on the kernels of KERNELS=debian12: all that Debian 12 offers
	@$(TOOLS) install reach
	+@$(SUBMAKE) lib selftests-dev selftests-stress
	@selftests/reach/kernels.sh test $(or $(KERNELS),debian12)
newcomer: deps				## what README.md says, on a Debian without anything, in a VM
	@selftests/run_all.sh newcomer
fuzz: deps				## the page heap against its oracle, for MINUTES=20; FUZZ=lib: malloc and all
	@$(TOOLS) need clang && $(TOOLS) need libclang-rt-14-dev
	+@$(SUBMAKE) lib
	+@$(MAKE) --no-print-directory -C selftests/$(or $(FUZZ),core) \
		O=$(B)/selftests/$(or $(FUZZ),core) fuzz
torture: deps				## the device at random, for MINUTES=10, on a debug kernel
	@$(TOOLS) install debug
	+@$(SUBMAKE) all selftests-stress
	@KDIR='$(KDIR)' MINUTES=$(or $(MINUTES),10) selftests/stress/torture.sh
bench: deps				## side by side with other allocators: tables and a plot in build/bench
	@$(TOOLS) install bench
	+@$(SUBMAKE) lib selftests-bench
	@selftests/bench/run.sh $(BENCH)
bench-vm: deps				## the module's cost in instructions, and how it scales, in VMs
	+@$(SUBMAKE) all selftests-bench
	@KDIR='$(KDIR)' selftests/bench/vm.sh

##@ Set up
deps:					## install the Debian packages that are missing
	@$(TOOLS) install
clean:					## remove everything that was built
	rm -rf $(B)
	@[ ! -d '$(KDIR)' ] || $(MAKE) --no-print-directory -s -C '$(KDIR)' M=$(CURDIR) clean

help:					## this list
	@awk 'BEGIN { FS = ":.*## *" } \
		/^##@/ { printf "\n%s\n", substr($$0, 5); next } \
		/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile install.mk
	@printf '\nVariables\n'
	@printf '  %-19s %s\n' 'KDIR=' 'kernel to build against (now: $(KDIR))' \
		'PREFIX= DESTDIR=' 'where to install; LIBDIR= INCDIR= BINDIR= MANDIR= for parts' \
		"CMD='...'" 'what make vm runs' \
		'BENCH=' 'what bench runs: micro stress programs idle startup (all), or rows: lifo larson redis' \
		'RUNS= WORK= IDLE=' 'runs of each (5), % of the usual work (100), s of idleness (10)' \
		'KERNELS=' 'what check-kernels tries: debian12, newer, or what uname -r says' \
		'VM_MEM= VM_CPUS=' "the VM's memory (2G) and CPUs (2)" \
		'VM_TIMEOUT=' 'seconds until the VM is given up (600)' \
		'VM_KERNEL=' "kasan or kcsan: a debug kernel instead of Debian's" \
		'VM_APPEND=' 'more of the kernel command line' \
		'VM_ACCEL= VM_QEMU=' 'how it is emulated (tcg,thread=multi); more options of QEMU' \
		'VM_KLOG=' 'file for a copy of its kernel log'

include install.mk

# A variable of the command line, handed to the scripts as it was typed.
export VM_CMD = $(value CMD)
unexport CMD
export BUILD := $(B)
export CC
export RUNS WORK IDLE
export VM_MEM VM_CPUS VM_TIMEOUT VM_APPEND VM_KLOG VM_ACCEL VM_QEMU

FORCE:
.PHONY: all lib module selftests demo vm check check-native check-vm check-debug check-kernels newcomer fuzz torture \
	bench bench-vm deps clean help FORCE
