//! What programs rely on: names that move, files that are made to last before they get theirs, a database with its journal, and directories that
//! grow and shrink.

use condatainer_formats::ext::raw::ROOT_INO;
use condatainer_writer::Renaming;

use super::hand::{Hand, Things, at};

/// What a file has: never a zero, and different in each.
pub fn text(name: &str, length: usize) -> Vec<u8> {
    format!("{name};").into_bytes().into_iter().cycle().take(length).collect()
}

/// Files and directories change places.
pub fn renames(hand: &mut Hand) {
    let mut random = fastrand::Rng::with_seed(7);
    let directories = ["a", "b", "c"].map(|name| hand.mkdir((ROOT_INO, name), 0o755));
    for (number, directory) in directories.iter().cycle().take(24).enumerate() {
        let name = format!("n{number}");
        if number % 4 == 3 {
            hand.mkdir((*directory, &name), 0o755);
        } else {
            let ino = hand.create((*directory, &name), 0o644);
            hand.write(ino, 0, &text(&name, number * 300));
        }
    }
    hand.pause();
    for turn in 0..700 {
        let name = |random: &mut fastrand::Rng| format!("n{}", random.u8(0..24));
        let (from, to) =
            ((directories[random.usize(..3)], name(&mut random)), (directories[random.usize(..3)], name(&mut random)));
        let (from, to) = ((from.0, &*from.1), (to.0, &*to.1));
        let kinds = [from, to].map(|at| hand.found(at).map(|ino| hand.is_directory(ino)));
        match (kinds[0], kinds[1], random.u8(0..6)) {
            (Some(_), Some(_), 0) if hand.found(from) != hand.found(to) => hand.exchange(from, to),
            (Some(false), Some(false), 1) if hand.found(from) != hand.found(to) => {
                hand.rename(from, to, Renaming { whiteout: true, ..Renaming::default() });
            }
            (Some(one), Some(other), _) if one == other && hand.found(from) != hand.found(to) => hand.replace(from, to),
            (Some(_), None, _) => hand.replace(from, to),
            _ => {}
        }
        match turn % 20 {
            7 => hand.sync(from.0),
            19 => hand.pause(),
            _ => {}
        }
    }
}

/// As editors and git write: under another name, made to last, renamed, and the directory made to last.
pub fn replacements(hand: &mut Hand) {
    let directory = hand.mkdir((ROOT_INO, "d"), 0o755);
    for turn in 0..40_usize {
        let name = format!("f{}", turn % 7);
        let ino = hand.create((directory, "tmp"), 0o600);
        hand.write(ino, 0, &text(&format!("{name} {turn}"), turn * 911 % 18_000));
        hand.sync(ino);
        hand.replace((directory, "tmp"), (directory, &name));
        if turn % 3 != 0 {
            hand.sync(directory);
        }
        // A log that grows line by line.
        let log = hand.found((directory, "log")).unwrap_or_else(|| hand.create((directory, "log"), 0o644));
        let size = hand.size(log);
        hand.write(log, size, &text(&format!("line {turn}"), 100));
        if turn % 8 == 7 {
            hand.sync(log);
        }
        if turn == 25 {
            hand.empty(log);
        }
    }
}

/// Pages of the database.
const PAGES: u64 = 12;
const PAGE: usize = 2048;

fn page(number: u64, version: u64) -> Vec<u8> {
    text(&format!("page {number} of version {version}"), PAGE)
}

/// As SQLite changes a database: what will be overwritten stands in a journal that lasts first; without it, the change counts. Every third time
/// the journal is emptied, as `journal_mode=TRUNCATE` does it.
pub fn database(hand: &mut Hand) {
    let directory = hand.mkdir((ROOT_INO, "d"), 0o755);
    let database = hand.create((directory, "db"), 0o644);
    for number in 0..PAGES {
        hand.write(database, number * PAGE as u64, &page(number, 0));
    }
    hand.sync(database);
    hand.sync(directory);
    let mut versions = [0; PAGES as usize];
    for version in 1..22_u64 {
        let journal =
            hand.found((directory, "db-journal")).unwrap_or_else(|| hand.create((directory, "db-journal"), 0o644));
        let changed: Vec<u64> = (0..PAGES).filter(|number| (number + version) % 3 == 0).collect();
        hand.write(journal, 0, &[0xFF; 16]);
        let mut end = 16;
        for number in &changed {
            let record = [&number.to_le_bytes()[..], &page(*number, versions[*number as usize])].concat();
            hand.write(journal, end, &record);
            end += record.len() as u64;
        }
        hand.sync(journal);
        hand.write(journal, 0, &text(&format!("{:>2}", changed.len()), 16));
        hand.sync(journal);
        for number in changed {
            versions[number as usize] = version;
            hand.write(database, number * PAGE as u64, &page(number, version));
        }
        hand.sync(database);
        if version % 3 == 0 {
            hand.empty(journal);
        } else {
            hand.remove((directory, "db-journal"));
        }
        // From here on the change counts, once that lasts.
        hand.note(version);
        if version % 4 == 0 {
            hand.sync(directory);
        }
    }
}

/// What SQLite makes of it when it opens it: one version, and not one before the last that was known to count.
pub fn database_is_whole(hand: &Hand, state: usize, found: &Things) -> Result<(), String> {
    let Some(database) = at(found, "d/db").filter(|_| hand.noted(state) > 0) else { return Ok(()) };
    let mut content = database.content.clone();
    let journal = at(found, "d/db-journal").map(|journal| &journal.content).filter(|journal| journal.len() > 16);
    let count = journal.and_then(|journal| std::str::from_utf8(&journal[..2]).ok()?.trim().parse::<usize>().ok());
    if let (Some(journal), Some(count)) = (journal, count) {
        let records: Vec<_> = journal[16..].chunks(8 + PAGE).collect();
        assert!(
            records.len() >= count && records[count - 1].len() == 8 + PAGE,
            "the journal counts, and is not all there"
        );
        for record in &records[..count] {
            let number = u64::from_le_bytes(record[..8].try_into().unwrap()) as usize;
            content[number * PAGE..][..PAGE].copy_from_slice(&record[8..]);
        }
    }
    let versions: Vec<u64> = (0..PAGES)
        .zip(content.chunks(PAGE))
        .map(|(number, bytes)| (0..22).rfind(|version| page(number, *version) == bytes).expect("a page of no version"))
        .collect();
    let version = hand.noted(state);
    let wanted = |version: u64| -> Vec<u64> {
        (0..PAGES).map(|number| (0..=version).rfind(|v| *v == 0 || (number + v) % 3 == 0).unwrap()).collect()
    };
    if versions == wanted(version) { Ok(()) } else { Err(format!("{versions:?} is not version {version}")) }
}

/// A directory becomes an index of two levels, and loses its names again.
pub fn growth(hand: &mut Hand) {
    let directory = hand.mkdir((ROOT_INO, "d"), 0o755);
    let name = |number: usize| format!("{number}-{}", "name".repeat(45 + number % 5));
    for number in 0..420 {
        hand.create((directory, &name(number)), 0o644);
        if number % 12 == 0 {
            hand.pause();
        }
    }
    for number in (0..420).step_by(3) {
        let (from, to) = (name(number), name(number + 1000));
        hand.replace((directory, &from), (directory, &to));
        if number % 30 == 0 {
            hand.sync(directory);
        }
    }
    for number in (0..420).filter(|number| number % 3 > 0) {
        hand.remove((directory, &name(number)));
        if number % 30 == 1 {
            hand.pause();
        }
    }
}
