//! The descriptor limit: the soft one is raised to the hard one, as many systems start with 1,024.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Below this, partitions and connections compete for descriptors.
const COMFORTABLE: u64 = 8192;

/// Raises the soft limit to the hard one.
pub(super) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "descriptor limit cannot be raised");
    }
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if descriptors < COMFORTABLE {
        tracing::warn!(
            descriptors,
            comfortable = COMFORTABLE,
            "few descriptors are allowed, raise the hard limit (ulimit -Hn, LimitNOFILE=)"
        );
    }
}
