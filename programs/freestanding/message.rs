//! Messages over a socket, and the descriptors that go along with one, as the kernel lays them out.

use core::mem::offset_of;

/// Of send(2): who is gone is an error, and no signal.
pub(crate) const MSG_NOSIGNAL: usize = 0x4000;
pub(crate) const SOL_SOCKET: i32 = 1;
const SCM_RIGHTS: i32 = 1;

/// `struct iovec`.
#[repr(C)]
pub(crate) struct Part {
    pub(crate) start: *const u8,
    pub(crate) length: usize,
}

/// `struct msghdr`, with its padding.
#[repr(C)]
pub(crate) struct Message<const N: usize> {
    name: usize,
    name_length: usize,
    parts: *const Part,
    part_count: usize,
    control: *const Rights<N>,
    control_length: usize,
    flags: usize,
}

impl<const N: usize> Message<N> {
    /// Of one part, and of what goes, or comes, along with it. Both must live as long as the message is used.
    pub(crate) fn of(part: *const Part, rights: *const Rights<N>) -> Self {
        let control_length = size_of::<Rights<N>>();
        Self { name: 0, name_length: 0, parts: part, part_count: 1, control: rights, control_length, flags: 0 }
    }
}

/// `struct cmsghdr` and so many descriptors.
#[repr(C)]
pub(crate) struct Rights<const N: usize> {
    length: usize,
    level: i32,
    kind: i32,
    descriptors: [i32; N],
}

impl<const N: usize> Rights<N> {
    /// What may stand behind the descriptors to fill the structure up is not counted.
    const LENGTH: usize = offset_of!(Self, descriptors) + size_of::<[i32; N]>();

    /// To be sent.
    pub(crate) fn of(descriptors: [i32; N]) -> Self {
        Self { length: Self::LENGTH, level: SOL_SOCKET, kind: SCM_RIGHTS, descriptors }
    }

    /// Room for those that may come.
    pub(crate) fn room() -> Self {
        Self { length: 0, level: 0, kind: 0, descriptors: [0; N] }
    }

    /// The descriptors, if exactly so many have come.
    pub(crate) fn received(&self) -> Option<[i32; N]> {
        let have_come = (self.length, self.level, self.kind) == (Self::LENGTH, SOL_SOCKET, SCM_RIGHTS);
        have_come.then_some(self.descriptors)
    }
}
