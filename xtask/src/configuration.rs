//! Makes the reference page of the configuration from the commented defaults.

use anyhow::{Context as _, ensure};

const SOURCE: &str = "config.default.yaml";
const PAGE: &str = "docs/configuration-keys.md";

/// Returns a finding when the committed page is stale.
pub(crate) fn check() -> anyhow::Result<Vec<String>> {
    let committed = std::fs::read_to_string(PAGE).unwrap_or_default();
    let fresh = page(&read()?)?;
    let finding = format!("{PAGE} is stale: make generate");
    Ok(if committed == fresh { Vec::new() } else { vec![finding] })
}

/// Writes the page.
pub(crate) fn write() -> anyhow::Result<()> {
    std::fs::write(PAGE, page(&read()?)?).context(PAGE)
}

/// Returns the paths of all keys.
#[cfg(test)]
pub(crate) fn paths() -> anyhow::Result<Vec<String>> {
    Ok(keys(&read()?)?.into_iter().map(|key| key.path).collect())
}

fn read() -> anyhow::Result<String> {
    std::fs::read_to_string(SOURCE).context(SOURCE)
}

/// Returns the page: a table for each group of keys, the comment above a key as its meaning.
fn page(yaml: &str) -> anyhow::Result<String> {
    let mut page = "\
# Configuration keys

Every key with its default, made from [config.default.yaml](../config.default.yaml): `make generate`.
[configuration.md](configuration.md) tells how the layers add up.
In the environment a key is `TINYOBS_` and its path in upper case, with two underscores for each dot.
"
    .to_owned();
    let mut group = String::new();
    for key in keys(yaml)? {
        let of = key.path.split('.').next().unwrap_or_default();
        if of != group {
            page.push_str(&format!("\n## {of}\n\n| key | default | meaning |\n|---|---|---|\n"));
            of.clone_into(&mut group);
        }
        let Key { path, default, meaning } = key;
        let meaning = meaning.replace('|', "\\|");
        page.push_str(&format!("| `{path}` | `{default}` | {meaning} |\n"));
    }
    Ok(page)
}

struct Key {
    path: String,
    default: String,
    meaning: String,
}

/// Reads the keys line by line: the file is ours and plain, and a parser would drop the comments.
fn keys(yaml: &str) -> anyhow::Result<Vec<Key>> {
    let mut keys: Vec<Key> = Vec::new();
    let mut levels: Vec<&str> = Vec::new();
    let mut meaning: Vec<&str> = Vec::new();
    for line in yaml.lines() {
        let text = line.trim_start();
        if text.is_empty() {
            meaning.clear();
        } else if let Some(comment) = text.strip_prefix('#') {
            meaning.push(comment.trim());
        } else {
            let depth = (line.len() - text.len()) / 2;
            let (name, value) = text.split_once(':').with_context(|| format!("'{line}'"))?;
            ensure!(depth <= levels.len(), "'{line}' is indented by more than its parent");
            levels.truncate(depth);
            levels.push(name);
            let value = value.trim();
            if value.is_empty() {
                meaning.clear();
                continue;
            }
            // A comment may be about this key and those below it.
            let of_group =
                keys.last().filter(|_| meaning.is_empty()).map(|key| key.meaning.clone());
            let meaning_here = of_group.unwrap_or_else(|| meaning.join(" "));
            let default = if value == "\"\"" { "" } else { value }.to_owned();
            keys.push(Key { path: levels.join("."), default, meaning: meaning_here });
            meaning.clear();
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_path_its_default_and_the_comment_above_it() {
        let yaml = "# About the file.\n\n# Where.\ndir: ./x\nserver:\n  # How\n  # long.\n  wait: 3s\n  more: 4s\n";
        let found: Vec<(String, String, String)> = keys(yaml)
            .expect("keys")
            .into_iter()
            .map(|key| (key.path, key.default, key.meaning))
            .collect();
        let text = |path: &str, default: &str, meaning: &str| {
            (path.to_owned(), default.to_owned(), meaning.to_owned())
        };
        assert_eq!(
            found,
            [
                text("dir", "./x", "Where."),
                text("server.wait", "3s", "How long."),
                text("server.more", "4s", "How long."),
            ]
        );
    }
}
