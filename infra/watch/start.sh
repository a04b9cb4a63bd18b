#!/bin/sh
# Starts Prometheus of the composition, which reads no variables: the operator's token, and where alerts go. TEMP and
# arguments are for tests.
set -eu
umask 077
temp=${TEMP:-/tmp}
printf '%s' "$OPERATOR_TOKEN" >"$temp/operator-token"
case "${ALERTMANAGER:-}" in
'') printf '[]' ;;
*) printf '[{"targets": ["%s"]}]' "$ALERTMANAGER" ;;
esac >"$temp/alertmanagers.json"
unset OPERATOR_TOKEN
exec prometheus \
	--config.file=/etc/prometheus/prometheus.yml \
	--storage.tsdb.path=/prometheus \
	--storage.tsdb.retention.time=30d "$@"
