//! Feature flags of the superblock, under the names that e2fsprogs prints.

use crate::ext::error::ExtError;

/// The three feature words. Field names as on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// Can be ignored by a program that does not know them.
    pub compat: u32,
    /// Must be known to read.
    pub incompat: u32,
    /// Must be known to write.
    pub ro_compat: u32,
}

/// Bits of `s_feature_compat`.
pub(crate) mod compat {
    pub(crate) const HAS_JOURNAL: u32 = 0x4;
    /// Directories may have an index.
    pub const DIR_INDEX: u32 = 0x20;
    pub(crate) const SPARSE_SUPER2: u32 = 0x200;
    pub(crate) const FAST_COMMIT: u32 = 0x400;
    pub(crate) const ORPHAN_FILE: u32 = 0x1000;
    /// Everything that is harmless to a program that rewrites owners in place.
    pub(crate) const WRITABLE: u32 =
        0x1 | HAS_JOURNAL | 0x8 | 0x10 | DIR_INDEX | SPARSE_SUPER2 | FAST_COMMIT | 0x800 | ORPHAN_FILE;
}

/// Bits of `s_feature_incompat`.
pub(crate) mod incompat {
    pub(crate) const FILETYPE: u32 = 0x2;
    pub(crate) const RECOVER: u32 = 0x4;
    pub(crate) const META_BG: u32 = 0x10;
    pub(crate) const EXTENTS: u32 = 0x40;
    pub(crate) const BIT64: u32 = 0x80;
    pub(crate) const MMP: u32 = 0x100;
    pub(crate) const FLEX_BG: u32 = 0x200;
    pub(crate) const EA_INODE: u32 = 0x400;
    pub(crate) const CSUM_SEED: u32 = 0x2000;
    pub(crate) const LARGE_DIR: u32 = 0x4000;
    pub(crate) const INLINE_DATA: u32 = 0x8000;
    pub(crate) const ENCRYPT: u32 = 0x1_0000;
    pub(crate) const CASEFOLD: u32 = 0x2_0000;
    /// The structures we know how to look up.
    pub(crate) const READABLE: u32 = WRITABLE | MMP | ENCRYPT | CASEFOLD;
    /// The structures among which we know how to rewrite owners.
    pub(crate) const WRITABLE: u32 =
        FILETYPE | RECOVER | META_BG | EXTENTS | BIT64 | FLEX_BG | EA_INODE | CSUM_SEED | LARGE_DIR | INLINE_DATA;
}

/// Bits of `s_feature_ro_compat`.
pub(crate) mod ro_compat {
    pub(crate) const SPARSE_SUPER: u32 = 0x1;
    /// Files may be longer than 2 GiB.
    pub const LARGE_FILE: u32 = 0x2;
    pub(crate) const BTREE_DIR: u32 = 0x4;
    pub(crate) const HUGE_FILE: u32 = 0x8;
    pub(crate) const GDT_CSUM: u32 = 0x10;
    pub(crate) const DIR_NLINK: u32 = 0x20;
    pub(crate) const EXTRA_ISIZE: u32 = 0x40;
    pub(crate) const BIGALLOC: u32 = 0x200;
    pub(crate) const METADATA_CSUM: u32 = 0x400;
    pub(crate) const ORPHAN_PRESENT: u32 = 0x1_0000;
    /// Everything under which an owner may be rewritten in place.
    pub(crate) const WRITABLE: u32 = SPARSE_SUPER
        | LARGE_FILE
        | BTREE_DIR
        | HUGE_FILE
        | GDT_CSUM
        | DIR_NLINK
        | EXTRA_ISIZE
        | METADATA_CSUM
        | ORPHAN_PRESENT;
}

const COMPAT_NAMES: &[(u32, &str)] = &[
    (0x1, "dir_prealloc"),
    (0x2, "imagic_inodes"),
    (0x4, "has_journal"),
    (0x8, "ext_attr"),
    (0x10, "resize_inode"),
    (0x20, "dir_index"),
    (0x40, "lazy_bg"),
    (0x100, "snapshot_bitmap"),
    (0x200, "sparse_super2"),
    (0x400, "fast_commit"),
    (0x800, "stable_inodes"),
    (0x1000, "orphan_file"),
];

const INCOMPAT_NAMES: &[(u32, &str)] = &[
    (0x1, "compression"),
    (0x2, "filetype"),
    (0x4, "needs_recovery"),
    (0x8, "journal_dev"),
    (0x10, "meta_bg"),
    (0x40, "extent"),
    (0x80, "64bit"),
    (0x100, "mmp"),
    (0x200, "flex_bg"),
    (0x400, "ea_inode"),
    (0x1000, "dirdata"),
    (0x2000, "metadata_csum_seed"),
    (0x4000, "large_dir"),
    (0x8000, "inline_data"),
    (0x1_0000, "encrypt"),
    (0x2_0000, "casefold"),
];

const RO_COMPAT_NAMES: &[(u32, &str)] = &[
    (0x1, "sparse_super"),
    (0x2, "large_file"),
    (0x8, "huge_file"),
    (0x10, "uninit_bg"),
    (0x20, "dir_nlink"),
    (0x40, "extra_isize"),
    (0x80, "snapshot"),
    (0x100, "quota"),
    (0x200, "bigalloc"),
    (0x400, "metadata_csum"),
    (0x800, "replica"),
    (0x1000, "read-only"),
    (0x2000, "project"),
    (0x4000, "shared_blocks"),
    (0x8000, "verity"),
    (0x1_0000, "orphan_present"),
];

impl Features {
    /// All set flags in the order of `dumpe2fs`; unknown bits as it prints them (`FEATURE_I27`).
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut all = names_of(self.compat, COMPAT_NAMES, 'C');
        all.extend(names_of(self.incompat, INCOMPAT_NAMES, 'I'));
        all.extend(names_of(self.ro_compat, RO_COMPAT_NAMES, 'R'));
        all
    }

    /// Whether the image has a journal inside.
    #[must_use]
    pub fn has_journal(&self) -> bool {
        self.compat & compat::HAS_JOURNAL != 0
    }

    /// Whether its journal must be replayed before anybody looks at the file system.
    #[must_use]
    pub fn needs_recovery(&self) -> bool {
        self.has_incompat(incompat::RECOVER)
    }

    /// Whether names tell the type of their inode.
    pub fn has_filetype(&self) -> bool {
        self.has_incompat(incompat::FILETYPE)
    }

    pub(crate) fn has_incompat(&self, bit: u32) -> bool {
        self.incompat & bit != 0
    }

    pub(crate) fn has_ro_compat(&self, bit: u32) -> bool {
        self.ro_compat & bit != 0
    }

    pub(crate) fn has_compat(&self, bit: u32) -> bool {
        self.compat & bit != 0
    }

    /// 2, 3 or 4: the oldest ext driver that takes the image.
    #[must_use]
    pub fn version(&self) -> u8 {
        let ext3_incompat = incompat::FILETYPE | incompat::RECOVER | incompat::META_BG;
        let ext3_ro_compat = ro_compat::SPARSE_SUPER | ro_compat::LARGE_FILE | ro_compat::BTREE_DIR;
        let newer = self.incompat & !ext3_incompat != 0 || self.ro_compat & !ext3_ro_compat != 0;
        match (newer, self.has_journal()) {
            (true, _) => 4,
            (false, true) => 3,
            (false, false) => 2,
        }
    }

    /// Refuses what makes even looking impossible, by name.
    pub(crate) fn check_readable(&self) -> Result<(), ExtError> {
        refuse(&names_of(self.incompat & !incompat::READABLE, INCOMPAT_NAMES, 'I'))
    }

    /// Refuses what makes rewriting owners wrong, by name.
    ///
    /// Unknown compat bits count as well: such a feature may keep a copy of an owner somewhere that we do not know.
    pub fn check_writable(&self) -> Result<(), ExtError> {
        let mut names = names_of(self.compat & !compat::WRITABLE, COMPAT_NAMES, 'C');
        names.extend(names_of(self.incompat & !incompat::WRITABLE, INCOMPAT_NAMES, 'I'));
        names.extend(names_of(self.ro_compat & !ro_compat::WRITABLE, RO_COMPAT_NAMES, 'R'));
        refuse(&names)
    }

    /// The flags that Apptainer refuses, by name.
    #[must_use]
    pub fn newer_than_ext3(&self) -> Vec<String> {
        let extra_incompat = self.incompat & !(incompat::FILETYPE | incompat::RECOVER | incompat::META_BG);
        let extra_ro = self.ro_compat & !(ro_compat::SPARSE_SUPER | ro_compat::LARGE_FILE | ro_compat::BTREE_DIR);
        let mut extra = names_of(extra_incompat, INCOMPAT_NAMES, 'I');
        extra.extend(names_of(extra_ro, RO_COMPAT_NAMES, 'R'));
        extra
    }

    /// Apptainer's own test of an ext3 image, with the reason when it would say no.
    ///
    /// # Errors
    /// The reason in words.
    pub fn apptainer(&self) -> Result<(), String> {
        if !self.has_journal() {
            return Err("it has no journal (has_journal)".into());
        }
        let extra = self.newer_than_ext3();
        if extra.is_empty() {
            return Ok(());
        }
        Err(format!("it has features newer than ext3 ({})", extra.join(", ")))
    }
}

fn refuse(names: &[String]) -> Result<(), ExtError> {
    match names {
        [] => Ok(()),
        [one] => Err(ExtError::unsupported(format!("the file system feature {one}"))),
        many => Err(ExtError::unsupported(format!("the file system features {}", many.join(", ")))),
    }
}

fn names_of(word: u32, known: &[(u32, &str)], class: char) -> Vec<String> {
    let set = (0..u32::BITS).filter(|bit| word & (1 << bit) != 0);
    set.map(|bit| name_of(bit, known, class)).collect()
}

fn name_of(bit: u32, known: &[(u32, &str)], class: char) -> String {
    match known.iter().find(|(value, _)| *value == 1 << bit) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("FEATURE_{class}{bit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXT3: Features = Features { compat: 0x3c, incompat: 0x2, ro_compat: 0x3 };

    #[test]
    fn names_are_those_of_e2fsprogs() {
        let names = EXT3.names().join(" ");
        assert_eq!(names, "has_journal ext_attr resize_inode dir_index filetype sparse_super large_file");
        let odd = Features { incompat: 1 << 27, ..EXT3 };
        assert!(odd.names().contains(&"FEATURE_I27".to_owned()));
    }

    #[test]
    fn apptainer_takes_ext3_and_names_what_is_newer() {
        assert_eq!(EXT3.apptainer(), Ok(()));
        let ext4 = Features { incompat: 0x42, ro_compat: 0x403, ..EXT3 };
        assert_eq!(ext4.apptainer().unwrap_err(), "it has features newer than ext3 (extent, metadata_csum)");
        assert!(Features { compat: 0, ..EXT3 }.apptainer().unwrap_err().contains("has_journal"));
    }

    #[test]
    fn versions() {
        assert_eq!(EXT3.version(), 3);
        assert_eq!(Features { compat: 0, ..EXT3 }.version(), 2);
        assert_eq!(Features { incompat: 0x42, ..EXT3 }.version(), 4);
    }

    #[test]
    fn a_writer_refuses_by_name() {
        let quota = Features { ro_compat: 0x103, ..EXT3 };
        assert!(quota.check_writable().unwrap_err().to_string().contains("feature quota"));
        let unknown = Features { compat: 0x8000_003c, ..EXT3 };
        assert!(unknown.check_writable().unwrap_err().to_string().contains("FEATURE_C31"));
        assert!(EXT3.check_writable().is_ok());
    }
}
