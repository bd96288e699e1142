# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# What goes where: `make install`, `make uninstall`, and their parts.  Part of Makefile.
#
# Each part is a list of words MODE:FROM:TO, or link:WHERE:TO for a symbolic link; to
# install is to follow it, and to uninstall is to remove each TO, and then those folders
# of FOLDERS that nothing else is in.  PREFIX moves everything but the module, which
# belongs to a kernel, and its source for DKMS; DESTDIR is put in front of all.

VERSION	:= $(shell sed -n 's/^\#define GOHEAP_VERSION[[:space:]]*"\(.*\)"/\1/p' userlib/include/goheap.h)

LIBDIR	?= $(PREFIX)/lib
INCDIR	?= $(PREFIX)/include
BINDIR	?= $(PREFIX)/bin
MANDIR	?= $(PREFIX)/share/man
# udev, systemd-modules-load and modprobe read what is there below /usr and /usr/local,
# and for other prefixes have /etc.
SYSDIR	?= $(if $(filter /usr /usr/local,$(PREFIX)),$(PREFIX)/lib,/etc)
# What uname -r says on the kernel built against.
KREL	= $(shell sed -n 's/.*UTS_RELEASE "\(.*\)"/\1/p' '$(KDIR)/include/generated/utsrelease.h' 2>/dev/null)
MODDIR	= /lib/modules/$(KREL)/updates
SRCDIR	= /usr/src/goheap-$(VERSION)

# ---- the lists -----------------------------------------------------------

# The pages of section $(1); and a page for each function, by way of the one there is.
man	= $(foreach m,$(wildcard userlib/man/*.$(1)),644:$(m):$(MANDIR)/man$(1)/$(notdir $(m)))
MAN3	:= userlib/man/libgoheap.3
MAN_LINKS = $(shell sed -n 's/^\.Nm \(goheap_[a-z_]*\).*/\1/p' $(MAN3) | sort -u)

PC	:= $(B)/install/goheap.pc
CMAKE	:= $(B)/install/goheapConfig.cmake $(B)/install/goheapConfigVersion.cmake

LIB_FILES = 755:$(B)/libgoheap.so.1:$(LIBDIR)/libgoheap.so.1 \
	755:$(B)/libgoheap_memcpy.so.1:$(LIBDIR)/libgoheap_memcpy.so.1 \
	$(if $(filter x86_64,$(MACHINE)),755:$(V3_LIB):$(LIBDIR)/glibc-hwcaps/x86-64-v3/libgoheap.so.1) \
	link:libgoheap.so.1:$(LIBDIR)/libgoheap.so \
	link:libgoheap_memcpy.so.1:$(LIBDIR)/libgoheap_memcpy.so \
	644:$(B)/libgoheap.a:$(LIBDIR)/libgoheap.a \
	644:userlib/include/goheap.h:$(INCDIR)/goheap.h \
	644:uapi/linux/goheap.h:$(INCDIR)/linux/goheap.h \
	644:$(PC):$(LIBDIR)/pkgconfig/goheap.pc \
	$(foreach f,$(CMAKE),644:$(f):$(LIBDIR)/cmake/goheap/$(notdir $(f))) \
	$(call man,3) $(foreach f,$(MAN_LINKS),link:libgoheap.3:$(MANDIR)/man3/$(f).3)

COMPDIR	= $(PREFIX)/share/bash-completion/completions
# Where systemd looks below /usr and /usr/local; units in other places are linked by hand.
UNITDIR	= $(PREFIX)/lib/systemd/system
SERVICE	:= $(B)/install/goheap-prometheus.service

TOOL_FILES = 755:$(B)/goheap:$(BINDIR)/goheap $(call man,1) $(call man,7) \
	644:userlib/install/goheap.bash:$(COMPDIR)/goheap \
	644:$(SERVICE):$(UNITDIR)/goheap-prometheus.service \
	644:userlib/install/goheap-prometheus.timer:$(UNITDIR)/goheap-prometheus.timer

# What the module needs of the system, however it is built.
SYS_FILES = 644:module/install/60-goheap.rules:$(SYSDIR)/udev/rules.d/60-goheap.rules \
	644:module/install/modules-load.conf:$(SYSDIR)/modules-load.d/goheap.conf \
	644:module/install/modprobe.conf:$(SYSDIR)/modprobe.d/goheap.conf \
	$(call man,4)

MODULE_FILES = 644:goheap.ko:$(MODDIR)/goheap.ko

SRC_FILES = $(foreach f,Kbuild dkms.conf $(filter module/% uapi/%,$(MODULE_SRC)),644:$(f):$(SRCDIR)/$(f))

# The deepest first.  Never those that every system has, such as $(LIBDIR).
FOLDERS	= $(LIBDIR)/glibc-hwcaps/x86-64-v3 $(LIBDIR)/glibc-hwcaps $(LIBDIR)/pkgconfig \
	$(LIBDIR)/cmake/goheap $(LIBDIR)/cmake $(INCDIR)/linux \
	$(foreach n,1 3 4 7,$(MANDIR)/man$(n)) \
	$(COMPDIR) $(PREFIX)/share/bash-completion $(UNITDIR) $(PREFIX)/lib/systemd \
	$(SYSDIR)/udev/rules.d $(SYSDIR)/udev $(SYSDIR)/modules-load.d $(SYSDIR)/modprobe.d \
	$(MODDIR)
SRC_FOLDERS = $(SRCDIR)/module/core $(SRCDIR)/module/port $(SRCDIR)/module \
	$(SRCDIR)/uapi/linux $(SRCDIR)/uapi $(SRCDIR)

# ---- how -----------------------------------------------------------------

# $(1): a list.
define put
$(Q)set -e; for f in $(1); do \
	IFS=:; set -- $$f; unset IFS; \
	mkdir -p "$$(dirname '$(DESTDIR)'"$$3")"; \
	if [ "$$1" = link ]; then ln -sf "$$2" '$(DESTDIR)'"$$3"; \
	else install -m "$$1" "$$2" '$(DESTDIR)'"$$3"; fi; \
done
endef

# $(1): a list; $(2): folders.
define take
$(Q)set -e; for f in $(1); do rm -f '$(DESTDIR)'"$${f##*:}"; done; \
for d in $(2); do \
	[ ! -d '$(DESTDIR)'"$$d" ] || rmdir --ignore-fail-on-non-empty '$(DESTDIR)'"$$d"; \
done
endef

# Paths in it follow from those above, which may be others the next time.
$(B)/install/%: userlib/install/%.in FORCE
	@mkdir -p $(@D)
	@sed -e 's,@VERSION@,$(VERSION),' -e 's,@POINTER_BYTES@,$(POINTER_BYTES),' \
		-e 's,@BINDIR@,$(BINDIR),' \
		-e 's,@INC_FROM_LIB@,$(shell realpath -ms --relative-to=$(LIBDIR) $(INCDIR)),' $< >$@
POINTER_BYTES = $(shell echo __SIZEOF_POINTER__ | $(CC) $(CFLAGS) -E -P -)

# Only a root of our own can be told what is new there.
ldconfig = $(if $(DESTDIR),,$(Q)[ "$$(id -u)" != 0 ] || ldconfig)
depmod	= $(if $(DESTDIR),,$(Q)depmod $(KREL))

##@ Install
install: install-lib install-tools install-module	## everything, into DESTDIR and PREFIX (/usr/local)
uninstall: uninstall-lib uninstall-tools uninstall-module	## takes away what install put there

install-lib: lib $(PC) $(CMAKE)		## the library, for programs and for compilers
	$(call put,$(LIB_FILES))
	$(ldconfig)
uninstall-lib:
	$(call take,$(LIB_FILES),$(FOLDERS))
	$(ldconfig)

install-tools: lib $(SERVICE)		## the command goheap
	$(call put,$(TOOL_FILES))
uninstall-tools:
	$(call take,$(TOOL_FILES),$(FOLDERS))

install-module: module install-system	## the module for the kernel in KDIR, loaded at boot
	$(call put,$(MODULE_FILES))
	$(depmod)
uninstall-module: uninstall-system
	$(call take,$(MODULE_FILES),$(FOLDERS))
	$(depmod)

install-dkms: install-system		## or its source, which DKMS builds for each kernel
	$(call put,$(SRC_FILES))
	$(if $(DESTDIR),,$(Q)dkms install goheap/$(VERSION))
uninstall-dkms: uninstall-system	## takes that from DKMS again
	$(if $(DESTDIR),,$(Q)dkms remove goheap/$(VERSION) --all)
	$(call take,$(SRC_FILES),$(SRC_FOLDERS))

# From a copy of what belongs to the tree, so that nothing is left in it.
deb:					## Debian packages, into build/deb
	@$(TOOLS) install deb
	$(Q)rm -rf $(B)/deb && mkdir -p $(B)/deb/goheap
	$(Q)if [ -e .git ]; then git -c safe.directory='*' ls-files -z -co --exclude-standard; \
	else find . -type f ! -path './build/*' -print0; fi | \
		tar -c --null -T - | tar -C $(B)/deb/goheap -x
	$(Q)cd $(B)/deb/goheap && env -u MAKEFLAGS -u MAKELEVEL -u BUILD -u CC dpkg-buildpackage -us -uc -b \
		-j$(shell nproc) >../log 2>&1 || { tail -n 30 ../log >&2; exit 1; }
	$(Q)rm -r $(B)/deb/goheap
	@ls $(B)/deb/*.deb

install-system:
	$(call put,$(SYS_FILES))
uninstall-system:
	$(call take,$(SYS_FILES),$(FOLDERS))

.PHONY: install uninstall install-lib uninstall-lib install-tools uninstall-tools \
	install-module uninstall-module install-dkms uninstall-dkms install-system uninstall-system deb
