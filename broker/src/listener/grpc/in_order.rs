//! [`InOrder`]: answers of a stream, those about one thing in the order of their requests.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    hash::Hash,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};

/// An answer that may not be due yet.
pub(super) type Answering<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Answers that a stream owes, each about something: a partition, a group.
///
/// Only the first about each is polled. Were all of them, an answer that becomes due between its
/// request and the first poll would overtake older ones.
pub(super) struct InOrder<K, T> {
    first: FuturesUnordered<About<K, T>>,
    /// What follows the first answer about each.
    later: HashMap<K, VecDeque<Answering<T>>>,
    owed: usize,
}

impl<K: Clone + Eq + Hash + Unpin, T> InOrder<K, T> {
    pub(super) fn new() -> Self {
        Self {
            first: FuturesUnordered::new(),
            later: HashMap::new(),
            owed: 0,
        }
    }

    /// Answers owed.
    pub(super) fn len(&self) -> usize {
        self.owed
    }

    pub(super) fn is_empty(&self) -> bool {
        self.owed == 0
    }

    /// Whether an answer about this is owed.
    pub(super) fn owes(&self, about: &K) -> bool {
        self.later.contains_key(about)
    }

    /// Adds an answer, after all those about the same.
    pub(super) fn push(&mut self, about: K, answer: Answering<T>) {
        self.owed += 1;
        if let Some(later) = self.later.get_mut(&about) {
            later.push_back(answer);
        } else {
            self.later.insert(about.clone(), VecDeque::new());
            self.first.push(About { about, answer });
        }
    }

    /// The next answer that is due; `None` while none is owed.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub(super) async fn next(&mut self) -> Option<T> {
        let (about, answer) = self.first.next().await?;
        self.owed -= 1;
        match self.later.get_mut(&about).and_then(VecDeque::pop_front) {
            Some(answer) => self.first.push(About { about, answer }),
            None => drop(self.later.remove(&about)),
        }
        Some(answer)
    }
}

/// An answer and what it is about.
struct About<K, T> {
    about: K,
    answer: Answering<T>,
}

impl<K: Clone + Unpin, T> Future for About<K, T> {
    type Output = (K, T);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(self.answer.as_mut().poll(context));
        Poll::Ready((self.about.clone(), answer))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proptest::prelude::*;
    use tokio::sync::oneshot;

    use super::*;

    /// Adds an answer that is due once the sender says so.
    fn owe(answers: &mut InOrder<u8, usize>, about: u8) -> oneshot::Sender<usize> {
        let (due, answer) = oneshot::channel();
        let answer = answer.map(|answer| answer.unwrap_or(usize::MAX));
        answers.push(about, Box::pin(answer));
        due
    }

    fn all_due(answers: &mut InOrder<u8, usize>) -> Vec<usize> {
        std::iter::from_fn(|| answers.next().now_or_never().flatten()).collect()
    }

    #[test]
    fn an_answer_that_was_never_polled_does_not_overtake_older_ones() {
        let mut answers = InOrder::new();
        let older = [0, 1].map(|number| (number, owe(&mut answers, 0)));
        assert!(all_due(&mut answers).is_empty());
        let newer = (2, owe(&mut answers, 0));
        for (number, due) in older.into_iter().chain([newer]) {
            due.send(number).expect("it is waited for");
        }
        assert_eq!(all_due(&mut answers), [0, 1, 2]);
        assert!(answers.is_empty() && !answers.owes(&0));
    }

    #[test]
    fn what_is_about_something_else_does_not_wait() {
        let mut answers = InOrder::new();
        let _waits = owe(&mut answers, 0);
        owe(&mut answers, 1).send(1).expect("it is waited for");
        assert_eq!(all_due(&mut answers), [1]);
        assert_eq!(answers.len(), 1);
        assert!(answers.owes(&0) && !answers.owes(&1));
    }

    proptest! {
        /// However answers get due and are asked for, each comes once, those about one thing in order.
        #[test]
        fn every_answer_comes_once_in_the_order_of_what_it_is_about(
            of in prop::collection::vec(0..3_u8, 1..40),
            lots in prop::collection::vec(any::<prop::sample::Index>(), 80),
        ) {
            let mut answers = InOrder::new();
            let mut waiting: Vec<(usize, oneshot::Sender<usize>)> = Vec::new();
            let (mut asked, mut found) = (0, Vec::new());
            for lot in lots {
                match lot.index(3) {
                    0 if asked < of.len() => {
                        waiting.push((asked, owe(&mut answers, of[asked])));
                        asked += 1;
                    }
                    1 if !waiting.is_empty() => {
                        let (number, due) = waiting.swap_remove(lot.index(waiting.len()));
                        due.send(number).expect("it is waited for");
                    }
                    _ => found.extend(all_due(&mut answers)),
                }
                prop_assert_eq!(answers.len(), asked - found.len());
            }
            for (number, due) in waiting {
                due.send(number).expect("it is waited for");
            }
            found.extend(all_due(&mut answers));
            prop_assert_eq!(found.len(), asked);
            for about in 0..3 {
                let own = found.iter().copied().filter(|number| of[*number] == about);
                prop_assert!(own.is_sorted());
            }
            prop_assert!(answers.is_empty() && answers.later.is_empty());
        }
    }
}
