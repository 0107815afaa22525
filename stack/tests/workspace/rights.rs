//! Who may do what.

use super::Test;
use super::place::{Place, Who, same};

pub(crate) const TESTS: &[Test] = &[
    ("a_list_that_names_somebody_is_no_obstacle", a_list_that_names_somebody_is_no_obstacle),
    ("set_user_id_goes_for_whom_it_goes_on_a_disk", set_user_id_goes_for_whom_it_goes_on_a_disk),
];

/// Root with subordinate ids sets it, the user alone can use the file, and root finds it again.
fn a_list_that_names_somebody_is_no_obstacle() -> Result<(), String> {
    let place = Place::new(16, &[], |_, _| {});
    place.inside(Who::Range, &["lists"])?;
    place.check()?;
    place.inside(Who::Plain, &["unlisted"])?;
    place.check()?;
    place.inside(Who::Range, &["listed"])
}

fn set_user_id_goes_for_whom_it_goes_on_a_disk() -> Result<(), String> {
    let place = Place::new(16, &[], |_, _| {});
    let script = "cd $D; for n in 1 2 3; do echo x > f$n; chmod 6755 f$n; done
        echo y >> f1; truncate -s 1 f2; printf z | dd of=f3 conv=notrunc status=none; ls -l f1 f2 f3 | cut -c1-10; rm f*";
    same(place.script(Who::Plain, script).fine()?, "-rwxr-xr-x\n-rwxr-xr-x\n-rwxr-xr-x".into())?;
    for root in [Who::Range, Who::Root] {
        same(place.script(root, script).fine()?, "-rwsr-sr-x\n-rwsr-sr-x\n-rwsr-sr-x".into())?;
    }
    // Whoever is somebody else there.
    let others = "cd $D; umask 0; for n in 1 2 3; do echo x > f$n; chmod 6777 f$n; done; chmod 777 .
        setpriv --clear-groups --reuid 7 --regid 7 sh -c 'echo y >> f1; truncate -s 1 f2; printf z | dd of=f3 conv=notrunc status=none'
        ls -l f1 f2 f3 | cut -c1-10; rm f*";
    for root in [Who::Range, Who::Root] {
        same(place.script(root, others).fine()?, "-rwxrwxrwx\n-rwxrwxrwx\n-rwxrwxrwx".into())?;
    }
    place.check()
}
