#!/usr/bin/env bash
# Stand-ins for the public images that docker-compose.yml and the tests name, made of Debian packages only: for machines that have
# a package mirror but no image registry. With a registry nobody needs this.
#
#   deploy/docker/local-images.sh          start a Docker engine if none answers, make what is missing (about 90 s)
#   deploy/docker/local-images.sh --stop   stop the engine that this script has started
#
# Inside: Python, Redis, HAProxy and Prometheus of the Debian release in use, Consul 1.8.7 of the release before. They behave like the
# originals as far as a compose file can tell: entry point, command, ports.
set -euo pipefail
STATE=${LOCAL_IMAGES_STATE:-/var/tmp/lbgateway-images}
mkdir -p "$STATE"

if [[ ${1:-} == --stop ]]; then
  [[ -s $STATE/dockerd.pid ]] && kill "$(cat "$STATE/dockerd.pid")" && rm -f "$STATE/dockerd.pid"
  exit 0
fi

missing=()
for program in dockerd:docker.io docker-compose:docker-compose debootstrap:debootstrap curl:curl xz:xz-utils; do
  command -v "${program%%:*}" >/dev/null || missing+=("${program##*:}")
done
if ((${#missing[@]})); then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >"$STATE/apt.log" 2>&1
fi
if ! docker info >/dev/null 2>&1; then
  nohup dockerd --data-root "$STATE/data" >"$STATE/dockerd.log" 2>&1 &
  echo $! >"$STATE/dockerd.pid"
  for _ in $(seq 60); do docker info >/dev/null 2>&1 && break; sleep 0.5; done
  docker info >/dev/null || { tail -5 "$STATE/dockerd.log"; exit 1; }
fi

have() { docker image inspect "$1" >/dev/null 2>&1; }
image() { # name: from a Dockerfile on standard input
  have "$1" || docker build -q -t "$1" - >/dev/null
}

if ! have lbgateway-stand-in/base; then
  mirror=$(awk '/^URIs:/{print $2; exit}' /etc/apt/sources.list.d/debian.sources 2>/dev/null || true)
  [[ -n $mirror ]] || mirror=$(awk '$1=="deb"{print $2; exit}' /etc/apt/sources.list)
  release=$(. /etc/os-release && echo "$VERSION_CODENAME")
  root=$STATE/rootfs
  rm -rf "$root"
  packages=ca-certificates,curl,python3,python3-pip,python3-venv,redis-server,haproxy,prometheus,procps
  debootstrap --variant=minbase --include="$packages" "$release" "$root" "$mirror" >"$STATE/debootstrap.log" 2>&1
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
  printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\nbreak-system-packages = true\ndefault-timeout = 180\n' >"$root/etc/pip.conf"
  ln -sf python3 "$root/usr/bin/python"
  architecture=$(dpkg --print-architecture)
  curl -fsS "$mirror/dists/bullseye/main/binary-$architecture/Packages.xz" | xz -dc >"$STATE/Packages"
  file=$(awk '/^Package: consul$/{p=1} p&&/^Filename:/{print $2; exit}' "$STATE/Packages")
  curl -fsS -o "$STATE/consul.deb" "$mirror/$file"
  dpkg -x "$STATE/consul.deb" "$STATE/consul"
  cp "$STATE/consul/usr/bin/consul" "$root/usr/bin/consul"
  rm -rf "$root/var/cache/apt/archives"/*.deb "$root/var/lib/apt/lists"/*
  tar -C "$root" -c . | docker import - lbgateway-stand-in/base >/dev/null
  rm -rf "$root" "$STATE/consul" "$STATE/consul.deb" "$STATE/Packages"
fi
image python:3.12-slim <<<$'FROM lbgateway-stand-in/base\nCMD ["python3"]'
image redis:7 <<<$'FROM lbgateway-stand-in/base\nEXPOSE 6379\nCMD ["redis-server","--protected-mode","no","--save",""]'
image hashicorp/consul:1.20 <<<$'FROM lbgateway-stand-in/base\nEXPOSE 8500 8600\nENTRYPOINT ["/usr/bin/consul"]\nCMD ["agent","-dev","-client","0.0.0.0"]'
image haproxy:2.8 <<<$'FROM lbgateway-stand-in/base\nSTOPSIGNAL SIGUSR1\nCMD ["haproxy","-W","-db","-f","/usr/local/etc/haproxy/haproxy.cfg"]'
image prom/prometheus:v2.53.0 <<<$'FROM lbgateway-stand-in/base\nEXPOSE 9090\nENTRYPOINT ["prometheus"]'
echo "images for docker-compose.yml are there; stop the engine with: $0 --stop"
