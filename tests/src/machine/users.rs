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

/// The groups of a user: the first one, and those that a text of /etc/group has the user in.
pub(crate) fn groups_of(account: &Account, file: &str) -> Vec<u32> {
    let of_line = |line: &str| {
        let mut fields = line.split(':');
        let gid = fields.nth(2)?.parse().ok()?;
        fields.next()?.split(',').any(|member| member == account.name).then_some(gid)
    };
    std::iter::once(account.gid).chain(file.lines().filter_map(of_line)).collect()
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

    #[test]
    fn a_user_has_the_own_group_and_those_of_the_file() {
        let alice = parse("alice:x:1001:1002:Alice:/home/alice:/bin/bash").unwrap();
        let file = "root:x:0:\nproject:x:2000:alice,carol\nothers:x:2001:malice\nbroken\n";
        assert_eq!(groups_of(&alice, file), [1002, 2000]);
    }
}
