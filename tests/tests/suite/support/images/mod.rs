//! Images to work on, made as the tools make them, and their state afterwards.

mod kept;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Result, ensure};

use crate::support::Desk;

/// The recipe of a workspace image that every Apptainer accepts (ext3, no newer features).
const RECIPE: &str = "mke2fs -q -F -t ext3 -b 4096 -I 256 -m 0 -J size=4 \
    -O none,has_journal,ext_attr,resize_inode,dir_index,filetype,sparse_super,large_file";
const BLOCK: usize = 4096;
/// An owner: whoever has the desk, in the words of sudo.
const OF_THE_USER: &str = "$SUDO_UID:$SUDO_GID";

impl Desk<'_> {
    /// An image of the user's. It holds `/opt/layers/STEM`, by which `WHERE` tells it.
    pub(crate) fn image(&self, name: &str) -> Result<()> {
        self.image_with(name, OF_THE_USER, "")
    }

    /// An image whose upper and work belong to root.
    pub(crate) fn root_image(&self, name: &str) -> Result<()> {
        self.image_with(name, "0:0", "")
    }

    /// An image of the user's with 16 MiB, that is soon full.
    pub(crate) fn small_image(&self, name: &str) -> Result<()> {
        self.image_of(name, "16M", OF_THE_USER, "")
    }

    /// An image whose upper is filled by a bash text (run as root in the upper directory) and then given to `owner`.
    pub(crate) fn image_with(&self, name: &str, owner: &str, fill: &str) -> Result<()> {
        self.image_of(name, "64M", owner, fill)
    }

    fn image_of(&self, name: &str, size: &str, owner: &str, fill: &str) -> Result<()> {
        let (stem, user) = (stem(name), self.ids()?);
        let owner = if owner == OF_THE_USER { &user } else { owner };
        self.copied(name, &["ext", self.release.name(), &stem, &user, size, owner, fill], || {
            let text = format!(
                "set -e; t=$(mktemp -d); mkdir -p $t/upper/opt/layers $t/work
                chmod 755 $t; : > $t/upper/opt/layers/{stem}; (cd $t/upper; {fill}
                ); chown -R {owner} $t/upper $t/work; truncate -s {size} '{name}'; {RECIPE} -d $t '{name}'; rm -r $t; chown {user} '{name}'"
            );
            self.as_root(&text)?.success().map(drop)
        })
    }

    /// A squashfs layer that holds `/opt/layers/STEM` and what a bash text makes in its root.
    pub(crate) fn squashfs(&self, name: &str, fill: &str) -> Result<()> {
        let stem = stem(name);
        self.copied(name, &["squashfs", self.release.name(), &stem, &self.ids()?, fill], || {
            let text = format!(
                "set -e; t=$(mktemp -d); chmod 755 $t; mkdir -p $t/opt/layers; : > $t/opt/layers/{stem}; (cd $t; {fill}
                ); mksquashfs $t '{name}' -noappend -quiet -no-progress -processors 1; rm -r $t"
            );
            self.script(&text)?.success().map(drop)
        })
    }

    /// The user and the group that have this desk.
    fn ids(&self) -> Result<String> {
        let meta = self.cluster.act("root", || Ok(fs::metadata(&self.dir)?))?;
        Ok(format!("{}:{}", meta.uid(), meta.gid()))
    }

    /// Makes an image here, or writes down once more what the same recipe has made before.
    fn copied(&self, name: &str, recipe: &[&str], make: impl FnOnce() -> Result<()>) -> Result<()> {
        let is_ext = recipe.first() == Some(&"ext");
        let (recipe, path) = (recipe.join("\0"), Path::new(&self.dir).join(name));
        if let Some(kept) = kept::of(&recipe) {
            return self.cluster.act("root", || kept.write(&path));
        }
        make()?;
        self.cluster.act("root", || kept::keep(recipe, &path, is_ext))
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
