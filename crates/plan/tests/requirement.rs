//! The algebra of requirements: the matrix of the specification, intersections, and texts.

#![allow(clippy::unwrap_used)]

use karpenter_plan::{
    Requirement, Requirements, Vocabulary,
    requirement::{Operator, Undefined},
};

/// One requirement of the key `key`, as in `In a b` or `Gt 1`.
fn parse(text: &str, vocabulary: &mut Vocabulary) -> Requirement {
    parse_for("key", text, vocabulary)
}

fn parse_for(key: &str, text: &str, vocabulary: &mut Vocabulary) -> Requirement {
    let mut words = text.split_whitespace();
    let operator = Operator::parse(words.next().unwrap()).unwrap();
    let words: Vec<&str> = words.collect();
    let number = words
        .first()
        .and_then(|word| word.parse().ok())
        .unwrap_or(0);
    let values: Vec<_> = words
        .iter()
        .map(|word| vocabulary.intern_value(word))
        .collect();
    Requirement::of(vocabulary.intern_key(key), operator, values, number)
}

fn set(requirement: Requirement, vocabulary: &Vocabulary) -> Requirements {
    let mut set = Requirements::new();
    set.add(requirement, vocabulary);
    set
}

#[test]
fn compatibility_follows_the_matrix() {
    let columns = [
        "Exists",
        "DoesNotExist",
        "In a",
        "NotIn a",
        "In 1",
        "Gt 1",
        "Lt 1",
    ];
    let rows = [
        ("Exists", "ynyyyyy"),
        ("DoesNotExist", "nynynnn"),
        ("In a", "ynynnnn"),
        ("In a b", "ynyynnn"),
        ("NotIn a", "yynyyyy"),
        ("In 1", "ynnyynn"),
        ("In 1 9", "ynnyyyn"),
        ("Gt 1", "ynnynyn"),
        ("Lt 9", "ynnyyyy"),
    ];
    let mut vocabulary = Vocabulary::default();
    for (own, verdicts) in rows {
        for (incoming, verdict) in columns.iter().zip(verdicts.chars()) {
            let a = set(parse(own, &mut vocabulary), &vocabulary);
            let b = set(parse(incoming, &mut vocabulary), &vocabulary);
            let found = a.compatible(&b, Undefined::Refused, &vocabulary);
            assert_eq!(found, verdict == 'y', "{own} with {incoming}");
            assert_eq!(
                found,
                a.incompatibilities(&b, Undefined::Refused, &vocabulary)
                    .is_empty(),
                "{own} with {incoming}: the text disagrees"
            );
        }
    }
}

#[test]
fn undefined_keys_are_excused_only_where_they_are_well_known() {
    let mut vocabulary = Vocabulary::default();
    let nothing = Requirements::new();
    for (key, text, strict, loose) in [
        ("topology.kubernetes.io/zone", "In a", false, true),
        ("topology.kubernetes.io/zone", "NotIn a", true, true),
        ("custom", "In a", false, false),
        ("custom", "Exists", false, false),
        ("custom", "NotIn a", true, true),
        ("custom", "DoesNotExist", true, true),
    ] {
        let asked = set(parse_for(key, text, &mut vocabulary), &vocabulary);
        assert_eq!(
            nothing.compatible(&asked, Undefined::Refused, &vocabulary),
            strict,
            "{key}"
        );
        let found = nothing.compatible(&asked, Undefined::AllowedIfWellKnown, &vocabulary);
        assert_eq!(found, loose, "{key} {text}");
    }
}

#[test]
fn intersections_are_exact() {
    let mut vocabulary = Vocabulary::default();
    for (a, b, expected) in [
        ("In a b", "In b c", "key In [b]"),
        ("In a", "In b", "key DoesNotExist"),
        ("In a b", "NotIn a", "key In [b]"),
        ("NotIn a", "In a b", "key In [b]"),
        ("NotIn a", "NotIn b", "key NotIn [a b]"),
        ("Exists", "In a", "key In [a]"),
        ("Exists", "DoesNotExist", "key DoesNotExist"),
        ("Gt 1", "Lt 9", "key Exists >=2 <=8"),
        ("Gt 5", "Lt 5", "key DoesNotExist"),
        ("Gte 5", "Lte 5", "key Exists >=5 <=5"),
        ("Gt 1", "In 1 2 x", "key In [2]"),
        ("Gt 1", "NotIn 1 2", "key NotIn [2] >=2"),
        ("Gt 9223372036854775807", "Exists", "key DoesNotExist"),
    ] {
        let (left, right) = (parse(a, &mut vocabulary), parse(b, &mut vocabulary));
        let both = left.intersection(&right, &vocabulary);
        assert_eq!(both.render(&vocabulary), expected, "{a} with {b}");
        let turned = right.intersection(&left, &vocabulary);
        assert_eq!(turned, both, "{a} with {b}: order matters");
    }
}

#[test]
fn two_complements_always_intersect() {
    let mut vocabulary = Vocabulary::default();
    let range = parse("Gte 1", &mut vocabulary);
    let range = range.intersection(&parse("Lte 1", &mut vocabulary), &vocabulary);
    let excluded = parse("NotIn 1", &mut vocabulary);
    assert!(range.intersects(&excluded, &vocabulary));
}

#[test]
fn texts_are_upstreams() {
    let mut vocabulary = Vocabulary::default();
    for (text, expected) in [
        ("Gt 1", "key Exists >=2"),
        ("In c a b", "key In [a b c]"),
        ("In a b c d e f g", "key In [a b c d e and 2 others]"),
        ("DoesNotExist", "key DoesNotExist"),
    ] {
        assert_eq!(parse(text, &mut vocabulary).render(&vocabulary), expected);
    }
    let with_minimum = parse("In a b", &mut vocabulary).with_min_values(Some(2));
    assert_eq!(with_minimum.render(&vocabulary), "key In [a b] minValues 2");
}

#[test]
fn the_larger_minimum_of_values_stays() {
    let mut vocabulary = Vocabulary::default();
    // "scheduling/F11"
    let one = parse("Exists", &mut vocabulary).with_min_values(Some(1));
    let two = parse("In a b", &mut vocabulary).with_min_values(Some(2));
    assert_eq!(one.intersection(&two, &vocabulary).min_values(), Some(2));
    let none = parse("In a b", &mut vocabulary);
    assert_eq!(one.intersection(&none, &vocabulary).min_values(), Some(1));
}

#[test]
fn bounds_are_written_as_entries() {
    let mut vocabulary = Vocabulary::default();
    let entries = |requirement: Requirement, vocabulary: &Vocabulary| -> Vec<String> {
        requirement
            .to_api(vocabulary)
            .into_iter()
            .map(|entry| {
                format!(
                    "{} {}",
                    entry.operator,
                    entry.values.unwrap_or_default().join(" ")
                )
            })
            .collect()
    };
    let low = parse("Gt 1", &mut vocabulary);
    assert_eq!(entries(low.clone(), &vocabulary), ["Gte 2"]);
    let both = low.intersection(&parse("Lt 9", &mut vocabulary), &vocabulary);
    assert_eq!(entries(both.clone(), &vocabulary), ["Gte 2", "Lte 8"]);
    let excluded = both.intersection(&parse("NotIn 5", &mut vocabulary), &vocabulary);
    assert_eq!(entries(excluded, &vocabulary), ["Gte 2", "Lte 8"]);
    assert_eq!(
        entries(parse("NotIn b a", &mut vocabulary), &vocabulary),
        ["NotIn a b"]
    );
    assert_eq!(
        entries(parse("Exists", &mut vocabulary), &vocabulary),
        ["Exists "]
    );
}

#[test]
fn hints_name_what_was_meant() {
    let mut vocabulary = Vocabulary::default();
    let own = set(
        parse_for("example.com/team", "In red", &mut vocabulary),
        &vocabulary,
    );
    for (asked, hint) in [
        ("zone", " (typo of \"topology.kubernetes.io/zone\"?)"),
        ("beta/zone", " (typo of \"topology.kubernetes.io/zone\"?)"),
        ("team", " (typo of \"example.com/team\"?)"),
        ("unheard-of", ""),
    ] {
        let asked_set = set(parse_for(asked, "In x", &mut vocabulary), &vocabulary);
        let texts = own.incompatibilities(&asked_set, Undefined::AllowedIfWellKnown, &vocabulary);
        assert_eq!(
            texts,
            [format!(
                "label \"{asked}\" does not have known values{hint}"
            )]
        );
    }
}
