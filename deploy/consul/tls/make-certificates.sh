#!/bin/sh
# An authority, and certificates for a server (also good for an agent) and for the gateway, into the folder that is named.
#
#   make-certificates.sh FOLDER [NAME …]      NAMEs: how clients reach Consul, beside localhost and server.dc1.consul
set -eu
[ $# -ge 1 ] || { sed -n '2,5s/^# *//p' "$0" >&2; exit 2; }
mkdir -p "$1"
cd "$1"
shift
umask 077
names=
for name in "$@"; do names="$names -additional-dnsname=$name"; done
[ -s consul-agent-ca.pem ] || consul tls ca create >/dev/null
# shellcheck disable=SC2086 # one option a name
consul tls cert create -server -dc dc1 $names >/dev/null
mv dc1-server-consul-0.pem consul.pem
mv dc1-server-consul-0-key.pem consul-key.pem
consul tls cert create -client -dc dc1 >/dev/null
mv dc1-client-consul-0.pem gateway.pem
mv dc1-client-consul-0-key.pem gateway-key.pem
chmod 644 consul-agent-ca.pem consul.pem gateway.pem
echo "made in $PWD: $(echo *.pem)"
