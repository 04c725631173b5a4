//! Requests about the cluster, its broker, and the connection itself.

use std::iter;

use anyhow::Result;
use kafka_protocol::messages::{
    ApiVersionsRequest, DescribeClusterRequest, DescribeLogDirsRequest, ListConfigResourcesRequest,
    SaslAuthenticateRequest, SaslHandshakeRequest,
    describe_log_dirs_request::DescribableLogDirTopic,
};
use millstream_tests::kafka::{text, topic_name};

use super::{Scene, TOPIC};

pub(super) async fn api_versions(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(text("millstream-tests"))
        .with_client_software_version(text("1.0"));
    let answer = scene.client.call(version, &request).await?;
    Ok(vec![answer.error_code])
}

pub(super) async fn sasl_handshake(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let request = SaslHandshakeRequest::default().with_mechanism(text("PLAIN"));
    let answer = scene.client.call(version, &request).await?;
    Ok(vec![answer.error_code])
}

pub(super) async fn sasl_authenticate(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let request = SaslAuthenticateRequest::default();
    let answer = scene.client.call(version, &request).await?;
    Ok(vec![answer.error_code])
}

pub(super) async fn describe_cluster(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let request = DescribeClusterRequest::default();
    let answer = scene.client.call(version, &request).await?;
    Ok(vec![answer.error_code])
}

pub(super) async fn describe_log_dirs(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let topic = DescribableLogDirTopic::default()
        .with_topic(topic_name(TOPIC))
        .with_partitions(vec![0]);
    let request = DescribeLogDirsRequest::default().with_topics(Some(vec![topic]));
    let answer = scene.client.call(version, &request).await?;
    let directories = answer.results.iter();
    let codes = directories.map(|directory| directory.error_code);
    Ok(iter::once(answer.error_code).chain(codes).collect())
}

pub(super) async fn list_config_resources(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let request = ListConfigResourcesRequest::default();
    let answer = scene.client.call(version, &request).await?;
    Ok(vec![answer.error_code])
}
