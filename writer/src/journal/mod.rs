//! The journal, JBD2: replay, commit, and how blocks get to their places.
