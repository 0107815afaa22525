//! Tests of requests: what is asked later, and the way to the node.

use super::*;
use crate::config::{Scratch, Wait};
use crate::request::bind::Bind;
use crate::request::layer::{Layer, Mode};
use proptest::prelude::*;

fn example() -> Request {
    Request {
        layers: vec![
            Layer { mode: Some(Mode::Rw), ..Layer::at("/d/env.img") },
            Layer { named: true, ..Layer::at("/a,b.sqf") },
        ],
        base: Some("/base.sqf".into()),
        base_named: true,
        fakeroot: Some(false),
        mounts: None,
        scratch: Some(Scratch::Memory(Some(1 << 20))),
        wait: Some(Wait::Yes),
        bind: vec![Bind { source: "/a".into(), destination: "/b".into(), read_only: true }],
        env: vec![("A".into(), "$(x) 'y'\n".into())],
        workdir: Some("/w".into()),
        scope: Scope::Steps,
        write: false,
        tmp: true,
        lines_read: true,
    }
}

#[test]
fn survives_the_journey() {
    let request = example();
    assert_eq!(Request::decode(&request.encode().unwrap()).unwrap(), request);
    assert_eq!(Request::default().encode().unwrap(), r#"{"v":1,"request":{}}"#);
    assert!(Request::off().is_off() && !Request::default().is_off() && !example().is_off());
}

#[test]
fn what_is_asked_later_wins_and_adds() {
    let layer = |path: &str, mode| Layer { mode, ..Layer::at(path) };
    let later = Request {
        layers: vec![layer("/c.sqf", None), layer("/d/env.img", None)],
        env: vec![("B".into(), "2".into())],
        fakeroot: Some(true),
        write: true,
        ..Request::default()
    };
    let both = example().overridden_by(later);
    let named = Layer { named: true, ..Layer::at("/a,b.sqf") };
    assert_eq!(both.layers, [named, layer("/c.sqf", None), layer("/d/env.img", None)]);
    assert_eq!((both.env.len(), both.env[1].1.as_str(), both.bind.len()), (2, "2", 1));
    assert_eq!((both.fakeroot, both.write, both.scope), (Some(true), true, Scope::All));
    assert!(both.base_named);
    assert_eq!((both.base.as_deref(), both.workdir.as_deref()), (Some("/base.sqf".as_ref()), Some("/w".as_ref())));
    assert_eq!(example().overridden_by(Request { scope: Scope::Steps, ..Request::default() }), example());
}

#[test]
fn strangers_are_refused() {
    assert!(matches!(Request::decode("env.img"), Err(RequestError::Unreadable(_))));
    assert!(matches!(Request::decode(r#"{"v":2,"request":{"new":1}}"#), Err(RequestError::Version(2))));
    assert!(matches!(Request::decode(r#"{"v":1,"request":{"new":1}}"#), Err(RequestError::Unreadable(_))));
}

#[test]
fn oversize_is_refused() {
    let request = Request { env: vec![("A".into(), "x".repeat(MAX_ENCODED))], ..Request::default() };
    assert!(matches!(request.encode(), Err(RequestError::TooLong(_))));
}

#[test]
fn assignments_are_literal() {
    assert_eq!(parse_assignment("A=b=c $x").unwrap(), ("A".into(), "b=c $x".into()));
    assert_eq!(parse_assignment("A=").unwrap(), ("A".into(), String::new()));
    assert!(parse_assignment("A").is_err());
    assert!(parse_assignment("=x").is_err());
}

#[test]
fn scopes() {
    assert!(Scope::All.covers(Part::Batch) && Scope::All.covers(Part::Step));
    assert!(Scope::Batch.covers(Part::Batch) && !Scope::Batch.covers(Part::Step));
    assert!(!Scope::Steps.covers(Part::Batch) && Scope::Steps.covers(Part::Step));
}

proptest! {
    #[test]
    fn decoding_never_panics(text in "\\PC{0,80}") {
        let _ = Request::decode(&text);
    }
}
