#!/bin/sh
# Makes a folder the whole world of systemd as process 1. Runs in namespaces of its own (see machine.py).
# usage: boot.sh ROOT
set -e

mount --make-rprivate /
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
# What belongs to every machine on this kernel stays as it is.
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755,nosuid tmpfs dev
for node in null zero full random urandom tty; do
    : >"dev/$node"
    mount --bind "/dev/$node" "dev/$node"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs run
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs tmp
mkdir -p outside
pivot_root . outside
umount -l outside
rmdir outside
# systemd mounts credentials from a namespace below its own.
mount --make-rshared /
# Process 1 learns from `container` that it is not the machine's own.
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    setpriv --bounding-set=-sys_rawio,-sys_module,-sys_time,-sys_boot,-syslog \
    /lib/systemd/systemd --unit=basic.target --log-target=journal --show-status=false
