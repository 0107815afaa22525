//! One thread that waits while somebody asks quickly, and those who stand aside, on a socket in the place of the device.

use super::*;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread::{scope, sleep};

const THREADS: usize = 3;
/// On a machine that is busy everything is slow.
const SLOW: Measures =
    Measures { quick: Duration::from_secs(60), look: Duration::from_micros(60), long: Duration::from_secs(60), few: 8 };
/// A request whose answer waits for that to the next one.
const HANGS: u8 = b'h';
const PLAIN: u8 = b'p';

fn until(what: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !what() {
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(1));
    }
}

/// As fuser's threads do.
fn serve(waiting: &Waiting, device: &UnixStream, next: &Mutex<bool>, answered: &Condvar) {
    let mut request = [0];
    while (&*device).read(&mut request).is_ok_and(|length| length == 1) {
        let _taken = waiting.taken(7);
        let mut is_next = next.lock();
        if request[0] == HANGS {
            *is_next = false;
            while !*is_next {
                answered.wait(&mut is_next);
            }
        }
        *is_next = true;
        answered.notify_all();
        drop(is_next);
        (&*device).write_all(&request).unwrap();
    }
}

#[test]
fn one_waits_alone_while_it_is_asked_and_keeps_nobody_waiting() {
    let (asker, device) = UnixStream::pair().unwrap();
    let waiting = Waiting::with(SLOW, Some(device.try_clone().unwrap().into()), THREADS);
    let (next, answered) = (Mutex::new(false), Condvar::new());
    scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| serve(&waiting, &device, &next, &answered));
        }
        let ask = |what: &[u8]| {
            (&asker).write_all(what).unwrap();
            (&asker).read_exact(&mut vec![0; what.len()]).unwrap();
        };
        // The others leave the device one after the other, each when it has answered.
        let stand_aside = || {
            let deadline = Instant::now() + Duration::from_secs(60);
            while !waiting.is_alone() || waiting.reading.load(Ordering::SeqCst) > 1 {
                assert!(Instant::now() < deadline, "{}", waiting.reading.load(Ordering::SeqCst));
                ask(&[PLAIN]);
            }
        };
        stand_aside();
        // Nobody reads while it has one in hand, but for who looks after it.
        for _ in 0..3 {
            ask(&[HANGS, PLAIN]);
            stand_aside();
        }
        // When nobody asks all of them are asleep at the device.
        let asleep = || !waiting.is_alone() && waiting.reading.load(Ordering::SeqCst) == THREADS;
        until(asleep);
        stand_aside();
        // All of them see the end.
        asker.shutdown(std::net::Shutdown::Both).unwrap();
    });
}

#[test]
fn what_is_not_worth_it_is_tried_less_often() {
    let (_asker, device) = UnixStream::pair().unwrap();
    let waiting = Waiting::with(SLOW, Some(device.into()), THREADS);
    let begin = || {
        waiting.alone.store(true, Ordering::SeqCst);
        waiting.aside.lock().credit = CREDIT;
    };
    for times in 1..4 {
        begin();
        (0..=CREDIT / IN_VAIN).for_each(|_| waiting.count(-IN_VAIN));
        assert!(!waiting.is_alone());
        assert_eq!(waiting.needed.load(Ordering::Relaxed), SLOW.few << times);
    }
    begin();
    (0..CREDIT).for_each(|_| waiting.count(1));
    assert!(waiting.is_alone() && waiting.aside.lock().credit == CREDIT);
    // That nothing comes is no waste.
    waiting.all(SLOW.few);
    assert_eq!(waiting.needed.load(Ordering::Relaxed), SLOW.few);
}
