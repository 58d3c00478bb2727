//! Durations as Go and people write them: `300ms`, `2s`, `1m30s`, `0.5s`.

use std::time::Duration;

/// Reads a duration; a bare number counts seconds, as `of-watchdog` takes it.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let seconds = number.parse::<f64>().ok()? * unit_s(unit)?;
        total = total.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

fn unit_s(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    })
}

/// Writes a duration so that [`parse`] reads it back, to the microsecond.
pub(crate) fn format(duration: Duration) -> String {
    let us = duration.as_micros();
    match us {
        _ if us.is_multiple_of(1_000_000) => format!("{}s", us / 1_000_000),
        _ if us.is_multiple_of(1000) => format!("{}ms", us / 1000),
        _ => format!("{us}us"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_writes() {
        let ms = Duration::from_millis;
        for (text, expected) in
            [("300ms", ms(300)), ("2s", ms(2000)), ("1m30s", ms(90_000)), ("0.5s", ms(500)), ("7", ms(7000))]
        {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
        for bad in ["", "s", "3 s", "-1s", "1x", "1.2.3s", "NaN", "inf", "1e99s", "ms5"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        for shown in [ms(300), ms(2000), Duration::from_micros(1500)] {
            assert_eq!(parse(&format(shown)), Some(shown));
        }
    }
}
