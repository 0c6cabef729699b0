#!/bin/sh
# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Usage: find_python.sh controller    prints the Python that runs Ansible here: $PYTHON, or the first fit one (3.11 or newer)
#        find_python.sh others        prints one Python per other version that a node may have (3.9 or newer), oldest first;
#                                     $PYTHONS, a list of paths or names, says which, where it is set
#        find_python.sh ends          prints the oldest and the newest of those others
# Prints real interpreters: a version manager's shim may be on PATH for a version that it does not run.

set -eu

# Prints "MINOR PATH" of a candidate that runs and is CPython 3.MINOR with MINOR at least $2, nothing otherwise.
describe() {
    "$1" -c '
import os, sys
minor = sys.version_info[1]
if sys.version_info[0] == 3 and minor >= int(sys.argv[1]) and sys.implementation.name == "cpython":
    print(minor, os.path.abspath(getattr(sys, "_base_executable", sys.executable)))
' "$2" 2>/dev/null || true
}

controller() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14}; do
        found=$(describe "$candidate" 11)
        if [ -n "$found" ]; then
            echo "${found#* }"
            return
        fi
    done
    echo "No Python 3.11 or newer found (tried: ${PYTHON:-python3, python3.11 to python3.14})." >&2
    echo "Nothing was set up. Install one, or name it: make PYTHON=/path/to/python3.12 ..." >&2
    exit 1
}

others() {
    own=$(describe "$(controller)" 11)
    if [ -n "${PYTHONS:-}" ]; then
        candidates=$PYTHONS
    else
        candidates="python3.9 python3.10 python3.11 python3.12 python3.13 python3.14"
        if command -v pyenv >/dev/null 2>&1; then
            for minor in 9 10 11 12 13 14; do
                for path in "$(pyenv root)"/versions/3."$minor".*/bin/python3."$minor"; do
                    [ -x "$path" ] && candidates="$candidates $path"
                done
            done
        fi
    fi
    # shellcheck disable=SC2086 # a list of names
    for candidate in $candidates; do
        describe "$candidate" 9
    done | sort -n -u -k 1,1 | while read -r minor path; do
        [ "$minor" = "${own%% *}" ] || echo "$path"
    done
}

case "${1:-}" in
    controller) controller ;;
    others) others ;;
    ends) others | sed -n '1p;1!{$p;}' ;;
    *) echo "usage: $0 controller|others|ends" >&2; exit 2 ;;
esac
