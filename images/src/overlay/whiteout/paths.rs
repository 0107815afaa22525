//! A list of paths in few bytes: each one says how much of it is that of the path before, and then the rest.
//!
//! Opaque directories lie together (`usr/share/doc/…`), and the attribute in which they are remembered has room for 4 KiB at most.

/// More is not remembered, in bytes: on ext an attribute shares 4 KiB with its neighbours.
const MOST: usize = 3072;
/// No path holds this byte.
const END: u8 = 0;

/// Sorts `paths` and packs them; `None` where they are too many, or hold a byte that no path can have.
pub(super) fn pack(paths: &mut [Vec<u8>]) -> Option<Vec<u8>> {
    paths.sort_unstable();
    let (mut packed, mut before) = (Vec::new(), [].as_slice());
    for path in paths.iter() {
        let shared = path.iter().zip(before).take(u8::MAX.into()).take_while(|(here, there)| here == there).count();
        packed.push(u8::try_from(shared).ok()?);
        packed.extend(path.get(shared..)?);
        packed.push(END);
        if path.contains(&END) || packed.len() > MOST {
            return None;
        }
        before = path;
    }
    Some(packed)
}

/// Undoes [`pack`]; `None` for bytes that it did not make. They come from an attribute that others can write.
pub(super) fn unpack(mut packed: &[u8]) -> Option<Vec<Vec<u8>>> {
    if packed.len() > MOST {
        return None;
    }
    let mut paths: Vec<Vec<u8>> = Vec::new();
    while let Some((&shared, rest)) = packed.split_first() {
        let end = rest.iter().position(|&byte| byte == END)?;
        let before = paths.last().map_or([].as_slice(), Vec::as_slice);
        let path = [before.get(..shared.into())?, rest.get(..end)?].concat();
        paths.push(path);
        packed = rest.get(end + 1..)?;
    }
    Some(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(paths: &[&str]) -> Vec<Vec<u8>> {
        paths.iter().map(|path| path.as_bytes().to_vec()).collect()
    }

    #[test]
    fn what_is_packed_comes_back_sorted() {
        let long = "n".repeat(300);
        for paths in [&[][..], &[""], &["usr/share/b", "opt", "usr/share/a"], &[&long, &format!("{long}/x")]] {
            let mut paths = list(paths);
            let packed = pack(&mut paths).unwrap();
            assert_eq!(unpack(&packed), Some(paths));
        }
    }

    #[test]
    fn neighbours_cost_little_and_too_many_are_refused() {
        let of =
            |count: u32| pack(&mut (0..count).map(|i| format!("usr/share/doc/lib-{i:03}").into()).collect::<Vec<_>>());
        assert!(of(500).is_some_and(|packed| packed.len() < 2048));
        assert_eq!(of(2000), None);
        assert_eq!(pack(&mut [b"a\0b".to_vec()]), None);
    }

    #[test]
    fn foreign_bytes_are_refused() {
        for foreign in [&b"\x01a\0"[..], b"\0a", b"\0a\0\x02b\0", &[0; MOST + 1]] {
            assert_eq!(unpack(foreign), None, "{foreign:?}");
        }
    }
}
