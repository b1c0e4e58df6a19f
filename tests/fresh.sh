#!/bin/sh
# The README's two commands where nobody has prepared anything: a minimal Debian 12 with make and git, made by debootstrap and removed
# at the end, a clone of what is committed here, the machine's own choice of kernels. Packages come from the mirror this machine uses.
#   tests/fresh.sh [CONTEXT]      as root; CONTEXT: the folder in which the system is made (/var/tmp)
set -eu
[ "$(id -u)" = 0 ] || { echo "fresh: only root can make a system in a folder: sudo make check-fresh" >&2; exit 2; }
here=$(cd "$(dirname "$0")/.." && pwd)
root=$(mktemp -d "${1:-/var/tmp}/deltascope-fresh.XXXXXX")
leave() {
    for place in dev/shm dev/pts dev proc; do umount "$root/$place" 2>/dev/null || true; done
    rm -rf --one-file-system "$root"
}
trap leave EXIT
trap 'exit 130' INT TERM
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | head -n 1)
debootstrap --variant=minbase --include=make,git,ca-certificates bookworm "$root" "$mirror" >"$root.log" 2>&1 ||
    { tail -n 5 "$root.log" >&2; exit 1; }
rm -f "$root.log"
apt-config dump Acquire | grep -i proxy >"$root/etc/apt/apt.conf.d/00proxy" || true
cp /etc/resolv.conf "$root/etc/resolv.conf"
mount --bind /dev "$root/dev"
mount --bind /dev/pts "$root/dev/pts"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t proc proc "$root/proc"
git clone -q "$here" "$root/root/deltascope"
in_it() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 chroot "$root" sh -c "cd /root/deltascope && $1"; }
for command in "make demo" "make check"; do
    echo "== $command, on a fresh system"
    in_it "$command"
done
echo "both commands pass on a fresh system"
