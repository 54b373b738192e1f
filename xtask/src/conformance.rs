//! `docs/conformance.md`: which test carries which row of the specifications, and how it ended.
//!
//! A row is claimed by writing its id, `"chapter/row"`, as a string in a test. `docs/rows.toml`
//! lists the rows that the project promises; a promised row without a passing test fails CI, and
//! so does a row with a test that the list does not name.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use crate::run::{CRATES, root, say, verdicts};

const CHAPTERS: &[&str] = &[
    "api",
    "scheduling",
    "lifecycle",
    "disruption",
    "operations",
    "aws",
];

/// One claim: a row's id, and the test function that carries it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    row: String,
    file: String,
    test: String,
}

/// Fails when the promised rows, the tests and the page differ.
pub(crate) fn check() -> Result<(), String> {
    let claims = claims()?;
    let page = page(&claims)?;
    let promised = promised()?;
    let found: BTreeSet<String> = claims.iter().map(|claim| claim.row.clone()).collect();
    let missing: Vec<&String> = promised.difference(&found).collect();
    let extra: Vec<&String> = found.difference(&promised).collect();
    if !missing.is_empty() {
        return Err(format!(
            "promised in docs/rows.toml, but no test carries them: {missing:?}"
        ));
    }
    if !extra.is_empty() {
        return Err(format!(
            "carried by tests, but not in docs/rows.toml: {extra:?}"
        ));
    }
    let written = fs::read_to_string(root().join("docs/conformance.md")).unwrap_or_default();
    if written != page {
        return Err("docs/conformance.md is out of date; run `cargo xtask conformance`".into());
    }
    say(&format!("{} rows, {} claims", found.len(), claims.len()));
    Ok(())
}

/// Rewrites `docs/conformance.md`.
pub(crate) fn write() -> Result<(), String> {
    let claims = claims()?;
    fs::write(root().join("docs/conformance.md"), page(&claims)?)
        .map_err(|error| format!("docs/conformance.md: {error}"))
}

/// The ids under `rows = [` of each chapter's table in `docs/rows.toml`.
fn promised() -> Result<BTreeSet<String>, String> {
    let path = root().join("docs/rows.toml");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(ids)
        .collect())
}

fn claims() -> Result<Vec<Claim>, String> {
    let mut claims = BTreeSet::new();
    let crates = CRATES.iter().map(|name| root().join("crates").join(name));
    for folder in crates.chain([root().join("tests")]) {
        for part in ["src", "tests"] {
            scan(&folder.join(part), &mut claims)?;
        }
    }
    Ok(claims.into_iter().collect())
}

fn scan(folder: &Path, claims: &mut BTreeSet<Claim>) -> Result<(), String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            scan(&path, claims)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path)
                .map_err(|error| format!("{}: {error}", path.display()))?;
            let file = path
                .strip_prefix(root())
                .unwrap_or(&path)
                .display()
                .to_string();
            collect(&text, &file, claims);
        }
    }
    Ok(())
}

/// Rows belong to the test function they stand in; those in a table outside of any function belong
/// to the first test that follows it in the file.
fn collect(text: &str, file: &str, claims: &mut BTreeSet<Claim>) {
    let mut waiting: Vec<String> = Vec::new();
    let mut test: Option<String> = None;
    let mut marked = false;
    for line in text.lines() {
        let trimmed = line.trim_start();
        if trimmed.starts_with("//") {
            continue;
        }
        if trimmed.starts_with("#[test]") || trimmed.starts_with("#[tokio::test") {
            marked = true;
        }
        if line.starts_with('}') {
            test = None;
        }
        if marked
            && let Some(rest) = trimmed
                .strip_prefix("fn ")
                .or_else(|| trimmed.strip_prefix("async fn "))
        {
            marked = false;
            let name = rest.split(['(', '<']).next().unwrap_or(rest).to_owned();
            for row in waiting.drain(..) {
                claims.insert(Claim {
                    row,
                    file: file.to_owned(),
                    test: name.clone(),
                });
            }
            test = Some(name);
        }
        for row in ids(line) {
            match &test {
                Some(name) => {
                    claims.insert(Claim {
                        row,
                        file: file.to_owned(),
                        test: name.clone(),
                    });
                }
                None => waiting.push(row),
            }
        }
    }
}

/// Every `"chapter/row"` string of a line.
fn ids(line: &str) -> Vec<String> {
    line.split('"')
        .skip(1)
        .step_by(2)
        .filter(|text| {
            let mut parts = text.split('/');
            let chapter = parts.next().unwrap_or_default();
            let row: Vec<&str> = parts.collect();
            CHAPTERS.contains(&chapter)
                && !row.is_empty()
                && row.last().is_some_and(|last| {
                    last.starts_with(|c: char| c.is_ascii_uppercase())
                        && last.len() <= 4
                        && last.chars().all(|c| c.is_ascii_alphanumeric())
                })
        })
        .map(ToOwned::to_owned)
        .collect()
}

fn page(claims: &[Claim]) -> Result<String, String> {
    let path = verdicts();
    let text = fs::read_to_string(&path)
        .map_err(|_| "no test verdicts; run `cargo xtask test` first".to_owned())?;
    let mut ended: BTreeMap<String, String> = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.split('\t').skip(1);
        if let (Some(name), Some(verdict)) = (fields.next(), fields.next()) {
            let short = name.rsplit("::").next().unwrap_or(name).to_owned();
            // Tests of one name in several files share a verdict: a failure of any is the one kept.
            let kept = ended.entry(short).or_insert_with(|| verdict.to_owned());
            if verdict != "ok" {
                verdict.clone_into(kept);
            }
        }
    }
    let mut rows: BTreeMap<(String, String, u32), Vec<&Claim>> = BTreeMap::new();
    for claim in claims {
        rows.entry(order(&claim.row)).or_default().push(claim);
    }
    let mut out = String::from(
        "# Conformance\n\nGenerated by `cargo xtask conformance` from the tests; do not edit. \
         A row is a scenario of the\nbehaviour specification, cited as `chapter/row`.\n\n\
         | Row | Test | Outcome |\n| --- | --- | --- |\n",
    );
    for claims in rows.values() {
        for claim in claims {
            let Some(verdict) = ended.get(&claim.test) else {
                return Err(format!(
                    "{} is claimed by `{}` in {}, which did not run",
                    claim.row, claim.test, claim.file
                ));
            };
            let _ = writeln!(
                out,
                "| {} | `{}` in `{}` | {} |",
                claim.row,
                claim.test,
                claim.file,
                if verdict == "ok" { "passes" } else { "fails" }
            );
        }
    }
    Ok(out)
}

/// Rows sort by chapter, letters, then number.
fn order(row: &str) -> (String, String, u32) {
    let (chapter, rest) = row.rsplit_once('/').unwrap_or((row, ""));
    let split = rest
        .find(|c: char| c.is_ascii_digit())
        .unwrap_or(rest.len());
    (
        chapter.to_owned(),
        rest[..split].to_owned(),
        rest[split..].parse().unwrap_or(0),
    )
}
