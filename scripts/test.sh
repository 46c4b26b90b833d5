#!/usr/bin/env bash
# All tests: first those that only compute, one process for each core; then those of real nodes, which keep time and get
# the machine to themselves. usage: scripts/test.sh [PYTEST_ARGUMENT...]
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly NONE_SELECTED=5
code=0 ran=no

part() {
    "$@"
    local result=$?
    ((result == NONE_SELECTED)) && return
    ran=yes
    ((result == 0)) || code=$result
}

part env OMP_NUM_THREADS=1 .venv/bin/python -m pytest --part computing --numprocesses auto --dist loadfile "$@"
part .venv/bin/python -m pytest --part real_time "$@"
[[ $ran == yes ]] || { echo "test.sh: no test is selected by: $*" >&2; code=$NONE_SELECTED; }
exit "$code"
