//! How long it takes to find a layer by name among many.
//!
//! `cargo run --release --example names_time -- DIR COUNT`: fills DIR with COUNT empty modules, then asks for one by its full name,
//! by a range, and by a misspelt name. Prints the median of 200 look-ups of each, opening the library included.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;
use std::time::Instant;

use condatainer_core::config::Config;
use condatainer_core::request::names::{Library, Name};

const TIMES: usize = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let usage = "usage: names_time DIR COUNT";
    let dir = std::env::args().nth(1).ok_or(usage)?;
    let count: usize = std::env::args().nth(2).ok_or(usage)?.parse()?;
    std::fs::create_dir_all(&dir)?;
    for number in 0..count {
        let file = format!("program{}--1.{}.sqf", number / 5, number % 5);
        std::fs::write(Path::new(&dir).join(file), "")?;
    }
    let last = count.saturating_sub(1) / 5;
    let env = HashMap::from([("CONDATAINER_IMAGE_DIRS".into(), dir)]);
    let config = Config::default().with_user(None, &env)?;
    for (what, written) in [
        ("by its full name", format!("program{last}/1.0")),
        ("by a range", format!("program{last}/1.9>=1.1")),
        ("misspelt", format!("progrm{last}/1.0")),
    ] {
        let name = Name::parse(&written)?;
        let mut times: Vec<f64> = (0..TIMES)
            .map(|_| {
                let start = Instant::now();
                let _ = std::hint::black_box(Library::configured(&config, &env).layer(&name));
                start.elapsed().as_secs_f64() * 1000.0
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!("| {what} | {:.3} |", times[TIMES / 2]);
    }
    Ok(())
}
