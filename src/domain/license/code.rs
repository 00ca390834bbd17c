//! Codes that people read out and type: ids of licenses and activations, and activation keys.
//!
//! Crockford's base32 without the letters I, L, O and U, in groups of four, with a checksum at the
//! end: read in any case, with any spaces and dashes, with `o` for `0` and `i` or `l` for `1`. A
//! mistyped character or two that changed places are always found out.

use std::fmt;
use std::str::FromStr;

use super::super::InvalidId;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The largest primes below 32² and 32⁴: what two and four check characters count to.
const PRIMES: (u32, u32) = (1_021, 1_048_573);

/// The number that a character stands for.
fn digit(c: char) -> Option<u8> {
    let c = match c.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        c => c,
    };
    let place = ALPHABET.iter().position(|it| char::from(*it) == c)?;
    u8::try_from(place).ok()
}

/// The digits of random bytes: five bits of each.
fn digits<const N: usize>(random: [u8; N]) -> [u8; N] {
    random.map(|it| it & 31)
}

/// What is left of the digits' number, divided by the prime for so many check characters.
fn check_of(digits: &[u8], prime: u32) -> u32 {
    let step = |sum: u64, digit: &u8| (sum * 32 + u64::from(*digit)) % u64::from(prime);
    u32::try_from(digits.iter().fold(0, step)).unwrap_or_default()
}

fn check_digits(digits: &[u8], checks: usize) -> impl Iterator<Item = u8> {
    let prime = if checks == 2 { PRIMES.0 } else { PRIMES.1 };
    let check = check_of(digits, prime);
    let digit = move |place: usize| u8::try_from(check >> (5 * place) & 31).unwrap_or_default();
    (0..checks).rev().map(digit)
}

/// `PREFIX-XXXX-XXXX-…` of digits and their check characters.
fn written(prefix: &str, data: &[u8], checks: usize) -> String {
    let mut text = prefix.to_owned();
    for (at, digit) in data.iter().copied().chain(check_digits(data, checks)).enumerate() {
        if at % 4 == 0 {
            text.push('-');
        }
        let letter = ALPHABET.get(usize::from(digit)).copied().unwrap_or(b'0');
        text.push(char::from(letter));
    }
    text
}

/// The digits in a text, without prefix and check characters.
fn read<const N: usize>(prefix: &str, text: &str, checks: usize) -> Result<[u8; N], &'static str> {
    // Far longer than any code with spaces between all its characters.
    if text.len() > 400 {
        return Err("it is too long");
    }
    let spaces = |c: &char| !(c.is_whitespace() || matches!(c, '-' | '–' | '_'));
    let text: String = text.chars().filter(spaces).collect();
    let head = text.get(..prefix.len()).filter(|it| it.eq_ignore_ascii_case(prefix));
    let rest = head.and_then(|_| text.get(prefix.len()..)).ok_or("its beginning is another one")?;
    let all: Option<Vec<u8>> = rest.chars().map(digit).collect();
    let all = all.ok_or("it has characters that none has")?;
    let (data, check) = all.split_first_chunk::<N>().ok_or("it is too short")?;
    if check.len() != checks {
        return Err("it is too short or too long");
    }
    let right = check_digits(data, checks).eq(check.iter().copied());
    right.then_some(*data).ok_or("it is mistyped: its check characters do not fit")
}

macro_rules! code {
    ($(#[$doc:meta])* $name:ident, $what:literal, $prefix:literal, $digits:literal, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; $length]);

        impl $name {
            /// How many random bytes make one; five bits of each are used.
            pub const RANDOM: usize = $digits;

            /// The one that these random bytes make.
            pub fn from_random(random: [u8; $digits]) -> Self {
                let text = written($prefix, &digits(random), 2);
                Self(text.as_bytes().try_into().unwrap_or([b'0'; $length]))
            }

            /// As it is written everywhere.
            pub fn as_str(&self) -> &str {
                std::str::from_utf8(&self.0).unwrap_or_default()
            }

            /// The text's bytes.
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let digits = read::<$digits>($prefix, text, 2);
                digits.map(Self::from_random).map_err(|why| InvalidId::new(text, $what, why))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.as_str())
            }
        }
    };
}

code!(
    /// A license of the publisher, such as `L-7Q2M-4XKD-…`: 90 random bits and a checksum. Knowing
    /// it is half of what a licensee activation needs, so it is no number that counts up.
    LicenseId, "license id", "L", 18, 26
);
code!(
    /// An activation, such as `A-7Q2M-4XKD-9B0C`: 50 random bits and a checksum.
    ActivationId, "activation id", "A", 10, 16
);

/// What is pasted once to bind a tenant to a license: `EK1-` and 140 random bits with a checksum of
/// four characters. A secret: it is shown once, and only a keyed hash of it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct ActivationKey([u8; Self::RANDOM]);

impl ActivationKey {
    /// How many random bytes make one; five bits of each are used.
    pub const RANDOM: usize = 28;

    /// The key that these random bytes make.
    pub fn from_random(random: [u8; Self::RANDOM]) -> Self {
        Self(digits(random))
    }

    /// The key as it is handed to the customer, and as it is hashed.
    pub fn expose(&self) -> String {
        written("EK1", &self.0, 4)
    }
}

/// Shows nothing of it.
impl fmt::Debug for ActivationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ActivationKey(…)")
    }
}

/// The text is no activation key. Says nothing of the text: it may be a mistyped one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no activation key: {0}")]
pub struct InvalidKey(&'static str);

impl FromStr for ActivationKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        read("EK1", text, 4).map(Self).map_err(InvalidKey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(seed: u8) -> LicenseId {
        let mut next = seed;
        LicenseId::from_random([(); LicenseId::RANDOM].map(|()| {
            next = next.wrapping_mul(29).wrapping_add(83);
            next
        }))
    }

    #[test]
    fn a_code_is_read_however_people_write_it() {
        let it = id(7);
        assert_eq!(it.as_str().len(), 26);
        assert!(it.as_str().starts_with("L-"), "{it}");
        let loose = it.as_str().to_ascii_lowercase().replace('-', " ").replace('0', "o");
        for text in [it.to_string(), loose.replace('1', "l"), it.as_str().replace('-', "")] {
            assert_eq!(text.parse(), Ok(it), "{text}");
        }
        let key = ActivationKey::from_random([9; ActivationKey::RANDOM]);
        assert_eq!(key.expose().to_lowercase().parse(), Ok(key.clone()));
        assert_eq!(format!("{key:?}"), "ActivationKey(…)");
        for wrong in ["", "L", "L-", "A-7Q2M", "É-7Q2M", &"L".repeat(401), "EK1-0000"] {
            assert!(wrong.parse::<LicenseId>().is_err(), "{wrong}");
            assert!(wrong.parse::<ActivationKey>().is_err(), "{wrong}");
            assert!(wrong.parse::<ActivationId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_single_mistake_and_every_exchange_is_found_out() {
        let key = ActivationKey::from_random(std::array::from_fn(|at| {
            u8::try_from(at * 7 % 32).unwrap()
        }));
        for text in [id(1).to_string(), id(2).to_string(), key.expose()] {
            let is_code = |text: &str| {
                text.parse::<LicenseId>().is_ok() || text.parse::<ActivationKey>().is_ok()
            };
            let body = text.find('-').unwrap() + 1;
            let letters: Vec<char> = text.chars().collect();
            for at in body..letters.len() {
                for other in ALPHABET.iter().map(|it| char::from(*it)) {
                    let mut wrong = letters.clone();
                    wrong[at] = other;
                    let differs = letters[at] != '-' && letters[at] != other;
                    assert!(!differs || !is_code(&wrong.iter().collect::<String>()));
                }
                for with in body..at {
                    let mut wrong = letters.clone();
                    wrong.swap(at, with);
                    let dash = letters[at] == '-' || letters[with] == '-';
                    let differs = letters[at] != letters[with] && !dash;
                    assert!(!differs || !is_code(&wrong.iter().collect::<String>()));
                }
            }
        }
    }
}
