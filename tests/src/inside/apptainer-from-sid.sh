# Of sid, take apptainer and nothing else: what it depends on must come from the release itself, or apt refuses.
mkdir -p "$1/etc/apt/preferences.d"
cat > "$1/etc/apt/preferences.d/apptainer-from-sid" <<'PIN'
Package: *
Pin: release n=sid
Pin-Priority: -1

Package: apptainer
Pin: release n=sid
Pin-Priority: 990
PIN
