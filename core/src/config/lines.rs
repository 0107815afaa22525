//! Where the keys of a file stand.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

/// The line of each key in a file; those under `[fixed]` as `fixed.KEY`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lines(BTreeMap<String, usize>);

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        let mut lines = BTreeMap::new();
        let line = |start: usize| text.get(..start).unwrap_or_default().matches('\n').count() + 1;
        let Ok(table) = DeTable::parse(text) else { return Self::default() };
        for (key, value) in table.get_ref() {
            lines.insert(key.get_ref().to_string(), line(key.span().start));
            if let DeValue::Table(inner) = value.get_ref() {
                let inner = inner
                    .iter()
                    .map(|(below, _)| (format!("{}.{}", key.get_ref(), below.get_ref()), line(below.span().start)));
                lines.extend(inner);
            }
        }
        Self(lines)
    }

    pub(super) fn line(&self, key: &str) -> Option<usize> {
        self.0.get(key).copied()
    }
}
