//! The accounts of a root, read from its own passwd file. The roots have three test users: alice (uid 1001, with a
//! subuid range), bob (1002, without) and carol (1003, with a range); alice and carol share the group `project` (2000).

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The users that have a home under `/home`.
pub(crate) const TEST_USERS: [&str; 3] = ["alice", "bob", "carol"];

/// One line of passwd, as far as it is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: String,
}

/// All accounts of a root.
#[derive(Clone, Debug)]
pub(crate) struct Accounts(Vec<Account>);

impl Accounts {
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let file = root.join("etc/passwd");
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Self(text.lines().filter_map(parse).collect()))
    }

    pub(crate) fn find(&self, name: &str) -> Result<&Account> {
        self.0.iter().find(|account| account.name == name).with_context(|| format!("the cluster has no user {name}"))
    }
}

fn parse(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    let home = fields.nth(1)?.to_owned();
    Some(Account { name, uid, gid, home })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passwd_line_is_read_and_a_broken_one_left_out() {
        let alice = parse("alice:x:1001:1002:Alice:/home/alice:/bin/bash").unwrap();
        assert_eq!((alice.uid, alice.gid, alice.home.as_str()), (1001, 1002, "/home/alice"));
        assert_eq!(parse("alice:x:many"), None);
    }
}
