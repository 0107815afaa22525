//! Every key, from every source that can set it: the message names the source, unless an option was given.

use crate::config::drop_option;
use crate::config::in_force::*;

const SITE: &str = "/etc/condatainer/config.toml";
const USER: &str = "/home/u/.config/condatainer/config.toml";

/// All keys that users may set, with values of each source, and what asks for their origin.
type Asked = fn(&Config, &str) -> Option<Origin>;
const KEYS: [(&str, &str, Asked); 3] = [
    ("base", "CONDATAINER_BASE", |config, value| config.origin_of_base(value.as_ref())),
    ("tmpdir", "CONDATAINER_TMPDIR", |config, value| config.origin_of_tmpdir(value.as_ref())),
    ("conda", "CONDATAINER_CONDA", |config, value| config.origin_of_conda(value.as_ref())),
];

fn settings(key: &str, value: Option<&str>) -> Settings {
    let text = value.map_or_else(String::new, |value| format!("{key} = {value}"));
    toml::from_str(&text).unwrap()
}

/// A configuration with the key set by these sources: fixed, variable, user, site.
fn config(key: &str, values: [Option<&str>; 4]) -> Config {
    let [fixed, environment, user, site] = values.map(|value| settings(key, value));
    Config {
        fixed,
        environment,
        user,
        site,
        site_file: Some(SITE.into()),
        user_file: Some(USER.into()),
        site_lines: Lines::of(&format!("# of the site\n{key} = true\n[fixed]\n{key} = true")),
        user_lines: Lines::of(&format!("{key} = true")),
        ..Config::default()
    }
}

#[test]
fn the_source_that_has_decided_is_named() {
    for (key, variable, origin) in KEYS {
        let value = |name: &str| format!("\"/{name}\"");
        let [fixed, environment, user, site] = ["f", "e", "u", "s"].map(value);
        let all = [Some(&fixed), Some(&environment), Some(&user), Some(&site)].map(|value| value.map(String::as_str));
        let named = |from: usize, value: &str| {
            let mut values = all;
            values[..from].fill(None);
            origin(&config(key, values), value).map(|origin| origin.to_string())
        };
        assert_eq!(named(0, "/f"), Some(format!("'{key}' under [fixed] in {SITE}, line 4")));
        assert_eq!(named(1, "/e"), Some(variable.into()));
        assert_eq!(named(2, "/u"), Some(format!("'{key}' in {USER}, line 1")));
        assert_eq!(named(3, "/s"), Some(format!("'{key}' in {SITE}, line 2")));
        // An option had another value.
        assert_eq!([1, 2, 3, 4].map(|from| named(from, "/option")), [const { None }; 4], "{key}");
        assert_eq!(named(1, "/s"), None, "{key}: another source was nearer");
    }
}

#[test]
fn fakeroot_and_the_engine_too() {
    let fakeroot = |values| config("fakeroot", values).origin_of_fakeroot(false).map(|origin| origin.to_string());
    assert_eq!(
        fakeroot([Some("false"), None, None, None]),
        Some(format!("'fakeroot' under [fixed] in {SITE}, line 4"))
    );
    assert_eq!(fakeroot([None, Some("false"), None, Some("true")]), Some("CONDATAINER_FAKEROOT".into()));
    assert_eq!(fakeroot([None, None, None, Some("true")]), None, "--no-fakeroot has decided");
    let named = Config { apptainer: Some("/x".into()), ..config("apptainer", [None; 4]) };
    assert_eq!(named.origin_of_apptainer().unwrap().to_string(), format!("'apptainer' in {SITE}, line 2"));
    assert_eq!(Config::default().origin_of_apptainer(), None);
}

#[test]
fn what_to_do_is_what_can_be_done() {
    let of = |values| config("base", values).origin_of_base("/x".as_ref()).unwrap();
    let x = Some("\"/x\"");
    let fixed = of([x, None, None, None]);
    assert_eq!(
        fixed.cure(", or use -b"),
        format!("it is 'base' under [fixed] in {SITE}, line 4, which only your administrator can change")
    );
    assert_eq!(of([None, x, None, None]).cure(", or use -b"), "it is CONDATAINER_BASE: correct it, or use -b");
    assert_eq!(
        drop_option("--fakeroot", "true", Some(&fixed)),
        format!("ask your administrator about 'base' under [fixed] in {SITE}, line 4, which is true")
    );
    assert_eq!(drop_option("--fakeroot", "true", None), "drop --fakeroot");
}

#[test]
fn a_file_that_is_read_knows_its_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(&path, "# mine\n\nbase = \"/b\"\ntmpdir = \"/t\"").unwrap();
    let config = Config::default().with_user(Some(&path), &HashMap::new()).unwrap();
    let lines = [config.origin_of_base("/b".as_ref()), config.origin_of_tmpdir("/t".as_ref())];
    assert_eq!(lines.map(|origin| origin.unwrap().line), [Some(3), Some(4)]);
}
