//! What the engine is going to show of the host, as its configuration and its variables say, and what else there is to be shown.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::engine_config::{directive, directives};
use crate::machine::directories::{HostDirectories, Offer, WorkingDirectory};
use crate::machine::engine::Engine;
use crate::request::bind::Bind;

const PREFIXES: [&str; 2] = ["APPTAINER", "SINGULARITY"];
/// Variables by which a user has directories or files mounted that are named nowhere else.
const MORE: [&str; 7] = ["CONTAIN", "CONTAINALL", "HOME", "HOSTNAME", "NET", "NETWORK", "UTS"];
/// What `mount tmp` means.
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];

/// Where the caller is; `pwd` is `$PWD`, which is believed only if it leads there.
///
/// # Errors
/// The directory has been removed.
pub(crate) fn working_directory(pwd: Option<&Path>) -> std::io::Result<WorkingDirectory> {
    let path = std::env::current_dir()?;
    let identity = match identity_of(&path) {
        Ok(identity) => identity,
        Err(error) => {
            return Ok(WorkingDirectory { path, problem: Some(error.to_string()), ..WorkingDirectory::default() });
        }
    };
    let leads_here = |path: &Path| identity_of(path).is_ok_and(|found| found == identity);
    let logical = pwd.filter(|pwd| pwd.is_absolute() && *pwd != path && leads_here(pwd)).map(PathBuf::from);
    let problem = access(&path, AccessFlags::X_OK).err().map(|errno| errno.desc().into());
    Ok(WorkingDirectory { path, logical, identity, problem })
}

fn identity_of(path: &Path) -> std::io::Result<(u64, u64)> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

/// What there is to be shown beside the binds that were asked for; `wanted` are the site's and the user's `bind_dirs`.
pub(super) fn look(
    engine: Option<&Engine>,
    home: Option<&Path>,
    asked: &[Bind],
    wanted: &[String],
    env: &HashMap<String, String>,
) -> HostDirectories {
    let config = engine.and_then(|engine| engine.config.as_ref()).and_then(|path| fs::read_to_string(path).ok());
    let config = config.unwrap_or_default();
    let is_contained = of_engine(env, &["CONTAIN", "CONTAINALL", "COMPAT"]).next().is_some();
    let left_out: Vec<&str> = of_engine(env, &["NO_MOUNT"]).flat_map(|list| list.split(',')).collect();
    let mounts = |what: &str| {
        !is_contained && !left_out.contains(&what) && directive(&config, &format!("mount {what}")) != Some("no")
    };
    let shows_home = mounts("home") && of_engine(env, &["HOME", "NO_HOME"]).next().is_none();
    let home = home.filter(|home| shows_home && home.parent().is_some()).and_then(|home| real(home, home.into()));
    let shows_more = of_engine(env, &MORE).next().is_some()
        || shows_home && home.is_none()
        || directive(&config, "mount hostfs") == Some("yes")
        || directive(&config, "user bind control") == Some("no");
    let temporary = TEMPORARY.iter().filter(|_| mounts("tmp")).map(|dir| String::from(*dir));
    let of_variables = of_engine(env, &["BIND", "BINDPATH"]).flat_map(|list| {
        let images: Vec<&str> = of_images(list).collect();
        let is_images =
            move |text: &&str| text.split(':').nth(1).is_some_and(|destination| images.contains(&destination));
        list.split(',').filter(move |text| !is_images(text)).map(String::from)
    });
    let of_site = directives(&config, "bind path").filter(|_| mounts("bind-paths")).map(String::from);
    let written: Vec<String> = temporary.chain(of_site).chain(of_variables).collect();
    let lines: Vec<&str> = of_engine(env, &["MOUNT"]).flat_map(str::lines).collect();
    let mounted = lines.iter().filter_map(|line| mounted(line));
    let scratch = of_engine(env, &["SCRATCH", "SCRATCHDIR"]).flat_map(|list| list.split(','));
    let bound = of_engine(env, &["BIND", "BINDPATH"]).flat_map(of_images);
    let made = scratch.chain(bound).chain(lines.iter().filter_map(|line| of_image(line))).map(PathBuf::from);
    let named = asked.iter().filter_map(|bind| real(&bind.source, bind.destination.clone()));
    HostDirectories {
        offers: offers(wanted, env),
        shown: written.iter().filter_map(|text| parse(text)).chain(mounted).chain(named).collect(),
        made: made.filter(|path| path.is_absolute()).collect(),
        home,
        shows_working_directory: !is_contained && !left_out.contains(&"cwd"),
        shows_more,
    }
}

/// Those of the engine's variables that are set to something that is not "no".
pub(super) fn of_engine<'a>(env: &'a HashMap<String, String>, names: &'a [&str]) -> impl Iterator<Item = &'a str> {
    let names = PREFIXES.iter().flat_map(move |prefix| names.iter().map(move |name| format!("{prefix}_{name}")));
    let values = names.filter_map(|name| env.get(&name)).map(String::as_str);
    values.filter(|value| !["", "0", "f", "F", "false", "False", "FALSE"].contains(value))
}

/// `SOURCE[:DESTINATION[:OPTIONS]]`.
fn parse(text: &str) -> Option<Bind> {
    let mut parts = text.split(':');
    let source = parts.next()?;
    real(Path::new(source), parts.next().unwrap_or(source).into())
}

/// Whether an option says that a directory of an image is mounted, and not what the source is on the host.
fn is_of_image(option: &str) -> bool {
    ["image-src=", "id="].iter().any(|name| option.starts_with(name))
}

/// The destinations of a list of binds that are directories of images. Options are parted by the same commas as binds.
fn of_images(list: &str) -> impl Iterator<Item = &str> {
    let mut of_image = Vec::new();
    let mut last = None;
    for text in list.split(',') {
        let mut parts = text.split(':');
        let (first, destination, option) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
        if destination.is_some() {
            last = destination;
        }
        if is_of_image(option.unwrap_or(first)) {
            of_image.extend(last.take());
        }
    }
    of_image.into_iter()
}

/// The value of a field of `type=bind,source=SOURCE,destination=DESTINATION[,OPTION…]`.
fn field<'a>(line: &'a str, names: &[&str]) -> Option<&'a str> {
    let mut fields = line.split(',').filter_map(|field| field.split_once('='));
    fields.find(|(name, _)| names.contains(name)).map(|(_, value)| value)
}

/// Such a line's destination, where it is a directory of an image.
fn of_image(line: &str) -> Option<&str> {
    line.split(',').any(is_of_image).then(|| field(line, &["destination", "dst", "target"]))?
}

/// Such a line, where it is a bind of the host's.
fn mounted(line: &str) -> Option<Bind> {
    if of_image(line).is_some() {
        return None;
    }
    real(Path::new(field(line, &["source", "src"])?), field(line, &["destination", "dst", "target"])?.into())
}

fn real(source: &Path, destination: PathBuf) -> Option<Bind> {
    Some(Bind { source: fs::canonicalize(source).ok()?, destination, read_only: false })
}

fn offers(wanted: &[String], env: &HashMap<String, String>) -> Vec<Offer> {
    let mut offers: Vec<Offer> = Vec::new();
    for text in wanted {
        let written = expanded(text, env).map(PathBuf::from).filter(|path| path.is_absolute());
        let offer = written.and_then(|written| Some(Offer { path: fs::canonicalize(&written).ok()?, written }));
        offers.extend(offer.filter(|offer| offer.path.is_dir() && !offers.contains(offer)));
    }
    offers
}

/// A path with its variables filled in, `$NAME` or `${NAME}`; `None` where one is not set.
fn expanded(text: &str, env: &HashMap<String, String>) -> Option<String> {
    let mut parts = text.split('$');
    let mut path = String::from(parts.next()?);
    for part in parts {
        let (name, rest) = match part.strip_prefix('{') {
            Some(part) => part.split_once('}')?,
            None => part.split_at(part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len())),
        };
        path.push_str(env.get(name).filter(|value| !value.is_empty())?);
        path.push_str(rest);
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn variables_in_paths() {
        let env = env(&[("TMPDIR", "/local/7"), ("USER", "alice"), ("EMPTY", "")]);
        let of = |text| expanded(text, &env);
        assert_eq!(of("$TMPDIR").as_deref(), Some("/local/7"));
        assert_eq!(of("/scratch/${USER}_x/$USER/y").as_deref(), Some("/scratch/alice_x/alice/y"));
        assert_eq!(of("/plain").as_deref(), Some("/plain"));
        assert_eq!([of("/x/$NONE"), of("$EMPTY/x"), of("${USER")], [None, None, None]);
    }

    #[test]
    fn what_the_engine_shows() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        fs::create_dir(root.join("real")).unwrap();
        std::os::unix::fs::symlink("real", root.join("link")).unwrap();
        let conf = root.join("conf");
        let (link, real) = (root.join("link").display().to_string(), root.join("real"));
        fs::write(&conf, format!("mount tmp = no\n#bind path = /x\nbind path = {link}\nbind path = /no/such\n"))
            .unwrap();
        let engine = Engine {
            flavour: crate::machine::engine::Flavour::Apptainer,
            program: "/a".into(),
            config: Some(conf),
            setuid: false,
            oci_mode: false,
            interposers: None,
            own_programs: Vec::new(),
            origin: None,
        };
        let of =
            |pairs: &[(&str, &str)]| look(Some(&engine), Some(&real), &[], std::slice::from_ref(&link), &env(pairs));
        let bind = |destination: &str| Bind { source: real.clone(), destination: destination.into(), read_only: false };
        let plain = of(&[("APPTAINER_BIND", &format!("{link}:/b:ro"))]);
        assert_eq!(plain.shown, [bind(&link), bind("/b")]);
        let mount = format!("type=bind,src={link},dst=/m,ro\ntype=bind,source={link},image-src=/x,target=/i");
        let others = of(&[("APPTAINER_MOUNT", &mount), ("SINGULARITY_SCRATCH", "/s,/t")]);
        assert_eq!(others.shown, [bind(&link), bind("/m")]);
        assert_eq!(others.made, ["/s", "/t", "/i"].map(Path::new));
        let of_images = format!("{link}:/b,{link}:/data:image-src=/,{link}:/more:ro,id=1");
        let of_images = of(&[("APPTAINER_BINDPATH", &of_images)]);
        assert_eq!(
            (of_images.shown, of_images.made),
            (vec![bind(&link), bind("/b")], ["/data", "/more"].map(PathBuf::from).to_vec())
        );
        assert_eq!(plain.home, Some(bind(real.to_str().unwrap())));
        assert_eq!(plain.offers, [Offer { written: link.clone().into(), path: real.clone() }]);
        let contained = of(&[("SINGULARITY_CONTAIN", "1")]);
        assert_eq!((contained.shown.len(), contained.home, contained.shows_working_directory), (0, None, false));
        assert!(contained.shows_more && !plain.shows_more && of(&[("APPTAINER_HOME", "/x:/y")]).shows_more);
        assert!(
            !of(&[("APPTAINER_NO_MOUNT", "cwd,tmp")]).shows_working_directory
                && of(&[("APPTAINER_CONTAIN", "0")]).shows_working_directory
        );
    }
}
