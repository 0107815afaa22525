//! What is in the packages: every file in one of them, the same in all forms, and nothing that needs a newer C library than 2.28.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::{VERSION, file, packages, script, top};

/// What RHEL 8 and its kin have.
const OLDEST: (u32, u32) = (2, 28);
/// The C library's own files. The others of it became a part of the first with 2.34.
const C_LIBRARY: [&str; 6] =
    ["libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "ld-linux-x86-64.so.2"];

fn debs() -> [PathBuf; 2] {
    ["condatainer_", "condatainer-slurm_"].map(|name| file(name, ".deb"))
}

fn rpms() -> [PathBuf; 2] {
    [file(&format!("condatainer-{VERSION}"), ".rpm"), file("condatainer-slurm-", ".rpm")]
}

/// Everything in the packages, unpacked: the debs, the rpms and the archive beside each other.
fn unpacked() -> tempfile::TempDir {
    let directory = tempfile::tempdir_in(packages()).unwrap();
    let text = "cd $1; mkdir deb rpm archive; for f in \"${@:2:2}\"; do dpkg-deb -x $f deb; done
        for f in \"${@:4:2}\"; do rpm2cpio $f | (cd rpm; cpio -idm --quiet); done; tar -xf $6 -C archive --strip-components=1";
    let archive = file(&format!("condatainer-{VERSION}-"), ".tar.gz");
    let [[deb, deb_slurm], [rpm, rpm_slurm]] = [debs(), rpms()];
    script(text, &[directory.path(), &deb, &deb_slurm, &rpm, &rpm_slurm, &archive]);
    directory
}

/// The files and links below a directory, and directories that are empty.
fn names(directory: &Path) -> BTreeSet<String> {
    let text = "cd $1; find . -mindepth 1 '(' -not -type d -o -type d -empty ')' -printf '%P\\n'";
    script(text, &[directory]).lines().map(str::to_owned).collect()
}

#[test]
fn nothing_needs_a_newer_c_library() {
    let directory = unpacked();
    let programs = "find $1 -type f -exec sh -c 'head -c 4 \"$1\" | grep -qa ELF' sh '{}' ';' -print";
    let programs = script(programs, &[directory.path()]);
    // The command, and the plugin where there is one, the interposer, the relay and the preload.
    assert_eq!(programs.lines().count(), 5 + 5 + 4, "{programs}");
    for program in programs.lines() {
        let symbols = script("objdump -T $1 2>&1 || true", &[Path::new(program)]);
        let versions = symbols.split(['(', ')', ' ']).filter_map(|word| word.strip_prefix("GLIBC_"));
        for version in versions {
            let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(u32::MAX));
            let version = (numbers.next().unwrap(), numbers.next().unwrap_or(0));
            assert!(version <= OLDEST, "{program} needs the C library {version:?}");
        }
        let needed = script("readelf -d $1 | sed -n 's/.*(NEEDED).*\\[\\(.*\\)\\]/\\1/p'", &[Path::new(program)]);
        let other: Vec<&str> = needed.lines().filter(|library| !C_LIBRARY.contains(library)).collect();
        assert!(other.is_empty(), "{program} needs {other:?}");
    }
}

/// Nor does anything say where it was built.
#[test]
fn nothing_names_the_machine_that_built_it() {
    let directory = unpacked();
    let home = std::env::var("HOME").unwrap();
    for path in [top().display().to_string(), format!("{home}/.cargo")] {
        let found = script("grep -rlaF \"$2\" $1 || true", &[directory.path(), Path::new(&path)]);
        assert!(found.is_empty(), "{path}: {found}");
    }
}

/// The first test would see one: this machine's own programs have them.
#[test]
fn a_newer_symbol_would_be_seen() {
    let symbols = script("objdump -T \"$(command -v bash)\"", &[]);
    assert!(symbols.contains("(GLIBC_2.3"), "{symbols}");
}

#[test]
fn packages_ask_for_what_they_need() {
    for deb in debs() {
        let depends = script("dpkg-deb -f $1 Depends", &[&deb]);
        let libc = depends.split(", ").find_map(|word| word.trim().strip_prefix("libc6 (>= 2.")).unwrap();
        let minor: u32 = libc.trim_end_matches(')').parse().unwrap();
        assert_eq!(minor, OLDEST.1, "{depends}");
        let version = script("dpkg-deb -f $1 Version", &[&deb]);
        let needs = format!("condatainer (= {})", version.trim());
        assert_eq!(depends.contains(&needs), deb == debs()[1], "{depends}");
    }
    let requires = script("rpm -qp --requires $1", &[&rpms()[1]]);
    let version = script("rpm -qp --qf '%{VERSION}-%{RELEASE}' $1", &[&rpms()[1]]);
    assert!(requires.contains(&format!("condatainer(x86-64) = {version}")), "{requires}");
    assert!(!requires.contains("GLIBC_2.29") && requires.contains("libc.so.6(GLIBC_2."), "{requires}");
}

/// A file that is in no package would have ended `dh_missing` or rpmbuild. What differs is what distributions ask for.
#[test]
fn all_forms_have_the_same_files() {
    let directory = unpacked();
    let [deb, rpm, archive] = ["deb", "rpm", "archive"].map(|name| names(&directory.path().join(name)));
    let debians =
        |name: &String| name.starts_with("usr/share/doc/") && name.ends_with(".gz") || name.ends_with("/copyright");
    let renamed =
        |name: &String| name.replace("site-functions", "vendor-completions").trim_end_matches(".gz").to_owned();
    let deb: BTreeSet<_> = deb.iter().filter(|name| !debians(name)).map(renamed).collect();
    assert_eq!(deb, rpm.iter().map(renamed).collect());
    // Somebody who is not root has no use for the plugin, nor for what root sets up.
    let of_root = |name: &&String| {
        name.starts_with("etc/") || name.starts_with("usr/lib/") || name.starts_with("usr/share/condatainer/")
    };
    let rest = rpm.iter().filter(|name| !of_root(name)).map(|name| name.trim_start_matches("usr/").to_owned());
    assert_eq!(archive, rest.collect());
    for name in [
        "bin/condatainer",
        "libexec/condatainer/stack",
        "share/doc/condatainer/docs/start.md",
        "share/man/man1/condatainer.1",
    ] {
        assert!(archive.contains(name), "{name}");
    }
    for name in ["usr/lib/slurm/spank_condatainer.so", "usr/share/condatainer/apparmor", "etc/condatainer"] {
        assert!(rpm.contains(name), "{name}");
    }
}
