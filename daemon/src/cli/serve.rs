//! `jobd serve`: builds the parts, joins them, stops them in order.

use crate::config::Config;

pub(super) fn run(config: &Config) -> anyhow::Result<()> {
    let _ = config;
    todo!()
}
