//! Layers by name, what they bring to the environment, and the verbs that show and remove them.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::support::{Desk, Expect, tests};

tests! {
    Apptainer, Desk: [
        a_name_means_the_same_everywhere, a_module_of_the_original_works_unchanged, the_topmost_is_found_first, a_renamed_module_is_found,
        a_job_tells_what_it_has, a_writer_finds_what_it_installs, the_hosts_language_does_no_harm, workspaces_are_found, e_says_what_is_written_to,
        remarks_are_for_a_terminal, a_large_image_is_advised_to_be_sealed_once,
    ];
    Slurm, Desk: [a_miss_is_helped_at_the_prompt, layers_are_listed, layers_are_removed, layers_in_use_are_not_removed, the_tab_key_knows_layers, settings_say_where_they_come_from];
}

/// The user's image directory of this desk.
const LIBRARY: &str = "export XDG_DATA_HOME=$PWD/data XDG_CONFIG_HOME=$PWD/config; ";
const DIR: &str = "data/condatainer/images";

/// A module as the original makes it: `bin/NAME` prints the version, and the script that built it is inside.
fn module(desk: &Desk, name: &str, version: &str, head: &str) -> Result<()> {
    module_in(desk, &format!("{DIR}/{name}--{version}.sqf"), &format!("cnt/{name}/{version}"), name, version, head)
}

fn module_in(desk: &Desk, file: &str, place: &str, program: &str, says: &str, head: &str) -> Result<()> {
    desk.script(&format!("mkdir -p {DIR}"))?.success()?;
    desk.squashfs(
        file,
        &format!(
            "mkdir -p {place}/bin; printf '#!/bin/sh\\necho {program} {says}\\n' > {place}/bin/{program}; chmod 755 {place}/bin/{program}
            cat > {place}/.cnt-build-script <<'HEAD'\n{head}\nHEAD\n"
        ),
    )
}

fn here(desk: &Desk, text: &str) -> Result<cluster::Output> {
    desk.script(&format!("{LIBRARY}{text}"))
}

fn json(output: &cluster::Output) -> Result<Value> {
    serde_json::from_str(&output.stdout).with_context(|| output.stdout.clone())
}

fn a_name_means_the_same_everywhere(desk: &Desk) -> Result<()> {
    module(desk, "samtools", "1.16", "")?;
    module(desk, "samtools", "1.9", "")?;
    desk.image("env.img")?;
    for name in ["samtools/1.16", "samtools=1.16", "samtools@1.16", "samtools--1.16", "'samtools/1.20>=1.10'"] {
        here(desk, &format!("condatainer exec -o {name} samtools"))?.says("samtools 1.16")?;
        here(desk, &format!("condatainer e -n {name} -- samtools"))?.says("samtools 1.16")?;
        here(desk, &format!("srun --condatainer-overlay={name},env.img samtools"))?.says("samtools 1.16")?;
    }
    here(desk, "condatainer e samtools/1.9 -- sh -c 'samtools; touch /kept'")?.says("samtools 1.9")?;
    here(desk, "srun --condatainer-overlay=samtools/1.9,env.img ls /kept")?.says("/kept")?;
    Ok(())
}

fn a_module_of_the_original_works_unchanged(desk: &Desk) -> Result<()> {
    let head = "#!/usr/bin/bash\n#WHATIS:a test\n#ENV:ORAD_HOME=$app_root/share\n#ENVNOTE:where\n#ENV:LITERAL=$HOME `x` 1,2\n#ENV:BOTH=inside";
    module(desk, "orad", "2.7.0", head)?;
    let show = r#"sh -c 'echo "$ORAD_HOME|$LITERAL|$BOTH|$MINE|$IN_CONDATAINER"; orad'"#;
    let inside = "/cnt/orad/2.7.0/share|$HOME `x` 1,2|inside||1\norad 2.7.0";
    here(desk, &format!("condatainer exec -o orad/2.7.0 {show}"))?.says(inside)?;
    desk.write(
        &format!("{DIR}/orad--2.7.0.sqf.env"),
        "BOTH=beside\nMINE=$app_root\n#ENVNOTE:MINE=a remark\n#WHATIS:my own\n",
    )?;
    let beside = "/cnt/orad/2.7.0/share|$HOME `x` 1,2|beside|/cnt/orad/2.7.0|1\norad 2.7.0";
    here(desk, &format!("condatainer exec -o orad/2.7.0 {show}"))?.says(beside)?;
    here(desk, &format!("srun --condatainer-overlay=orad/2.7.0 {show}"))?.says(beside)?;
    here(desk, "condatainer exec -o orad/2.7.0 --env BOTH=asked printenv BOTH")?.says("asked")?;
    let info = json(&here(desk, "condatainer info --json orad/2.7.0")?.success()?)?;
    let told = &info["module"];
    ensure!(told["root"] == "/cnt/orad/2.7.0" && told["has_bin"] == true && told["whatis"] == "my own", "{told}");
    let text = here(desk, "condatainer info orad/2.7.0")?.success()?.stdout;
    ensure!(
        text.contains("MINE=/cnt/orad/2.7.0  (a remark)") && text.contains("in PATH     /cnt/orad/2.7.0/bin"),
        "{text}"
    );
    Ok(())
}

fn the_topmost_is_found_first(desk: &Desk) -> Result<()> {
    module_in(desk, &format!("{DIR}/a--1.sqf"), "cnt/a/1", "tool", "of a", "#ENV:WHO=a")?;
    module_in(desk, &format!("{DIR}/b--1.sqf"), "cnt/b/1", "tool", "of b", "#ENV:WHO=b")?;
    let fill = "mkdir -p ext3/env/bin; printf '#!/bin/sh\\necho of the image\\n' > ext3/env/bin/tool; chmod 755 ext3/env/bin/tool";
    desk.image_with("env.img", "$SUDO_UID:$SUDO_GID", fill)?;
    let shown = "sh -c 'tool; echo $WHO $CONDA_PREFIX $CONDA_DEFAULT_ENV'";
    here(desk, &format!("condatainer exec -o a/1 -o b/1 {shown}"))?.says("tool of b\nb")?;
    here(desk, &format!("condatainer exec -o b/1,a/1 {shown}"))?.says("tool of a\na")?;
    here(desk, &format!("condatainer exec -o env.img -o b/1,a/1 {shown}"))?.says("of the image\na /ext3/env env")?;
    Ok(())
}

/// The name of a file is how its place is found; where it was renamed there may still be only one.
fn a_renamed_module_is_found(desk: &Desk) -> Result<()> {
    module_in(desk, "renamed.sqf", "cnt/tool/3", "tool", "3", "#ENV:ROOT=$app_root")?;
    here(desk, "condatainer exec -o renamed.sqf sh -c 'tool; echo $ROOT'")?.says("tool 3\n/cnt/tool/3")?;
    Ok(())
}

fn a_job_tells_what_it_has(desk: &Desk) -> Result<()> {
    let show = "sh -c 'echo $NCPUS $NTASKS $OMP_NUM_THREADS $MEM'";
    let step = "srun -c2 --mem=600 --condatainer-base=/srv/base/base.sqf";
    here(desk, &format!("{step} {show}"))?.says("2 1 2 600")?;
    here(desk, &format!("OMP_NUM_THREADS=7 {step} {show}"))?.says("2 1 7 600")?;
    here(desk, &format!("srun -c2 --mem=600 condatainer exec {show}"))?.says("2 1 2 600")?;
    here(desk, &format!("condatainer exec {show}"))?.says("")?;
    Ok(())
}

/// A shell in a new image must find the programs that are installed while it runs.
fn a_writer_finds_what_it_installs(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let install = "mkdir -p /ext3/env/bin; cp /bin/true /ext3/env/bin/fresh; fresh && echo $CNT_CONDA_PREFIX";
    here(desk, &format!("condatainer e -- sh -c '{install}'"))?.says("/ext3/env")?;
    here(desk, "condatainer e -r -- sh -c 'fresh && echo $CNT_CONDA_PREFIX'")?.says("")?;
    Ok(())
}

fn the_hosts_language_does_no_harm(desk: &Desk) -> Result<()> {
    let show = "sh -c 'echo $LANG $LC_ALL $SSL_CERT_FILE'";
    here(desk, &format!("LC_ALL=xx_YY.UTF-8 SSL_CERT_FILE=/no/such condatainer exec {show}"))?
        .says("C.UTF-8 C.UTF-8")?;
    here(desk, &format!("LANG=C.UTF-8 SSL_CERT_FILE=/etc/passwd condatainer exec {show}"))?
        .says("C.UTF-8 /etc/passwd")?;
    Ok(())
}

fn workspaces_are_found(desk: &Desk) -> Result<()> {
    module(desk, "tool", "1", "")?;
    desk.script("mkdir -p src/overlay overlay")?.success()?;
    here(desk, "condatainer e -- true")?
        .ends_with(125)?
        .complains("env.img: no such image: 'condatainer o' makes it")?;
    here(desk, "condatainer e tool/1 -- tool")?.says("tool 1")?;
    for name in ["src/overlay/env.img", "overlay/env.img", "overlay/env-alice.img"] {
        desk.image(name)?;
        let output = here(desk, "condatainer e -- ls /opt/layers")?.success()?;
        output.complains(&format!("condatainer: writing to ./{name} (found here; -n leaves it out)\n"))?;
    }
    desk.image("env.img")?;
    here(desk, "condatainer e -- touch /in-the-nearest")?.says("")?.complains("writing to ./env.img (found here")?;
    here(desk, "condatainer exec -o env.img ls /in-the-nearest")?.says("/in-the-nearest")?;
    here(desk, "condatainer e -n -- ls /opt/layers")?.ends_with(2)?;
    Ok(())
}

/// `e` takes an image that nobody has named, so it says in one line what is written to, or that nothing is.
fn e_says_what_is_written_to(desk: &Desk) -> Result<()> {
    desk.squashfs("a.sqf", "")?;
    let says = |arguments: &[&str], line: &str| -> Result<()> {
        let output = desk.run(&[&["condatainer", "e"], arguments, &["--", "true"]].concat())?.success()?;
        ensure!(output.stderr == format!("condatainer: {line}\n"), "{arguments:?}: {}", output.stderr);
        Ok(())
    };
    says(&["a.sqf"], "nothing is written: no image is named or taken ('condatainer o' makes one)")?;
    desk.image("env.img")?;
    desk.image("other.img")?;
    let found = "./env.img (found here; -n leaves it out)";
    says(&["a.sqf"], &format!("writing to {found}"))?;
    says(&["-r", "a.sqf"], &format!("nothing is written: {found} is only read"))?;
    says(&["-n", "a.sqf"], "nothing is written: no image is named or taken ('condatainer o' makes one)")?;
    says(&["other.img"], "writing to ./other.img")?;
    says(&["other.img:ro"], "nothing is written: ./other.img is only read")?;
    let lost = "what is written goes below /tmp and is removed at the end: ./other.img stays as it is";
    says(&["other.img:tmp"], lost)?;
    desk.run(&["condatainer", "-q", "e", "a.sqf", "--", "true"])?.success()?.without_a_word()?;
    desk.run(&["condatainer", "e", "--dry-run", "a.sqf", "--", "true"])?.success()?.without_a_word()?;
    Ok(())
}

fn remarks_are_for_a_terminal(desk: &Desk) -> Result<()> {
    module(desk, "data", "1", "#ENV:GENOME=$app_root/genome.fa\n#ENVNOTE:a genome")?;
    let text = format!("{LIBRARY}condatainer e -n data/1");
    let shell = desk.command().terminal().stdin("exit\n").run(&["bash", "-c", &text])?.ends_with(0)?;
    ensure!(format!("{}{}", shell.stdout, shell.stderr).contains("condatainer: GENOME: a genome"), "{shell:?}");
    here(desk, "echo exit | condatainer -q e -n data/1")?.success()?.without_a_word()?;
    let piped = here(desk, "echo exit | condatainer e -n data/1")?.success()?.complains("nothing is written: ")?;
    ensure!(!piped.stderr.contains("GENOME"), "{}", piped.stderr);
    Ok(())
}

fn a_large_image_is_advised_to_be_sealed_once(desk: &Desk) -> Result<()> {
    desk.squashfs("low.sqf", "")?;
    // mke2fs(8) reads all of a directory for each name that it adds.
    let many =
        "mkdir -p opt/many; cd opt/many; mkdir $(seq 105); printf '%s\n' */ | xargs -I{} seq -f {}%g 100 | xargs touch";
    desk.image_with("env.img", "$SUDO_UID:$SUDO_GID", many)?;
    let work = || desk.command().terminal().stdin("exit\n").run(&["condatainer", "e", "low.sqf"]);
    let told =
        |output: &cluster::Output| format!("{}{}", output.stdout, output.stderr).contains("starts faster sealed: ");
    let first = work()?.ends_with(0)?;
    let command = format!("condatainer overlay seal -o {} {}", desk.path("low.sqf"), desk.path("env.img"));
    ensure!(told(&first) && format!("{}{}", first.stdout, first.stderr).contains(&command), "{first:?}");
    ensure!(!told(&work()?.ends_with(0)?), "once is enough");
    desk.script(&command)?.success()?;
    Ok(())
}

fn a_miss_is_helped_at_the_prompt(desk: &Desk) -> Result<()> {
    module(desk, "samtools", "1.16", "")?;
    let words = "samtool/1.16: no such layer: did you mean samtools/1.16?";
    here(desk, "srun --condatainer-overlay=samtool/1.16 echo RAN")?.ends_with(1)?.complains(words)?;
    here(desk, "condatainer exec -o samtool/1.16 echo RAN")?.ends_with(125)?.complains(words)?;
    here(desk, "condatainer exec -o zzz true")?.ends_with(125)?.complains("zzz: no such layer in ")?;
    here(desk, "condatainer info zzz")?.ends_with(1)?.complains("zzz: no such layer in ")?;
    // What is there and cannot be used is not what is missing.
    desk.script("mkdir locked; chmod 0 locked")?.success()?;
    let locked = format!("{} (Permission denied)", desk.path("locked"));
    here(desk, "CONDATAINER_IMAGE_DIRS=$PWD/locked condatainer exec -o zzz true")?
        .ends_with(125)?
        .complains(&locked)?;
    here(desk, "CONDATAINER_IMAGE_DIRS=$PWD/locked condatainer list")?.success()?.complains(&locked)?;
    desk.script(&format!("ln -s /nowhere {DIR}/dangling--1.sqf"))?.success()?;
    let text = "dangling--1.sqf: no such file or directory";
    here(desk, "condatainer exec -o dangling/1 true")?.ends_with(125)?.complains(text)?;
    Ok(())
}

fn layers_are_listed(desk: &Desk) -> Result<()> {
    module(desk, "samtools", "1.16", "#WHATIS:reads alignments")?;
    module(desk, "bcftools", "1.20", "")?;
    desk.script(&format!("mkdir other; cp {DIR}/samtools--1.16.sqf other; touch other/no-layer.txt"))?.success()?;
    let both = "CONDATAINER_IMAGE_DIRS=$PWD/other ";
    let text = here(desk, &format!("{both} condatainer list"))?.success()?.stdout;
    ensure!(text.starts_with("  NAME") && text.contains("WHAT IT IS FOR"), "{text}");
    let names: Vec<_> =
        text.lines().skip(1).filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next()).collect();
    ensure!(names == ["samtools/1.16", "bcftools/1.20", "samtools/1.16"], "{text}");
    ensure!(text.contains("reads alignments") && text.contains("(hidden by the one above)"), "{text}");
    let listed = json(&here(desk, &format!("{both} condatainer list --json sam"))?.success()?)?;
    ensure!(listed[0]["path"] == desk.path("other/samtools--1.16.sqf") && listed[1]["hidden"] == true, "{listed}");
    ensure!(listed[0].get("whatis").is_none(), "{listed}");
    let listed = json(&here(desk, &format!("{both} condatainer list -w --json sam"))?.success()?)?;
    ensure!(listed[0]["whatis"] == "reads alignments", "{listed}");
    here(desk, &format!("{both} condatainer list --names"))?.says("samtools/1.16\nbcftools/1.20")?;
    here(desk, "condatainer ls 'bcf*'")?.success()?;
    here(desk, "condatainer list nothing")?.ends_with(1)?.complains("nothing: no layer has such a name")?;
    Ok(())
}

fn layers_are_removed(desk: &Desk) -> Result<()> {
    module(desk, "samtools", "1.16", "")?;
    module(desk, "samtools", "1.9", "")?;
    module(desk, "other", "1", "")?;
    desk.write(&format!("{DIR}/samtools--1.16.sqf.env"), "A=1\n")?;
    let left = || Ok::<_, anyhow::Error>(desk.run(&["ls", DIR])?.stdout);
    here(desk, "condatainer remove samtools/1.16")?
        .ends_with(1)?
        .complains("this is not a terminal, so nothing is removed: use -y")?;
    let ask = format!("{LIBRARY}condatainer rm samtools/1.16");
    let answered = |answer: &str| desk.command().terminal().stdin(answer).run(&["bash", "-c", &ask]);
    answered("n\n")?.ends_with(1)?;
    ensure!(left()?.contains("samtools--1.16.sqf"), "a 'no' is a no");
    answered("y\n")?.ends_with(0)?;
    ensure!(left()? == "other--1.sqf\nsamtools--1.9.sqf\n", "{}", left()?);
    here(desk, "condatainer rm -y 'samtools/*'")?.success()?.complains("samtools--1.9.sqf: removed")?;
    here(desk, "condatainer rm -y samtools/1.9")?.ends_with(1)?;
    here(desk, "echo text > plain.txt; condatainer rm -y ./plain.txt")?.ends_with(1)?;
    ensure!(desk.files()?.contains(&"plain.txt".into()), "only layers are removed");
    here(desk, &format!("condatainer rm -y {DIR}/other--1.sqf"))?.success()?;
    ensure!(left()?.is_empty(), "{}", left()?);
    Ok(())
}

fn layers_in_use_are_not_removed(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let held = "python3 -c 'import fcntl,struct,time; f=open(\"env.img\",\"r+b\"); fcntl.fcntl(f, 37, struct.pack(\"hhqqi\", 1, 0, 0, 0, 0)); print(1, flush=True); time.sleep(20)' > locked & \
        until [ -s locked ]; do sleep 0.1; done; condatainer rm -y ./env.img; rc=$?; kill %1; exit $rc";
    here(desk, held)?.ends_with(1)?.complains("in use for writing by")?;
    ensure!(desk.files()?.contains(&"env.img".into()), "it is still there");
    Ok(())
}

/// A real bash, asked for what it would offer. It splits a line at `:` and `=` too, and puts in what follows the last of them.
fn the_tab_key_knows_layers(desk: &Desk) -> Result<()> {
    module(desk, "samtools", "1.16", "")?;
    module(desk, "samtools", "1.9", "")?;
    desk.script("touch env.img sample.txt; mkdir -p sam.d")?.success()?;
    // bash puts into its line what it is offered, and would run these.
    desk.script(&format!(
        "touch 'e$(touch run).img' 'env;touch run.img' {DIR}/'samtools--`touch run`.sqf' {DIR}/'samtools--*.sqf'"
    ))?
    .success()?;
    let offered = |line: &str| {
        let text = format!(
            "source <(condatainer completions bash); COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}
            COMP_WORDS=($(sed 's/[:=]/ & /g' <<< \"$COMP_LINE\")); [[ $COMP_LINE == *' ' ]] && COMP_WORDS+=('')
            COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_TYPE=9; _condatainer; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let output = here(desk, &text)?.success()?;
        Ok::<_, anyhow::Error>(output.stdout.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>())
    };
    ensure!(
        offered("condatainer exec -o sam")? == ["samtools/1.16", "samtools/1.9", "sam.d/"],
        "{:?}",
        offered("condatainer exec -o sam")?
    );
    ensure!(offered("condatainer e e")? == ["env.img"], "{:?}", offered("condatainer e e")?);
    ensure!(
        offered("condatainer exec -o x.sqf,samtools/1.1")? == ["x.sqf,samtools/1.16"],
        "{:?}",
        offered("condatainer exec -o x.sqf,samtools/1.1")?
    );
    ensure!(offered("condatainer overlay chown s")? == ["sam.d/"], "{:?}", offered("condatainer overlay chown s")?);
    desk.image("real.img")?;
    desk.script("mkdir -p sam.d/deep; cp real.img sam.d/deep/x.img")?.success()?;
    for (line, expected) in [
        ("condatainer e real.img:", &["ro", "rw", "tmp"][..]),
        ("condatainer e real.img:r", &["ro", "rw"]),
        ("condatainer exec --overlay=samtools/1.9:", &["ro"]),
        ("condatainer exec --overlay=a.sqf,real.img:t", &["tmp"]),
        ("condatainer exec --overlay=real", &["real.img"]),
        ("condatainer e sam.d/", &["sam.d/deep/"]),
        ("condatainer e sam.d/deep/", &["sam.d/deep/x.img"]),
        ("condatainer overlay info ./r", &["./real.img"]),
    ] {
        ensure!(offered(line)? == expected, "{line}: {:?}", offered(line)?);
    }
    ensure!(offered("condatainer rem")? == ["remove"], "{:?}", offered("condatainer rem")?);
    Ok(())
}

fn settings_say_where_they_come_from(desk: &Desk) -> Result<()> {
    desk.script("mkdir -p config/condatainer")?.success()?;
    desk.write("config/condatainer/config.toml", "tmpdir = \"/tmp\"\nimage_dirs = [\"/srv/none\"]\n")?;
    let config = json(&here(desk, "CONDATAINER_FAKEROOT=false condatainer config --json")?.success()?)?;
    let of = |key: &str| config["settings"].as_array().into_iter().flatten().find(|s| s["key"] == key).cloned();
    let source = |key: &str| of(key).map(|setting| setting["source"].to_string()).unwrap_or_default();
    ensure!(source("base").contains("/etc/condatainer/config.toml") && source("base").contains("site"), "{config}");
    ensure!(source("tmpdir").contains("user") && source("fakeroot").contains("CONDATAINER_FAKEROOT"), "{config}");
    ensure!(source("conda") == "\"default\"", "{config}");
    ensure!(config["image_dirs"][0] == "/srv/none" && config["image_dirs"][1] == desk.path(DIR), "{config}");
    let text = here(desk, "condatainer config")?.success()?.stdout;
    ensure!(text.contains("base           /srv/base/base.sqf  (/etc/condatainer/config.toml)"), "{text}");
    desk.write("config/condatainer/config.toml", "basse = \"/tmp\"\n")?;
    here(desk, "condatainer config")?.ends_with(1)?.complains("config.toml: line 1: unknown field `basse`")?;
    Ok(())
}
