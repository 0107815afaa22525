//! Arguments of `overlay resize`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use condatainer_images::verbs::resize::Wish;

use super::parse_size;
use crate::complete;

#[derive(Debug, Args)]
pub(crate) struct ResizeArgs {
    /// To this size; with + or - in front, larger or smaller by it
    #[arg(
        short,
        long,
        value_name = "SIZE|+SIZE|-SIZE",
        value_parser = parse_wish,
        allow_hyphen_values = true,
        required_unless_present = "free"
    )]
    pub(crate) size: Option<Wish>,
    /// Grow, if need be, until this much is free
    #[arg(long, value_name = "SIZE", value_parser = parse_free, conflicts_with = "size")]
    pub(crate) free: Option<Wish>,
    /// Change the image itself instead of a copy: a kill or crash can damage it
    #[arg(long)]
    pub(crate) in_place: bool,
    /// Say what would be done, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// The image
    #[arg(value_name = "IMG", add = ArgValueCompleter::new(complete::images))]
    pub(crate) image: PathBuf,
}

fn parse_wish(text: &str) -> Result<Wish, String> {
    match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(by), _) => parse_size(by).map(Wish::Grow),
        (_, Some(by)) => parse_size(by).map(Wish::Shrink),
        _ => parse_size(text).map(Wish::To),
    }
}

fn parse_free(text: &str) -> Result<Wish, String> {
    parse_size(text).map(Wish::Free)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_makes_it_relative() {
        assert_eq!(parse_wish("20G"), Ok(Wish::To(20 << 30)));
        assert_eq!(parse_wish("+5G"), Ok(Wish::Grow(5 << 30)));
        assert_eq!(parse_wish("-512M"), Ok(Wish::Shrink(512 << 20)));
        assert!(parse_wish("--5G").is_err() && parse_wish("+").is_err() && parse_wish("").is_err());
    }
}
