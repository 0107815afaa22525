//! Shells that a base seldom has, in a layer of their own: what they find first whatever they read, and what they ask with.

use anyhow::{Context, Result, ensure};
use cluster::{Release, modules};

use crate::start::shells::{BASHRC, environment};
use crate::support::{Desk, Expect, Setup, World, tests};

tests! {
    ApptainerOnce, OwnCluster: [
        the_container_comes_first_in_a_zsh, a_zsh_asks_with_the_image_and_its_mode, the_container_comes_first_in_a_fish_and_a_ksh,
        the_line_for_tcsh_is_the_right_one,
    ];
}

/// What the user guide has its reader write.
const GUIDE: &str = include_str!("../../../../docs/guide/environments.md");

/// What such an installer leaves of the host in a fish.
const CONFIG_FISH: &str = "set -gx PATH $HOME/miniconda3/bin $PATH
set -gx CONDA_PREFIX $HOME/miniconda3; set -gx CONDA_SHLVL 2; set -gx PYTHONHOME $HOME/miniconda3
alias mine 'echo alias works'
function fish_prompt; echo '(base) > '; end
";

/// For a zsh that is not started in the container itself.
const LINE: &str = "PATH=${CONDATAINER_PATH:-$PATH}";

/// What is typed. What is asked for is spelled otherwise in the answer, as a terminal shows both.
const TYPED: &str = "echo which=$(command -v python) prefix=$CONDA_PREFIX level=$CONDA_SHLVL home=${PYTHONHOME-none}\n\
    echo venv=${VIRTUAL_ENV-none} own=$(command -v owntool) open=$(ls -l /proc/$$/fd | grep -c 'memfd\\|libexec')\nmine\n\
    echo dir=${ZDOTDIR-none} ours=$(env | grep -ci zdotdir)\nexit 6\n";
const ANSWERS: [&str; 3] = [
    "which=/ext3/env/bin/python prefix=/ext3/env level=1 home=none",
    "venv=none own=/home/alice/bin/owntool open=0",
    "alias works\r\n",
];

/// A cluster with these shells, an image with an environment, and a host's conda in the home directory.
fn with_shells(world: &World, release: Release, run: impl FnOnce(&Desk) -> Result<()>) -> Result<()> {
    world.with_cluster(release, &Setup { shells: true, ..Setup::default() }, |desk| {
        environment(desk)?;
        desk.script(
            "mkdir -p ~/miniconda3/bin ~/bin; printf '#!/bin/sh\\nexit 1\\n' > ~/miniconda3/bin/conda
            echo echo host > ~/miniconda3/bin/python; cp ~/miniconda3/bin/python ~/bin/owntool; chmod 755 ~/miniconda3/bin/* ~/bin/*",
        )?
        .success()?;
        run(desk)
    })
}

fn layer() -> String {
    format!("{}/shells.sqf", modules::SHELLS_INSIDE)
}

/// The starts of a shell in the environment: by the command itself, with these arguments and as the user's own.
fn starts(shell: &str, arguments: &[&str]) -> Vec<Vec<String>> {
    let (layer, slurm) = (layer(), format!("--condatainer-overlay={},env.img:rw", layer()));
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let mut starts = vec![
        words(&["env", &format!("SHELL=/usr/bin/{shell}"), "condatainer", "e", &layer, "env.img"]),
        words(&["srun", "--pty", &slurm, shell]),
    ];
    for argument in arguments {
        starts.push(words(&["condatainer", "e", &layer, "env.img", "--", shell, argument]));
        starts.push(words(&["srun", "--pty", &slurm, shell, argument]));
    }
    starts
}

/// What a terminal shows when this is started, typed into and ended.
fn shown(desk: &Desk, start: &[String], typed: &str) -> Result<String> {
    let start: Vec<&str> = start.iter().map(String::as_str).collect();
    Ok(desk.command().terminal().stdin(typed).run(&start)?.ends_with(6).context(start.join(" "))?.stdout)
}

fn is_first(desk: &Desk, start: &[String], dir: &str) -> Result<()> {
    let shown = shown(desk, start, TYPED)?;
    let dir = format!("dir={dir} ours={}\r\n", usize::from(dir != "none"));
    for answer in ANSWERS.iter().chain([dir.as_str(), "(env.img rw) "].iter()) {
        ensure!(shown.contains(answer), "{start:?}: {answer}: {shown}");
    }
    ensure!(!shown.contains("(base) (") && !shown.contains("Apptainer> "), "{start:?}: {shown}");
    Ok(())
}

fn the_container_comes_first_in_a_zsh(world: &World, release: Release) -> Result<()> {
    with_shells(world, release, |desk| {
        desk.write("zshrc", &BASHRC.replace("shell.bash", "shell.zsh"))?;
        // Every file puts something in front, and the last one the host's conda once more.
        desk.script(
            "mkdir ~/zsh; for f in zshenv zprofile zlogin; do echo 'PATH=$HOME/miniconda3/bin:$PATH' > ~/.$f; done
            cp zshrc ~/.zshrc; echo . ~/.zshrc >> ~/.zlogin; cp ~/.z* ~/zsh/",
        )?
        .success()?;
        for start in starts("zsh", &["-i", "-l"]) {
            is_first(desk, &start, "none")?;
            is_first(
                desk,
                &[&["env".into(), "ZDOTDIR=/home/alice/zsh".into()], &start[..]].concat(),
                "/home/alice/zsh",
            )?;
        }
        desk.script("echo 'ZDOTDIR=~/zsh' >> ~/.zshenv; echo export ZDOTDIR >> ~/.zshenv; rm ~/.zshrc ~/.zlogin")?
            .success()?;
        is_first(desk, &starts("zsh", &[])[0], "/home/alice/zsh")?;
        desk.script("sed -i /ZDOTDIR/d ~/.zshenv; cp ~/zsh/.zshrc ~/zsh/.zlogin ~")?.success()?;
        joined(desk)?;
        // One that something else starts, with the line of the guide.
        ensure!(GUIDE.contains(&format!("`{LINE}`")), "the guide has another line for zsh");
        desk.script(&format!("cp ~/.zshrc zshrc; echo '{LINE}' >> ~/.zshrc"))?.success()?;
        let nested = desk.run(&[
            "condatainer",
            "exec",
            "-o",
            &layer(),
            "-o",
            "env.img",
            "sh",
            "-c",
            "zsh -ic 'command -v python'",
        ])?;
        nested.says("/ext3/env/bin/python")?;
        desk.script("cp zshrc ~/.zshrc")?.success()?;
        scripts(desk)
    })
}

fn joined(desk: &Desk) -> Result<()> {
    let options = format!("--condatainer-overlay={},env.img:rw", layer());
    let wait = "#!/bin/sh\ntouch /ready started\nuntil [ -e stop ]; do sleep 0.1; done\n";
    let id = desk.submit(&[&options], wait)?;
    desk.wait_until("[ -e started ]")?;
    let id_word = id.to_string();
    for start in [
        &["env", "SHELL=/usr/bin/zsh", "condatainer", "join", &id_word][..],
        &["condatainer", "join", &id_word, "zsh", "-l"],
    ] {
        is_first(desk, &start.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>(), "none")?;
    }
    desk.script("touch stop")?.success()?;
    desk.job_ends(id).map(drop)
}

/// A zsh reads `~/.zshenv` for every script, and a login shell the other files too.
fn scripts(desk: &Desk) -> Result<()> {
    let asked = "echo $(command -v python) $CONDA_PREFIX ${ZDOTDIR-none} $(env | grep -c CONDATAINER_ZDOTDIR) $(ls -l /proc/$$/fd | grep -c libexec)";
    let answer = "/ext3/env/bin/python /ext3/env none 0 0";
    let layer = layer();
    let text = format!(
        "#!/usr/bin/zsh -l\n#SBATCH --condatainer-overlay={layer},env.img\n{asked}\nsrun -n1 zsh -lc '{}'\n",
        asked.replace('\'', "'\\''")
    );
    let (_, said) = desk.batch(&[], &text)?;
    ensure!(said == format!("{answer}\n{answer}\n"), "{said}");
    desk.write("login", &format!("#!/usr/bin/env -S zsh --login\n{asked}\n"))?;
    desk.write("plain", &format!("#!/usr/bin/zsh\n{asked}\n"))?;
    let starts: [&[&str]; 8] = [
        &["zsh", "-ic", asked],
        &["zsh", "-lic", asked],
        &["./login"],
        &["./plain"],
        &["zsh", "-lc", asked],
        &["zsh", "-c", asked],
        &["zsh", "-l", "plain"],
        &["zsh", "plain"],
    ];
    for start in starts {
        desk.run(&[&["condatainer", "exec", "-o", &layer, "-o", "env.img"], start].concat())?.says(answer)?;
        desk.srun(&[&[format!("--condatainer-overlay={layer},env.img").as_str()], start].concat())?.says(answer)?;
    }
    // One that is told to read nothing is left alone, and so is one where only the program was copied.
    let exec = ["condatainer", "exec", "-o", &layer, "-o", "env.img", "zsh"];
    let dirs = "echo ${ZDOTDIR-none} ${CONDATAINER_ZDOTDIR-none}";
    desk.run(&[&exec[..], &["-f", "-c", dirs]].concat())?.says("none none")?;
    desk.as_root("mv /usr/local/libexec/condatainer/zsh /usr/local/libexec/condatainer/away")?.success()?;
    desk.run(&[&exec[..], &["-c", &format!("{dirs}; command -v python")]].concat())?
        .says("none none\n/home/alice/miniconda3/bin/python")?;
    Ok(())
}

/// Of whoever has named the image; and where a theme makes its prompt anew each time, as Debian's own for new users does.
fn a_zsh_asks_with_the_image_and_its_mode(world: &World, release: Release) -> Result<()> {
    const NAME: &str = "$(>1)`>2`\\$(>3)%n.img";
    with_shells(world, release, |desk| {
        let layer = layer();
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let here = desk.dir.replacen("/home/alice", "~", 1);
        let with_root = ["env", "SHELL=/usr/bin/zsh", "condatainer", "overlay", "with-root", "-o", &layer, "env.img"];
        for (start, prompt) in [
            (
                &["env", "SHELL=/usr/bin/zsh", "condatainer", "e", &layer, "env.img"][..],
                format!("(env.img rw) {here} $ "),
            ),
            (&["condatainer", "e", "-r", &layer, "env.img", "--", "zsh", "-l"], format!("(env.img ro) {here} $ ")),
            (&with_root, format!("(env.img rw) {} # ", desk.dir)),
        ] {
            let shown = shown(desk, &owned(start), "exit 6\n")?;
            ensure!(shown.contains(&prompt), "{start:?}: {prompt:?}: {shown:?}");
        }
        desk.run(&["mv", "env.img", &format!("./{NAME}")])?.success()?;
        let theme = "setopt promptsubst promptbang; theme() { PS1='theme> ' }; precmd_functions+=(theme)";
        for rc in ["", theme] {
            desk.script(&format!("echo \"{rc}\" > ~/.zshrc"))?.success()?;
            for start in [["zsh", "-i"], ["zsh", "-l"]] {
                let start = owned(&["condatainer", "e", &layer, &format!("./{NAME}"), "--", start[0], start[1]]);
                let shown = shown(desk, &start, "setopt promptsubst\necho one\nexit 6\n")?;
                let label = format!("({NAME} rw) ");
                ensure!(shown.matches(&label).count() >= 3, "{start:?}: {shown:?}");
                ensure!(rc.is_empty() || shown.contains(&format!("{label}theme> ")), "{start:?}: {shown:?}");
                ensure!(desk.files()? == [NAME], "{start:?}: {:?}", desk.files()?);
            }
        }
        Ok(())
    })
}

fn the_container_comes_first_in_a_fish_and_a_ksh(world: &World, release: Release) -> Result<()> {
    with_shells(world, release, |desk| {
        desk.write("kshrc", &BASHRC.replace("shell.bash", "shell.posix"))?;
        desk.script("cp kshrc ~/.kshrc; mkdir -p ~/.config/fish")?.success()?;
        desk.script(&format!("cat > ~/.config/fish/config.fish <<'END'\n{CONFIG_FISH}END"))?.success()?;
        for start in starts("ksh", &["-i"]) {
            is_first(desk, &[&["env".into(), "ENV=/home/alice/.kshrc".into()], &start[..]].concat(), "none")?;
        }
        let typed = "echo which=(command -v python) prefix=$CONDA_PREFIX level=$CONDA_SHLVL home=(count $PYTHONHOME)\nmine\nexit 6\n";
        for start in starts("fish", &["-l"]) {
            let shown = shown(desk, &start, typed)?;
            for answer in
                ["which=/ext3/env/bin/python prefix=/ext3/env level=1 home=0", "alias works\r\n", "(env.img rw) "]
            {
                ensure!(shown.contains(answer), "{start:?}: {answer}: {shown:?}");
            }
        }
        Ok(())
    })
}

/// It has no way in; the guide has the lines for its users.
fn the_line_for_tcsh_is_the_right_one(world: &World, release: Release) -> Result<()> {
    let (_, behind) = GUIDE.split_once("```csh\n").context("the guide has no lines for tcsh")?;
    let (lines, _) = behind.split_once("```").context("they have no end")?;
    with_shells(world, release, |desk| {
        desk.write("lines", lines)?;
        desk.script("(echo 'setenv PATH /home/alice/miniconda3/bin:${PATH}'; cat lines; echo alias mine echo alias works) > ~/.tcshrc")?
            .success()?;
        let typed = "which python\nmine\nls /proc/self/fd > /dev/null\nexit 6\n";
        for start in starts("tcsh", &["-l"]) {
            let shown = shown(desk, &start, typed)?;
            for answer in ["/ext3/env/bin/python\r\n", "alias works\r\n", "(env.img rw) "] {
                ensure!(shown.contains(answer), "{start:?}: {answer}: {shown:?}");
            }
        }
        let layer = layer();
        let exec = ["condatainer", "exec", "-o", &layer, "-o", "env.img", "tcsh", "-c", "which python"];
        desk.run(&exec)?.says("/ext3/env/bin/python")?;
        // Outside, and for scripts, they are no error, which would keep the shell from all that follows.
        let outside = "env -u CONDATAINER_PATH -u CONDATAINER_PROMPT tcsh -c 'mine; which python'";
        desk.exec(&["-o", &layer], outside)?
            .says("alias works\n/home/alice/miniconda3/bin/python")?
            .without_a_word()?;
        Ok(())
    })
}
