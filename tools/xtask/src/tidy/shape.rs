//! Shape and wording of files: sizes, module docs, names, `unsafe`, paths of one machine.

use std::path::Path;

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::visit::Visit;

use super::{
    Complaint,
    source::Source,
    table::{
        BANNED_MODULE_NAMES, FILE_LINES_MAX, FUNCTION_LINES_MAX, GENERATED, KAFKA_NAMES,
        MACHINE_PATHS, UNSAFE_FILES, WORDS,
    },
};

/// Checks one file.
pub(crate) fn check(source: &Source, complaints: &mut Vec<Complaint>) {
    check_machine_paths(source, complaints);
    let Some(rust) = &source.rust else {
        return;
    };
    if source.is_within(GENERATED) {
        return;
    }
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        let text = format!("has {lines} lines, at most {FILE_LINES_MAX} are allowed");
        complaints.push(Complaint::new(&source.path, lines, text));
    }
    if !source.text.starts_with("//!") {
        let text = "does not start with `//!` saying what it is";
        complaints.push(Complaint::new(&source.path, 1, text));
    }
    check_file_name(source, complaints);
    if !UNSAFE_FILES.contains(&&*source.path) {
        check_unsafe(source, rust.to_token_stream(), complaints);
    }
    Definitions { source, complaints }.visit_file(rust);
}

fn check_machine_paths(source: &Source, complaints: &mut Vec<Complaint>) {
    for (index, line) in source.text.lines().enumerate() {
        for start in MACHINE_PATHS {
            if line.contains(start) {
                let text = format!("names {start}, which exists on one machine only");
                complaints.push(Complaint::new(&source.path, index + 1, text));
            }
        }
    }
}

fn check_file_name(source: &Source, complaints: &mut Vec<Complaint>) {
    let path = Path::new(&source.path).with_extension("");
    for part in path.iter().filter_map(|part| part.to_str()) {
        if BANNED_MODULE_NAMES.contains(&part) {
            let text = format!("is named {part}, which says nothing about what is inside");
            complaints.push(Complaint::new(&source.path, 0, text));
        }
    }
}

fn check_unsafe(source: &Source, tokens: TokenStream, complaints: &mut Vec<Complaint>) {
    for token in tokens {
        match token {
            TokenTree::Ident(ident) if ident == "unsafe" => {
                let line = ident.span().start().line;
                let text = format!("says unsafe; only {} may", UNSAFE_FILES.join(" and "));
                complaints.push(Complaint::new(&source.path, line, text));
            }
            TokenTree::Group(group) => check_unsafe(source, group.stream(), complaints),
            _ => {}
        }
    }
}

/// Visits what a file defines: names against the vocabulary, functions against their size.
struct Definitions<'a> {
    source: &'a Source,
    complaints: &'a mut Vec<Complaint>,
}

impl Definitions<'_> {
    fn name(&mut self, ident: &syn::Ident) {
        let name = ident.to_string();
        let without_kafkas = KAFKA_NAMES
            .iter()
            .fold(name.clone(), |name, kafkas| name.replace(kafkas, ""));
        let words = words(&without_kafkas);
        for rule in WORDS {
            if self.source.path.starts_with(rule.within) && words.iter().any(|w| w == rule.word) {
                let text = format!("{name} says {}: say {}", rule.word, rule.instead);
                let line = ident.span().start().line;
                self.complaints
                    .push(Complaint::new(&self.source.path, line, text));
            }
        }
    }

    fn function(&mut self, signature: &syn::Signature, end: Span) {
        self.name(&signature.ident);
        let start = signature.fn_token.span.start().line;
        let lines = end.end().line + 1 - start;
        if lines > FUNCTION_LINES_MAX {
            let text = format!(
                "function {} has {lines} lines, at most {FUNCTION_LINES_MAX} are allowed",
                signature.ident
            );
            self.complaints
                .push(Complaint::new(&self.source.path, start, text));
        }
    }
}

impl<'ast> Visit<'ast> for Definitions<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, item.block.brace_token.span.close());
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, item.block.brace_token.span.close());
        syn::visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        let end = item
            .default
            .as_ref()
            .map_or(item.sig.fn_token.span, |block| {
                block.brace_token.span.close()
            });
        self.function(&item.sig, end);
        syn::visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let name = item.ident.to_string();
        if BANNED_MODULE_NAMES.contains(&name.as_str()) {
            let text = format!("module {name} says nothing about what is inside");
            let line = item.ident.span().start().line;
            self.complaints
                .push(Complaint::new(&self.source.path, line, text));
        }
        syn::visit::visit_item_mod(self, item);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.name(&item.ident);
        syn::visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.name(&item.ident);
        syn::visit::visit_item_enum(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.name(&item.ident);
        syn::visit::visit_item_trait(self, item);
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.name(&item.ident);
        syn::visit::visit_item_const(self, item);
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if let Some(ident) = &field.ident {
            self.name(ident);
        }
        syn::visit::visit_field(self, field);
    }

    fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
        self.name(&pattern.ident);
        syn::visit::visit_pat_ident(self, pattern);
    }
}

/// The words of a name in lower case: `logEndOffset`, `LogEndOffset` and `LOG_END_OFFSET` are all
/// `log end offset`.
pub(crate) fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for letter in name.chars() {
        if letter == '_' || (letter.is_uppercase() && after_lower) {
            words.push(String::new());
        }
        after_lower = letter.is_lowercase() || letter.is_ascii_digit();
        if letter != '_'
            && let Some(word) = words.last_mut()
        {
            word.extend(letter.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}
