//! Content: what fits, what does not, and what is seen of it by which name.

use super::place::{Place, Who, same};
use super::{Test, chance};

pub(crate) const TESTS: &[Test] = &[
    ("nothing_differs_from_the_kernels_own", nothing_differs_from_the_kernels_own),
    ("a_shared_mapping_that_does_not_fit_is_told", a_shared_mapping_that_does_not_fit_is_told),
    ("each_name_shows_what_was_written_by_another", each_name_shows_what_was_written_by_another),
    ("content_is_what_was_written", content_is_what_was_written),
    ("what_is_open_when_all_ends_leaves_nothing", what_is_open_when_all_ends_leaves_nothing),
    ("a_full_disk_is_told_at_each_step", a_full_disk_is_told_at_each_step),
    ("what_cannot_be_freed_is_told_to_the_user", what_cannot_be_freed_is_told_to_the_user),
];

/// As `condatainer o` makes it, with blocks of 1 KiB and inodes of 128 bytes, and as NYU makes it.
const SHAPES: [&[&str]; 3] = [&[], &["-b", "1024", "-I", "128"], &["-b", "4096", "-I", "128", "-N", "2000"]];

fn nothing_differs_from_the_kernels_own() -> Result<(), String> {
    for shape in SHAPES {
        let place = Place::new(64, shape, |_, _| {});
        let other = Place::new(64, shape, |_, _| {});
        let _oracle = place.mount(&other.image(), "oracle");
        place.inside(Who::Plain, &["compare", &chance::runs(6).to_string()])?;
        place.check()?;
    }
    Ok(())
}

fn a_shared_mapping_that_does_not_fit_is_told() -> Result<(), String> {
    let place = Place::new(8, &[], |_, _| {});
    place.inside(Who::Plain, &["map"])?;
    place.check()
}

fn each_name_shows_what_was_written_by_another() -> Result<(), String> {
    for shape in SHAPES {
        let place = Place::new(8, shape, |_, _| {});
        place.inside(Who::Plain, &["several"])?;
        place.check()?;
    }
    Ok(())
}

fn content_is_what_was_written() -> Result<(), String> {
    for ((seed, shape), who) in (chance::seed()..).zip(SHAPES).zip([Who::Plain, Who::Root, Who::Range]) {
        let place = Place::new(24, shape, |_, _| {});
        place.inside(who, &["fsx", &seed.to_string(), &(chance::runs(30) * 20).to_string()])?;
        place.check()?;
    }
    Ok(())
}

fn what_is_open_when_all_ends_leaves_nothing() -> Result<(), String> {
    let place = Place::new(16, &[], |_, _| {});
    let script = "cd $D; mkdir d; for i in $(seq 300); do echo x > d/$i; done; echo open > f
        exec 3<f; rm f; sh -c 'exec 4>>g; rm g; echo more >&4; kill -9 $$' || true; rm -r d; kill -9 $$";
    let done = place.script(Who::Plain, script);
    same((done.code, done.said.as_str()), (99, "Killed"))?;
    place.check()
}

/// What fitted is there in the next session, and the image is in order, wherever the disk below it was full.
fn a_full_disk_is_told_at_each_step() -> Result<(), String> {
    let mut told = 0;
    for step in 0..12 {
        let place = Place::on(Some(16 << 20), 32, &["-J", "size=1"], |_, _| {});
        place.leave((step * 200) << 10);
        let script = "cd $D; mkdir d; for i in $(seq 40); do
                head -c 30000 /dev/zero | tr '\\0' x > d/$i || exit 3; test $((i % 8)) != 0 || sync d/$i || exit 3; done
            mv d e; echo all > e/end";
        let done = place.script(Who::Plain, script);
        let is_told = done.said.contains("No space left") || done.said.contains("cannot");
        match done.code {
            0 => {}
            3 | 1 if is_told => told += 1,
            125 => {}
            code => return Err(format!("step {step}, code {code}: {}", done.said)),
        }
        place.check().map_err(|why| format!("step {step}: {why}\n{}", done.said))?;
        if done.code == 0 {
            same(place.script(Who::Plain, "ls $D/e | wc -l; cat $D/e/end").fine()?, "41\nall".into())?;
        }
    }
    if told == 0 { Err("no disk was full".into()) } else { Ok(()) }
}

/// The file has lost its name, which is all that the program has asked for.
fn what_cannot_be_freed_is_told_to_the_user() -> Result<(), String> {
    let place = Place::new(16, &[], |content, _| std::fs::write(content.join("upper/f"), "x").unwrap());
    place.change(&["set_inode_field /upper/f block[0] 1"]);
    let done = place.script(Who::Plain, "cd $D; rm f; test ! -e f; echo y > g; cat g");
    let said = done.fine()?;
    let told: Vec<_> = said.lines().filter(|line| line.starts_with("server: image: ")).collect();
    same((said.lines().next(), told.len()), (Some("y"), 1)).map_err(|why| format!("{why}: {said}"))
}
