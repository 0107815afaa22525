//! Images that are not built from a definition: archives and layouts made here by hand, and registries that nobody reaches.

use anyhow::{Result, ensure};

use super::{create, is_tidy, recorded, rootfs};
use crate::support::{Desk, Expect};

/// An OCI layout `layout` of the root file system, with a file of another owner in it (whom Apptainer does not keep), and the
/// archives of it: `oci.tar`, `docker.tar` and `docker.tar.gz`.
const IMAGES: &str = r#"set -e; mkdir -p layout/blobs/sha256 more/opt; echo owned > more/opt/owned; arch=$(dpkg --print-architecture)
    tar -C rootfs --owner=0 --group=0 -cf layer.tar .; tar -C more --owner=:42 --group=:43 -rf layer.tar ./opt/owned
    blob() { d=$(sha256sum < $1); d=${d%% *}; cp $1 layout/blobs/sha256/$d; printf '"digest":"sha256:%s","size":%s' $d $(stat -c %s $1); }
    layer=$(blob layer.tar); diff=${layer#*:\"}; diff=${diff%%\"*}
    printf '{"architecture":"%s","os":"linux","config":{"Env":["PATH=/bin"]},"rootfs":{"type":"layers","diff_ids":["%s"]}}' $arch $diff > config.json
    config=$(blob config.json)
    oci=application/vnd.oci.image
    printf '{"schemaVersion":2,"mediaType":"%s.manifest.v1+json","config":{"mediaType":"%s.config.v1+json",%s},"layers":[{"mediaType":"%s.layer.v1.tar",%s}]}' \
        $oci $oci "$config" $oci "$layer" > image.json
    printf '{"schemaVersion":2,"manifests":[{"mediaType":"%s.manifest.v1+json",%s}]}' $oci "$(blob image.json)" > layout/index.json
    printf '{"imageLayoutVersion":"1.0.0"}' > layout/oci-layout
    tar -C layout -cf oci.tar oci-layout index.json blobs
    printf '[{"Config":"config.json","RepoTags":["tiny:1"],"Layers":["layer.tar"]}]' > manifest.json
    tar -cf docker.tar config.json layer.tar manifest.json; gzip -k docker.tar"#;

pub(super) fn every_kind_of_image_is_a_source(desk: &Desk) -> Result<()> {
    rootfs(desk)?;
    desk.script(IMAGES)?.success()?;
    for (source, bootstrap) in [
        ("layout", "oci"),
        ("oci.tar", "oci-archive"),
        ("docker.tar", "docker-archive"),
        ("docker-archive:docker.tar", "docker-archive"),
        ("oci:layout", "oci"),
        ("rootfs", "localimage"),
        ("layout.sqf", "localimage"),
    ] {
        let output = create(desk, &["-u", "-s", source, "-p", "a"])?;
        ensure!(output.code == 0, "{source}: {}", output.stderr);
        let text = recorded(desk, "a.sqf")?;
        let path = source.trim_start_matches("docker-archive:").trim_start_matches("oci:");
        let expected =
            format!("# made by condatainer create -s {source}\nBootstrap: {bootstrap}\nFrom: {}", desk.path(path));
        ensure!(text.starts_with(&expected), "{source}: {text}");
        desk.run(&["condatainer", "exec", "-b", "a.sqf", "cat", "/marker"])?.says("made")?;
        if source == "layout" {
            desk.run(&["cp", "a.sqf", "layout.sqf"])?.success()?;
        }
    }
    let compressed = create(desk, &["-s", "docker.tar.gz", "-p", "b"])?.ends_with(1)?;
    compressed.complains("-s docker.tar.gz: is compressed, and Apptainer reads plain archives only; 'gunzip -k ")?;
    let bob = &desk.of("bob")?;
    rootfs(bob)?;
    bob.script(IMAGES)?.success()?;
    create(bob, &["-s", "oci.tar", "-p", "a"])?.success()?.complains("all of it belongs to root")?;
    bob.run(&["condatainer", "exec", "-b", "a.sqf", "cat", "/opt/owned"])?.says("owned")?;
    is_tidy(bob)?;
    is_tidy(desk)
}

pub(super) fn a_registry_out_of_reach(desk: &Desk) -> Result<()> {
    desk.run(&["mkdir", "work"])?.success()?;
    for source in ["docker://debian:trixie", "oras://registry.invalid/some/tools:1"] {
        let output = create(desk, &["-s", source, "-p", "a"])?.ends_with(1)?;
        let output = output.complains("FATAL:")?.complains("a.sqf: apptainer build failed: While performing build")?;
        output.complains("this machine does not reach the registry: build where it can be reached")?;
    }
    ensure!(desk.files()? == ["work"], "{:?}", desk.files()?);
    is_tidy(desk)
}
