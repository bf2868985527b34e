#!/bin/sh
# Installs the programs that tests and benchmarks run inside a sandbox or beside
# one, from Debian's packages. Without root or apt-get it only says what is
# missing; the tests that need it then skip by name.
set -eu

packages="bubblewrap flatpak mat2 socat ripgrep crun runc firejail uidmap gcc libc6-dev libseccomp-dev python3 git dbus-daemon procps util-linux qemu-user-static qemu-system-x86
bash bc bison bzip2 cmake curl diffutils ffmpeg file findutils gawk gdb gpg gpg-agent imagemagick jq lua5.4 m4 make nginx-light nodejs
openjdk-17-jre-headless openssh-client openssl patch perl php-cli postgresql rsync ruby sqlite3 strace tmux unzip vim-tiny xz-utils zip zsh zstd
buildah busybox-static catatonit conmon containernetworking-plugins debootstrap iproute2 iptables netavark slirp4netns"
# Container engines. Where an init runs, Debian starts their daemons at once and at each boot, with a
# bridge and firewall rules: there it is for who owns the machine to install them.
engines="docker.io containerd podman"

command -v dpkg-query >/dev/null 2>&1 || { echo "packages: no dpkg here; tests that need one of: $packages skip by name"; exit 0; }
installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }
if [ -d /run/systemd/system ] || [ -p /run/initctl ] || [ -d /run/openrc ]; then
	for p in $engines; do
		installed "$p" || echo "packages: $p is left to you, as Debian would start its daemon; without it the tests of cloche-oci under it skip by name"
	done
else
	packages="$packages $engines"
fi
missing=""
for p in $packages; do
	installed "$p" || missing="$missing $p"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "packages: not installed:$missing (tests that need them skip by name; as root: apt-get install$missing)"
	exit 0
fi
echo "packages: installing$missing"
export DEBIAN_FRONTEND=noninteractive
# In a mount namespace where what starts a package's services does nothing.
install='for f in /usr/sbin/invoke-rc.d /usr/bin/deb-systemd-invoke; do
	if [ -e $f ] && [ ! -d /run/systemd/system ]; then mount --bind /bin/true $f; fi
done
exec apt-get install -y --no-install-recommends "$@" >/dev/null 2>&1'
quietly() { if unshare --mount true 2>/dev/null; then unshare --mount sh -c "$install" sh "$@"; else apt-get install -y --no-install-recommends "$@" >/dev/null; fi; }
# shellcheck disable=SC2086 # a list of words
quietly $missing || {
	apt-get update >/dev/null
	quietly $missing
}
