//! F29 in every text of every request of Kafka clients: what names nothing is an error of its entry, what may be
//! any text is taken as one, and neither is a path, a line of its own or a panic.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context as _, Result};
use kafka_protocol::{
    messages::{ApiKey, ApiVersionsRequest, RequestKind},
    protocol::StrBytes,
};
use millstream_tests::{Cli, Daemon, DaemonOptions, Kafka, http, kafka, native};

use super::{
    answers::{Outcome, outcomes},
    group_requests, names, topic_requests, tree,
};

/// A topic that is there, and a group that has committed something.
pub(super) const TARGET: &str = "target";
pub(super) const READERS: &str = "readers";

/// A request in which a client has a text of its own.
#[derive(Debug)]
pub(super) struct Case {
    api: ApiKey,
    version: i16,
    field: &'static str,
    request: fn(&str) -> RequestKind,
    promise: Promise,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Promise {
    /// No such text names anything.
    Refused,
    /// Some may.
    Answered,
}

pub(super) const fn refused(
    api: ApiKey,
    version: i16,
    field: &'static str,
    request: fn(&str) -> RequestKind,
) -> Case {
    Case {
        api,
        version,
        field,
        request,
        promise: Promise::Refused,
    }
}

pub(super) const fn answered(
    api: ApiKey,
    version: i16,
    field: &'static str,
    request: fn(&str) -> RequestKind,
) -> Case {
    Case {
        promise: Promise::Answered,
        ..refused(api, version, field, request)
    }
}

/// As much of a text as fits where lengths have two bytes. Only those of ASCII are longer.
pub(super) fn short(text: &str) -> &str {
    &text[..text.len().min(32_767)]
}

fn cases() -> impl Iterator<Item = &'static Case> {
    topic_requests::CASES.iter().chain(group_requests::CASES)
}

/// Requests without any text.
const WITHOUT_TEXT: [ApiKey; 3] = [
    ApiKey::DescribeCluster,
    ApiKey::ListConfigResources,
    ApiKey::SaslAuthenticate,
];
const API_VERSIONS: i16 = 4;
const INIT_PRODUCER_ID: i16 = 5;
/// Characters that a message of an error may have.
const MESSAGE_CHARS_MAX: usize = 3_000;
/// Longest name of a file of a log.
const FILE_NAME_BYTES_MAX: usize = 60;

/// A daemon with the target and the group, whose offsets topic is there.
async fn start() -> Result<(Daemon, Kafka)> {
    let daemon = DaemonOptions::default()
        .set("groups.initial_rebalance_delay", "0s")
        .start()?;
    let mut client = Kafka::connect(daemon.kafka()).await?;
    let created = client.create_topic(TARGET, 1, &[]).await?;
    assert_eq!(created.error_code, 0, "{created:?}");
    let commit = group_requests::commit(READERS, TARGET, "");
    let answer = client.call(group_requests::COMMIT, &commit).await?;
    assert_eq!(answer.topics[0].partitions[0].error_code, 0, "{answer:?}");
    Ok((daemon, client))
}

#[tokio::test]
async fn hostile_texts_in_every_request_are_refused_or_taken_as_text() -> Result<()> {
    let (daemon, mut client) = start().await?;
    let before = tree(&daemon)?;
    for name in names() {
        for case in cases() {
            let shown: String = name.escape_debug().take(40).collect();
            let what = format!("{:?}, {}: {shown}", case.api, case.field);
            let request = (case.request)(&name);
            let answer = client.call_any(case.api, case.version, &request).await;
            let answer = answer.with_context(|| what.clone())?;
            check(&what, case.promise, outcomes(answer));
        }
    }
    assert_is_sound(&daemon, &before)?;
    assert_serves(&mut client).await
}

fn check(what: &str, promise: Promise, outcomes: Vec<Outcome>) {
    let is_refused = promise == Promise::Refused;
    assert!(!is_refused || !outcomes.is_empty(), "{what}: no outcome");
    for (code, message) in outcomes {
        let error = kafka::error_name(code);
        assert_ne!(code, -1, "{what}: {error}");
        assert!(!is_refused || code != 0, "{what}: is taken");
        let message = message.unwrap_or_default();
        assert!(
            message.chars().count() <= MESSAGE_CHARS_MAX && !message.contains(char::is_control),
            "{what}: {error}, {message:?}"
        );
    }
}

/// What no text leaves behind, whatever it is the name of.
fn assert_is_sound(daemon: &Daemon, before: &BTreeSet<String>) -> Result<()> {
    for path in tree(daemon)?.difference(before).map(Path::new) {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.unwrap_or_default();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        assert!(
            name.bytes().all(is_plain) && name.len() <= FILE_NAME_BYTES_MAX && !path.is_dir(),
            "{path:?}"
        );
    }
    let log = daemon.log();
    assert!(
        !log.contains(['\0', '\r', '\u{1b}', '\u{7f}'])
            && log.lines().all(|line| !line.starts_with("INJECTED")),
        "{log}"
    );
    let page = daemon.metrics()?;
    let is_raw = |character: char| character.is_control() && character != '\n';
    assert!(!page.contains(is_raw), "{page}");
    assert!(
        page.lines()
            .all(|line| line.starts_with("# ") || line.starts_with("millstream_")),
        "{page}"
    );
    assert_eq!(http::metric(&page, "millstream_panics_total"), Some(0.0));
    for line in ["groups list", "cluster clients"] {
        let shown = Cli::new(daemon, line.split(' '))?.stdout()?;
        let shown = String::from_utf8(shown)?;
        assert!(!shown.contains(is_raw), "{line}: {shown:?}");
    }
    Ok(())
}

/// On the connection on which everything else was asked.
async fn assert_serves(client: &mut Kafka) -> Result<()> {
    let batch = native::batch(Default::default(), 1, ["x"]);
    let produced = client.produce(TARGET, 0, batch).await?;
    assert_eq!(produced.error_code, 0, "{produced:?}");
    let fetched = client.fetch(TARGET, 0, 0, 1 << 20).await?;
    assert_eq!(fetched.error_code, 0, "{fetched:?}");
    Ok(())
}

#[tokio::test]
async fn every_api_that_is_served_has_a_case_or_no_text() -> Result<()> {
    let daemon = Daemon::start()?;
    let mut client = Kafka::connect(daemon.kafka()).await?;
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("test"))
        .with_client_software_version(StrBytes::from_static_str("1"));
    let served = client.call(API_VERSIONS, &request).await?.api_keys;
    for api in served {
        let key = ApiKey::try_from(api.api_key).ok();
        let key = key.with_context(|| format!("key {}", api.api_key))?;
        let has_case = cases().any(|case| case.api == key);
        assert!(has_case != WITHOUT_TEXT.contains(&key), "{key:?}");
    }
    Ok(())
}

#[tokio::test]
async fn hostile_client_ids_are_text_wherever_they_show() -> Result<()> {
    let (daemon, mut client) = start().await?;
    let before = tree(&daemon)?;
    for (number, name) in names().into_iter().enumerate() {
        client.set_client_id(short(&name));
        // The daemon's log tells of one, the members of a group keep the other.
        let transactional = topic_requests::init_producer_id("t");
        client.call(INIT_PRODUCER_ID, &transactional).await?;
        let beat = group_requests::beat("members", &format!("m{number}"));
        let answer = client.call(group_requests::BEAT, &beat).await?;
        let outcome = (answer.error_code, answer.error_message);
        check("client id", Promise::Answered, vec![outcome]);
        if name.contains(char::is_control) {
            assert_is_sound(&daemon, &before)?;
        }
    }
    assert_is_sound(&daemon, &before)?;
    assert_serves(&mut client).await
}

#[tokio::test]
async fn hostile_metadata_of_a_commit_comes_back_as_it_was_or_is_refused() -> Result<()> {
    let (_daemon, mut client) = start().await?;
    for name in names() {
        let shown: String = name.escape_debug().take(40).collect();
        let commit = group_requests::commit(READERS, TARGET, &name);
        let answer = client.call(group_requests::COMMIT, &commit).await?;
        let code = answer.topics[0].partitions[0].error_code;
        if code != 0 {
            let error = kafka::error_name(code);
            assert_eq!(error, "OffsetMetadataTooLarge", "{shown}");
            continue;
        }
        let committed = group_requests::committed(READERS, TARGET, None);
        let answer = client.call(group_requests::FETCH, &committed).await?;
        let found = &answer.groups[0].topics[0].partitions[0];
        assert_eq!(found.metadata.as_deref(), Some(&*name), "{shown}");
    }
    Ok(())
}
