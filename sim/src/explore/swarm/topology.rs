//! The world of a drawn story: machines, zones, storage, Patroni's version.

use serde_json::{Value, json};

use super::dice::Dice;

/// Draws a world. Nodes are named `node1` and so on, as the language does where it is given a number.
pub fn draw(dice: &mut Dice, seed: u64) -> Value {
    let nodes = dice.between(2, 6);
    // The images of IVYO's last releases have 4.0.4 and 4.0.7.
    let patroni = match dice.below(100) {
        0..20 => json!(3),
        20..40 => json!("4.0.7"),
        _ => json!(4),
    };
    let storage =
        json!({"name": "drawn", "expands": dice.percent(70), "waits_for_pod": dice.percent(50)});
    json!({"seed": seed % 1_000_000, "patroni": patroni, "nodes": nodes, "storage": [storage]})
}
