//! How long a chown takes: `cargo run --release --example chown_time -- IMAGE UID GID`.
//!
//! Prints what `chown` reports and the seconds it took, reading back and fsync included. The tables in the documentation
//! come from here.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use condatainer_formats::ext::Ids;
use condatainer_images::verbs::chown::{Request, chown};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [image, uid, gid] = arguments.as_slice() else { return Err("usage: chown_time IMAGE UID GID".into()) };
    let target = Ids { uid: uid.parse()?, gid: gid.parse()? };
    let start = Instant::now();
    let report = chown(Path::new(image), &Request::new(target, target), &mut |_, _| {})?;
    println!("{:.3} s: {} inodes, {} changed", start.elapsed().as_secs_f64(), report.scanned, report.changed);
    Ok(())
}
