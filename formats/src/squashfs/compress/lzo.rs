//! LZO1X, as the kernel's `Documentation/staging/lzo.rst` describes it.
//!
//! Our own, because it is short and what a block may grow to has to be bounded: the crate that is written in Rust, lzokay-native, writes
//! byte by byte into whatever memory an instruction asks for.

/// The content of a block of at most `limit` bytes, in `out`; nothing where it is damaged, or longer.
pub(super) fn expand(packed: &[u8], limit: usize, out: Vec<u8>) -> Option<Vec<u8>> {
    let mut lzo = Lzo { rest: packed, out, limit };
    let mut state = match *packed.first()? {
        first @ 18.. => {
            lzo.rest = lzo.rest.get(1..)?;
            let length = usize::from(first) - 17;
            lzo.literals(length)?;
            length.min(4)
        }
        _ => 0,
    };
    while let Some(next) = lzo.instruction(state)? {
        state = next;
    }
    Some(lzo.out)
}

struct Lzo<'a> {
    rest: &'a [u8],
    out: Vec<u8>,
    limit: usize,
}

impl Lzo<'_> {
    /// Obeys one instruction. `state` is the number of literals that the last one has copied, 4 for more than three; the new one
    /// is returned, or nothing at the end.
    fn instruction(&mut self, state: usize) -> Option<Option<usize>> {
        let code = self.byte()?;
        let (length, distance, literals) = match code {
            64.. => (code >> 5, (self.byte()? << 3) + (code >> 2 & 7) + 1, code & 3),
            32.. => {
                let length = self.length(code & 31, 31)?;
                let word = self.word()?;
                (length + 2, (word >> 2) + 1, word & 3)
            }
            16.. => {
                let length = self.length(code & 7, 7)?;
                let word = self.word()?;
                match ((code & 8) << 11) + (word >> 2) {
                    0 => return Some(None),
                    distance => (length + 2, distance + 16384, word & 3),
                }
            }
            _ if state == 0 => {
                let length = self.length(code, 15)?;
                self.literals(length + 3)?;
                return Some(Some(4));
            }
            _ if state == 4 => (3, (self.byte()? << 2) + (code >> 2) + 2049, code & 3),
            _ => (2, (self.byte()? << 2) + (code >> 2) + 1, code & 3),
        };
        self.copy(if code >= 64 { length + 1 } else { length }, distance)?;
        self.literals(literals)?;
        Some(Some(literals))
    }

    fn byte(&mut self) -> Option<usize> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(usize::from(*first))
    }

    fn word(&mut self) -> Option<usize> {
        Some(self.byte()? | self.byte()? << 8)
    }

    /// A length that did not find place in its instruction goes on in bytes: each 0 stands for 255.
    fn length(&mut self, given: usize, most: usize) -> Option<usize> {
        if given != 0 {
            return Some(given);
        }
        let mut length = most;
        loop {
            match self.byte()? {
                0 => length += 255,
                last => return Some(length + last),
            }
        }
    }

    fn literals(&mut self, length: usize) -> Option<()> {
        let (now, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        self.room(length)?;
        self.out.extend_from_slice(now);
        Some(())
    }

    /// Repeats what lies `distance` bytes back. The source may run into what is being written.
    fn copy(&mut self, mut length: usize, distance: usize) -> Option<()> {
        self.room(length)?;
        let start = self.out.len().checked_sub(distance)?;
        while length > 0 {
            let step = length.min(self.out.len() - start);
            self.out.extend_from_within(start..start + step);
            length -= step;
        }
        Some(())
    }

    fn room(&self, length: usize) -> Option<()> {
        (length <= self.limit - self.out.len()).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five literals, then 40 bytes from one byte back, then the end.
    const PACKED: [u8; 13] = [17 + 5, b'h', b'e', b'l', b'l', b'o', 32, 7, 0, 0, 17, 0, 0];

    #[test]
    fn literals_and_repetitions() {
        let expected = [b"hello".as_slice(), &[b'o'; 40]].concat();
        assert_eq!(expand(&PACKED, 45, Vec::new()).as_deref(), Some(expected.as_slice()));
    }

    #[test]
    fn no_more_than_the_limit_and_nothing_from_before_the_start() {
        assert_eq!(expand(&PACKED, 44, Vec::new()), None);
        assert_eq!(expand(&PACKED[..12], 45, Vec::new()), None);
        assert_eq!(expand(&[18, b'x', 0x40, 1, 17, 0, 0], 45, Vec::new()), None);
        assert_eq!(expand(&[0; 1000], usize::MAX >> 1, Vec::new()), None);
    }
}
