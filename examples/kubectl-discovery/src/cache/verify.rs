//! `cache verify`.

use std::path::Path;

use super::args::Verify;
use super::check::damage;
use super::files::all;
use super::remove::Remover;
use crate::errors::Fatal;
use crate::printable::printable;
use crate::progress::Count;

pub(super) fn run(root: &Path, flags: &Verify) -> Result<(), Fatal> {
    let files = all(root)?;
    let mut remover = Remover::new(root, false);
    let mut damaged = 0;
    let bar = Count::new("checking", files.len());
    for file in &files {
        bar.advance();
        let Some(why) = damage(file).filter(|_| file.is_unchanged()) else {
            continue;
        };
        damaged += 1;
        if flags.remove {
            bar.around(|| remover.remove(file, &why));
        } else {
            let path = file.path.display().to_string();
            let line = format!("{}: {}\n", printable(&path), printable(&why));
            bar.around(|| crate::print(&line))?;
        }
    }
    drop(bar);
    remover.end()?;
    match damaged {
        0 => crate::print(&format!("{} files are whole\n", files.len())),
        _ if flags.remove => Err(Fatal::new(format_args!(
            "{damaged} of {} files were damaged, and have been removed",
            files.len()
        ))),
        _ => Err(Fatal::new(format_args!(
            "{damaged} of {} files are damaged; --remove removes them",
            files.len()
        ))),
    }
}
