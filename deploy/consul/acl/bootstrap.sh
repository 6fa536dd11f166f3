#!/bin/sh
# Gives a new Consul its policies, and everybody a token with the least rights. Harmless when run again.
#
#   TOKENS=/run/tokens CONSUL_HTTP_ADDR=http://consul-server:8500 [AGENTS="http://consul-agent:8500 …"] bootstrap.sh
#
# Writes one file a token into $TOKENS: management (keep it elsewhere), agent, gateway, one for each service, and admin, which
# is not Consul's but the gateway's own (admin.token).
set -eu
here=$(dirname "$0")
TOKENS=${TOKENS:-/run/tokens}
mkdir -p "$TOKENS"

put() { # file: from standard input, all at once, readable for those who mount the folder
    umask 022
    cat >"$TOKENS/.$1.new"
    mv "$TOKENS/.$1.new" "$TOKENS/$1"
}

secret() { awk '/^SecretID/ { print $2 }'; }

if [ ! -s "$TOKENS/management" ]; then
    tries=0
    until consul acl bootstrap >/tmp/bootstrap 2>&1; do
        if grep -q "no longer allowed" /tmp/bootstrap; then
            echo "this Consul has been bootstrapped already, and its management token is not in $TOKENS/management" >&2
            exit 1
        fi
        tries=$((tries + 1))
        [ "$tries" -lt 60 ] || { cat /tmp/bootstrap >&2; exit 1; }
        sleep 1
    done
    secret </tmp/bootstrap | put management
    rm -f /tmp/bootstrap
fi
CONSUL_HTTP_TOKEN=$(cat "$TOKENS/management")
export CONSUL_HTTP_TOKEN

for file in "$here"/*.hcl; do
    name=$(basename "$file" .hcl)
    consul acl policy update -name "$name" -rules "@$file" >/dev/null 2>&1 ||
        consul acl policy create -name "$name" -rules "@$file" >/dev/null
    [ -s "$TOKENS/$name" ] || consul acl token create -description "$name" -policy-name "$name" | secret | put "$name"
done
[ -s "$TOKENS/admin" ] || od -An -N24 -tx1 /dev/urandom | tr -d ' \n' | put admin

for address in "$CONSUL_HTTP_ADDR" ${AGENTS:-}; do
    tries=0
    until consul acl set-agent-token -http-addr="$address" agent "$(cat "$TOKENS/agent")" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 60 ] || { echo "the agent at $address does not answer" >&2; exit 1; }
        sleep 1
    done
done
echo "policies and tokens are in place: $(cd "$TOKENS" && echo *)"
