//! Images to work on, made as the tools make them, and their state afterwards.

use std::fs;

use anyhow::{Result, ensure};

use crate::support::Desk;

/// The recipe of a workspace image that every Apptainer accepts (ext3, no newer features).
const RECIPE: &str = "mke2fs -q -F -t ext3 -b 4096 -I 256 -m 0 -J size=4 \
    -O none,has_journal,ext_attr,resize_inode,dir_index,filetype,sparse_super,large_file";
const BLOCK: usize = 4096;

impl Desk<'_> {
    /// An image of the user's. It holds `/opt/layers/STEM`, by which `WHERE` tells it.
    pub(crate) fn image(&self, name: &str) -> Result<()> {
        self.image_with(name, "$SUDO_UID:$SUDO_GID", "")
    }

    /// An image whose upper and work belong to root.
    pub(crate) fn root_image(&self, name: &str) -> Result<()> {
        self.image_with(name, "0:0", "")
    }

    /// An image whose upper is filled by a bash text (run as root in the upper directory) and then given to `owner`.
    pub(crate) fn image_with(&self, name: &str, owner: &str, fill: &str) -> Result<()> {
        let stem = stem(name);
        let text = format!(
            "set -e; SUDO_UID=$(stat -c %u .) SUDO_GID=$(stat -c %g .); t=$(mktemp -d); mkdir -p $t/upper/opt/layers $t/work
            chmod 755 $t; touch $t/upper/opt/layers/{stem}; (cd $t/upper; {fill}
            ); chown -R {owner} $t/upper $t/work; truncate -s 64M '{name}'; {RECIPE} -d $t '{name}'; rm -r $t
            chown $SUDO_UID:$SUDO_GID '{name}'"
        );
        self.as_root(&text)?.success().map(drop)
    }

    /// A squashfs layer that holds `/opt/layers/STEM` and what a bash text makes in its root.
    pub(crate) fn squashfs(&self, name: &str, fill: &str) -> Result<()> {
        let stem = stem(name);
        let text = format!(
            "set -e; t=$(mktemp -d); chmod 755 $t; mkdir -p $t/opt/layers; touch $t/opt/layers/{stem}; (cd $t; {fill}
            ); mksquashfs $t '{name}' -noappend -quiet -no-progress; rm -r $t"
        );
        self.script(&text)?.success().map(drop)
    }

    /// Fails unless `e2fsck -fn` finds nothing to say about the image.
    pub(crate) fn is_clean(&self, name: &str) -> Result<()> {
        let output = self.run(&["/sbin/e2fsck", "-fn", name])?;
        ensure!(output.code == 0, "{name}: e2fsck -fn: {}{}", output.stdout, output.stderr);
        Ok(())
    }

    /// The numbers of the blocks in which two copies of an image differ.
    pub(crate) fn changed_blocks(&self, before: &[u8], name: &str) -> Result<Vec<usize>> {
        let after = self.bytes(name)?;
        ensure!(before.len() == after.len(), "{name}: its size changed");
        let pairs = before.chunks(BLOCK).zip(after.chunks(BLOCK)).enumerate();
        Ok(pairs.filter(|(_, (a, b))| a != b).map(|(number, _)| number).collect())
    }

    /// A file's content.
    pub(crate) fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        Ok(fs::read(self.on_host(name))?)
    }
}

fn stem(name: &str) -> String {
    let file = name.rsplit('/').next().unwrap_or_default();
    file.split(['.', ' ', ',', ':']).next().unwrap_or_default().into()
}
