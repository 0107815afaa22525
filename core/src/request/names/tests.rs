//! Tests of the look-up, on real directories.

use std::collections::HashMap;
use std::path::Path;

use super::*;
use crate::config::Config;
use crate::request::layer::Layer;

struct World {
    root: tempfile::TempDir,
    library: Library,
}

/// Two image directories `a` and `b` (searched in this order) with these files, and `debian13` as the distro.
fn world(files: &[&str]) -> World {
    let root = tempfile::tempdir().unwrap();
    for dir in ["a", "b", "cwd"] {
        std::fs::create_dir(root.path().join(dir)).unwrap();
    }
    for file in files {
        std::fs::write(root.path().join(file), "").unwrap();
    }
    let dirs = format!("{0}/a:{0}/b", root.path().display());
    let env: HashMap<String, String> =
        [("CONDATAINER_IMAGE_DIRS", dirs.as_str()), ("CONDATAINER_DEFAULT_DISTRO", "debian13")]
            .map(|(name, value)| (name.into(), value.into()))
            .into();
    let config = Config::default().with_user(None, &env).unwrap();
    World { library: Library::configured(&config, &env), root }
}

impl World {
    /// What a layer means, below the root; or the message.
    fn layer(&self, written: &str) -> Result<String, String> {
        let cwd = self.root.path().join("cwd");
        let finder = Finder { cwd: &cwd, home: None, library: &self.library };
        let layers = finder.layers(&[written.into()]).map_err(|e| e.to_string())?;
        let below = |layer: &Layer| layer.path.strip_prefix(self.root.path()).unwrap().display().to_string();
        Ok(layers.iter().map(below).collect::<Vec<_>>().join(" "))
    }

    fn says(&self, written: &str) -> String {
        self.layer(written).unwrap_err()
    }
}

#[test]
fn the_first_directory_wins() {
    let world = world(&["a/x--1.sqf", "b/x--1.sqf", "b/y--2.sqf", "b/plain.img"]);
    assert_eq!(world.layer("x/1,y=2,plain:ro,x--1").unwrap(), "a/x--1.sqf b/y--2.sqf b/plain.img a/x--1.sqf");
    let hidden: Vec<_> = world.library.all().into_iter().filter(|found| found.hidden).map(|found| found.dir).collect();
    assert_eq!(hidden, [1]);
}

#[test]
fn the_distro_may_be_left_out() {
    let world = world(&["a/debian13--git.sqf", "b/git.sqf", "a/debian13--r4.4.3.sqf", "b/debian13--r.sqf", "b/r.sqf"]);
    assert_eq!(world.layer("git").unwrap(), "a/debian13--git.sqf", "the first directory comes first");
    assert_eq!(world.layer("r").unwrap(), "b/r.sqf", "then a real bare name");
    assert_eq!(world.layer("r4.4.3").unwrap(), "a/debian13--r4.4.3.sqf");
    assert_eq!(world.layer("debian13/git").unwrap(), "a/debian13--git.sqf");
}

/// Others may write to a directory behind it: the newest there must not be what everybody runs.
#[test]
fn a_range_takes_the_first_directory_with_a_match() {
    let world = world(&["a/s--1.9.sqf", "a/s--1.10.sqf", "b/s--99.sqf", "b/s--1.11.sqf"]);
    for range in ["s>=1", "s/1.99>=1", "s>=1.9", "s/100>1.9"] {
        assert_eq!(world.layer(range).unwrap(), "a/s--1.10.sqf", "{range}");
    }
    assert_eq!(world.layer("s>=2").unwrap(), "b/s--99.sqf", "where the first has none");
}

#[test]
fn a_range_takes_the_newest_within() {
    let world = world(&["a/s--1.9.sqf", "b/s--1.16.sqf", "b/s--1.20.sqf", "a/s--2.0.sqf"]);
    assert_eq!(world.layer("s/1.21>=1.10").unwrap(), "b/s--1.20.sqf");
    assert_eq!(world.layer("s/1.18>=1.10").unwrap(), "b/s--1.16.sqf");
    assert_eq!(world.layer("s>=1").unwrap(), "a/s--2.0.sqf");
    assert_eq!(world.layer("s/1.9>=3").unwrap(), "a/s--1.9.sqf", "the version that is named will always do");
    let says = world.says("s/4>=3");
    assert!(
        says.starts_with("s/4>=3: no such layer: did you mean s/2.0 or s/1.20 or s/1.16? 'condatainer create s/4 -c "),
        "{says}"
    );
}

#[test]
fn paths_are_no_names() {
    let world = world(&["cwd/env.img", "cwd/file", "a/file.sqf", "cwd/only-here", "a/env.img"]);
    assert_eq!(world.layer("env.img").unwrap(), "cwd/env.img");
    assert_eq!(world.layer("file").unwrap(), "a/file.sqf", "a name before a file");
    assert_eq!(world.layer("./file").unwrap(), "cwd/file");
    assert_eq!(world.layer("only-here").unwrap(), "cwd/only-here");
    assert_eq!(world.layer("env").unwrap(), "a/env.img");
    assert_eq!(world.layer("no.SQF").unwrap(), "cwd/no.SQF", "what is missing is said by whoever opens it");
}

#[test]
fn a_miss_is_helped() {
    let world = world(&["a/samtools--1.16.sqf", "b/debian13--build-essential.sqf", "cwd/x"]);
    assert_eq!(world.says("samtool/1.16"), "samtool/1.16: no such layer: did you mean samtools/1.16?");
    assert_eq!(world.says("build-esential"), "build-esential: no such layer: did you mean build-essential?");
    let root = world.root.path().display();
    let says = world.says("zzz");
    let beginning =
        format!("zzz: no such layer in {root}/a, {root}/b: 'condatainer create --help' says how to make one;");
    assert!(says.starts_with(&beginning), "{says}");
    assert!(world.says("a//b").contains("neither a path nor a name"), "{}", world.says("a//b"));
}

#[test]
fn what_is_missing_can_be_made() {
    let world = world(&["a/samtools--1.16.sqf"]);
    let make = "'condatainer create samtools/1.22 -c conda-forge -c bioconda' makes it";
    assert_eq!(
        world.says("samtools=1.22"),
        format!("samtools/1.22: no such layer: did you mean samtools/1.16? {make}")
    );
    assert!(world.says("samtools>=1.22").ends_with(make), "{}", world.says("samtools>=1.22"));
    assert!(
        world.says("bwa/0.7.18").contains("/b: 'condatainer create bwa/0.7.18 -c "),
        "{}",
        world.says("bwa/0.7.18")
    );
    assert!(world.says("grch38/star/2.7").contains("'condatainer create --help'"), "{}", world.says("grch38/star/2.7"));
    let finder = Finder { cwd: Path::new("/w"), home: None, library: &world.library };
    let base = finder.base(Path::new("debian/13")).unwrap_err().to_string();
    assert!(base.starts_with("debian/13: no such base in "), "{base}");
    assert!(base.contains("'condatainer create -s docker://debian:13 -n debian/13' makes it"), "{base}");
}

#[test]
fn ranges_have_the_endings_of_full_names() {
    let world = world(&[
        "a/s--0.sqf",
        "a/s--2.sif",
        "a/s--3.SQF",
        "b/s--1.sqf",
        "b/s--2.img",
        "b/s--1.sif",
        "b/s--3.img",
        "b/s--3.sqf",
    ]);
    assert_eq!(world.layer("s/2>=1").unwrap(), "b/s--2.img", "not the .sif, which is found before it");
    assert_eq!(world.layer("s>=1").unwrap(), "b/s--3.sqf", "as s/3");
    assert_eq!(world.layer("s/3").unwrap(), "b/s--3.sqf");
    let finder = Finder { cwd: Path::new("/w"), home: None, library: &world.library };
    let base = |written: &str| {
        finder.base(Path::new(written)).unwrap().path.strip_prefix(world.root.path()).unwrap().to_owned()
    };
    assert_eq!(base("s/2>=1"), Path::new("a/s--2.sif"));
    assert_eq!((base("s/1.5>=0"), base("s/0")), ("a/s--0.sqf".into(), "a/s--0.sqf".into()), "the first directory's");
}

#[test]
fn bases_have_their_own_endings() {
    let world = world(&["a/deb.img", "b/deb.sif", "a/low.sqf"]);
    let finder = Finder { cwd: Path::new("/w"), home: Some(Path::new("/h")), library: &world.library };
    let base = |written: &str| finder.base(Path::new(written)).unwrap().path;
    assert_eq!(base("deb"), world.root.path().join("b/deb.sif"));
    assert_eq!(base("low"), world.root.path().join("a/low.sqf"));
    assert_eq!((base("x.sif"), base("~/x")), ("/w/x.sif".into(), "/h/x".into()));
}
