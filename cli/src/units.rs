//! Durations and sizes as people write and read them.

use std::time::Duration;

use limitless_faas_core::retention;

/// Reads `300ms`, `2s`, `1m30s`, `7d`.
///
/// # Errors
/// Says how a duration is written.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("`{text}` is no duration; write for example 300ms, 2s, 1m30s or 7d");
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let (number, unit, after) = number_and_unit(rest).ok_or_else(bad)?;
        let seconds = number * seconds_in(unit).ok_or_else(bad)?;
        let part = Duration::try_from_secs_f64(seconds).map_err(|_| bad())?;
        total = total.checked_add(part).ok_or_else(bad)?;
        rest = after;
    }
    Ok(total)
}

/// As [`parse_duration`], for limits: zero is none.
///
/// # Errors
/// Says how a duration is written.
pub fn parse_limit(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        limit if limit < Duration::from_millis(1) => Err("a limit is 1ms or more".to_owned()),
        limit => Ok(limit),
    }
}

/// As [`parse_duration`], for how long a result is kept: whole milliseconds, ten years at most.
///
/// # Errors
/// Says how a duration is written, or how long is too long.
pub fn parse_keep_ms(text: &str) -> Result<u64, String> {
    let keep_ms = u64::try_from(parse_duration(text)?.as_millis()).unwrap_or(u64::MAX);
    retention::check(keep_ms).map_err(|error| error.to_string())?;
    Ok(keep_ms)
}

fn number_and_unit(text: &str) -> Option<(f64, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, after) = text.split_at(digits);
    let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
    let (unit, after) = after.split_at(unit);
    Some((number.parse().ok()?, unit.trim(), after))
}

fn seconds_in(unit: &str) -> Option<f64> {
    Some(match unit {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    })
}

const MB: u64 = 1_000_000;

/// Reads a memory limit into whole megabytes, the unit in which platforms count: `256MB`, `1GB`, `512`.
///
/// # Errors
/// Says how a size is written.
pub fn parse_memory_mb(text: &str) -> Result<u64, String> {
    let bad = || format!("`{text}` is no memory size; write for example 256MB or 1GB");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let mb_in_unit = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "m" | "mb" | "mib" => 1.0,
        "g" | "gb" | "gib" => 1024.0,
        _ => return Err(bad()),
    };
    let mb = number.parse::<f64>().map_err(|_| bad())? * mb_in_unit;
    if !(1.0..=1_048_576.0).contains(&mb) {
        return Err(bad());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was just checked")]
    Ok(mb.ceil() as u64)
}

/// Three digits that matter, as `812µs`, `4.12ms`, `1.93s`, `2m05s`.
pub fn duration(us: u64) -> String {
    let precise = |value: f64, unit: &str| match value {
        v if v < 10.0 => format!("{v:.2}{unit}"),
        v if v < 100.0 => format!("{v:.1}{unit}"),
        v => format!("{v:.0}{unit}"),
    };
    match us {
        0..1000 => format!("{us}µs"),
        1000..999_500 => precise(as_f64(us) / 1e3, "ms"),
        999_500..100_000_000 => precise(as_f64(us) / 1e6, "s"),
        100_000_000..3_600_000_000 => format!("{}m{:02}s", us / 60_000_000, us / 1_000_000 % 60),
        _ => format!("{}h{:02}m", us / 3_600_000_000, us / 60_000_000 % 60),
    }
}

/// A limit as it was written: `2s`, `1.5s`, `100ms`. A function knows its limit from its deadline, and may look a moment
/// late, so 1998 is two seconds.
pub fn limit(ms: u64) -> String {
    let ms = if ms % 10 >= 7 { ms.next_multiple_of(10) } else { ms };
    match ms {
        0..1000 => format!("{ms}ms"),
        _ if ms.is_multiple_of(1000) => format!("{}s", ms / 1000),
        _ => format!("{}s", as_f64(ms) / 1e3),
    }
}

/// For showing: what is lost beyond 2^53 nobody sees.
#[expect(clippy::cast_precision_loss, reason = "only ever shown with three digits")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

/// Bytes as `112 B`, `1.2 kB`, `80.0 MB`.
pub fn bytes(count: u64) -> String {
    match count {
        0..1000 => format!("{count} B"),
        1000..MB => format!("{:.1} kB", as_f64(count) / 1e3),
        MB..1_000_000_000 => format!("{:.1} MB", as_f64(count) / 1e6),
        _ => format!("{:.2} GB", as_f64(count) / 1e9),
    }
}

/// `1 invocation`, `3 invocations`.
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_written() {
        let ms = Duration::from_millis;
        for (text, expected) in
            [("300ms", ms(300)), ("2s", ms(2000)), ("1m30s", ms(90_000)), ("0.5s", ms(500))]
        {
            assert_eq!(parse_duration(text), Ok(expected), "{text}");
        }
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for bad in ["", "2", "s", "-1s", "1x", "1.2.3s", "NaNs", "99999999999999999999d"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        assert!(parse_limit("0s").is_err());
    }

    #[test]
    fn memory_reads_as_written() {
        for (text, expected) in
            [("256MB", 256), ("256", 256), ("1GB", 1024), ("0.5GiB", 512), ("128 MiB", 128)]
        {
            assert_eq!(parse_memory_mb(text), Ok(expected), "{text}");
        }
        for bad in ["", "MB", "0", "-1MB", "1TB", "1e9GB", "99999999GB"] {
            assert!(parse_memory_mb(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_and_sizes_show_what_matters() {
        let shown = [7, 4_120, 41_200, 999_499, 999_500, 1_930_000, 75_000_000, 125_000_000, 7_260_000_000];
        let texts: Vec<String> = shown.into_iter().map(duration).collect();
        assert_eq!(texts, ["7µs", "4.12ms", "41.2ms", "999ms", "1.00s", "1.93s", "75.0s", "2m05s", "2h01m"]);
        assert_eq!([limit(2000), limit(1998), limit(100), limit(1500)], ["2s", "2s", "100ms", "1.5s"]);
        assert_eq!([bytes(112), bytes(1234), bytes(80_000_016)], ["112 B", "1.2 kB", "80.0 MB"]);
    }
}
