#![no_main]

#[allow(dead_code)]
#[path = "exchange/mod.rs"]
mod exchange;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| exchange::exchange(bytes));
