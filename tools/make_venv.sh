#!/bin/sh
# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Usage: make_venv.sh PYTHON LOCK VENV
# Makes the virtual environment VENV with exactly the packages of LOCK; does nothing if it is so already.
# The lock names every package of every Python, so pip need not resolve anything (--no-deps).

set -eu

python=$1
lock=$2
venv=$3

wanted="$("$python" -VV | tr '\n' ' ') $python $(cksum <"$lock") $PWD/$venv"
if [ "$(cat "$venv/.stamp" 2>/dev/null || true)" = "$wanted" ]; then
    exit 0
fi

log="$venv.log"
mkdir -p "$(dirname "$venv")"
rm -rf "$venv"

echo "setting up $venv (only when $lock changes) ..."
if ! "$python" -m venv "$venv" >"$log" 2>&1; then
    rm -rf "$venv"
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        echo "$python cannot make virtual environments; nothing was set up." >&2
        echo "On Debian and Ubuntu: apt-get install python$version-venv (or python3-venv), then run this again." >&2
    else
        cat "$log" >&2
    fi
    exit 1
fi
if ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --no-deps --requirement "$lock" \
    >"$log" 2>&1; then
    cat "$log" >&2
    echo "Setting up $venv failed; it was left half made in $venv and will be made anew next time." >&2
    exit 1
fi
printf '%s\n' "$wanted" >"$venv/.stamp"
rm -f "$log"
