//! Names: blocks of entries, and the index over them (htree).
