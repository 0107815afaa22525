# What is handed to others: packages, an archive for ~/.local, a source archive, and the list of what is linked in. All of it lies in
# target/packages. The tools come from Debian, PyPI and crates.io; where one is missing, it is installed and the target says so.

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
# The last part counts packages of one version.
PACKAGE_VERSION ?= $(VERSION)-1
MAINTAINER ?= the condatainer contributors <condatainer@packages.invalid>
ARCH := $(shell uname -m)
PACKAGES := $(TARGET_DIR)/packages
TOOLS := $(TARGET_DIR)/tools

# The oldest C library that a package must run with: that of RHEL 8 and its kin. zig brings the symbols of each.
GLIBC := 2.28
ZIGBUILD := cargo-zigbuild==0.24.0 ziglang==0.17.1
PACKAGE_PROFILE ?= dist
PORTABLE := $(PACKAGES)/build/$(ARCH)-unknown-linux-gnu/$(PACKAGE_PROFILE)
STAGED := $(PACKAGES)/staged

.PHONY: portable staged deb rpm archive dist sbom deny crates-checked packages-test

$(TOOLS)/zig/bin/cargo-zigbuild:
	$(call installed,python3-venv,a package)
	@echo "installing $(ZIGBUILD) from PyPI into $(TOOLS)/zig"
	@rm -rf $(TOOLS)/zig
	python3 -m venv $(TOOLS)/zig
	$(TOOLS)/zig/bin/pip install -q $(ZIGBUILD) || { rm -rf $(TOOLS)/zig; exit 1; }

# No path of the machine where it was built is in a program.
SAME_EVERYWHERE := --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)/registry/src=crates --remap-path-prefix=$(CURDIR)=condatainer

# One after the other: in one build cargo would give the plugin all features of the libraries, and with them what the command alone needs.
portable: packages $(TOOLS)/zig/bin/cargo-zigbuild
	for package in condatainer spank_condatainer; do \
	    PATH=$(TOOLS)/zig/bin:$$PATH CARGO_TARGET_DIR=$(PACKAGES)/build RUSTFLAGS='$(SAME_EVERYWHERE)' MAKEFLAGS= \
	        $(CARGO) zigbuild --profile $(PACKAGE_PROFILE) --locked --target $(ARCH)-unknown-linux-gnu.$(GLIBC) -p $$package; \
	done

staged: portable $(if $(wildcard $(TOOLS)/bin/cargo-cyclonedx),sbom)
	@rm -rf $(STAGED)
	@$(MAKE) --no-print-directory -s install BUILT=$(PORTABLE) DESTDIR=$(STAGED) PREFIX=/usr SYSCONFDIR=/etc
	@for list in $(PACKAGES)/sbom*.json; do [ ! -f $$list ] || install -m 0644 $$list $(STAGED)/usr/share/doc/condatainer; done

deb: staged
	$(call installed,debhelper,a Debian package)
	packaging/build-deb $(STAGED) $(PACKAGES) $(PACKAGE_VERSION) '$(MAINTAINER)'

rpm: staged
	$(call installed,rpm,an RPM package)
	packaging/build-rpm $(STAGED) $(PACKAGES) $(PACKAGE_VERSION)

# For somebody who is not root: what is in the package condatainer, to be unpacked into ~/.local. Programs find libexec beside themselves.
ARCHIVE := condatainer-$(VERSION)-$(ARCH)
archive: staged
	@rm -rf $(PACKAGES)/archive
	@mkdir -p $(PACKAGES)/archive/$(ARCHIVE)
	cp -a $(STAGED)/usr/. $(PACKAGES)/archive/$(ARCHIVE)
	cd $(PACKAGES)/archive/$(ARCHIVE) && rm -r lib share/condatainer
	tar -C $(PACKAGES)/archive --sort=name --owner=0 --group=0 --numeric-owner -czf $(PACKAGES)/$(ARCHIVE).tar.gz $(ARCHIVE)
	@rm -rf $(PACKAGES)/archive
	@ls -sh $(PACKAGES)/$(ARCHIVE).tar.gz

# The last commit with all crates: it builds without a network.
dist:
	packaging/build-dist $(PACKAGES) $(VERSION)

# The crates that are linked in, with versions and licences (CycloneDX). cargo-cyclonedx writes beside each manifest.
$(TOOLS)/bin/%:
	@echo "building $* $($*) of crates.io in $(TOOLS)"
	MAKEFLAGS= CARGO_TARGET_DIR=$(TOOLS)/build $(CARGO) install -q --locked --root $(TOOLS) $*@$($*)

cargo-cyclonedx := 0.5.9
cargo-deny := 0.20.2

sbom: $(TOOLS)/bin/cargo-cyclonedx
	@mkdir -p $(PACKAGES)
	$(TOOLS)/bin/cargo-cyclonedx cyclonedx -q -f json --no-build-deps --target $(ARCH)-unknown-linux-gnu --override-filename sbom
	@sed 's|file://$(CURDIR)|file://|g' cli/sbom.json > $(PACKAGES)/sbom.json
	@sed 's|file://$(CURDIR)|file://|g' plugin/sbom.json > $(PACKAGES)/sbom-slurm.json
	@rm -f */sbom.json

# Licences, duplicates and sources of the crates that are linked in or build (deny.toml); advisories where 'cargo deny fetch' has brought their list.
ADVISORIES := $(or $(CARGO_HOME),$(HOME)/.cargo)/advisory-dbs
DENY = cargo-deny --offline check --hide-inclusion-graph -s licenses bans sources $(if $(wildcard $(ADVISORIES)),advisories)
deny: $(TOOLS)/bin/cargo-deny
	PATH=$(TOOLS)/bin:$$PATH $(DENY)

# For 'make check', which installs nothing: both, where the tools are there.
crates-checked:
	@if [ -x $(TOOLS)/bin/cargo-deny ]; then $(MAKE) --no-print-directory deny; \
	else echo 'licences and duplicates of crates are not looked at: cargo-deny is not here (make deny)'; fi
	@if [ -x $(TOOLS)/bin/cargo-cyclonedx ]; then $(MAKE) --no-print-directory sbom; \
	else echo 'no list of crates is made: cargo-cyclonedx is not here (make sbom)'; fi

packages-test: deb rpm archive dist test-packages
	$(call installed,dnf createrepo-c cpio busybox-static,a test of the packages)
	$(CARGO) build --profile $(PROFILE) --locked -p condatainer-tests
	CONDATAINER_PLUGIN=$(STAGED)/usr/lib/slurm/spank_condatainer.so MAKEFLAGS= $(CARGO) test --locked -p spank_condatainer --test exports
	CONDATAINER_PACKAGES=$(PACKAGES) MAKEFLAGS= $(CARGO) test --locked -p condatainer-tests --test packages -- --nocapture
