//! Values of configuration keys: how each is read from TOML or text, and printed again.
//!
//! Sizes are `"64MiB"` (B, KiB, MiB, GiB, TiB), durations `"1s"` (ms, s, m, h, d); both are always
//! printed in the largest unit that divides them.

use std::{fmt, path::PathBuf, time::Duration};

use millstream_engine::group::{AssignorName, MigrationPolicy};

/// Something a key can hold.
pub trait Value: Sized + Clone + PartialEq {
    /// What the key expects, for messages: "a size like \"64MiB\"".
    const EXPECTED: &'static str;

    /// Reads it from an environment variable or a flag. `None` when it is not what is expected.
    fn from_text(text: &str) -> Option<Self>;

    /// Reads it from a file. `None` when it is not what is expected.
    fn from_toml(value: &toml::Value) -> Option<Self> {
        Self::from_text(value.as_str()?)
    }

    /// Prints it as TOML.
    fn to_toml(&self) -> String;
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// `count` times 1,024 bytes.
    #[must_use]
    pub const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    /// `count` times 1,048,576 bytes.
    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// `count` times 1,073,741,824 bytes.
    #[must_use]
    pub const fn gib(count: u64) -> Self {
        Self(count << 30)
    }

    /// The bytes as a length in memory; as much as an address can hold where it is more.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

const SIZE_UNITS: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

const DURATION_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Splits "64MiB" into 64 and the factor of its unit.
fn parse_with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Prints in the largest unit that divides the value.
fn print_with_unit(value: u64, units: &[(&str, u64)], zero: &str) -> String {
    if value == 0 {
        return zero.to_owned();
    }
    let unit = units
        .iter()
        .find(|(_, factor)| value.is_multiple_of(*factor));
    unit.map_or_else(
        || value.to_string(),
        |(name, factor)| format!("{}{name}", value / factor),
    )
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print_with_unit(self.0, &SIZE_UNITS, "0B"))
    }
}

impl Value for ByteSize {
    const EXPECTED: &'static str = "a size with a unit (B, KiB, MiB, GiB, TiB), like \"64MiB\"";

    fn from_text(text: &str) -> Option<Self> {
        parse_with_unit(text, &SIZE_UNITS).map(Self)
    }

    fn to_toml(&self) -> String {
        format!("\"{self}\"")
    }
}

impl Value for Duration {
    const EXPECTED: &'static str = "a duration with a unit (ms, s, m, h, d), like \"500ms\"";

    fn from_text(text: &str) -> Option<Self> {
        parse_with_unit(text, &DURATION_UNITS).map(Self::from_millis)
    }

    fn to_toml(&self) -> String {
        let ms = u64::try_from(self.as_millis()).unwrap_or(u64::MAX);
        format!("\"{}\"", print_with_unit(ms, &DURATION_UNITS, "0s"))
    }
}

// The least number is for `check.rs`, key by key: most keys do not take 0, or what is below it.
macro_rules! number_value {
    ($($number:ty => $expected:literal),*) => {$(
        impl Value for $number {
            const EXPECTED: &'static str = $expected;

            fn from_text(text: &str) -> Option<Self> {
                text.parse().ok()
            }

            fn from_toml(value: &toml::Value) -> Option<Self> {
                value.as_integer()?.try_into().ok()
            }

            fn to_toml(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

number_value! {
    u16 => "a whole number, at most 65535",
    u32 => "a whole number, at most 4294967295",
    i32 => "a whole number, at most 2147483647",
    u64 => "a whole number"
}

impl Value for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        value.as_bool()
    }

    fn to_toml(&self) -> String {
        self.to_string()
    }
}

/// Quotes as TOML does.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

impl Value for String {
    const EXPECTED: &'static str = "a text";

    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn to_toml(&self) -> String {
        quoted(self)
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn from_text(text: &str) -> Option<Self> {
        (!text.is_empty() && !text.contains('\0')).then(|| Self::from(text))
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

/// `host:port`; the host may be a name, an IPv4 address or `[IPv6]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Name or address, without brackets.
    pub host: String,
    /// Port; 0 lets the system choose.
    pub port: u16,
}

impl HostPort {
    /// Puts them together.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host = match bare {
            Some(address) => address.parse::<std::net::Ipv6Addr>().ok()?.to_string(),
            None if host.is_empty() || host.contains([':', '/', ' ', '[', ']']) => return None,
            None if host.chars().any(char::is_control) => return None,
            None => host.to_owned(),
        };
        Some(Self {
            host,
            port: port.parse().ok()?,
        })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Value for HostPort {
    const EXPECTED: &'static str = "an address like \"127.0.0.1:9192\"";

    fn from_text(text: &str) -> Option<Self> {
        Self::parse(text)
    }

    fn to_toml(&self) -> String {
        format!("\"{self}\"")
    }
}

/// An address that may be left empty.
impl Value for Option<HostPort> {
    const EXPECTED: &'static str = "an address like \"broker1.example:9192\", or \"\"";

    fn from_text(text: &str) -> Option<Self> {
        if text.is_empty() {
            Some(None)
        } else {
            HostPort::parse(text).map(Some)
        }
    }

    fn to_toml(&self) -> String {
        self.as_ref()
            .map_or_else(|| "\"\"".to_owned(), HostPort::to_toml)
    }
}

/// `BIND=ADVERTISED`: where a listener listens, and where clients reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdvertisedListener {
    /// Where it listens.
    pub address: HostPort,
    /// What clients that came in through it are told.
    pub advertised: HostPort,
}

impl AdvertisedListener {
    fn parse(text: &str) -> Option<Self> {
        let (address, advertised) = text.split_once('=')?;
        Some(Self {
            address: HostPort::parse(address)?,
            advertised: HostPort::parse(advertised)?,
        })
    }
}

impl fmt::Display for AdvertisedListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.address, self.advertised)
    }
}

/// Any number of listeners, with commas between.
impl Value for Vec<AdvertisedListener> {
    const EXPECTED: &'static str =
        "listeners like \"0.0.0.0:9093=broker.internal:9093\" with commas between, or \"\"";

    fn from_text(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::new());
        }
        let listeners = text.split(',').map(str::trim);
        listeners.map(AdvertisedListener::parse).collect()
    }

    fn to_toml(&self) -> String {
        let listeners: Vec<String> = self.iter().map(ToString::to_string).collect();
        quoted(&listeners.join(","))
    }
}

impl Value for AssignorName {
    const EXPECTED: &'static str = "\"uniform\", \"range\" or \"sticky\"";

    fn from_text(text: &str) -> Option<Self> {
        Self::parse(text)
    }

    fn to_toml(&self) -> String {
        format!("\"{}\"", self.as_str())
    }
}

impl Value for MigrationPolicy {
    const EXPECTED: &'static str = "\"disabled\", \"upgrade\", \"downgrade\" or \"bidirectional\"";

    fn from_text(text: &str) -> Option<Self> {
        Self::parse(text)
    }

    fn to_toml(&self) -> String {
        format!("\"{}\"", self.as_str())
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl Value for LogFormat {
    const EXPECTED: &'static str = "\"text\" or \"json\"";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    fn to_toml(&self) -> String {
        match self {
            Self::Text => "\"text\"".to_owned(),
            Self::Json => "\"json\"".to_owned(),
        }
    }
}

/// The least important lines that are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLevel(pub tracing::Level);

impl Value for LogLevel {
    const EXPECTED: &'static str = "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"";

    fn from_text(text: &str) -> Option<Self> {
        let known = ["error", "warn", "info", "debug", "trace"];
        known.contains(&text).then(|| text.parse().ok().map(Self))?
    }

    fn to_toml(&self) -> String {
        format!("\"{}\"", self.0.as_str().to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_need_a_unit_and_print_in_the_largest() {
        assert_eq!(ByteSize::from_text("64MiB"), Some(ByteSize::mib(64)));
        assert_eq!(ByteSize::from_text("1 KiB"), Some(ByteSize(1024)));
        assert_eq!(ByteSize(1_048_588).to_toml(), "\"1048588B\"");
        for bad in [
            "64",
            "MiB",
            "64MB",
            "64mib",
            "-1B",
            "1.5MiB",
            "",
            "99999999999TiB",
        ] {
            assert_eq!(ByteSize::from_text(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(Duration::from_text("1s"), Some(Duration::from_secs(1)));
        assert_eq!(
            Duration::from_text("90m").map(|d| d.to_toml()),
            Some("\"90m\"".into())
        );
        for bad in ["1", "s", "1 hour", "1us", "-5s"] {
            assert_eq!(Duration::from_text(bad), None, "{bad}");
        }
    }

    #[test]
    fn addresses_have_host_and_port() {
        for good in ["127.0.0.1:9192", "[::1]:0", "broker-1.example:65535"] {
            let address = HostPort::from_text(good).expect(good);
            assert_eq!(address.to_string(), good);
        }
        for bad in [
            "",
            ":9192",
            "host",
            "host:",
            "host:65536",
            "::1:9192",
            "a b:1",
            "http://a:1",
        ] {
            assert_eq!(HostPort::from_text(bad), None, "{bad}");
        }
    }

    #[test]
    fn listeners_have_an_address_and_an_advertised_one_each() {
        for good in [
            "",
            "0.0.0.0:9093=broker.internal:9093",
            "[::]:1=broker:2,127.0.0.1:3=[::1]:4",
        ] {
            let listeners = Vec::<AdvertisedListener>::from_text(good).expect(good);
            assert_eq!(listeners.to_toml(), format!("\"{good}\""));
        }
        let two = Vec::<AdvertisedListener>::from_text("a:1=b:2, c:3=d:4").expect("two");
        assert_eq!(two[1].address, HostPort::new("c", 3));
        assert_eq!(two[1].advertised, HostPort::new("d", 4));
        for bad in [
            "0.0.0.0:9093",
            "0.0.0.0:9093=",
            "0.0.0.0:9093=broker.internal",
            "0.0.0.0=broker.internal:9093",
            "=broker.internal:9093",
            "0.0.0.0:9093=broker.internal:65536",
            "a:1=b:2=c:3",
            "a:1=b:2,",
            "a:1=b:2 c:3=d:4",
            "a:1 = b:2",
        ] {
            assert_eq!(Vec::<AdvertisedListener>::from_text(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn sizes_and_durations_read_what_they_print(number in 0u64..u64::MAX) {
            let size = ByteSize(number);
            prop_assert_eq!(ByteSize::from_text(&size.to_string()), Some(size));
            let duration = Duration::from_millis(number);
            let printed = duration.to_toml();
            prop_assert_eq!(Duration::from_text(printed.trim_matches('"')), Some(duration));
        }
    }
}
