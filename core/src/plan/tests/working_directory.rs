//! Where commands start, for callers in all kinds of places.

use super::*;

fn place(path: &str, logical: Option<&str>) -> WorkingDirectory {
    WorkingDirectory { path: path.into(), logical: logical.map(PathBuf::from), identity: (1, 2), problem: None }
}

fn decided(named: Option<&str>, place: &WorkingDirectory) -> Result<Directory, Refusal> {
    Directory::decide(named.map(Path::new), place)
}

fn directory(paths: &[&str], identity: Option<(u64, u64)>, engine: Option<&str>) -> Directory {
    Directory { paths: paths.iter().map(PathBuf::from).collect(), identity, engine: engine.map(PathBuf::from) }
}

#[test]
fn the_callers_own() {
    assert_eq!(decided(None, &place("/scratch/p", None)).unwrap(), directory(&["/scratch/p"], Some((1, 2)), None));
    let through_a_link = place("/scratch/p", Some("/home/a/p"));
    let expected = directory(&["/home/a/p", "/scratch/p"], Some((1, 2)), Some("/scratch/p"));
    assert_eq!(decided(None, &through_a_link).unwrap(), expected);
    let named = decided(Some("/w"), &through_a_link).unwrap();
    assert_eq!(named, directory(&["/w"], None, Some("/scratch/p")));
}

#[test]
fn the_containers_own() {
    assert_eq!(decided(None, &place("/", None)).unwrap(), directory(&["/"], None, Some("/")));
    assert_eq!(
        decided(None, &place("/usr/bin", Some("/bin"))).unwrap(),
        directory(&["/bin", "/usr/bin"], None, Some("/"))
    );
    assert_eq!(decided(None, &place("/proc/7", None)).unwrap().identity, None);
    assert_eq!(decided(None, &place("/usr/local/src", None)).unwrap().identity, Some((1, 2)));
}

#[test]
fn places_that_cannot_be_shown() {
    let closed = WorkingDirectory { problem: Some("Permission denied".into()), ..place("/x", None) };
    let why = |place: &WorkingDirectory| decided(None, place).unwrap_err().to_string();
    assert!(why(&closed).starts_with("/x: the working directory cannot be shown in a container: Permission denied"));
    assert!(why(&place("/ext3/env", None)).contains("layers have a directory of their own there"));
    let named = directory(&["/w"], None, Some("/"));
    assert_eq!(
        [decided(Some("/w"), &closed).unwrap(), decided(Some("/w"), &place("/cnt/x", None)).unwrap()],
        [named.clone(), named]
    );
}
