#!/bin/sh
# Starts nginx with what nginx.conf cannot know: TRUSTED_PROXIES, which stand in front of it, and whether browsers come
# by https (PUBLIC_URL). TEMP and arguments are for tests.
set -eu
temp=${TEMP:-/tmp}
for network in $(echo "${TRUSTED_PROXIES:-}" | tr , ' '); do
	echo "set_real_ip_from $network;"
done >"$temp/trusted-proxies.conf"
case "${PUBLIC_URL:-}" in
https://*) echo 'http https;' ;;
esac >"$temp/public-scheme.conf"
exec nginx -g "daemon off;" "$@"
