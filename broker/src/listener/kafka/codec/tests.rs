//! What is true of every request in every version that is served.

mod corpus;
mod hostile;
mod mutation;
mod oracle;
mod produce;
mod sample;
mod truncation;

use super::apis::{APIS, Api};

/// Every API in every version that is served.
fn every_version() -> impl Iterator<Item = (&'static Api, i16)> {
    APIS.iter()
        .flat_map(|api| (api.first..=api.last).map(move |version| (api, version)))
}
