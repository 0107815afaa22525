//! What is in an image by the word of debugfs.

use std::collections::BTreeMap;
use std::io::{Seek, Write};
use std::path::Path;

use condatainer_formats::ext::Ids;

use super::{ok, tool};

/// What a snapshot keeps of one name: inode, mode with type bits, owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub ino: u32,
    pub mode: u32,
    pub ids: Ids,
}

/// Everything in the image by path, as debugfs sees it; all directories of one depth in one run.
pub fn snapshot(image: &Path) -> BTreeMap<String, Seen> {
    let mut all = BTreeMap::new();
    let mut level = vec![String::from("/")];
    while !level.is_empty() {
        let requests: Vec<_> = level.iter().map(|dir| format!("ls -p \"{dir}\"")).collect();
        let answers = debugfs_answers(image, &requests);
        let mut below = Vec::new();
        for (dir, answer) in level.iter().zip(&answers) {
            for line in answer.lines().filter(|line| !line.is_empty()) {
                let fields: Vec<&str> = line.split('/').collect();
                let [_, ino, mode, uid, gid, name, ..] = fields[..] else { panic!("{line}") };
                if name == "." || name == ".." || ino == "0" {
                    continue;
                }
                let path = format!("{}/{name}", dir.trim_end_matches('/'));
                let mode = u32::from_str_radix(mode, 8).unwrap();
                let ids = Ids { uid: uid.parse().unwrap(), gid: gid.parse().unwrap() };
                if mode & 0o170_000 == 0o040_000 {
                    below.push(path.clone());
                }
                all.insert(path, Seen { ino: ino.parse().unwrap(), mode, ids });
            }
        }
        level = below;
    }
    all
}

/// What debugfs answers to each of many requests, in one run, which repeats each before its answer.
fn debugfs_answers(image: &Path, requests: &[String]) -> Vec<String> {
    let mut script = tempfile::tempfile().unwrap();
    script.write_all((requests.join("\n") + "\n").as_bytes()).unwrap();
    script.rewind().unwrap();
    let output = tool("debugfs").args(["-f", "-"]).arg(image).stdin(script).output().unwrap();
    let text = ok(output, "debugfs requests");
    let answers: Vec<_> = text.split("debugfs: ").skip(1).collect();
    assert_eq!(answers.len(), requests.len(), "{text}");
    let answer = |(answer, request): (&str, &String)| answer.strip_prefix(request.as_str()).unwrap().to_owned();
    answers.into_iter().zip(requests).map(answer).collect()
}
