//! The file itself, and `[defaults]`.

use super::dependency::DEPENDENCY;
use super::gateway::{GATEWAY, LEDGER};
use super::policies::{PER_CALL, PER_DEPENDENCY};
use super::{Kind, Spec, key};

pub(in crate::config) static ROOT: Spec = Spec {
    name: "the file",
    doc: "Seawall's configuration.",
    groups: &[&[
        key("gateway", Kind::Table(&GATEWAY), "The gateway's own process."),
        key("ledger", Kind::Table(&LEDGER), "Where durable operations are recorded."),
        key(
            "defaults",
            Kind::Table(&DEFAULTS),
            "Settings for every dependency. A dependency or an operation may override each of them, key by key.",
        ),
        key("dependency", Kind::Named(&DEPENDENCY), "The systems that are called, by name."),
    ]],
};

static DEFAULTS: Spec = Spec {
    name: "[defaults]",
    doc: "Settings for every dependency. A dependency or an operation may override each of them, key by key.",
    groups: &[PER_CALL, PER_DEPENDENCY],
};
