//! Verdicts about subordinate ids.

use super::*;
use crate::doctor::check::Status;
use condatainer_images::system::user::Caller;

fn asker(uid: u32, node: bool) -> Asker {
    let caller = Caller { uid, gid: uid, name: "alice".into(), home: None, shell: None, has_subids: false };
    Asker { caller, node }
}

fn tool(name: &'static str) -> Tool {
    Tool { name, path: Some(format!("/usr/bin/{name}").into()), setuid: true, capabilities: false, nosuid: false }
}

fn healthy() -> Facts {
    Facts { ranges: (65_536, 65_536), anybody: true, tools: [tool("newuidmap"), tool("newgidmap")] }
}

#[test]
fn ranges() {
    let of = |ranges| range(&Facts { ranges, ..healthy() }, &asker(1001, false));
    assert_eq!(of((65_536, 65_536)).status, Status::Ok);
    let none = of((0, 0));
    assert!(
        none.status == Status::Warning && none.found.contains("no range in /etc/subuid and /etc/subgid"),
        "{none:?}"
    );
    assert!(of((65_536, 0)).found.contains("no range in /etc/subgid"));
    assert!(of((1000, 65_536)).found.contains("1000 ids instead of 65536 in /etc/subuid"));
    assert_eq!(range(&healthy(), &asker(0, false)).status, Status::Skipped);
    assert_eq!(range(&healthy(), &asker(1001, true)).status, Status::Skipped);
}

#[test]
fn privileges() {
    let of = |change: &dyn Fn(&mut Facts), uid| {
        let mut facts = healthy();
        change(&mut facts);
        tools(&facts, &asker(uid, false))
    };
    assert_eq!(of(&|_| (), 1001).status, Status::Ok);
    assert_eq!(
        of(&|facts| facts.tools[0] = Tool { setuid: false, capabilities: true, ..tool("newuidmap") }, 1001).status,
        Status::Ok
    );
    let bare = |facts: &mut Facts| facts.tools[1].setuid = false;
    let check = of(&bare, 1001);
    assert!(
        check.status == Status::Failed && check.cure.is_some_and(|cure| cure.contains("chmod u+s /usr/bin/newgidmap"))
    );
    assert_eq!(of(&bare, 0).status, Status::Failed);
    assert_eq!(of(&|facts| (bare(facts), facts.ranges = (0, 0)).1, 1001).status, Status::Warning);
    assert_eq!(of(&|facts| (bare(facts), facts.anybody = false).1, 0).status, Status::Warning);
    assert!(of(&|facts| facts.tools[0].nosuid = true, 1001).found.contains("nosuid"));
    assert!(of(&|facts| facts.tools[0].path = None, 1001).found.starts_with("newuidmap is not installed"));
}
