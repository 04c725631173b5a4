//! Regular expressions of subscriptions: checked when a member sends one, resolved whenever topics
//! change. Linear in the length of the text, and of bounded memory, whatever the expression.

use millstream_engine::group::Topics;
use millstream_proto::is_internal;
use regex::{Regex, RegexBuilder};

use super::CoordinatorError;

/// Checks that a text is a regular expression whose program fits `program_bytes_max`.
pub(super) fn check(regex: &str, program_bytes_max: usize) -> Result<(), CoordinatorError> {
    compile(regex, program_bytes_max).map(drop)
}

/// The topics whose whole name matches, in order. Internal topics match nothing, as nobody means them
/// with `.*`.
pub(super) fn resolve(
    regex: &str,
    program_bytes_max: usize,
    topics: &Topics,
) -> Result<Vec<String>, CoordinatorError> {
    let regex = compile(regex, program_bytes_max)?;
    let names = topics.iter().map(|(name, _)| &**name);
    let matching = names.filter(|name| !is_internal(name) && regex.is_match(name));
    Ok(matching.map(str::to_owned).collect())
}

fn compile(regex: &str, program_bytes_max: usize) -> Result<Regex, CoordinatorError> {
    let build = |text: &str| {
        RegexBuilder::new(text)
            .size_limit(program_bytes_max)
            .dfa_size_limit(program_bytes_max)
            .build()
            .map_err(|error| CoordinatorError::Regex {
                reason: one_line(&error.to_string()),
            })
    };
    // By itself first: in parentheses a closing one too many would become valid.
    build(regex)?;
    build(&format!("^(?:{regex})$"))
}

/// The crate draws an arrow below the expression; its last line says what is wrong.
fn one_line(error: &str) -> String {
    let last = error.lines().last().unwrap_or(error).trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use millstream_engine::group::Topic;
    use millstream_proto::TopicId;

    use super::*;

    const PROGRAM_BYTES_MAX: usize = 1 << 20;

    fn topics(names: &[&str]) -> Topics {
        let topic = |name: &&str| {
            let id = TopicId::from_bytes([1; 16]);
            (Arc::from(*name), Topic::without_racks(id, 1))
        };
        Topics::new(1, names.iter().map(topic))
    }

    fn matching(regex: &str) -> Vec<String> {
        let topics = topics(&["__consumer_offsets", "__mine", "a", "ab", "b-7", "xab"]);
        resolve(regex, PROGRAM_BYTES_MAX, &topics).expect("valid")
    }

    #[test]
    fn a_name_matches_as_a_whole_and_internal_ones_never_do() {
        assert_eq!(matching("a.*"), ["a", "ab"]);
        assert_eq!(matching("a|b-\\d"), ["a", "b-7"]);
        assert_eq!(matching(".*"), ["__mine", "a", "ab", "b-7", "xab"]);
    }

    #[test]
    fn what_is_no_expression_or_too_large_a_one_is_refused_on_one_line() {
        for regex in ["a)(b", "(", "[", "a{1000}{1000}", "\\1"] {
            let error = check(regex, PROGRAM_BYTES_MAX).expect_err(regex);
            let CoordinatorError::Regex { reason } = error else {
                panic!("{regex}: {error}");
            };
            assert!(!reason.is_empty() && !reason.contains('\n'), "{reason:?}");
        }
    }
}
