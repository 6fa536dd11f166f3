#!/bin/sh
# Replaces one token without a moment in which none is valid: a new one is written, then the old one is revoked.
#
#   TOKENS=/run/tokens CONSUL_HTTP_ADDR=http://consul-server:8500 rotate.sh gateway
#
# A gateway with `token: {file: …}` takes the new one over while it runs.
set -eu
TOKENS=${TOKENS:-/run/tokens}
name=$1
CONSUL_HTTP_TOKEN=$(cat "$TOKENS/management")
export CONSUL_HTTP_TOKEN

old=$(CONSUL_HTTP_TOKEN=$(cat "$TOKENS/$name") consul acl token read -self | awk '/^AccessorID/ { print $2 }')
umask 022
consul acl token create -description "$name" -policy-name "$name" | awk '/^SecretID/ { print $2 }' >"$TOKENS/.$name.new"
mv "$TOKENS/.$name.new" "$TOKENS/$name"
sleep "${GRACE:-5}" # those who follow the file have looked by then
consul acl token delete -id "$old" >/dev/null
echo "$name has a new token, the old one is revoked"
