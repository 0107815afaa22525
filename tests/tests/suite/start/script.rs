//! Scripts with lines of their own (`#DEP:`, `#CNT`): `run` here, in a job and as a job, `check`, and sbatch with the plugin.

use anyhow::{Context, Result, ensure};
use cluster::Output;
use serde_json::Value;

use crate::support::{Desk, Expect, WHERE, tests};

tests! {
    Apptainer, Desk: [
        run_takes_a_scripts_lines, the_command_line_wins_over_lines, run_ends_as_the_script_does, run_takes_the_interpreter_or_bash, an_interpreter_line_of_ours_runs_once,
        module_lines_count_when_asked, a_script_elsewhere_is_shown, cnt_writes_by_sbatch, a_submitted_job_keeps_every_option,
    ];
    Slurm, Desk: [
        what_is_missing_fails_at_the_prompt, check_lists_what_is_missing, run_works_within_a_job, a_job_is_not_submitted_again, sbatch_options_are_passed_on,
        what_would_make_another_job_is_refused, a_dry_run_submits_nothing, sbatch_honours_lines, sbatch_finds_the_script_that_it_runs, a_script_from_a_pipe, off_ignores_lines,
        options_lie_over_lines, scope_steps_with_lines, sbatch_refuses_bad_lines, a_script_without_lines_stays_on_the_host,
    ];
}

/// A module of the user's own, named after the test: its name, and what [`WHERE`] shows of it.
fn module(desk: &Desk) -> Result<(String, String)> {
    let test = desk.dir.rsplit('/').next().unwrap_or_default();
    let images = "/home/alice/.local/share/condatainer/images";
    desk.run(&["mkdir", "-p", images])?.success()?;
    desk.squashfs(&format!("{images}/{test}--1.sqf"), "")?;
    Ok((format!("{test}/1"), format!("{test}--1")))
}

fn run(desk: &Desk, arguments: &[&str]) -> Result<Output> {
    desk.run(&[&["condatainer", "run"], arguments].concat())
}

/// A script of these lines, then one that says where it runs.
fn script(lines: &str) -> String {
    format!("#!/bin/bash\n{lines}\n{WHERE}\n")
}

/// Waits for a job whose number a command has printed, and nothing else; hands on what the job wrote to `out`.
fn finished(desk: &Desk, output: &Output) -> Result<(i32, String)> {
    let id = output.stdout.trim_end().parse().with_context(|| format!("no job number: {output:?}"))?;
    let job = desk.job_ends(id)?;
    Ok((job.code, desk.written("out")?))
}

fn run_takes_a_scripts_lines(desk: &Desk) -> Result<()> {
    let (name, layer) = module(desk)?;
    desk.image("env.img")?;
    let text = script(&format!(
        "#DEP: {} # a name\n#DEP: ./env.img\n#CNT --env 'GREETING=hello you' --bind /etc/slurm:/mnt",
        name.replace('/', "=")
    ));
    desk.write("job.sh", &format!("{text}echo $GREETING $# $2; ls /mnt | grep conf; touch /x\n"))?;
    let output = run(desk, &["job.sh", "-w", "a  b"])?.ends_with(1)?.complains("Read-only file system")?;
    let expected = format!("inside env {layer}\nhello you 2 a b\n");
    ensure!(output.stdout.starts_with(&expected) && output.stdout.contains("slurm.conf"), "{output:?}");
    Ok(())
}

fn the_command_line_wins_over_lines(desk: &Desk) -> Result<()> {
    desk.squashfs("a.sqf", "echo a > file")?;
    desk.squashfs("b.sqf", "echo b > file")?;
    desk.image("env.img")?;
    let lines = "#DEP: a.sqf\n#DEP: env.img\n#CNT --env A=1 --env B=1 --pwd /tmp --no-fakeroot";
    desk.write("job.sh", &format!("{}cat /file; echo $A $B $PWD $(id -u); touch /made\n", script(lines)))?;
    let options = ["-f", "-o", "b.sqf,env.img:rw", "--env", "B=2", "--pwd", "/usr", "job.sh"];
    run(desk, &options)?.says("inside a b env\nb\n1 2 /usr 0")?;
    run(desk, &["-w", "--dry-run=json", "job.sh"])?.success().and_then(|output| {
        let plan: Value = serde_json::from_str(&output.stdout)?;
        ensure!(plan["holds"] == desk.path("env.img") && plan["fakeroot"] == Value::Null, "{plan}");
        Ok(())
    })?;
    run(desk, &["-b", "/srv/base/base.sif", "--dry-run", "job.sh"])?.success().and_then(|output| {
        ensure!(output.stdout.contains(" /srv/base/base.sif "), "{output:?}");
        Ok(())
    })
}

fn run_ends_as_the_script_does(desk: &Desk) -> Result<()> {
    desk.squashfs("a.sqf", "")?;
    for (end, code) in [("exit 7", 7), ("kill -TERM $$", 143), ("no-such-command", 127)] {
        desk.write("job.sh", &format!("#!/bin/sh\n#DEP: a.sqf\n{end}\n"))?;
        run(desk, &["job.sh"])?.ends_with(code)?;
    }
    Ok(())
}

fn run_takes_the_interpreter_or_bash(desk: &Desk) -> Result<()> {
    desk.write("by-itself", "#!/usr/bin/python3\n#CNT --env A=b\nimport os, sys\nprint(os.environ['A'], *sys.argv)\n")?;
    run(desk, &["by-itself", "x"])?.says(&format!("b {} x", desk.path("by-itself")))?;
    desk.script("printf 'echo ${BASH_VERSION:+bash} $0 $1\\n' > by-bash")?.success()?;
    for mode in ["644", "755"] {
        desk.run(&["chmod", mode, "by-bash"])?.success()?;
        run(desk, &["by-bash", "x"])?.says(&format!("bash {} x", desk.path("by-bash")))?;
    }
    Ok(())
}

fn an_interpreter_line_of_ours_runs_once(desk: &Desk) -> Result<()> {
    desk.squashfs("a.sqf", "")?;
    let text = script("#DEP: a.sqf").replace("#!/bin/bash", "#!/usr/bin/env -S condatainer run --env A=b");
    desk.write("tool", &format!("{text}echo $A $1\n"))?;
    desk.run(&["./tool", "x"])?.says("inside a\nb x")?;
    // As a batch script it stands in the spool directory, and the plugin leaves its lines to it.
    let id = desk.run(&["sbatch", "--parsable", "-o", "out", "tool", "y"])?.success()?;
    let (code, text) = finished(desk, &id)?;
    ensure!(code == 0 && text == "inside a\nb y\n", "{code} {text}");
    Ok(())
}

fn module_lines_count_when_asked(desk: &Desk) -> Result<()> {
    let (name, layer) = module(desk)?;
    desk.write("job.sh", &script(&format!("module load {name}\nml purge\necho $?")))?;
    run(desk, &["--module", "job.sh"])?.says(&format!("0\ninside {layer}"))?.without_a_word()?;
    run(desk, &["job.sh"])?.success().and_then(|output| {
        ensure!(output.stdout == "127\ninside\n" && output.stderr.contains("command not found"), "{output:?}");
        Ok(())
    })
}

fn a_script_elsewhere_is_shown(desk: &Desk) -> Result<()> {
    desk.write("job.sh", "#!/bin/sh\ncat ${0%/*}/word\n")?;
    let text = "mkdir /srv/scripts; cp job.sh /srv/scripts; cp job.sh /usr/local/bin/script-test
        echo beside > /srv/scripts/word; echo hidden > /usr/local/bin/word";
    desk.as_root(text)?.success()?;
    run(desk, &["/srv/scripts/job.sh"])?.says("beside")?;
    for options in [&["--pwd", "/usr"][..], &["-f"], &[]] {
        let here = desk.command().cwd("/srv/scripts");
        here.run(&[&["condatainer", "run"], options, &["job.sh"]].concat())?.says("beside")?;
    }
    run(desk, &["/usr/local/bin/script-test"])?.ends_with(1)?.complains("/usr/local/bin/word")?;
    Ok(())
}

fn what_is_missing_fails_at_the_prompt(desk: &Desk) -> Result<()> {
    let (name, _) = module(desk)?;
    let near = name.replace("/1", "/9");
    desk.write("job.sh", &script(&format!("#SBATCH -n1\n#DEP: {near}")))?;
    let message = format!("job.sh: line 3: {near}: no such layer: did you mean {name}?");
    let jobs = || desk.run(&["squeue", "--noheader", "--me", "--states=all", "--name=job.sh"]);
    for arguments in [&["job.sh"][..], &["--no-submit", "job.sh"], &["--dry-run", "job.sh"]] {
        let output = run(desk, arguments)?.ends_with(125)?.complains(&message)?;
        ensure!(output.stdout.is_empty(), "{output:?}");
    }
    desk.write("job.sh", &script("#SBATCH -n1\n#DEP: src/env.img"))?;
    run(desk, &["job.sh"])?.ends_with(125)?.complains("src/env.img: no such file or directory")?;
    desk.write("job.sh", &script("#SBATCH -n1\n\n#CNT --gpus all"))?;
    run(desk, &["job.sh"])?.ends_with(125)?.complains("job.sh: line 4: #CNT does not know '--gpus'")?;
    run(desk, &["none.sh"])?.ends_with(125)?.complains("none.sh: cannot be read as a script: No such file")?;
    ensure!(!jobs()?.success()?.stdout.contains(&desk.dir), "a job was made");
    Ok(())
}

fn check_lists_what_is_missing(desk: &Desk) -> Result<()> {
    let (name, layer) = module(desk)?;
    let near = name.replace("/1", "/9");
    desk.squashfs("a.sqf", "")?;
    desk.run(&["mkdir", "scripts", "src"])?.success()?;
    desk.write("scripts/good.sh", &script(&format!("#DEP: {name}\n#DEP: a.sqf")))?;
    let good = desk.run(&["condatainer", "check", "scripts/good.sh"])?.success()?;
    ensure!(good.stdout.contains(&format!("{layer}.sqf")) && good.stdout.lines().count() == 2, "{good:?}");
    desk.write(
        "scripts/bad.sh",
        &script(&format!("#DEP: {near}\n#DEP: src/r env.sqf\n#DEP: work.img\n#CNT -o o.sqf")),
    )?;
    desk.write("src/r env.yml", "name: r\n")?;
    let check = |arguments: &[&str]| desk.run(&[&["condatainer", "check"], arguments].concat());
    let output = check(&["scripts"])?.ends_with(1)?;
    let lines: Vec<_> = output.stdout.lines().collect();
    for (line, words) in [
        (0, format!("missing  scripts/bad.sh:2   {near}")),
        (0, format!("did you mean {name}?")),
        (1, format!("condatainer create -f '{0}.yml' -p '{0}.sqf'", desk.path("src/r env"))),
        (2, format!("condatainer o {}", desk.path("work.img"))),
        (3, format!("{}: no such file", desk.path("o.sqf"))),
        (4, format!("ok       scripts/good.sh:2  {name}")),
    ] {
        ensure!(lines.get(line).is_some_and(|text| text.contains(&words)), "{line}: {words} in {}", output.stdout);
    }
    let value: Value = serde_json::from_str(&check(&["--json", "scripts/bad.sh"])?.ends_with(1)?.stdout)?;
    ensure!(value["missing"] == 4 && value["dependencies"][0]["line"] == 2, "{value}");
    check(&["none.sh"])?.ends_with(1)?.complains("none.sh: cannot be read as a script")?;
    Ok(())
}

fn run_works_within_a_job(desk: &Desk) -> Result<()> {
    let (name, layer) = module(desk)?;
    desk.write("job.sh", &format!("{}echo $1\nexit 3\n", script(&format!("#SBATCH -J not-again\n#DEP: {name}"))))?;
    let output =
        desk.run(&["sbatch", "--parsable", "-o", "out", "--wrap", "condatainer run job.sh 'a b'"])?.success()?;
    let (code, text) = finished(desk, &output)?;
    ensure!(code == 3 && text == format!("inside {layer}\na b\n"), "{code} {text}");
    desk.srun(&["condatainer", "run", "job.sh", "x"])?.ends_with(3).and_then(|output| {
        ensure!(output.stdout == format!("inside {layer}\nx\n"), "{output:?}");
        Ok(())
    })
}

fn a_submitted_job_keeps_every_option(desk: &Desk) -> Result<()> {
    let (name, layer) = module(desk)?;
    desk.image("env.img")?;
    desk.run(&["mkdir", "it's here"])?.success()?;
    let lines = format!("#SBATCH -o out --comment='two words'\n#DEP: {name}\n#CNT --env A=1 --env B=1");
    let text = format!("{}echo \"$A $B $PWD $# $2\"; ls /mnt; touch /made; id -u; exit 5\n", script(&lines));
    desk.write("job.sh", &text)?;
    desk.write("it's here/file", "")?;
    let options = ["-w", "-f", "-o", "env.img", "--env", "B=b  \"c\" $d", "--bind", "it's here:/mnt", "--pwd", "/usr"];
    let output = run(desk, &[&options[..], &["job.sh", "-x", "y 'z'\n#DEP: none"]].concat())?.success()?;
    output.clone().complains(": /home/alice/a_submitted_job_keeps_every_option/job.sh")?;
    let (code, text) = finished(desk, &output)?;
    let expected = format!("inside {layer} env\n1 b  \"c\" $d /usr 2 y 'z'\n#DEP: none\nfile\n0\n");
    ensure!(code == 5 && text.ends_with(&expected), "{code} {text}");
    desk.run(&["condatainer", "exec", "-o", "env.img", "ls", "/made"])?.says("/made")?;
    desk.is_clean("env.img")
}

fn a_job_is_not_submitted_again(desk: &Desk) -> Result<()> {
    let (name, layer) = module(desk)?;
    desk.write("job.sh", &script(&format!("#SBATCH -o out -J mine\n#DEP: {name}\necho \"$SLURM_JOB_NAME\"")))?;
    let (code, text) = finished(desk, &run(desk, &["job.sh"])?.success()?)?;
    ensure!(code == 0 && text == format!("mine\ninside {layer}\n"), "{code} {text}");
    run(desk, &["--no-submit", "job.sh"])?.says(&format!("\ninside {layer}"))?;
    desk.write("plain.sh", &script(&format!("#DEP: {name}")))?;
    run(desk, &["plain.sh"])?.says(&format!("inside {layer}"))?;
    Ok(())
}

fn sbatch_options_are_passed_on(desk: &Desk) -> Result<()> {
    let (name, _) = module(desk)?;
    desk.run(&["mkdir", "there"])?.success()?;
    desk.squashfs("there/rel.sqf", "")?;
    desk.write("job.sh", &script(&format!("#DEP: {name}\n#DEP: rel.sqf\necho \"$SLURM_JOB_NAME $PWD\"; exit 4")))?;
    let out = format!("--output={}", desk.path("out"));
    let options = ["--sbatch", &out, "--sbatch=-Dthere", "--sbatch=--wait"];
    let output = run(desk, &[&options[..], &["job.sh"]].concat())?.ends_with(4)?;
    let (_, text) = finished(desk, &output)?;
    ensure!(text == format!("job.sh {}\n", desk.path("there")), "{text}");
    let refused = run(desk, &["--sbatch=--mem=many", "job.sh"])?.ends_with(125)?;
    ensure!(refused.stdout.is_empty(), "{refused:?}");
    refused.complains("rel.sqf: no such file")?;
    desk.write("job.sh", &script(&format!("#DEP: {name}")))?;
    run(desk, &["--sbatch=--mem=many", "job.sh"])?.ends_with(125)?.complains("sbatch did not take ")?;
    Ok(())
}

fn what_would_make_another_job_is_refused(desk: &Desk) -> Result<()> {
    desk.squashfs("a.sqf", "")?;
    desk.write("job.sh", &script("#SBATCH --condatainer-overlay=a.sqf"))?;
    run(desk, &["job.sh"])?.ends_with(125)?.complains("--condatainer-overlay=a.sqf is for 'sbatch ")?;
    desk.write("job.sh", &script("#SBATCH -n1"))?;
    for option in ["other.sh", "--wrap=true"] {
        run(desk, &["--sbatch", option, "job.sh"])?.ends_with(125)?.complains("write one option of sbatch")?;
    }
    desk.srun(&["condatainer", "run", "--sbatch=-n1", "job.sh"])?.ends_with(125)?.complains("SLURM_JOB_ID is set")?;
    run(desk, &["--no-submit", "--sbatch=-n1", "job.sh"])?.ends_with(2)?;
    Ok(())
}

fn a_dry_run_submits_nothing(desk: &Desk) -> Result<()> {
    let (name, _) = module(desk)?;
    desk.write("job.sh", &script(&format!("#SBATCH -o out\n#DEP: {name}")))?;
    let text = run(desk, &["--dry-run", "--sbatch=--mem=1G", "--mounts=own", "job.sh", "a b"])?.success()?.stdout;
    let command = format!("condatainer run --no-submit '--mounts=own' {} 'a b'\n", desk.path("job.sh"));
    ensure!(text.contains("sbatch --parsable '--mem=1G' <<") && text.contains("#SBATCH -o out\nexec "), "{text}");
    ensure!(text.contains(&command), "{text}");
    let value: Value = serde_json::from_str(&run(desk, &["--dry-run=json", "job.sh"])?.success()?.stdout)?;
    ensure!(value["script"].as_str().is_some_and(|script| script.starts_with("#!/bin/sh\n")), "{value}");
    ensure!(desk.files()? == ["job.sh"], "{:?}", desk.files()?);
    Ok(())
}

fn sbatch_honours_lines(desk: &Desk) -> Result<()> {
    let (name, layer) = module(desk)?;
    let text = script(&format!("#SBATCH -n1\n#DEP: {name}\n#CNT --env 'A=b c'\necho \"$A\" $1 $(basename $0)"));
    desk.write("job.sh", &text)?;
    let output = desk.run(&["sbatch", "--parsable", "-o", "out", "job.sh", "x"])?.success()?;
    let (code, text) = finished(desk, &output)?;
    ensure!(code == 0 && text == format!("b c x slurm_script\ninside {layer}\n"), "{code} {text}");
    Ok(())
}

fn cnt_writes_by_sbatch(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let (_, text) = desk.batch(&["-n2"], &script("#DEP: env.img\n#CNT -w\ntouch /made"))?;
    ensure!(text == "inside env\n", "{text}");
    desk.run(&["condatainer", "exec", "-o", "env.img", "ls", "/made"])?.says("/made")?;
    desk.is_clean("env.img")
}

/// Options whose values are files, options in one word and in two, and a script that is found in PATH.
fn sbatch_finds_the_script_that_it_runs(desk: &Desk) -> Result<()> {
    let (name, layer) = module(desk)?;
    desk.write("decoy.sh", &script("#DEP: decoy.sqf"))?;
    desk.run(&["mkdir", "bin", "there"])?.success()?;
    desk.write("bin/job.sh", &script(&format!("#DEP: {name}")))?;
    let out = desk.path("out");
    let options = ["-J", "decoy.sh", "--comment", "decoy.sh", "-vo", &out, "-D", "there", "--export", "NONE", "--"];
    for (path, script) in [(desk.path("bin"), "job.sh"), ("/usr".into(), "bin/job.sh"), ("/usr".into(), "./bin/job.sh")]
    {
        let command = desk.command().env("PATH", &format!("{path}:/usr/local/bin:/usr/bin:/bin"));
        let submitted =
            command.run(&[&["sbatch", "--parsable"], &options[..], &[script, "decoy.sh", ":x"]].concat())?.success()?;
        let (code, text) = finished(desk, &submitted)?;
        ensure!(code == 0 && text.ends_with(&format!("inside {layer}\n")), "{script}: {code} {text}");
    }
    Ok(())
}

fn a_script_from_a_pipe(desk: &Desk) -> Result<()> {
    let (name, layer) = module(desk)?;
    desk.squashfs("a.sqf", "")?;
    desk.write("job.sh", &script(&format!("#DEP: {name}\n#CNT --env A=b\necho $A $1")))?;
    for (command, expected) in [
        ("cat job.sh | sbatch --parsable -o out", format!("b\ninside {layer}\n")),
        ("sbatch --parsable -o out < job.sh", format!("b\ninside {layer}\n")),
        ("sbatch --parsable -o out <(cat job.sh) x", format!("b x\ninside {layer}\n")),
        ("sbatch --parsable -o out --condatainer-overlay=a.sqf < job.sh", format!("b\ninside a {layer}\n")),
    ] {
        let (code, text) = finished(desk, &desk.script(command)?.success()?)?;
        ensure!(code == 0 && text == expected, "{command}: {code} {text}");
    }
    let steps = "sbatch --parsable -o out --condatainer-overlay=a.sqf --condatainer-scope=steps < job.sh";
    let (code, text) = finished(desk, &desk.script(steps)?.success()?)?;
    ensure!(code != 0 && !text.contains("host"), "{code} {text}");
    desk.write("job.sh", &script("#DEP: none/1.0"))?;
    let (code, text) = finished(desk, &desk.script("sbatch --parsable -o out < job.sh")?.success()?)?;
    ensure!(code == 125 && text.contains("slurm_script: line 2: none/1.0: no such layer"), "{code} {text}");
    desk.nodes_are_well()
}

fn off_ignores_lines(desk: &Desk) -> Result<()> {
    desk.write("job.sh", &script("#DEP: none.sqf"))?;
    for command in
        ["--condatainer-off job.sh", "--condatainer-off < job.sh", "--condatainer-off --export=NONE < job.sh"]
    {
        let submitted = desk.script(&format!("sbatch --parsable -o out {command}"))?.success()?;
        let (code, text) = finished(desk, &submitted)?;
        ensure!(code == 0 && text == "host\n", "{command}: {code} {text}");
    }
    Ok(())
}

fn options_lie_over_lines(desk: &Desk) -> Result<()> {
    let (name, layer) = module(desk)?;
    desk.squashfs("over.sqf", "")?;
    let lines = format!("#SBATCH --condatainer-env=B=2\n#DEP: {name}\n#CNT --env A=1 --env B=1\necho $A $B");
    let (_, text) = desk.batch(&["--condatainer-overlay=over.sqf"], &script(&lines))?;
    let mut names = [layer.as_str(), "over"];
    names.sort_unstable();
    ensure!(text == format!("1 2\ninside {} {}\n", names[0], names[1]), "{text}");
    Ok(())
}

fn scope_steps_with_lines(desk: &Desk) -> Result<()> {
    let (name, layer) = module(desk)?;
    desk.write("where", &format!("#!/bin/sh\n{WHERE}\n"))?;
    let lines = format!(
        "#SBATCH --condatainer-scope=steps\n#DEP: {name}\nsrun {0}; srun --condatainer-off {0}",
        desk.path("where")
    );
    let (_, text) = desk.batch(&[], &script(&lines))?;
    ensure!(text == format!("inside {layer}\nhost\nhost\n"), "{text}");
    Ok(())
}

fn sbatch_refuses_bad_lines(desk: &Desk) -> Result<()> {
    for (lines, message) in [
        ("#DEP: none.sqf", "none.sqf: no such file or directory"),
        ("#DEP: none/1.0", "job.sh: line 2: none/1.0: no such layer"),
        ("#CNT --what", "job.sh: line 2: #CNT does not know '--what'"),
        ("#DEP: env.img:wr", "unknown mode ':wr'"),
    ] {
        desk.write("job.sh", &script(lines))?;
        desk.refused(desk.run(&["sbatch", "--parsable", "job.sh"])?, message)?;
    }
    Ok(())
}

fn a_script_without_lines_stays_on_the_host(desk: &Desk) -> Result<()> {
    let (_, text) = desk.batch(&[], &script("# DEP: none\n#CNTRL\necho '#DEP: none'"))?;
    ensure!(text == "#DEP: none\nhost\n", "{text}");
    let output = desk.run(&["sbatch", "--parsable", "-o", "out", "--wrap", "echo '#DEP: none'"])?.success()?;
    let (code, text) = finished(desk, &output)?;
    ensure!(code == 0 && text == "#DEP: none\n", "{code} {text}");
    Ok(())
}
