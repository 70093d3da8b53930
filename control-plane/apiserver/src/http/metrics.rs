//! Request counts, in Prometheus' text form under upstream's names.

use parking_lot::Mutex;
use std::{collections::BTreeMap, fmt::Write};

/// Counts requests by verb, resource and code: a bounded set of labels.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<(&'static str, &'static str, u16), u64>>,
}

impl Metrics {
    /// Counts one answered request. `resource` is empty for other paths.
    pub fn count(&self, verb: &'static str, resource: &'static str, code: u16) {
        *self.requests.lock().entry((verb, resource, code)).or_default() += 1;
    }

    /// The text for `/metrics`.
    pub fn text(&self) -> String {
        let mut text = String::from(
            "# HELP apiserver_request_total Requests answered, by verb, resource and code.\n\
             # TYPE apiserver_request_total counter\n",
        );
        for ((verb, resource, code), count) in &*self.requests.lock() {
            let verb = verb.to_uppercase();
            let _ = writeln!(
                text,
                "apiserver_request_total{{code=\"{code}\",resource=\"{resource}\",verb=\"{verb}\"}} {count}"
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_add_up() {
        let metrics = Metrics::default();
        metrics.count("get", "pods", 200);
        metrics.count("get", "pods", 200);
        assert!(metrics.text().ends_with("{code=\"200\",resource=\"pods\",verb=\"GET\"} 2\n"));
    }
}
