//! `--stats`: what happened, for people.

use std::time::Instant;

use crate::session::Session;

pub(crate) fn report(session: &Session, started: Instant) -> String {
    let sent = session.transport.sent();
    let handles = &session.handles;
    let (disk, memory, http) = (
        handles.disk.stats(),
        handles.memory.stats(),
        handles.http.stats(),
    );
    let files = handles.files.disk_stats();
    let (entries, entry_bytes) = session.http_written.get();
    format!(
        "requests sent: {requests}, answered 304: {not_modified}\n\
         hits: discovery files {disk}, memory {memory}, HTTP cache {fresh} fresh and {checked} revalidated\n\
         files written: {written} of discovery ({bytes} bytes), {entries} of the HTTP cache \
         ({entry_bytes} bytes)\n\
         time: {time:.1} ms\n",
        requests = sent.requests,
        not_modified = sent.not_modified,
        disk = disk.hits,
        memory = memory.hits,
        fresh = http.hits,
        checked = http.revalidations,
        written = files.files_written,
        bytes = files.bytes_written,
        time = started.elapsed().as_secs_f64() * 1e3,
    )
}
