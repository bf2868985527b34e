#!/bin/sh
# Installs the programs that tests and benchmarks run inside a sandbox or beside
# one, from Debian's packages. Without root or apt-get it only says what is
# missing; the tests that need it then skip by name.
set -eu

packages="bubblewrap crun runc firejail uidmap gcc libc6-dev libseccomp-dev python3 git dbus-daemon procps util-linux qemu-user-static qemu-system-x86
bash bc bison bzip2 cmake curl diffutils ffmpeg file findutils gawk gdb gpg gpg-agent imagemagick jq lua5.4 m4 make nginx-light nodejs
openjdk-17-jre-headless openssh-client openssl patch perl php-cli postgresql rsync ruby sqlite3 strace unzip vim-tiny xz-utils zip zsh zstd"

command -v dpkg-query >/dev/null 2>&1 || { echo "packages: no dpkg here; tests that need one of: $packages skip by name"; exit 0; }
missing=""
for p in $packages; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "packages: not installed:$missing (tests that need them skip by name; as root: apt-get install$missing)"
	exit 0
fi
echo "packages: installing$missing"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # a list of words
apt-get install -y --no-install-recommends $missing >/dev/null 2>&1 || {
	apt-get update >/dev/null
	apt-get install -y --no-install-recommends $missing >/dev/null
}
