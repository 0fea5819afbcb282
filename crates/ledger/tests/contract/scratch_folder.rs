//! The folder of the tests' own PostgreSQL: while an old folder is being deleted, a new user never uses a part of it.

use std::fs;
use std::process::Command;

use crate::scratch::{removal, take_part};

#[test]
fn folder_of_an_old_cluster_goes_whole() {
    for _ in 0..5 {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("cluster");
        drop(take_part(&folder).unwrap());
        let (lock, data) = (folder.join("in-use"), folder.join("data"));
        fs::create_dir(&data).unwrap();
        (0..1000).for_each(|number| fs::write(data.join(number.to_string()), "old").unwrap());

        let mut watcher = Command::new("sh").args(["-c", &removal(&folder)]).spawn().unwrap();
        while watcher.try_wait().unwrap().is_none() {
            // If one of the two is missing, and the other one is still there after that, a part of the folder was seen.
            assert!(data.exists() || !lock.exists(), "the lock is there without the data");
            assert!(lock.exists() || !data.exists(), "the data are there without the lock");
        }
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "nothing is left");
        let _part = take_part(&folder).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "the lock alone");
    }
}
