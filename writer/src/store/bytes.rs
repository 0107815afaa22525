//! What a block says.

use std::sync::Arc;

/// The bytes of a block. Who has one sees it as it was then: a change makes a copy where others look on.
pub(crate) type Bytes = Arc<Vec<u8>>;
