//! [`Member`]: the task of a consumer in a group. It waits for whatever comes first: a command, an
//! answer of the broker, a finished job, a safe point, or the time for something.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::{
    Command, Group, Subscription,
    membership::{Job, Membership},
    stream::{Inbox, StreamEvent, inbox},
};
use crate::{
    consumer::state::Shared,
    error::{Error, Result},
};

/// Longest sleep of a task with nothing to do.
const IDLE_WAIT: Duration = Duration::from_secs(3600);

/// The task of a consumer in a group.
pub(super) struct Member {
    shared: Arc<Shared>,
    group: Arc<Group>,
    commands: mpsc::Receiver<Command>,
    inbox: Inbox,
    events: mpsc::Receiver<(u64, StreamEvent)>,
    membership: Option<Membership>,
    last_stream: u64,
    safe_points: watch::Receiver<u64>,
    commit_at: Option<Instant>,
    /// An auto commit waits for a safe point.
    commit_due: bool,
}

impl Member {
    pub(super) fn new(
        shared: Arc<Shared>,
        group: Arc<Group>,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        let (inbox, events) = inbox();
        let safe_points = shared.safe_points.subscribe();
        let interval = group.config.auto_commit_interval;
        Self {
            shared,
            group,
            commands,
            inbox,
            events,
            membership: None,
            last_stream: 0,
            safe_points,
            commit_at: interval.map(|interval| Instant::now() + interval),
            commit_due: false,
        }
    }

    /// Works until the consumer is gone.
    pub(super) async fn run(mut self) {
        loop {
            let wake_at = self.wake_at();
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => break,
                },
                Some((number, event)) = self.events.recv() => self.stream_event(number, event),
                Some(done) = next_job(&mut self.membership) => {
                    if let Some(membership) = &mut self.membership {
                        membership.job_done(done);
                    }
                }
                Ok(()) = self.safe_points.changed() => self.at_safe_point(),
                () = tokio::time::sleep_until(wake_at) => self.tick(Instant::now()),
            }
            self.bury();
        }
        self.abandon().await;
    }

    fn wake_at(&self) -> Instant {
        let membership = self.membership.as_ref().and_then(Membership::wake_at);
        let times = [self.commit_at, membership];
        let first = times.into_iter().flatten().min();
        first.unwrap_or_else(|| Instant::now() + IDLE_WAIT)
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Subscribe(subscription, reply) => self.subscribe(subscription, reply),
            Command::Leave(reply) => match &mut self.membership {
                Some(membership) => membership.leave(reply),
                None => {
                    let _ = reply.send(());
                }
            },
        }
    }

    fn subscribe(&mut self, subscription: Subscription, reply: oneshot::Sender<Result<()>>) {
        if let Some(membership) = &mut self.membership {
            membership.change(subscription, reply);
            return;
        }
        self.shared.state().begin_group();
        self.group.identity().is_subscribed = true;
        let mut membership = Membership::new(
            Arc::clone(&self.shared),
            Arc::clone(&self.group),
            subscription,
            self.inbox.clone(),
            self.last_stream,
            reply,
        );
        membership.join(Instant::now());
        self.membership = Some(membership);
    }

    fn stream_event(&mut self, number: u64, event: StreamEvent) {
        if let Some(membership) = &mut self.membership {
            membership.stream_event(number, event, Instant::now());
        }
    }

    fn tick(&mut self, now: Instant) {
        if self.commit_at.is_some_and(|at| at <= now) {
            let interval = self.group.config.auto_commit_interval;
            self.commit_at = interval.map(|interval| now + interval);
            self.commit_due = true;
            let mut state = self.shared.state();
            self.shared.request_safe_point(&mut state);
        }
        if let Some(membership) = &mut self.membership {
            membership.tick(now);
        }
    }

    /// Commits what the application is done with, where it is time to.
    fn at_safe_point(&mut self) {
        if !std::mem::take(&mut self.commit_due) {
            return;
        }
        let uncommitted = self.shared.state().uncommitted();
        if uncommitted.is_empty() {
            return;
        }
        let commit = self.group.committer.enqueue(uncommitted);
        let group_id = self.group.config.group_id.clone();
        tokio::spawn(async move {
            if let Err(error) = commit.await {
                tracing::warn!(%error, group = group_id, "cannot commit; it is tried again");
            }
        });
    }

    /// Lets go of a membership that is over.
    fn bury(&mut self) {
        let Some(membership) = self.membership.take_if(|membership| membership.is_over()) else {
            return;
        };
        self.last_stream = membership.last_stream();
        {
            let mut identity = self.group.identity();
            identity.is_subscribed = false;
            identity.is_settled = false;
            identity.epoch = 0;
        }
        self.shared.state().end_group();
        self.shared.wake.notify_one();
    }

    /// The consumer was dropped: says good-bye if it can, within the time that this may take.
    async fn abandon(&mut self) {
        self.group.committer.close();
        if let Some(membership) = &mut self.membership {
            membership.abandon();
        }
        while let Some(membership) = &mut self.membership {
            if membership.is_over() {
                return;
            }
            let wake_at = membership.wake_at();
            let wake_at = wake_at.unwrap_or_else(Instant::now);
            tokio::select! {
                Some((number, event)) = self.events.recv() => self.stream_event(number, event),
                () = tokio::time::sleep_until(wake_at) => membership.tick(Instant::now()),
            }
        }
    }
}

/// The next job of a membership that is done; waits for ever where there is none.
async fn next_job(
    membership: &mut Option<Membership>,
) -> Option<Result<Job, tokio::task::JoinError>> {
    match membership {
        Some(membership) if !membership.jobs.is_empty() => membership.jobs.join_next().await,
        _ => std::future::pending().await,
    }
}

/// The refusal of a call that a consumer without a group cannot serve.
pub(crate) fn no_group() -> Error {
    Error::config("group", "none", "a consumer built with a group")
}
