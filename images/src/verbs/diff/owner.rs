//! When another owner is a change, and when it only shows who made the copy.
//!
//! Without fakeroot a container has one user. Whatever it copies up from below then belongs to that user, whom the image
//! belongs to: no change. Under fakeroot owners are kept, so that another owner is one. A base that is a directory of the
//! machine shows the machine's ids, of which the caller's own is root under fakeroot.

use crate::overlay::lower::LowerNode;
use condatainer_formats::ext::Ids;

/// Whether the owner `now` differs from that of `before`, in an image that belongs to `image`.
pub(super) fn differs(before: &LowerNode, now: Ids, image: Ids) -> bool {
    let differs =
        |before: u32, now: u32, image: u32, host: bool| before != now && (now != image || (image == 0 && !host));
    differs(before.ids.uid, now.uid, image.uid, before.host_ids)
        || differs(before.ids.gid, now.gid, image.gid, before.host_ids)
}
