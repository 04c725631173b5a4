//! `consume` without a group: the partitions are those that the options name.

use std::io::{self, Write};

use millstream::{Assignment, ConsumedRecord, Consumer, OffsetReset, Start};

use super::{Options, printer::Printer};
use crate::{failure::Result, interrupts::Interrupts, session::Session};

/// Prints the records.
pub(super) async fn run(options: &Options, from: Start, session: &Session) -> Result<()> {
    let mut consumer = assign(options, from, session).await?;
    let mut printer = Printer::new(io::stdout(), options.format(session.output));
    let mut interrupts = Interrupts::listen()?;
    let left = options.limit.unwrap_or(u64::MAX);
    let result = print(left, &mut consumer, &mut printer, &mut interrupts).await;
    // What was received is shown, whatever came after it.
    printer.flush()?;
    result
}

async fn assign(options: &Options, from: Start, session: &Session) -> Result<Consumer> {
    let mut consumer = session
        .client
        .consumer()
        .isolation(options.isolation.into())
        .offset_reset(OffsetReset::Fail)
        .build()?;
    let topic = options.topic.clone();
    let mut assignment = match options.partition {
        Some(partition) => Assignment::partition(topic, partition),
        None => Assignment::topic(topic),
    };
    assignment = assignment.start(from);
    if !options.follow {
        assignment = assignment.until_end();
    }
    consumer.assign([assignment]).await?;
    Ok(consumer)
}

async fn print(
    mut left: u64,
    consumer: &mut Consumer,
    printer: &mut Printer<impl Write>,
    interrupts: &mut Interrupts,
) -> Result<()> {
    while left > 0 && !interrupts.came() {
        let Some(record) = next(consumer, printer, interrupts).await? else {
            break;
        };
        printer.print(&record)?;
        left -= 1;
    }
    Ok(())
}

/// The next record; `None` at the end, and when interrupted. What is collected is written before waiting.
async fn next(
    consumer: &mut Consumer,
    printer: &mut Printer<impl Write>,
    interrupts: &mut Interrupts,
) -> Result<Option<ConsumedRecord>> {
    if let Some(record) = consumer.try_recv()? {
        return Ok(Some(record));
    }
    printer.flush()?;
    tokio::select! {
        record = consumer.recv() => Ok(record?),
        () = interrupts.wait() => Ok(None),
    }
}
