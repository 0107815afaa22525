//! The engine's own configuration (apptainer.conf, singularity.conf): what in it stops a stack.

use super::facts::Engine;
use crate::doctor::check::Check;
use crate::machine::engine::Flavour;
use crate::machine::survey::directive;

const ID: &str = "engine-config";

/// Where the file does not say otherwise.
const DEFAULTS: [(&str, &str); 8] = [
    ("allow user ns", "yes"),
    ("enable overlay", "yes"),
    ("enable underlay", "yes"),
    ("allow container sif", "yes"),
    ("allow container squashfs", "yes"),
    ("allow container extfs", "yes"),
    ("allow container dir", "yes"),
    ("user bind control", "yes"),
];

/// What a directive takes away when it is `no`, and whether that is everything.
const REFUSALS: [(&str, &str, bool); 7] = [
    ("allow user ns", "users may not make the namespaces of a container", true),
    ("enable overlay", "no image can be stacked", true),
    ("allow container extfs", "no ext3 image (env.img) can be used", true),
    ("allow container squashfs", "no .sqf can be used", true),
    ("allow container sif", "no .sif can be used", false),
    ("allow container dir", "no directory can be used, which :tmp layers need", false),
    ("user bind control", "--bind is refused", false),
];

/// These lists, where they are not empty, say which images there may be.
const LIMITS: [&str; 3] = ["limit container paths", "limit container owners", "limit container groups"];

pub(super) fn judge(engine: Option<&Engine>) -> Check {
    let Some(engine) = engine else { return Check::skipped(ID, "there is no engine") };
    let Some((path, text)) = &engine.config else {
        return Check::warning(
            ID,
            "the engine's configuration was not found: read-only images in which files were deleted do not start",
            "see where it is: 'apptainer buildcfg' prints APPTAINER_CONF_FILE",
        );
    };
    let path = path.display();
    let refused = |(key, ..): &&(&str, &str, bool)| value(text, key) == "no";
    let mut refusals: Vec<_> = REFUSALS.iter().filter(refused).collect();
    refusals.sort_by_key(|(_, _, everything)| !everything);
    if let Some((key, what, everything)) = refusals.first() {
        let (found, cure) = (format!("{path}: '{key} = no': {what}"), format!("as root: set '{key} = yes' there"));
        return if *everything { Check::failed(ID, found, cure) } else { Check::warning(ID, found, cure) };
    }
    if value(text, "oci mode") == "yes" {
        let found = format!("{path}: 'oci mode = yes': OCI containers know no image layers");
        return Check::failed(ID, found, "as root: set 'oci mode = no' there");
    }
    // Apptainer is told to mount by FUSE, also where it is setuid.
    if engine.setuid && engine.flavour() == Some(Flavour::SingularityCE) && value(text, "max loop devices") == "0" {
        let found = format!("{path}: 'max loop devices = 0': SingularityCE mounts no image");
        return Check::failed(ID, found, "as root: set 'max loop devices = 256' there");
    }
    if let Some(key) = LIMITS.into_iter().find(|key| !matches!(value(text, key), "" | "NULL")) {
        let found = format!("{path}: '{key} = {}': images of others are refused", value(text, key));
        return Check::warning(ID, found, "know it, or ask for that line to be changed");
    }
    let shown = ["enable overlay", "enable underlay"].map(|key| format!("{key} = {}", value(text, key)));
    Check::ok(ID, format!("{path}: {}", shown.join(", ")))
}

fn value<'a>(text: &'a str, key: &str) -> &'a str {
    let default = || DEFAULTS.iter().find(|(name, _)| *name == key).map_or("", |(_, value)| value);
    directive(text, key).unwrap_or_else(default)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Status;

    /// As Apptainer's packages have it, in part.
    const SHIPPED: &str = "# ENABLE OVERLAY: [yes/no/driver/try]\nallow setuid = yes\nmax loop devices = 256\nallow user ns = yes\n\
        bind path = /etc/hosts\n#limit container paths = /scratch\nenable overlay = yes\nenable underlay = yes\n";

    fn of(text: &str) -> Check {
        let config = Some(("/etc/apptainer/apptainer.conf".into(), text.into()));
        judge(Some(&Engine {
            program: "/usr/bin/apptainer".into(),
            origin: None,
            said: Ok(String::new()),
            setuid: false,
            config,
        }))
    }

    #[test]
    fn as_shipped() {
        let check = of(SHIPPED);
        assert_eq!(check.found, "/etc/apptainer/apptainer.conf: enable overlay = yes, enable underlay = yes");
        assert_eq!((check.status, of("").status), (Status::Ok, Status::Ok));
        assert_eq!(judge(None).status, Status::Skipped);
    }

    #[test]
    fn what_stops_a_stack() {
        let with = |line: &str| of(&format!("{SHIPPED}{line}\n"));
        assert_eq!(with("enable overlay = driver").status, Status::Ok);
        for line in ["enable overlay = no", "allow container extfs = no", "allow user ns = no"] {
            assert_eq!(with(line).status, Status::Failed, "{line}");
        }
        let both = with("user bind control = no\nallow container squashfs = no");
        assert!(both.status == Status::Failed && both.found.contains("squashfs"), "the worst is said: {both:?}");
        assert_eq!(with("allow container sif = no").status, Status::Warning);
        assert_eq!(with("oci mode = yes").status, Status::Failed);
        let limited = with("limit container paths = /shared, /scratch");
        assert!(limited.status == Status::Warning && limited.found.contains("/shared, /scratch"), "{limited:?}");
    }

    #[test]
    fn loop_devices_are_for_a_setuid_singularity() {
        let of = |said: &str, setuid| {
            let config = Some(("/etc/singularity/singularity.conf".into(), "max loop devices = 0".into()));
            judge(Some(&Engine {
                program: "/usr/bin/singularity".into(),
                origin: None,
                said: Ok(said.into()),
                setuid,
                config,
            }))
            .status
        };
        assert_eq!(of("singularity-ce version 4.5.1\n", true), Status::Failed);
        assert_eq!(of("singularity-ce version 4.5.1\n", false), Status::Ok);
        assert_eq!(of("apptainer version 1.4.5\n", true), Status::Ok);
    }
}
