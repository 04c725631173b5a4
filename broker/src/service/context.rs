//! [`RequestContext`]: who asks, and until when an answer is of use.

use std::time::Instant;

/// Accompanies every request through the services.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// Who asks.
    pub principal: Principal,
    /// After this nobody waits for the answer; `None` when the client did not say.
    pub deadline: Option<Instant>,
}

/// Who asks. There is no authentication yet, so everybody is [`Principal::Anonymous`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Principal {
    /// Nobody in particular.
    Anonymous,
}

impl RequestContext {
    /// A request of nobody in particular.
    #[must_use]
    pub const fn anonymous(deadline: Option<Instant>) -> Self {
        Self {
            principal: Principal::Anonymous,
            deadline,
        }
    }
}
