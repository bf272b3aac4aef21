#!/bin/sh
# Tries what a service must not be able to do, and a few things it must; prints which went well.
try() {
    name=$1
    shift
    if "$@" >/dev/null 2>&1; then echo "$name can"; else echo "$name cannot"; fi
}
state=${STATE_DIRECTORY:-/var/lib/scopeshim}
try write-state touch "$state/probe"
try write-runtime touch "${RUNTIME_DIRECTORY:-/run}/tried"
try read-configuration cat /etc/scopeshim/config.toml
try internet-socket perl -e 'socket(S, 2, 1, 0) or exit 1'
try write-root touch /probe
try write-usr touch /usr/bin/probe
try write-its-own-elsewhere touch /opt/its-own/probe
try write-configuration touch /etc/scopeshim/probe
try read-shadow cat /etc/shadow
try see-homes ls /root
try see-others test -d /proc/1/fd
try see-temporary-files test -e /tmp/left-by-somebody
try netlink-socket perl -e 'socket(S, 16, 3, 0) or exit 1'
try make-namespaces unshare --mount true
try mount-something mount -t tmpfs tmpfs /mnt
try change-owner chown 1:1 "$state/probe"
try set-user-bit chmod u+s "$state/probe"
try change-personality setarch i386 true
try real-time chrt -f 1 true
try change-priority renice -n 5 -p $$
try change-host-name sh -c 'hostname "$(hostname)"'
try signal-others kill -0 1
rm -f "$state/probe" /run/tried /probe /usr/bin/probe /etc/scopeshim/probe /opt/its-own/probe
exit 0
