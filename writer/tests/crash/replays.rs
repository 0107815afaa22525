//! Who replays what a crash has left: e2fsck, we when the image is opened, and the kernel. Each also frees what nobody has any more.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use condatainer_formats::source::Window;
use condatainer_writer::Volume;
use condatainer_writer::device::FileDevice;

/// Gets an image and a place for it, and returns what becomes of the image.
type Replayed = fn(&[u8], &Path) -> Vec<u8>;

/// All of them.
pub const ALL: [Replayed; 3] = [by_e2fsck, by_us, by_the_kernel];

/// It finds nothing that it would have to ask about.
pub fn by_e2fsck(image: &[u8], path: &Path) -> Vec<u8> {
    fs::write(path, image).unwrap();
    let output = Command::new("e2fsck").arg("-fy").arg(path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(matches!(output.status.code(), Some(0 | 1)) && !text.contains("? yes"), "{text}");
    fs::read(path).unwrap()
}

pub fn by_us(image: &[u8], path: &Path) -> Vec<u8> {
    fs::write(path, image).unwrap();
    let file = File::options().read(true).write(true).open(path).unwrap();
    let volume = Volume::open(Arc::new(FileDevice::new(file, Window::whole(image.len() as u64)))).unwrap();
    volume.close().unwrap();
    in_order(path)
}

pub fn by_the_kernel(image: &[u8], path: &Path) -> Vec<u8> {
    fs::write(path, image).unwrap();
    let script = "mount -t ext3 -o loop \"$0\" \"$1\" && umount \"$1\"";
    let place = path.with_extension("mounted");
    fs::create_dir_all(&place).unwrap();
    let mut mount = Command::new("unshare");
    mount.args(["-m", "--propagation", "private", "sh", "-c", script]).arg(path).arg(place);
    assert!(mount.status().unwrap().success());
    in_order(path)
}

/// What is in a file in which e2fsck finds nothing.
fn in_order(path: &Path) -> Vec<u8> {
    let output = Command::new("e2fsck").arg("-fn").arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    fs::read(path).unwrap()
}
