//! The native API changes by addition only: `tests/compat/native-api-v1.bin` holds what clients
//! already rely on, and everything in it must still be there, with the same numbers and types.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, bail};
use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};

const FROZEN: &str = "tests/compat/native-api-v1.bin";

/// Fails when `current` lacks or changes something of the frozen API; with `freeze`, what `current`
/// adds becomes part of it.
pub(crate) fn check(root: &Path, current: &FileDescriptorSet, freeze: bool) -> Result<()> {
    let path = root.join(FROZEN);
    let bytes = fs::read(&path).with_context(|| format!("cannot read {FROZEN}"))?;
    let frozen =
        FileDescriptorSet::decode(bytes.as_slice()).context("the frozen API is damaged")?;
    let broken = broken_promises(&frozen, current);
    if !broken.is_empty() {
        bail!(
            "the native API v1 changes by addition only:\n  {}",
            broken.join("\n  ")
        );
    }
    if freeze {
        fs::write(&path, current.encode_to_vec())?;
    }
    Ok(())
}

/// What `frozen` promises and `current` does not keep, a line each.
fn broken_promises(frozen: &FileDescriptorSet, current: &FileDescriptorSet) -> Vec<String> {
    let (promised, kept) = (promises(frozen), promises(current));
    promised
        .iter()
        .filter_map(|(name, meaning)| match kept.get(name) {
            Some(found) if found == meaning => None,
            Some(found) => Some(format!("{name} was {meaning}, is {found}")),
            None => Some(format!("{name} ({meaning}) is gone")),
        })
        .collect()
}

/// Every name that a client may rely on, with what it means on the wire.
fn promises(set: &FileDescriptorSet) -> BTreeMap<String, String> {
    let mut promises = BTreeMap::new();
    for file in &set.file {
        let package = file.package();
        for message in &file.message_type {
            of_message(
                &mut promises,
                &format!("{package}.{}", message.name()),
                message,
            );
        }
        for enumeration in &file.enum_type {
            of_enum(
                &mut promises,
                &format!("{package}.{}", enumeration.name()),
                enumeration,
            );
        }
        for service in &file.service {
            for method in &service.method {
                promises.insert(
                    format!("{package}.{}.{}", service.name(), method.name()),
                    format!(
                        "rpc ({}{}) returns ({}{})",
                        if method.client_streaming() {
                            "stream "
                        } else {
                            ""
                        },
                        method.input_type(),
                        if method.server_streaming() {
                            "stream "
                        } else {
                            ""
                        },
                        method.output_type(),
                    ),
                );
            }
        }
    }
    promises
}

fn of_message(promises: &mut BTreeMap<String, String>, name: &str, message: &DescriptorProto) {
    promises.insert(name.to_owned(), "message".to_owned());
    for field in &message.field {
        let meaning = format!(
            "field {} of {:?} {} {:?}{}",
            field.number(),
            field.r#type(),
            field.type_name(),
            field.label(),
            field
                .oneof_index
                .map_or(String::new(), |index| format!(" in oneof {index}")),
        );
        promises.insert(format!("{name}.{}", field.name()), meaning);
    }
    for nested in &message.nested_type {
        of_message(promises, &format!("{name}.{}", nested.name()), nested);
    }
    for nested in &message.enum_type {
        of_enum(promises, &format!("{name}.{}", nested.name()), nested);
    }
}

fn of_enum(promises: &mut BTreeMap<String, String>, name: &str, found: &EnumDescriptorProto) {
    for value in &found.value {
        promises.insert(
            format!("{name}.{}", value.name()),
            format!("enum value {}", value.number()),
        );
    }
}

#[cfg(test)]
mod tests {
    use prost_types::{FieldDescriptorProto, FileDescriptorProto};

    use super::*;

    fn api(fields: &[(&str, i32)]) -> FileDescriptorSet {
        let field = |(name, number): &(&str, i32)| FieldDescriptorProto {
            name: Some((*name).to_owned()),
            number: Some(*number),
            ..Default::default()
        };
        let message = DescriptorProto {
            name: Some("Ack".to_owned()),
            field: fields.iter().map(field).collect(),
            ..Default::default()
        };
        let file = FileDescriptorProto {
            package: Some("v1".to_owned()),
            message_type: vec![message],
            ..Default::default()
        };
        FileDescriptorSet { file: vec![file] }
    }

    #[test]
    fn an_added_field_breaks_nothing() {
        let broken = broken_promises(&api(&[("offset", 1)]), &api(&[("offset", 1), ("epoch", 2)]));
        assert_eq!(broken, Vec::<String>::new());
    }

    #[test]
    fn a_field_that_went_or_changed_its_number_is_reported() {
        let frozen = api(&[("offset", 1), ("epoch", 2)]);
        let broken = broken_promises(&frozen, &api(&[("offset", 3)]));
        assert_eq!(broken.len(), 2, "{broken:?}");
        assert!(broken[0].starts_with("v1.Ack.epoch (field 2"), "{broken:?}");
        assert!(
            broken[1].starts_with("v1.Ack.offset was field 1"),
            "{broken:?}"
        );
    }
}
