//! Reads files with secrets, certificates and tokens, and checks that only their owner may have written them.
//!
//! A file that Seawall makes in the shared folder for temporary files is read only if it is one that Seawall could have
//! made. A file that a person named may be a link, since that is how secrets are mounted, but nobody except its owner
//! may be able to write to it.
//!
//! The obvious `fs::read` would open whatever a path leads to. Any user of the machine could put a link into the shared
//! folder that leads to a private file of the user who runs Seawall. Seawall would then send the first line of that
//! file as a token. Or they could put a pipe there, and reading it would never end.

use std::fs::{File, Metadata, OpenOptions};
use std::hash::{BuildHasher, Hash, RandomState};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::OFlags;

/// The maximum length of a secret or of a list of tokens, in bytes.
const LONGEST_TEXT: u64 = 64 << 10;
/// The number of bytes that are read at most, from the beginning of a file, to find out whether the file has changed.
/// It is fifty times the size of a file with all certificate authorities of a system.
const LONGEST: u64 = 16 << 20;
/// The permission bits that allow other users than the owner to write.
const WRITABLE: u32 = 0o022;
/// The permission bits of a file that Seawall made.
const MADE: u32 = 0o600;

/// Opens a file that the configuration names.
///
/// # Errors
/// If the file cannot be opened, is not a regular file, or may be written by other users. The error says in words which
/// of these it is.
pub(crate) fn open(path: &Path) -> Result<File, String> {
    let file = open_with(path, OFlags::NONBLOCK).map_err(|error| error.to_string())?;
    let about = file.metadata().map_err(|error| error.to_string())?;
    if !about.is_file() {
        return Err("it is not a file".to_owned());
    }
    unwritable(&about)?;
    Ok(file)
}

/// Returns the text of a file that the configuration names.
///
/// # Errors
/// As for [`open`], or if the file is longer than 64 KiB, or is not UTF-8 text.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    text_of(open(path)?)
}

/// Returns the text of a file that a person named on the command line. The file may be a pipe, since shells can pass
/// one in place of a file.
///
/// # Errors
/// If the file cannot be read, may be written by other users, is longer than 64 KiB, or is not UTF-8 text.
pub(crate) fn read_given(path: &Path) -> Result<String, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    unwritable(&file.metadata().map_err(|error| error.to_string())?)?;
    text_of(file)
}

/// Returns the text of a file that Seawall made in a folder that others may write to.
///
/// # Errors
/// If the file cannot be read, or if Seawall cannot have made it. Seawall makes regular files that belong to the user
/// who runs it, that only this user may read, and that have only one name in the file system (no hard links).
pub(crate) fn read_made(path: &Path) -> Result<String, String> {
    let file = open_with(path, OFlags::NOFOLLOW | OFlags::NONBLOCK).map_err(|error| {
        match error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
            true => "it is a link, so no gateway made it".to_owned(),
            false => error.to_string(),
        }
    })?;
    let about = file.metadata().map_err(|error| error.to_string())?;
    let ours = about.uid() == rustix::process::geteuid().as_raw();
    if !about.is_file() {
        Err("it is not a file, so no gateway made it".to_owned())
    } else if !ours {
        Err("it belongs to another user, who runs that gateway or put the file there".to_owned())
    } else if about.mode() & 0o777 != MADE || about.nlink() != 1 {
        Err("others may read it, or it has a second name, so no gateway made it so".to_owned())
    } else {
        text_of(file)
    }
}

/// Returns a number that stands for the content of the file at `path`. If the content changes, the number changes.
/// Returns `None` if the file cannot be read.
pub(crate) fn stamp(path: &Path) -> Option<u64> {
    let mut content = Vec::new();
    open(path).ok()?.take(LONGEST).read_to_end(&mut content).ok()?;
    Some(number(&content[..]))
}

/// Returns a number that stands for this content. Equal contents have equal numbers, so a change is noticed without
/// keeping the content itself. The same content has another number in another process.
pub(crate) fn number<T: Hash + ?Sized>(content: &T) -> u64 {
    static STATE: OnceLock<RandomState> = OnceLock::new();
    STATE.get_or_init(RandomState::new).hash_one(content)
}

fn open_with(path: &Path, flags: OFlags) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

fn unwritable(about: &Metadata) -> Result<(), String> {
    match about.mode() & WRITABLE {
        0 => Ok(()),
        _ => Err(format!(
            "others than its owner may write it (mode {:03o}); `chmod go-w` changes that",
            about.mode() & 0o777
        )),
    }
}

fn text_of(file: File) -> Result<String, String> {
    let mut text = String::new();
    file.take(LONGEST_TEXT + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > LONGEST_TEXT {
        return Err("it is larger than 64 KiB".to_owned());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn file(folder: &Path, name: &str, mode: u32) -> std::path::PathBuf {
        let path = folder.join(name);
        fs::write(&path, "content").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    fn pipe(folder: &Path) -> std::path::PathBuf {
        let path = folder.join("pipe");
        let made = std::process::Command::new("mkfifo").args(["-m", "600"]).arg(&path).status();
        assert!(made.unwrap().success());
        path
    }

    #[test]
    fn made_file_is_read_only_as_it_was_made() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let good = file(folder, "good", 0o600);
        assert_eq!(read_made(&good).as_deref(), Ok("content"));
        for mode in [0o644, 0o640, 0o660, 0o700, 0o400] {
            assert!(read_made(&file(folder, "loose", mode)).is_err(), "{mode:o}");
        }
        symlink(&good, folder.join("link")).unwrap();
        assert!(read_made(&folder.join("link")).unwrap_err().contains("link"));
        assert!(
            read_made(&pipe(folder)).unwrap_err().contains("not a file"),
            "reading it does not wait for a writer"
        );
        assert!(read_made(folder).is_err());
        fs::hard_link(&good, folder.join("second-name")).unwrap();
        assert!(read_made(&good).is_err(), "a file with a second name is refused");
    }

    #[test]
    fn named_file_may_be_a_link_and_not_be_writable_for_others() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        symlink(file(folder, "good", 0o644), folder.join("link")).unwrap();
        assert_eq!(read(&folder.join("link")).as_deref(), Ok("content"));
        assert_eq!(read_given(&folder.join("link")).as_deref(), Ok("content"));
        for mode in [0o620, 0o602, 0o666] {
            let path = file(folder, "loose", mode);
            for why in [read(&path), read_given(&path)].map(Result::unwrap_err) {
                assert!(why.contains("chmod go-w"), "{why}");
            }
            assert_eq!(stamp(&path), None);
        }
        assert!(read(&pipe(folder)).is_err(), "reading it does not wait for a writer");
    }

    #[test]
    fn stamp_tells_contents_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), "f", 0o600);
        let before = stamp(&path);
        assert!(before.is_some() && before == stamp(&file(folder.path(), "g", 0o600)));
        fs::write(&path, "other").unwrap();
        assert!(stamp(&path).is_some() && stamp(&path) != before);
        fs::remove_file(&path).unwrap();
        assert_eq!(stamp(&path), None);
    }
}
