//! [`Interrupts`]: Ctrl-C and SIGTERM, which end a command in good order, and at once when they come
//! again.

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{
    failure::{Failure, Result},
    output,
};

/// Exit code of a command that was not let finish.
const EXIT_CODE: i32 = 2;

/// Whether the command was asked to end.
#[derive(Debug, Clone)]
pub(crate) struct Interrupts {
    came: watch::Receiver<bool>,
}

impl Interrupts {
    /// From now on the first signal is noted, and the second ends the process.
    ///
    /// # Errors
    /// When the system does not deliver signals.
    pub(crate) fn listen() -> Result<Self> {
        let failure = |error| Failure::io("cannot wait for signals", &error);
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failure)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failure)?;
        let (sender, came) = watch::channel(false);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if sender.send_replace(true) {
                    output::talk(&abandoned().to_string());
                    std::process::exit(EXIT_CODE);
                }
            }
        });
        Ok(Self { came })
    }

    /// Whether one came.
    pub(crate) fn came(&self) -> bool {
        *self.came.borrow()
    }

    /// Returns once one came.
    pub(crate) async fn wait(&mut self) {
        // The sender lives as long as the process.
        let _ = self.came.wait_for(|came| *came).await;
    }
}

fn abandoned() -> Failure {
    Failure::new(
        "interrupted again before the command was done",
        "what was under way may be done or not",
    )
}
