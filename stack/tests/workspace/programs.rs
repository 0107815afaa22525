//! Programs that depend on what a disk does.

use super::Test;
use super::place::{Place, Who, same};

pub(crate) const TESTS: &[Test] = &[
    ("git_works", git_works),
    ("sqlite_works", sqlite_works),
    ("trees_are_copied_and_packed", trees_are_copied_and_packed),
    ("a_name_is_renamed_over_another_of_its_file", a_name_is_renamed_over_another_of_its_file),
];

fn git_works() -> Result<(), String> {
    let script = r#"command -v git > /dev/null || { echo "NOT COVERED: no git here"; exit 0; }
        cd $D; export HOME=$D GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
        git init -q r; cd r; for i in 1 2 3; do seq $i 500 > f$i; git add .; git commit -qm $i; done; git gc -q; git fsck; cd ..
        git clone -q r s; cd s; test "$(git log --oneline | wc -l)" = 3; git fsck; git checkout -q HEAD~1; test -z "$(git status --short)"; git repack -adq"#;
    sessions(
        script,
        "cd $D; test ! -d s || { export HOME=$D; cd s; git fsck 2> /dev/null; git status --short; cd ..; rm -rf r s; ls -A; }",
    )
}

/// With a log of its own beside it, which is shared memory; and with one that it removes each time.
fn sqlite_works() -> Result<(), String> {
    let script = r#"command -v sqlite3 > /dev/null || { echo "NOT COVERED: no sqlite3 here"; exit 0; }
        cd $D; for mode in wal delete; do
            sqlite3 $mode.db "pragma journal_mode=$mode; create table t(a integer primary key, b text);" > /dev/null
            seq 150 | sed "s/.*/insert into t(b) values(hex(randomblob(&)));/" | sqlite3 $mode.db
            test "$(sqlite3 $mode.db 'select count(*) from t; pragma integrity_check; vacuum; pragma integrity_check')" = "$(printf '150\nok\nok')"
        done"#;
    sessions(
        script,
        "cd $D; for db in *.db; do test ! -e $db || test \"$(sqlite3 $db 'pragma integrity_check')\" = ok; done; rm -f *; ls -A",
    )
}

fn trees_are_copied_and_packed() -> Result<(), String> {
    let script = "cd $D; mkdir -p a/b/c; for i in $(seq 60); do seq $i 400 > a/b/$i; done; ln a/b/1 a/c; ln -s b/1 a/l; touch -d @1000 a/b/2; chmod 4711 a/b/3
        truncate -s 5G a/sparse; cp -a a b; diff -r a/b b/b; test $(stat -c %h b/c) = 2; test $(stat -c %Y:%a b/b/2) = 1000:644; test $(stat -c %a b/b/3) = 4711
        test $(du -k b/sparse | cut -f1) -lt 100; rm b/sparse; tar -cf t.tar b; rm -r b; tar -xf t.tar; diff -r a/b b/b; test $(stat -c %i b/c) = $(stat -c %i b/b/1)";
    sessions(script, "cd $D; diff -r a/b b/b; rm -r a b t.tar; ls -A")
}

/// rename(2) leaves both then, and mv(1) sees that they are one file.
fn a_name_is_renamed_over_another_of_its_file() -> Result<(), String> {
    let script = "cd $D; echo x > a; ln a b; perl -e 'rename \"a\", \"b\" or die'; test \"$(ls | xargs)\" = 'a b'; echo y >> a; test \"$(xargs < b)\" = 'x y'
        test $(stat -c %h a) = 2; ! mv a b 2> /dev/null; rm a; test \"$(ls)\" = b; test $(stat -c %h b) = 1; test \"$(xargs < b)\" = 'x y'";
    sessions(script, "cd $D; test \"$(ls)\" = b; test \"$(xargs < b)\" = 'x y'; rm b; ls -A")
}

/// What one session makes, another one finds.
fn sessions(script: &str, then: &str) -> Result<(), String> {
    let place = Place::new(48, &[], |_, _| {});
    for who in [Who::Plain, Who::Range] {
        let said = place.script(who, script).fine()?;
        if said.contains("NOT COVERED") {
            println!("{said}");
        }
        place.check()?;
        same(place.script(who, then).fine()?, String::new())?;
        place.check()?;
    }
    Ok(())
}
