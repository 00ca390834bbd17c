//! `[notices]`: the publisher's own texts in place of ours, by notice and language.

use super::section::Section;
use crate::domain::{Catalog, Language, MessageKey, Messages};

/// The texts; checked for the product with the longest name.
pub(super) fn read(root: &mut Section<'_>, catalog: &Catalog) -> Messages {
    let names = catalog.products().map(|it| &*it.name);
    let longest = names.max_by_key(|it| it.encode_utf16().count()).unwrap_or_default();
    let mut messages = Messages::default();
    root.section("notices", |it| {
        for key in MessageKey::ALL {
            it.know(key.as_str());
            it.section(key.as_str(), |it| texts(it, *key, longest, &mut messages));
        }
    });
    messages
}

fn texts(it: &mut Section<'_>, key: MessageKey, longest: &str, messages: &mut Messages) {
    for language in Language::ALL {
        let name = language.as_str();
        if !it.has(name) {
            it.know(name);
            continue;
        }
        let Some(text) = it.optional::<String>(name) else { continue };
        if let Err(error) = messages.put(key, *language, &text, longest) {
            it.problem(name, error.to_string());
        }
    }
}
