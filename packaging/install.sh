#!/usr/bin/env bash
# Copies a built tree into place: binary, systemd unit, user, folders, sample configuration, manual pages, completions.
#   PREFIX  where it lives (/usr/local)     DESTDIR  a root to build an image in (none: this machine)
#   BINARY  what to install (the binary beside this script, or the release build of this tree)
# Into this machine (no DESTDIR) it also makes the user and the folders. It never overwrites a configuration and starts nothing.
set -euo pipefail
cd "$(dirname "$0")"
# In a source tree it stands in a folder of its own, in a release at the top.
[ -f config/pgdumpd.toml ] || cd ..

prefix=${PREFIX:-/usr/local}
root=${DESTDIR:-}
root=${root%/}
binary=${BINARY:-${CARGO_TARGET_DIR:-target}/release/pgdumpd}
[ -n "${BINARY:-}" ] || [ ! -x ./pgdumpd ] || binary=./pgdumpd

die() { echo "install.sh: $*" >&2; exit 1; }
case $prefix in /*) ;; *) die "PREFIX must begin with /: $prefix" ;; esac
[ -x "$binary" ] || die "there is no $binary: build it first with cargo build --locked --release"
[ -f config/pgdumpd.toml ] || die "there is no config/pgdumpd.toml in this tree"

if [ -z "$root" ]; then # Before anything is copied.
  [ "$(id -u)" = 0 ] || die "making the user pgdumpd needs root; DESTDIR=… fills a folder without"
  for tool in systemd-sysusers systemd-tmpfiles; do
    command -v "$tool" >/dev/null || die "$tool is missing, and this installs a service of systemd; without one the binary alone will do: $binary"
  done
fi

put() { install -D -m "$1" "$2" "$root$3" || die "could not write $root$3"; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

put 0755 "$binary" "$prefix/bin/pgdumpd"
put 0644 systemd/pgdumpd.sysusers "$prefix/lib/sysusers.d/pgdumpd.conf"
put 0644 systemd/pgdumpd.tmpfiles "$prefix/lib/tmpfiles.d/pgdumpd.conf"
put 0644 config/pgdumpd.toml "$prefix/share/doc/pgdumpd/pgdumpd.toml"
put 0644 README.md "$prefix/share/doc/pgdumpd/README.md"

"$binary" generate "$work" || die "$binary can't be run here"
for page in "$work"/man/*.1; do
  gzip -9n "$page"
  put 0644 "$page.gz" "$prefix/share/man/man1/${page##*/}.gz"
done
put 0644 "$work/completions/pgdumpd.bash" "$prefix/share/bash-completion/completions/pgdumpd"
put 0644 "$work/completions/_pgdumpd" "$prefix/share/zsh/site-functions/_pgdumpd"
put 0644 "$work/completions/pgdumpd.fish" "$prefix/share/fish/vendor_completions.d/pgdumpd.fish"

sed "s|^ExecStart=/usr/bin/|ExecStart=$prefix/bin/|" systemd/pgdumpd.service >"$work/unit"
put 0644 "$work/unit" "$prefix/lib/systemd/system/pgdumpd.service"

if [ -z "$root" ]; then
  systemd-sysusers "$prefix/lib/sysusers.d/pgdumpd.conf"
  systemd-tmpfiles --create "$prefix/lib/tmpfiles.d/pgdumpd.conf"
fi

config=/etc/pgdumpd/pgdumpd.toml
if [ -e "$root$config" ]; then
  echo "kept $root$config"
else
  put 0640 config/pgdumpd.toml "$config"
  [ -n "$root" ] || chgrp pgdumpd "$config"
fi

if [ -z "$root" ] && [ -d /run/systemd/system ]; then
  systemctl daemon-reload
fi
echo "installed $root$prefix/bin/pgdumpd"
[ -n "$root" ] || echo "next: edit $config, then pgdumpd check, then systemctl enable --now pgdumpd"
