//! The least that a chown of a whole image can cost: reads the inode tables in use and writes them back as they are.
//!
//! `dumpe2fs IMAGE | cargo run --release --example table_time -- IMAGE`. Prints the seconds it took, fsync included, and the
//! bytes. Parts of the tables that are holes of the file are left out, as they are by a chown. The image must be in nobody's use.

use std::error::Error;
use std::fs::File;
use std::io::BufRead;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use nix::unistd::{Whence, lseek};

const PIECE: u64 = 256 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let image = std::env::args().nth(1).ok_or("usage: dumpe2fs IMAGE | table_time IMAGE")?;
    let tables = tables(&mut std::io::stdin().lock())?;
    let start = Instant::now();
    let file = File::options().read(true).write(true).open(image)?;
    let (mut bytes, mut buffer) = (0, Vec::new());
    for (at, end) in tables {
        bytes += rewrite(&file, at, end, &mut buffer)?;
    }
    file.sync_all()?;
    println!("{:.3} s: {bytes} bytes read and written", start.elapsed().as_secs_f64());
    Ok(())
}

/// First byte, and first byte behind, of each table, from the lines `Block size:` and `Inode table at A-B` of dumpe2fs.
fn tables(lines: &mut dyn BufRead) -> Result<Vec<(u64, u64)>, Box<dyn Error>> {
    let (mut block, mut tables) = (0, Vec::new());
    for line in lines.lines() {
        let line = line?;
        if let Some(size) = line.strip_prefix("Block size:") {
            block = size.trim().parse()?;
        }
        if let Some((_, range)) = line.split_once("Inode table at ") {
            let range = range.split([' ', ',']).next().unwrap_or_default();
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            tables.push((first.parse::<u64>()? * block, (last.parse::<u64>()? + 1) * block));
        }
    }
    Ok(tables)
}

fn rewrite(file: &File, mut at: u64, end: u64, buffer: &mut Vec<u8>) -> Result<u64, Box<dyn Error>> {
    let mut bytes = 0;
    while let Some((start, stop)) = data(file, at, end)? {
        at = start;
        while at < stop {
            let length = PIECE.min(stop - at);
            buffer.resize(usize::try_from(length)?, 0);
            file.read_exact_at(buffer, at)?;
            file.write_all_at(buffer, at)?;
            at += length;
        }
        bytes += stop - start;
    }
    Ok(bytes)
}

fn data(file: &File, at: u64, end: u64) -> Result<Option<(u64, u64)>, Box<dyn Error>> {
    let seek = |from: u64, whence| Ok::<u64, Box<dyn Error>>(lseek(file, i64::try_from(from)?, whence)?.try_into()?);
    let Ok(start) = seek(at, Whence::SeekData) else { return Ok(None) };
    if at >= end || start >= end {
        return Ok(None);
    }
    Ok(Some((start, seek(start, Whence::SeekHole)?.min(end))))
}
