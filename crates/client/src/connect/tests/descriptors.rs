//! A lookup for which this process has no descriptors.

use super::*;

/// Ends every lookup with the kernel's error of this number.
struct Fails(i32);

impl Lookup for Fails {
    fn lookup<'a>(&'a self, _: &'a str) -> Looking<'a> {
        let error = io::Error::from_raw_os_error(self.0);
        Box::pin(async { Err(error) })
    }
}

#[tokio::test]
async fn lookup_without_descriptors_is_told_from_a_name_that_is_not_found() {
    for (code, kind) in [
        (libc::EMFILE, ConnectErrorKind::OutOfDescriptors),
        (libc::ENFILE, ConnectErrorKind::OutOfDescriptors),
        (libc::ENOENT, ConnectErrorKind::Dns),
    ] {
        let (target, lookup) = (target("https://pay.example"), Arc::new(Fails(code)));
        let connector = Connector::with_lookup(target, Settings::default(), lookup).unwrap();
        let error = connector.connect(later()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains("pay.example"), "{error}");
    }
}
