# Each target installs what it needs first (tests/setup: Debian's apt, as root) and says what is missing where it can't.
.PHONY: demo test quick lint soak boot image compose package package-test bench breaks install setup
.DEFAULT_GOAL := test

PREFIX ?= /usr/local
DESTDIR ?=

setup:
	@tests/setup

# See it: a throwaway PostgreSQL, a mail sink, two projects, backups on schedule, a failure mailed, one backup restored.
demo: setup
	@tests/demo

# The whole suite: formatting, lints, every test, three minutes of soak. About 30 minutes from nothing on two cores.
test: setup
	@tests/suite all

# Unit, property and snapshot tests, and the checks of the source tree; no server.
quick: setup
	@tests/suite quick

lint: setup
	@.ci/lint

# pgdumpd at work while something is broken every few seconds, and every promise checked at the end: SOAK_MINUTES=60 make soak
soak: setup
	@tests/soak

# The service under a real systemd, in a small Debian of its own. As root; two minutes and a Debian mirror.
boot: setup
	@tests/boot

# The container image, built without a registry and taken through its life beside a throwaway PostgreSQL. As root; three minutes.
image: setup
	@tests/image

# packaging/compose.yaml by podman-compose, with stand-ins for the images it pulls; packaging/kubernetes.yaml against Kubernetes' description
# of its objects. As root; three minutes.
compose: setup
	@tests/compose

# A .deb, an .rpm and a tarball, in target/packages.
package: setup
	@command -v rpmbuild >/dev/null || apt-get -qq install -y --no-install-recommends rpm </dev/null >/dev/null
	@packaging/build

# Those packages in clean roots: installed, upgraded, removed, purged. As root; three minutes.
package-test: setup
	@tests/packages

# Against pg_dump alone; writes docs/benchmarks.md. PARTS="text scale" runs some of it.
bench: setup
	@benches/run $(PARTS)

# Applies each patch of tests/breaks, and expects its test to fail.
breaks: setup
	@tests/breaks/run

install:
	@DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" packaging/install.sh
