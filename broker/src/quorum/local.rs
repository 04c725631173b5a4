//! [`LocalQuorum`]: the metadata quorum of a single node, a thread around a [`MetadataLog`].
//!
//! Proposals queue (bounded); the thread takes all that wait, checks each against the image as the
//! ones before left it, and commits those that fit with one write and one sync.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use millstream_proto::metadata_record::{MetadataRecord, frame::PAYLOAD_BYTES_MAX};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::{
    Committed, DELTAS_BUFFERED_MAX, MetadataDelta, MetadataQuorum, MetadataSubscription,
    ProposeError,
    image::MetadataImage,
    log::{AppendError, MakeRoom, MetadataLog, TERM},
};

/// Proposals that share one write at most: bounds the frame and the wait of the first of them.
const GROUP_PROPOSALS_MAX: usize = 256;

/// A quorum of one. Cheap to clone behind an `Arc`.
#[derive(Debug)]
pub struct LocalQuorum {
    images: Arc<ArcSwap<MetadataImage>>,
    deltas: Mutex<Option<broadcast::Sender<Arc<MetadataDelta>>>>,
    requests: mpsc::Sender<Request>,
}

#[derive(Debug)]
enum Request {
    Propose(Proposal),
    /// Ends the thread; the sender is dropped when it has ended.
    Close(oneshot::Sender<()>),
}

#[derive(Debug)]
struct Proposal {
    records: Vec<MetadataRecord>,
    reply: oneshot::Sender<Result<Committed, ProposeError>>,
}

struct Committer {
    log: MetadataLog,
    make_room: Box<MakeRoom>,
    images: Arc<ArcSwap<MetadataImage>>,
    deltas: broadcast::Sender<Arc<MetadataDelta>>,
    /// Whether the last snapshot failed, to log that once.
    snapshot_failed: bool,
}

impl LocalQuorum {
    /// Starts the thread. `image` is what opening `log` gave; at most `proposals_queued_max`
    /// proposals wait, further ones wait to be queued.
    ///
    /// # Errors
    /// When the system starts no thread.
    pub fn start(
        log: MetadataLog,
        image: MetadataImage,
        proposals_queued_max: usize,
        make_room: Box<MakeRoom>,
    ) -> io::Result<Self> {
        let images = Arc::new(ArcSwap::from_pointee(image));
        let (deltas, _) = broadcast::channel(DELTAS_BUFFERED_MAX);
        let (requests, queue) = mpsc::channel(proposals_queued_max.max(1));
        let committer = Committer {
            log,
            make_room,
            images: Arc::clone(&images),
            deltas: deltas.clone(),
            snapshot_failed: false,
        };
        std::thread::Builder::new()
            .name("metadata".into())
            .spawn(move || committer.run(queue))?;
        Ok(Self {
            images,
            deltas: Mutex::new(Some(deltas)),
            requests,
        })
    }

    /// Ends the thread once it has committed what is queued; then subscriptions end and proposals
    /// are answered [`ProposeError::Closed`].
    ///
    /// # Cancel safety
    /// The thread ends even when this is dropped after its first poll.
    pub async fn close(&self) {
        let (ended, has_ended) = oneshot::channel();
        if self.requests.send(Request::Close(ended)).await.is_ok() {
            // An error says that the sender was dropped, which is what is waited for.
            let _ = has_ended.await;
        }
        drop(lock(&self.deltas).take());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl MetadataQuorum for LocalQuorum {
    async fn propose(&self, records: Vec<MetadataRecord>) -> Result<Committed, ProposeError> {
        let (reply, committed) = oneshot::channel();
        let request = Request::Propose(Proposal { records, reply });
        if self.requests.send(request).await.is_err() {
            return Err(ProposeError::Closed);
        }
        committed.await.unwrap_or(Err(ProposeError::Closed))
    }

    fn image(&self) -> Arc<MetadataImage> {
        self.images.load_full()
    }

    fn subscribe(&self) -> MetadataSubscription {
        let receiver = lock(&self.deltas)
            .as_ref()
            .map(broadcast::Sender::subscribe);
        let receiver = receiver.unwrap_or_else(|| broadcast::channel(1).1);
        MetadataSubscription::new(receiver, Arc::clone(&self.images))
    }
}

impl Committer {
    fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        let mut ended = None;
        while let Some(first) = queue.blocking_recv() {
            let mut group = Vec::new();
            let waiting = std::iter::from_fn(|| queue.try_recv().ok());
            for request in std::iter::once(first)
                .chain(waiting)
                .take(GROUP_PROPOSALS_MAX)
            {
                match request {
                    Request::Propose(proposal) => group.push(proposal),
                    Request::Close(sender) => ended = Some(sender),
                }
            }
            if ended.is_some() {
                // What is queued is still answered; then the queue is at its end.
                queue.close();
            }
            self.commit(group);
            self.snapshot_if_due();
        }
        drop(self);
        drop(ended);
    }

    /// Commits the proposals of a group that fit, and answers all of them.
    fn commit(&mut self, group: Vec<Proposal>) {
        let mut image = MetadataImage::clone(&self.images.load());
        let mut records = Vec::new();
        let mut fitting = Vec::new();
        for proposal in group {
            match image.apply_all(&proposal.records) {
                Ok(()) => {
                    records.extend(proposal.records);
                    fitting.push(proposal.reply);
                }
                Err(error) => answer(proposal.reply, Err(error.into())),
            }
        }
        if fitting.is_empty() {
            return;
        }
        let result = self.append(image, records);
        for reply in fitting {
            answer(reply, result.clone());
        }
    }

    fn append(
        &mut self,
        mut image: MetadataImage,
        records: Vec<MetadataRecord>,
    ) -> Result<Committed, ProposeError> {
        if records.is_empty() {
            let index = image.index();
            return Ok(Committed { index });
        }
        let index = self
            .log
            .append(&records, &*self.make_room)
            .map_err(|error| self.refusal(error))?;
        image.advance_to(index, TERM);
        self.images.store(Arc::new(image));
        let delta = MetadataDelta {
            index,
            term: TERM,
            records,
        };
        // Without subscribers there is nobody to tell.
        let _ = self.deltas.send(Arc::new(delta));
        Ok(Committed { index })
    }

    fn refusal(&self, error: AppendError) -> ProposeError {
        match error {
            AppendError::DiskFull => ProposeError::DiskFull {
                directory: self.log.dir().to_path_buf(),
            },
            AppendError::TooLarge { found } => ProposeError::TooLarge {
                found,
                max: PAYLOAD_BYTES_MAX,
            },
            AppendError::Failed {
                path,
                kind,
                reason,
                in_flight,
            } => {
                if in_flight {
                    tracing::error!(path = %path.display(), %reason, "metadata log failed, no metadata can change until a restart");
                }
                ProposeError::Failed {
                    path,
                    kind,
                    reason,
                    in_flight,
                }
            }
        }
    }

    fn snapshot_if_due(&mut self) {
        if !self.log.is_snapshot_due() {
            return;
        }
        let image = self.images.load_full();
        match self.log.snapshot(&image) {
            Ok(()) => {
                self.snapshot_failed = false;
                tracing::info!(index = image.index(), "metadata snapshot replaced the log");
            }
            Err(error) if !self.snapshot_failed => {
                self.snapshot_failed = true;
                tracing::warn!(%error, "metadata snapshot failed, the log goes on growing");
            }
            Err(_) => {}
        }
    }
}

/// A proposer that went away needs no answer.
fn answer(
    reply: oneshot::Sender<Result<Committed, ProposeError>>,
    result: Result<Committed, ProposeError>,
) {
    let _ = reply.send(result);
}
