//! Documents may name only what exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The longest that `ARCHITECTURE.md` may get, in lines: it is read in one go or not at all.
const ARCHITECTURE_LINES_MAX: usize = 400;

/// Folders of the checkout that a back-ticked path may begin with.
const ROOTS: [&str; 9] =
    ["crates/", "docs/", "web/", "scripts/", "bench/", "fuzz/", "deploy/", "xtask/", "target/"];

/// What exists only after a build.
const BUILT: [&str; 3] = ["target/", "web/dist", "web/node_modules"];

pub(crate) fn check() -> anyhow::Result<Vec<String>> {
    let mut findings = Vec::new();
    for document in documents()? {
        let text = fs::read_to_string(&document)
            .with_context(|| format!("read {}", document.display()))?;
        let folder = document.parent().unwrap_or(Path::new("."));
        for name in named_paths(&text) {
            if !name.exists_from(folder) {
                findings.push(format!(
                    "{}: names '{}', which does not exist",
                    document.display(),
                    name.path
                ));
            }
        }
    }
    findings.extend(check_architecture()?);
    findings.extend(check_left_overs()?);
    findings.extend(check_findings()?);
    Ok(findings)
}

fn documents() -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in [".", "docs", "docs/adr", "docs/formats", "fuzz", "bench", "web"] {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// A path that a document names.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct NamedPath {
    path: String,
    /// Links are relative to the document, back-ticked paths to the root.
    relative: bool,
}

impl NamedPath {
    fn exists_from(&self, folder: &Path) -> bool {
        if BUILT.iter().any(|built| self.path.starts_with(built)) {
            return true;
        }
        if self.relative {
            folder.join(&self.path).exists()
        } else {
            Path::new(&self.path).exists()
        }
    }
}

fn named_paths(text: &str) -> BTreeSet<NamedPath> {
    let mut names = BTreeSet::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if fenced {
            continue;
        }
        for piece in line.split('`').skip(1).step_by(2) {
            let plain =
                piece.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
            if plain && ROOTS.iter().any(|root| piece.starts_with(root)) {
                names.insert(NamedPath { path: piece.to_owned(), relative: false });
            }
        }
        for link in line.split("](").skip(1) {
            let target = link.split([')', '#', ' ']).next().unwrap_or("");
            if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                names.insert(NamedPath { path: target.to_owned(), relative: true });
            }
        }
    }
    names
}

fn check_architecture() -> anyhow::Result<Vec<String>> {
    let text = fs::read_to_string("ARCHITECTURE.md").context("read ARCHITECTURE.md")?;
    let mut findings = Vec::new();
    let lines = text.lines().count();
    if lines > ARCHITECTURE_LINES_MAX {
        findings.push(format!(
            "ARCHITECTURE.md has {lines} lines, the limit is {ARCHITECTURE_LINES_MAX}"
        ));
    }
    for entry in fs::read_dir("crates").context("list crates")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !text.contains(&format!("`crates/{name}`")) {
            findings.push(format!("ARCHITECTURE.md does not describe `crates/{name}`"));
        }
    }
    Ok(findings)
}

/// Finds tests that the tables of findings name, but that do not exist.
fn check_findings() -> anyhow::Result<Vec<String>> {
    let mut functions = BTreeSet::new();
    for file in [sources(Path::new("crates"))?, sources(Path::new("xtask/src"))?].concat() {
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        functions.extend(text.lines().filter_map(function_of).map(str::to_owned));
    }
    let mut findings = Vec::new();
    for page in ["docs/security.md", "docs/pulls-findings.md"] {
        let text = fs::read_to_string(page).with_context(|| format!("read {page}"))?;
        let named = named_tests(&text);
        let missing = named.iter().filter(|name| !functions.contains(**name));
        findings.extend(
            missing.map(|name| format!("{page}: names the test '{name}', which does not exist")),
        );
        if named.is_empty() {
            findings.push(format!("{page}: names no test"));
        }
    }
    Ok(findings)
}

/// Returns the name of the function that begins in a line. Public ones count: the checks of a contract are such.
fn function_of(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
    name.split(['(', '<']).next()
}

/// Returns what is back-ticked in the last column of the rows of tables that have four.
fn named_tests(text: &str) -> BTreeSet<&str> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let lasts = rows.filter_map(|row| match row.split(" | ").collect::<Vec<_>>()[..] {
        [_, _, _, last] => Some(last),
        _ => None,
    });
    lasts.flat_map(|last| last.split('`').skip(1).step_by(2)).collect()
}

/// Finds marks of unfinished work in our source.
fn check_left_overs() -> anyhow::Result<Vec<String>> {
    // Written in two pieces, so that this file is not a finding of its own.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
    let mut findings = Vec::new();
    for root in ["crates", "xtask/src", "bench", "web/src"] {
        for file in sources(Path::new(root))? {
            let text =
                fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
            for (index, line) in text.lines().enumerate() {
                if marks.iter().any(|mark| line.contains(mark)) {
                    findings.push(format!("{}:{}: unfinished work", file.display(), index + 1));
                }
            }
        }
    }
    Ok(findings)
}

fn sources(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return Ok(found) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            if !path.ends_with("node_modules") && !path.ends_with("target") {
                found.extend(sources(&path)?);
            }
        } else if path
            .extension()
            .is_some_and(|extension| ["rs", "ts", "tsx"].iter().any(|e| extension == *e))
        {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_back_ticked_paths_are_found_outside_of_code_blocks() {
        let text = "See `docs/x.md` and [y](adr/y.md#part), not `foo` or [z](https://z).\n```\n`docs/no`\n```\n";
        let named: Vec<String> = named_paths(text).into_iter().map(|name| name.path).collect();
        assert_eq!(named, ["adr/y.md", "docs/x.md"]);
    }

    #[test]
    fn tests_are_those_of_the_last_of_four_columns() {
        let text = "| id | a | b | test |\n|---|---|---|---|\n| T-1 | `x` | `y.rs` | `good_one` |\n\
                    | T-2 | x | y | — |\n| `role` | reads |\n";
        assert_eq!(named_tests(text), BTreeSet::from(["good_one"]));
        assert_eq!(function_of("    async fn good_one(url: Url) {"), Some("good_one"));
        assert_eq!(function_of("// fn commented"), None);
    }

    #[test]
    fn a_missing_file_is_a_finding_and_a_built_one_is_not() {
        let named = |path: &str| NamedPath { path: path.to_owned(), relative: false };
        assert!(!named("docs/no-such-page.md").exists_from(Path::new(".")));
        assert!(named("target/release/tinyobs").exists_from(Path::new(".")));
    }
}
