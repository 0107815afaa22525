//! How long a probe takes and how much it reads: `cargo run --release --example probe_time -- IMAGE [RUNS]`.
//!
//! Prints the first probe (cold, when the image was dropped from the page cache before) and the median of RUNS warm ones, in
//! microseconds, each with opening and identifying the file, and the number and bytes of the reads of the probe itself. The
//! tables in the documentation come from here.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use condatainer_formats::ext::{Effort, probe_measured};
use condatainer_images::image;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let image = arguments.next().ok_or("usage: probe_time IMAGE [RUNS]")?;
    let runs: usize = arguments.next().map_or(Ok(1000), |runs| runs.parse())?;
    let (first, effort) = once(Path::new(&image))?;
    let mut warm = Vec::with_capacity(runs);
    for _ in 0..runs.max(1) {
        warm.push(once(Path::new(&image))?.0);
    }
    warm.sort();
    let median = warm.get(warm.len() / 2).copied().unwrap_or_default();
    println!("first {:.1} µs, median of {} {:.1} µs", micros(first), warm.len(), micros(median));
    println!("{} reads, {} bytes", effort.reads, effort.bytes);
    Ok(())
}

fn once(path: &Path) -> Result<(Duration, Effort), Box<dyn Error>> {
    let start = Instant::now();
    let opened = image::open(path)?;
    let window = opened.image.ext_window().ok_or("there is no ext file system in it")?;
    let (probe, effort) = probe_measured(&opened.file, window)?;
    let taken = start.elapsed();
    probe.upper.require("upper")?;
    Ok((taken, effort))
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
