# The user must be there before the files that belong to its group.
command -v systemd-sysusers >/dev/null 2>&1 &&
    echo 'u scopeshim - "scopeshim proxy" /var/lib/scopeshim /usr/sbin/nologin' | systemd-sysusers --replace=/usr/lib/sysusers.d/scopeshim.conf - || :
