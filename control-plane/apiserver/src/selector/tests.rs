use super::*;
use serde_json::json;

fn labels(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[test]
fn every_operator_matches_as_upstream() {
    let web = labels(json!({"app": "web", "tier": "front", "size": "3"}));
    for (selector, expected) in [
        ("", true),
        ("app=web", true),
        ("app==web,tier=front", true),
        ("app=db", false),
        ("app!=db,other!=x", true),
        ("app in (db, web)", true),
        ("app notin (db),other notin (x)", true),
        ("app", true),
        ("!app", false),
        ("!other", true),
        ("size>2,size<4", true),
        ("size>3", false),
        ("app in ()", false),
        ("in in (in)", false),
    ] {
        assert_eq!(Labels::parse(selector).unwrap().matches(&web), expected, "{selector}");
    }
}

#[test]
fn parse_errors_are_upstreams() {
    for (selector, expected) in [
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a=b!c", "found '!', expected: ',' or 'end of string'"),
        ("a,", "found '', expected: identifier after ','"),
        ("=a", "found '=', expected: !, identifier, or 'end of string'"),
        (
            "a>x",
            "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
        ),
        ("a(b", "unable to parse requirement: found '(', expected: in, notin, =, ==, !=, gt, lt"),
    ] {
        assert_eq!(Labels::parse(selector).unwrap_err(), expected, "{selector}");
    }
}

#[test]
fn objects_and_strings_print_alike() {
    let object = json!({"matchLabels": {"b": "1"}, "matchExpressions": [
        {"key": "a", "operator": "In", "values": ["y", "x"]}, {"key": "c", "operator": "DoesNotExist"}]});
    let selector = Labels::from_object(&object).unwrap();
    assert_eq!(selector.to_string(), "a in (x,y),b=1,!c");
    assert_eq!(Labels::parse(&selector.to_string()).unwrap(), selector);
    assert_eq!(Labels::from_object(&Value::Null), None);
}

#[test]
fn field_selectors_parse_escape_and_match() {
    let fields = Fields::parse(r"metadata.name=a\,b,status.phase!=Running").unwrap();
    let values = |field: &str| if field == "metadata.name" { Some("a,b") } else { None };
    assert!(fields.matches(values));
    assert_eq!(fields.required_value("metadata.name"), Some("a,b"));
    assert_eq!(
        Fields::parse("metadata.name").unwrap_err(),
        "invalid selector: 'metadata.name'; can't understand 'metadata.name'"
    );
}
