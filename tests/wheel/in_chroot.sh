#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs a wheel by pip alone in a minimal Debian 12 and uses it there: in_chroot.sh WHEEL PYTHON WORK. PYTHON's pip
# fetches what the wheel depends on; WORK keeps the system for the next run. Needs root and debootstrap.
set -euo pipefail
wheel=$1 python=$2 work=$3 root=$3/root

if [[ ! -e $root/complete ]]; then
  rm -rf "$root"
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
  debootstrap --variant=minbase --include=python3,python3-venv bookworm "$root" "$mirror" >"$work/debootstrap.log" 2>&1 ||
    { tail -n 5 "$work/debootstrap.log" >&2; exit 1; }
  touch "$root/complete"
fi
mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
trap 'umount "$root/proc"' EXIT

run() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root chroot "$root" "$@"; }
present=$(run find / -xdev -path /try -prune -o \( -name 'libtbb*' -o -name 'libre2*' -o -name 'libfmt*' \) -print)
if [[ -n $present ]]; then
  echo "in_chroot: the system must not have the libraries that the wheel brings" >&2
  exit 1
fi
rm -rf "$root/try"
mkdir "$root/try"
version=$(run python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
"$python" -m pip download -q --disable-pip-version-check --only-binary=:all: --python-version "$version" \
  -d "$root/try/packages" "$wheel"
cp "$(dirname "$0")/use.py" "$root/try/"
run python3 -m venv /try/venv
run /try/venv/bin/pip install -q --disable-pip-version-check --no-index --find-links /try/packages octavo
run /try/venv/bin/python /try/use.py
# Beside a system's own oneTBB.
cp -L "$(ldconfig -p | sed -n 's/.*libtbb\.so\.12 .*=> //p' | head -n 1)" "$root/try/libtbb.so.12"
run /try/venv/bin/python /try/use.py /try/libtbb.so.12
