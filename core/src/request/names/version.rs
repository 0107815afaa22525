//! Versions as names carry them: numbers between dots, compared part by part.

use std::cmp::Ordering;

/// Compares two versions by their leading numbers; what is missing counts as 0, and a part that is no number ends the comparison
/// (`1.16rc1` is as good as `1`), as the original CondaTainer does. Equal ones are ordered by their text, so that an order is total.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    numeric(a, b).then_with(|| a.cmp(b))
}

/// As [`compare`], where only the numbers count.
pub(super) fn numeric(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (parts(a), parts(b));
    loop {
        match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (a, b) => match a.unwrap_or(0).cmp(&b.unwrap_or(0)) {
                Ordering::Equal => {}
                unequal => return unequal,
            },
        }
    }
}

/// Fused: asked once more after its end, `map_while` would go on behind the part that ended it.
fn parts(version: &str) -> impl Iterator<Item = u64> {
    version.split('.').map_while(|part| part.parse().ok()).fuse()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_are_numbers() {
        assert_eq!(numeric("1.16", "1.16.0"), Ordering::Equal);
        assert_eq!(numeric("1.9", "1.10"), Ordering::Less);
        assert_eq!(numeric("2", "1.99"), Ordering::Greater);
        assert_eq!(numeric("1.16rc1", "1"), Ordering::Equal);
        assert_eq!(numeric("1.16rc1.5", "1"), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in "[0-9a.]{0,6}", b in "[0-9a.]{0,6}", c in "[0-9a.]{0,6}") {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            if compare(&a, &b).is_le() && compare(&b, &c).is_le() {
                prop_assert!(compare(&a, &c).is_le());
            }
        }
    }
}
