# SPDX-License-Identifier: MIT OR GPL-2.0
#
# The library with musl instead of glibc, for front_musl_test.sh, where the package
# musl-tools is installed.  Included by the Makefile.

MUSL_CC := $(shell command -v musl-gcc)
MUSL_PROGS := $(if $(MUSL_CC),musl/prog_static musl/prog_dynamic musl/model musl/threads musl/fork)
MUSL_OBJ := $(patsubst %.c,$(O)/musl/%.o,$(notdir $(LIB_SRC)))
MUSL_FLAGS := $(LIB_CFLAGS) -ftls-model=initial-exec -fno-strict-aliasing \
	-fno-builtin-malloc -fno-builtin-free -fno-builtin-calloc -fno-builtin-realloc \
	-I$(ROOT) -isystem $(O)/musl/include
musl_program = $(MUSL_CC) $(MUSL_FLAGS) -o $@ $< $(O)/musl/libgoheap.a -Wl,-u,goheap_backend

# musl has no headers of the kernel's, and glibc's do not go with it.
$(O)/musl/include:
	@mkdir -p $@
	ln -sfn /usr/include/linux $@/linux
	ln -sfn /usr/include/asm-generic $@/asm-generic
	ln -sfn /usr/include/$(shell $(CC) -dumpmachine)/asm $@/asm

$(O)/musl/%.o: $(ROOT)/userlib/%.c $(LIB_HDR) musl.mk | $(O)/musl/include
	$(MUSL_CC) $(MUSL_FLAGS) -c -o $@ $<

$(O)/musl/%.o: $(ROOT)/module/core/%.c $(LIB_HDR) musl.mk | $(O)/musl/include
	$(MUSL_CC) $(MUSL_FLAGS) -c -o $@ $<

$(O)/musl/libgoheap.a: $(MUSL_OBJ)
	rm -f $@
	$(AR) rcs $@ $^

$(O)/musl/prog_static: back_prog.c $(O)/musl/libgoheap.a
	$(musl_program) -static

$(O)/musl/prog_dynamic: back_prog.c $(O)/musl/libgoheap.a
	$(musl_program)

$(O)/musl/model $(O)/musl/threads: $(O)/musl/%: front_%_test.c $(DEPS) $(O)/musl/libgoheap.a
	$(musl_program) -static

$(O)/musl/fork: back_fork_test.c $(DEPS) $(O)/musl/libgoheap.a
	$(musl_program) -static

musl_all: $(MUSL_PROGS:%=$(O)/%)
.PHONY: musl_all
