//! FINRA: trades of a portfolio are checked against rules, all at the same time, and the findings are brought together.
//! With N rules the workflow has N + 1 nodes.

use limitless_faas::{Error, Result, handler, workflow};
use serde::{Deserialize, Serialize};

use crate::loopback::exchange;

/// One trade of a portfolio.
struct Trade {
    side: u8,
    price_cents: u32,
    quantity: u32,
    /// Days since the first of January.
    day: u32,
}

/// The trades of a portfolio: made from its number, so that all rules check the same ones.
fn trades(portfolio: u32, count: u32) -> impl Iterator<Item = Trade> {
    (0..count).map(move |at| {
        let mut seed = [0; 8];
        seed[..4].copy_from_slice(&portfolio.to_le_bytes());
        seed[4..].copy_from_slice(&at.to_le_bytes());
        let hash = *blake3::hash(&seed).as_bytes();
        let number = |from: usize| u32::from(hash[from]) | u32::from(hash[from + 1]) << 8;
        Trade {
            side: if hash[0] < 250 { hash[0] % 2 } else { 2 },
            price_cents: number(2),
            quantity: number(4),
            day: number(6) % 370,
        }
    })
}

/// What a rule found.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Finding {
    /// The rule.
    pub(crate) rule: String,
    /// Numbers of the trades that break it.
    pub(crate) trades: Vec<u32>,
}

fn finding(rule: &str, portfolio: u32, count: u32, breaks: impl Fn(&Trade) -> bool) -> Finding {
    let broken = trades(portfolio, count).enumerate().filter(|(_, trade)| breaks(trade));
    let numbers = broken.filter_map(|(at, _)| u32::try_from(at).ok());
    Finding { rule: rule.to_owned(), trades: numbers.collect() }
}

/// Prices must be within what the market paid: asks the market for its quotes.
#[handler]
pub(crate) fn marketdata(portfolio: u32, count: u32) -> Result<Finding> {
    let asked = portfolio.to_le_bytes();
    let quotes = exchange(&asked, |asked| {
        // The market's own work: a highest price for every day.
        let highest = |day: u16| {
            let hash = blake3::hash(&[asked, &day.to_le_bytes()].concat());
            30_000 + u32::from(u16::from_le_bytes([hash.as_bytes()[0], hash.as_bytes()[1]])) / 2
        };
        (0..370u16).flat_map(|day| highest(day).to_le_bytes()).collect()
    })?;
    let highest: Vec<u32> =
        quotes.chunks_exact(4).map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect();
    Ok(finding("marketdata", portfolio, count, |trade| {
        highest.get(trade.day as usize).is_none_or(|&highest| trade.price_cents > highest)
    }))
}

/// A last price must be there.
#[handler]
pub(crate) fn lastpx(portfolio: u32, count: u32) -> Finding {
    finding("lastpx", portfolio, count, |trade| trade.price_cents < 160)
}

/// A trade buys or sells.
#[handler]
pub(crate) fn side(portfolio: u32, count: u32) -> Finding {
    finding("side", portfolio, count, |trade| trade.side > 1)
}

/// A trade happened on a day of the year.
#[handler]
pub(crate) fn trddate(portfolio: u32, count: u32) -> Finding {
    finding("trddate", portfolio, count, |trade| trade.day > 365)
}

/// No trade is larger than the market.
#[handler]
pub(crate) fn volume(portfolio: u32, count: u32) -> Finding {
    finding("volume", portfolio, count, |trade| trade.quantity > 65_000)
}

/// What all rules found, and whether the margin covers the trades that none of them refused.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Balance {
    /// Trades that break at least one rule.
    pub(crate) refused: u32,
    /// Bought less sold, in cents, of all others.
    pub(crate) cents: i64,
}

/// Brings the findings together.
#[handler]
pub(crate) fn margin_balance(portfolio: u32, count: u32, findings: Vec<Finding>) -> Balance {
    let mut refused: Vec<u32> = findings.into_iter().flat_map(|finding| finding.trades).collect();
    refused.sort_unstable();
    refused.dedup();
    let kept = trades(portfolio, count).zip(0u32..).filter(|(_, at)| refused.binary_search(at).is_err());
    let cents = kept.map(|(trade, _)| {
        let value = i64::from(trade.price_cents) * i64::from(trade.quantity);
        if trade.side == 0 { value } else { -value }
    });
    let cents = cents.sum();
    Balance { refused: u32::try_from(refused.len()).unwrap_or(u32::MAX), cents }
}

/// One of the five rules, for one portfolio.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Check {
    rule: String,
    portfolio: u32,
    count: u32,
}

/// Checks a portfolio against one rule.
#[handler]
pub(crate) fn check(check: Check) -> Result<Finding> {
    let Check { rule, portfolio, count } = check;
    match rule.as_str() {
        "marketdata" => marketdata(portfolio, count),
        "lastpx" => Ok(lastpx(portfolio, count)),
        "side" => Ok(side(portfolio, count)),
        "trddate" => Ok(trddate(portfolio, count)),
        "volume" => Ok(volume(portfolio, count)),
        other => Err(Error::msg(format_args!("there is no rule `{other}`"))),
    }
}

/// FINRA with its five rules, which have nothing to do with each other.
#[workflow(slo_ms = 200)]
pub(crate) async fn finra_5(portfolio: u32, count: u32) -> Result<Balance> {
    let (paid, last, side, day, volume) = join!(
        marketdata(portfolio, count),
        lastpx(portfolio, count),
        side(portfolio, count),
        trddate(portfolio, count),
        volume(portfolio, count),
    );
    let findings = vec![paid?, last, side, day, volume];
    Ok(margin_balance(portfolio, count, findings).await)
}

/// FINRA with so many rules: the five, again and again, on trades of their own kind each.
#[workflow(slo_ms = 350)]
pub(crate) async fn finra(rules: u32, portfolio: u32, count: u32) -> Result<Balance> {
    let names = ["marketdata", "lastpx", "side", "trddate", "volume"].into_iter().cycle().zip(0..rules);
    let checks: Vec<Check> =
        names.map(|(rule, _)| Check { rule: rule.to_owned(), portfolio, count }).collect();
    let findings = map(checks, check).await?;
    Ok(margin_balance(portfolio, count, findings).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn more_rules_of_the_same_kinds_find_the_same() {
        let five = finra_5(7, 2000).await.unwrap();
        assert!(five.refused > 0);
        assert_eq!(finra(50, 7, 2000).await.unwrap(), five);
        assert_ne!(finra(2, 7, 2000).await.unwrap(), five);
    }

    #[test]
    fn every_rule_finds_something_and_the_balance_leaves_it_out() {
        let findings = vec![
            marketdata(7, 5000).unwrap(),
            lastpx(7, 5000),
            side(7, 5000),
            trddate(7, 5000),
            volume(7, 5000),
        ];
        for finding in &findings {
            assert!(!finding.trades.is_empty() && finding.trades.len() < 4000, "{finding:?}");
        }
        let all = margin_balance(7, 5000, Vec::new());
        let checked = margin_balance(7, 5000, findings.clone());
        assert_eq!(all.refused, 0);
        assert_ne!(all.cents, checked.cents);
        let most = findings.iter().map(|finding| finding.trades.len()).max().unwrap();
        assert!(checked.refused as usize >= most);
        assert_eq!(checked, margin_balance(7, 5000, findings), "the same trades each time");
    }
}
