//! The local driver: concurrent proposals, images, deltas, closing.

use super::*;

fn start(io: &MemoryIo) -> LocalQuorum {
    let (log, opened) = open(io.clone(), LARGE).expect("whole");
    LocalQuorum::start(log, opened.image, 16, Box::new(no_room)).expect("a thread")
}

#[tokio::test]
async fn of_concurrent_creates_of_one_name_one_wins() {
    let io = memory();
    let quorum = Arc::new(start(&io));
    let attempts: Vec<_> = (0..20)
        .map(|id| {
            let quorum = Arc::clone(&quorum);
            tokio::spawn(async move { quorum.propose(vec![topic("wanted", id, 1)]).await })
        })
        .collect();
    let mut won = 0;
    for attempt in attempts {
        match attempt.await.expect("no panic") {
            Ok(committed) => {
                won += 1;
                assert!(quorum.image().index() >= committed.index);
            }
            Err(ProposeError::Refused(ImageError::TopicExists { .. })) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(won, 1);
    quorum.close().await;
    let (_, opened) = open(io.fork(), LARGE).expect("whole");
    assert_eq!(&opened.image, &*quorum.image());
}

#[tokio::test]
async fn names_that_collide_are_refused_and_nothing_of_their_proposal_is_kept() {
    let quorum = start(&memory());
    let both = vec![topic("a.b", 1, 1), topic("a_b", 2, 1)];
    let error = quorum.propose(both).await.expect_err("they collide");
    assert!(!error.may_have_been_committed());
    assert_eq!(
        error.to_string(),
        "topic name a_b collides with topic a.b: '.' and '_' count as equal"
    );
    assert_eq!(*quorum.image(), MetadataImage::default());
}

#[tokio::test]
async fn subscribers_hear_every_delta_in_order_from_their_image_on() {
    let quorum = Arc::new(start(&memory()));
    quorum
        .propose(vec![topic("before", 1, 1)])
        .await
        .expect("fits");
    let mut subscription = quorum.subscribe();
    let mut image = MetadataImage::clone(subscription.start_image());
    for id in 2..30 {
        let name = format!("topic-{id}");
        quorum
            .propose(vec![topic(&name, id, 1)])
            .await
            .expect("fits");
    }
    while image.index() < quorum.image().index() {
        let Some(MetadataChange::Delta(delta)) = subscription.next().await else {
            panic!("the quorum is open and the subscriber keeps up");
        };
        assert_eq!(delta.index, image.index() + 1);
        image.apply_all(&delta.records).expect("it fits");
        image.advance_to(delta.index, delta.term);
    }
    assert_eq!(image, *quorum.image());
}

#[tokio::test]
async fn a_subscriber_that_falls_behind_gets_an_image() {
    let quorum = start(&memory());
    let mut subscription = quorum.subscribe();
    for _ in 0..DELTAS_BUFFERED_MAX + 10 {
        let first = quorum.image().next_producer_id();
        let block = ProducerIdsAllocated {
            broker_id: BrokerId(1),
            first,
            count: 1,
        };
        let records = vec![MetadataRecord::ProducerIdsAllocated(block)];
        quorum.propose(records).await.expect("fits");
    }
    let Some(MetadataChange::Image(image)) = subscription.next().await else {
        panic!("it is behind");
    };
    assert_eq!(image.index(), quorum.image().index());
    quorum.close().await;
    assert!(subscription.next().await.is_none());
}

#[tokio::test]
async fn a_closed_quorum_answers_closed() {
    let quorum = start(&memory());
    quorum.close().await;
    let error = quorum.propose(vec![topic("late", 1, 1)]).await;
    assert!(matches!(error, Err(ProposeError::Closed)));
}
