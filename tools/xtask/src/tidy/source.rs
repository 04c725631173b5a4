//! [`Source`]: the files of the repository as tidy reads them, and the paths that Rust code names.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::visit_mut::VisitMut;

/// Endings of the files that tidy reads; the rest is data.
const TEXT_ENDINGS: &[&str] = &[
    "rs", "md", "toml", "proto", "sh", "py", "yml", "yaml", "json",
];

/// One text file.
pub(crate) struct Source {
    /// Path from the root of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Parsed, where it is Rust.
    pub(crate) rust: Option<syn::File>,
}

impl Source {
    /// Parses `text` as the file at `path`.
    pub(crate) fn new(path: &str, text: String) -> Result<Self> {
        let rust = path
            .ends_with(".rs")
            .then(|| syn::parse_file(&text).with_context(|| format!("cannot parse {path}")))
            .transpose()?;
        Ok(Self {
            path: path.to_owned(),
            text,
            rust,
        })
    }

    /// Whether the path lies under one of the folders; the empty folder holds everything.
    pub(crate) fn is_within(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| self.path.starts_with(folder))
    }

    /// Whether the whole file is test code.
    pub(crate) fn is_test(&self) -> bool {
        let path = &self.path;
        path.ends_with("/tests.rs")
            || path.contains("/tests/")
            || path.starts_with("tests/")
            || path.starts_with("benches/")
            || path.contains("conformance")
    }

    /// The file's code without the items that only tests see.
    pub(crate) fn production_tokens(&self) -> TokenStream {
        let Some(mut rust) = self.rust.clone() else {
            return TokenStream::new();
        };
        if is_test_only(&rust.attrs) {
            return TokenStream::new();
        }
        WithoutTests.visit_file_mut(&mut rust);
        rust.into_token_stream()
    }
}

/// All text files of the repository, in order of path.
pub(crate) fn load(root: &Path) -> Result<Vec<Source>> {
    let mut paths = Vec::new();
    walk(root, "", &mut paths)?;
    paths.sort();
    paths
        .iter()
        .map(|path| Source::new(path, fs::read_to_string(root.join(path))?))
        .collect()
}

fn walk(root: &Path, folder: &str, paths: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() {
            name.clone()
        } else {
            format!("{folder}/{name}")
        };
        let kind = entry.file_type()?;
        if kind.is_dir() && !is_skipped(folder, &name) {
            walk(root, &path, paths)?;
        } else if kind.is_file() && is_text(&path) {
            paths.push(path);
        }
    }
    Ok(())
}

fn is_skipped(folder: &str, name: &str) -> bool {
    let hidden = name.starts_with('.') && name != ".ci" && name != ".cargo";
    let built = folder.is_empty() && matches!(name, "target" | "millstream-data" | "demo-data");
    hidden
        || built
        || matches!(
            name,
            "data" | "golden" | "snapshots" | "corpus" | "__pycache__"
        )
}

fn is_text(path: &str) -> bool {
    path.starts_with(".ci/")
        || path
            .rsplit_once('.')
            .is_some_and(|(_, ending)| TEXT_ENDINGS.contains(&ending))
}

struct WithoutTests;

impl VisitMut for WithoutTests {
    fn visit_file_mut(&mut self, file: &mut syn::File) {
        file.items.retain(|item| !is_test_only(attributes(item)));
        syn::visit_mut::visit_file_mut(self, file);
    }

    fn visit_item_mod_mut(&mut self, module: &mut syn::ItemMod) {
        if let Some((_, items)) = &mut module.content {
            items.retain(|item| !is_test_only(attributes(item)));
        }
        syn::visit_mut::visit_item_mod_mut(self, module);
    }
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Const(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether the attributes hold `cfg(test)` or `cfg(all(test, ...))`.
fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let text = attribute.meta.to_token_stream().to_string();
        text.starts_with("cfg (test") || text.starts_with("cfg (all (test")
    })
}

/// A path as code names it, for instance `["std", "fs", "File"]`, and its line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NamedPath {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

/// Every path in the tokens, inside macros too; groups of `use` are spelled out.
pub(crate) fn named_paths(tokens: TokenStream) -> Vec<NamedPath> {
    let mut found = Vec::new();
    collect(&tokens.into_iter().collect::<Vec<_>>(), &[], &mut found);
    found
}

fn collect(tokens: &[TokenTree], prefix: &[String], found: &mut Vec<NamedPath>) {
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token {
            TokenTree::Ident(_) => at = collect_path(tokens, at, prefix, found),
            TokenTree::Group(group) => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                collect(&inner, &[], found);
                at += 1;
            }
            _ => at += 1,
        }
    }
}

/// Reads the path that starts at `start`; answers where the code goes on.
fn collect_path(
    tokens: &[TokenTree],
    start: usize,
    prefix: &[String],
    found: &mut Vec<NamedPath>,
) -> usize {
    let mut segments = prefix.to_vec();
    let mut at = start;
    let line = tokens.get(start).map_or(0, |t| t.span().start().line);
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(ident)) => segments.push(ident.to_string()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                collect(&inner, &segments, found);
                return at + 1;
            }
            _ => break,
        }
        at += 1;
        if !(is_colon(tokens.get(at)) && is_colon(tokens.get(at + 1))) {
            break;
        }
        at += 2;
    }
    found.push(NamedPath { segments, line });
    at.max(start + 1)
}

fn is_colon(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == ':')
}
