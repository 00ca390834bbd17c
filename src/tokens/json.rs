//! JSON in which no object names a key twice: two readers of such an object may see two values,
//! and a token must mean one thing.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// An object, at every depth without repeated keys.
pub(super) fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice::<Unambiguous>(bytes) {
        Ok(Unambiguous(Value::Object(map))) => Some(map),
        Ok(_) | Err(_) => None,
    }
}

struct Unambiguous(Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Unambiguous;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without repeated keys")
    }

    fn visit_unit<E>(self) -> Result<Unambiguous, E> {
        Ok(Unambiguous(Value::Null))
    }

    fn visit_bool<E>(self, it: bool) -> Result<Unambiguous, E> {
        Ok(Unambiguous(Value::Bool(it)))
    }

    fn visit_i64<E>(self, it: i64) -> Result<Unambiguous, E> {
        Ok(Unambiguous(Value::from(it)))
    }

    fn visit_u64<E>(self, it: u64) -> Result<Unambiguous, E> {
        Ok(Unambiguous(Value::from(it)))
    }

    fn visit_f64<E: Error>(self, it: f64) -> Result<Unambiguous, E> {
        let number = Number::from_f64(it).ok_or_else(|| E::custom("not a finite number"))?;
        Ok(Unambiguous(Value::Number(number)))
    }

    fn visit_str<E>(self, it: &str) -> Result<Unambiguous, E> {
        Ok(Unambiguous(Value::from(it)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Unambiguous, A::Error> {
        let mut items = Vec::new();
        while let Some(Unambiguous(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Unambiguous(Value::Array(items)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unambiguous, A::Error> {
        let mut found = Map::new();
        while let Some((key, Unambiguous(value))) = map.next_entry::<String, Unambiguous>()? {
            if found.insert(key, value).is_some() {
                return Err(A::Error::custom("a key is repeated"));
            }
        }
        Ok(Unambiguous(Value::Object(found)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_key_at_any_depth_is_no_object() {
        let check = |text: &str, ok: bool| {
            assert_eq!(object(text.as_bytes()).is_some(), ok, "{text}");
        };
        check(r#"{"a":1,"b":[{"a":null},{"a":2.5}],"c":"x","d":true,"e":-1}"#, true);
        check(r#"{"a":1,"a":1}"#, false);
        check(r#"{"a":1,"\u0061":2}"#, false);
        check(r#"{"b":{"a":1,"a":2}}"#, false);
        check(r#"{"b":[{"a":1,"a":2}]}"#, false);
        check("[1]", false);
        check("\"text\"", false);
        check("", false);
        check(r#"{"a":1} x"#, false);
    }
}
