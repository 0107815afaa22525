//! Every kind of image and every state in which one can be, as tables: either chown handles it, with the kernel and e2fsck as
//! judges, or it is refused by name and not a byte of it has changed.
//!
//! Images that are killed midway have a test of their own (`killed`), and so have full disks (`full`).

// A failing preparation is a failing test.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod content;
mod images;
mod states;
#[path = "../../support/mod.rs"]
mod support;
mod view;

use std::path::Path;

use condatainer_formats::ext::Ids;
use condatainer_images::verbs::chown::{Report, Request};
use support::{attempt, bytes_of};
use view::{Image, moved};

/// Neither id fits into 16 bits.
pub const USER: Ids = Ids { uid: 1_234_567, gid: 70_001 };

pub fn to_root() -> Request {
    Request::new(Ids::ROOT, USER)
}

pub fn run(image: &Path, request: &Request) -> Report {
    attempt(image, request).unwrap_or_else(|e| panic!("{e}"))
}

/// From the user to root and back: all that the kernel shows is as the rule says, e2fsck finds nothing, and the way back is exact
/// to the byte.
pub fn there_and_back(name: &str, image: &Image) -> Report {
    let (before, bytes) = (image.view(), bytes_of(&image.path));
    let there = run(&image.path, &to_root());
    assert_eq!(
        (there.before, there.after, &*there.merged_uids, &*there.merged_gids),
        (USER, Ids::ROOT, &[][..], &[][..])
    );
    assert_eq!(image.fsck(), Ok(()), "{name}");
    same(name, &moved(&before, USER, Ids::ROOT), &image.view());
    let back = run(&image.path, &Request::new(USER, USER));
    assert_eq!((back.before, back.after), (Ids::ROOT, USER), "{name}");
    assert_eq!(image.fsck(), Ok(()), "{name}");
    same(name, &before, &image.view());
    assert!(bytes_of(&image.path) == bytes, "{name}: the way back is not exact");
    there
}

fn same(name: &str, expected: &view::View, found: &view::View) {
    assert!(expected.keys().eq(found.keys()), "{name}: other names");
    for (path, seen) in expected {
        assert_eq!(Some(seen), found.get(path), "{name}: {}", path.display());
    }
}

/// The one line that refuses `request`, after which nothing has changed.
pub fn refusal(name: &str, image: &Path, request: &Request) -> String {
    let before = bytes_of(image);
    let error = attempt(image, request).expect_err(name).to_string();
    assert!(bytes_of(image) == before, "{name}: a refused image was changed");
    assert!(error.starts_with(&format!("{}: ", image.display())) && !error.contains('\n'), "{name}: {error}");
    error
}
