//! What goes wrong under a command's hands: the connection, the log, standard output.

use std::{
    fs::{File, OpenOptions},
    io::Read as _,
    process::Stdio,
};

use crate::fake_broker::FakeBroker;

/// A device that takes no byte.
fn full_device() -> File {
    let full = OpenOptions::new().write(true).open("/dev/full");
    full.expect("Linux has it")
}

#[test]
fn a_broker_that_goes_away_under_a_call_that_changes_something_is_told() {
    let broker = FakeBroker::start(1);
    let child = broker.command("topics create weather").spawn().unwrap();
    broker.until("asked to create", |state| state.creations_asked > 0);
    let address = broker.address.to_string();
    drop(broker);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    let (error, hint) = said.split_once('\n').unwrap();
    // How the system puts it is a matter of time.
    let (what, _) = error.rsplit_once(": ").unwrap();
    let what = what.replace(&address, "SERVER");
    insta::assert_snapshot!(format!("{what}: REASON\n{hint}"));
}

#[test]
fn damage_in_the_log_is_told_with_its_place() {
    let broker = FakeBroker::start(1);
    broker.append(0, &["sound"]);
    broker.append(0, &["damaged"]);
    broker.change(|state| {
        let (_, _, batch) = &mut state.topics.get_mut("flights").unwrap().partitions[0].batches[1];
        let mut bytes = batch.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        *batch = bytes.into();
    });
    let output = broker.run("consume flights");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(output.stdout, b"sound\n", "what came before is printed");
    insta::assert_snapshot!(String::from_utf8(output.stderr).unwrap());
}

#[test]
fn standard_output_that_takes_nothing_is_an_error() {
    let broker = FakeBroker::start(1);
    broker.append(0, &["a"]);
    for line in [
        "topics list",
        "topics list --output json",
        "consume flights",
    ] {
        let output = broker.command(line).stdout(full_device()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}: {output:?}");
        assert_eq!(
            String::from_utf8(output.stderr).unwrap(),
            "error: cannot write to standard output: no space left on device\n\
             hint: free some space\n",
            "{line}"
        );
    }
}

#[test]
fn a_reader_that_goes_away_ends_consume_without_a_word() {
    let broker = FakeBroker::start(1);
    let row = "x".repeat(1000);
    for _ in 0..500 {
        broker.append(0, &[&row]);
    }
    let mut child = broker
        .command("consume flights --follow")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = child.stdout.take().unwrap();
    output.read_exact(&mut [0; 10]).unwrap();
    drop(output);
    // It finds out with the next record that it prints.
    broker.append(0, &[&row]);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}
