//! What is bound for a directory that is to be seen, and what is not.

use super::*;

fn bind(source: &str, destination: &str) -> Bind {
    Bind { source: source.into(), destination: destination.into(), read_only: false }
}

/// A home that is a link, and the usual mounts.
fn host(offers: &[(&str, &str)]) -> HostDirectories {
    HostDirectories {
        offers: offers.iter().map(|(written, path)| Offer { written: written.into(), path: path.into() }).collect(),
        shown: vec![bind("/tmp", "/tmp"), bind("/lustre", "/lustre")],
        made: Vec::new(),
        home: Some(bind("/net/alice", "/home/alice")),
        shows_working_directory: true,
        shows_more: false,
    }
}

fn at(path: &str) -> WorkingDirectory {
    WorkingDirectory { path: path.into(), ..WorkingDirectory::default() }
}

fn binds(offers: &[(&str, &str)]) -> Vec<String> {
    all(&[], &host(offers), &at("/work/p"), false).iter().map(Bind::to_string).collect()
}

#[test]
fn what_is_not_shown_yet() {
    assert_eq!(binds(&[("/scratch/a", "/scratch/a")]), ["/scratch/a:/scratch/a"]);
    assert_eq!(binds(&[("/data/a", "/srv/a")]), ["/srv/a:/data/a"], "a link that the container has not got");
    assert_eq!(binds(&[("/home/alice/s", "/scratch/a")]), ["/scratch/a:/scratch/a"], "a link that it has");
    assert_eq!(binds(&[("/s/a/tmp", "/s/a/tmp"), ("/s/a", "/s/a"), ("/s/a", "/s/a")]), ["/s/a:/s/a"]);
    assert_eq!(binds(&[("/work", "/work")]), ["/work:/work"]);
}

#[test]
fn what_is_shown_already() {
    for (written, path) in [
        ("/tmp/a", "/tmp/a"),
        ("/lustre/a", "/lustre/a"),
        ("/home/alice", "/net/alice"),
        ("/home/alice/tmp", "/net/alice/tmp"),
        ("/home/alice/s", "/tmp/a"),
        ("/work/p/tmp", "/work/p/tmp"),
    ] {
        assert_eq!(binds(&[(written, path)]), [""; 0], "{written}");
    }
    let asked = [bind("/elsewhere", "/scratch")];
    let binds = all(&asked, &host(&[("/scratch", "/scratch")]), &at("/work/p"), false);
    assert_eq!(binds, asked, "the user's own is in its place");
}

#[test]
fn what_would_hide_the_container() {
    for path in
        ["/", "/usr", "/usr/local/tmp", "/etc/x", "/proc/self", "/dev/shm", "/ext3/tmp", "/cnt/x", "/var", "/run"]
    {
        assert_eq!(binds(&[(path, path)]), [""; 0], "{path}");
    }
    assert_eq!(binds(&[("/var/scratch", "/var/scratch")]).len(), 1);
}

#[test]
fn fakeroot_shows_the_home_elsewhere() {
    let place = at("/home/alice/p");
    let home = HostDirectories {
        home: Some(bind("/home/alice", "/home/alice")),
        ..host(&[("/home/alice/tmp", "/home/alice/tmp")])
    };
    assert!(all(&[], &home, &place, false).is_empty());
    assert_eq!(all(&[], &home, &place, true), [bind("/home/alice/tmp", "/home/alice/tmp")]);
}
