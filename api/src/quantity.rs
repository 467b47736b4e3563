//! Quantities: `100m`, `1Gi`, `1e3`; their canonical form and their value.
//!
//! The arithmetic is exact on decimal digits, so that no input overflows; only [`Quantity::milli`] saturates.

/// The refusal of what does not look like a quantity at all.
const FORMAT: &str = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const SUFFIX: &str = "unable to parse quantity's suffix";

/// The smallest power of ten that is kept; what lies below is rounded away from zero.
const NANO: i64 = -9;

/// A quantity that was parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantity {
    canonical: String,
    /// Thousandths, rounded up; saturates.
    milli: i128,
}

/// How a quantity was written, and is written again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    DecimalSi,
    DecimalExponent,
    BinarySi,
}

impl Quantity {
    /// # Errors
    /// The text of the API's refusal when it is no quantity.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err(FORMAT.to_owned());
        }
        let (negative, rest) = match text.as_bytes() {
            [b'-', ..] => (true, &text[1..]),
            [b'+', ..] => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, rest) = digits(rest);
        let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), digits);
        let (format, exponent) = parse_suffix(suffix)?;

        let mut number = Decimal::new(whole, fraction);
        if format == Format::BinarySi {
            for _ in 0..exponent {
                number.times_1024();
            }
        } else {
            number.exponent += exponent;
        }
        number.round_up_to(NANO);
        if format == Format::BinarySi {
            number.cap();
        }
        Ok(Self { canonical: number.render(negative, format), milli: number.milli(negative) })
    }

    /// The canonical form (`1000m` is `1`).
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// In thousandths, rounded up.
    #[must_use]
    pub fn milli(&self) -> i128 {
        self.milli
    }

    /// In whole units, rounded up.
    #[must_use]
    pub fn value(&self) -> i128 {
        self.milli.div_euclid(1000) + i128::from(self.milli.rem_euclid(1000) != 0)
    }
}

/// Splits off the leading digits.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// The format that a suffix asks for, and its power of ten, or of 1024 for binary ones.
fn parse_suffix(suffix: &str) -> Result<(Format, i64), String> {
    let letters = suffix.bytes().take_while(|byte| b"eEinumkKMGTP".contains(byte)).count();
    let rest = suffix[letters..].strip_prefix(['-', '+']).unwrap_or(&suffix[letters..]);
    if !digits(rest).1.is_empty() {
        return Err(FORMAT.to_owned());
    }
    let decimal = |exponent| Ok((Format::DecimalSi, exponent));
    let binary = |exponent| Ok((Format::BinarySi, exponent));
    match suffix {
        "" => decimal(0),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        other => match other.strip_prefix(['e', 'E']).map(str::parse::<i32>) {
            Some(Ok(exponent)) => Ok((Format::DecimalExponent, i64::from(exponent))),
            Some(Err(_)) | None => Err(SUFFIX.to_owned()),
        },
    }
}

/// `digits` × 10^`exponent`; digits have no leading and no trailing zeros, most significant first. Zero has none at all.
struct Decimal {
    digits: Vec<u8>,
    exponent: i64,
}

impl Decimal {
    fn new(whole: &str, fraction: &str) -> Self {
        let digits = whole.bytes().chain(fraction.bytes()).map(|byte| byte - b'0').collect();
        let mut number = Self { digits, exponent: -i64::try_from(fraction.len()).unwrap_or(i64::MAX) };
        number.trim();
        number
    }

    fn trim(&mut self) {
        while self.digits.last() == Some(&0) {
            self.digits.pop();
            self.exponent += 1;
        }
        let leading = self.digits.iter().take_while(|digit| **digit == 0).count();
        self.digits.drain(..leading);
        if self.digits.is_empty() {
            self.exponent = 0;
        }
    }

    fn times_1024(&mut self) {
        let mut carry = 0u32;
        for digit in self.digits.iter_mut().rev() {
            carry += u32::from(*digit) * 1024;
            *digit = low_digit(carry);
            carry /= 10;
        }
        let mut high = Vec::new();
        while carry > 0 {
            high.push(low_digit(carry));
            carry /= 10;
        }
        high.reverse();
        self.digits.splice(0..0, high);
        self.trim();
    }

    /// Drops what lies below 10^`limit`, away from zero: who asks for something gets something.
    fn round_up_to(&mut self, limit: i64) {
        if self.digits.is_empty() || self.exponent >= limit {
            return;
        }
        let below = usize::try_from(limit - self.exponent).unwrap_or(usize::MAX);
        self.digits.truncate(self.digits.len().saturating_sub(below));
        self.exponent = limit;
        for digit in self.digits.iter_mut().rev() {
            if *digit < 9 {
                *digit += 1;
                self.trim();
                return;
            }
            *digit = 0;
        }
        self.digits.insert(0, 1);
        self.trim();
    }

    /// Binary quantities end at the largest 64-bit number.
    fn cap(&mut self) {
        if self.scaled(0).is_none_or(|value| value > i128::from(i64::MAX)) {
            *self = Self::new(&i64::MAX.to_string(), "");
        }
    }

    /// The number in units of 10^`unit`, rounded up; none when it does not fit.
    fn scaled(&self, unit: i64) -> Option<i128> {
        let mut value = 0i128;
        let shift = self.exponent - unit;
        // The first part counts in 10^unit, what follows only rounds up.
        let length = i64::try_from(self.digits.len()).ok()?;
        let kept = usize::try_from((length + shift.min(0)).max(0)).ok()?;
        for digit in &self.digits[..kept] {
            value = value.checked_mul(10)?.checked_add(i128::from(*digit))?;
        }
        if shift > 0 && value != 0 {
            value = value.checked_mul(10i128.checked_pow(u32::try_from(shift).ok()?)?)?;
        }
        Some(value + i128::from(kept < self.digits.len()))
    }

    fn milli(&self, negative: bool) -> i128 {
        if !negative || self.digits.is_empty() {
            return self.scaled(-3).unwrap_or(i128::MAX);
        }
        // Up is towards zero here.
        match self.scaled(-3) {
            Some(value) => -(value - i128::from(self.exponent < -3)),
            None => i128::MIN + 1,
        }
    }

    fn render(&self, negative: bool, format: Format) -> String {
        if self.digits.is_empty() {
            return "0".to_owned();
        }
        let sign = if negative { "-" } else { "" };
        if format == Format::BinarySi
            && self.exponent >= 0
            && let Some(mut value) = self.scaled(0).filter(|value| *value >= 1024)
        {
            let mut power = 0;
            while value % 1024 == 0 {
                value /= 1024;
                power += 1;
            }
            return format!("{sign}{value}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][power]);
        }
        // Fractions and what is less than 1Ki show in decimal, so that nothing is lost.
        let exponent = self.exponent.div_euclid(3) * 3;
        let zeros = "0".repeat(usize::try_from(self.exponent - exponent).unwrap_or_default());
        let digits = self.digits.iter().map(|digit| char::from(b'0' + digit)).collect::<String>();
        let suffix = match (format, exponent) {
            (_, 0) => String::new(),
            (Format::DecimalSi | Format::BinarySi, -9..=18) => ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"]
                [usize::try_from(exponent / 3 + 3).unwrap_or(3)]
            .to_owned(),
            (Format::DecimalSi | Format::BinarySi | Format::DecimalExponent, _) => format!("e{exponent}"),
        };
        format!("{sign}{digits}{zeros}{suffix}")
    }
}

fn low_digit(number: u32) -> u8 {
    u8::try_from(number % 10).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        assert_eq!(Quantity::parse(text).map(|quantity| quantity.canonical), Ok(want.to_owned()), "{text}");
    }

    #[test]
    fn canonical_forms() {
        for (text, want) in [
            ("0", "0"),
            ("-0", "0"),
            ("000", "0"),
            ("0Gi", "0"),
            ("1000m", "1"),
            ("0.1", "100m"),
            (".5", "500m"),
            ("1.", "1"),
            ("+1", "1"),
            ("-1500m", "-1500m"),
            ("1000", "1k"),
            ("1500", "1500"),
            ("100000", "100k"),
            ("1500m", "1500m"),
            ("1.5Gi", "1536Mi"),
            ("1024Ki", "1Mi"),
            ("1023Ki", "1023Ki"),
            ("0.5Ki", "512"),
            ("1024", "1024"),
            ("1.0001Ki", "1024102400u"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("1e4", "10e3"),
            ("1e-3", "1e-3"),
            ("12e+2", "1200"),
            ("1E", "1E"),
            ("1000E", "1e21"),
            ("1n", "1n"),
            ("0.1n", "1n"),
            ("1.0000000001", "1000000001n"),
            ("0.9999999999", "1"),
            ("1e-100", "1e-9"),
            ("8Ei", "9223372036854775807"),
            ("7Ei", "7Ei"),
            ("100Ei", "9223372036854775807"),
            ("999999999999999999999", "999999999999999999999"),
        ] {
            check(text, want);
        }
    }

    #[test]
    fn refusals() {
        for (text, want) in [
            ("", FORMAT),
            ("x", FORMAT),
            ("1 Gi", FORMAT),
            ("1Gi ", FORMAT),
            ("1.2.3", FORMAT),
            ("--1", SUFFIX),
            ("1ki", SUFFIX),
            ("1K", SUFFIX),
            ("1e", SUFFIX),
            ("1mm", SUFFIX),
            ("1i", SUFFIX),
            ("1e99999999999", SUFFIX),
        ] {
            assert_eq!(Quantity::parse(text), Err(want.to_owned()), "{text}");
        }
    }

    #[test]
    fn values_are_rounded_up() {
        for (text, milli, value) in [
            ("100m", 100, 1),
            ("1n", 1, 1),
            ("-1n", 0, 0),
            ("-1500m", -1500, -1),
            ("2", 2000, 2),
            ("1Gi", 1_073_741_824_000, 1_073_741_824),
            ("1.0005", 1001, 2),
            ("1e3", 1_000_000, 1000),
        ] {
            let quantity = Quantity::parse(text).unwrap();
            assert_eq!((quantity.milli(), quantity.value()), (milli, value), "{text}");
        }
        assert_eq!(Quantity::parse("1e2000000000").unwrap().milli(), i128::MAX);
    }

    #[test]
    fn nothing_is_nothing_with_a_sign_too() {
        for text in ["-0", "-0n", "-0.0u", "0Ki"] {
            assert_eq!(Quantity::parse(text).unwrap().milli(), 0, "{text}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "[-+]?[0-9.]{0,40}[eEinumkKMGTP]{0,3}[-+]?[0-9]{0,9}|.*") {
            let _ = Quantity::parse(&text);
        }

        #[test]
        fn canonical_form_is_a_fixed_point_with_the_same_value(
            text in "-?[0-9]{1,12}(\\.[0-9]{1,12})?(n|u|m|k|M|G|Ki|Mi|Gi|Ti|e3|e-3|E5|)"
        ) {
            let quantity = Quantity::parse(&text).unwrap();
            let again = Quantity::parse(quantity.canonical()).unwrap();
            prop_assert_eq!(&again, &quantity);
        }

        #[test]
        fn order_is_the_order_of_numbers(left in 0u32..1_000_000, right in 0u32..1_000_000) {
            let milli = |count| Quantity::parse(&format!("{count}m")).unwrap().milli();
            let kibi = |count| Quantity::parse(&format!("{count}Ki")).unwrap().milli();
            prop_assert_eq!(left.cmp(&right), milli(left).cmp(&milli(right)));
            prop_assert_eq!(left.cmp(&right), kibi(left).cmp(&kibi(right)));
        }
    }
}
