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

#[test]
fn who_needs_the_label_to_be_there() {
    let mut vocabulary = Vocabulary::default();
    for (a, b, needs, allows) in [
        ("In a", "In a", true, false),
        ("In", "In", false, true),
        ("NotIn a", "NotIn a", false, true),
        ("NotIn", "NotIn", true, false),
        ("Exists", "Exists", true, false),
        ("DoesNotExist", "DoesNotExist", false, true),
        ("Gt 1", "Gt 1", true, false),
        ("Lte 1", "Lte 1", true, false),
        // What a set is made of is not forgotten.
        ("Exists", "NotIn a", true, true),
        ("NotIn a", "NotIn b", false, true),
        ("In a", "In b", true, true),
        ("Gt 5", "Lt 5", true, true),
        ("DoesNotExist", "NotIn a", false, true),
        ("DoesNotExist", "In a", true, true),
    ] {
        let both = parse(a, &mut vocabulary);
        let both = both.intersection(&parse(b, &mut vocabulary), &vocabulary);
        let found = (both.needs_presence(), both.allows_absence());
        assert_eq!(found, (needs, allows), "{a} with {b}");
        let none = parse("DoesNotExist", &mut vocabulary);
        assert_eq!(both.agrees(&none, &vocabulary), !needs, "{a} with {b}");
        // A node that exists and lacks the label.
        let asked = set(both, &vocabulary);
        let missing = Requirements::new().first_undefined(&asked, Undefined::Refused, &vocabulary);
        assert_eq!(missing.is_some(), needs, "{a} with {b}");
    }
}

#[test]
fn a_set_has_what_both_of_its_parts_have() {
    let mut vocabulary = Vocabulary::default();
    let texts = [
        "In 1 2 x",
        "In 7",
        "NotIn 2",
        "NotIn x 7",
        "Exists",
        "DoesNotExist",
        "Gt 1",
        "Lt 7",
        "Gte 2",
        "Lte 2",
        "Gt 6",
        "Lt 2",
    ];
    let values = ["1", "2", "7", "x", "-3"].map(|text| vocabulary.intern_value(text));
    for a in texts {
        for b in texts {
            let (left, right) = (parse(a, &mut vocabulary), parse(b, &mut vocabulary));
            let both = left.intersection(&right, &vocabulary);
            for value in values {
                let expected = left.has(value, &vocabulary) && right.has(value, &vocabulary);
                let text = vocabulary.value_text(value);
                assert_eq!(
                    both.has(value, &vocabulary),
                    expected,
                    "{text} in {a} with {b}"
                );
            }
            let shared = values.iter().any(|&value| both.has(value, &vocabulary));
            let found = left.intersects(&right, &vocabulary);
            // A range that none of these values is in has others.
            assert!(found || !shared, "{a} with {b}");
            assert!(shared || !found || both.is_complement(), "{a} with {b}");
            assert_eq!(found, right.intersects(&left, &vocabulary), "{a} with {b}");
        }
    }
    for (text, has) in [
        ("In 1 2 x", [true, true, false, true, false]),
        ("NotIn 2", [true, false, true, true, true]),
        ("Exists", [true; 5]),
        ("DoesNotExist", [false; 5]),
        // What is not a number is in no range.
        ("Gt 1", [false, true, true, false, false]),
        ("Gte 2", [false, true, true, false, false]),
        ("Lt 2", [true, false, false, false, true]),
        ("Lte 2", [true, true, false, false, true]),
    ] {
        let own = parse(text, &mut vocabulary);
        assert_eq!(
            values.map(|value| own.has(value, &vocabulary)),
            has,
            "{text}"
        );
    }
}

#[test]
fn a_requirement_says_what_it_was_made_of() {
    let mut vocabulary = Vocabulary::default();
    for (text, operator, complement, bounds, single) in [
        ("In a", Operator::In, false, (None, None), true),
        ("In a b", Operator::In, false, (None, None), false),
        ("NotIn a", Operator::NotIn, true, (None, None), false),
        ("Exists", Operator::Exists, true, (None, None), false),
        (
            "DoesNotExist",
            Operator::DoesNotExist,
            false,
            (None, None),
            false,
        ),
        ("Gt 4", Operator::Exists, true, (Some(5), None), false),
        ("Gte 4", Operator::Exists, true, (Some(4), None), false),
        ("Lt 4", Operator::Exists, true, (None, Some(3)), false),
        ("Lte 4", Operator::Exists, true, (None, Some(4)), false),
        (
            "Lt -9223372036854775808",
            Operator::DoesNotExist,
            false,
            (None, None),
            false,
        ),
    ] {
        let own = parse(text, &mut vocabulary);
        assert_eq!(own.operator(), operator, "{text}");
        assert_eq!(own.is_complement(), complement, "{text}");
        assert_eq!((own.at_least(), own.at_most()), bounds, "{text}");
        assert_eq!(own.single_value().is_some(), single, "{text}");
        assert_eq!(own.min_values(), None, "{text}");
    }
    for name in [
        "In",
        "NotIn",
        "Exists",
        "DoesNotExist",
        "Gt",
        "Lt",
        "Gte",
        "Lte",
    ] {
        assert_eq!(Operator::parse(name).map(Operator::name), Some(name));
    }
    assert_eq!(Operator::parse("in"), None);
}

#[test]
fn a_set_of_requirements_has_one_for_each_key() {
    let mut vocabulary = Vocabulary::default();
    let mut own = Requirements::new();
    assert!(own.is_empty());
    for (key, text) in [
        ("b", "In 1 2"),
        ("kubernetes.io/hostname", "In n"),
        ("a", "Exists"),
        ("b", "In 2 3"),
    ] {
        own.add(parse_for(key, text, &mut vocabulary), &vocabulary);
    }
    assert!(!own.is_empty());
    // Nobody may ask for a host, so it is not shown.
    assert_eq!(own.render(&vocabulary), "a Exists, b In [2]");
    let keys = |own: &Requirements, vocabulary: &Vocabulary| -> Vec<String> {
        own.to_api(vocabulary)
            .into_iter()
            .map(|entry| entry.key)
            .collect()
    };
    assert_eq!(
        keys(&own, &vocabulary),
        ["a", "b", "kubernetes.io/hostname"]
    );
    own.replace(parse_for("b", "In 9", &mut vocabulary));
    own.replace(parse_for("c", "In 1", &mut vocabulary));
    assert_eq!(own.render(&vocabulary), "a Exists, b In [9], c In [1]");
    own.remove(vocabulary.intern_key("b"));
    assert_eq!(own.render(&vocabulary), "a Exists, c In [1]");
    let mut other = Requirements::new();
    other.add(parse_for("c", "In 1 2", &mut vocabulary), &vocabulary);
    other.add(parse_for("d", "NotIn x", &mut vocabulary), &vocabulary);
    own.add_all(&other, &vocabulary);
    assert_eq!(own.render(&vocabulary), "a Exists, c In [1], d NotIn [x]");
}

#[test]
fn sets_contradict_each_other_where_one_key_does() {
    let mut vocabulary = Vocabulary::default();
    let make = |entries: &[(&str, &str)], vocabulary: &mut Vocabulary| {
        let mut own = Requirements::new();
        for (key, text) in entries {
            own.add(parse_for(key, text, vocabulary), vocabulary);
        }
        own
    };
    let own = make(
        &[("a", "In 1 2"), ("b", "Exists"), ("c", "DoesNotExist")],
        &mut vocabulary,
    );
    for (entries, expected) in [
        (&[][..], &[][..]),
        (&[("a", "In 2"), ("b", "In x")], &[]),
        (&[("c", "NotIn x")], &[]),
        (
            &[("b", "In x"), ("a", "In 3")],
            &["key a, a In [3] not in a In [1 2]"],
        ),
        (
            &[("c", "Exists"), ("b", "DoesNotExist"), ("a", "In 1")],
            &[
                "key b, b DoesNotExist not in b Exists",
                "key c, c Exists not in c DoesNotExist",
            ],
        ),
        // The first key by name that nobody defines is all that is said.
        (
            &[("z", "In 1"), ("y", "In 1"), ("a", "In 3")],
            &["label \"y\" does not have known values"],
        ),
    ] {
        let asked = make(entries, &mut vocabulary);
        let found = own.incompatibilities(&asked, Undefined::Refused, &vocabulary);
        assert_eq!(found, expected, "{entries:?}");
        let compatible = own.compatible(&asked, Undefined::Refused, &vocabulary);
        assert_eq!(compatible, expected.is_empty(), "{entries:?}");
        if entries.iter().all(|(key, _)| *key < "d") {
            assert_eq!(
                own.intersects(&asked, &vocabulary),
                compatible,
                "{entries:?}"
            );
            assert_eq!(
                asked.intersects(&own, &vocabulary),
                compatible,
                "{entries:?}"
            );
        }
    }
}

#[test]
fn hints_do_not_name_well_known_labels_where_a_node_exists() {
    let mut vocabulary = Vocabulary::default();
    let asked = set(parse_for("zone", "In x", &mut vocabulary), &vocabulary);
    let texts = Requirements::new().incompatibilities(&asked, Undefined::Refused, &vocabulary);
    assert_eq!(texts, ["label \"zone\" does not have known values"]);
}
