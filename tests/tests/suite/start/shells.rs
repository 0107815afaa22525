//! Interactive shells: what they find first whatever they read, and what they ask with.

use anyhow::{Context, Result, ensure};
use cluster::Release;

use crate::support::{Desk, Expect, Setup, World, tests};

tests! {
    Apptainer, OwnCluster: [the_container_comes_first_whatever_a_shell_reads];
    Apptainer, Desk: [the_prompt_names_the_image_and_its_mode, a_name_is_never_a_command, packages_of_another_python_are_not_found];
}

/// What an installer of conda writes, on a machine where its hook fails, and what activating an environment does.
pub(crate) const BASHRC: &str = r#"
PATH=$HOME/bin:$PATH
# >>> conda initialize >>>
# !! Contents within this block are managed by 'conda init' !!
__conda_setup="$('/home/alice/miniconda3/bin/conda' 'shell.bash' 'hook' 2> /dev/null)"
if [ $? -eq 0 ]; then
    eval "$__conda_setup"
else
    if [ -f "/home/alice/miniconda3/etc/profile.d/conda.sh" ]; then
        . "/home/alice/miniconda3/etc/profile.d/conda.sh"
    else
        export PATH="/home/alice/miniconda3/bin:$PATH"
    fi
fi
unset __conda_setup
# <<< conda initialize <<<
export CONDA_PREFIX=/home/alice/miniconda3 CONDA_DEFAULT_ENV=base CONDA_SHLVL=1 CONDA_PROMPT_MODIFIER='(base) '
export VIRTUAL_ENV=/home/alice/venv PYTHONHOME=/home/alice/miniconda3
PS1="(base) $PS1"
alias mine='echo alias works'
"#;

/// What is typed. What is asked for is spelled otherwise in the answer, as a terminal shows both.
const TYPED: &str = "echo which=$(command -v python) prefix=$CONDA_PREFIX level=$CONDA_SHLVL home=${PYTHONHOME-none}\n\
    echo venv=${VIRTUAL_ENV-none} own=$(command -v owntool) open=$(ls -l /proc/$$/fd | grep -c memfd)\nmine\nexit 6\n";
const ANSWERS: [&str; 2] =
    ["which=/ext3/env/bin/python prefix=/ext3/env level=1 home=none", "venv=none own=/home/alice/bin/owntool open=0"];

/// An image with an environment, whose python tells that it is the one.
pub(crate) fn environment(desk: &Desk) -> Result<()> {
    desk.image_with(
        "env.img",
        "$SUDO_UID:$SUDO_GID",
        "mkdir -p ext3/env/bin; ln -s /usr/bin/python3 ext3/env/bin/python",
    )
}

fn the_container_comes_first_whatever_a_shell_reads(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::default(), |desk| {
        environment(desk)?;
        let programs = "mkdir -p ~/miniconda3/bin ~/bin; printf '#!/bin/sh\\nexit 1\\n' > ~/miniconda3/bin/conda
            echo echo host > ~/miniconda3/bin/python; cp ~/miniconda3/bin/python ~/bin/owntool
            chmod 755 ~/miniconda3/bin/* ~/bin/*; cp bashrc ~/.bashrc; echo . ~/.bashrc > ~/.profile";
        desk.write("bashrc", BASHRC)?;
        desk.script(programs)?.success()?;
        let slurm = ["srun", "--pty", "--condatainer-overlay=env.img:rw"];
        let starts: [&[&str]; 8] = [
            &["condatainer", "e"],
            &["condatainer", "e", "--", "bash"],
            &["condatainer", "e", "--", "bash", "-i"],
            &["condatainer", "e", "--", "bash", "-l"],
            // One that something else starts.
            &["condatainer", "e", "--", "sh", "-c", "bash; exit $?"],
            &[&slurm[..], &["bash"]].concat(),
            &[&slurm[..], &["bash", "-l"]].concat(),
            &["env", "ENV=/home/alice/.bashrc", "SHELL=/bin/sh", "condatainer", "e"],
        ];
        for start in starts {
            asked(desk, start)?;
        }
        // Those that a start itself reads for have it even where bash's own variable is taken.
        desk.script("echo \"PROMPT_COMMAND='history -a'\" >> ~/.bashrc")?.success()?;
        for start in [starts[0], starts[1], starts[5]] {
            asked(desk, start)?;
        }
        joined(desk)?;
        scripts(desk)
    })
}

/// Login shells read the user's files too, for a script: what a job begins with as often as not.
fn scripts(desk: &Desk) -> Result<()> {
    let asked = "command -v python; echo $CONDA_PREFIX ${BASH_ENV-none} $(ls -l /proc/$$/fd | grep -c memfd)";
    let answer = "/ext3/env/bin/python\n/ext3/env none 0\n";
    let text = format!(
        "#!/bin/bash -l\n#SBATCH --condatainer-overlay=env.img\n{asked}\nsrun -n1 bash -lc 'command -v python'\n"
    );
    let (_, said) = desk.batch(&[], &text)?;
    ensure!(said == format!("{answer}/ext3/env/bin/python\n"), "{said}");
    desk.write("script", &format!("#!/usr/bin/env -S bash --login\n{asked}\n"))?;
    let starts: [&[&str]; 4] =
        [&["./script"], &["bash", "-lc", asked], &["bash", "-l", "script"], &["bash", "-ic", asked]];
    for start in starts {
        desk.run(&[&["condatainer", "exec", "-o", "env.img"], start].concat())?.says(answer.trim_end())?;
        desk.srun(&[&["--condatainer-overlay=env.img"], start].concat())?.says(answer.trim_end())?;
    }
    let own = desk.command().env("BASH_ENV", "/home/alice/env").env("FROM", "me");
    desk.script("echo 'echo own $FROM; PATH=/mine:$PATH' > ~/env")?.success()?;
    own.run(&["condatainer", "exec", "-o", "env.img", "bash", "-lc", "command -v python; echo $BASH_ENV"])?
        .says("own me\n/ext3/env/bin/python\n/home/alice/env")?;
    Ok(())
}

fn asked(desk: &Desk, start: &[&str]) -> Result<()> {
    let output = desk.command().terminal().stdin(TYPED).run(start)?.ends_with(6).context(start.join(" "))?;
    for answer in ANSWERS.iter().chain(["alias works\r\n"].iter()) {
        ensure!(output.stdout.contains(answer), "{start:?}: {answer}: {}", output.stdout);
    }
    ensure!(output.stdout.contains("(env.img rw) "), "{start:?}: {}", output.stdout);
    ensure!(
        !output.stdout.contains("(base) (") && !output.stdout.contains("Apptainer> "),
        "{start:?}: {}",
        output.stdout
    );
    Ok(())
}

fn joined(desk: &Desk) -> Result<()> {
    let id = desk.submit(
        &["--condatainer-overlay=env.img:rw"],
        "#!/bin/sh\ntouch /ready started\nuntil [ -e stop ]; do sleep 0.1; done\n",
    )?;
    desk.wait_until("[ -e started ]")?;
    asked(desk, &["condatainer", "join", &id.to_string()])?;
    asked(desk, &["condatainer", "join", &id.to_string(), "bash"])?;
    desk.script("touch stop")?.success()?;
    desk.job_ends(id).map(drop)
}

/// What a terminal shows when this is started and ended.
fn shown(desk: &Desk, start: &[&str]) -> Result<String> {
    let typed = desk.command().terminal().stdin("exit 6\n");
    Ok(typed.run(start)?.ends_with(6).context(start.join(" "))?.stdout)
}

fn the_prompt_names_the_image_and_its_mode(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.squashfs("tool.sqf", "")?;
    let here = desk.dir.replacen("/home/alice", "~", 1);
    let with = |mode: &str| format!("(env.img {mode}) {here} $ ");
    let cases: [(&[&str], String); 7] = [
        (&["condatainer", "e"], with("rw")),
        (&["condatainer", "e", "-r"], with("ro")),
        (&["condatainer", "e", "env.img:tmp", "tool.sqf"], with("tmp")),
        (&["condatainer", "e", "-n", "tool.sqf"], format!("(tool.sqf ro) {here} $ ")),
        (&["condatainer", "exec", "-b", "/srv/base/base.sqf", "bash"], format!("(base.sqf ro) {here} $ ")),
        (&["srun", "--pty", "--condatainer-overlay=env.img", "bash"], with("ro")),
        (&["env", "SHELL=/bin/sh", "condatainer", "e"], format!("(env.img rw) {} $ ", desk.dir)),
    ];
    for (start, prompt) in cases {
        let shown = shown(desk, start)?;
        ensure!(shown.contains(&prompt), "{start:?}: {prompt:?}: {shown:?}");
    }
    for shell in ["/bin/bash", "/bin/sh"] {
        let start = ["env", &format!("SHELL={shell}"), "condatainer", "overlay", "with-root", "env.img"];
        let shown = shown(desk, &start)?;
        ensure!(shown.contains(&format!("(env.img rw) {} # ", desk.dir)), "{shell}: {shown:?}");
    }
    Ok(())
}

/// Of whoever has named the image: a colleague, an archive.
fn a_name_is_never_a_command(desk: &Desk) -> Result<()> {
    const NAME: &str = "$(>1)`>2`\\$(>3)\u{1b}%n.img";
    desk.image("env.img")?;
    let name = format!("./{NAME}");
    desk.run(&["mv", "env.img", &name])?.success()?;
    let shell = |shell: &'static str| format!("SHELL={shell}");
    let (bash, sh) = (shell("/bin/bash"), shell("/bin/sh"));
    let pty = format!("--condatainer-overlay={}", name);
    let starts: [&[&str]; 4] = [
        &["env", &bash, "condatainer", "e", &name],
        &["env", &sh, "condatainer", "e", &name],
        &["condatainer", "e", &name, "--", "bash", "-l"],
        &["srun", "--pty", &pty, "bash"],
    ];
    for start in starts {
        let shown = shown(desk, start)?;
        let prompt = "($(>1)`>2`\\$(>3)?%n.img r";
        ensure!(shown.contains(prompt), "{start:?}: {shown:?}");
        ensure!(desk.files()? == [NAME], "{start:?}: {:?}", desk.files()?);
    }
    for (mounts, words) in [("engine", "--overlay"), ("own", "/lower: ")] {
        let told = desk.with_mounts(mounts).run(&["condatainer", "exec", "-v", "-o", &name, "true"])?.success()?.stderr;
        ensure!(told.contains(words) && told.contains("%n.img") && !told.contains('\u{1b}'), "{told:?}");
    }
    Ok(())
}

fn packages_of_another_python_are_not_found(desk: &Desk) -> Result<()> {
    environment(desk)?;
    desk.squashfs("plain.sqf", "")?;
    // Its version is the base's.
    let text = "v=$(condatainer exec -o plain.sqf python3 -c 'import sys; print(\"python%d.%d\" % sys.version_info[:2])')
        mkdir -p lib/$v/site-packages other/site-packages src; touch lib/$v/site-packages/of_user.py other/site-packages/of_other.py src/own.py
        export PYTHONUSERBASE=$PWD PYTHONPATH=$PWD/other/site-packages:$PWD/src
        find='import importlib.util as u; print(*(n for n in (\"of_user\", \"of_other\", \"own\") if u.find_spec(n)))'";
    let found =
        |start: &str| Ok::<_, anyhow::Error>(desk.script(&format!("{text}; {start} \"$find\""))?.success()?.stdout);
    let in_image = |front: &str| found(&format!("{front} condatainer exec -o env.img python -c"));
    ensure!(in_image("PYTHONHOME=/no/such")? == "own\n");
    ensure!(in_image("PYTHONNOUSERSITE=")? == "of_user own\n");
    let slurm = found("PYTHONHOME=/no/such srun --condatainer-overlay=env.img python -c")?;
    ensure!(slurm == "own\n", "{slurm}");
    let option =
        "condatainer exec -o env.img --env PYTHONNOUSERSITE= --env PYTHONPATH=$PWD/other/site-packages python -c";
    ensure!(found(option)? == "of_user of_other\n");
    // Without an environment they may be what the user works with.
    ensure!(found("condatainer exec -o plain.sqf python3 -c")? == "of_user of_other own\n");
    Ok(())
}
