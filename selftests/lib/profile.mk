# SPDX-License-Identifier: MIT OR GPL-2.0
#
# The program that front_profile_test.sh has profiled, in the ways that the library
# comes to a program.  Included by the Makefile.

PROFILE_PROGS := front_profile_prog front_profile_fp front_profile_linked front_profile_archive \
	front_profile_archive_fp front_profile_static
PROFILE_CC = $(CC) -g -O2 -Wall -Wextra -fno-omit-frame-pointer

$(O)/front_profile_prog: front_profile_prog.c profile.mk | $(O)
	$(PROFILE_CC) -fomit-frame-pointer -o $@ $<

$(O)/front_profile_fp: front_profile_prog.c profile.mk | $(O)
	$(PROFILE_CC) -o $@ $<

$(O)/front_profile_linked: front_profile_prog.c profile.mk $(SO) | $(O)
	$(PROFILE_CC) -fomit-frame-pointer -o $@ $< $(SO) -Wl,-rpath,$(abspath $(LIBGOHEAP_DIR))

$(O)/front_profile_archive: front_profile_prog.c profile.mk $(A) | $(O)
	$(PROFILE_CC) -fomit-frame-pointer -o $@ $< $(A) -pthread

$(O)/front_profile_archive_fp: front_profile_prog.c profile.mk $(A) | $(O)
	$(PROFILE_CC) -o $@ $< $(A) -pthread

$(O)/front_profile_static: front_profile_prog.c profile.mk $(A) | $(O)
	$(PROFILE_CC) -fomit-frame-pointer -static -o $@ $< $(A) -pthread

profile_all: $(PROFILE_PROGS:%=$(O)/%)
.PHONY: profile_all
