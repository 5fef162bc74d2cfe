#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs a Debian package by apt in a minimal Debian 12, uses command, libraries and headers there, and removes it:
# deb.sh PACKAGE WORK. WORK keeps the system for the next run. Needs root and debootstrap.
set -euo pipefail
package=$1 work=$2 here=$(cd "$(dirname "$0")" && pwd)
. "$here/chroot.sh"
begin "$work/root" bookworm
files() { run find / -xdev \( -path /try -o -path /proc -o -path /var -o -path /etc/ld.so.cache \) -prune -o -name '*octavo*' -print; }
[[ -z $(files) ]] || { echo "deb.sh: the system must be without Octavo" >&2; exit 1; }
cp "$package" "$root/try/octavo.deb"
cp -r "$here/../install/consumer" "$root/try/"
give_apt
run apt-get install -qq -y --no-install-recommends /try/octavo.deb >/dev/null
run octavo info >/dev/null
run octavo bench --check "scaled_mm int8:int8:fp32 2x2x2" >/dev/null
run test -e /usr/share/man/man1/octavo-quantize.1.gz -o -e /usr/share/man/man1/octavo-quantize.1
# A program of four lines of CMake.
run apt-get install -qq -y --no-install-recommends g++ cmake make >/dev/null
run cmake -S /try/consumer -B /try/build >/dev/null
run cmake --build /try/build >/dev/null
for program in consumer consumer_c consumer_models; do run "/try/build/$program"; done
run apt-get purge -qq -y octavo >/dev/null
left=$(files)
[[ -z $left ]] || { echo "deb.sh: purging must leave nothing; got $left" >&2; exit 1; }
echo "deb.sh: installed, used and removed: $(basename "$package")"
