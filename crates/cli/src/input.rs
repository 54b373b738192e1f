//! Reads manifests: files, folders and standard input; YAML streams, JSON, `List` kinds and
//! `kubectl get -o yaml` dumps. Each object remembers where it came from, so that an error can name
//! file and document. Whether an object is *valid* is not asked here.

use std::{
    fmt, fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// An object and where it was read.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// `FILE#N`: the N-th document of the file, counted from 1; items of a list add `[I]`.
    pub(crate) origin: String,
    /// The object, with `apiVersion`, `kind` and `metadata` present.
    pub(crate) object: Value,
}

impl Document {
    pub(crate) fn kind(&self) -> &str {
        self.object["kind"].as_str().unwrap_or_default()
    }

    pub(crate) fn api_version(&self) -> &str {
        self.object["apiVersion"].as_str().unwrap_or_default()
    }

    pub(crate) fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }
}

/// Input that could not be read.
#[derive(Debug)]
pub(crate) struct Unreadable {
    origin: String,
    problem: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.origin, self.problem)
    }
}

impl std::error::Error for Unreadable {}

fn unreadable(origin: &str, problem: impl Into<String>) -> Unreadable {
    Unreadable {
        origin: origin.to_owned(),
        problem: problem.into(),
    }
}

/// Reads every path in the order given; folders are read in the order of their file names.
pub(crate) fn read(paths: &[String]) -> Result<Vec<Document>, Unreadable> {
    let mut documents = Vec::new();
    for path in paths {
        if path == "-" {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| unreadable("standard input", error.to_string()))?;
            parse("-", &text, &mut documents)?;
            continue;
        }
        for file in files(Path::new(path))? {
            let shown = file.display().to_string();
            let bytes = fs::read(&file).map_err(|error| unreadable(&shown, error.to_string()))?;
            let text = String::from_utf8(bytes)
                .map_err(|_| unreadable(&shown, "not UTF-8; save the file as UTF-8"))?;
            parse(&shown, &text, &mut documents)?;
        }
    }
    Ok(documents)
}

fn files(path: &Path) -> Result<Vec<PathBuf>, Unreadable> {
    let shown = path.display().to_string();
    let about = fs::metadata(path).map_err(|error| unreadable(&shown, error.to_string()))?;
    if !about.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files: Vec<PathBuf> = fs::read_dir(path)
        .map_err(|error| unreadable(&shown, error.to_string()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|kind| kind == "yaml" || kind == "yml" || kind == "json")
        })
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(unreadable(&shown, "holds no .yaml, .yml or .json file"));
    }
    Ok(files)
}

/// Splits a stream into documents and lists into items.
pub(crate) fn parse(
    file: &str,
    text: &str,
    documents: &mut Vec<Document>,
) -> Result<(), Unreadable> {
    let mut number = 0;
    for (line, part) in split(text) {
        if part
            .lines()
            .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
        {
            continue;
        }
        number += 1;
        let origin = format!("{file}#{number}");
        let value = decode(&origin, line, part)?;
        flatten(&origin, value, documents)?;
    }
    Ok(())
}

/// Documents of a YAML stream with the line on which each begins. A line that begins with `---`
/// separates, since no block scalar can hold one at column 0 unless it is the top level itself.
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    let (mut start, mut start_line, mut offset) = (0, 1, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let rest = line.strip_prefix("---");
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace)) {
            parts.push((start_line, &text[start..offset]));
            // What follows the marker on its line belongs to the next document.
            start = offset + 3;
            start_line = index + 1;
        }
        offset += line.len();
    }
    parts.push((start_line, &text[start..]));
    parts
}

fn decode(origin: &str, line: usize, text: &str) -> Result<Value, Unreadable> {
    if text.trim_start().starts_with('{') {
        // Flow style YAML may look like JSON and not be it, so a failure here is not the verdict.
        if let Ok(value) = serde_json::from_str(text) {
            return Ok(value);
        }
    }
    // Scalars as kubectl reads them; no size budget, since dumps of large clusters are welcome.
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        budget: None,
        with_snippet: false,
    };
    let mut value: Value = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let place = error.location().map_or(String::new(), |at| {
            format!(
                " (line {})",
                usize::try_from(at.line()).unwrap_or(0) + line - 1
            )
        });
        unreadable(
            origin,
            format!("not YAML{place}: {}", error.without_snippet().render()),
        )
    })?;
    normalize(&mut value);
    Ok(value)
}

/// Whole floats become integers, as `kubectl` sends them: `1.0` is `1`, `1e3` is `1000`.
fn normalize(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(float) = number.as_f64().filter(|_| number.is_f64())
                && float.fract() == 0.0
                && float.abs() < 9e15
            {
                #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
                let whole = float as i64;
                *value = Value::from(whole);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(normalize),
        Value::Object(fields) => fields.values_mut().for_each(normalize),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

fn flatten(origin: &str, value: Value, documents: &mut Vec<Document>) -> Result<(), Unreadable> {
    let Value::Object(mut fields) = value else {
        return Err(unreadable(
            origin,
            "not an object; a manifest is a mapping with `kind`",
        ));
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let (kind, api_version) = (text("kind").to_owned(), text("apiVersion").to_owned());
    if kind.is_empty() || api_version.is_empty() {
        let missing = if kind.is_empty() {
            "kind"
        } else {
            "apiVersion"
        };
        return Err(unreadable(
            origin,
            format!("`{missing}` is missing or not a string"),
        ));
    }
    if kind.ends_with("List")
        && let Some(Value::Array(items)) = fields.remove("items")
    {
        let of = kind.trim_end_matches("List");
        for (index, mut item) in items.into_iter().enumerate() {
            // Items of a typed list, as the API server sends it, carry neither kind nor version.
            if let Value::Object(fields) = &mut item
                && !of.is_empty()
            {
                fields.entry("kind").or_insert_with(|| of.into());
                fields
                    .entry("apiVersion")
                    .or_insert_with(|| api_version.clone().into());
            }
            flatten(&format!("{origin}[{index}]"), item, documents)?;
        }
        return Ok(());
    }
    documents.push(Document {
        origin: origin.to_owned(),
        object: Value::Object(fields),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Origins and names of what `text` holds, or the error.
    fn check(text: &str, expected: &str) {
        let mut documents = Vec::new();
        let seen = match parse("f", text, &mut documents) {
            Ok(()) => documents
                .iter()
                .map(|document| {
                    format!(
                        "{} {}/{}",
                        document.origin,
                        document.kind(),
                        document.name()
                    )
                })
                .collect::<Vec<_>>()
                .join("; "),
            Err(error) => error.to_string(),
        };
        assert!(
            seen.starts_with(expected),
            "{text}\n  gave     {seen}\n  expected {expected}"
        );
    }

    #[test]
    fn streams_lists_and_faults() {
        let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n";
        check(pod, "f#1 Pod/a");
        check(
            &format!("---\n{pod}---\n# nothing\n---\n{pod}"),
            "f#1 Pod/a; f#2 Pod/a",
        );
        check(&format!("--- # first\n{pod}"), "f#1 Pod/a");
        check("", "");
        check(
            "apiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: x}\n",
            "f#1[0] Pod/x",
        );
        check(
            "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: x}}\n",
            "f#1[0] Pod/x",
        );
        check(
            r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "j"}}"#,
            "f#1 Pod/j",
        );
        check("[1, 2]", "f#1: not an object");
        check("kind: Pod", "f#1: `apiVersion` is missing");
        check("a: [", "f#1: not YAML");
        check(&format!("{pod}---\na: b: c\n"), "f#2: not YAML (line 5)");
    }

    #[test]
    fn numbers_and_words_are_read_as_kubectl_reads_them() {
        let text = "apiVersion: v1\nkind: X\na: 1.0\nb: 1e3\nc: 1.5\nd: yes\ne: 010\nf: \"1\"\n";
        let mut documents = Vec::new();
        parse("f", text, &mut documents).unwrap();
        let object = &documents[0].object;
        assert_eq!(
            serde_json::json!([
                object["a"],
                object["b"],
                object["c"],
                object["d"],
                object["e"],
                object["f"]
            ]),
            serde_json::json!([1, 1000, 1.5, true, 8, "1"])
        );
    }
}
