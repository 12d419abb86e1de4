//! Identifiers as Databricks gives them: 64-bit, random, unordered, often above 2^53. They are never held as floats.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(IdVisitor).map(Self)
            }
        }
    };
}

id! {
    /// A run, a task's run or a repaired task's run: Databricks numbers all of them alike.
    RunId
}
id! {
    /// A job. One-off runs have a hidden one, too.
    JobId
}
id! {
    /// A repair of a run.
    RepairId
}

/// Accepts the integer and the string form: some gateways turn large integers into strings.
struct IdVisitor;

impl de::Visitor<'_> for IdVisitor {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a 64-bit id as an integer or a string of digits")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<i64, E> {
        Ok(value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<i64, E> {
        i64::try_from(value).map_err(|_| E::custom(format!("id {value} is above 2^63")))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<i64, E> {
        value.parse().map_err(|_| E::custom("an id that is not a 64-bit integer"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_above_2_to_the_53_survives_in_both_forms() {
        for text in ["8805518563412967921", "\"8805518563412967921\""] {
            assert_eq!(serde_json::from_str::<RunId>(text).unwrap(), RunId(8_805_518_563_412_967_921));
        }
    }

    #[test]
    fn what_is_no_64_bit_integer_is_refused() {
        for text in ["9223372036854775808", "1.5", "\"12a\"", "null", "true"] {
            assert!(serde_json::from_str::<RunId>(text).is_err(), "{text}");
        }
    }
}
