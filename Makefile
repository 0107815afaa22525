# The commands: 'make' builds, 'make demo' shows the main job on a real cluster, 'make test' proves it, 'make check' is the
# inner loop, 'make soak' proves at length, 'make install' installs, 'make deb rpm archive dist' packs (packaging/packages.mk). Everything that
# is downloaded or built lies in target/ and .cache/.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build

PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
DESTDIR ?=
CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
# The cargo profile of what is built: PROFILE=dev is the quick one, for the inner loop on a real cluster.
PROFILE ?= release
BUILT := $(TARGET_DIR)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
STAGE := $(TARGET_DIR)/stage
# The site's configuration. Its path is compiled in, so it must be the same for 'make' and 'make install'.
SYSTEM_FILE := $(SYSCONFDIR)/condatainer/config.toml
ifneq ($(SYSCONFDIR),/etc)
export CONDATAINER_SYSTEM_FILE := $(SYSTEM_FILE)
endif
SHIPPED := CONDATAINER_BIN=$(STAGE)/usr/local/bin/condatainer CONDATAINER_PLUGIN=$(STAGE)/usr/local/lib/slurm/spank_condatainer.so
export CLUSTER_CACHE ?= $(CURDIR)/.cache/cluster

# What a script in a container may call of Slurm.
SLURM_COMMANDS := sacct salloc sattach sbatch sbcast scancel scontrol sinfo sprio squeue srun sstat

# What building needs besides the Rust toolchain: a linker, the C library and its headers. gcc also compiles zstd's C library.
BUILD_PACKAGES := gcc libc6-dev binutils
# What testing needs besides: libclang, with which bindgen makes the declarations of SPANK once more, to compare; mandoc, which reads man pages.
TEST_PACKAGES := libclang-dev mandoc

.PHONY: build packages test-packages stage demo-ready demo shell test soak vm check unit unit-built unit-run suite suite-built suite-run bench charts docs reference install installable uninstall clean clean-cluster

build:
	$(CARGO) build --profile $(PROFILE) --locked -p condatainer -p spank_condatainer

# Installs those of these Debian packages that are missing, and says so.
define installed
	@missing=$$(for p in $(1); do dpkg-query -W -f '$${db:Status-Status}' "$$p" 2>/dev/null | grep -qx installed || echo "$$p"; done); \
	if [ -n "$$missing" ]; then \
	    echo "installing Debian packages that $(2) needs:" $$missing; \
	    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing; \
	fi
endef

packages:
	$(call installed,$(BUILD_PACKAGES),the build)

test-packages:
	$(call installed,$(TEST_PACKAGES),a test)

# The tree as 'make install' makes it, for the throw-away clusters.
stage: packages build
	@rm -rf $(STAGE)
	@$(MAKE) --no-print-directory -s install DESTDIR=$(STAGE) PREFIX=/usr/local
	$(CARGO) build --profile $(PROFILE) --locked -p condatainer-tests

# The Debian system is unpacked while condatainer is built: the one waits for the network and the disk, the other for processors.
demo-ready: packages
	@[ -d $(STAGE) ] || echo 'make: the first time this builds condatainer, and a Debian system with Slurm to run it on: some 4 minutes on two processors'
	$(CARGO) build --profile $(PROFILE) --locked -p condatainer-tests
	@$(BUILT)/cluster prepare --release sid & prepared=$$!; \
	$(MAKE) --no-print-directory stage || { kill $$prepared; exit 1; }; \
	wait $$prepared

demo: demo-ready
	tests/demo/run $(BUILT)/cluster $(STAGE) tests/demo/main-job.sh

shell: demo-ready
	tests/demo/run $(BUILT)/cluster $(STAGE)

check:
	$(CARGO) fmt --all --check
	rustfmt --edition 2024 --check programs/shim/main.rs programs/interposer/main.rs programs/relay/main.rs programs/preload/main.rs programs/warden/main.rs
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) test --locked --workspace --exclude condatainer-tests --lib --bins
	$(CARGO) check --locked -p spank_condatainer
	@$(MAKE) --no-print-directory crates-checked

# Unit, property and image tests; the plugin's interface against the spank.h of every release; the clusters themselves and the house's rules.
# All packages but the suite's are built at once: with others beside it a library has other features, and would be built once more. cargo must not
# look for make's job server, which it is not given.
UNIT := MAKEFLAGS= $(CARGO) test -q --locked --workspace --exclude condatainer-tests
SUITE := MAKEFLAGS= $(SHIPPED) $(CARGO) test --locked -p condatainer-tests
unit-built: stage test-packages
	$(BUILT)/cluster prepare
	$(UNIT) --no-run

# FIRST is what runs before, with the patient tests beside it.
unit-run:
	@mkdir -p $(TARGET_DIR)/unit
	@$(UNIT) --no-run --message-format=json > $(TARGET_DIR)/unit/messages
	@$(SUITE) -q --lib --test cluster_smoke --test documents --test house --test install --no-run --message-format=json >> $(TARGET_DIR)/unit/messages
	SPANK_INCLUDE_DIRS=$$($(BUILT)/cluster roots | awk '/ slurmd / { print $$1 "/usr/include" }' | paste -sd:) $(SHIPPED) \
	    tests/unit/run $(TARGET_DIR)/unit $(FIRST) < $(TARGET_DIR)/unit/messages
	$(UNIT) --doc

unit: unit-built suite-built
	@$(MAKE) --no-print-directory unit-run

suite-built: stage
	$(SUITE) --no-run

# Real clusters of every release.
suite-run:
	$(SUITE) --test suite

suite: suite-built
	@$(MAKE) --no-print-directory suite-run

# One after the other but for the patient ones: tests that kill something at a chosen instant know how long it takes alone.
test: unit-built suite-built
	@$(MAKE) --no-print-directory unit-run FIRST='$(MAKE) --no-print-directory suite-run'

# The proofs in full: what 'make test' does some dozens of times, a thousand times. It takes the better part of an hour.
soak: stage
	CONDATAINER_SOAK=1 $(CARGO) test --locked -p condatainer-images --test killed --test killed_resize --test killed_check --test killed_with_root --test create_killed --test whiteout -- --nocapture
	CONDATAINER_FUZZ_RUNS=1000000 $(CARGO) test --locked -p condatainer-core --test fuzz
	CONDATAINER_FUZZ_RUNS=1000000 $(CARGO) test --locked -p condatainer-stack --test requests --test squashfs_hostile
	CONDATAINER_FUZZ_RUNS=1000 $(CARGO) test --locked -p condatainer-stack --test merge --test squashfs --test scratch
	CONDATAINER_FUZZ_RUNS=200 $(CARGO) test --locked -p condatainer-stack --test written
	CONDATAINER_FUZZ_RUNS=1000 $(CARGO) test --locked -p condatainer-stack --test workspace
	CONDATAINER_SEQUENCES=100000 $(CARGO) test --locked -p condatainer-writer --test oracle
	CONDATAINER_CRASHES=4 $(CARGO) test --locked -p condatainer-writer --test crash
	CONDATAINER_FUZZ_RUNS=1000000 $(CARGO) test --locked -p condatainer-writer --test hostile
	CONDATAINER_SOAK=1 $(CARGO) test --locked -p condatainer-writer --test large -- --nocapture
	CONDATAINER_SOAK=1 $(SHIPPED) $(CARGO) test --locked -p condatainer-tests --test suite -- sid::with_root::killed
	CONDATAINER_SOAK=1 $(SHIPPED) $(CARGO) test --locked -p condatainer-tests --test suite -- sid::ends
	CONDATAINER_SOAK=1 $(SHIPPED) $(CARGO) test --locked -p condatainer-tests --test suite -- sid::own_workspace::killed
	CONDATAINER_SOAK=1 $(SHIPPED) $(CARGO) test --locked -p condatainer-tests --test suite -- sid::whiteouts::random_work

# A virtual machine with systemd and cgroup v2, and its power cut.
vm: stage
	tests/vm/run $(BUILT)/cluster $(STAGE)

bench: stage
	@$(CARGO) build --profile $(PROFILE) --locked -p condatainer-images --example probe_time --example chown_time --example table_time --example whiteouts_time
	@$(CARGO) build --profile $(PROFILE) --locked -p condatainer-core --example names_time
	@$(CARGO) build --profile $(PROFILE) --locked -p condatainer-stack --example first_answer
	@tests/bench/run $(BUILT) $(STAGE) | tee $(TARGET_DIR)/bench.md
	@tests/bench/charts $(TARGET_DIR)/bench.md $(TARGET_DIR)/charts

# The charts of docs/benchmarks.md, from its tables. 'make bench' draws those of its own figures in target/charts.
charts:
	$(call installed,gnuplot-nox,a chart)
	tests/bench/charts docs/benchmarks.md docs/charts

# The documentation as a site, in target/docs.
MDBOOK := $(or $(shell command -v mdbook),$(CURDIR)/.cache/mdbook/bin/mdbook)
docs: $(MDBOOK)
	$(MDBOOK) build

$(CURDIR)/.cache/mdbook/bin/mdbook:
	@echo 'building mdBook, which makes the site: some minutes, once'
	CARGO_TARGET_DIR=$(TARGET_DIR)/mdbook $(CARGO) install --quiet --locked --root $(CURDIR)/.cache/mdbook --no-default-features --features search mdbook@0.5.4
	rm -rf $(TARGET_DIR)/mdbook

# The pages of docs/reference, from the code.
reference:
	mkdir -p docs/reference
	CONDATAINER_WRITE_REFERENCE=1 $(CARGO) test -q --locked -p condatainer --bins reference
	CONDATAINER_WRITE_REFERENCE=1 $(CARGO) test -q --locked -p spank_condatainer --lib options
	CONDATAINER_WRITE_REFERENCE=1 $(CARGO) test -q --locked -p condatainer-tests --test documents reference

# Says what is missing before anything is written.
installable:
	@for file in condatainer libspank_condatainer.so; do \
	    [ -f $(BUILT)/$$file ] || { echo "make install: $(BUILT)/$$file is not there: run make$(if $(filter-out release,$(PROFILE)), PROFILE=$(PROFILE)) first" >&2; exit 1; }; \
	done
	@$(BUILT)/condatainer --version | grep -qxF 'configuration: $(SYSTEM_FILE)' || \
	    { echo 'make install: what is built does not read $(SYSTEM_FILE): run make SYSCONFDIR=$(SYSCONFDIR) first' >&2; exit 1; }

# A node may start tasks while this runs, so programs are put beside the old ones and renamed.
install: installable
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/condatainer/stack $(DESTDIR)$(PREFIX)/libexec/condatainer/slurm $(DESTDIR)$(PREFIX)/libexec/condatainer/zsh $(DESTDIR)$(PREFIX)/libexec/condatainer/no-images $(DESTDIR)$(PREFIX)/lib/slurm $(DESTDIR)$(PREFIX)/share/condatainer \
	    $(DESTDIR)$(PREFIX)/share/bash-completion/completions \
	    $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	for program in interposer:interposer preload:fuse-overlayfs.so relay:slurm/.relay; do \
	    file=$(DESTDIR)$(PREFIX)/libexec/condatainer/$${program#*:}; \
	    $(BUILT)/condatainer $${program%:*} > $$file.new; \
	    chmod 0755 $$file.new; \
	    mv -f $$file.new $$file; \
	done
	for f in fuse2fs fuse-overlayfs squashfuse squashfuse_ll; do \
	    ln -sfn interposer $(DESTDIR)$(PREFIX)/libexec/condatainer/$$f; \
	done
	ln -sfn ../interposer $(DESTDIR)$(PREFIX)/libexec/condatainer/no-images/squashfuse_ll
	$(BUILT)/condatainer zshenv > $(DESTDIR)$(PREFIX)/libexec/condatainer/zsh/.zshenv.new
	chmod 0644 $(DESTDIR)$(PREFIX)/libexec/condatainer/zsh/.zshenv.new
	mv -f $(DESTDIR)$(PREFIX)/libexec/condatainer/zsh/.zshenv.new $(DESTDIR)$(PREFIX)/libexec/condatainer/zsh/.zshenv
	install -d $(DESTDIR)$(PREFIX)/libexec/condatainer/inside
	for f in inside slurm; do install -m 0755 programs/shells/condatainer $(DESTDIR)$(PREFIX)/libexec/condatainer/$$f/condatainer; done
	for f in .zprofile .zshrc .zlogin; do ln -sfn .zshenv $(DESTDIR)$(PREFIX)/libexec/condatainer/zsh/$$f; done
	for f in $(SLURM_COMMANDS); do \
	    ln -sfn .relay $(DESTDIR)$(PREFIX)/libexec/condatainer/slurm/$$f; \
	done
	for f in condatainer:0755:bin/condatainer libspank_condatainer.so:0644:lib/slurm/spank_condatainer.so; do \
	    IFS=: read -r from mode to <<< "$$f"; \
	    install -m "$$mode" "$(BUILT)/$$from" "$(DESTDIR)$(PREFIX)/$$to.new"; \
	    mv -f "$(DESTDIR)$(PREFIX)/$$to.new" "$(DESTDIR)$(PREFIX)/$$to"; \
	done
	for f in plugstack.conf:plugstack.conf.in config.toml.example:config.toml.example health-check:health-check.in apparmor:apparmor.in; do \
	    sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@SYSCONFDIR@|$(SYSCONFDIR)|g' packaging/$${f#*:} \
	        > $(DESTDIR)$(PREFIX)/share/condatainer/$${f%:*}; \
	    chmod 0644 $(DESTDIR)$(PREFIX)/share/condatainer/$${f%:*}; \
	done
	chmod 0755 $(DESTDIR)$(PREFIX)/share/condatainer/health-check
	$(BUILT)/condatainer man $(DESTDIR)$(PREFIX)/share/man
	$(BUILT)/condatainer completions bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/condatainer
	$(BUILT)/condatainer completions zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_condatainer
	$(BUILT)/condatainer completions fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/condatainer.fish
	install -d $(DESTDIR)$(PREFIX)/share/doc/condatainer
	install -m 0644 README.md CHANGELOG.md CONTRIBUTING.md LICENSE-APACHE LICENSE-MIT $(DESTDIR)$(PREFIX)/share/doc/condatainer
	find docs -type f -exec install -D -m 0644 '{}' '$(DESTDIR)$(PREFIX)/share/doc/condatainer/{}' ';'

# Removes what 'make install' has put there, the line for Slurm before the plugin. What you wrote in SYSCONFDIR stays.
uninstall:
	@for file in $(DESTDIR)/etc/slurm/plugstack.conf $(DESTDIR)/etc/slurm-llnl/plugstack.conf; do \
	    if grep -qs '^[^#]*$(PREFIX)/lib/slurm/spank_condatainer\.so' $$file; then \
	        echo "make uninstall: $$file names the plugin: comment that line first, or Slurm refuses jobs here" >&2; exit 1; \
	    fi; \
	done
	rm -f $(DESTDIR)$(PREFIX)/share/condatainer/plugstack.conf
	rm -f $(DESTDIR)$(PREFIX)/bin/condatainer $(DESTDIR)$(PREFIX)/lib/slurm/spank_condatainer.so \
	    $(DESTDIR)$(PREFIX)/share/man/man[1578]/condatainer.? $(DESTDIR)$(PREFIX)/share/man/man[1578]/condatainer-*.? $(DESTDIR)$(PREFIX)/share/man/man8/spank_condatainer.8 \
	    $(DESTDIR)$(PREFIX)/share/bash-completion/completions/condatainer \
	    $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_condatainer $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/condatainer.fish
	rm -rf $(DESTDIR)$(PREFIX)/libexec/condatainer $(DESTDIR)$(PREFIX)/share/condatainer $(DESTDIR)$(PREFIX)/share/doc/condatainer

include packaging/packages.mk

clean:
	$(CARGO) clean

clean-cluster:
	if [ -x $(BUILT)/cluster ]; then $(BUILT)/cluster clean; else rm -rf "$$CLUSTER_CACHE"; fi
