//! Runs the models.
#![cfg(loom)]

use client_loom::models;

#[test]
fn permits_go_back_once() {
    loom::model(models::permits_go_back_once);
}

#[test]
fn a_body_dropped_elsewhere_gives_its_place_back() {
    loom::model(models::a_body_dropped_elsewhere_gives_its_place_back);
}

#[test]
fn no_turn_is_lost() {
    loom::model(models::no_turn_is_lost);
}

#[test]
fn a_turn_that_nobody_takes_is_free_again() {
    loom::model(models::a_turn_that_nobody_takes_is_free_again);
}
