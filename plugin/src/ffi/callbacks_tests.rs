//! Tests of what Slurm relies on in every callback.

use super::*;

#[test]
fn a_panic_is_the_failure_of_one_callback() {
    assert_eq!(guarded(FAILED, || panic!("x")), FAILED);
    assert_eq!(guarded(OK, || panic!("x")), OK);
    assert_eq!(guarded(FAILED, || Ok(())), OK);
}

/// Slurm drains a node whose plugin fails before task_init.
#[test]
fn on_the_node_nothing_fails_before_a_task() {
    let source = include_str!("callbacks.rs");
    let bodies: Vec<&str> = source.split("extern \"C\" fn ").skip(1).collect();
    assert_eq!(bodies.len(), 8, "a callback came or went: look at it here too");
    for body in bodies {
        let (name, body) = body.split_once('(').unwrap();
        let body = body.split("\n}\n").next().unwrap();
        assert!(body.contains("guarded("), "{name} catches no panic");
        if ["init", "local_user_init", "user_init", "task_exit", "exit"]
            .iter()
            .any(|part| name == format!("slurm_spank_{part}"))
        {
            assert!(body.contains("guarded(OK, "), "{name} can fail");
        }
    }
}
