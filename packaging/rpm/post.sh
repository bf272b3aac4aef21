command -v systemd-tmpfiles >/dev/null 2>&1 && systemd-tmpfiles --create scopeshim.conf || :
# First installation: as the distribution's presets say, which is not to start it.
if [ "$1" -eq 1 ] && [ -d /run/systemd/system ]; then
    systemctl --no-reload preset scopeshim.service || :
fi
