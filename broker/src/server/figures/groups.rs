//! Figures of groups.

use std::time::Duration;

use super::seconds;
use crate::{
    coordinator::CountsNow,
    metrics::{Figures, catalog},
    service::{Services, groups::figures::GroupFigures},
};

/// Of groups and their coordinators.
pub(super) fn figures(figures: &mut Figures, services: &Services) {
    let groups = services.group_figures();
    let counts = services.group_counts();
    for ((kind, state), count) in &groups.groups {
        figures.set_labelled(catalog::GROUPS, &[kind, state], *count);
    }
    figures.set(catalog::GROUPS_MOST, groups.groups_most);
    figures.set(catalog::GROUP_MEMBERS, groups.members);
    figures.set(catalog::GROUP_MEMBERS_MOST, groups.members_most);
    lags(figures, &groups);
    members(figures, &counts);
    figures.set(catalog::GROUP_COMMITS, counts.commits);
    figures.set(catalog::GROUP_OFFSETS_COMMITTED, counts.offsets_committed);
    figures.set(catalog::GROUP_OFFSETS_REFUSED, counts.offsets_refused);
    figures.set(catalog::GROUP_APPENDS, counts.batches);
    figures.set(catalog::GROUP_APPEND_RECORDS, counts.batch_records);
    figures.set(catalog::GROUP_ANSWERS_WAITING, groups.waiting_answers);
    figures.set(catalog::GROUP_FAILURES, counts.failures);
    figures.set(catalog::GROUP_LOADING, services.coordinators_loading());
    loads(figures, &counts);
}

/// All figures of one metric follow each other.
fn lags(figures: &mut Figures, groups: &GroupFigures) {
    for lag in &groups.lags {
        let labels = [&*lag.group_id, &*lag.topic];
        figures.set_labelled(catalog::GROUP_LAG, &labels, lag.records);
    }
    for lag in &groups.lags {
        if let Some(behind) = lag.behind {
            let labels = [&*lag.group_id, &*lag.topic];
            let behind = Duration::from_millis(behind.ms).as_secs_f64();
            figures.set_labelled(catalog::GROUP_LAG_SECONDS, &labels, behind);
        }
    }
    figures.set(catalog::GROUPS_WITHOUT_LAG, groups.groups_without_lag);
}

fn members(figures: &mut Figures, counts: &CountsNow) {
    figures.set(catalog::GROUP_REBALANCES, counts.rebalances);
    for (reason, count) in [
        ("silent", counts.members_silent),
        ("gone", counts.members_gone),
        ("unrevoked", counts.members_unrevoked),
    ] {
        figures.set_labelled(catalog::GROUP_MEMBERS_EVICTED, &[reason], count);
    }
}

fn loads(figures: &mut Figures, counts: &CountsNow) {
    figures.set(catalog::GROUP_LOADS, counts.loads);
    figures.set(catalog::GROUP_LOAD_FAILURES, counts.load_failures);
    figures.set(catalog::GROUP_LOAD_SECONDS, seconds(counts.load_us));
    figures.set(catalog::GROUP_LOAD_LAST, seconds(counts.load_us_last));
    figures.set(catalog::GROUP_LOAD_RECORDS, counts.load_records);
}
