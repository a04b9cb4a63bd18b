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

# One line that says how far it is; without a terminal it is written once, and ended when all is there.
progress() {
	[ -t 1 ] || return 0
	fetched=$(grep -cE '^(Collecting|Processing) ' "$log") || true
	printf '\r%s: %s fetched, %s s ' "$what" "$fetched" "$(($(date +%s) - began))"
}

interrupted() {
	kill "$pip" 2>/dev/null || true
	wait "$pip" 2>/dev/null || true
	echo
	exit 130
}

log=.cache/pip.log
: >"$log"
began=$(date +%s)
count=$(grep -c '==' requirements-dev.txt) || true
if ! .venv/bin/python -c '' 2>/dev/null; then
	python=$(find_python)
	[ -n "$python" ] || fail "Python 3.11 or newer is needed, and ${PYTHON:-python3} is not: install it, or name it with PYTHON=…"
	"$python" -c 'import ensurepip, venv' 2>/dev/null ||
		fail "$python has no venv module: install it (Debian and Ubuntu: apt install python3-venv)"
	what="Making .venv with $("$python" --version), $count packages, once"
	printf '%s' "$what"
	"$python" -m venv --clear .venv || fail "The virtual environment could not be made in $(pwd)/.venv"
else
	what="Bringing .venv up to date, $count packages"
	printf '%s' "$what"
fi
.venv/bin/python -m pip install --disable-pip-version-check --no-input --no-color --progress-bar off \
	--require-hashes -r requirements-dev.txt >"$log" 2>&1 9>&- &
pip=$!
# What runs in the background hears nothing of Ctrl-C.
trap interrupted INT TERM HUP
while kill -0 "$pip" 2>/dev/null; do
	progress
	sleep 1 9>&-
done
if ! wait "$pip"; then
	echo
	cat "$log" >&2
	fail "The packages could not be installed; the reason is above"
fi
trap - INT TERM HUP
progress
echo " … done in $(($(date +%s) - began)) s"
cp requirements-dev.txt .venv/requirements-dev.txt
