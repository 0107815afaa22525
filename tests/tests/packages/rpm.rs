//! The RPM packages, with Debian's rpm and dnf in a root of their own: installed, upgraded, removed. The system around them is a package
//! that provides what they ask of it, so what is not tried is named: the dependencies of a real Fedora, RHEL or SUSE, and Slurm there.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{VERSION, file, packages, run, script, top};

/// Runs dnf on the root `$1` with the repository `$2`.
const DNF: &str = "dnf -q -y --installroot=$1 --releasever=1 --setopt=reposdir=/nowhere --setopt=cachedir=$1/cache --setopt=metadata_expire=0 \
    --setopt=install_weak_deps=0 --nogpgcheck --repofrompath=ours,$2 --repo=ours";

/// The C library's symbols and a shell, as a real system has them.
const SYSTEM: &str = "Name: the-system\nVersion: 1\nRelease: 1\nSummary: what is there\nLicense: none\nBuildArch: noarch\nAutoReqProv: no\n";

fn system(repository: &Path) {
    let requires =
        "for p in $1/*.rpm; do rpm -qp --requires $p; done | grep -v -e '^rpmlib' -e '^condatainer' | sort -u";
    let provides: String = script(requires, &[repository]).lines().map(|what| format!("Provides: {what}\n")).collect();
    // Nothing but the C library and a shell may be asked for.
    for line in provides.lines() {
        let what = line.trim_start_matches("Provides: ");
        assert!(
            what.starts_with("lib") || what.starts_with("ld-linux") || what.starts_with("rtld") || what == "/bin/sh",
            "{what}"
        );
    }
    let spec = repository.join("the-system.spec");
    fs::write(&spec, format!("{SYSTEM}{provides}%description\nwhat is there\n%files\n")).unwrap();
    let define = |name: &str, value: String| [String::from("--define"), format!("{name} {value}")];
    let mut build = Command::new("rpmbuild");
    build.arg("-bb").args(define("_topdir", repository.join("build").display().to_string()));
    build.args(define("_rpmdir", repository.display().to_string())).arg(&spec);
    run(&mut build);
}

#[test]
fn installed_upgraded_removed() {
    let directory = tempfile::tempdir_in(packages()).unwrap();
    let (root, repository) = (directory.path().join("root"), directory.path().join("repository"));
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::create_dir(&repository).unwrap();
    for name in [format!("condatainer-{VERSION}"), "condatainer-slurm-".into()] {
        let rpm = file(&name, ".rpm");
        fs::copy(&rpm, repository.join(rpm.file_name().unwrap())).unwrap();
    }
    system(&repository);
    // Scripts of the packages run in the root: it gets a shell and what they call.
    script(
        "mkdir -p $1/usr/bin $1/proc; rmdir $1/bin; ln -s usr/bin $1/bin; cp $(command -v busybox) $1/bin/; for p in sh grep readlink ln rm; do ln -s busybox $1/bin/$p; done",
        &[&root],
    );
    let dnf = |words: &str| script(&format!("createrepo_c -q $2; {DNF} {words}"), &[&root, &repository]);
    let installed = || script("rpm --root $1 -qa --qf '%{NAME} %{VERSION}\\n' | sort", &[&root]);

    dnf("install condatainer-slurm");
    assert_eq!(installed(), format!("condatainer {VERSION}\ncondatainer-slurm {VERSION}\nthe-system 1\n"));
    let said = script("rpm --root $1 -V condatainer condatainer-slurm", &[&root]);
    assert!(said.is_empty(), "{said}");
    let program = root.join("usr/bin/condatainer");
    assert!(run(Command::new(&program).arg("--version")).starts_with(&format!("condatainer {VERSION} ")));

    let mut build = Command::new(top().join("packaging/build-rpm"));
    run(build.args([&packages().join("staged"), &repository]).arg("99.0-1"));
    // Whoever has the old program open keeps it.
    let running = fs::File::open(&program).unwrap();
    dnf("upgrade");
    assert_eq!(installed(), "condatainer 99.0\ncondatainer-slurm 99.0\nthe-system 1\n");
    assert_eq!(running.metadata().unwrap().len(), fs::metadata(&program).unwrap().len());

    fs::create_dir_all(root.join("etc/slurm")).unwrap();
    let plugstack = root.join("etc/slurm/plugstack.conf");
    fs::write(&plugstack, "required /usr/lib/slurm/spank_condatainer.so\n").unwrap();
    let refused = script("rpm --root $1 -e condatainer-slurm 2>&1 && exit 1 || true", &[&root]);
    assert!(refused.contains("comment that line first"), "{refused}");
    fs::write(&plugstack, "include /usr/share/condatainer/plugstack.conf\n").unwrap();
    dnf("remove --noautoremove condatainer condatainer-slurm");
    assert_eq!(installed(), "the-system 1\n");
    let left = script("find $1/usr $1/etc -name '*condatainer*'", &[&root]);
    assert!(left.is_empty(), "{left}");
}
