# SPDX-License-Identifier: MIT OR GPL-2.0
#
# The program that front_tools_test.sh runs under tools.  Included by the Makefile.

TOOLS_PROGS := front_tools_prog front_tools_linked front_tools_asan
TOOLS_CC = $(CC) -g -O1 -Wall -Wextra
TOOLS_LIB = -Wl,--no-as-needed $(SO) -Wl,-rpath,$(abspath $(LIBGOHEAP_DIR))

# Linked with nothing, it has free_sized() from the library that is preloaded, or not at all.
$(O)/front_tools_prog: front_tools_prog.c front_calls.h tools.mk | $(O)
	$(TOOLS_CC) -o $@ $< -Wl,--unresolved-symbols=ignore-all

$(O)/front_tools_linked: front_tools_prog.c front_calls.h tools.mk $(SO) | $(O)
	$(TOOLS_CC) -o $@ $< $(TOOLS_LIB)

$(O)/front_tools_asan: front_tools_prog.c front_calls.h tools.mk $(SO) | $(O)
	$(TOOLS_CC) -fsanitize=address -o $@ $< $(TOOLS_LIB)

tools_all: $(TOOLS_PROGS:%=$(O)/%)
.PHONY: tools_all
