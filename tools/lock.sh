#!/bin/sh
# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Usage: lock.sh PYTHON
# Writes requirements/*.txt anew: for each list of wishes (*.in) every package, its version, and the Pythons it is for.
# One file serves all Pythons, and a package has the same version in runtime.txt as in the others.

set -eu

venv=.venv/lock
[ -x "$venv/bin/uv" ] || { "$1" -m venv "$venv" && "$venv/bin/python" -m pip install --quiet uv; }

lock() {
    name=$1
    oldest=$2
    shift 2
    echo "requirements/$name.txt"
    "$venv/bin/uv" pip compile --quiet --upgrade --universal --python-version "$oldest" \
        --no-header --no-annotate --output-file "requirements/$name.txt" "$@" "requirements/$name.in"
}

lock runtime 3.11
lock dev 3.11 --constraint requirements/runtime.txt
lock importer 3.11 --constraint requirements/runtime.txt
lock unit 3.9
