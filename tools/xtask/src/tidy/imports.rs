//! Import directions: between crates by their manifests, between modules by the paths in the code.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::{
    Complaint,
    source::{NamedPath, Source, named_paths},
    table::{CRATES, CrateRule, LAYERS, LayerRule, PATHS, PathRule},
};

/// Checks every manifest of the table against it.
pub(crate) fn check_manifests(root: &Path, complaints: &mut Vec<Complaint>) -> Result<()> {
    for rule in CRATES {
        let path = format!("{}/Cargo.toml", rule.directory);
        let text = fs::read_to_string(root.join(&path)).with_context(|| path.clone())?;
        check_manifest(rule, &path, &text, complaints)?;
    }
    Ok(())
}

/// Checks one manifest: its package's dependencies of every kind, and its lints.
pub(crate) fn check_manifest(
    rule: &CrateRule,
    path: &str,
    text: &str,
    complaints: &mut Vec<Complaint>,
) -> Result<()> {
    let manifest: toml::Table = text.parse().with_context(|| path.to_owned())?;
    for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let Some(dependencies) = manifest.get(kind).and_then(toml::Value::as_table) else {
            continue;
        };
        for name in dependencies.keys() {
            let is_ours = CRATES.iter().any(|other| other.package == name);
            if is_ours && !rule.may_import.contains(&name.as_str()) {
                complaints.push(Complaint::new(
                    path,
                    0,
                    format!("{} must not depend on {name}", rule.package),
                ));
            }
        }
    }
    let inherits_lints = manifest
        .get("lints")
        .and_then(|lints| lints.get("workspace"))
        .and_then(toml::Value::as_bool);
    let is_product = !matches!(rule.directory, "tests" | "benches");
    if is_product && inherits_lints != Some(true) {
        complaints.push(Complaint::new(path, 0, "lacks `[lints] workspace = true`"));
    }
    Ok(())
}

/// Checks the paths that one Rust file names.
pub(crate) fn check_paths(source: &Source, complaints: &mut Vec<Complaint>) {
    let production = named_paths(source.production_tokens());
    for layers in LAYERS {
        if let Some(module) = module_path(layers.source, &source.path)
            && !source.is_test()
        {
            check_layers(layers, &module, source, &production, complaints);
        }
    }
    for rule in PATHS {
        if !source.is_within(rule.within) || source.is_within(rule.except) {
            continue;
        }
        if rule.tests_exempt && source.is_test() {
            continue;
        }
        check_rule(rule, source, &production, complaints);
    }
}

fn check_rule(
    rule: &PathRule,
    source: &Source,
    paths: &[NamedPath],
    complaints: &mut Vec<Complaint>,
) {
    for path in paths {
        if path
            .segments
            .iter()
            .map(String::as_str)
            .take(rule.path.len())
            .eq(rule.path.iter().copied())
        {
            let text = format!("uses {}: {}", rule.path.join("::"), rule.reason);
            complaints.push(Complaint::new(&source.path, path.line, text));
        }
    }
}

fn check_layers(
    rule: &LayerRule,
    module: &[String],
    source: &Source,
    paths: &[NamedPath],
    complaints: &mut Vec<Complaint>,
) {
    let Some(own) = module.first() else {
        return;
    };
    for path in paths {
        let Some(other) = crate_module(module, &path.segments) else {
            continue;
        };
        if other != own && !may_import(rule, own, other) {
            let text = format!("module {own} must not import module {other}");
            complaints.push(Complaint::new(&source.path, path.line, text));
        }
    }
}

/// Whether module `own` may import module `other` of the same crate.
fn may_import(rule: &LayerRule, own: &str, other: &str) -> bool {
    match (layer(rule, own), layer(rule, other)) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(own), Some(other)) => own < other,
    }
}

/// Index of a module's layer, 0 for the highest; `None` for the ground.
fn layer(rule: &LayerRule, module: &str) -> Option<usize> {
    rule.layers.iter().position(|layer| layer.contains(&module))
}

/// The modules a file stands in: `broker/src/a/b.rs` is `[a, b]`; the crate root is empty.
pub(crate) fn module_path(source_folder: &str, path: &str) -> Option<Vec<String>> {
    let inner = path.strip_prefix(source_folder)?.strip_suffix(".rs")?;
    let mut parts: Vec<String> = inner.split('/').map(str::to_owned).collect();
    if matches!(
        parts.last().map(String::as_str),
        Some("mod" | "lib" | "main")
    ) {
        parts.pop();
    }
    Some(parts)
}

/// The top module of this crate that a path in `module` leads to, if it leads into this crate.
fn crate_module<'a>(module: &'a [String], segments: &'a [String]) -> Option<&'a String> {
    let first = segments.first()?;
    if first == "crate" {
        return segments.get(1);
    }
    let ups = segments.iter().take_while(|s| *s == "super").count();
    if ups == 0 {
        return None;
    }
    if ups < module.len() {
        return module.first();
    }
    segments.get(ups)
}
