//! [`Repeats`]: which lines are left out because they repeat, and how many there were.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use super::line::Line;

/// Distinct lines that are remembered; beyond, lines are judged by their place alone.
const LINES_MAX: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Write,
    LeaveOut,
}

#[derive(Debug)]
struct Seen {
    since: Instant,
    left_out: u64,
    /// Shown with the count.
    line: Line,
}

#[derive(Debug)]
struct Place {
    since: Instant,
    lines: u32,
    left_out: u64,
    /// The first that was left out.
    example: Option<Line>,
}

/// Remembers recent lines. Bounded by [`LINES_MAX`] and the number of places in the code.
#[derive(Debug)]
pub(super) struct Repeats {
    interval: Duration,
    place_lines_max: u32,
    lines: HashMap<u64, Seen>,
    places: HashMap<(&'static str, u32), Place>,
    left_out: u64,
}

impl Repeats {
    pub(super) fn new(interval: Duration, place_lines_max: u32) -> Self {
        Self {
            interval,
            place_lines_max,
            lines: HashMap::new(),
            places: HashMap::new(),
            left_out: 0,
        }
    }

    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// Decides about a line. Call [`Repeats::expired`] with the same time before.
    pub(super) fn judge(&mut self, line: &Line, now: Instant) -> Verdict {
        if self.interval.is_zero() {
            return Verdict::Write;
        }
        let mut hasher = DefaultHasher::new();
        (line.place(), line.content()).hash(&mut hasher);
        let key = hasher.finish();
        if let Some(seen) = self.lines.get_mut(&key) {
            seen.left_out += 1;
            self.left_out += 1;
            return Verdict::LeaveOut;
        }
        if self.is_place_used_up(line, now) {
            return Verdict::LeaveOut;
        }
        if self.lines.len() < LINES_MAX {
            let seen = Seen {
                since: now,
                left_out: 0,
                line: line.clone(),
            };
            self.lines.insert(key, seen);
        }
        Verdict::Write
    }

    fn is_place_used_up(&mut self, line: &Line, now: Instant) -> bool {
        let place = self.places.entry(line.place()).or_insert(Place {
            since: now,
            lines: 0,
            left_out: 0,
            example: None,
        });
        if place.lines < self.place_lines_max {
            place.lines += 1;
            return false;
        }
        place.left_out += 1;
        place.example.get_or_insert_with(|| line.clone());
        self.left_out += 1;
        true
    }

    /// Forgets what is older than the interval; returns lines that were left out, with their count.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<(Line, u64)> {
        let interval = self.interval;
        let is_over = |since: Instant| now.saturating_duration_since(since) >= interval;
        let lines = self.lines.extract_if(|_, seen| is_over(seen.since));
        let lines = lines.map(|(_, seen)| (seen.line, seen.left_out));
        let mut expired: Vec<_> = lines.filter(|(_, count)| *count > 0).collect();
        let places = self.places.extract_if(|_, place| is_over(place.since));
        expired.extend(places.filter_map(|(_, place)| Some((place.example?, place.left_out))));
        let reported: u64 = expired.iter().map(|(_, count)| count).sum();
        self.left_out = self.left_out.saturating_sub(reported);
        expired
    }
}
