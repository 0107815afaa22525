//! The source archive builds on a machine without a network, and without what this user's cargo has downloaded; for another /etc, too.

use std::path::Path;

use crate::{VERSION, file, packages, script};

#[test]
fn it_builds_without_a_network() {
    let archive = file(&format!("condatainer-{VERSION}"), ".tar.xz");
    let directory = tempfile::tempdir_in(packages()).unwrap();
    let text = "tar -xf $1 -C $2; cd $2/*/
        export CARGO_HOME=$2/cargo CARGO_TARGET_DIR=$2/target RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}
        unshare --net make build PROFILE=dev SYSCONFDIR=/opt/etc > $2/log 2>&1 || { tail -n 50 $2/log >&2; exit 1; }
        make -s install PROFILE=dev SYSCONFDIR=/opt/etc DESTDIR=$2/installed
        grep -q ' config=/opt/etc/condatainer/config.toml$' $2/installed/usr/local/share/condatainer/plugstack.conf
        $2/installed/usr/local/bin/condatainer --version";
    let said = script(text, &[&archive, directory.path()]);
    let commit = script("tar -xOf $1 condatainer-$2/packaging/commit", &[&archive, Path::new(VERSION)]);
    let expected =
        format!("condatainer {VERSION} (commit {})\nconfiguration: /opt/etc/condatainer/config.toml\n", commit.trim());
    assert!(said.starts_with(&expected), "{said}");
}
