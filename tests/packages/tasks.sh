#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Walks through the tasks of tasks.toml in a minimal Debian 12, each from nothing, by what the pages say alone:
# tasks.sh WHEEL PACKAGE PYTHON WORK. PYTHON's pip fetches what pages have pip install, in the versions that PYTHON has.
# WORK keeps the system for the next run. Needs root, git and debootstrap.
set -euo pipefail
wheel=$1 package=$2 python=$3 work=$4 here=$(cd "$(dirname "$0")" && pwd)
. "$here/chroot.sh"
begin "$work/root-tasks" bookworm python3,python3-venv,sudo
mkdir "$root/try/packages" "$root/try/tasks"
"$python" -m pip freeze --disable-pip-version-check --exclude octavo | grep -E '^[A-Za-z0-9_.-]+==' >"$work/versions"
"$python" -m pip download -q --disable-pip-version-check --only-binary=:all: --python-version 3.11 -c "$work/versions" \
  -d "$root/try/packages" "$wheel[transformers]" compressed-tensors >"$work/pip.log" 2>&1 || { tail -n 5 "$work/pip.log" >&2; exit 1; }
rm "$root/try/packages"/octavo-*
"$python" "$here/tasks.py" "$here/../.." "$root/try/tasks"
echo 'APT::Get::Assume-Yes "true";' >"$root/etc/apt/apt.conf.d/90yes"  # what a person answers
give_apt
tree() {  # a checkout in which wheel and package have been built
  rm -rf "$root/try/octavo"
  mkdir -p "$root/try/octavo/build/wheel" "$root/try/octavo/build/package"
  git -C "$here" archive --format=tar HEAD:./$(git -C "$here" rev-parse --show-cdup) | tar -x -C "$root/try/octavo"
  cp "$wheel" "$root/try/octavo/build/wheel/"
  cp "$package" "$root/try/octavo/build/package/"
}
for script in "$root"/try/tasks/*.sh; do
  number=$(basename "$script" .sh)
  tree
  run apt-get purge -qq octavo >/dev/null 2>&1 || true
  run env PIP_NO_INDEX=1 PIP_FIND_LINKS=/try/packages PIP_DISABLE_PIP_VERSION_CHECK=1 DEBIAN_FRONTEND=noninteractive \
    bash -c "cd /try/octavo && . /try/tasks/$number.sh" >"$work/task$number.log" 2>&1 ||
    { tail -n 20 "$work/task$number.log" >&2; echo "tasks.sh: task $number must run as its pages say" >&2; exit 1; }
  echo "task $number: done"
done
