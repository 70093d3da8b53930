//! `--sort-by`: the order of objects by what a JSONPath expression finds
//! (upstream: `kubectl/pkg/cmd/get/sorter.go`).

use crate::output::jsonpath::{self, Template};
use anyhow::Result;
use serde_json::Value;
use std::cmp::Ordering;

/// An order of objects.
pub(super) struct Order {
    path: Template,
}

impl Order {
    /// # Errors
    /// The expression does not parse.
    pub(super) fn parse(text: &str) -> Result<Self> {
        Ok(Self { path: Template::parse_relaxed(text)? })
    }

    /// Numbers by value, also when written as text; other text by its letters;
    /// who has none comes first.
    pub(super) fn compare(&self, a: &Value, b: &Value) -> Ordering {
        let (a, b) = (self.path.find(a), self.path.find(b));
        match (a.first(), b.first()) {
            (Some(a), Some(b)) => {
                let (a, b) = (jsonpath::text(a), jsonpath::text(b));
                match (a.parse::<f64>(), b.parse::<f64>()) {
                    (Ok(a), Ok(b)) => a.total_cmp(&b),
                    _ => a.cmp(&b),
                }
            }
            (a, b) => a.is_some().cmp(&b.is_some()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_count_by_value() {
        let order = Order::parse(".n").expect("valid");
        let mut objects = vec![json!({"n": 10}), json!({"n": 9}), json!({})];
        objects.sort_by(|a, b| order.compare(a, b));
        assert_eq!(objects, [json!({}), json!({"n": 9}), json!({"n": 10})]);
        let mut objects = vec![json!({"n": "30"}), json!({"n": "4"}), json!({"n": "c9"}), json!({"n": "c10"})];
        objects.sort_by(|a, b| order.compare(a, b));
        assert_eq!(objects, [json!({"n": "4"}), json!({"n": "30"}), json!({"n": "c10"}), json!({"n": "c9"})]);
    }
}
