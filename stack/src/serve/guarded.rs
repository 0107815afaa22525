//! A tree whose mistakes stay with the request that came upon them: a panic is an error for who has asked, and a line for the user, instead
//! of the end of the thread and with it of the mount. A panic outside of the tree (fuser has them for messages that no kernel sends) ends its
//! thread, and may end the server. The user gets an error and a line then, too, and nobody waits for ever.

use std::any::Any;
use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::sync::Arc;

use nix::errno::Errno;

use super::tree::{Answer, Changes, Entry, Listed, New, Renaming, Room, Tree};
use super::trouble::Trouble;
use crate::layer::Attributes;

thread_local! {
    /// Where this thread has panicked last.
    static PLACE: Cell<Option<String>> = const { Cell::new(None) };
    /// Whether this thread is in a tree, so that its panic will be told from there.
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// From now on a panic is noted, for the line about it, or where nobody catches it given to `say`; nothing is written to stderr.
pub(crate) fn note_panics(say: impl Fn(&str) + Send + Sync + 'static) {
    set_hook(Box::new(move |info| {
        PLACE.set(info.location().map(ToString::to_string));
        if !IS_GUARDED.get() {
            say(&words(info.payload()));
        }
    }));
}

/// Another tree, guarded. It has to pass on every method, those with a default too.
pub struct Guarded {
    tree: Arc<dyn Tree>,
    trouble: Arc<Trouble>,
}

impl Guarded {
    /// Guards `tree`.
    #[must_use]
    pub fn new(tree: Arc<dyn Tree>, trouble: Arc<Trouble>) -> Self {
        Self { tree, trouble }
    }

    fn ask<T>(&self, question: impl FnOnce(&dyn Tree) -> Answer<T>) -> Answer<T> {
        self.caught(question).unwrap_or(Err(Errno::EIO))
    }

    /// No lock that a panic may leave behind keeps others out, and what it leaves half done is content of a file at most.
    fn caught<T>(&self, question: impl FnOnce(&dyn Tree) -> T) -> Option<T> {
        let outside = IS_GUARDED.replace(true);
        let answer = catch_unwind(AssertUnwindSafe(|| question(&*self.tree)));
        IS_GUARDED.set(outside);
        answer.map_err(|payload| self.trouble.told(io::Error::other(words(&*payload)))).ok()
    }
}

fn words(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    let (text, place) = (text.unwrap_or("unknown"), PLACE.take());
    let place = place.map_or_else(String::new, |place| format!(" at {place}"));
    format!("a mistake in condatainer, please report it: {text}{place}")
}

impl Tree for Guarded {
    fn lookup(&self, directory: u64, name: &[u8]) -> Answer<Entry> {
        self.ask(|tree| tree.lookup(directory, name))
    }

    fn entry(&self, directory: u64, listed: &Listed<'_>) -> Answer<Entry> {
        self.ask(|tree| tree.entry(directory, listed))
    }

    fn forget(&self, node: u64, count: u64) {
        self.caught(|tree| tree.forget(node, count));
    }

    fn shared(&self, node: u64) -> Option<u64> {
        self.caught(|tree| tree.shared(node)).flatten()
    }

    fn any_may_change(&self) -> bool {
        self.tree.any_may_change()
    }

    fn open(&self, file: u64) -> Answer<()> {
        self.ask(|tree| tree.open(file))
    }

    fn close(&self, file: u64) {
        self.caught(|tree| tree.close(file));
    }

    fn may_change(&self, node: u64) -> bool {
        self.caught(|tree| tree.may_change(node)).unwrap_or(false)
    }

    fn attributes(&self, node: u64) -> Answer<Attributes> {
        self.ask(|tree| tree.attributes(node))
    }

    fn has_set_ids(&self, node: u64) -> Answer<bool> {
        self.ask(|tree| tree.has_set_ids(node))
    }

    fn list(&self, directory: u64, from: u64, visit: &mut dyn FnMut(&Listed<'_>) -> bool) -> Answer<()> {
        self.ask(|tree| tree.list(directory, from, visit))
    }

    fn read(&self, file: u64, offset: u64, buf: &mut [u8]) -> Answer<usize> {
        self.ask(|tree| tree.read(file, offset, buf))
    }

    fn seek(&self, file: u64, offset: u64, hole: bool) -> Answer<u64> {
        self.ask(|tree| tree.seek(file, offset, hole))
    }

    fn target(&self, link: u64) -> Answer<Vec<u8>> {
        self.ask(|tree| tree.target(link))
    }

    fn may_have_xattrs(&self) -> bool {
        self.tree.may_have_xattrs()
    }

    fn xattr(&self, node: u64, name: &[u8]) -> Answer<Vec<u8>> {
        self.ask(|tree| tree.xattr(node, name))
    }

    fn xattrs(&self, node: u64) -> Answer<Vec<u8>> {
        self.ask(|tree| tree.xattrs(node))
    }

    fn room(&self) -> Room {
        self.caught(|tree| tree.room()).unwrap_or_default()
    }

    fn make(&self, directory: u64, name: &[u8], new: &New<'_>) -> Answer<Entry> {
        self.ask(|tree| tree.make(directory, name, new))
    }

    fn link(&self, node: u64, directory: u64, name: &[u8]) -> Answer<Entry> {
        self.ask(|tree| tree.link(node, directory, name))
    }

    fn remove(&self, directory: u64, name: &[u8], directory_wanted: bool) -> Answer<()> {
        self.ask(|tree| tree.remove(directory, name, directory_wanted))
    }

    fn rename(&self, from: (u64, &[u8]), to: (u64, &[u8]), how: Renaming) -> Answer<()> {
        self.ask(|tree| tree.rename(from, to, how))
    }

    fn change(&self, node: u64, changes: &Changes) -> Answer<Attributes> {
        self.ask(|tree| tree.change(node, changes))
    }

    fn write(&self, file: u64, offset: u64, data: &[u8], strip: bool) -> Answer<usize> {
        self.ask(|tree| tree.write(file, offset, data, strip))
    }

    fn allocate(&self, file: u64, offset: u64, length: u64, mode: i32, strip: bool) -> Answer<()> {
        self.ask(|tree| tree.allocate(file, offset, length, mode, strip))
    }

    fn set_xattr(&self, node: u64, name: &[u8], value: &[u8], flags: i32) -> Answer<()> {
        self.ask(|tree| tree.set_xattr(node, name, value, flags))
    }

    fn remove_xattr(&self, node: u64, name: &[u8]) -> Answer<()> {
        self.ask(|tree| tree.remove_xattr(node, name))
    }

    fn sync(&self, node: u64, only_data: bool) -> Answer<()> {
        self.ask(|tree| tree.sync(node, only_data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    struct Mistaken;

    impl Tree for Mistaken {
        fn lookup(&self, _: u64, _: &[u8]) -> Answer<Entry> {
            Err(Errno::ENOENT)
        }
        fn forget(&self, _: u64, _: u64) {
            panic!("of forget")
        }
        fn attributes(&self, node: u64) -> Answer<Attributes> {
            panic!("of node {node}")
        }
        fn list(&self, _: u64, _: u64, visit: &mut dyn FnMut(&Listed<'_>) -> bool) -> Answer<()> {
            let kind = condatainer_formats::ext::FileType::Regular;
            visit(&Listed { name: b"a", node: 1, kind, next: 1 });
            Ok(())
        }
        fn read(&self, _: u64, _: u64, buf: &mut [u8]) -> Answer<usize> {
            let (length, more) = (buf.len(), buf.len() + 1);
            buf[..more].fill(0);
            Ok(length)
        }
        fn seek(&self, _: u64, offset: u64, _: bool) -> Answer<u64> {
            Ok(offset)
        }
        fn target(&self, _: u64) -> Answer<Vec<u8>> {
            Err(Errno::EINVAL)
        }
        fn xattr(&self, _: u64, _: &[u8]) -> Answer<Vec<u8>> {
            Err(Errno::ENODATA)
        }
        fn xattrs(&self, _: u64) -> Answer<Vec<u8>> {
            Ok(Vec::new())
        }
        fn room(&self) -> Room {
            panic!("of room")
        }
    }

    #[test]
    fn a_panic_is_an_error_of_its_request_alone() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let note = Arc::clone(&told);
        let trouble = Trouble::with(move |line| note.lock().unwrap().push(line.to_owned()));
        let tree = Guarded::new(Arc::new(Mistaken), Arc::new(trouble));
        for _ in 0..3 {
            assert_eq!(tree.attributes(7).unwrap_err(), Errno::EIO);
            assert_eq!(tree.read(7, 0, &mut [0; 4]).unwrap_err(), Errno::EIO);
            assert_eq!(tree.list(7, 0, &mut |_| panic!("of the listener")).unwrap_err(), Errno::EIO);
            assert_eq!((tree.room(), tree.seek(7, 5, true)), (Room::default(), Ok(5)));
            tree.forget(7, 1);
        }
        let told = told.lock().unwrap();
        assert_eq!(told.len(), 5, "each once: {told:?}");
        assert!(told[0].ends_with("please report it: of node 7"), "{told:?}");
    }
}
