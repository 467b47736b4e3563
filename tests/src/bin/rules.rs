//! Writes RULES.md: which rule is proved by which test (`make rules`).

use std::path::Path;

use anyhow::Context;
use jobd_tests::rules::{Rules, show};

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let rules = Rules::read(&root)?;
    let path = root.join("RULES.md");
    std::fs::write(&path, rules.render()).with_context(|| format!("write {}", path.display()))?;
    for (numbers, what) in [(rules.unproved(), "no test cites"), (rules.unknown(), "cited, and in no list:")] {
        if !numbers.is_empty() {
            println!("{what} {}", numbers.into_iter().map(show).collect::<Vec<_>>().join(" "));
        }
    }
    Ok(())
}
