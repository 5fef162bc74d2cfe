#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs a wheel by pip alone in a minimal system and uses it there: wheel.sh WHEEL PYTHON WORK [SUITE]. PYTHON's pip
# fetches what the wheel depends on; WORK keeps the system for the next run; SUITE is debootstrap's (bookworm, trixie, noble).
# Needs root and debootstrap.
set -euo pipefail
wheel=$1 python=$2 work=$3 suite=${4:-bookworm}

. "$(dirname "$0")/chroot.sh"
begin "$work/root-$suite" "$suite" python3,python3-venv
present=$(run find / -xdev -path /try -prune -o \( -name 'libtbb*' -o -name 'libre2*' -o -name 'libfmt*' \) -print)
if [[ -n $present ]]; then
  echo "wheel.sh: the system must not have the libraries that the wheel brings" >&2
  exit 1
fi
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
echo "wheel.sh: installed and used in $suite, CPython $version"
