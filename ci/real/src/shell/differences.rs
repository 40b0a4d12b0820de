//! Where the real shell may differ from the simulator's operator, and why; everything else is a failure.

use ivory_sim::scenario::language::{Act, Fault, Scenario, Step};

/// Why a difference between the milestones of a story is none; the text is one of `compare`.
pub(super) fn reason(scenario: &Scenario, difference: &str) -> Option<&'static str> {
    let condition = difference.ends_with(" is True") || difference.ends_with(" is False");
    let alone = difference.starts_with("only ");
    (alone && condition && outage(&scenario.steps)).then_some(
        "a state that was over before the watches were open again after an outage was never seen",
    )
}

fn outage(steps: &[Step]) -> bool {
    steps.iter().any(|step| match &step.act {
        Act::Fault(Fault::ApiOutage(_)) => true,
        Act::Each { steps, .. } => outage(steps),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_outage_hides_is_excused_and_nothing_else() {
        let story = |step: &str| {
            let text = format!("description: x\nsteps:\n- {step}");
            ivory_sim::scenario::parse::parse("x", std::path::Path::new("."), &text).expect("ok")
        };
        let outage = story("fault: {api_outage: 1m}");
        let other = story("advance: 1m");
        let condition = "only with the shell, at 1.0 s: hippo: Ready is False";
        assert!(reason(&outage, condition).is_some());
        assert!(reason(&other, condition).is_none());
        assert!(reason(&outage, "only simulated, at 1.0 s: the operator creates Job a").is_none());
        assert!(reason(&outage, "in another order: hippo: Ready is False").is_none());
    }
}
