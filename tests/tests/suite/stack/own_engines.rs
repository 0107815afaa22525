//! What the engine adds to a stack that we mount: a GPU's files, fakeroot(1), and its setuid starter.

use anyhow::{Result, ensure};
use cluster::Release;

use super::servers::{nothing_is_left, ours, two_layers};
use crate::support::{Desk, Expect, Setup, World, tests};

tests! {
    Apptainer, Desk: [without_a_range_root_has_what_it_has_by_hand, further_groups_stay_in_force, a_base_of_nothing_has_what_is_mounted_on];
    ApptainerOnce, Desk: [
        what_variables_of_the_engine_show_is_there, what_is_only_read_is_taken_as_it_is, a_time_zone_of_an_image_stays_its_own,
    ];
    Apptainer, OwnCluster: [tmp_has_a_gpus_files, an_engine_called_singularity_gets_one_directory];
    SetuidApptainer, OwnCluster: [a_setuid_engine_is_started_as_any_other];
}

fn without_a_range_root_has_what_it_has_by_hand(desk: &Desk) -> Result<()> {
    let bob = desk.of("bob")?;
    two_layers(&bob)?;
    let look = "id -u; cat /proc/self/uid_map; grep -E 'Cap|NoNew' /proc/self/status; ls /.singularity.d/libs";
    let by_hand =
        format!("apptainer -q exec --fakeroot --overlay env.img:ro /srv/base/base.sqf sh -c \"{look}\" 2> /dev/null");
    let by_hand = bob.script(&by_hand)?.success()?.stdout;
    ensure!(by_hand.starts_with("0\n") && by_hand.contains("libfakeroot.so"), "{by_hand}");
    for mode in ["", ":tmp"] {
        ours(&bob, &format!("condatainer exec -f -o env.img{mode} -- sh -c \"{look}\""))?.says(by_hand.trim_end())?;
    }
    // What fakeroot(1) remembers, and what is really written.
    let write = "chown 42:43 /own/file; stat -c %u:%g /own/file; rm /opt/mod/file; ls /opt/mod; rm -r /etc/apt; ls -d /etc/apt || echo gone";
    let typed = format!("condatainer exec -f -o mod.sqf -o env.img:tmp -- sh -c '{write}'");
    ours(&bob, &typed)?.says("42:43\nlink\ngone")?;
    let step = "srun -n2 --condatainer-fakeroot --condatainer-overlay=env.img:tmp sh -c 'id -u; cat /own/file' | sort";
    ours(&bob, step)?.says("0\n0\nimage\nimage")?;
    // An image of root turns it on.
    bob.root_image("root.img")?;
    ours(&bob, "condatainer exec -o root.img:tmp -- sh -c 'id -u; touch /x && echo written'")?
        .says("0\nwritten")?
        .complains("fakeroot turned on")?;
    nothing_is_left(&bob)
}

/// With and without something to write.
fn what_variables_of_the_engine_show_is_there(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    desk.script("mkdir there; echo shown > there/file")?.success()?;
    let mount = "export APPTAINER_MOUNT=$(printf '%s\\n' \"type=bind,src=$PWD/there,dst=/new/mounted,ro\" \"type=bind,source=$PWD/there/file,destination=/new/file,ro\"); \
        export APPTAINER_SCRATCH=/new/scratch,/new/other";
    let look = "cat /new/mounted/file /new/file; touch /new/scratch/x /new/other/x && echo written";
    for mode in ["", ":tmp"] {
        ours(desk, &format!("{mount}; condatainer exec -o env.img{mode} -- sh -c '{look}'"))?
            .says("shown\nshown\nwritten")?;
    }
    nothing_is_left(desk)
}

/// No layer of the engine's lies on it, unless the engine mounts what only itself knows. In both ways the same is seen.
fn what_is_only_read_is_taken_as_it_is(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    desk.squashfs("homes.sqf", "mkdir -p home/lab; echo image > home/lab/file")?;
    let look = "cat /home/lab/file /opt/new/hosts > /dev/null && echo seen; touch ~/x && rm ~/x; getent passwd $(id -u) | cut -d: -f1; touch /opt/x";
    let root = r#"awk '$2 == "/" { print $3 }' /proc/mounts"#;
    for (before, options, wanted) in [
        ("", "", "fuse.condatainer\nseen\nalice"),
        ("", "-f", "overlay\nseen\nroot"),
        ("export APPTAINER_HOSTNAME=other;", "", "overlay\nseen\nalice"),
        ("export APPTAINER_HOME=$PWD:/else/where;", "", "overlay\nseen\nalice"),
    ] {
        let typed = format!(
            "{before} condatainer exec {options} --bind /etc/hosts:/opt/new/hosts -o homes.sqf -o env.img -- sh -c '{}; {look}'",
            root.replace('\'', r"'\''")
        );
        let output = ours(desk, &typed)?.ends_with(1)?;
        ensure!(
            output.stdout.trim_end() == wanted && output.stderr.contains("Read-only file system"),
            "{typed}: {output:?}"
        );
    }
    nothing_is_left(desk)
}

/// The host's is mounted on /etc/localtime, which in images is a link to theirs.
fn a_time_zone_of_an_image_stays_its_own(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    let link = "mkdir -p etc zones; echo zone > zones/here; ln -s ../zones/here etc/localtime";
    desk.squashfs("zone.sqf", link)?;
    let look = "cat /zones/here; cmp /etc/localtime hosts && echo hosts";
    for options in ["-o env.img", "-o env.img:tmp", "-w -o env.img"] {
        let typed = format!("cat /etc/localtime > hosts; condatainer exec -o zone.sqf {options} -- sh -c '{look}'");
        ours(desk, &typed)?.says("zone\nhosts")?;
    }
    nothing_is_left(desk)
}

/// Three programs and their libraries: no /etc, no /home, no /tmp.
fn a_base_of_nothing_has_what_is_mounted_on(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    let make = "mkdir -p bare/usr/bin bare/usr/lib bare/usr/lib64; cd bare; ln -s usr/bin usr/lib usr/lib64 .; cp /bin/sh /bin/ls /bin/touch bin; \
        cp -L --parents $(ldd /bin/sh /bin/ls /bin/touch | grep -o '/[^ :]* (' | tr -d '(' | sort -u) .; cd ..; mksquashfs bare bare.sqf -quiet -no-progress";
    desk.script(make)?.success()?;
    let look = "ls -d /cnt /ext3 /etc/passwd /proc/self /dev/null; touch /tmp/x ~/x here && pwd";
    let wanted = format!("/cnt\n/dev/null\n/etc/passwd\n/ext3\n/proc/self\n{}", desk.dir);
    for base in ["bare.sqf", "bare"] {
        for layers in ["-o env.img", "-o env.img:tmp", "--tmp"] {
            let output = ours(desk, &format!("condatainer exec -b {base} {layers} -- sh -c '{look}'"))?;
            output.says(&wanted)?.without_a_word()?;
        }
    }
    ours(desk, &format!("condatainer exec -b bare.sqf -- sh -c '{look}'"))?.says(&wanted)?;
    nothing_is_left(desk)
}

/// A user namespace knows one group of its user's: the others have no name in it, whoever makes it.
fn further_groups_stay_in_force(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    desk.as_root("echo shared > file; chown 0:60007 file; chmod 640 file")?.success()?;
    desk.script("cat file 2> /dev/null")?.without_stdout()?;
    for options in ["", "-f"] {
        let of = |way: &str| {
            let typed = format!("condatainer exec {options} -o env.img -- sh -c 'id -G; stat -c %G file; cat file'");
            let user = format!("HOME=/home/alice USER=alice CONDATAINER_MOUNTS={way} {typed}");
            desk.as_root(&format!("exec setpriv --reuid=1001 --regid=1001 --groups=1001,60007 env {user}"))
        };
        let own = of("own")?.success()?.stdout;
        ensure!(own.ends_with("65534\nnogroup\nshared\n"), "{options}: {own}");
        of("engine")?.says(own.trim_end())?;
    }
    nothing_is_left(desk)
}

/// Device files, a driver's library and its programs, as a node with a GPU has them.
fn tmp_has_a_gpus_files(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::default(), |desk| {
        two_layers(desk)?;
        let make = "mknod -m 666 /dev/nvidiactl c 195 255; mknod -m 666 /dev/kfd c 240 0; \
            for tool in nvidia-smi rocm-smi; do printf '#!/bin/sh\\necho works\\n' > /usr/bin/$tool; chmod 755 /usr/bin/$tool; done; \
            mkdir -p /usr/share/nvidia; echo data > /usr/share/nvidia/nvoptix.bin; \
            cd /usr/lib/*-linux-gnu && sed 's/liblzma.so.5/libcuda.so.1/' liblzma.so.5 > libcuda.so.1 && ldconfig && ldconfig -p | grep -c libcuda.so.1";
        desk.as_root(make)?.says("1")?;
        let look = "nvidia-smi; rocm-smi; cat /usr/share/nvidia/nvoptix.bin; ls /.singularity.d/libs; ls /dev/nvidiactl /dev/kfd; \
            command -v nvidia-debugdump; echo $LD_LIBRARY_PATH";
        let engines = desk.script(&format!("condatainer exec --mounts=engine -o env.img -- sh -c '{look}'"))?.stdout;
        ensure!(engines.starts_with("works\nworks\ndata\n") && engines.contains("libcuda.so.1"), "{engines}");
        for typed in [
            format!("condatainer exec -o env.img -- sh -c '{look}'"),
            format!("condatainer exec -o env.img:tmp -- sh -c '{look}; touch /new /usr/bin/other'"),
            format!("CUDA_VISIBLE_DEVICES=0 srun --condatainer-overlay=env.img:tmp sh -c '{look}; touch /new'"),
        ] {
            let own = ours(desk, &typed)?.without_a_word()?;
            ensure!(own.stdout == engines, "{typed}\n{own:?}\nthe engine's:\n{engines}");
        }
        // The site and the user can turn it on as well.
        desk.as_root("rm /dev/nvidiactl /dev/kfd; ! [ -e /dev/nvidiactl ]")?.success()?;
        let smi = "condatainer exec -o env.img:tmp -- sh -c 'nvidia-smi 2>&1'";
        ours(desk, smi)?.ends_with(127)?;
        ours(desk, &format!("export APPTAINER_NV=1; {smi}"))?.says("works")?.without_a_word()?;
        desk.as_root("sed -i 's/^always use nv = .*/always use nv = yes/' /etc/apptainer/apptainer.conf")?.success()?;
        ours(desk, smi)?.says("works")?.without_a_word()?;
        desk.as_root("sed -i 's/^use nvidia-container-cli = .*/use nvidia-container-cli = yes/' /etc/apptainer/apptainer.conf")?
            .success()?;
        desk.refused(ours(desk, smi)?, "nvidia-container-cli mounts the GPU's files").map(drop)
    })
}

/// SingularityCE's own code is not in it: Apptainer, which has the same options, stands behind the name.
fn an_engine_called_singularity_gets_one_directory(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::default(), |desk| {
        two_layers(desk)?;
        let make = "mkdir -p /opt/ce/bin && cd /opt/ce/bin && printf '#!/bin/sh\\n[ \"$1\" != --version ] || exec echo singularity-ce version 4.5.1\\n\
            exec apptainer \"$@\"\\n' > singularity && chmod 755 singularity && \
            sed -i '1i apptainer = \"/opt/ce/bin/singularity\"' /etc/condatainer/config.toml";
        desk.as_root(make)?.success()?;
        let look = "cat /opt/mod/file /own/file; id -u; echo $SINGULARITY_CONTAINER";
        for (options, uid) in [("", 1001), ("-f", 0)] {
            for mode in ["", ":tmp"] {
                let typed = format!("condatainer exec {options} -o mod.sqf -o env.img{mode} -- sh -c '{look}'");
                ours(desk, &typed)?.says(&format!("module\nimage\n{uid}\n/srv/base/base.sqf"))?;
            }
        }
        let namespaces = "readlink /proc/self/ns/user; cat /own/file";
        let step = format!("srun -n2 --condatainer-overlay=mod.sqf,env.img sh -c '{namespaces}' | sort -u | wc -l");
        ours(desk, &step)?.says("2")?;
        ours(desk, "condatainer exec -w -o env.img -- sh -c 'echo more >> /own/file'")?.success()?;
        ours(desk, "condatainer exec -o env.img -- cat /own/file")?.says("image\nmore")?;
        // What it mounts itself has its limits.
        let engines = desk.script("condatainer exec --mounts=engine -w -o env.img -- echo RAN")?;
        desk.refused(engines, "compressed with zstd")?;
        nothing_is_left(desk)
    })
}

/// In a user namespace it never becomes its setuid starter.
fn a_setuid_engine_is_started_as_any_other(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::setuid_apptainer(), |desk| {
        two_layers(desk)?;
        desk.script("apptainer buildcfg | grep SUID_INSTALL")?.says("APPTAINER_SUID_INSTALL=1")?;
        let look = "id -u; cat /own/file; grep -E 'NoNew|CapEff' /proc/self/status; cat /proc/self/uid_map";
        let write = "touch /new /opt/mod/new; chown 42:43 /new 2> /dev/null; stat -c %u:%g /new; rm -r /own; ls -d /own || echo gone";
        let own_range = "         0       1001          1\n         1     100000      65536";
        let own_ids = "      1001       1001          1";
        for (user, options, uid, map, written) in [
            ("alice", "-f", 0, own_range, "42:43"),
            ("alice", "", 1001, own_ids, "1001:1001"),
            ("bob", "-f", 0, "         0       1002          1", "42:43"),
        ] {
            let desk = &desk.of(user)?;
            if user == "bob" {
                two_layers(desk)?;
            }
            let typed = |mode: &str, what: &str| format!("condatainer exec {options} -o mod.sqf -o env.img{mode} -- sh -c \"{what}\"");
            let seen = ours(desk, &typed("", look))?.success()?.stdout;
            ensure!(seen.starts_with(&format!("{uid}\nimage\n")) && seen.trim_end().ends_with(map), "{user} {options}: {seen}");
            ours(desk, &typed(":tmp", write))?.says(&format!("{written}\ngone"))?;
            nothing_is_left(desk)?;
        }
        ours(desk, "srun -n2 --condatainer-fakeroot --condatainer-overlay=mod.sqf,env.img:tmp sh -c 'cat /own/file; id -u' | sort")?
            .says("0\n0\nimage\nimage")
            .map(drop)
    })
}
