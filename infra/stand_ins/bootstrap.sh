#!/bin/sh
# Makes .venv as requirements-dev.txt wants it; at once when it already is. PYTHON names another interpreter.
set -eu
cd "$(dirname "$0")/../.."

is_current() {
	cmp -s requirements-dev.txt .venv/requirements-dev.txt && .venv/bin/python -c '' 2>/dev/null
}

fail() {
	echo "$1" >&2
	exit 1
}

find_python() {
	for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
		if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
			echo "$candidate"
			return
		fi
	done
}

is_current && exit 0

# Two verbs may be started at once in a new clone: the second one waits for the first.
mkdir -p .cache
exec 9>.cache/venv.lock
if command -v flock >/dev/null; then
	flock 9
	is_current && exit 0
fi

if ! .venv/bin/python -c '' 2>/dev/null; then
	python=$(find_python)
	[ -n "$python" ] || fail "Python 3.11 or newer is needed, and ${PYTHON:-python3} is not: install it, or name it with PYTHON=…"
	"$python" -c 'import ensurepip, venv' 2>/dev/null ||
		fail "$python has no venv module: install it (Debian and Ubuntu: apt install python3-venv)"
	echo "Making .venv with $("$python" --version)"
	"$python" -m venv --clear .venv || fail "The virtual environment could not be made in $(pwd)/.venv"
fi
echo "Installing what requirements-dev.txt lists, $(grep -c '==' requirements-dev.txt) packages; once, for about a minute"
.venv/bin/python -m pip install --disable-pip-version-check --no-input --require-hashes -r requirements-dev.txt 9>&- ||
	fail "The packages could not be installed; the reason is above"
cp requirements-dev.txt .venv/requirements-dev.txt
