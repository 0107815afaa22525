//! The pages of the reference that the sources of the configuration and of the exit codes make. `make reference` writes them. The other
//! two are made where the options are defined, by the tests of the command and of the plugin.

use std::fs;

use crate::{read, top};

const MADE: &str = "<!-- Made from the code by 'make reference'. -->";

#[test]
fn the_page_of_keys_is_that_of_the_code() {
    let source = read(&top().join("core/src/config/settings.rs"));
    let variable = |key: &str| {
        let name = format!("CONDATAINER_{}", key.to_uppercase());
        if source.contains(&format!("\"{name}\"")) { format!("`{name}`") } else { String::new() }
    };
    let rows = items(&source).filter_map(|item| match item {
        syn::Item::Struct(item) if item.ident == "Settings" => Some(item),
        _ => None,
    });
    let rows: String = rows
        .flat_map(|settings| settings.fields)
        .map(|field| {
            let key = field.ident.as_ref().unwrap().to_string();
            let key = if key == "fixed" { "[fixed]".to_owned() } else { key };
            format!("| `{key}` | {} | {} |\n", variable(&key), cell(&doc(&field.attrs)))
        })
        .collect();
    let text = "Keys of `config.toml`. The [guide](../guide/configuration.md) and the [administration guide](../admin/configuration.md) say more.";
    is_written(
        "configuration.md",
        &format!("# Configuration keys\n\n{MADE}\n\n{text}\n\n| key | variable | meaning |\n|---|---|---|\n{rows}"),
    );
}

#[test]
fn the_page_of_exit_codes_is_that_of_the_code() {
    let source = read(&top().join("programs/src/exit_code.rs"));
    let mut codes: Vec<(u8, String)> = items(&source)
        .filter_map(|item| match item {
            syn::Item::Const(item) => Some((number(&item.expr), doc(&item.attrs))),
            _ => None,
        })
        .collect();
    assert!(codes.len() > 3, "{codes:?}");
    codes.sort();
    let of_starts: String = codes.iter().map(|(code, text)| format!("| {code} | {} |\n", cell(text))).collect();
    let source = read(&top().join("cli/src/say/failure.rs"));
    let variants = items(&source).filter_map(|item| match item {
        syn::Item::Enum(item) if item.ident == "Code" => Some(item.variants),
        _ => None,
    });
    let of_verbs: String = variants
        .flatten()
        .filter_map(|variant| match &variant.discriminant {
            Some((_, expr @ syn::Expr::Lit(_))) => {
                Some(format!("| {} | {} |\n", number(expr), cell(&doc(&variant.attrs))))
            }
            _ => None,
        })
        .collect();
    let page = format!(
        "# Exit codes\n\n{MADE}\n\nOf `exec`, `e`, `run`, `join` and a task in Slurm. Every other code is the command's own, or 128 and the number \
        of the signal that ended it. The [guide](../guide/running.md#exit-codes-and-signals) says more.\n\n| code | meaning |\n|---|---|\n{of_starts}\n\
        Of every other command:\n\n| code | meaning |\n|---|---|\n| 0 | It is done. |\n{of_verbs}"
    );
    is_written("exit-codes.md", &page);
}

fn items(source: &str) -> impl Iterator<Item = syn::Item> {
    syn::parse_file(source).unwrap().items.into_iter()
}

fn number(expr: &syn::Expr) -> u8 {
    match expr {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Int(number), .. }) => number.base10_parse().unwrap(),
        _ => panic!("a code is a number"),
    }
}

/// The comment, as one text.
fn doc(attributes: &[syn::Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(syn::MetaNameValue {
            value: syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }),
            ..
        }) => Some(text.value().trim().to_owned()),
        _ => None,
    });
    lines.collect::<Vec<_>>().join(" ")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn is_written(name: &str, page: &str) {
    let place = top().join("docs/reference").join(name);
    if std::env::var_os("CONDATAINER_WRITE_REFERENCE").is_some() {
        fs::write(&place, page).unwrap();
    }
    let written = fs::read_to_string(&place).unwrap_or_default();
    assert!(written == page, "docs/reference/{name} is not that of the code: make reference");
}
