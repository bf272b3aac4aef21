//! The manual page of the program: one page for all verbs, because people ask for one name.

use super::EXIT_CODES;
use super::man5::escape;
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use std::io::{Result, Write};

const FILES: &str = ".SH FILES\n\
    .TP\n/etc/scopeshim/config.toml\nThe configuration, see scopeshim.toml(5).\n\
    .TP\n/var/lib/scopeshim\nThe state of the packaged service, the last good configuration in it.\n\
    .TP\n/run/scopeshim/admin.sock\nWhere the packaged service answers \\fBreload\\fR, \\fBstatus\\fR, \\fBtop\\fR and the verbs that edit the configuration.\n\
    .SH SEE ALSO\nscopeshim.toml(5), systemctl(1), /usr/share/doc/scopeshim/README.md\n";

/// Renders `scopeshim(1)`.
pub(super) fn page(out: &mut impl Write) -> Result<()> {
    // The exit codes get a section of their own.
    let mut command = super::Cli::command().after_help(None::<&str>);
    command.build();
    let man = Man::new(command.clone());
    man.render_title(out)?;
    man.render_name_section(out)?;
    writeln!(out, ".SH SYNOPSIS\n\\fBscopeshim\\fR \\fIverb\\fR [\\fIoptions\\fR]")?;
    man.render_description_section(out)?;
    writeln!(out, ".SH VERBS")?;
    verbs(&command, out)?;
    writeln!(out, ".SH EXIT STATUS\n{}", escape(EXIT_CODES))?;
    out.write_all(FILES.as_bytes())
}

fn verbs(of: &Command, out: &mut impl Write) -> Result<()> {
    for verb in of.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        if verb.has_subcommands() {
            verbs(verb, out)?;
            continue;
        }
        let usage = verb.clone().render_usage().to_string();
        writeln!(out, ".SS {}", escape(usage.trim_start_matches("Usage: ").trim()))?;
        let about = verb.get_long_about().or_else(|| verb.get_about());
        writeln!(out, "{}", escape(&about.map(ToString::to_string).unwrap_or_default()))?;
        let mut options = Vec::new();
        Man::new(verb.clone()).render_options_section(&mut options)?;
        let options = String::from_utf8_lossy(&options);
        // What comes before the first option is the head of a section.
        let first = options.find("\n.TP").map_or("", |at| options.get(at + 1..).unwrap_or_default());
        out.write_all(first.as_bytes())?;
    }
    Ok(())
}
