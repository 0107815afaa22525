//! Times what a read-only start asks about an image's whiteouts: the search through all directories, and the remembered answer.
//!
//! `whiteouts_time IMAGE` prints the median of 20 searches, of 1000 questions to the mark, and what was found. For a cold search drop
//! the page cache before it and ask for one run: `whiteouts_time IMAGE 1`.

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use condatainer_formats::ext::probe::stamp;
use condatainer_formats::ext::{Tree, Window};
use condatainer_images::overlay::whiteout::{find, remembered, scan};

type AnyResult<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> AnyResult<()> {
    let mut arguments = std::env::args_os().skip(1);
    let path = PathBuf::from(arguments.next().ok_or("usage: whiteouts_time IMAGE [SEARCHES]")?);
    let searches = arguments.next().and_then(|n| n.to_str()?.parse().ok()).unwrap_or(20);
    let file = File::open(&path)?;
    let window = Window::whole(file.metadata()?.len());
    let search = median(searches, || scan(&Tree::open(&file, window)?, None).map(drop).map_err(Into::into))?;
    let found = find(&file, window, None)?.ok_or("the search did not end")?;
    println!("search: {:.1} ms; {:?}", search.as_secs_f64() * 1e3, found.kinds);
    let asked = median(1000, || {
        let stamp = stamp(&file, window)?;
        remembered(&file, &stamp).map(drop).ok_or_else(|| "this file system keeps no mark".into())
    })?;
    println!("mark: {:.1} us", asked.as_secs_f64() * 1e6);
    Ok(())
}

fn median(times: usize, mut work: impl FnMut() -> AnyResult<()>) -> AnyResult<Duration> {
    let mut taken = Vec::new();
    for _ in 0..times.max(1) {
        let start = Instant::now();
        work()?;
        taken.push(start.elapsed());
    }
    taken.sort_unstable();
    Ok(taken.get(taken.len() / 2).copied().unwrap_or_default())
}
