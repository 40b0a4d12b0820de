//! The world of a drawn story: machines, zones, storage, Patroni's version.

use serde_json::{Value, json};

use super::dice::Dice;

/// Draws a world. Nodes are named `node1` and so on, as the language does where it is given a number.
pub fn draw(dice: &mut Dice, seed: u64) -> Value {
    let nodes = dice.between(2, 6);
    let patroni = if dice.percent(20) { 3 } else { 4 };
    let storage =
        json!({"name": "drawn", "expands": dice.percent(70), "waits_for_pod": dice.percent(50)});
    json!({"seed": seed % 1_000_000, "patroni": patroni, "nodes": nodes, "storage": [storage]})
}
