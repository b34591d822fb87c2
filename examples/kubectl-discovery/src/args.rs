//! The command line.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use discovery_client::Filter;

use crate::cache::Cache;
use crate::completion::{Completion, Man};
use crate::diff::Diff;
use crate::errors::Fatal;
use crate::openapi::OpenApi;
use crate::overrides::Overrides;
use crate::print::Format;
use crate::resolve::Resolve;
use crate::select::SortBy;
use crate::values::{self, List};
use crate::watch::Watch;

/// The answer to `--version`, for which no parser is needed.
const VERSION: &str = concat!("kubectl-discovery ", env!("CARGO_PKG_VERSION"), "\n");

/// The port of `--embedded` if it is free, so that the next run finds the same server address, and by
/// it what this run has cached.
pub(crate) const EMBEDDED_PORT: u16 = 18036;

/// Shows what a Kubernetes API server serves, through kubectl's caches.
///
/// Its api-versions and api-resources print what kubectl's do, and keep what they learn in the same
/// files, so that either finds what the other has cached. With the name kubectl-discovery in the
/// PATH it is a plugin: kubectl discovery api-resources.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-discovery",
    version,
    args_override_self = true,
    propagate_version = false,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Arguments {
    #[command(flatten, next_help_heading = "Global options")]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the supported API resources on the server.
    #[command(args_override_self = true)]
    ApiResources(ApiResources),
    /// Print the supported API versions on the server, in the form of "group/version".
    #[command(args_override_self = true)]
    ApiVersions,
    /// Print the version of this program and of the server.
    #[command(args_override_self = true)]
    Version(Version),
    /// Print the documentation of a resource or of one of its fields.
    #[command(args_override_self = true)]
    Explain(Explain),
    /// Print what the server answers to a GET request, as it comes and never from a cache.
    #[command(args_override_self = true)]
    Get(Get),
    /// Print what names of resources mean on the server, and where that is known from.
    #[command(args_override_self = true)]
    Resolve(Resolve),
    /// Print the server's OpenAPI documents, through the caches.
    #[command(args_override_self = true)]
    Openapi(OpenApi),
    /// Print resource types as they come and go, until interrupted.
    ///
    /// A line is "+ group/version resource Kind" for one that came, with "-" for one that went, and with
    /// "~" for one whose entry has changed.
    #[command(args_override_self = true)]
    Watch(Watch),
    /// Print what the clusters of two contexts have otherwise: group versions, resources, their kinds,
    /// scopes, verbs and short names.
    ///
    /// Lines begin with "-" for what only the first has, with "+" for what only the second has, and with
    /// "~" for what both have, but otherwise. The exit code is 0 if they are alike, and 1 if they differ
    /// and for errors, which have a message on stderr.
    #[command(args_override_self = true)]
    Diff(Diff),
    /// Look at the caches, and take care of them.
    #[command(subcommand)]
    Cache(Cache),
    /// Print a completion script for a shell.
    #[command(args_override_self = true)]
    Completion(Completion),
    /// Print a man page.
    #[command(hide = true)]
    Man(Man),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// The address and port of the Kubernetes API server.
    #[arg(short, long, global = true, value_name = "URL")]
    pub(crate) server: Option<String>,

    /// Path to the kubeconfig file; if not given, the files in KUBECONFIG, or ~/.kube/config.
    #[arg(long, global = true, value_name = "FILE", value_parser = path())]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// The name of the kubeconfig context to use.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,

    /// The directory of the caches; if not given, KUBECACHEDIR, or ~/.kube/cache.
    #[arg(long, global = true, value_name = "DIR", value_parser = path())]
    pub(crate) cache_dir: Option<PathBuf>,

    /// The lifetime of discovery files, from their modification on.
    #[arg(long, global = true, value_name = "DURATION", default_value = "6h", value_parser = values::duration)]
    pub(crate) cache_ttl: Duration,

    /// Whether to keep HTTP responses too, so that the server can be asked whether they have changed.
    #[arg(
        long, global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value = "true", default_missing_value = "true", action = ArgAction::Set,
        value_parser = values::boolean
    )]
    pub(crate) http_cache: bool,

    /// The length of time to wait before giving up on a single server request, such as 1s, 2m or
    /// 3h. Zero means 32s for discovery, and no limit for get --raw.
    #[arg(long, global = true, value_name = "DURATION", default_value = "0", value_parser = values::timeout)]
    pub(crate) request_timeout: Duration,

    /// The number for the log level verbosity, on stderr: warnings and requests from 1 on, decisions of
    /// the caches from 6 on, details from 8 on, and the logs of libraries from 10 on.
    #[arg(
        short,
        long = "v",
        global = true,
        value_name = "N",
        default_value = "0",
        allow_negative_numbers = true,
        value_parser = values::verbosity
    )]
    pub(crate) verbosity: u8,

    /// Start a small API server for this run, and ask that one.
    ///
    /// It serves what a Kubernetes 1.36 does, on port 18036 of 127.0.0.1 if that is free, so that
    /// the next run finds what this one has cached; otherwise on any free port. Answers that were
    /// cached with other numbers of custom resources are found as well, until they are fetched anew.
    #[arg(long, global = true)]
    pub(crate) embedded: bool,

    /// With --embedded: how many custom resources it serves, five to a group.
    #[arg(long, global = true, value_name = "N")]
    pub(crate) crds: Option<usize>,

    /// With --embedded: how many groups with one custom resource it serves.
    #[arg(long, global = true, value_name = "N")]
    pub(crate) groups: Option<usize>,

    /// With --embedded: the port of 127.0.0.1, and no other one.
    #[arg(long, global = true, value_name = "PORT")]
    pub(crate) embedded_port: Option<u16>,

    /// Send nothing: answer from the caches, however old they are, or fail.
    #[arg(
        long, global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", action = ArgAction::Set,
        value_parser = values::boolean
    )]
    pub(crate) offline: bool,

    /// Use the cache directory also if it belongs to another user, or if all may write to it.
    #[arg(
        long, global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", action = ArgAction::Set,
        value_parser = values::boolean
    )]
    pub(crate) trust_cache_dir: bool,

    /// Path to the kuberc file, which says which credential plugins may run; if not given, that in KUBERC, or
    /// ~/.kube/kuberc.
    #[arg(long, global = true, value_name = "FILE", value_parser = path())]
    pub(crate) kuberc: Option<PathBuf>,

    /// Require that the server is of the Kubernetes version whose kubectl this program does the same as.
    #[arg(
        long, global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", action = ArgAction::Set,
        value_parser = values::boolean
    )]
    pub(crate) match_server_version: bool,

    /// Treat warnings received from the server as errors and exit with a non-zero exit code.
    #[arg(
        long, global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", action = ArgAction::Set,
        value_parser = values::boolean
    )]
    pub(crate) warnings_as_errors: bool,

    #[command(flatten)]
    pub(crate) overrides: Overrides,

    /// Tell on stderr what was sent, what the caches answered, and how long it took.
    #[arg(long, global = true)]
    pub(crate) stats: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ApiResources {
    /// Limit to resources in the specified API group; '' is the core group.
    #[arg(long, value_name = "GROUP")]
    api_group: Option<String>,

    /// Use the cached list of resources if available.
    #[arg(
        long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", action = ArgAction::Set,
        value_parser = values::boolean
    )]
    pub(crate) cached: bool,

    /// Limit to resources that belong to all the specified categories.
    #[arg(long, value_name = "NAMES", value_parser = values::list)]
    categories: Vec<List>,

    /// If true, limit to resources in namespaces; if false, to those that are not.
    #[arg(
        long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", action = ArgAction::Set, value_parser = values::boolean
    )]
    namespaced: Option<bool>,

    /// Don't print headers with the default and the wide output format.
    #[arg(
        long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", action = ArgAction::Set,
        value_parser = values::boolean
    )]
    no_headers: bool,

    /// Output format.
    #[arg(short, long, value_name = "FORMAT", value_parser = one_of(&["json", "yaml", "kyaml", "name", "wide"]))]
    output: Option<String>,

    /// Without effect: resources have no managed fields.
    #[arg(
        long, value_name = "BOOL", num_args = 0..=1, require_equals = true, hide = true,
        default_value = "false", default_missing_value = "true", action = ArgAction::Set,
        value_parser = values::boolean
    )]
    show_managed_fields: bool,

    /// Sort the resources by this field, and not by group and name.
    #[arg(long, value_name = "FIELD", value_parser = one_of(&["name", "kind"]))]
    sort_by: Option<String>,

    /// Limit to resources that support all the specified verbs.
    #[arg(long, value_name = "NAMES", value_parser = values::list)]
    verbs: Vec<List>,
}

#[derive(Debug, Args)]
pub(crate) struct Version {
    /// Show the version of this program only, and ask no server.
    #[arg(
        long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", action = ArgAction::Set,
        value_parser = values::boolean
    )]
    pub(crate) client: bool,

    /// Output format.
    #[arg(short, long, value_name = "FORMAT", value_parser = one_of(&["json", "yaml"]))]
    pub(crate) output: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The resource, by plural, singular, kind or short name, and the field: pods.spec.containers.
    #[arg(value_name = "RESOURCE[.FIELD...]")]
    resources: Vec<String>,

    /// Use this API version of the resource (group/version).
    #[arg(long, value_name = "VERSION")]
    pub(crate) api_version: Option<String>,

    /// The greatest depth of fields to print with --recursive; 0 means no limit.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    max_depth: i64,

    /// Output format: plaintext is the only one.
    #[arg(short, long, value_name = "FORMAT", default_value = "plaintext")]
    pub(crate) output: String,

    /// Print the fields of fields, without descriptions.
    #[arg(
        short = 'R', long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", action = ArgAction::Set,
        value_parser = values::boolean
    )]
    pub(crate) recursive: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The path to ask for, with a query if need be.
    #[arg(long, value_name = "PATH", required = true)]
    pub(crate) raw: String,

    #[command(flatten)]
    _lists: Lists,
}

/// kubectl's flags for lists of objects, which mean nothing to a path, but don't stand against it either.
#[derive(Debug, Args)]
struct Lists {
    #[arg(short = 'A', long, hide = true)]
    all_namespaces: bool,

    #[arg(short, long, hide = true, value_name = "FILE")]
    filename: Vec<String>,

    #[arg(short = 'R', long, hide = true)]
    recursive: bool,

    #[arg(long, hide = true, value_name = "N", allow_negative_numbers = true)]
    chunk_size: Option<i64>,

    #[arg(long, hide = true, value_name = "FIELD")]
    sort_by: Option<String>,

    #[arg(long, hide = true)]
    ignore_not_found: bool,

    #[arg(long, hide = true)]
    no_headers: bool,

    #[arg(long, hide = true)]
    show_kind: bool,

    #[arg(long, hide = true)]
    show_labels: bool,

    #[arg(long, hide = true)]
    show_managed_fields: bool,
}

/// A path, which may be empty: that counts as not given.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// One of some words; or none, which counts as not given.
fn one_of(words: &[&'static str]) -> PossibleValuesParser {
    let words = words.iter().map(PossibleValue::new);
    words
        .chain([PossibleValue::new("").hide(true)])
        .collect::<Vec<_>>()
        .into()
}

impl Arguments {
    /// The arguments of this process. Ends it if they make no sense.
    pub(crate) fn read() -> Self {
        let given = with_hyphens(env::args_os());
        if let [_, flag] = &given[..]
            && (flag == "--version" || flag == "-V")
        {
            // If stdout is closed, there is no place left to complain.
            _ = crate::print(VERSION);
            std::process::exit(0);
        }
        if let Some(first) = given
            .get(1)
            .filter(|first| ["help", "options", "--"].iter().any(|word| first == word))
        {
            help(first, &given[2..]);
        }
        let arguments = Self::of_one_command(&given)
            .map_or_else(|| Self::try_parse_from(given), Ok)
            .unwrap_or_else(|error| exit(&error));
        if let Some((kind, message)) = arguments.global.contradiction() {
            exit(&Self::command().error(kind, message));
        }
        arguments
    }

    /// The arguments, understood without the other commands: clap copies every global flag for each command that there is,
    /// which takes time at each start. `None` for what needs them all, such as help and the messages of errors.
    fn of_one_command(given: &[OsString]) -> Option<Self> {
        let all = Self::command();
        let mut named = given.iter().skip(1);
        let one = named.find_map(|argument| all.find_subcommand(argument))?;
        let command = clap::Command::new("kubectl-discovery")
            .args_override_self(true)
            .subcommand_required(true)
            .subcommand(one.clone());
        let matches = Global::augment_args(command).try_get_matches_from(given);
        Self::from_arg_matches(&matches.ok()?).ok()
    }
}

/// Arguments with `-` for `_` in the names of flags, which kubectl takes for each other.
fn with_hyphens(given: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut are_flags = true;
    let renamed = |argument: OsString| {
        are_flags &= argument != "--";
        // Behind one letter, an equals sign alone is the value, as for pflag.
        if are_flags
            && matches!(
                argument.as_encoded_bytes(),
                [b'-', b'a'..=b'z' | b'A'..=b'Z', b'=']
            )
        {
            return [argument, "=".into()].into_iter().collect();
        }
        let Some(flag) = argument
            .to_str()
            .filter(|text| are_flags && text.starts_with("--"))
        else {
            return argument;
        };
        match flag.split_once('=') {
            Some((name, value)) => format!("{}={value}", name.replace('_', "-")).into(),
            None => flag.replace('_', "-").into(),
        }
    };
    given.map(renamed).collect()
}

/// Prints what is wrong with the arguments, or the help that was asked for, or that is given where there is no command, as
/// kubectl gives it. A usage error has kubectl's exit code, which is that of all errors.
fn exit(error: &clap::Error) -> ! {
    // If stderr or stdout is closed, there is no place left to complain.
    let is_error = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            _ = crate::print(&error.render().to_string());
            false
        }
        ErrorKind::MissingSubcommand => {
            _ = crate::print(&Arguments::command().render_help().to_string());
            false
        }
        _ => {
            _ = error.print();
            error.use_stderr()
        }
    };
    std::process::exit(i32::from(is_error))
}

/// Prints the help on a command, as far as the words name one, and on all of it else. Flags are read, and do nothing.
fn help(first: &OsString, behind: &[OsString]) -> ! {
    let mut command = Arguments::command();
    if first == "help" {
        let words = Arg::new("words").num_args(0..);
        let parser = clap::Command::new("kubectl-discovery help").arg(words);
        let parsed = Global::augment_args(parser)
            .no_binary_name(true)
            .try_get_matches_from(behind);
        if let Err(error) = &parsed
            && error.use_stderr()
        {
            exit(error);
        }
        let words = parsed.as_ref().ok();
        let words = words.and_then(|found| found.get_many::<String>("words"));
        command.build();
        for (at, word) in words.into_iter().flatten().enumerate() {
            match command.find_subcommand(word) {
                Some(found) => command = found.clone(),
                None if at == 0 => {
                    let help = command.render_long_help();
                    crate::eprint(&format!("Unknown help topic {word:?}\n{help}"));
                    std::process::exit(0);
                }
                None => break,
            }
        }
    }
    // If stdout is closed, there is no place left to complain.
    _ = crate::print(&command.render_long_help().to_string());
    std::process::exit(0)
}

impl Global {
    /// Flags that don't go together. clap would compare only those that stand on the same side of
    /// the subcommand.
    fn contradiction(&self) -> Option<(ErrorKind, String)> {
        let conflict = |one: &str, other: &str| {
            let message = format!("the argument '{one}' cannot be used with '{other}'");
            Some((ErrorKind::ArgumentConflict, message))
        };
        if self.embedded && self.server.as_deref().is_some_and(|url| !url.is_empty()) {
            return conflict("--server <URL>", "--embedded");
        }
        if self.crds.is_some() && self.groups.is_some() {
            return conflict("--crds <N>", "--groups <N>");
        }
        let lonely = [
            ("--crds <N>", self.crds.is_some()),
            ("--groups <N>", self.groups.is_some()),
            ("--embedded-port <PORT>", self.embedded_port.is_some()),
        ]
        .into_iter()
        .find(|(_, is_given)| *is_given && !self.embedded)?;
        let message = format!(
            "the argument '{}' makes sense only with '--embedded'",
            lonely.0
        );
        Some((ErrorKind::MissingRequiredArgument, message))
    }
}

impl Explain {
    /// The resource and the field, if the flags go together.
    pub(crate) fn word(&self) -> Result<&str, Fatal> {
        let word = match self.resources.as_slice() {
            [word] => word,
            [] => {
                return Err(Fatal::new(
                    "You must specify the type of resource to explain. Use \"kubectl api-resources\" for a complete \
                     list of supported resources.",
                ));
            }
            _ => return Err(Fatal::new("We accept only this format: explain RESOURCE")),
        };
        if self.max_depth > 0 && !self.recursive {
            return Err(Fatal::new("--max-depth requires --recursive"));
        }
        self.depth()?;
        Ok(word)
    }

    pub(crate) fn depth(&self) -> Result<usize, Fatal> {
        usize::try_from(self.max_depth).map_err(|_| Fatal::new("--max-depth must be non-negative"))
    }
}

impl ApiResources {
    pub(crate) fn format(&self) -> Format {
        match self.output.as_deref() {
            Some("json") => Format::Json,
            Some("yaml") => Format::Yaml,
            Some("kyaml") => Format::Kyaml,
            Some("name") => Format::Name,
            output => Format::Table {
                wide: output == Some("wide"),
                header: !self.no_headers,
            },
        }
    }

    pub(crate) fn sort_by(&self) -> SortBy {
        match self.sort_by.as_deref() {
            Some("name") => SortBy::Name,
            Some("kind") => SortBy::Kind,
            _ => SortBy::Group,
        }
    }

    pub(crate) fn into_filter(self) -> Filter {
        let mut filter = Filter::new()
            .verbs(List::join(self.verbs))
            .categories(List::join(self.categories));
        if let Some(group) = self.api_group {
            filter = filter.group(group);
        }
        if let Some(namespaced) = self.namespaced {
            filter = filter.namespaced(namespaced);
        }
        filter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_what_clap_says() {
        assert_eq!(Arguments::command().render_version(), VERSION);
    }

    #[test]
    fn names_of_flags_have_hyphens_for_underscores() {
        let given = "k --no_headers --api_group=a_b a_b -o_ -s= -s=a -- --c_d -s=";
        let found = with_hyphens(given.split(' ').map(OsString::from)).join(" ".as_ref());
        assert_eq!(
            found,
            "k --no-headers --api-group=a_b a_b -o_ -s== -s=a -- --c_d -s="
        );
    }

    #[test]
    fn one_command_alone_is_understood_as_among_all() {
        for line in [
            "api-versions",
            "-v 6 --context c api-resources --cached --namespaced=false -o name",
            "api-resources --server https://h --as=me --as-group=a --as-group=b",
            // The name of one command may be a value.
            "--context watch api-versions",
            "get --raw /version --request-timeout=1s",
            "cache list -o json",
            "cache clear --dry-run",
            "explain pods.spec --recursive",
            "diff a b",
            "watch --for 1s",
            "version --client --client=false",
        ] {
            let given = ["kubectl-discovery"].into_iter().chain(line.split(' '));
            let given: Vec<_> = given.map(OsString::from).collect();
            let all = Arguments::try_parse_from(&given).unwrap();
            let of_one = Arguments::of_one_command(&given);
            match of_one {
                Some(one) => assert_eq!(format!("{one:?}"), format!("{all:?}"), "{line}"),
                None => assert_eq!(line, "--context watch api-versions"),
            }
        }
        for line in [
            "help",
            "--help",
            "api-versions --help",
            "api-versions --bogus",
            "watch api-versions",
            "nope",
            "",
        ] {
            let given = ["kubectl-discovery"].into_iter().chain(line.split(' '));
            let given: Vec<_> = given.map(OsString::from).collect();
            assert!(Arguments::of_one_command(&given).is_none(), "{line}");
        }
    }
}
