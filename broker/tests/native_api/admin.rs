//! Admin calls that succeed.

use millstream_proto::grpc::v1;
use tonic::transport::Channel;

use crate::client::within;

pub(crate) async fn delete_topic(channel: &Channel, name: &str) {
    let mut client = v1::topic_service_client::TopicServiceClient::new(channel.clone());
    let request = v1::DeleteTopicsRequest {
        names: vec![name.into()],
        validate_only: false,
    };
    let response = within("delete_topics", client.delete_topics(request)).await;
    let results = response.expect("answered").into_inner().results;
    assert_eq!(results[0].error, None);
}
