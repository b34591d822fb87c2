//! `completion` and `man`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::args::Arguments;
use crate::errors::Fatal;

const NAME: &str = "kubectl-discovery";

#[derive(Debug, Args)]
pub(crate) struct Completion {
    /// The shell that the script is for.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The command to print the page of, such as "cache prune"; without one, that of the program.
    #[arg(value_name = "COMMAND")]
    commands: Vec<String>,
}

pub(crate) fn run(flags: &Completion) -> Result<(), Fatal> {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut Arguments::command(), NAME, &mut script);
    crate::print(&String::from_utf8_lossy(&script))
}

pub(crate) fn man(flags: &Man) -> Result<(), Fatal> {
    let mut command = Arguments::command();
    // Gives subcommands the flags that they share, and their whole names.
    command.build();
    for name in &flags.commands {
        command = command
            .find_subcommand(name)
            .cloned()
            .ok_or_else(|| Fatal::new(format_args!("there is no command {name:?}")))?;
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut page)
        .map_err(Fatal::new)?;
    crate::print(&String::from_utf8_lossy(&page))
}
