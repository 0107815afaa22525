//! The report of `overlay info`: its fields, for every kind of file, beside the tools that made them.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use condatainer_formats::ext::Ids;
use condatainer_images::acquire::holder::{Holder, Published};
use condatainer_images::lock::{Access, take};
use condatainer_images::system::process::host_name;
use condatainer_images::verbs::info::info;
use serde_json::{Value, json};
use support::{
    Bench, Mounted, Part, debugfs_write, fuse_whiteout, ok, populate, rich_tree, set_mode, sif, squashfs,
    superblock_field, tool, whole,
};

fn look(path: &Path) -> Value {
    serde_json::to_value(info(path, false).unwrap_or_else(|e| panic!("{e}"))).unwrap()
}

fn scan(path: &Path) -> Value {
    serde_json::to_value(info(path, true).unwrap_or_else(|e| panic!("{e}"))).unwrap()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn an_ext3_image_has_exactly_the_fields_of_the_contract() {
    let bench = Bench::new();
    let image = bench.image("env.img", &["-t", "ext3", "-L", "mine"], 40);
    debugfs_write(&image, "sif upper uid 70001");
    debugfs_write(&image, "sif upper gid 1234567");
    debugfs_write(&image, "sif work mode 042770");
    let value = look(&image);
    let mut expected = vec![
        "path",
        "kind",
        "size_bytes",
        "allocated_bytes",
        "block_size",
        "blocks_total",
        "blocks_free",
        "inodes_total",
        "inodes_free",
        "upper",
        "work",
        "state",
        "features",
        "uuid",
        "label",
        "apptainer_accepts",
        "locked_by",
    ];
    expected.sort_unstable();
    let mut found = keys(&value);
    found.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(value["upper"], json!({"uid": 70001, "gid": 1_234_567, "mode": "0755"}));
    assert_eq!(value["work"]["mode"], "2770");
    for (key, value, field) in [
        ("block_size", &value["block_size"], "Block size"),
        ("blocks_total", &value["blocks_total"], "Block count"),
        ("blocks_free", &value["blocks_free"], "Free blocks"),
        ("inodes_total", &value["inodes_total"], "Inode count"),
        ("inodes_free", &value["inodes_free"], "Free inodes"),
    ] {
        assert_eq!(value.to_string(), superblock_field(&image, field), "{key}");
    }
    assert_eq!(value["uuid"], superblock_field(&image, "Filesystem UUID"));
    assert_eq!((&value["label"], &value["kind"], &value["state"]), (&json!("mine"), &json!("ext3"), &json!("clean")));
    assert_eq!((&value["apptainer_accepts"], &value["locked_by"]), (&json!(true), &Value::Null));
    assert_eq!(value["size_bytes"], 40 << 20);
}

#[test]
fn what_is_wrong_with_upper_and_work_is_told_apart() {
    let bench = Bench::new();
    let empty = bench.path("empty");
    fs::create_dir(&empty).unwrap();
    let image = bench.image_of("odd.img", &["-t", "ext3"], 16, &empty);
    let value = look(&image);
    assert_eq!(
        (&value["upper"], &value["upper_problem"], &value["work_problem"]),
        (&Value::Null, &json!("missing"), &json!("missing"))
    );
    assert_eq!(scan(&image)["whiteouts"], Value::Null, "there is nothing to be scanned");
    debugfs_write(&image, "symlink upper lost+found");
    debugfs_write(&image, "mkdir work");
    let value = look(&image);
    assert_eq!(value["upper_problem"], "not-a-directory: it is a symbolic link");
    assert_eq!((&value["work"]["mode"], &value["work_problem"]), (&json!("0755"), &Value::Null));
    debugfs_write(&image, "rm upper");
    debugfs_write(&image, "mkdir upper");
    debugfs_write(&image, "sif upper links_count 0");
    assert_eq!(look(&image)["upper_problem"], "unreadable: its inode is not in use");
}

#[test]
fn an_ext4_image_is_refused_by_apptainer_with_the_reason() {
    let bench = Bench::new();
    let value = look(&bench.image("four.img", &["-t", "ext4"], 16));
    assert_eq!((&value["kind"], &value["apptainer_accepts"]), (&json!("ext4"), &json!(false)));
    assert!(value["apptainer_reason"].as_str().unwrap().contains("newer than ext3"), "{value}");
}

#[test]
fn every_state() {
    let bench = Bench::new();
    let image = bench.image("env.img", &["-t", "ext3"], 16);
    let state = || look(&image)["state"].as_str().unwrap().to_owned();
    assert_eq!(state(), "clean");
    debugfs_write(&image, "ssv state 0");
    assert_eq!(state(), "dirty");
    debugfs_write(&image, "ssv state 1");
    debugfs_write(&image, "feature needs_recovery");
    assert_eq!(state(), "needs-recovery");
    debugfs_write(&image, "feature -needs_recovery");
    debugfs_write(&image, "ssv state 3");
    assert_eq!(state(), "errors");
    debugfs_write(&image, "ssv state 1");
    {
        let _mounted = Mounted::new(&image, "rw");
        let value = look(&image);
        let by = value["locked_by"].as_str().unwrap();
        assert!(value["state"] == "in-use" && by.starts_with("the loop device loop"), "{value}");
    }
    assert_eq!(state(), "clean");
}

#[test]
fn who_has_locked_it() {
    let bench = Bench::new();
    let image = bench.image("env.img", &["-t", "ext3"], 16);
    let file = File::options().read(true).write(true).open(&image).unwrap();
    {
        let _guard = take(&file, whole(&image), Access::Read).unwrap();
        let value = look(&image);
        assert_eq!((&value["state"], &value["locked_by"]), (&json!("in-use"), &json!("readers")));
    }
    let _guard = take(&file, whole(&image), Access::Write).unwrap();
    assert_eq!(look(&image)["locked_by"], "unknown");
    // Whoever has written the note is the user, whatever it says.
    let (job, step, verb) = (None, None, Some("overlay chown".into()));
    let note = Holder { user: "carol".into(), job, step, verb, ..Holder::current() };
    let _note = Published::new(&image, &note).unwrap();
    let (me, pid) = (Holder::current().user, std::process::id());
    let expected = format!("user {me}, overlay chown, process {pid} on {}", host_name());
    assert_eq!(look(&image)["locked_by"], expected);
}

#[test]
fn whiteouts_of_every_kind() {
    let bench = Bench::new();
    let scanned = |name: &str, fill: &dyn Fn(&Path)| {
        let tree = bench.path(name);
        fs::create_dir_all(tree.join("upper/dir")).unwrap();
        fs::create_dir(tree.join("work")).unwrap();
        fill(&tree.join("upper"));
        let value = scan(&bench.image_of(&format!("{name}.img"), &["-t", "ext3"], 16, &tree));
        let counts = &value["whiteout_counts"];
        let count = |kind: &str| counts[kind].as_u64().unwrap();
        (value["whiteouts"].as_str().unwrap().to_owned(), count("fuse"), count("opaque"), count("kernel"))
    };
    let fuse = |upper: &Path| fuse_whiteout(&upper.join("dir/.wh.gone"));
    let device = |upper: &Path| {
        ok(Command::new("mknod").arg(upper.join("dev")).args(["c", "0", "0"]).output().unwrap(), "mknod")
    };
    assert_eq!(scanned("nothing", &|_| {}), ("none".into(), 0, 0, 0));
    assert_eq!(scanned("files", &fuse), ("fuse".into(), 1, 0, 0));
    assert_eq!(scanned("opaque", &|upper| fuse_whiteout(&upper.join("dir/.wh..wh..opq"))), ("fuse".into(), 1, 1, 0));
    assert_eq!(scanned("devices", &|upper| drop(device(upper))), ("kernel".into(), 0, 0, 1));
    let both = |upper: &Path| {
        fuse(upper);
        device(upper);
    };
    assert_eq!(scanned("both", &both), ("mixed".into(), 1, 0, 1));
}

#[test]
fn a_rich_image_is_scanned() {
    let bench = Bench::new();
    let tree = bench.path("rich");
    rich_tree(&tree);
    let image = bench.image_of("rich.img", &["-t", "ext3"], 48, &tree);
    populate(&image, Ids { uid: 1000, gid: 100 });
    let value = scan(&image);
    assert_eq!(value["whiteout_counts"], json!({"fuse": 1, "opaque": 1, "kernel": 1}));
}

#[test]
fn squashfs_as_unsquashfs_tells_it() {
    let bench = Bench::new();
    let tree = bench.tree();
    for (compression, block) in [("gzip", "131072"), ("zstd", "1048576"), ("xz", "4096")] {
        let path = bench.path("a.sqf");
        let mut command = tool("mksquashfs");
        command.arg(&tree).arg(&path).args(["-quiet", "-no-progress", "-noappend", "-comp", compression, "-b", block]);
        ok(command.args(["-mkfs-time", "1700000000"]).output().unwrap(), "mksquashfs");
        let value = look(&path);
        let told = ok(tool("unsquashfs").arg("-s").arg(&path).output().unwrap(), "unsquashfs");
        let field = |name: &str| {
            told.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{told}")).trim().to_owned()
        };
        assert_eq!(value["compression"], field("Compression "), "{told}");
        assert_eq!(value["block_size"].to_string(), field("Block size "));
        assert_eq!(value["inodes_total"].to_string(), field("Number of inodes "));
        assert_eq!(value["ids"].to_string(), field("Number of ids "));
        assert!(field("Filesystem size ").starts_with(&format!("{} bytes", value["bytes_used"])), "{told}");
        assert_eq!((&value["created"], &value["kind"]), (&json!(1_700_000_000), &json!("squashfs")));
        assert_eq!(value["size_bytes"], fs::metadata(&path).unwrap().len());
    }
}

#[test]
fn sif_with_its_partitions() {
    let bench = Bench::new();
    let base = squashfs(&bench, &bench.tree());
    let overlay = fs::read(bench.image("inner.img", &["-t", "ext3"], 16)).unwrap();
    let path = bench.path("a.sif");
    let primary = Part { fs: 1, role: 2, group: 1, content: &base };
    fs::write(&path, sif(&[primary, Part { fs: 2, role: 4, group: 1, content: &overlay }])).unwrap();
    let value = look(&path);
    let parts = value["partitions"].as_array().unwrap();
    let told: Vec<_> = parts
        .iter()
        .map(|part| (part["id"].as_u64(), part["kind"].as_str(), part["role"].as_str(), part["size_bytes"].as_u64()))
        .collect();
    let expected = [
        (Some(1), Some("squashfs"), Some("primary"), Some(base.len() as u64)),
        (Some(2), Some("ext3"), Some("overlay"), Some(16 << 20)),
    ];
    assert_eq!(told, expected);
    assert_eq!(
        (&value["kind"], &value["state"], &value["upper"]["mode"]),
        (&json!("sif"), &json!("clean"), &json!("0755"))
    );
    fs::write(&path, sif(&[Part { fs: 1, role: 2, group: 1, content: &base }])).unwrap();
    let value = look(&path);
    assert_eq!((value["partitions"].as_array().unwrap().len(), value.get("state")), (1, None));
}

#[test]
fn directories_with_and_without_upper() {
    let bench = Bench::new();
    let dir = bench.path("layer");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("a"), "").unwrap();
    let value = look(&dir);
    assert_eq!((&value["kind"], &value["entries"], &value["upper"]), (&json!("directory"), &json!(1), &Value::Null));
    fs::create_dir(dir.join("upper")).unwrap();
    set_mode(&dir.join("upper"), 0o2750);
    std::os::unix::fs::chown(dir.join("upper"), Some(7), Some(9)).unwrap();
    fs::write(dir.join("work"), "").unwrap();
    let value = look(&dir);
    assert_eq!(value["upper"], json!({"uid": 7, "gid": 9, "mode": "2750"}));
    assert_eq!((&value["work"], &value["work_problem"]), (&Value::Null, &json!("not-a-directory")));
}

#[test]
fn what_is_no_image_is_named() {
    let bench = Bench::new();
    let path = bench.path("a.tar.gz");
    fs::write(&path, b"\x1f\x8b\x08\0\0\0\0\0").unwrap();
    let error = info(&path, false).unwrap_err().to_string();
    assert!(error.ends_with("is a gzip archive; a layer is a squashfs, ext3 or SIF image, or a directory"), "{error}");
}
