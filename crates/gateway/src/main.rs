//! The program.
use std::path::PathBuf;
use seawall_gateway::serve;
fn main() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let args: Vec<String> = std::env::args().collect();
    let demo = args.iter().any(|a| a == "--demo");
    let config = args.iter().position(|a| a == "-c").map(|i| PathBuf::from(&args[i + 1])).unwrap_or("seawall.toml".into());
    if let Err(e) = serve::run(&serve::Options { config, demo }) { eprintln!("{e}"); std::process::exit(e.exit_code().into()); }
}
