//! Extended attributes: in the inode, and in a block that several inodes may share.
