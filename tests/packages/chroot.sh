# SPDX-License-Identifier: Apache-2.0
# A minimal system of Debian or Ubuntu, for scripts that install packages: sourced, then `begin ROOT SUITE [PACKAGES]`. Needs
# root and debootstrap.

# Makes the system where it is not there yet; afterwards `run COMMAND...` runs in it, where /try is empty.
begin() {
  local suite=$2 packages=${3:-}
  root=$1
  if [[ ! -e $root/complete ]]; then
    rm -rf "$root"
    local mirror=${OCTAVO_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)}
    local components=main younger=sid  # what debootstrap calls a release that it does not know yet
    [[ $suite != @(jammy|noble) ]] || { components=main,universe younger=gutsy; }  # Ubuntu's, where OCTAVO_MIRROR says so
    local script=/usr/share/debootstrap/scripts/$suite
    [[ -e $script ]] || script=${script%/*}/$younger
    mkdir -p "$root"
    debootstrap --variant=minbase "--components=$components" ${packages:+"--include=$packages"} "$suite" "$root" "$mirror" "$script" >"$root.log" 2>&1 ||
      { tail -n 5 "$root.log" >&2; exit 1; }
    touch "$root/complete"
  fi
  mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
  trap 'umount "$root/proc"' EXIT
  rm -rf "$root/try"
  mkdir "$root/try"
}

# Lets the system install packages, from where this machine does.
give_apt() {
  rm -f "$root/etc/apt/sources.list"
  local file
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/* /etc/apt/apt.conf.d/* /etc/resolv.conf /etc/hosts; do
    [[ ! -e $file ]] || cp -L "$file" "$root$file"
  done
  run apt-get update -qq
}

run() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive chroot "$root" "$@"; }
