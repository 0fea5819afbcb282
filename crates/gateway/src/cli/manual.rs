//! Shell completions and the manual page, both made from the one definition of the arguments.

use clap::{Arg, Command};
use clap_complete::Shell;
use clap_mangen::Man;

/// Returns the completion script for a shell.
pub(super) fn completions(mut command: Command, shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "seawall", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Returns the manual page of the whole program. The library that makes manual pages would make one page for each
/// command. But a person who types `man seawall` wants to see all commands. So each command becomes a part of the
/// section COMMANDS.
pub(super) fn page(mut command: Command) -> String {
    command.build();
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    let sections = [
        Man::render_title,
        Man::render_name_section,
        Man::render_synopsis_section,
        Man::render_description_section,
    ];
    for render in sections {
        render(&man, &mut page).expect("writing to memory");
    }
    let mut page = String::from_utf8_lossy(&page).into_owned();
    page.push_str(".SH COMMANDS\n");
    add_commands(&mut page, &command, "seawall");
    page.push_str(".SH EXIT STATUS\n0 done, 1 failed, 2 wrong usage or configuration.\n");
    page.push_str(".SH FILES\n.TP\n\\fI./seawall.toml\\fR\nthe configuration, where \\fB\\-c\\fR does not name another\n");
    page.push_str(".TP\n\\fI$XDG_RUNTIME_DIR/seawall\\-PORT.token\\fR\n");
    page.push_str("the admin token that a gateway made at start; in the folder for temporary files where there is no runtime folder\n");
    page.push_str(".SH ENVIRONMENT\n.TP\n\\fBNO_COLOR\\fR\nset and not empty: no colours\n");
    page
}

fn add_commands(page: &mut String, command: &Command, path: &str) {
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let path = format!("{path} {}", sub.get_name());
        if sub.has_subcommands() {
            add_commands(page, sub, &path);
            continue;
        }
        let usage = sub.clone().render_usage().to_string();
        let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage);
        page.push_str(&format!(".SS {}\n", plain(usage)));
        let about = sub.get_long_about().or(sub.get_about());
        page.push_str(&format!("{}\n", about.map(|about| plain(&about.to_string())).unwrap_or_default()));
        for argument in
            sub.get_arguments().filter(|argument| !matches!(argument.get_id().as_str(), "help" | "version"))
        {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            let default =
                argument.get_default_values().first().filter(|_| argument.get_action().takes_values());
            let default =
                default.map(|value| format!(" [default: {}]", value.to_string_lossy())).unwrap_or_default();
            page.push_str(&format!(
                ".TP\n\\fB{}\\fR\n{}\n",
                plain(&named(argument)),
                plain(&format!("{help}{default}"))
            ));
        }
    }
}

/// Returns an argument in the form in which it is typed: `-c, --config <FILE>`.
fn named(argument: &Arg) -> String {
    let short = argument.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
    format!("{short}{argument}")
}

/// Returns the text with escapes, so that roff prints it unchanged.
fn plain(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-");
    let lines = escaped.lines().filter(|line| !line.trim().is_empty()).map(|line| {
        // At the beginning of a line, roff takes a full stop or an apostrophe for the beginning of a command. The
        // characters `\&` before it prevent that.
        if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() }
    });
    lines.collect::<Vec<_>>().join("\n.br\n")
}
