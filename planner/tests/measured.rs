//! The fair thread predictor against measurements it has not seen.

mod published;

use limitless_faas_core::calibration::Calibration;
use limitless_faas_planner::fit::{errors, fit};

#[test]
fn ten_percent_on_the_half_that_was_not_fitted() {
    let (profiles, groups) = published::measured();
    let (seen, unseen) = published::halves(&groups);
    let fitted = fit(&profiles, &Calibration::chiron(), &seen).unwrap();
    let judged = errors(&fitted.profiles, &fitted.calibration, &unseen).unwrap();
    assert_eq!(judged.len(), 5);
    for (workflow, error) in judged {
        assert!(error <= 0.10, "{workflow}: {:.1} %", error * 100.0);
    }
}

#[test]
fn algorithm_1_is_as_wrong_as_was_found() {
    let (profiles, groups) = published::measured();
    let plain = errors(&profiles, &Calibration::chiron(), &groups).unwrap();
    assert!(plain.values().sum::<f64>() / 5.0 > 0.15, "{plain:?}");
}
