//! Stacks: their order, their bases, awkward names, and what else the options put into a container.

use anyhow::Result;

use crate::support::{Desk, Expect, WHERE, tests};

tests! {
    Apptainer, Desk: [
        squashfs_layers_stack_in_order, the_image_is_on_top_wherever_it_is_named, repeats_accumulate_in_order, bases_of_all_kinds,
        the_base_can_come_from_the_environment, awkward_names, binds_variables_and_working_directory,
        a_command_that_is_only_in_the_container, the_workspace_environment_is_first_in_path, home_and_working_directory_are_shown,
        an_image_with_an_env_script_of_its_own, a_path_beside_a_layer_goes_in_front,
    ];
    Slurm, Desk: [names_are_resolved_where_they_are_typed, the_users_apptainer_variables_do_not_change_the_stack];
}

/// Layers that each bring `/opt/which` with their own name.
fn layers(desk: &Desk, names: &[&str]) -> Result<()> {
    for name in names {
        desk.squashfs(&format!("{name}.sqf"), &format!("echo {name} > opt/which; echo {name} > opt/only-{name}"))?;
    }
    Ok(())
}

fn squashfs_layers_stack_in_order(desk: &Desk) -> Result<()> {
    layers(desk, &["a", "b", "c"])?;
    let text = "cat /opt/which /opt/only-a /opt/only-b /opt/only-c | xargs";
    desk.srun_in("a.sqf,b.sqf,c.sqf", text)?.says("c a b c")?;
    desk.srun_in("c.sqf,a.sqf:ro,b.sqf", text)?.says("b a b c")?;
    desk.srun_in("a.sqf", WHERE)?.says("inside a")?;
    Ok(())
}

fn the_image_is_on_top_wherever_it_is_named(desk: &Desk) -> Result<()> {
    layers(desk, &["a", "b"])?;
    desk.image_with("env.img", "1001:1001", "echo env > opt/which")?;
    for list in ["env.img,a.sqf,b.sqf", "a.sqf,env.img:rw,b.sqf", "a.sqf,b.sqf,env.img:tmp"] {
        desk.srun_in(list, "cat /opt/which /opt/only-a /opt/only-b | xargs")?.says("env a b")?;
    }
    Ok(())
}

fn repeats_accumulate_in_order(desk: &Desk) -> Result<()> {
    layers(desk, &["a", "b", "c"])?;
    let text = "cat /opt/which; ls /opt/layers | xargs";
    let repeated = ["--condatainer-overlay=c.sqf,a.sqf", "--condatainer-overlay=b.sqf", "sh", "-c", text];
    desk.srun(&repeated)?.says("b\na b c")?;
    Ok(())
}

fn bases_of_all_kinds(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    for base in ["base.sif", "base.sqf", "base"] {
        let base = format!("--condatainer-base=/srv/base/{base}");
        desk.srun(&[&base, "--condatainer-overlay=env.img", "sh", "-c", WHERE])?.says("inside env")?;
        desk.srun(&[&base, "sh", "-c", WHERE])?.says("inside")?;
        desk.srun(&[&base, "--condatainer-overlay=env.img:rw", "sh", "-c", "echo written > /here"])?.says("")?;
    }
    Ok(())
}

fn the_base_can_come_from_the_environment(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.run(&["cp", "/srv/base/base.sif", "mine.sif"])?.success()?;
    let command = desk.command().env("CONDATAINER_BASE", &desk.path("mine.sif"));
    let output = command.run(&["srun", "--condatainer-overlay=env.img", "sh", "-c", "echo $APPTAINER_CONTAINER"])?;
    output.says(&desk.path("mine.sif"))?;
    Ok(())
}

fn awkward_names(desk: &Desk) -> Result<()> {
    desk.image("env with blanks.img")?;
    desk.image("env,comma.img")?;
    desk.image("env:colon.img")?;
    desk.run(&["ln", "-s", "env:colon.img", "link.img"])?.success()?;
    desk.squashfs("low, too.sqf", "")?;
    desk.srun_in("env with blanks.img:rw", "echo 1 > /opt/mark")?.says("")?;
    desk.srun_in(r"low\, too.sqf,env with blanks.img", "ls -x /opt/layers; cat /opt/mark")?.says("env  low\n1")?;
    desk.srun_in(r"env\,comma.img:rw", "echo 2 > /opt/mark")?.says("")?;
    desk.srun_in(r"env\,comma.img", "cat /opt/mark")?.says("2")?;
    desk.refused(
        desk.with_mounts("engine").srun_in(r"env\:colon.img", "echo RAN")?,
        "a ':' in the path of a layer cannot be passed to Apptainer",
    )?;
    desk.with_mounts("own").srun_in(r"env\:colon.img", WHERE)?.says("inside env")?;
    desk.srun_in("link.img", WHERE)?.says("inside env")?;
    Ok(())
}

fn binds_variables_and_working_directory(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.script("mkdir -p data 'da,ta'; echo 1 > data/f; echo 2 > 'da,ta/f'; mkdir other; echo 3 > other/f")?
        .success()?;
    let output = desk.srun(&[
        "--condatainer-overlay=env.img",
        "--condatainer-bind=data:/data:ro,other:/other",
        r"--condatainer-bind=da\,ta:/more",
        "--condatainer-env=LITERAL=$HOME \"q\" `x`, y",
        "--condatainer-env=EMPTY=",
        "--condatainer-workdir=/opt/layers",
        "sh",
        "-c",
        "cat /data/f /more/f /other/f; pwd; ls; echo \"$LITERAL|${EMPTY-unset}\"; echo w > /other/f; touch /data/no",
    ])?;
    let output = output.ends_with(1)?.complains("Read-only file system")?;
    anyhow::ensure!(output.stdout == "1\n2\n3\n/opt/layers\nenv\n$HOME \"q\" `x`, y|\n", "{:?}", output.stdout);
    desk.run(&["cat", "other/f"])?.says("w")?;
    Ok(())
}

fn a_command_that_is_only_in_the_container(desk: &Desk) -> Result<()> {
    let fill = "mkdir -p usr/local/bin; printf '#!/bin/sh\\necho found $*\\n' > usr/local/bin/only-inside; chmod 755 usr/local/bin/only-inside";
    desk.squashfs("tool.sqf", fill)?;
    desk.srun(&["--condatainer-overlay=tool.sqf", "only-inside", "a b", "-c"])?.says("found a b -c")?;
    desk.srun(&["--condatainer-overlay=tool.sqf", "/usr/local/bin/only-inside"])?.says("found")?;
    desk.srun(&["only-inside"])?.ends_with(2)?;
    Ok(())
}

fn the_workspace_environment_is_first_in_path(desk: &Desk) -> Result<()> {
    let fill = "mkdir -p ext3/env/bin; printf '#!/bin/sh\\necho mine $CONDA_PREFIX\\n' > ext3/env/bin/python3; chmod 755 ext3/env/bin/python3";
    desk.image_with("env.img", "1001:1001", fill)?;
    desk.srun(&["--condatainer-overlay=env.img", "python3"])?.says("mine /ext3/env")?;
    desk.srun_in("env.img", "echo ${PATH%%:*}")?.says("/ext3/env/bin")?;
    Ok(())
}

fn home_and_working_directory_are_shown(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.srun_in("env.img", "pwd; echo $HOME; touch written; id -un; umask")?
        .says(&format!("{}\n/home/alice\nalice\n0022", desk.dir))?;
    desk.run(&["ls", "written"])?.says("written")?;
    Ok(())
}

/// As NYU's computing centre hands them out: Conda at `/ext3/miniconda3`, switched on by `/ext3/env.sh`.
const ENV_SCRIPT: &str = r#"mkdir -p ext3/miniconda3/bin ext3/miniconda3/etc/profile.d
printf '#!/bin/sh\necho conda python "$@" "$CONDA_SHLVL"\n' > ext3/miniconda3/bin/python
chmod 755 ext3/miniconda3/bin/python
echo 'export CONDA_SHLVL=0' > ext3/miniconda3/etc/profile.d/conda.sh
printf '#!/bin/bash\nunset -f which\nsource /ext3/miniconda3/etc/profile.d/conda.sh\nexport PATH=/ext3/miniconda3/bin:$PATH\n' > ext3/env.sh"#;

fn an_image_with_an_env_script_of_its_own(desk: &Desk) -> Result<()> {
    let image = "overlay-15GB-500K.ext3";
    desk.image_with(image, "$SUDO_UID:$SUDO_GID", ENV_SCRIPT)?;
    let line = "source /ext3/env.sh; python train.py";
    desk.run(&["condatainer", "exec", "-o", image, "bash", "-c", line])?.says("conda python train.py 0")?;
    desk.srun(&[&format!("--condatainer-overlay={image}"), "bash", "-c", line])?.says("conda python train.py 0")?;
    let at_terminal = |text: &str, input: &str| {
        let output = desk.command().terminal().stdin(input).run(&["bash", "-c", text])?;
        Ok::<_, anyhow::Error>(format!("{}{}", output.stdout, output.stderr))
    };
    // At a terminal a start says how; what it names works.
    let path = desk.path(image);
    let told = format!(
        "condatainer: {path}: its programs are switched on by its /ext3/env.sh: type '. /ext3/env.sh', or have them found in every start: echo PATH=/ext3/miniconda3/bin >> {path}.env"
    );
    let shell = at_terminal(&format!("condatainer e {image}"), "PS1=; bash -c '. /ext3/env.sh; python typed'\nexit\n")?;
    anyhow::ensure!(shell.contains(&told) && shell.contains("conda python typed 0"), "{shell}");
    let command = at_terminal(&format!("condatainer exec -o {image} true"), "")?;
    anyhow::ensure!(command.contains("run bash -c '. /ext3/env.sh; true ...', or have them found"), "{command}");
    let knows = at_terminal(&format!("condatainer exec -o {image} bash -c 'source /ext3/env.sh'"), "")?;
    anyhow::ensure!(!knows.contains("switched on"), "{knows}");
    desk.script(&format!("echo PATH=/ext3/miniconda3/bin > {path}.env"))?.success()?;
    let knows = at_terminal(&format!("condatainer exec -o {image} true"), "")?;
    anyhow::ensure!(!knows.contains("switched on"), "{knows}");
    desk.srun(&[&format!("--condatainer-overlay={image}"), "python", "train.py"])?.says("conda python train.py")?;
    Ok(())
}

fn a_path_beside_a_layer_goes_in_front(desk: &Desk) -> Result<()> {
    desk.squashfs(
        "tool.sqf",
        "mkdir -p opt/tool/bin; printf '#!/bin/sh\\necho of the layer\\n' > opt/tool/bin/id; chmod 755 opt/tool/bin/id",
    )?;
    for path in ["/opt/tool/bin", "/opt/tool/bin:$PATH", "$PATH:/opt/tool/bin"] {
        desk.write("tool.sqf.env", &format!("PATH={path}\n"))?;
        let show = "id; case $PATH in /opt/tool/bin:/*:/usr/bin*) echo in front;; *) echo $PATH;; esac; ls -d /";
        desk.exec(&["-o", "tool.sqf"], show)?.says("of the layer\nin front\n/")?;
        desk.srun_in("tool.sqf", show)?.says("of the layer\nin front\n/")?;
    }
    Ok(())
}

fn names_are_resolved_where_they_are_typed(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.run(&["mkdir", "-p", "sub", "elsewhere"])?.success()?;
    desk.squashfs("sub/low.sqf", "")?;
    desk.script(&format!(
        "cd sub && srun --condatainer-overlay=low.sqf,../env.img sh -c '{}'",
        WHERE.replace('\'', r"'\''")
    ))?
    .says("inside env low")?;
    let home = "--condatainer-overlay=~/names_are_resolved_where_they_are_typed/env.img";
    desk.srun(&[home, "sh", "-c", WHERE])?.says("inside env")?;
    desk.srun(&["--chdir=/tmp", "--condatainer-overlay=env.img", "sh", "-c", &format!("pwd; {WHERE}")])?
        .says("/tmp\ninside env")?;
    let script = format!("#!/bin/sh\n#SBATCH --condatainer-overlay=env.img\npwd; {WHERE}");
    let (_, text) = desk.batch(&["-D", &desk.path("elsewhere")], &script)?;
    anyhow::ensure!(text == format!("{}\ninside env\n", desk.path("elsewhere")), "{text}");
    Ok(())
}

fn the_users_apptainer_variables_do_not_change_the_stack(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.image("other.img")?;
    let command =
        desk.command().env("APPTAINER_OVERLAY", &desk.path("other.img")).env("SINGULARITY_WRITABLE_TMPFS", "1");
    command.run(&["srun", "--condatainer-overlay=env.img", "sh", "-c", WHERE])?.says("inside env")?;
    Ok(())
}
