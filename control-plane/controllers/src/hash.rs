//! Names for contents: a short hash of a JSON value, as in the names of
//! ReplicaSets and ControllerRevisions. Pure. Upstream hashes a dump of Go
//! structs, so the hashes differ; only stability matters, since a content is
//! recognised by itself and not by its hash.

use serde_json::Value;

/// FNV-1a over the value's JSON (whose keys are sorted) and the collision
/// count, in letters that form no words.
pub fn of(value: &Value, collision_count: Option<i32>) -> String {
    let mut hash = fnv1a(FNV_OFFSET, value.to_string().as_bytes());
    if let Some(count) = collision_count {
        hash = fnv1a(hash, &count.to_le_bytes());
    }
    safe_encode(&hash.to_string())
}

/// A value without the difference between empty and absent.
pub fn without_empty(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (name, without_empty(value)));
            Value::Object(fields.filter(|(_, value)| !is_empty(value)).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_empty).collect()),
        other => other,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        // An empty object means something: `emptyDir: {}`.
        Value::Object(_) | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

const FNV_OFFSET: u32 = 0x811c_9dc5;

fn fnv1a(seed: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(seed, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Upstream's `rand.SafeEncodeString`.
fn safe_encode(text: &str) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    text.bytes().map(|byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()])).collect()
}
