if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    if [ "$1" -ge 1 ]; then
        # Not the socket: clients that connect meanwhile wait there.
        systemctl try-restart scopeshim.service || :
    fi
fi
if [ "$1" -eq 0 ]; then
    # rpm removes the directories it was told of, and cargo-generate-rpm tells it of none.
    for dir in /usr/share/scopeshim/* /usr/share/scopeshim /usr/share/doc/scopeshim/docs/* /usr/share/doc/scopeshim/* \
        /usr/share/doc/scopeshim /usr/share/licenses/scopeshim /etc/scopeshim; do
        rmdir "$dir" 2>/dev/null || :
    done
fi
