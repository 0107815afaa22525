//! A block of metadata that becomes a file's: no copy of it in the log may be written over what is there now.

use std::sync::Arc;

use condatainer_writer::device::Device;

use super::workload::{LARGE, Make, SMALL};
use crate::Volume;
use crate::journal::replay;
use crate::record::{Overlay, Recorder};

/// The kinds of the log's own blocks that are in an image.
fn own_blocks(image: &mut [u8], make: Make) -> Vec<(u32, &mut [u8])> {
    let blocks = image.chunks_mut(make.block_size).filter(|block| block.starts_with(&[0xC0, 0x3B, 0x39, 0x98]));
    blocks.map(|block| (u32::from_be_bytes([block[4], block[5], block[6], block[7]]), block)).collect()
}

#[test]
fn what_became_data_is_not_overwritten_by_a_replay() {
    for make in [SMALL, LARGE] {
        let recorder = Arc::new(Recorder::new(make.image()));
        let device: Arc<dyn Device> = recorder.clone();
        let volume = Volume::open(device).unwrap();
        let [first, second] = [make.free()[0], make.free()[1]];
        let fill = |block: u64, byte: u8| volume.change(|handle| handle.fresh(block).map(|bytes| bytes.fill(byte)));
        let holds = |image: &[u8], block: u64| image[block as usize * make.block_size + 7];
        fill(first, 1).unwrap();
        fill(second, 2).unwrap();
        volume.commit().unwrap();
        volume.change(|handle| Ok([first, second].map(|block| handle.forget(block)))).unwrap();
        volume.commit().unwrap();
        for block in [first, second] {
            recorder.write_at(&vec![9; make.block_size], block * make.block_size as u64).unwrap();
        }
        // One of them is metadata again, and freed and metadata once more in the next transaction.
        fill(second, 3).unwrap();
        volume.commit().unwrap();
        volume
            .change(|handle| {
                handle.forget(second);
                handle.fresh(second)?.fill(4);
                Ok(())
            })
            .unwrap();
        volume.commit().unwrap();

        let mut image = recorder.image();
        let overlay = Overlay::new(&image);
        assert_eq!(replay(&overlay).unwrap().transactions, 4);
        let replayed = overlay.image();
        assert_eq!((holds(&replayed, first), holds(&replayed, second)), (9, 4));

        // Without what revokes it, the old copy counts.
        let mut revokes = 0;
        for (kind, block) in own_blocks(&mut image, make) {
            if kind == 5 {
                block[12..16].copy_from_slice(&16_u32.to_be_bytes());
                revokes += 1;
            }
        }
        let overlay = Overlay::new(&image);
        replay(&overlay).unwrap();
        assert_eq!((revokes, holds(&overlay.image(), first)), (1, 1));
    }
}

#[test]
fn more_is_revoked_than_one_block_can_name() {
    let make = SMALL;
    let recorder = Arc::new(Recorder::new(make.image()));
    let device: Arc<dyn Device> = recorder.clone();
    let volume = Volume::open(device).unwrap();
    let blocks: Vec<u64> = (make.last() - 700..make.last()).collect();
    for some in blocks.chunks(100) {
        volume
            .change(|handle| some.iter().try_for_each(|block| handle.fresh(*block).map(|bytes| bytes.fill(1))))
            .unwrap();
    }
    volume.commit().unwrap();
    volume.change(|handle| Ok(blocks.iter().for_each(|block| handle.forget(*block)))).unwrap();
    volume.commit().unwrap();
    for block in &blocks {
        recorder.write_at(&vec![9; make.block_size], block * make.block_size as u64).unwrap();
    }
    volume.commit().unwrap();
    let image = recorder.image();
    let overlay = Overlay::new(&image);
    assert!(replay(&overlay).unwrap().was_needed);
    assert_eq!(overlay.image(), {
        let mut expected = overlay.image();
        blocks.iter().for_each(|block| expected[*block as usize * make.block_size..][..make.block_size].fill(9));
        expected
    });
}
