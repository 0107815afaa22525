//! `condatainer info DIRECTORY`: the images in a directory that is no layer itself, one a line.

use std::path::{Path, PathBuf};

use anstyle::{AnsiColor, Style};
use condatainer_formats::size::Size;
use condatainer_images::system::escape::one_line;
use condatainer_images::trust::name_of;
use condatainer_images::verbs::info::{self, Content, ExtInfo, Info};

use crate::say::bar::bar;
use crate::say::report;

/// Endings of files that are looked at.
const ENDINGS: [&str; 6] = ["img", "ext3", "sqf", "sqsh", "squashfs", "sif"];
/// Characters of the bar.
const BAR: usize = 10;

/// The table; `None` where this is no directory, or one that is shown as a layer, or has no images.
pub(crate) fn of_images(directory: &Info) -> Option<String> {
    let Content::Directory(found) = &directory.content else { return None };
    let images = images(&directory.path);
    if found.upper.is_some() || images.is_empty() {
        return None;
    }
    let name = |path: &Path| one_line(&path.file_name().unwrap_or_default().to_string_lossy());
    let width = images.iter().map(|path| name(path).chars().count()).max().unwrap_or(0).max(4);
    let bold = Style::new().bold();
    let mut text = format!(
        "{bold}{:<width$}  {:<8} {:>11} {:>11}  {:<16}  {:<12} STATE{bold:#}\n",
        "NAME", "KIND", "SIZE", "ON DISK", "USED", "OWNER"
    );
    for path in &images {
        text += &format!("{:<width$}  {}\n", name(path), row(path).trim_end());
    }
    Some(text)
}

fn images(directory: &Path) -> Vec<PathBuf> {
    let is_image = |path: &PathBuf| path.extension().is_some_and(|end| ENDINGS.iter().any(|known| end == *known));
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut images: Vec<PathBuf> = entries.filter(is_image).collect();
    images.sort();
    images
}

fn row(path: &Path) -> String {
    let info = match info::info(path, false) {
        Ok(info) => info,
        Err(error) => {
            let bad = AnsiColor::Red.on_default();
            let (error, shown) = (error.to_string(), format!("{}: ", path.display()));
            return format!("{bad}{}{bad:#}", one_line(error.strip_prefix(&shown).unwrap_or(&error)));
        }
    };
    let (size, disk) = (Size(info.size_bytes).to_string(), Size(info.allocated_bytes).to_string());
    let rest = match &info.content {
        Content::Ext(ext) => of_ext(ext),
        _ => String::new(),
    };
    format!("{:<8} {size:>11} {disk:>11}  {rest}", info.kind)
}

fn of_ext(ext: &ExtInfo) -> String {
    let taken = ext.blocks_total.saturating_sub(ext.blocks_free);
    let percent = u128::from(taken) * 100 / u128::from(ext.blocks_total.max(1));
    let owner = ext.upper.as_ref().map_or_else(|| "-".into(), |upper| name_of(upper.uid));
    let style = report::style_of(ext.state);
    let by = ext.locked_by.as_deref().map(|by| format!(" ({})", one_line(by))).unwrap_or_default();
    let drawn = bar(taken, ext.blocks_total, BAR);
    format!("{drawn}▏{percent:>3} %  {:<12} {style}{}{style:#}{by}", one_line(&owner), ext.state)
}
